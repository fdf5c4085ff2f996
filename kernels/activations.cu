// Activations of single elements: bias_act, glu, prelu and their backward passes.
//
// Bytes an element, read + written, which are the least:
//   bias_act              y = activation(x + bias)                      4 + 4
//   bias_act_backward     dx = dy activation'(saved), dbias = sum of dx 8 + 4 (linear: 4 + 4),
//                         and for partial sums at most 1/24 of it
//   glu                   y = a sigmoid(b), x = (a, b)                  8 + 4
//   glu_backward          dx = dy (sigmoid(b), a sigmoid'(b))          12 + 8
//   prelu                 y = x > 0 ? x : alpha x                       4 + 4
//   prelu_backward        dx = dy (x > 0 ? 1 : alpha),                  8 + 4 and partial sums
//                         dalpha = sum of dy min(x, 0)
// Rows of glu that do not begin with a sector of 32 bytes share sectors with their other half: at 10
// columns 1.5 times the bytes travel.
//
// Shapes: all (rows, columns), C-contiguous, x and dx of glu (rows, 2, columns); bias, dbias,
// alpha and dalpha (columns). bias, dbias and saved (of a linear activation) may be null; dx, too:
// then only the sums are wanted.
// Aliasing: y = x, but not of glu; dx = dy, but not of glu; dx = y, saved or x: each thread reads
// an element before it writes it, therefore no __restrict__ here.
#include "common.cuh"
#include "activations.cuh"

// Blocks are (columns, rows) rectangles of threads: a thread keeps its columns, and their bias,
// while it walks down the rows.
template <int WIDTH>
__device__ __forceinline__ void bias_act_columns(real* y, const real* x, const real* bias,
                                                 const Activation& activation, int64 rows,
                                                 int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    Pack<real, WIDTH> shift = {};
    if (bias != nullptr) {
        shift = load_pack<real, WIDTH>(bias, unit);
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place = row * units + unit;
        Pack<real, WIDTH> value = load_pack<real, WIDTH>(x, place);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            value.v[j] = (real)activate((float)value.v[j] + (float)shift.v[j], activation);
        }
        store_pack<real, WIDTH>(y, place, value);
    }
}

extern "C" __global__ void bias_act(real* y, const real* x, const real* bias, int activation,
                                    float p, float q, float r, int64 rows, int columns,
                                    int packed)
{
    const Activation f = {activation, p, q, r};
    if (packed) {
        bias_act_columns<PACK>(y, x, bias, f, rows, columns);
    } else {
        bias_act_columns<1>(y, x, bias, f, rows, columns);
    }
}

