// Moving elements about: exchanging axes, joining, cutting, padding, repeating, interpolating.
//
//   swap_axes    y[o, j, m, i, :] = x[o, i, m, j, :]            4 read, 4 written bytes an element
//   concatenate  rows of y are those of up to four parts         4 read, 4 written
//   pad          x within zeros                                  4 read, 4 written, zeros only written
//   crop         a box of x                                      4 read, 4 written
//   repeat       each pixel as a block of pixels                 4 written, x read once from memory
//   repeat_backward  dx (+)= the sum over each block             dy read once, dx 4 (8) bytes
//   upsample_bilinear  four neighbours, weighted                 4 written, x read once from memory
//   upsample_bilinear_backward  each pixel of dx from those of
//                dy that it has a part in                        4 written, dy read once from memory
// All the least, where "from memory" leaves the repeats to the caches.
//
// Shapes: see gpunet/backend/contract/shapes.py. No aliasing. `packed`: packs of 16 bytes lie on
// both sides. Sums run in a fixed order.
#include "common.cuh"

// ------------------------------------------------------------------------------------- swap_axes

constexpr int TILE = 32;
constexpr int TILE_ROWS = 8;  // threads: TILE across, TILE_ROWS down

// Where inner is 1, tiles go through shared memory, so that both sides move whole rows of a tile.
// blockIdx.x is the tile in its (a, b) plane, blockIdx.y runs over the planes (outer, middle).
extern "C" __global__ void swap_axes_tiled(real* y, const real* x, int64 outer, int a, int middle,
                                           int b)
{
    __shared__ float tile[TILE][TILE + 1];  // one more keeps columns off one bank
    const int tiles_across = (b + TILE - 1) / TILE;
    const int first_a = blockIdx.x / tiles_across * TILE, first_b = blockIdx.x % tiles_across * TILE;
    for (int64 plane = blockIdx.y; plane < outer * middle; plane += gridDim.y) {
        const int64 o = plane / middle, m = plane % middle;
        for (int row = threadIdx.y; row < TILE; row += TILE_ROWS) {
            const int i = first_a + row, j = first_b + threadIdx.x;
            if (i < a && j < b) {
                tile[row][threadIdx.x] = (float)x[((o * a + i) * middle + m) * b + j];
            }
        }
        __syncthreads();
        for (int row = threadIdx.y; row < TILE; row += TILE_ROWS) {
            const int j = first_b + row, i = first_a + threadIdx.x;
            if (i < a && j < b) {
                y[((o * b + j) * middle + m) * a + i] = (real)tile[threadIdx.x][row];
            }
        }
        __syncthreads();
    }
}

// Stretches of `inner` elements move as they are.
template <int WIDTH>
__device__ __forceinline__ void swap_stretches(real* y, const real* x, int64 n, int a, int middle,
                                               int b, int inner)
{
    const int units = inner / WIDTH;
    for (int64 unit = grid_thread(); unit < n / WIDTH; unit += grid_threads()) {
        int64 rest = unit / units;
        const int64 i = rest % a;
        rest /= a;
        const int64 m = rest % middle;
        rest /= middle;
        const int64 j = rest % b, o = rest / b;
        const int64 from = (((o * a + i) * middle + m) * b + j) * units + unit % units;
        store_pack<real, WIDTH>(y, unit, load_pack<real, WIDTH>(x, from));
    }
}

extern "C" __global__ void swap_axes(real* y, const real* x, int64 n, int a, int middle, int b,
                                     int inner, int packed)
{
    if (packed) {
        swap_stretches<PACK>(y, x, n, a, middle, b, inner);
    } else {
        swap_stretches<1>(y, x, n, a, middle, b, inner);
    }
}

// ----------------------------------------------------------------------------------- concatenate

