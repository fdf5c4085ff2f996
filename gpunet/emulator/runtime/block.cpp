// The scheduler: see block.h.
#include "block.h"

#include "observer.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace gpunet_emulator {

Block block;  // the only one: blocks run one after another

static Index index_of(unsigned number, const Index& extent) {
    const unsigned row = number / extent.x;
    return {number % extent.x, row % extent.y, row / extent.y};
}

static void advance(Index& index, const Index& extent) {
    if (++index.x < extent.x) return;
    index.x = 0;
    if (++index.y < extent.y) return;
    index.y = 0;
    ++index.z;
}

Index Block::block_index(unsigned number) const { return index_of(number, launch_->grid); }

template <class... Parameters, class... Arguments>
void Block::notify(void (Observer::*event)(Parameters...), Arguments... arguments) {
    for (int i = 0; i < launch_->observer_count; ++i) (launch_->observers[i]->*event)(arguments...);
}

void Block::access(const void* address, unsigned size, unsigned kind, const void* code) {
    const Fibre* fibre = current_->fibre;
    if (fibre->holds(address)) return;
    const Access access{reinterpret_cast<uintptr_t>(address), size, kind, code, number_,
                        static_cast<unsigned>(number(current_))};
    // First: other threads may run meanwhile, and what they do comes before this access.
    if (kind & (is_atomic | is_volatile)) watch_for_endless_loop(access);
    for (int i = 0; i < launch_->observer_count; ++i) launch_->observers[i]->access(access);
}

Index Block::thread_index(unsigned thread) const { return index_of(thread, launch_->block); }

// A thread that asks for the same word again and again, without its changing, waits for another
// one: now and then the others get their turn. If nothing changes even so, nothing ever will.
void Block::watch_for_endless_loop(const Access& access) {
    constexpr unsigned patience = 1000, end_of_patience = 1000000;
    Repetition& last = current_->repetition;
    uint64_t value = 0;
    if (last.address == access.address)  // so it has been checked before: it can be read
        std::memcpy(&value, reinterpret_cast<const void*>(access.address),
                    access.size < sizeof value ? access.size : sizeof value);
    if (last.address != access.address || last.value != value) {
        last = {access.address, value, 0};
        return;
    }
    if (++last.count % patience) return;
    if (last.count >= end_of_patience) {
        Fault& fault = *launch_->fault;
        fault.kind = FaultKind::endless;
        fault.access = access.kind;
        fault.size = access.size;
        fault.address = reinterpret_cast<const void*>(access.address);
        fault.code = access.code;
        stop_with_fault();
    }
    ready_.push_back(current_);
    start_others_first_ = true;
    wait(State::ready, {});
    start_others_first_ = false;
}

void Block::fence() { notify(&Observer::fence, number(current_)); }

bool Block::run(const Launch& launch, unsigned number) {
    launch_ = &launch;
    number_ = number;
    *launch.module->block = block_index(number);
    size_ = launch.threads_per_block;
    started_ = exited_ = at_barrier_ = 0;
    next_ = {0, 0, 0};
    failed_ = start_others_first_ = false;
    ready_.clear();
    set_up_threads();
    const ModuleInfo& module = *launch.module;
    // 0xFF bytes are NaN: what another block left behind must not look like a value.
    const auto shared_size = static_cast<size_t>(module.shared_end - module.shared_begin);
    std::memset(module.shared_begin, 0xFF, shared_size);
    std::memset(module.dynamic_shared, 0xFF, launch.shared_bytes + dynamic_shared_guard);
    current_ = nullptr;
    notify(&Observer::begin_block, number);
    leave(nullptr);  // comes back when the last thread has exited, or from stop()
    current_ = nullptr;
    if (!failed_) notify(&Observer::end_block);
    if (!failed_) check_shared_guard();
    return !failed_;
}

void Block::set_up_threads() {
    for (int n = 0; n < size_; ++n) order_[n] = static_cast<short>(n);
    if (launch_->seed) {
        shuffle_.seed(launch_->seed + number_);
        for (int n = size_ - 1; n > 0; --n)
            std::swap(order_[n], order_[shuffle_.below(static_cast<unsigned>(n) + 1)]);
    }
    for (int n = 0; n < size_; n += warp_size) {
        const int lanes = size_ - n;
        warps_[n / warp_size].lanes = lanes >= warp_size ? ~0u : (1u << lanes) - 1;
    }
}