// dx for the block's strip of columns and every gridDim.y-th band of rows; returns in `sums` what
// this thread's columns add up to.
template <int WIDTH>
__device__ __forceinline__ void backward_strip(float (&sums)[WIDTH], real* dx, const real* dy,
                                               const real* saved, const Activation& activation,
                                               int64 rows, int units, int unit)
{
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows && unit < units;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place = row * units + unit;
        Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(dy, place);
        Pack<real, WIDTH> kept = {};
        if (activation.id != LINEAR) {
            kept = load_pack<real, WIDTH>(saved, place);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float value =
                (float)gradient.v[j] * activation_gradient((float)kept.v[j], activation);
            sums[j] += value;
            gradient.v[j] = (real)value;
        }
        if (dx != nullptr && (activation.id != LINEAR || dx != dy)) {
            store_pack<real, WIDTH>(dx, place, gradient);
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void add_to_totals(real* totals, int unit, const float (&sums)[WIDTH],
                                              int accumulate)
{
    Pack<real, WIDTH> pack = {};
    if (accumulate) {
        pack = load_pack<real, WIDTH>(totals, unit);
    }
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        pack.v[j] = (real)((float)pack.v[j] + sums[j]);
    }
    store_pack<real, WIDTH>(totals, unit, pack);
}

// Column sums in two stages: each block writes the sums of its rows to `partials` (gridDim.y,
// columns), and the last block of each strip (one ticket a strip) adds them in order.
template <int WIDTH>
__device__ __forceinline__ void finish_column_sums(float (&sums)[WIDTH], real* totals,
                                                   int accumulate, int columns, int unit,
                                                   float* partials, unsigned* tickets)
{
    const bool mine = unit * WIDTH < columns;
    if (gridDim.y > 1) {
        sum_over_thread_rows<WIDTH>(sums);
        if (threadIdx.y == 0 && mine) {
            store_floats<WIDTH>(partials + (int64)blockIdx.y * columns + unit * WIDTH, sums);
        }
        if (!is_last_block(&tickets[blockIdx.x], gridDim.y)) {
            return;
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sums[j] = 0.0f;
        }
        for (int band = threadIdx.y; band < gridDim.y && mine; band += blockDim.y) {
            float of_band[WIDTH];
            load_floats<WIDTH>(of_band, partials + (int64)band * columns + unit * WIDTH);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += of_band[j];
            }
        }
    }
    sum_over_thread_rows<WIDTH>(sums);
    if (threadIdx.y == 0 && mine) {
        if (is_aligned(totals, WIDTH * sizeof(real))) {
            add_to_totals<WIDTH>(totals, unit, sums, accumulate);
        } else {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float of_column[1] = {sums[j]};
                add_to_totals<1>(totals, unit * WIDTH + j, of_column, accumulate);
            }
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void bias_act_backward_strips(real* dx, real* dbias, const real* dy,
                                                         const real* saved,
                                                         const Activation& activation,
                                                         int accumulate, int64 rows, int columns,
                                                         float* partials, unsigned* tickets)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[WIDTH] = {};
    backward_strip<WIDTH>(sums, dx, dy, saved, activation, rows, units, unit);
    if (dbias != nullptr) {
        finish_column_sums<WIDTH>(sums, dbias, accumulate, columns, unit, partials, tickets);
    }
}

extern "C" __global__ void bias_act_backward(real* dx, real* dbias, const real* dy,
                                             const real* saved, int activation, float p, float q,
                                             float r, int accumulate, int64 rows, int columns,
                                             int packed, float* partials, unsigned* tickets)
{
    const Activation f = {activation, p, q, r};
    if (packed) {
        bias_act_backward_strips<PACK>(dx, dbias, dy, saved, f, accumulate, rows, columns,
                                       partials, tickets);
    } else {
        bias_act_backward_strips<1>(dx, dbias, dy, saved, f, accumulate, rows, columns,
                                    partials, tickets);
    }
}

// ------------------------------------------------------------------------------------------- glu

template <int WIDTH>
__device__ __forceinline__ void glu_columns(real* y, const real* x, int64 rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows && unit < units;
         row += (int64)gridDim.y * blockDim.y) {
        Pack<real, WIDTH> a = load_pack<real, WIDTH>(x, 2 * row * units + unit);
        const Pack<real, WIDTH> b = load_pack<real, WIDTH>(x, (2 * row + 1) * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            a.v[j] = (real)((float)a.v[j] * sigmoid((float)b.v[j]));
        }
        store_pack<real, WIDTH>(y, row * units + unit, a);
    }
}

extern "C" __global__ void glu(real* y, const real* x, int64 rows, int columns, int packed)
{
    if (packed) {
        glu_columns<PACK>(y, x, rows, columns);
    } else {
        glu_columns<1>(y, x, rows, columns);
    }
}

template <int WIDTH>
__device__ __forceinline__ void glu_backward_columns(real* dx, const real* dy, const real* x,
                                                     int64 rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows && unit < units;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place_a = 2 * row * units + unit, place_b = place_a + units;
        const Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(dy, row * units + unit);
        Pack<real, WIDTH> a = load_pack<real, WIDTH>(x, place_a);
        Pack<real, WIDTH> b = load_pack<real, WIDTH>(x, place_b);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float gate = sigmoid((float)b.v[j]);
            const float da = (float)gradient.v[j] * gate;
            b.v[j] = (real)(da * (float)a.v[j] * (1.0f - gate));
            a.v[j] = (real)da;
        }
        store_pack<real, WIDTH>(dx, place_a, a);
        store_pack<real, WIDTH>(dx, place_b, b);
    }
}