// A thread keeps its column, and with it the part that this lies in, while it walks down the rows.
template <int WIDTH>
__device__ __forceinline__ void join_columns(real* y, const real* a, const real* b, const real* c,
                                             const real* d, int64 rows, int a_width, int b_width,
                                             int c_width, int total)
{
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    if (column >= total) {
        return;
    }
    const real* part = a;
    int width = a_width, first = 0;
    if (column >= a_width) {
        part = b, width = b_width, first = a_width;
    }
    if (column >= a_width + b_width) {
        part = c, width = c_width, first = a_width + b_width;
    }
    if (column >= a_width + b_width + c_width) {
        first = a_width + b_width + c_width;
        part = d, width = total - first;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const real* from = part + row * width + (column - first);
        store_pack<real, WIDTH>(y + row * total + column, 0, load_pack<real, WIDTH>(from, 0));
    }
}

extern "C" __global__ void concatenate(real* y, const real* a, const real* b, const real* c,
                                       const real* d, int64 rows, int a_width, int b_width,
                                       int c_width, int total, int packed)
{
    if (packed) {
        join_columns<PACK>(y, a, b, c, d, rows, a_width, b_width, c_width, total);
    } else {
        join_columns<1>(y, a, b, c, d, rows, a_width, b_width, c_width, total);
    }
}

// ------------------------------------------------------------------------------------- pad, crop

// y (outer, yd, yh, yw) of what lies `shift` further in x (outer, xd, xh, xw), 0 where x has
// nothing: crop has a shift of `before`, pad of -before.
template <int WIDTH>
__device__ __forceinline__ void move_box(real* y, const real* x, int64 outer, int yd, int yh,
                                         int yw, int xd, int xh, int xw, int shift_d, int shift_h,
                                         int shift_w)
{
    const int column = (blockIdx.x * blockDim.x + threadIdx.x) * WIDTH;
    if (column >= yw) {
        return;
    }
    const int from_w = column + shift_w;
    const int64 rows = outer * yd * yh;
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 plane = row / yh;
        const int from_h = (int)(row % yh) + shift_h, from_d = (int)(plane % yd) + shift_d;
        Pack<real, WIDTH> value = {};
        if (0 <= from_d && from_d < xd && 0 <= from_h && from_h < xh && 0 <= from_w &&
            from_w < xw) {
            const int64 from = ((plane / yd * xd + from_d) * xh + from_h) * xw + from_w;
            value = load_pack<real, WIDTH>(x + from, 0);
        }
        store_pack<real, WIDTH>(y + row * yw + column, 0, value);
    }
}

extern "C" __global__ void pad(real* y, const real* x, int64 outer, int yd, int yh, int yw, int xd,
                               int xh, int xw, int before_d, int before_h, int before_w,
                               int packed)
{
    if (packed) {
        move_box<PACK>(y, x, outer, yd, yh, yw, xd, xh, xw, -before_d, -before_h, -before_w);
    } else {
        move_box<1>(y, x, outer, yd, yh, yw, xd, xh, xw, -before_d, -before_h, -before_w);
    }
}

extern "C" __global__ void crop(real* y, const real* x, int64 outer, int yd, int yh, int yw,
                                int xd, int xh, int xw, int before_d, int before_h, int before_w,
                                int packed)
{
    if (packed) {
        move_box<PACK>(y, x, outer, yd, yh, yw, xd, xh, xw, before_d, before_h, before_w);
    } else {
        move_box<1>(y, x, outer, yd, yh, yw, xd, xh, xw, before_d, before_h, before_w);
    }
}

// ---------------------------------------------------------------------------------------- repeat

// The sizes of the small array, and how often each pixel is repeated along each axis.
struct Repeat {
    int d, h, w, times_d, times_h, times_w, units;  // units: loads of the inner axis

