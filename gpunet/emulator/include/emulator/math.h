// Maths, conversions, bit tricks and cached loads. Single precision stays single precision, as on
// the device; the fast intrinsics (__expf, ...) are the plain functions, so they are exacter here.
#pragma once

// Two plain overloads as in CUDA, so that what NVRTC finds ambiguous (sqrt(2)) is that here too.
#define GPUNET_UNARY(name)                            \
    extern "C" double name(double) noexcept;          \
    extern "C" float name##f(float) noexcept;         \
    GPUNET_DEVICE float name(float x) { return name##f(x); }
#define GPUNET_BINARY(name)                           \
    extern "C" double name(double, double) noexcept;  \
    extern "C" float name##f(float, float) noexcept;  \
    GPUNET_DEVICE float name(float x, float y) { return name##f(x, y); }

GPUNET_UNARY(exp)
GPUNET_UNARY(exp2)
GPUNET_UNARY(exp10)
GPUNET_UNARY(expm1)
GPUNET_UNARY(log)
GPUNET_UNARY(log2)
GPUNET_UNARY(log10)
GPUNET_UNARY(log1p)
GPUNET_UNARY(logb)
GPUNET_UNARY(sqrt)
GPUNET_UNARY(cbrt)
GPUNET_UNARY(sin)
GPUNET_UNARY(cos)
GPUNET_UNARY(tan)
GPUNET_UNARY(asin)
GPUNET_UNARY(acos)
GPUNET_UNARY(atan)
GPUNET_UNARY(sinh)
GPUNET_UNARY(cosh)
GPUNET_UNARY(tanh)
GPUNET_UNARY(asinh)
GPUNET_UNARY(acosh)
GPUNET_UNARY(atanh)
GPUNET_UNARY(erf)
GPUNET_UNARY(erfc)
GPUNET_UNARY(tgamma)
GPUNET_UNARY(lgamma)
GPUNET_UNARY(floor)
GPUNET_UNARY(ceil)
GPUNET_UNARY(trunc)
GPUNET_UNARY(round)
GPUNET_UNARY(rint)
GPUNET_UNARY(nearbyint)
GPUNET_UNARY(fabs)
GPUNET_BINARY(pow)
GPUNET_BINARY(fmod)
GPUNET_BINARY(remainder)
GPUNET_BINARY(hypot)
GPUNET_BINARY(atan2)
GPUNET_BINARY(fdim)
GPUNET_BINARY(fmin)
GPUNET_BINARY(fmax)
GPUNET_BINARY(copysign)
GPUNET_BINARY(nextafter)
#undef GPUNET_UNARY
#undef GPUNET_BINARY

extern "C" {
double fma(double, double, double) noexcept;
float fmaf(float, float, float) noexcept;
double ldexp(double, int) noexcept;
float ldexpf(float, int) noexcept;
double scalbn(double, int) noexcept;
float scalbnf(float, int) noexcept;
double frexp(double, int*) noexcept;
float frexpf(float, int*) noexcept;
double modf(double, double*) noexcept;
float modff(float, float*) noexcept;
int ilogb(double) noexcept;
int ilogbf(float) noexcept;
long lrint(double) noexcept;
long lrintf(float) noexcept;
long long llrint(double) noexcept;
long long llrintf(float) noexcept;
long lround(double) noexcept;
long lroundf(float) noexcept;
long long llround(double) noexcept;
long long llroundf(float) noexcept;
int abs(int) noexcept;
long labs(long) noexcept;
long long llabs(long long) noexcept;
void* memcpy(void*, const void*, size_t) noexcept;
void* memset(void*, int, size_t) noexcept;
}
GPUNET_DEVICE float fma(float a, float b, float c) { return fmaf(a, b, c); }
GPUNET_DEVICE float ldexp(float x, int n) { return ldexpf(x, n); }
GPUNET_DEVICE float frexp(float x, int* n) { return frexpf(x, n); }
GPUNET_DEVICE float modf(float x, float* whole) { return modff(x, whole); }
GPUNET_DEVICE float abs(float x) { return fabsf(x); }
GPUNET_DEVICE double abs(double x) { return fabs(x); }
GPUNET_DEVICE long abs(long x) { return labs(x); }
GPUNET_DEVICE long long abs(long long x) { return llabs(x); }

#define GPUNET_CLASSIFY(name)                                                      \
    GPUNET_DEVICE bool name(float x) { return __builtin_##name(x) != 0; }          \
    GPUNET_DEVICE bool name(double x) { return __builtin_##name(x) != 0; }
GPUNET_CLASSIFY(isnan)
GPUNET_CLASSIFY(isinf)
GPUNET_CLASSIFY(isfinite)
GPUNET_CLASSIFY(signbit)
#undef GPUNET_CLASSIFY

// The pairs of types for which CUDA has min and max.
#define GPUNET_EXTREMES(R, A, B)                                 \
    GPUNET_DEVICE R min(A a, B b) {                              \
        const R x = static_cast<R>(a), y = static_cast<R>(b);    \
        return y < x ? y : x;                                    \
    }                                                            \
    GPUNET_DEVICE R max(A a, B b) {                              \
        const R x = static_cast<R>(a), y = static_cast<R>(b);    \
        return y > x ? y : x;                                    \
    }
#define GPUNET_INTEGER_EXTREMES(T)                 \
    GPUNET_EXTREMES(T, T, T)                       \
    GPUNET_EXTREMES(unsigned T, unsigned T, T)     \
    GPUNET_EXTREMES(unsigned T, T, unsigned T)     \
    GPUNET_EXTREMES(unsigned T, unsigned T, unsigned T)
GPUNET_INTEGER_EXTREMES(int)
GPUNET_INTEGER_EXTREMES(long)
GPUNET_INTEGER_EXTREMES(long long)
#undef GPUNET_INTEGER_EXTREMES
#undef GPUNET_EXTREMES
// Of a number and NaN they give the number.
#define GPUNET_FLOATING_EXTREMES(R, A, B)                          \
    GPUNET_DEVICE R min(A a, B b) { return fmin(R(a), R(b)); }     \
    GPUNET_DEVICE R max(A a, B b) { return fmax(R(a), R(b)); }
GPUNET_FLOATING_EXTREMES(float, float, float)
GPUNET_FLOATING_EXTREMES(double, float, double)
GPUNET_FLOATING_EXTREMES(double, double, float)
GPUNET_FLOATING_EXTREMES(double, double, double)
#undef GPUNET_FLOATING_EXTREMES
GPUNET_DEVICE unsigned int umin(unsigned int a, unsigned int b) { return min(a, b); }
GPUNET_DEVICE unsigned int umax(unsigned int a, unsigned int b) { return max(a, b); }

GPUNET_DEVICE float rsqrtf(float x) { return 1.0f / sqrtf(x); }
GPUNET_DEVICE double rsqrt(double x) { return 1.0 / sqrt(x); }
GPUNET_DEVICE float rsqrt(float x) { return rsqrtf(x); }
GPUNET_DEVICE float rcbrtf(float x) { return 1.0f / cbrtf(x); }
GPUNET_DEVICE double rcbrt(double x) { return 1.0 / cbrt(x); }
GPUNET_DEVICE float normcdff(float x) { return 0.5f * erfcf(-0.707106781f * x); }
GPUNET_DEVICE double normcdf(double x) { return 0.5 * erfc(-0.70710678118654757 * x); }
GPUNET_DEVICE float norm3df(float x, float y, float z) { return sqrtf(x * x + y * y + z * z); }
GPUNET_DEVICE double sinpi(double x) { return sin(3.1415926535897931 * fmod(x, 2.0)); }
GPUNET_DEVICE double cospi(double x) { return cos(3.1415926535897931 * fmod(x, 2.0)); }
GPUNET_DEVICE float sinpif(float x) { return static_cast<float>(sinpi(static_cast<double>(x))); }
GPUNET_DEVICE float cospif(float x) { return static_cast<float>(cospi(static_cast<double>(x))); }
GPUNET_DEVICE void sincosf(float x, float* s, float* c) { *s = sinf(x), *c = cosf(x); }
GPUNET_DEVICE void sincos(double x, double* s, double* c) { *s = sin(x), *c = cos(x); }
GPUNET_DEVICE void sincospif(float x, float* s, float* c) { *s = sinpif(x), *c = cospif(x); }

GPUNET_DEVICE float __expf(float x) { return expf(x); }
GPUNET_DEVICE float __exp10f(float x) { return exp10f(x); }
GPUNET_DEVICE float __logf(float x) { return logf(x); }
GPUNET_DEVICE float __log2f(float x) { return log2f(x); }
GPUNET_DEVICE float __log10f(float x) { return log10f(x); }
GPUNET_DEVICE float __powf(float x, float y) { return powf(x, y); }
GPUNET_DEVICE float __sinf(float x) { return sinf(x); }
GPUNET_DEVICE float __cosf(float x) { return cosf(x); }
GPUNET_DEVICE float __tanf(float x) { return tanf(x); }
GPUNET_DEVICE float __tanhf(float x) { return tanhf(x); }
GPUNET_DEVICE void __sincosf(float x, float* s, float* c) { sincosf(x, s, c); }
GPUNET_DEVICE float __fdividef(float x, float y) { return x / y; }
GPUNET_DEVICE float fdividef(float x, float y) { return x / y; }
// fmaxf takes the number and not the NaN: NaN becomes 0, as on the device.
GPUNET_DEVICE float __saturatef(float x) { return fminf(fmaxf(x, 0.0f), 1.0f); }

// Rounding to nearest is what the host does; the other modes are left out.
GPUNET_DEVICE float __frcp_rn(float x) { return 1.0f / x; }
GPUNET_DEVICE float __fsqrt_rn(float x) { return sqrtf(x); }
GPUNET_DEVICE float __frsqrt_rn(float x) { return rsqrtf(x); }
GPUNET_DEVICE float __fdiv_rn(float x, float y) { return x / y; }
GPUNET_DEVICE float __fmaf_rn(float x, float y, float z) { return fmaf(x, y, z); }
GPUNET_DEVICE double __fma_rn(double x, double y, double z) { return fma(x, y, z); }
GPUNET_DEVICE double __ddiv_rn(double x, double y) { return x / y; }
GPUNET_DEVICE double __drcp_rn(double x) { return 1.0 / x; }
GPUNET_DEVICE double __dsqrt_rn(double x) { return sqrt(x); }
// These promise not to be fused into a multiply-add, which -ffp-contract=fast would do.
#define GPUNET_UNFUSED(T, name, operation)                    \
    __attribute__((noinline, unused)) static T name(T x, T y) \
    {                                                         \
        return x operation y;                                 \
    }
GPUNET_UNFUSED(float, __fadd_rn, +)
GPUNET_UNFUSED(float, __fsub_rn, -)
GPUNET_UNFUSED(float, __fmul_rn, *)
GPUNET_UNFUSED(double, __dadd_rn, +)
GPUNET_UNFUSED(double, __dsub_rn, -)
GPUNET_UNFUSED(double, __dmul_rn, *)
#undef GPUNET_UNFUSED

GPUNET_DEVICE float __int_as_float(int x) { return gpunet_emulator::bit_cast<float>(x); }
GPUNET_DEVICE int __float_as_int(float x) { return gpunet_emulator::bit_cast<int>(x); }
GPUNET_DEVICE float __uint_as_float(unsigned x) { return gpunet_emulator::bit_cast<float>(x); }
GPUNET_DEVICE unsigned __float_as_uint(float x) { return gpunet_emulator::bit_cast<unsigned>(x); }
GPUNET_DEVICE double __longlong_as_double(long long x) {
    return gpunet_emulator::bit_cast<double>(x);
}
GPUNET_DEVICE long long __double_as_longlong(double x) {
    return gpunet_emulator::bit_cast<long long>(x);
}
GPUNET_DEVICE int __double2hiint(double x) {
    return static_cast<int>(__double_as_longlong(x) >> 32);
}
GPUNET_DEVICE int __double2loint(double x) { return static_cast<int>(__double_as_longlong(x)); }

// Conversions from floating point saturate on the device and give 0 for NaN.
namespace gpunet_emulator {
template <class T, class F> GPUNET_DEVICE T saturated(F x) {
    constexpr bool is_signed = T(-1) < T(0);
    constexpr T highest = is_signed ? T(~(T(1) << (sizeof(T) * 8 - 1))) : T(~T(0));
    constexpr T lowest = is_signed ? T(T(1) << (sizeof(T) * 8 - 1)) : T(0);
    if (x != x) return 0;
    // 2^31 and the like: the first value that does not fit, exact in floating point.
    if (x >= static_cast<F>(highest / 2 + 1) * 2) return highest;
    if (x <= static_cast<F>(lowest)) return lowest;
    return static_cast<T>(x);
}
}  // namespace gpunet_emulator
#define GPUNET_FROM_FLOATING(F, from, T, to)                                                      \
    GPUNET_DEVICE T __##from##2##to##_rn(F x) { return gpunet_emulator::saturated<T>(rint(x)); }  \
    GPUNET_DEVICE T __##from##2##to##_rz(F x) { return gpunet_emulator::saturated<T>(x); }        \
    GPUNET_DEVICE T __##from##2##to##_rd(F x) { return gpunet_emulator::saturated<T>(floor(x)); } \
    GPUNET_DEVICE T __##from##2##to##_ru(F x) { return gpunet_emulator::saturated<T>(ceil(x)); }
GPUNET_FROM_FLOATING(float, float, int, int)
GPUNET_FROM_FLOATING(float, float, unsigned int, uint)
GPUNET_FROM_FLOATING(float, float, long long, ll)
GPUNET_FROM_FLOATING(float, float, unsigned long long, ull)
GPUNET_FROM_FLOATING(double, double, int, int)
GPUNET_FROM_FLOATING(double, double, unsigned int, uint)
GPUNET_FROM_FLOATING(double, double, long long, ll)
GPUNET_FROM_FLOATING(double, double, unsigned long long, ull)
#undef GPUNET_FROM_FLOATING
GPUNET_DEVICE float __int2float_rn(int x) { return static_cast<float>(x); }
GPUNET_DEVICE float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
GPUNET_DEVICE float __ll2float_rn(long long x) { return static_cast<float>(x); }
GPUNET_DEVICE float __ull2float_rn(unsigned long long x) { return static_cast<float>(x); }
GPUNET_DEVICE double __int2double_rn(int x) { return x; }
GPUNET_DEVICE double __uint2double_rn(unsigned x) { return x; }
GPUNET_DEVICE double __ll2double_rn(long long x) { return static_cast<double>(x); }
GPUNET_DEVICE double __ull2double_rn(unsigned long long x) { return static_cast<double>(x); }
GPUNET_DEVICE float __double2float_rn(double x) { return static_cast<float>(x); }

GPUNET_DEVICE int __popc(unsigned x) { return __builtin_popcount(x); }
GPUNET_DEVICE int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
GPUNET_DEVICE int __ffs(int x) { return __builtin_ffs(x); }
GPUNET_DEVICE int __ffsll(long long x) { return __builtin_ffsll(x); }
GPUNET_DEVICE int __clz(int x) { return x ? __builtin_clz(static_cast<unsigned>(x)) : 32; }
GPUNET_DEVICE int __clzll(long long x) {
    return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64;
}
GPUNET_DEVICE unsigned __brev(unsigned x) {
    unsigned result = 0;
    for (int i = 0; i < 32; ++i) result |= (x >> i & 1u) << (31 - i);
    return result;
}
GPUNET_DEVICE unsigned long long __brevll(unsigned long long x) {
    return static_cast<unsigned long long>(__brev(static_cast<unsigned>(x))) << 32 |
           __brev(static_cast<unsigned>(x >> 32));
}
GPUNET_DEVICE unsigned __umulhi(unsigned x, unsigned y) {
    return static_cast<unsigned>(static_cast<unsigned long long>(x) * y >> 32);
}
GPUNET_DEVICE int __mulhi(int x, int y) {
    return static_cast<int>(static_cast<long long>(x) * y >> 32);
}
GPUNET_DEVICE unsigned long long __umul64hi(unsigned long long x, unsigned long long y) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(x) * y >> 64);
}
GPUNET_DEVICE long long __mul64hi(long long x, long long y) {
    return static_cast<long long>(static_cast<__int128>(x) * y >> 64);
}
GPUNET_DEVICE int __mul24(int x, int y) { return x * y; }
GPUNET_DEVICE unsigned __umul24(unsigned x, unsigned y) { return x * y; }
GPUNET_DEVICE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
    const unsigned long long both = static_cast<unsigned long long>(y) << 32 | x;
    unsigned result = 0;
    for (int i = 0; i < 4; ++i)
        result |= static_cast<unsigned>(both >> (selector >> 4 * i & 7) * 8 & 0xFF) << 8 * i;
    return result;
}
GPUNET_DEVICE int __dp4a(int x, int y, int sum) {
    for (int i = 0; i < 32; i += 8)
        sum += static_cast<signed char>(x >> i) * static_cast<signed char>(y >> i);
    return sum;
}
GPUNET_DEVICE unsigned __dp4a(unsigned x, unsigned y, unsigned sum) {
    for (int i = 0; i < 32; i += 8) sum += (x >> i & 0xFF) * (y >> i & 0xFF);
    return sum;
}
GPUNET_DEVICE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned>(both << (shift & 31) >> 32);
}
GPUNET_DEVICE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    const unsigned long long both = static_cast<unsigned long long>(high) << 32 | low;
    return static_cast<unsigned>(both >> (shift & 31));
}

// Loads and stores with a cache hint are plain ones.
#define GPUNET_LOAD(name)                                                                        \
    template <class T> GPUNET_DEVICE __attribute__((always_inline)) T name(const T* address) {   \
        return *address;                                                                         \
    }
GPUNET_LOAD(__ldg)
GPUNET_LOAD(__ldca)
GPUNET_LOAD(__ldcg)
GPUNET_LOAD(__ldcs)
GPUNET_LOAD(__ldlu)
GPUNET_LOAD(__ldcv)
#undef GPUNET_LOAD
namespace gpunet_emulator {
template <class T> struct Exactly { using type = T; };  // keeps a parameter out of deduction
}
#define GPUNET_STORE(name)                                                                     \
    template <class T>                                                                         \
    GPUNET_DEVICE __attribute__((always_inline)) void name(                                    \
        T* address, typename gpunet_emulator::Exactly<T>::type value) {                        \
        *address = value;                                                                      \
    }
GPUNET_STORE(__stwb)
GPUNET_STORE(__stcg)
GPUNET_STORE(__stcs)
GPUNET_STORE(__stwt)
#undef GPUNET_STORE
