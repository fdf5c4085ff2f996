// Who am I, barriers, fences, printf, assert, __trap.
#pragma once

#define GPUNET_HIDDEN __attribute__((visibility("hidden")))

namespace gpunet_emulator {
// All of these are defined at the end of each module (translate.py).
GPUNET_HIDDEN extern const RuntimeApi* api;
// What the runtime writes and what kernels read are one variable under two names: to the
// compiler threadIdx is const, since for one thread it never changes, and it may keep it in a
// register across a barrier.
GPUNET_HIDDEN extern Index thread_index __asm__("gpunet_emulator_thread");
GPUNET_HIDDEN extern Index block_index __asm__("gpunet_emulator_block");
GPUNET_HIDDEN extern Index block_extent __asm__("gpunet_emulator_block_dim");
GPUNET_HIDDEN extern Index grid_extent __asm__("gpunet_emulator_grid_dim");
// Aligned for every vector type, and for swizzles that count on 1024 bytes.
GPUNET_HIDDEN extern unsigned char dynamic_shared[max_dynamic_shared + dynamic_shared_guard]
    __attribute__((aligned(1024)));
}  // namespace gpunet_emulator

GPUNET_HIDDEN extern const uint3 threadIdx __asm__("gpunet_emulator_thread");
GPUNET_HIDDEN extern const uint3 blockIdx __asm__("gpunet_emulator_block");
GPUNET_HIDDEN extern const dim3 blockDim __asm__("gpunet_emulator_block_dim");
GPUNET_HIDDEN extern const dim3 gridDim __asm__("gpunet_emulator_grid_dim");
static constexpr int warpSize = 32;

// The runtime's functions; nobody else reads its table.
namespace gpunet_emulator {
GPUNET_DEVICE GPUNET_UNSEEN int barrier(int id, bool predicate, Site site) {
    return api->barrier(id, predicate, site);
}
[[noreturn]] GPUNET_DEVICE GPUNET_UNSEEN void fail(const char* message, Site site) {
    api->fail(message, site);
}
GPUNET_DEVICE GPUNET_UNSEEN auto printer() { return api->print; }
}  // namespace gpunet_emulator

// Macros, because __COUNTER__ names the place in the source; see RuntimeApi::barrier.
#define GPUNET_SITE \
    gpunet_emulator::Site { __FILE__, __LINE__ }
#define GPUNET_BARRIER(predicate) \
    gpunet_emulator::barrier(__COUNTER__, static_cast<bool>(predicate), GPUNET_SITE)
#define __syncthreads() ((void)GPUNET_BARRIER(false))
#define __syncthreads_count(predicate) GPUNET_BARRIER(predicate)
#define __syncthreads_or(predicate) (GPUNET_BARRIER(predicate) != 0)
#define __syncthreads_and(predicate) \
    (GPUNET_BARRIER(predicate) == static_cast<int>(blockDim.x * blockDim.y * blockDim.z))

// One thread of the operating system runs everything in program order, so a fence only has to
// keep the compiler from moving memory accesses across it, and to tell the checks.
GPUNET_DEVICE GPUNET_UNSEEN void __threadfence() {
    __asm__ volatile("" ::: "memory");
#ifdef GPUNET_EMULATOR_CHECKED
    gpunet_emulator::api->fence();
#endif
}
GPUNET_DEVICE void __threadfence_block() { __threadfence(); }
GPUNET_DEVICE void __threadfence_system() { __threadfence(); }
GPUNET_DEVICE void __nanosleep(unsigned) {}

GPUNET_DEVICE long long clock64() {
#ifdef __x86_64__
    return static_cast<long long>(__builtin_ia32_rdtsc());
#else
    return 0;
#endif
}
GPUNET_DEVICE clock_t clock() { return static_cast<clock_t>(clock64()); }

#define printf(...) gpunet_emulator::printer()(__VA_ARGS__)
#define __trap() gpunet_emulator::fail("__trap()", GPUNET_SITE)
#define __brkpt() ((void)0)
#ifdef NDEBUG
#define assert(condition) ((void)0)
#else
#define assert(...)             \
    ((__VA_ARGS__) ? (void)0    \
                   : gpunet_emulator::fail("assertion failed: " #__VA_ARGS__, GPUNET_SITE))
#endif
#define __builtin_assume(condition) ((void)0)
#define __assume(condition) ((void)0)
