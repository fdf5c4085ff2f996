// One block of threads: who runs, who waits, and what happens at barriers and warp collectives.
//
// Threads start in order, and all on one fibre for as long as none has to wait: a kernel without
// barriers is a plain loop of calls. Only when a thread waits is another fibre taken, for the
// next thread. Blocks run one after another.
#pragma once
#include "../include/emulator/abi.h"
#include "fibre.h"

#include <cstdint>

namespace gpunet_emulator {

constexpr int max_threads = 1024;
constexpr int warp_size = 32;

enum class State : unsigned char { unstarted, ready, running, at_barrier, in_warp, exited };

// A rendezvous of the lanes of one warp that are named in one mask.
struct Meeting {
    unsigned mask = 0;
    unsigned expected = 0;  // the mask's lanes that exist
    unsigned arrived = 0;
    unsigned readers = 0;  // lanes that were released and did not yet fetch the values
    const char* operation = "";
    int size = 0;
    Site site{};
    LaneValue values[warp_size];
    bool free() const { return arrived == 0 && readers == 0; }
};

struct Warp {
    unsigned lanes = 0;  // those that exist: the last warp of a block may be short
    // A lane waits in or reads from one meeting at a time, so 32 always suffice.
    Meeting meetings[warp_size];
};

// The last atomic or volatile access of a thread, and how often it has seen the same there.
struct Repetition {
    uintptr_t address;
    uint64_t value;
    unsigned count;
};

struct Thread {
    Index index;
    State state;
    Fibre* fibre;
    Site waits_at;
    Repetition repetition;
};

// What the checks found (reports.py has the same numbers); a plain fault is all in its message.
enum class FaultKind : int { plain, out_of_bounds, misaligned, unwritten, read_only, race, endless };

// What Python reads after a launch that failed (module.py has the same layout).
struct Fault {
    char message[2048];
    Index block, thread;
    int has_thread;
    const void* address;  // of a bad memory access, else null
    const void* code;     // the instruction that did it, else null
    FaultKind kind;
    unsigned access, size;  // what the instruction does (abi.h) to how many bytes
    // Of a race, the earlier access:
    const void* other_code;
    unsigned other_access;
    Index other_block, other_thread;
};

// Random numbers for the order of threads: xorshift (Marsaglia, 2003).
class Shuffle {
  public:
    void seed(uint64_t seed) { state_ = seed * 0x9E3779B97F4A7C15ull | 1; }
    unsigned below(unsigned n) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return static_cast<unsigned>((state_ >> 32) * n >> 32);
    }

  private:
    uint64_t state_ = 1;
};

// Threads that can go on, oldest first. A thread is in it at most once.
class ReadyQueue {
  public:
    void clear() { head_ = tail_ = 0; }
    bool empty() const { return head_ == tail_; }
    void push_back(Thread* thread) { ring_[tail_++ % capacity] = thread; }
    void push_front(Thread* thread) { ring_[--head_ % capacity] = thread; }
    Thread* pop() { return ring_[head_++ % capacity]; }
    Thread* pop_any(Shuffle& shuffle) {
        Thread*& oldest = ring_[head_ % capacity];
        Thread*& any = ring_[(head_ + shuffle.below(tail_ - head_)) % capacity];
        Thread* chosen = any;
        any = oldest;
        ++head_;
        return chosen;
    }

  private:
    static constexpr unsigned capacity = 2 * max_threads;  // a power of two: indices may wrap
    Thread* ring_[capacity];
    unsigned head_ = 0, tail_ = 0;
};

class Observer;
struct Access;

struct Launch {
    const ModuleInfo* module;
    void (*call)(void** arguments);
    void** arguments;
    Index grid, block;
    int threads_per_block;
    unsigned shared_bytes;
    Fault* fault;
    Observer* const* observers;
    int observer_count;
    uint64_t seed;  // of the order of blocks and threads; 0: one after another
};

class Block {
  public:
    // Runs all threads of the grid's block of this number. False after a fault.
    bool run(const Launch& launch, unsigned number);
    // An access that the running thread announces (checked build).
    void access(const void* address, unsigned size, unsigned kind, const void* code);
    void fence();
    // After a fault the fibres stand anywhere: forget them.
    void abandon() {
        fibres_made_ = free_fibres_ = 0;
        for (Warp& warp : warps_)
            for (Meeting& meeting : warp.meetings)
                meeting.mask = meeting.arrived = meeting.readers = 0;
    }

    int barrier(int id, int predicate, Site site);
    const LaneValue* exchange(unsigned mask, const char* operation, const void* value, int size,
                              unsigned* lanes, Site site);
    unsigned lane() const { return static_cast<unsigned>(number(current_) % warp_size); }
    [[noreturn]] void fail(Site site, const char* format, ...);
    [[noreturn]] void stop_with_fault();  // everything but the thread is filled in
    void describe_current(Fault& fault) const;
    Index thread_index(unsigned thread) const;
    Index block_index(unsigned number) const;
    bool overflowed_stack(const void* address) const {
        return current_ && current_->fibre && current_->fibre->guards(address);
    }

  private:
    static void fibre_main();
    void set_up_threads();
    void run_threads();
    void start_next();
    void watch_for_endless_loop(const Access& access);
    void leave(Fibre* fibre);
    void wait(State state, Site site);
    Fibre* take_fibre();
    void release_barrier();
    Meeting& join(Warp& warp, unsigned mask, const char* operation, int size, Site site);
    void check_shared_guard();
    [[noreturn]] void report_deadlock();
    [[noreturn]] void report_stuck_meeting();
    [[noreturn]] void stop();
    int number(const Thread* thread) const { return static_cast<int>(thread - threads_); }
    // Tells every observer: notify(&Observer::fence, thread).
    template <class... Parameters, class... Arguments>
    void notify(void (Observer::*event)(Parameters...), Arguments... arguments);

    const Launch* launch_ = nullptr;
    int size_ = 0, started_ = 0, exited_ = 0;
    Index next_{};
    unsigned number_ = 0;  // of the block in its grid
    Shuffle shuffle_;
    short order_[max_threads];  // in which threads start
    bool start_others_first_ = false;
    Thread* current_ = nullptr;
    ReadyQueue ready_;

    int barrier_id_ = 0, at_barrier_ = 0, predicates_ = 0, result_ = 0;
    Site barrier_site_{};

    Context main_;
    int fibres_made_ = 0, free_fibres_ = 0;
    Fibre fibres_[max_threads];
    Fibre* free_[max_threads];
    Thread threads_[max_threads];
    Warp warps_[max_threads / warp_size];
    bool failed_ = false;
};

}  // namespace gpunet_emulator
