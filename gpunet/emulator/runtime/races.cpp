// See races.h.
#include "races.h"

namespace gpunet_emulator {

void Races::begin_launch(const unsigned char* module) {
    constexpr size_t most_pages = 4096;  // 200 MB
    constexpr uint32_t last_number = 3u << 30;
    if (shadow_.pages() > most_pages || next_ > last_number) shadow_.clear();
    if (next_ > last_number) {
        next_ = 1;
        std::fill(std::begin(current_), std::end(current_), 0);
    }
    module_ = module;
    moments_.clear();
    fences_.clear();
    releases_.clear();
    fenced_ = false;
    first_of_launch_ = next_;
}

void Races::begin_block(unsigned block) {
    block_ = block;
    epoch_ = 0;
    first_of_block_ = next_;
    acquires_.clear();
    if (warps_met_) std::fill(std::begin(seen_), std::end(seen_), Seen{});
    warps_met_ = false;
}

uint32_t Races::start_moment(unsigned thread) {
    moments_.push_back({block_, epoch_, thread});
    return current_[thread] = next_++;
}

uint32_t Races::now(unsigned thread) {
    const uint32_t id = current_[thread];
    return id >= first_of_block_ && moment(id).epoch == epoch_ ? id : start_moment(thread);
}

void Races::warp_barrier(unsigned first_thread, unsigned lanes) {
    warps_met_ = true;
    Seen joined{};
    for (unsigned lane = 0; lane < warp_size; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        Seen& seen = seen_[first_thread + lane];
        seen[lane] = now(first_thread + lane);
        for (unsigned other = 0; other < warp_size; ++other)
            joined[other] = std::max(joined[other], seen[other]);
    }
    for (unsigned lane = 0; lane < warp_size; ++lane) {
        if (!(lanes >> lane & 1)) continue;
        seen_[first_thread + lane] = joined;
        start_moment(first_thread + lane);
    }
}

void Races::fence(unsigned thread) {
    fenced_ = true;
    fences_[key(block_, thread)].push_back({now(thread), epoch_, seen_[thread]});
    start_moment(thread);
}

// Whether the release makes known what the mark stands for.
bool Races::released(const Mark& mark, const Moment& then, const Release& release) const {
    if (then.block != release.block) return false;
    const bool same_warp = then.thread / warp_size == release.thread / warp_size;
    const unsigned lane = then.thread % warp_size;
    // Its own thread has fenced, and met the releasing one afterwards ...
    if (auto own = fences_.find(key(then.block, then.thread)); own != fences_.end())
        for (const Fence& fence : own->second)
            if (fence.moment >= mark.moment &&
                ((then.thread == release.thread && fence.moment < release.moment) ||
                 fence.epoch < release.epoch ||
                 (same_warp && release.seen[lane] > fence.moment)))
                return true;
    // ... or it met the releasing thread, which has fenced afterwards.
    if (auto its = fences_.find(key(release.block, release.thread)); its != fences_.end())
        for (const Fence& fence : its->second)
            if (fence.moment < release.moment &&
                (then.epoch < fence.epoch || (same_warp && fence.seen[lane] >= mark.moment)))
                return true;
    return false;
}

bool Races::visible(const Acquire& acquire, unsigned thread) const {
    if (acquire.thread == thread || acquire.epoch < epoch_) return true;
    return acquire.thread / warp_size == thread / warp_size &&
           seen_[thread][acquire.thread % warp_size] >= acquire.moment;
}

bool Races::before(const Mark& mark, const Access& a) {
    const Moment& then = moment(mark.moment);
    if (then.block == block_) {
        if (then.thread == a.thread || then.epoch < epoch_) return true;
        if (then.thread / warp_size == a.thread / warp_size &&
            seen_[a.thread][then.thread % warp_size] >= mark.moment)
            return true;
    }
    for (const Acquire& acquire : acquires_) {
        if (!visible(acquire, a.thread)) continue;
        // Atomics on one address have an order of their own.
        if (acquire.address == a.address && (mark.kind & (is_atomic | is_volatile))) return true;
        const std::vector<Release>& releases = releases_[acquire.address];
        for (size_t i = 0; i < acquire.count; ++i)
            if (released(mark, then, releases[i])) return true;
    }
    return false;
}

const Mark* Races::conflict(const Mark* marks, const Access& a, unsigned bytes, bool shared) {
    for (const Mark* mark = marks; mark < marks + 2; ++mark) {
        if (stale(*mark, shared) || !(mark->bytes & bytes)) continue;
        if (relaxed(a.kind, shared) && relaxed(mark->kind, shared)) continue;
        if (!before(*mark, a)) return mark;
    }
    return nullptr;
}

// Replaces what is no longer needed: the thread's own mark, or one that comes before the new one.
void Races::remember(Mark* marks, const Mark& mark, const Access& a, bool shared) {
    for (Mark* old = marks; old < marks + 2; ++old)
        if (old->moment == mark.moment && old->kind == mark.kind) {
            old->bytes |= mark.bytes;
            old->code = mark.code;
            return;
        }
    for (Mark* old = marks; old < marks + 2; ++old)
        if (stale(*old, shared) || (!(old->bytes & ~mark.bytes) && before(*old, a))) {
            *old = mark;
            return;
        }
    marks[1] = marks[0];
    marks[0] = mark;
}

const Mark* Races::access(const Access& a, bool shared) {
    const Mark* found = nullptr;
    Mark mark;
    mark.moment = now(a.thread);
    mark.code = static_cast<uint32_t>(static_cast<const unsigned char*>(a.code) - module_);
    mark.kind = static_cast<uint8_t>(a.kind);
    static Mark kept;  // what was found, before `remember` overwrites it
    const uint64_t end = a.address + a.size;
    for (uint64_t address = a.address & ~uint64_t{3}; address < end; address += 4) {
        unsigned bytes = 15;
        if (address < a.address) bytes &= 15u << (a.address - address);
        if (address + 4 > end) bytes &= 15u >> (address + 4 - end);
        mark.bytes = static_cast<uint8_t>(bytes);
        Word& word = shadow_.word(address);
        const Mark* other = conflict(word.writes, a, bytes, shared);
        if (!other && a.writes_memory()) other = conflict(word.reads, a, bytes, shared);
        if (other && !found) {
            kept = *other;
            found = &kept;
        }
        remember(a.writes_memory() ? word.writes : word.reads, mark, a, shared);
    }
    if (fenced_ && relaxed(a.kind, shared)) synchronise(a);
    return found;
}

// Takes over what was released at this address, and releases what this thread knows.
void Races::synchronise(const Access& a) {
    std::vector<Release>& here = releases_[a.address];
    const uint32_t moment = now(a.thread);
    const size_t count = here.size();
    if (a.reads_memory() && count > 0) {
        auto same = [&](const Acquire& old) {
            return old.thread == a.thread && old.epoch == epoch_ && old.address == a.address;
        };
        const auto old = std::find_if(acquires_.begin(), acquires_.end(), same);
        if (old != acquires_.end()) {
            old->count = count;
        } else {
            acquires_.push_back({a.thread, epoch_, moment, a.address, count});
        }
    }
    // A thread that has not synchronised since it released here has nothing new to tell.
    if (!a.writes_memory() || (count > 0 && here.back().moment == moment)) return;
    here.push_back({block_, a.thread, epoch_, moment, seen_[a.thread]});
    for (const Acquire& acquire : acquires_) {  // what came from others goes on to the next
        if (acquire.address == a.address || !visible(acquire, a.thread)) continue;
        const std::vector<Release>& there = releases_[acquire.address];
        here.insert(here.end(), there.begin(), there.begin() + static_cast<long>(acquire.count));
    }
}

bool Races::was_written(uint64_t address, bool shared) {
    const Word& word = shadow_.word(address);
    return !stale(word.writes[0], shared) || !stale(word.writes[1], shared);
}

}  // namespace gpunet_emulator
