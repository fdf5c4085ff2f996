// Activations over rows: bias_act, softmax and their backward passes.
//
// Bytes an element, read + written, which are the least:
//   bias_act           y = activation(x + bias)                     4 + 4
//   bias_act_backward  dx = dy activation'(y), dbias = sum of dx    8 + 4 (linear: 4 + 4),
//                      and for partial sums at most 1/24 of it
//   softmax            y = exp(x - max) / sum(exp(x - max))         4 + 4
//   softmax_backward   dx = y (dy - sum(dy y))                      8 + 4
// Softmax reads a row that does not fit on chip twice: then 8 + 4, and backward 16 + 4.
//
// Shapes: all (rows, columns), C-contiguous; bias and dbias (columns). bias, dbias and y (of a
// linear activation) may be null. Aliasing: y = x; dx = dy; dx = y: each thread reads an element
// before it writes it, therefore no __restrict__ here.
#include "common.cuh"

// Blocks are (columns, rows) rectangles of threads: a thread keeps its columns, and their bias,
// while it walks down the rows.
template <int WIDTH>
__device__ __forceinline__ void bias_act_columns(real* y, const real* x, const real* bias,
                                                 int activation, int64 rows, int columns)
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
                                    int64 rows, int columns, int packed)
{
    if (packed) {
        bias_act_columns<PACK>(y, x, bias, activation, rows, columns);
    } else {
        bias_act_columns<1>(y, x, bias, activation, rows, columns);
    }
}

// Adds up `sums` over the block's rows of threads (a power of two), always in the same order; the
// result is valid where threadIdx.y == 0. 256 threads of a pack each are the most of a launch.
template <int WIDTH>
__device__ __forceinline__ void sum_over_thread_rows(float (&sums)[WIDTH])
{
    __shared__ float of_thread[256 * WIDTH];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int threads = blockDim.x * blockDim.y;
    __syncthreads();  // the sums of an earlier call have been read
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        of_thread[j * threads + thread] = sums[j];
    }
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += of_thread[j * threads + thread + half * blockDim.x];
                of_thread[j * threads + thread] = sums[j];
            }
        }
    }
}

// dx for the block's strip of columns and every gridDim.y-th band of rows; returns in `sums` what
// this thread's columns add up to.
template <int WIDTH>
__device__ __forceinline__ void backward_strip(float (&sums)[WIDTH], real* dx, const real* dy,
                                               const real* y, int activation, int64 rows,
                                               int units, int unit)
{
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows && unit < units;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 place = row * units + unit;
        Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(dy, place);
        Pack<real, WIDTH> output = {};
        if (activation != LINEAR) {
            output = load_pack<real, WIDTH>(y, place);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float value =
                (float)gradient.v[j] * activation_gradient((float)output.v[j], activation);
            sums[j] += value;
            gradient.v[j] = (real)value;
        }
        if (activation != LINEAR || dx != dy) {
            store_pack<real, WIDTH>(dx, place, gradient);
        }
    }
}

// Column sums in two stages: each block writes the sums of its rows to `partials` (gridDim.y,
// columns), and the last block of each strip (one ticket a strip) adds them in order.
template <int WIDTH>
__device__ __forceinline__ void finish_dbias(float (&sums)[WIDTH], real* dbias, int accumulate,
                                             int columns, int unit, float* partials,
                                             unsigned* tickets)
{
    const bool mine = unit * WIDTH < columns;
    if (gridDim.y > 1) {
        sum_over_thread_rows<WIDTH>(sums);
        if (threadIdx.y == 0 && mine) {
            for (int j = 0; j < WIDTH; ++j) {
                partials[(int64)blockIdx.y * columns + unit * WIDTH + j] = sums[j];
            }
        }
        if (!is_last_block(&tickets[blockIdx.x], gridDim.y)) {
            return;
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sums[j] = 0.0f;
            for (int band = threadIdx.y; band < gridDim.y && mine; band += blockDim.y) {
                sums[j] += __ldcg(&partials[(int64)band * columns + unit * WIDTH + j]);
            }
        }
    }
    sum_over_thread_rows<WIDTH>(sums);
    if (threadIdx.y == 0 && mine) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int column = unit * WIDTH + j;
            dbias[column] = (real)(sums[j] + (accumulate ? (float)dbias[column] : 0.0f));
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void bias_act_backward_strips(real* dx, real* dbias, const real* dy,
                                                         const real* y, int activation,
                                                         int accumulate, int64 rows, int columns,
                                                         float* partials, unsigned* tickets)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[WIDTH] = {};
    backward_strip<WIDTH>(sums, dx, dy, y, activation, rows, units, unit);
    if (dbias != nullptr) {
        finish_dbias<WIDTH>(sums, dbias, accumulate, columns, unit, partials, tickets);
    }
}

