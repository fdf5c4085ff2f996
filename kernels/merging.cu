// Two arrays element by element.
//
//   subtract, multiply   y = a - b, y = a b                  8 read, 4 written bytes an element
//   maximum, minimum     y = the larger, the smaller         8 read, 4 written
//   maximum_backward     da, db = dy where a or b is larger  12 read, 8 written: all the least
//
// Shapes: any, of n elements. Aliasing: y may be a or b; da may be dy or a, db dy or b: each element
// is read before it is written, by the same thread. Aligned arrays move in packs of 16 bytes.
#include "common.cuh"

struct Minus {
    __device__ __forceinline__ float operator()(float a, float b) const { return a - b; }
};
struct Times {
    __device__ __forceinline__ float operator()(float a, float b) const { return a * b; }
};
// Unlike fmaxf and fminf these pass a NaN on.
struct Largest {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return a > b || a != a ? a : b;
    }
};
struct Smallest {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return a < b || a != a ? a : b;
    }
};

template <int WIDTH, typename Op>
__device__ __forceinline__ void combine_unit(real* y, const real* a, const real* b, int64 unit,
                                             Op op)
{
    Pack<real, WIDTH> left = load_pack<real, WIDTH>(a, unit);
    const Pack<real, WIDTH> right = load_pack<real, WIDTH>(b, unit);
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        left.v[j] = (real)op((float)left.v[j], (float)right.v[j]);
    }
    store_pack<real, WIDTH>(y, unit, left);
}

template <typename Op>
__device__ __forceinline__ void combine(real* y, const real* a, const real* b, int64 n, Op op)
{
    const int64 packs = is_aligned(y) && is_aligned(a) && is_aligned(b) ? n / PACK : 0;
    for (int64 unit = grid_thread(); unit < packs; unit += grid_threads()) {
        combine_unit<PACK>(y, a, b, unit, op);
    }
    for (int64 i = packs * PACK + grid_thread(); i < n; i += grid_threads()) {
        combine_unit<1>(y, a, b, i, op);
    }
}

extern "C" __global__ void subtract(real* y, const real* a, const real* b, int64 n)
{
    combine(y, a, b, n, Minus());
}

extern "C" __global__ void multiply(real* y, const real* a, const real* b, int64 n)
{
    combine(y, a, b, n, Times());
}

extern "C" __global__ void maximum(real* y, const real* a, const real* b, int64 n)
{
    combine(y, a, b, n, Largest());
}

extern "C" __global__ void minimum(real* y, const real* a, const real* b, int64 n)
{
    combine(y, a, b, n, Smallest());
}

template <int WIDTH>
__device__ __forceinline__ void share_unit(real* da, real* db, const real* dy, const real* a,
                                           const real* b, int64 unit)
{
    const Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(dy, unit);
    Pack<real, WIDTH> left = load_pack<real, WIDTH>(a, unit);
    Pack<real, WIDTH> right = load_pack<real, WIDTH>(b, unit);
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        const float x = (float)left.v[j], y = (float)right.v[j], d = (float)gradient.v[j];
        const float part = (x > y ? 1.0f : x < y ? 0.0f : 0.5f) * d;
        left.v[j] = (real)part;
        right.v[j] = (real)(d - part);
    }
    store_pack<real, WIDTH>(da, unit, left);
    store_pack<real, WIDTH>(db, unit, right);
}

extern "C" __global__ void maximum_backward(real* da, real* db, const real* dy, const real* a,
                                            const real* b, int64 n)
{
    const bool packed = is_aligned(da) && is_aligned(db) && is_aligned(dy) && is_aligned(a) &&
                        is_aligned(b);
    const int64 packs = packed ? n / PACK : 0;
    for (int64 unit = grid_thread(); unit < packs; unit += grid_threads()) {
        share_unit<PACK>(da, db, dy, a, b, unit);
    }
    for (int64 i = packs * PACK + grid_thread(); i < n; i += grid_threads()) {
        share_unit<1>(da, db, dy, a, b, i);
    }
}