    // Where a load of the large array lies in the small one.
    __device__ __forceinline__ int64 small(int64 large) const
    {
        const int64 unit = large % units;
        int64 rest = large / units;
        const int64 k = rest % (w * times_w) / times_w;
        rest /= w * times_w;
        const int64 j = rest % (h * times_h) / times_h;
        rest /= h * times_h;
        const int64 i = rest % (d * times_d) / times_d, outer = rest / (d * times_d);
        return (((outer * d + i) * h + j) * w + k) * units + unit;
    }
    // Where number `place` of the block of a load of the small array lies in the large one.
    __device__ __forceinline__ int64 large(int64 small, int place) const
    {
        const int64 unit = small % units;
        int64 rest = small / units;
        const int64 k = rest % w * times_w + place % times_w;
        rest /= w;
        place /= times_w;
        const int64 j = rest % h * times_h + place % times_h;
        rest /= h;
        const int64 i = rest % d * times_d + place / times_h, outer = rest / d;
        return (((outer * d * times_d + i) * h * times_h + j) * w * times_w + k) * units + unit;
    }
};

template <int WIDTH>
__device__ __forceinline__ void repeat_units(real* y, const real* x, int64 n, const Repeat& sizes)
{
    for (int64 unit = grid_thread(); unit < n / WIDTH; unit += grid_threads()) {
        store_pack<real, WIDTH>(y, unit, load_pack<real, WIDTH>(x, sizes.small(unit)));
    }
}

extern "C" __global__ void repeat(real* y, const real* x, int64 n, int d, int h, int w,
                                  int times_d, int times_h, int times_w, int inner, int packed)
{
    if (packed) {
        repeat_units<PACK>(y, x, n, {d, h, w, times_d, times_h, times_w, inner / PACK});
    } else {
        repeat_units<1>(y, x, n, {d, h, w, times_d, times_h, times_w, inner});
    }
}

// `lanes` threads of a warp share a sum; all threads make equally many steps, for the shuffles.
template <int WIDTH>
__device__ __forceinline__ void sum_blocks(real* dx, const real* dy, int accumulate, int64 n,
                                           const Repeat& sizes, int lanes)
{
    const int block = sizes.times_d * sizes.times_h * sizes.times_w;
    const int64 units = n / WIDTH, groups = grid_threads() / lanes;
    const int lane = threadIdx.x % lanes;
    for (int64 first = 0; first < units; first += groups) {
        const int64 unit = first + grid_thread() / lanes;
        float sums[WIDTH] = {};
        for (int place = lane; place < block && unit < units; place += lanes) {
            const Pack<real, WIDTH> part = load_pack<real, WIDTH>(dy, sizes.large(unit, place));
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += (float)part.v[j];
            }
        }
        Pack<real, WIDTH> total = {};
        if (accumulate && lane == 0 && unit < units) {
            total = load_pack<real, WIDTH>(dx, unit);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            total.v[j] = (real)((float)total.v[j] + warp_reduce(sums[j], Plus(), lanes));
        }
        if (lane == 0 && unit < units) {
            store_pack<real, WIDTH>(dx, unit, total);
        }
    }
}

extern "C" __global__ void repeat_backward(real* dx, const real* dy, int accumulate, int64 n,
                                           int d, int h, int w, int times_d, int times_h,
                                           int times_w, int inner, int packed, int lanes)
{
    if (packed) {
        sum_blocks<PACK>(dx, dy, accumulate, n, {d, h, w, times_d, times_h, times_w, inner / PACK},
                         lanes);
    } else {
        sum_blocks<1>(dx, dy, accumulate, n, {d, h, w, times_d, times_h, times_w, inner}, lanes);
    }
}

// ------------------------------------------------------------------------------- upsample_bilinear

// Along one axis: which pixels of the small side a pixel of the large one is made of.
struct Axis {
    int small, times, large;
    float ratio;

    __device__ __forceinline__ Axis(int small_, int times_)
        : small(small_), times(times_), large(small_ * times_), ratio(1.0f / times_)
    {
    }
    // The lower neighbour, and the share of the upper one.
    __device__ __forceinline__ int low(int i, float& share) const
    {
        const float place = clip((i + 0.5f) * ratio - 0.5f, 0.0f, (float)(small - 1));
        const int below = (int)place;
        share = place - below;
        return below;
    }
    __device__ __forceinline__ int high(int below) const { return min(below + 1, small - 1); }
    // What pixel p of the small side has in pixel i of the large one.
    __device__ __forceinline__ float weight(int i, int p) const
    {
        float share;
        const int below = low(i, share);
        return (below == p ? 1.0f - share : 0.0f) + (high(below) == p ? share : 0.0f);
    }
    // The pixels of the large side that may have a part of p: from begin(p) to end(p).
    __device__ __forceinline__ int begin(int p) const
    {
        return max(0, (p - 1) * times);
    }
    __device__ __forceinline__ int end(int p) const
    {
        return min(large, (p + 2) * times);
    }
};