// Goes on with another thread; `fibre` (null: the launching context) is left as it stands.
void Block::leave(Fibre* fibre) {
    Context& from = fibre ? fibre->context : main_;
    if (!ready_.empty() && !(start_others_first_ && started_ < size_)) {
        current_ = launch_->seed ? ready_.pop_any(shuffle_) : ready_.pop();
        if (current_->fibre != fibre) from.switch_to(current_->fibre->context);
    } else if (started_ < size_) {
        Fibre* next = take_fibre();
        threads_[order_[started_]].fibre = next;
        if (next != fibre) from.switch_to(next->context);
    } else if (exited_ == size_) {
        from.switch_to(main_);
    } else {
        report_deadlock();
    }
}

Fibre* Block::take_fibre() {
    if (free_fibres_ > 0) return free_[--free_fibres_];
    Fibre* made = &fibres_[fibres_made_];
    if (!made->prepare(fibres_made_, fibre_main)) {
        std::fputs("gpunet emulator: no memory for the stacks of a block's threads\n", stderr);
        std::abort();
    }
    ++fibres_made_;
    return made;
}

void Block::fibre_main() { block.run_threads(); }

// The life of a fibre. It is entered with the next thread's fibre set, and again after each stay
// among the free ones.
void Block::run_threads() {
    for (;;) {
        Fibre* self = threads_[order_[started_]].fibre;
        do {
            threads_[order_[started_]].fibre = self;
            start_next();
        } while (ready_.empty() && started_ < size_);
        free_[free_fibres_++] = self;
        leave(self);
    }
}

void Block::start_next() {
    const int n = order_[started_++];
    Thread& thread = threads_[n];
    if (launch_->seed) next_ = index_of(static_cast<unsigned>(n), launch_->block);
    thread.index = next_;
    advance(next_, launch_->block);
    thread.state = State::running;
    thread.repetition = {};
    current_ = &thread;
    *launch_->module->thread = thread.index;
    launch_->call(launch_->arguments);
    notify(&Observer::pause, n);
    thread.state = State::exited;
    ++exited_;
}

void Block::wait(State state, Site site) {
    Thread* self = current_;
    self->state = state;
    self->waits_at = site;
    notify(&Observer::pause, number(self));
    leave(self->fibre);
    current_ = self;
    self->state = State::running;
    *launch_->module->thread = self->index;
}

int Block::barrier(int id, int predicate, Site site) {
    if (at_barrier_ == 0) {
        barrier_id_ = id;
        barrier_site_ = site;
        predicates_ = 0;
    } else if (barrier_id_ != id) {
        fail(site,
             "divergent __syncthreads(): some threads of the block wait at the barrier in %s:%d, "
             "this one came to the barrier in %s:%d",
             barrier_site_.file, barrier_site_.line, site.file, site.line);
    }
    predicates_ += predicate != 0;
    if (++at_barrier_ < size_) {
        wait(State::at_barrier, site);
    } else {
        release_barrier();
    }
    return result_;
}

void Block::release_barrier() {
    notify(&Observer::pause, number(current_));
    notify(&Observer::barrier);
    result_ = predicates_;
    at_barrier_ = 0;
    for (int i = 0; i < size_; ++i) {
        if (&threads_[i] == current_) continue;
        threads_[i].state = State::ready;
        ready_.push_back(&threads_[i]);
    }
}

// Finds the open meeting of this mask, or opens one.
Meeting& Block::join(Warp& warp, unsigned mask, const char* operation, int size, Site site) {
    Meeting* unused = nullptr;
    for (Meeting& meeting : warp.meetings) {
        if (meeting.free()) {
            if (!unused) unused = &meeting;
            // Meetings are taken from the front, so the first one never used ends the search.
            if (meeting.mask == 0) break;
        } else if (meeting.arrived == 0) {
            continue;
        } else if (meeting.mask == mask) {
            if (std::strcmp(meeting.operation, operation) != 0 || meeting.size != size)
                fail(site,
                     "lanes of one warp met with mask 0x%08x, some in %s (%s:%d) and some in %s",
                     mask, meeting.operation, meeting.site.file, meeting.site.line, operation);
            return meeting;
        } else if (meeting.mask & mask & warp.lanes) {
            fail(site,
                 "lanes of one warp wait with different masks that overlap: 0x%08x in %s (%s:%d) "
                 "and 0x%08x in %s",
                 meeting.mask, meeting.operation, meeting.site.file, meeting.site.line, mask,
                 operation);
        }
    }
    unused->mask = mask;
    unused->expected = mask & warp.lanes;
    unused->operation = operation;
    unused->size = size;
    unused->site = site;
    return *unused;
}