extern "C" __global__ void glu_backward(real* dx, const real* dy, const real* x, int64 rows,
                                        int columns, int packed)
{
    if (packed) {
        glu_backward_columns<PACK>(dx, dy, x, rows, columns);
    } else {
        glu_backward_columns<1>(dx, dy, x, rows, columns);
    }
}

// ----------------------------------------------------------------------------------------- prelu

template <int WIDTH>
__device__ __forceinline__ void prelu_columns(real* y, const real* x, const real* alpha,
                                              int64 rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    const Pack<real, WIDTH> slope = load_pack<real, WIDTH>(alpha, unit);
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place = row * units + unit;
        Pack<real, WIDTH> value = load_pack<real, WIDTH>(x, place);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float v = (float)value.v[j];
            value.v[j] = (real)(v > 0.0f ? v : (float)slope.v[j] * v);
        }
        store_pack<real, WIDTH>(y, place, value);
    }
}

extern "C" __global__ void prelu(real* y, const real* x, const real* alpha, int64 rows,
                                 int columns, int packed)
{
    if (packed) {
        prelu_columns<PACK>(y, x, alpha, rows, columns);
    } else {
        prelu_columns<1>(y, x, alpha, rows, columns);
    }
}

// As in backward_strip, with dalpha's part in `sums`.
template <int WIDTH>
__device__ __forceinline__ void prelu_backward_strip(float (&sums)[WIDTH], real* dx,
                                                     const real* dy, const real* x,
                                                     const real* alpha, int64 rows, int units,
                                                     int unit)
{
    __shared__ float slopes[WIDTH][WARP];  // read once for all of the block's rows
    if (threadIdx.y == 0 && unit < units) {
        const Pack<real, WIDTH> slope = load_pack<real, WIDTH>(alpha, unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            slopes[j][threadIdx.x] = (float)slope.v[j];
        }
    }
    __syncthreads();
    if (unit >= units) {
        return;
    }
    float slope[WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        slope[j] = slopes[j][threadIdx.x];
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place = row * units + unit;
        Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(dy, place);
        const Pack<real, WIDTH> value = load_pack<real, WIDTH>(x, place);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float d = (float)gradient.v[j], v = (float)value.v[j];
            sums[j] += d * at_most(v, 0.0f);
            gradient.v[j] = (real)(v > 0.0f ? d : slope[j] * d);
        }
        store_pack<real, WIDTH>(dx, place, gradient);
    }
}

template <int WIDTH>
__device__ __forceinline__ void prelu_backward_strips(real* dx, real* dalpha, const real* dy,
                                                      const real* x, const real* alpha,
                                                      int accumulate, int64 rows, int columns,
                                                      float* partials, unsigned* tickets)
{
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[WIDTH] = {};
    prelu_backward_strip<WIDTH>(sums, dx, dy, x, alpha, rows, columns / WIDTH, unit);
    finish_column_sums<WIDTH>(sums, dalpha, accumulate, columns, unit, partials, tickets);
}

extern "C" __global__ void prelu_backward(real* dx, real* dalpha, const real* dy, const real* x,
                                          const real* alpha, int accumulate, int64 rows,
                                          int columns, int packed, float* partials,
                                          unsigned* tickets)
{
    if (packed) {
        prelu_backward_strips<PACK>(dx, dalpha, dy, x, alpha, accumulate, rows, columns, partials,
                                    tickets);
    } else {
        prelu_backward_strips<1>(dx, dalpha, dy, x, alpha, accumulate, rows, columns, partials,
                                 tickets);
    }
}
