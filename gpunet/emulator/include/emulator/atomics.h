// Atomics on exactly the types for which CUDA has them, so that atomicMax(float*, float) fails
// to compile here as well. Only one thread runs at a time: a plain update is atomic.
#pragma once

#ifdef GPUNET_EMULATOR_CHECKED
#define GPUNET_SEE_ATOMIC(address)                                                           \
    gpunet_emulator::api->access(                                                            \
        address, sizeof *address,                                                            \
        gpunet_emulator::reads | gpunet_emulator::writes | gpunet_emulator::is_atomic,       \
        __builtin_return_address(0));
#else
#define GPUNET_SEE_ATOMIC(address)
#endif

#define GPUNET_ATOMIC_SCOPES(T, NAME)                                    \
    GPUNET_DEVICE __attribute__((always_inline)) T NAME##_block(         \
        T* address, T value) { return NAME(address, value); }            \
    GPUNET_DEVICE __attribute__((always_inline)) T NAME##_system(        \
        T* address, T value) { return NAME(address, value); }
#define GPUNET_ATOMIC(T, NAME, UPDATED)                        \
    GPUNET_DEVICE GPUNET_UNSEEN T NAME(T* address, T value) {  \
        GPUNET_SEE_ATOMIC(address)                             \
        const T old = *static_cast<volatile T*>(address);      \
        *static_cast<volatile T*>(address) = UPDATED;          \
        return old;                                            \
    }                                                          \
    GPUNET_ATOMIC_SCOPES(T, NAME)
#define GPUNET_ATOMIC_INTEGERS(NAME, UPDATED)          \
    GPUNET_ATOMIC(int, NAME, UPDATED)                  \
    GPUNET_ATOMIC(unsigned int, NAME, UPDATED)         \
    GPUNET_ATOMIC(unsigned long long, NAME, UPDATED)

GPUNET_ATOMIC_INTEGERS(atomicAdd, old + value)
GPUNET_ATOMIC(float, atomicAdd, old + value)
GPUNET_ATOMIC(double, atomicAdd, old + value)
GPUNET_ATOMIC(int, atomicSub, old - value)
GPUNET_ATOMIC(unsigned int, atomicSub, old - value)
GPUNET_ATOMIC_INTEGERS(atomicExch, value)
GPUNET_ATOMIC(float, atomicExch, value)
GPUNET_ATOMIC_INTEGERS(atomicMin, value < old ? value : old)
GPUNET_ATOMIC(long long, atomicMin, value < old ? value : old)
GPUNET_ATOMIC_INTEGERS(atomicMax, value > old ? value : old)
GPUNET_ATOMIC(long long, atomicMax, value > old ? value : old)
GPUNET_ATOMIC_INTEGERS(atomicAnd, old & value)
GPUNET_ATOMIC_INTEGERS(atomicOr, old | value)
GPUNET_ATOMIC_INTEGERS(atomicXor, old ^ value)
GPUNET_ATOMIC(unsigned int, atomicInc, old >= value ? 0 : old + 1)
GPUNET_ATOMIC(unsigned int, atomicDec, old == 0 || old > value ? value : old - 1)

#define GPUNET_ATOMIC_CAS(T)                                                       \
    GPUNET_DEVICE GPUNET_UNSEEN T atomicCAS(T* address, T expected, T value) {     \
        GPUNET_SEE_ATOMIC(address)                                                 \
        const T old = *static_cast<volatile T*>(address);                          \
        if (old == expected) *static_cast<volatile T*>(address) = value;           \
        return old;                                                                \
    }                                                                              \
    GPUNET_DEVICE __attribute__((always_inline)) T atomicCAS_block(                \
        T* address, T expected, T value) {                                         \
        return atomicCAS(address, expected, value);                                \
    }                                                                              \
    GPUNET_DEVICE __attribute__((always_inline)) T atomicCAS_system(               \
        T* address, T expected, T value) {                                         \
        return atomicCAS(address, expected, value);                                \
    }
GPUNET_ATOMIC_CAS(int)
GPUNET_ATOMIC_CAS(unsigned int)
GPUNET_ATOMIC_CAS(unsigned long long)
GPUNET_ATOMIC_CAS(unsigned short)
#undef GPUNET_ATOMIC_CAS
#undef GPUNET_ATOMIC_INTEGERS
