// What a module tells the runtime and Python about its kernels: the compiler reflects their
// signatures, so that nobody has to parse C++ for them.
#pragma once

namespace gpunet_emulator {

// NumPy's name of a scalar, or of a vector's elements; "" for a type of the user's.
template <class T> constexpr const char* dtype_name = "";
#define GPUNET_DTYPE(T, name) template <> inline constexpr const char* dtype_name<T> = name;
#define GPUNET_DTYPE_VECTOR(T, vector, name) \
    GPUNET_DTYPE(T, name)                    \
    GPUNET_DTYPE(vector##1, name)            \
    GPUNET_DTYPE(vector##2, name)            \
    GPUNET_DTYPE(vector##3, name)            \
    GPUNET_DTYPE(vector##4, name)
GPUNET_DTYPE(void, "void")
GPUNET_DTYPE(bool, "bool")
GPUNET_DTYPE(char, "int8")
GPUNET_DTYPE_VECTOR(signed char, char, "int8")
GPUNET_DTYPE_VECTOR(unsigned char, uchar, "uint8")
GPUNET_DTYPE_VECTOR(short, short, "int16")
GPUNET_DTYPE_VECTOR(unsigned short, ushort, "uint16")
GPUNET_DTYPE_VECTOR(int, int, "int32")
GPUNET_DTYPE_VECTOR(unsigned int, uint, "uint32")
GPUNET_DTYPE_VECTOR(long, long, "int64")
GPUNET_DTYPE_VECTOR(unsigned long, ulong, "uint64")
GPUNET_DTYPE_VECTOR(long long, longlong, "int64")
GPUNET_DTYPE_VECTOR(unsigned long long, ulonglong, "uint64")
GPUNET_DTYPE_VECTOR(float, float, "float32")
GPUNET_DTYPE_VECTOR(double, double, "float64")

template <class T> struct Unqualified { using type = T; };
template <class T> struct Unqualified<const T> { using type = T; };
template <class T> struct Unqualified<volatile T> { using type = T; };
template <class T> struct Unqualified<const volatile T> { using type = T; };

template <class T> constexpr bool is_const = false;
template <class T> inline constexpr bool is_const<const T> = true;

template <class T> constexpr int size_of = sizeof(T);
template <> inline constexpr int size_of<void> = 1;

template <class T> struct Argument {
    static constexpr ArgumentInfo info{dtype_name<T>, sizeof(T), 0, 0, 0};
};
template <class T> struct Argument<T*> {
    using Pointee = typename Unqualified<T>::type;
    static constexpr ArgumentInfo info{dtype_name<Pointee>, sizeof(T*), size_of<Pointee>, 1,
                                       is_const<T>};
};

template <auto function> struct Kernel;
template <class... A, void (*function)(A...)> struct Kernel<function> {
    static constexpr int argument_count = sizeof...(A);
    // One more than there are: an array may not be empty.
    static constexpr ArgumentInfo arguments[argument_count + 1] = {
        Argument<typename Unqualified<A>::type>::info..., {}};

    GPUNET_UNSEEN static void call(void** pointers) {
        call_with(pointers, typename MakeIndices<sizeof...(A)>::type());
    }
    template <size_t... i> GPUNET_UNSEEN static void call_with(void** pointers, Indices<i...>) {
        (void)pointers;
        function(*static_cast<typename Unqualified<A>::type*>(pointers[i])...);
    }
    static constexpr KernelInfo info(const char* name, int max_threads, const char* names) {
        return {name, call, arguments, argument_count, names, max_threads};
    }
};

}  // namespace gpunet_emulator
