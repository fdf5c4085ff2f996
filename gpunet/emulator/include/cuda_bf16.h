// __nv_bfloat16 and __nv_bfloat162: the upper half of a float.
#pragma once
#include "emulator/half_template.h"

namespace gpunet_emulator {
struct Bfloat16 {
    static unsigned short encode(float x) {
        if (x != x) return 0x7FFF;  // the device's NaN
        const unsigned bits = __float_as_uint(x);
        return static_cast<unsigned short>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    }
    // By way of a float rounded to odd: its last bit says that something was cut off, so that
    // the second rounding goes the right way.
    static unsigned short encode(double x) {
        const float nearest = static_cast<float>(x);
        if (static_cast<double>(nearest) == x || x != x) return encode(nearest);
        unsigned bits = __float_as_uint(nearest);
        if (fabs(static_cast<double>(nearest)) > fabs(x)) --bits;  // truncate towards zero
        return encode(__uint_as_float(bits | 1));
    }
    static float decode(unsigned short bits) {
        return __uint_as_float(static_cast<unsigned>(bits) << 16);
    }
};
}  // namespace gpunet_emulator

using __nv_bfloat16 = gpunet_emulator::Half<gpunet_emulator::Bfloat16>;
GPUNET_HALF_INTRINSICS(__nv_bfloat16, __nv_bfloat162)

// Conversions.
GPUNET_DEVICE __nv_bfloat16 __float2bfloat16(float x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __double2bfloat16(double x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __int2bfloat16_rn(int x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __uint2bfloat16_rn(unsigned x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __ll2bfloat16_rn(long long x) { return __nv_bfloat16(x); }
GPUNET_DEVICE __nv_bfloat16 __ull2bfloat16_rn(unsigned long long x) { return __nv_bfloat16(x); }
GPUNET_DEVICE float __bfloat162float(__nv_bfloat16 x) { return x.value(); }
GPUNET_DEVICE int __bfloat162int_rn(__nv_bfloat16 x) { return __float2int_rn(x.value()); }
GPUNET_DEVICE int __bfloat162int_rz(__nv_bfloat16 x) { return __float2int_rz(x.value()); }
GPUNET_DEVICE unsigned short __bfloat16_as_ushort(__nv_bfloat16 x) { return x.bits; }
GPUNET_DEVICE short __bfloat16_as_short(__nv_bfloat16 x) { return static_cast<short>(x.bits); }
GPUNET_DEVICE __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
    __nv_bfloat16 x;
    x.bits = bits;
    return x;
}
GPUNET_DEVICE __nv_bfloat16 __short_as_bfloat16(short bits) {
    return __ushort_as_bfloat16(static_cast<unsigned short>(bits));
}

// Pairs.
GPUNET_DEVICE __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
    return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
GPUNET_DEVICE __nv_bfloat162 __float2bfloat162_rn(float x) {
    return {__nv_bfloat16(x), __nv_bfloat16(x)};
}
GPUNET_DEVICE __nv_bfloat162 __float22bfloat162_rn(float2 v) {
    return {__nv_bfloat16(v.x), __nv_bfloat16(v.y)};
}
GPUNET_DEVICE float2 __bfloat1622float2(__nv_bfloat162 v) { return {v.x.value(), v.y.value()}; }
GPUNET_DEVICE __nv_bfloat162 __bfloat162bfloat162(__nv_bfloat16 x) { return {x, x}; }
GPUNET_DEVICE __nv_bfloat162 __halves2bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
GPUNET_DEVICE __nv_bfloat162 make_bfloat162(__nv_bfloat16 x, __nv_bfloat16 y) { return {x, y}; }
GPUNET_DEVICE __nv_bfloat16 __low2bfloat16(__nv_bfloat162 v) { return v.x; }
GPUNET_DEVICE __nv_bfloat16 __high2bfloat16(__nv_bfloat162 v) { return v.y; }

namespace gpunet_emulator {
GPUNET_DTYPE(__nv_bfloat16, "bfloat16")
GPUNET_DTYPE(__nv_bfloat162, "bfloat16")
GPUNET_SHUFFLED(__nv_bfloat16)
GPUNET_SHUFFLED(__nv_bfloat162)
}  // namespace gpunet_emulator

using nv_bfloat16 = __nv_bfloat16;
using nv_bfloat162 = __nv_bfloat162;
