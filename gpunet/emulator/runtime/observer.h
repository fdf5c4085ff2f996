// Who watches a kernel run: the checks (checker.h) and whatever counts or records accesses.
//
// The checked build calls the runtime in front of every load and store (callbacks.h), and the
// scheduler tells of barriers and the like. Both go to each observer that the launch asks for. A
// launch without observers, and every launch of the fast build, pays one test per barrier.
#pragma once
#include <cstdint>

#include "block.h"

namespace gpunet_emulator {

// One access of one thread, about to happen. (In `a[0] = b[0]` the compiler may announce both
// accesses before either, so that what `a[0]` holds next is not known at the following call.)
struct Access {
    uintptr_t address;
    unsigned size;
    unsigned kind;      // reads | writes | ..., see abi.h
    const void* code;   // where in the module: the same for all threads and all times
    unsigned block;     // block.x + grid.x * (block.y + grid.y * block.z)
    unsigned thread;    // of the block: thread / 32 is its warp, thread % 32 its lane

    bool reads_memory() const { return kind & reads; }
    bool writes_memory() const { return kind & writes; }
};

class Observer {
  public:
    virtual ~Observer() = default;
    virtual void begin_launch(const Launch&) {}
    virtual void begin_block(unsigned /*block*/) {}
    // Not called for a thread's own stack.
    virtual void access(const Access&) = 0;
    virtual void fence(unsigned /*thread*/) {}
    // All threads of the block have arrived; none has gone on.
    virtual void barrier() {}
    // The lanes of this mask, of the warp whose first thread this is, meet in __syncwarp.
    virtual void warp_barrier(unsigned /*first_thread*/, unsigned /*lanes*/) {}
    // The thread stops running: it waits, or has exited. All it announced has happened.
    virtual void pause(unsigned /*thread*/) {}
    virtual void end_block() {}
    virtual void end_launch() {}
};

}  // namespace gpunet_emulator
