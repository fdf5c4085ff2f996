// What __half and __nv_bfloat16 have in common: 16 bits of storage, arithmetic in single
// precision, rounding to nearest even after every operation. For +, -, *, / and sqrt that gives
// the device's bits, since single precision has more than twice the digits.
#pragma once

namespace gpunet_emulator {

// `Format` converts: `unsigned short encode(float or double)`, `float decode(unsigned short)`.
template <class Format> struct Half {
    unsigned short bits;

    Half() = default;
    Half(float x) : bits(Format::encode(x)) {}
    Half(double x) : bits(Format::encode(x)) {}
    Half(short x) : Half(static_cast<double>(x)) {}
    Half(unsigned short x) : Half(static_cast<double>(x)) {}
    Half(int x) : Half(static_cast<double>(x)) {}
    Half(unsigned int x) : Half(static_cast<double>(x)) {}
    Half(long x) : Half(static_cast<double>(x)) {}
    Half(unsigned long x) : Half(static_cast<double>(x)) {}
    Half(long long x) : Half(static_cast<double>(x)) {}
    Half(unsigned long long x) : Half(static_cast<double>(x)) {}
    operator float() const { return Format::decode(bits); }
    float value() const { return Format::decode(bits); }

    Half& operator+=(Half other) { return *this = value() + other.value(); }
    Half& operator-=(Half other) { return *this = value() - other.value(); }
    Half& operator*=(Half other) { return *this = value() * other.value(); }
    Half& operator/=(Half other) { return *this = value() / other.value(); }
    Half& operator++() { return *this = value() + 1.0f; }
    Half& operator--() { return *this = value() - 1.0f; }

    // Friends, not templates: as with CUDA's own, `half + 1.0f` is ambiguous and does not compile.
    friend Half operator+(Half a, Half b) { return a.value() + b.value(); }
    friend Half operator-(Half a, Half b) { return a.value() - b.value(); }
    friend Half operator*(Half a, Half b) { return a.value() * b.value(); }
    friend Half operator/(Half a, Half b) { return a.value() / b.value(); }
    friend bool operator==(Half a, Half b) { return a.value() == b.value(); }
    friend bool operator!=(Half a, Half b) { return a.value() != b.value(); }
    friend bool operator<(Half a, Half b) { return a.value() < b.value(); }
    friend bool operator<=(Half a, Half b) { return a.value() <= b.value(); }
    friend bool operator>(Half a, Half b) { return a.value() > b.value(); }
    friend bool operator>=(Half a, Half b) { return a.value() >= b.value(); }
    friend Half operator+(Half a) { return a; }
    friend Half operator-(Half a) {
        a.bits ^= 0x8000;  // also of NaN and zero
        return a;
    }
};

}  // namespace gpunet_emulator