template <int WIDTH>
__device__ __forceinline__ void resize_units(real* y, const real* x, int64 n, const Axis& down,
                                             const Axis& across, int inner)
{
    const int units = inner / WIDTH;
    for (int64 place = grid_thread(); place < n / WIDTH; place += grid_threads()) {
        const int unit = place % units;
        int64 rest = place / units;
        const int k = rest % across.large;
        rest /= across.large;
        const int j = rest % down.large;
        const int64 image = rest / down.large * down.small;
        float lower, right;
        const int top = down.low(j, lower), left = across.low(k, right);
        float sums[WIDTH] = {};
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
            const int row = corner / 2 ? down.high(top) : top;
            const int column = corner % 2 ? across.high(left) : left;
            const float weight = (corner / 2 ? lower : 1.0f - lower) *
                                 (corner % 2 ? right : 1.0f - right);
            const Pack<real, WIDTH> pixel = load_pack<real, WIDTH>(
                x, ((image + row) * across.small + column) * units + unit);
#pragma unroll
            for (int c = 0; c < WIDTH; ++c) {
                sums[c] += weight * (float)pixel.v[c];
            }
        }
        Pack<real, WIDTH> result;
#pragma unroll
        for (int c = 0; c < WIDTH; ++c) {
            result.v[c] = (real)sums[c];
        }
        store_pack<real, WIDTH>(y, place, result);
    }
}

extern "C" __global__ void upsample_bilinear(real* y, const real* x, int64 n, int h, int w,
                                             int times_h, int times_w, int inner, int packed)
{
    if (packed) {
        resize_units<PACK>(y, x, n, Axis(h, times_h), Axis(w, times_w), inner);
    } else {
        resize_units<1>(y, x, n, Axis(h, times_h), Axis(w, times_w), inner);
    }
}

template <int WIDTH>
__device__ __forceinline__ void gather_units(real* dx, const real* dy, int64 n, const Axis& down,
                                             const Axis& across, int inner)
{
    const int units = inner / WIDTH;
    for (int64 place = grid_thread(); place < n / WIDTH; place += grid_threads()) {
        const int unit = place % units;
        int64 rest = place / units;
        const int q = rest % across.small;
        rest /= across.small;
        const int p = rest % down.small;
        const int64 image = rest / down.small * down.large;
        float sums[WIDTH] = {};
        for (int j = down.begin(p); j < down.end(p); ++j) {
            const float of_row = down.weight(j, p);
            for (int k = across.begin(q); k < across.end(q) && of_row != 0.0f; ++k) {
                const float weight = of_row * across.weight(k, q);
                if (weight != 0.0f) {
                    const Pack<real, WIDTH> pixel = load_pack<real, WIDTH>(
                        dy, ((image + j) * across.large + k) * units + unit);
#pragma unroll
                    for (int c = 0; c < WIDTH; ++c) {
                        sums[c] += weight * (float)pixel.v[c];
                    }
                }
            }
        }
        Pack<real, WIDTH> result;
#pragma unroll
        for (int c = 0; c < WIDTH; ++c) {
            result.v[c] = (real)sums[c];
        }
        store_pack<real, WIDTH>(dx, place, result);
    }
}

extern "C" __global__ void upsample_bilinear_backward(real* dx, const real* dy, int64 n, int h,
                                                      int w, int times_h, int times_w, int inner,
                                                      int packed)
{
    if (packed) {
        gather_units<PACK>(dx, dy, n, Axis(h, times_h), Axis(w, times_w), inner);
    } else {
        gather_units<1>(dx, dy, n, Axis(h, times_h), Axis(w, times_w), inner);
    }
}