const LaneValue* Block::exchange(unsigned mask, const char* operation, const void* value, int size,
                                 unsigned* lanes, Site site) {
    const int own = number(current_) % warp_size;
    const unsigned own_bit = 1u << own;
    if (!(mask & own_bit))
        fail(site, "%s was called by lane %d, which its mask 0x%08x does not name", operation, own,
             mask);
    Warp& warp = warps_[number(current_) / warp_size];
    Meeting& meeting = join(warp, mask, operation, size, site);
    std::memcpy(meeting.values[own].bytes, value, static_cast<size_t>(size));
    meeting.arrived |= own_bit;
    if (meeting.arrived == meeting.expected) {
        meeting.arrived = 0;
        meeting.readers = meeting.expected;
        Thread* first = current_ - own;
        if (launch_->observer_count && std::strcmp(operation, "__syncwarp") == 0) {
            notify(&Observer::pause, number(current_));
            notify(&Observer::warp_barrier, number(first), meeting.expected);
        }
        // To the front: the warp goes on while its data is in the cache.
        for (int lane = warp_size - 1; lane >= 0; --lane) {
            if (lane == own || !(meeting.expected >> lane & 1)) continue;
            first[lane].state = State::ready;
            ready_.push_front(&first[lane]);
        }
    } else {
        wait(State::in_warp, site);
    }
    // No other lane runs before this one has copied what it needs.
    meeting.readers &= ~own_bit;
    *lanes = meeting.expected;
    return meeting.values;
}

void Block::check_shared_guard() {
    const unsigned char* guard = launch_->module->dynamic_shared + launch_->shared_bytes;
    for (int i = 0; i < dynamic_shared_guard; ++i) {
        if (guard[i] == 0xFF) continue;
        std::snprintf(launch_->fault->message, sizeof launch_->fault->message,
                      "a thread wrote %d bytes past the %u bytes of dynamic shared memory that the "
                      "launch asked for (shared_mem=)",
                      i, launch_->shared_bytes);
        launch_->fault->block = *launch_->module->block;
        failed_ = true;
        return;
    }
}

void Block::describe_current(Fault& fault) const {
    fault.block = *launch_->module->block;
    fault.has_thread = current_ != nullptr;
    if (current_) fault.thread = current_->index;
}

void Block::fail(Site site, const char* format, ...) {
    Fault& fault = *launch_->fault;
    va_list arguments;
    va_start(arguments, format);
    int length = std::vsnprintf(fault.message, sizeof fault.message, format, arguments);
    va_end(arguments);
    if (site.file && length >= 0 && length < static_cast<int>(sizeof fault.message))
        std::snprintf(fault.message + length, sizeof fault.message - static_cast<size_t>(length),
                      " (%s:%d)", site.file, site.line);
    describe_current(fault);
    stop();
}

void Block::stop_with_fault() {
    describe_current(*launch_->fault);
    stop();
}

// Leaves the block for good. The threads' stacks are given up without unwinding.
void Block::stop() {
    failed_ = true;
    Context abandoned;
    abandoned.switch_to(main_);
    __builtin_unreachable();
}

// Nobody can run and not everybody has exited: say who waits where.
void Block::report_deadlock() {
    Thread *at_barrier = nullptr, *in_warp = nullptr;
    int waiting = 0;
    for (int i = 0; i < size_; ++i) {
        Thread& thread = threads_[i];
        waiting += thread.state == State::at_barrier;
        if (thread.state == State::at_barrier && !at_barrier) at_barrier = &thread;
        if (thread.state == State::in_warp && !in_warp) in_warp = &thread;
    }
    if (!in_warp) {
        current_ = at_barrier;
        fail(at_barrier->waits_at,
             "divergent __syncthreads(): %d of the block's %d threads wait at the barrier, %d have "
             "exited without reaching it",
             waiting, size_, exited_);
    }
    current_ = in_warp;
    report_stuck_meeting();
}

// The same for the warp collective in which the current thread waits.
void Block::report_stuck_meeting() {
    const int first = number(current_) / warp_size * warp_size;
    const unsigned own_bit = 1u << (number(current_) - first);
    for (Meeting& meeting : warps_[first / warp_size].meetings) {
        if (!(meeting.arrived & own_bit)) continue;
        const unsigned missing = meeting.expected & ~meeting.arrived;
        unsigned exited = 0;
        for (int lane = 0; lane < warp_size; ++lane)
            if ((missing >> lane & 1) && threads_[first + lane].state == State::exited)
                exited |= 1u << lane;
        fail(current_->waits_at,
             "%s never completes: lanes 0x%08x of its mask 0x%08x arrived, lanes 0x%08x have "
             "exited, lanes 0x%08x wait elsewhere (divergent code needs a mask that names only "
             "the lanes which get there)",
             meeting.operation, meeting.arrived, meeting.mask, exited, missing & ~exited);
    }
    fail(current_->waits_at, "a warp collective never completes");
}

}  // namespace gpunet_emulator