// The intrinsics of one 16-bit type H and its pair H2. The letters of their names differ only
// where a conversion names the type, so those stand in cuda_fp16.h and cuda_bf16.h.
#define GPUNET_HALF_INTRINSICS(H, H2)                                                             \
    struct __attribute__((aligned(4))) H2 {                                                       \
        H x, y;                                                                                   \
        H2() = default;                                                                           \
        H2(H x, H y) : x(x), y(y) {}                                                              \
    };                                                                                            \
    GPUNET_DEVICE H2 operator+(H2 a, H2 b) { return {a.x + b.x, a.y + b.y}; }                     \
    GPUNET_DEVICE H2 operator-(H2 a, H2 b) { return {a.x - b.x, a.y - b.y}; }                     \
    GPUNET_DEVICE H2 operator*(H2 a, H2 b) { return {a.x * b.x, a.y * b.y}; }                     \
    GPUNET_DEVICE H2 operator/(H2 a, H2 b) { return {a.x / b.x, a.y / b.y}; }                     \
    GPUNET_DEVICE H2 operator-(H2 a) { return {-a.x, -a.y}; }                                     \
    GPUNET_DEVICE H2& operator+=(H2& a, H2 b) { return a = a + b; }                               \
    GPUNET_DEVICE H2& operator-=(H2& a, H2 b) { return a = a - b; }                               \
    GPUNET_DEVICE H2& operator*=(H2& a, H2 b) { return a = a * b; }                               \
    GPUNET_DEVICE H __hadd(H a, H b) { return a + b; }                                            \
    GPUNET_DEVICE H __hsub(H a, H b) { return a - b; }                                            \
    GPUNET_DEVICE H __hmul(H a, H b) { return a * b; }                                            \
    GPUNET_DEVICE H __hdiv(H a, H b) { return a / b; }                                            \
    GPUNET_DEVICE H __hneg(H a) { return -a; }                                                    \
    GPUNET_DEVICE H __habs(H a) {                                                                 \
        a.bits &= 0x7FFF;                                                                         \
        return a;                                                                                 \
    }                                                                                             \
    /* In double precision the product is exact; only the sum may round twice. */                 \
    GPUNET_DEVICE H __hfma(H a, H b, H c) {                                                       \
        return H(static_cast<double>(a.value()) * static_cast<double>(b.value()) +                \
                 static_cast<double>(c.value()));                                                 \
    }                                                                                             \
    GPUNET_DEVICE H __hmax(H a, H b) { return H(fmaxf(a.value(), b.value())); }                   \
    GPUNET_DEVICE H __hmin(H a, H b) { return H(fminf(a.value(), b.value())); }                   \
    GPUNET_DEVICE bool __heq(H a, H b) { return a == b; }                                         \
    /* Unlike !=, false if one of them is NaN. */                                                 \
    GPUNET_DEVICE bool __hne(H a, H b) { return a < b || a > b; }                                 \
    GPUNET_DEVICE bool __hlt(H a, H b) { return a < b; }                                          \
    GPUNET_DEVICE bool __hle(H a, H b) { return a <= b; }                                         \
    GPUNET_DEVICE bool __hgt(H a, H b) { return a > b; }                                          \
    GPUNET_DEVICE bool __hge(H a, H b) { return a >= b; }                                         \
    GPUNET_DEVICE bool __hisnan(H a) { return isnan(a.value()); }                                 \
    GPUNET_DEVICE int __hisinf(H a) { return __builtin_isinf_sign(a.value()); }                   \
    GPUNET_DEVICE H hexp(H a) { return H(expf(a.value())); }                                      \
    GPUNET_DEVICE H hexp2(H a) { return H(exp2f(a.value())); }                                    \
    GPUNET_DEVICE H hlog(H a) { return H(logf(a.value())); }                                      \
    GPUNET_DEVICE H hlog2(H a) { return H(log2f(a.value())); }                                    \
    GPUNET_DEVICE H hsqrt(H a) { return H(sqrtf(a.value())); }                                    \
    GPUNET_DEVICE H hrsqrt(H a) { return H(rsqrtf(a.value())); }                                  \
    GPUNET_DEVICE H hrcp(H a) { return H(1.0f / a.value()); }                                     \
    GPUNET_DEVICE H hsin(H a) { return H(sinf(a.value())); }                                      \
    GPUNET_DEVICE H hcos(H a) { return H(cosf(a.value())); }                                      \
    GPUNET_DEVICE H htanh(H a) { return H(tanhf(a.value())); }                                    \
    GPUNET_DEVICE H hfloor(H a) { return H(floorf(a.value())); }                                  \
    GPUNET_DEVICE H hceil(H a) { return H(ceilf(a.value())); }                                    \
    GPUNET_DEVICE H hrint(H a) { return H(rintf(a.value())); }                                    \
    GPUNET_DEVICE H2 __hadd2(H2 a, H2 b) { return a + b; }                                        \
    GPUNET_DEVICE H2 __hsub2(H2 a, H2 b) { return a - b; }                                        \
    GPUNET_DEVICE H2 __hmul2(H2 a, H2 b) { return a * b; }                                        \
    GPUNET_DEVICE H2 __h2div(H2 a, H2 b) { return a / b; }                                        \
    GPUNET_DEVICE H2 __hneg2(H2 a) { return -a; }                                                 \
    GPUNET_DEVICE H2 __habs2(H2 a) { return {__habs(a.x), __habs(a.y)}; }                         \
    GPUNET_DEVICE H2 __hfma2(H2 a, H2 b, H2 c) {                                                  \
        return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};                                    \
    }                                                                                             \
    GPUNET_DEVICE H2 __hmax2(H2 a, H2 b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }         \
    GPUNET_DEVICE H2 __hmin2(H2 a, H2 b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }         \
    GPUNET_DEVICE H2 h2exp(H2 a) { return {hexp(a.x), hexp(a.y)}; }                               \
    GPUNET_DEVICE H2 h2log(H2 a) { return {hlog(a.x), hlog(a.y)}; }                               \
    GPUNET_DEVICE H2 h2sqrt(H2 a) { return {hsqrt(a.x), hsqrt(a.y)}; }                            \
    GPUNET_DEVICE H2 h2rsqrt(H2 a) { return {hrsqrt(a.x), hrsqrt(a.y)}; }                         \
    GPUNET_DEVICE H2 h2tanh(H2 a) { return {htanh(a.x), htanh(a.y)}; }                            \
    GPUNET_DEVICE float __low2float(H2 a) { return a.x; }                                         \
    GPUNET_DEVICE float __high2float(H2 a) { return a.y; }                                        \
    GPUNET_DEVICE H atomicAdd(H* address, H value) {                                              \
        const H old = *address;                                                                   \
        *address = old + value;                                                                   \
        return old;                                                                               \
    }                                                                                             \
    GPUNET_DEVICE H2 atomicAdd(H2* address, H2 value) {                                           \
        const H2 old = *address;                                                                  \
        *address = old + value;                                                                   \
        return old;                                                                               \
    }
