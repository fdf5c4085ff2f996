// The little of <type_traits> and <utility> that the emulator needs itself.
#pragma once

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef long clock_t;
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef long long longlong;
typedef unsigned long long ulonglong;

namespace gpunet_emulator {

template <bool condition, class T = void> struct EnableIf {};
template <class T> struct EnableIf<true, T> { using type = T; };

template <class A, class B> constexpr bool is_same = false;
template <class A> constexpr bool is_same<A, A> = true;

template <class T> constexpr bool is_integral = false;
template <class T> constexpr bool is_floating = false;
#define GPUNET_INTEGRAL(T) template <> inline constexpr bool is_integral<T> = true;
GPUNET_INTEGRAL(bool)
GPUNET_INTEGRAL(char)
GPUNET_INTEGRAL(signed char)
GPUNET_INTEGRAL(unsigned char)
GPUNET_INTEGRAL(short)
GPUNET_INTEGRAL(unsigned short)
GPUNET_INTEGRAL(int)
GPUNET_INTEGRAL(unsigned int)
GPUNET_INTEGRAL(long)
GPUNET_INTEGRAL(unsigned long)
GPUNET_INTEGRAL(long long)
GPUNET_INTEGRAL(unsigned long long)
#undef GPUNET_INTEGRAL
template <> inline constexpr bool is_floating<float> = true;
template <> inline constexpr bool is_floating<double> = true;
template <class T> constexpr bool is_arithmetic = is_integral<T> || is_floating<T>;

// The type of a + b, but without promoting two shorts to int.
template <class A, class B> struct Common { using type = decltype(true ? A() : B()); };
template <class A> struct Common<A, A> { using type = A; };
template <class A, class B> using CommonType = typename Common<A, B>::type;

template <size_t... i> struct Indices {};
template <size_t n, size_t... i> struct MakeIndices : MakeIndices<n - 1, n - 1, i...> {};
template <size_t... i> struct MakeIndices<0, i...> { using type = Indices<i...>; };

template <class To, class From> GPUNET_DEVICE To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "a bit cast keeps the size");
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}

}  // namespace gpunet_emulator

// NVRTC has std::move and std::forward built in.
namespace std {
template <class T> struct gpunet_value { using type = T; };
template <class T> struct gpunet_value<T&> { using type = T; };
template <class T> struct gpunet_value<T&&> { using type = T; };
template <class T> constexpr typename gpunet_value<T>::type&& move(T&& value) noexcept {
    return static_cast<typename gpunet_value<T>::type&&>(value);
}
template <class T> constexpr T&& forward(typename gpunet_value<T>::type& value) noexcept {
    return static_cast<T&&>(value);
}
}  // namespace std
