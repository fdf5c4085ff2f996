// Filling, copying, adding, rescaling, choosing and gathering.
//
//   fill         y = value                                writes 1 element           (the least)
//   copy         y = x                                    reads 1, writes 1          (the least)
//   add          y = a + b                                8 read, 4 written bytes    (the least)
//   scale_shift  y = scale x + offset                     x once, 4 bytes written    (the least)
//   next_batch   indices = order[position ...]            4 read, 4 written           (the least)
//   gather       y[i] = scale x[indices[i]] + offset      x once, y once, and 4 bytes of index a
//                                                         row, read once per thread of the row
//
// Shapes: any, of n elements; gather: y (batch, columns), x (samples, columns), indices (batch).
// Aliasing: y may be x (copy, scale_shift), a or b (add): each element is read before it is written
// by the same thread. scale_shift and gather exist once for each number type, named NAME_TYPE after
// the type of x; gather_int32_TYPE fills an int32 y, for labels.
//
// Aligned arrays move in packs, of which the array of the wider type fills 16 bytes; the last
// elements, and arrays at odd addresses, go one by one.
#include "common.cuh"

// How many elements make a pack where y and x meet.
template <typename Y, typename X>
constexpr int WIDTH_OF = 16 / (sizeof(Y) > sizeof(X) ? sizeof(Y) : sizeof(X));

template <int WIDTH, typename T>
__device__ __forceinline__ bool pack_aligned(const T* p)
{
    return is_aligned(p, sizeof(Pack<T, WIDTH>));
}

// y[i] = f(i-th of each input) for all i < n, in packs where `packed`.
template <int WIDTH, typename Y, typename PackBody, typename Body>
__device__ __forceinline__ void for_each(Y* y, int64 n, bool packed, PackBody pack, Body single)
{
    const int64 packs = packed ? n / WIDTH : 0;
    for (int64 unit = grid_thread(); unit < packs; unit += grid_threads()) {
        Pack<Y, WIDTH> result;
        pack(unit, result.v);
        store_pack<Y, WIDTH>(y, unit, result);
    }
    for (int64 i = packs * WIDTH + grid_thread(); i < n; i += grid_threads()) {
        y[i] = single(i);
    }
}

// y[i] = f(x[i]).
template <typename Y, typename X, typename F>
__device__ __forceinline__ void map(Y* y, const X* x, int64 n, F f)
{
    constexpr int WIDTH = WIDTH_OF<Y, X>;
    for_each<WIDTH>(
        y, n, pack_aligned<WIDTH>(y) && pack_aligned<WIDTH>(x),
        [=](int64 unit, Y* result) {
            const Pack<X, WIDTH> in = load_pack<X, WIDTH>(x, unit);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                result[j] = f(in.v[j]);
            }
        },
        [=](int64 i) { return f(x[i]); });
}

template <typename T>
__device__ __forceinline__ void fill_with(T* y, T value, int64 n)
{
    constexpr int WIDTH = WIDTH_OF<T, T>;
    for_each<WIDTH>(
        y, n, pack_aligned<WIDTH>(y),
        [=](int64, T* result) {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                result[j] = value;
            }
        },
        [=](int64) { return value; });
}

// Blocks are (columns, rows) rectangles of threads, so that no index has to be divided.
template <int WIDTH, typename Compute, typename Y, typename X>
__device__ __forceinline__ void gather_rows(Y* y, const X* x, const int* indices, Compute scale,
                                            Compute offset, int64 batch, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < batch;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 from = indices[row];
        const Pack<X, WIDTH> in = load_pack<X, WIDTH>(x, from * units + unit);
        Pack<Y, WIDTH> out;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            out.v[j] = (Y)(scale * (Compute)in.v[j] + offset);
        }
        store_pack<Y, WIDTH>(y, row * units + unit, out);
    }
}

// `packed` comes from the launcher, which chose the grid by it: rows of whole packs, all aligned.
template <typename Compute, typename Y, typename X>
__device__ __forceinline__ void gather_any(Y* y, const X* x, const int* indices, Compute scale,
                                           Compute offset, int64 batch, int columns, int packed)
{
    if (packed) {
        gather_rows<WIDTH_OF<Y, X>>(y, x, indices, scale, offset, batch, columns);
    } else {
        gather_rows<1>(y, x, indices, scale, offset, batch, columns);
    }
}

