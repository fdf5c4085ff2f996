// The CUDA C++ dialect for g++: included in front of every kernel source (build.py). It stands in
// for what NVRTC defines by itself and for nothing more: no header of the host compiler is
// included (-nostdinc), so INFINITY, FLT_MAX, uint32_t or std::min fail here as they do there.
//
// `__global__`, `__shared__` and `__launch_bounds__` are no macros: translate.py rewrites them
// in the preprocessed text.
#pragma once

#define GPUNET_EMULATOR 1
#define __CUDACC_RTC__ 1
#define __CUDACC__ 1
#define __CUDA_ARCH__ 800

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __inline_hint__
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __builtin_align__(bytes) __attribute__((aligned(bytes)))

// Every function that stands in for a device intrinsic. A build profile that instruments loads
// and stores must not see those of the emulator itself: it can define this differently.
#ifndef GPUNET_DEVICE
#define GPUNET_DEVICE static inline __attribute__((unused))
#endif

// In a checked build: a function whose loads and stores are the emulator's own, not the kernel's.
// It stays a call, so that its return address is a place in the kernel.
#ifdef GPUNET_EMULATOR_CHECKED
#define GPUNET_UNSEEN __attribute__((noinline, no_sanitize("thread", "undefined")))
#else
#define GPUNET_UNSEEN
#endif

#include "emulator/abi.h"
#include "emulator/traits.h"
#include "emulator/vector_types.h"
// (the order matters from here on: later files use earlier ones)
#include "emulator/threads.h"
#ifdef GPUNET_EMULATOR_CHECKED
#include "emulator/callbacks.h"
#endif
#include "emulator/math.h"
#include "emulator/atomics.h"
#include "emulator/warp.h"
#include "emulator/kernel.h"

// translate.py finds the user's source behind this line.
struct gpunet_emulator_source_follows;
