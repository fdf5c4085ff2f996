// __half and __half2: IEEE half precision.
#pragma once
#include "emulator/half_template.h"

namespace gpunet_emulator {
struct Binary16 {
#ifdef __aarch64__
    using Storage = __fp16;
#else
    using Storage = _Float16;
#endif
    template <class T> static unsigned short encode(T x) {
        if (x != x) return 0x7FFF;  // the device's NaN
        return bit_cast<unsigned short>(static_cast<Storage>(x));
    }
    static float decode(unsigned short bits) { return static_cast<float>(bit_cast<Storage>(bits)); }
};
}  // namespace gpunet_emulator

using __half = gpunet_emulator::Half<gpunet_emulator::Binary16>;
GPUNET_HALF_INTRINSICS(__half, __half2)

// Conversions.
GPUNET_DEVICE __half __float2half(float x) { return __half(x); }
GPUNET_DEVICE __half __float2half_rn(float x) { return __half(x); }
GPUNET_DEVICE __half __double2half(double x) { return __half(x); }
GPUNET_DEVICE __half __int2half_rn(int x) { return __half(x); }
GPUNET_DEVICE __half __uint2half_rn(unsigned x) { return __half(x); }
GPUNET_DEVICE __half __ll2half_rn(long long x) { return __half(x); }
GPUNET_DEVICE __half __ull2half_rn(unsigned long long x) { return __half(x); }
GPUNET_DEVICE float __half2float(__half x) { return x.value(); }
GPUNET_DEVICE int __half2int_rn(__half x) { return __float2int_rn(x.value()); }
GPUNET_DEVICE int __half2int_rz(__half x) { return __float2int_rz(x.value()); }
GPUNET_DEVICE unsigned short __half_as_ushort(__half x) { return x.bits; }
GPUNET_DEVICE short __half_as_short(__half x) { return static_cast<short>(x.bits); }
GPUNET_DEVICE __half __ushort_as_half(unsigned short bits) {
    __half x;
    x.bits = bits;
    return x;
}
GPUNET_DEVICE __half __short_as_half(short bits) {
    return __ushort_as_half(static_cast<unsigned short>(bits));
}

// Pairs.
GPUNET_DEVICE __half2 __floats2half2_rn(float x, float y) { return {__half(x), __half(y)}; }
GPUNET_DEVICE __half2 __float2half2_rn(float x) { return {__half(x), __half(x)}; }
GPUNET_DEVICE __half2 __float22half2_rn(float2 v) { return {__half(v.x), __half(v.y)}; }
GPUNET_DEVICE float2 __half22float2(__half2 v) { return {v.x.value(), v.y.value()}; }
GPUNET_DEVICE __half2 __half2half2(__half x) { return {x, x}; }
GPUNET_DEVICE __half2 __halves2half2(__half x, __half y) { return {x, y}; }
GPUNET_DEVICE __half2 make_half2(__half x, __half y) { return {x, y}; }
GPUNET_DEVICE __half __low2half(__half2 v) { return v.x; }
GPUNET_DEVICE __half __high2half(__half2 v) { return v.y; }

namespace gpunet_emulator {
GPUNET_DTYPE(__half, "float16")
GPUNET_DTYPE(__half2, "float16")
GPUNET_SHUFFLED(__half)
GPUNET_SHUFFLED(__half2)
}  // namespace gpunet_emulator

using half = __half;
using half2 = __half2;