// state = (position, seed, pass). One block, so that a barrier suffices before the position moves.
extern "C" __global__ void next_batch(int* indices, uint64* state, const int* order, int batch,
                                      int samples)
{
    const uint64 position = state[0];
    for (int i = threadIdx.x; i < batch; i += blockDim.x) {
        indices[i] = order[(position + i) % samples];
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        state[0] = position + batch;
        state[2] += 1;
    }
}

extern "C" __global__ void add(real* y, const real* a, const real* b, int64 n)
{
    for_each<PACK>(
        y, n, is_aligned(y) && is_aligned(a) && is_aligned(b),
        [=](int64 unit, real* result) {
            const Pack<real, PACK> left = load_pack<real, PACK>(a, unit);
            const Pack<real, PACK> right = load_pack<real, PACK>(b, unit);
#pragma unroll
            for (int j = 0; j < PACK; ++j) {
                result[j] = (real)((float)left.v[j] + (float)right.v[j]);
            }
        },
        [=](int64 i) { return (real)((float)a[i] + (float)b[i]); });
}

// What is filled or copied are bytes, whatever they mean: there is a kernel for each size.
#define GPUNET_BYTES_KERNELS(NAME, TYPE)                                                         \
    extern "C" __global__ void fill_##NAME(void* y, TYPE value, int64 n)                         \
    {                                                                                            \
        fill_with((TYPE*)y, value, n);                                                           \
    }                                                                                            \
    extern "C" __global__ void copy_##NAME(void* y, const void* x, int64 n)                      \
    {                                                                                            \
        map((TYPE*)y, (const TYPE*)x, n, [](TYPE value) { return value; });                      \
    }

GPUNET_BYTES_KERNELS(bytes1, unsigned char)
GPUNET_BYTES_KERNELS(bytes2, unsigned short)
GPUNET_BYTES_KERNELS(bytes4, unsigned)
GPUNET_BYTES_KERNELS(bytes8, uint64)

// An int32 y is computed in double, which holds every int32 exactly.
#define GPUNET_NUMBER_KERNELS(NAME, TYPE)                                                        \
    extern "C" __global__ void scale_shift_##NAME(real* y, const TYPE* x, float scale,           \
                                                  float offset, int64 n)                         \
    {                                                                                            \
        map(y, x, n, [=](TYPE value) { return (real)(scale * (float)value + offset); });         \
    }                                                                                            \
    extern "C" __global__ void gather_##NAME(real* y, const TYPE* x, const int* indices,         \
                                             float scale, float offset, int64 batch,             \
                                             int columns, int packed)                            \
    {                                                                                            \
        gather_any(y, x, indices, scale, offset, batch, columns, packed);                        \
    }                                                                                            \
    extern "C" __global__ void gather_int32_##NAME(int* y, const TYPE* x, const int* indices,    \
                                                   double scale, double offset, int64 batch,     \
                                                   int columns, int packed)                      \
    {                                                                                            \
        gather_any(y, x, indices, scale, offset, batch, columns, packed);                        \
    }

GPUNET_NUMBER_KERNELS(uint8, unsigned char)
GPUNET_NUMBER_KERNELS(int8, signed char)
GPUNET_NUMBER_KERNELS(uint16, unsigned short)
GPUNET_NUMBER_KERNELS(int16, short)
GPUNET_NUMBER_KERNELS(uint32, unsigned)
GPUNET_NUMBER_KERNELS(int32, int)
GPUNET_NUMBER_KERNELS(uint64, uint64)
GPUNET_NUMBER_KERNELS(int64, int64)
GPUNET_NUMBER_KERNELS(float16, __half)
GPUNET_NUMBER_KERNELS(bfloat16, __nv_bfloat16)
GPUNET_NUMBER_KERNELS(float32, float)
GPUNET_NUMBER_KERNELS(float64, double)
