// The little of <type_traits> and <utility> that the emulator needs itself.
#pragma once

typedef __SIZE_TYPE__ size_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef long clock_t;
#define NULL 0

namespace gpunet_emulator {

// What lanes of a warp may exchange; cuda_fp16.h and cuda_bf16.h add their types.
template <class T> constexpr bool can_shuffle = false;
#define GPUNET_SHUFFLED(T) template <> inline constexpr bool can_shuffle<T> = true;
GPUNET_SHUFFLED(bool)
GPUNET_SHUFFLED(char)
GPUNET_SHUFFLED(signed char)
GPUNET_SHUFFLED(unsigned char)
GPUNET_SHUFFLED(short)
GPUNET_SHUFFLED(unsigned short)
GPUNET_SHUFFLED(int)
GPUNET_SHUFFLED(unsigned int)
GPUNET_SHUFFLED(long)
GPUNET_SHUFFLED(unsigned long)
GPUNET_SHUFFLED(long long)
GPUNET_SHUFFLED(unsigned long long)
GPUNET_SHUFFLED(float)
GPUNET_SHUFFLED(double)

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