extern "C" __global__ void bias_act_backward(real* dx, real* dbias, const real* dy, const real* y,
                                             int activation, int accumulate, int64 rows,
                                             int columns, int packed, float* partials,
                                             unsigned* tickets)
{
    if (packed) {
        bias_act_backward_strips<PACK>(dx, dbias, dy, y, activation, accumulate, rows, columns,
                                       partials, tickets);
    } else {
        bias_act_backward_strips<1>(dx, dbias, dy, y, activation, accumulate, rows, columns,
                                    partials, tickets);
    }
}

template <int WIDTH>
__device__ __forceinline__ void softmax_rows(real* y, const real* x, int64 rows, int columns,
                                             int lanes, int cached)
{
    Pack<real, WIDTH>* cache = cached ? row_cache<WIDTH>(0) : nullptr;
    for (RowWalk walk(rows, columns / WIDTH, lanes); walk.more(); walk.next()) {
        const RowReader<WIDTH> in = {x + walk.row() * columns, cache};
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> pack = in.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                state.add((float)pack.v[j]);
            }
        }
        state.finish(group_reduce(state.largest, Larger(), lanes), lanes);
        const float factor = 1.0f / state.sum;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> pack = in.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                pack.v[j] = (real)(expf((float)pack.v[j] - state.largest) * factor);
            }
            store_pack<real, WIDTH>(y + walk.row() * columns, unit, pack);
        }
    }
}

extern "C" __global__ void softmax(real* y, const real* x, int64 rows, int columns, int packed,
                                   int lanes, int cached)
{
    if (packed) {
        softmax_rows<PACK>(y, x, rows, columns, lanes, cached);
    } else {
        softmax_rows<1>(y, x, rows, columns, lanes, cached);
    }
}

template <int WIDTH>
__device__ __forceinline__ void softmax_backward_rows(real* dx, const real* dy, const real* y,
                                                      int64 rows, int columns, int lanes,
                                                      int cached)
{
    const int units = columns / WIDTH;
    Pack<real, WIDTH>* dy_cache = cached ? row_cache<WIDTH>(0) : nullptr;
    Pack<real, WIDTH>* y_cache = cached ? row_cache<WIDTH>((units + lanes - 1) / lanes) : nullptr;
    for (RowWalk walk(rows, units, lanes); walk.more(); walk.next()) {
        const int64 start = walk.row() * columns;
        const RowReader<WIDTH> gradients = {dy + start, dy_cache};
        const RowReader<WIDTH> outputs = {y + start, y_cache};
        float dot = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> gradient = gradients.first(unit, step);
            const Pack<real, WIDTH> output = outputs.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                dot += (float)gradient.v[j] * (float)output.v[j];
            }
        }
        dot = group_sum(dot, lanes);
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> gradient = gradients.again(unit, step);
            const Pack<real, WIDTH> output = outputs.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                gradient.v[j] = (real)((float)output.v[j] * ((float)gradient.v[j] - dot));
            }
            store_pack<real, WIDTH>(dx + start, unit, gradient);
        }
    }
}

extern "C" __global__ void softmax_backward(real* dx, const real* dy, const real* y, int64 rows,
                                            int columns, int packed, int lanes, int cached)
{
    if (packed) {
        softmax_backward_rows<PACK>(dx, dy, y, rows, columns, lanes, cached);
    } else {
        softmax_backward_rows<1>(dx, dy, y, rows, columns, lanes, cached);
    }
}
