// Softmax, log_softmax and sparsemax along rows, and their backward passes.
//
// Bytes an element, read + written, which are the least:
//   softmax               y = exp(x - max) / sum(exp(x - max))          4 + 4
//   softmax_backward      dx = y (dy - sum(dy y))                       8 + 4
//   log_softmax           y = x - max - log(sum(exp(x - max)))          4 + 4
//   log_softmax_backward  dx = dy - exp(y) sum(dy)                      8 + 4
//   sparsemax             y = max(x - t, 0), sum of y = 1               4 + 4
//   sparsemax_backward    dx = dy - mean of dy where y > 0, else 0      8 + 4
// What does not fit into 64 KB of shared memory is read twice: of a row of more than 16384 floats
// (softmax_backward: 8192) the rest. Measured at 32768 columns: 10 bytes an element instead of 8, and
// backward 18 (log_softmax 14) instead of 12.
//
// Shapes: all (rows, columns), C-contiguous. Aliasing: y = x, dx = dy, dx = y: each thread reads an
// element before it writes it, therefore no __restrict__ here.
#include "common.cuh"

// softmax, or its logarithm.
template <int WIDTH, bool LOG>
__device__ __forceinline__ void softmax_rows(real* y, const real* x, int64 rows, int columns,
                                             int lanes, int cached)
{
    Pack<real, WIDTH>* cache = row_cache<WIDTH>(0);
    for (RowWalk walk(rows, columns / WIDTH, lanes); walk.more(); walk.next()) {
        const RowReader<WIDTH> in = {x + walk.row() * columns, cache, cached};
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> pack = in.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                state.add((float)pack.v[j]);
            }
        }
        state.finish(group_reduce(state.largest, Larger(), lanes), lanes);
        const float factor = 1.0f / state.sum, log_sum = logf(state.sum);
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> pack = in.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float shifted = (float)pack.v[j] - state.largest;
                pack.v[j] = (real)(LOG ? shifted - log_sum : expf(shifted) * factor);
            }
            store_pack<real, WIDTH>(y + walk.row() * columns, unit, pack);
        }
    }
}

extern "C" __global__ void softmax(real* y, const real* x, int64 rows, int columns, int packed,
                                   int lanes, int cached)
{
    if (packed) {
        softmax_rows<PACK, false>(y, x, rows, columns, lanes, cached);
    } else {
        softmax_rows<1, false>(y, x, rows, columns, lanes, cached);
    }
}

extern "C" __global__ void log_softmax(real* y, const real* x, int64 rows, int columns,
                                       int packed, int lanes, int cached)
{
    if (packed) {
        softmax_rows<PACK, true>(y, x, rows, columns, lanes, cached);
    } else {
        softmax_rows<1, true>(y, x, rows, columns, lanes, cached);
    }
}

// The sum over a row is that of dy y; of log_softmax that of dy, for which y is not read.
template <int WIDTH, bool LOG>
__device__ __forceinline__ void softmax_backward_rows(real* dx, const real* dy, const real* y,
                                                      int64 rows, int columns, int lanes,
                                                      int cached)
{
    const int units = columns / WIDTH;
    Pack<real, WIDTH>* dy_cache = row_cache<WIDTH>(0);
    Pack<real, WIDTH>* y_cache = row_cache<WIDTH>(cached);
    for (RowWalk walk(rows, units, lanes); walk.more(); walk.next()) {
        const int64 start = walk.row() * columns;
        const RowReader<WIDTH> gradients = {dy + start, dy_cache, cached};
        const RowReader<WIDTH> outputs = {y + start, y_cache, cached};
        float total = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> gradient = gradients.first(unit, step);
            Pack<real, WIDTH> output = {};
            if (!LOG) {
                output = outputs.first(unit, step);
            }
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                total += (float)gradient.v[j] * (LOG ? 1.0f : (float)output.v[j]);
            }
        }
        total = group_sum(total, lanes);
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> gradient = gradients.again(unit, step);
            const Pack<real, WIDTH> output = LOG ? load_pack<real, WIDTH>(y + start, unit)
                                                 : outputs.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float d = (float)gradient.v[j], out = (float)output.v[j];
                gradient.v[j] = (real)(LOG ? d - expf(out) * total : out * (d - total));
            }
            store_pack<real, WIDTH>(dx + start, unit, gradient);
        }
    }
}

extern "C" __global__ void softmax_backward(real* dx, const real* dy, const real* y, int64 rows,
                                            int columns, int packed, int lanes, int cached)
{
    if (packed) {
        softmax_backward_rows<PACK, false>(dx, dy, y, rows, columns, lanes, cached);
    } else {
        softmax_backward_rows<1, false>(dx, dy, y, rows, columns, lanes, cached);
    }
}

extern "C" __global__ void log_softmax_backward(real* dx, const real* dy, const real* y,
                                                int64 rows, int columns, int packed, int lanes,
                                                int cached)
{
    if (packed) {
        softmax_backward_rows<PACK, true>(dx, dy, y, rows, columns, lanes, cached);
    } else {
        softmax_backward_rows<1, true>(dx, dy, y, rows, columns, lanes, cached);
    }
}

// ------------------------------------------------------------------------------------- sparsemax

// Whether any lane of any group of the warp, or any thread of the block that shares a row, says so:
// those that go on together must all do so, for the reductions.
__device__ __forceinline__ bool any_goes_on(bool mine, int lanes)
{
    const float most = group_reduce(mine ? 1.0f : 0.0f, Larger(), lanes);
    return lanes <= WARP ? warp_max(most) > 0.0f : most > 0.0f;
}

// The threshold t is the mean of what exceeds it, less 1 / count (Michelot, 1986): begun with a t
// that is too low, the numbers above it become fewer until they stay.
template <int WIDTH>
__device__ __forceinline__ void sparsemax_rows(real* y, const real* x, int64 rows, int columns,
                                               int lanes, int cached)
{
    Pack<real, WIDTH>* cache = row_cache<WIDTH>(0);
    for (RowWalk walk(rows, columns / WIDTH, lanes); walk.more(); walk.next()) {
        const RowReader<WIDTH> in = {x + walk.row() * columns, cache, cached};
        float largest = minus_infinity(), nan = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> pack = in.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                largest = fmaxf(largest, (float)pack.v[j]);
                nan += (float)pack.v[j] == (float)pack.v[j] ? 0.0f : not_a_number();
            }
        }
        largest = group_reduce(largest, Larger(), lanes);
        nan = group_sum(nan, lanes);
        float threshold = -1.0f, before = -1.0f;  // of x - largest
        for (bool more = true; more;) {
            float sum = 0.0f, count = 0.0f;
            for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
                const Pack<real, WIDTH> pack = in.again(unit, step);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    const float shifted = (float)pack.v[j] - largest;
                    if (shifted > threshold) {
                        sum += shifted;
                        count += 1.0f;
                    }
                }
            }
            sum = group_sum(sum, lanes);
            count = group_sum(count, lanes);
            const bool changed = count > 0.0f && count != before;
            if (changed) {
                threshold = (sum - 1.0f) / count;
                before = count;
            }
            more = any_goes_on(changed, lanes);
        }
        threshold += nan;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> pack = in.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                pack.v[j] = (real)at_least((float)pack.v[j] - largest - threshold, 0.0f);
            }
            store_pack<real, WIDTH>(y + walk.row() * columns, unit, pack);
        }
    }
}

extern "C" __global__ void sparsemax(real* y, const real* x, int64 rows, int columns, int packed,
                                     int lanes, int cached)
{
    if (packed) {
        sparsemax_rows<PACK>(y, x, rows, columns, lanes, cached);
    } else {
        sparsemax_rows<1>(y, x, rows, columns, lanes, cached);
    }
}

template <int WIDTH>
__device__ __forceinline__ void sparsemax_backward_rows(real* dx, const real* dy, const real* y,
                                                        int64 rows, int columns, int lanes,
                                                        int cached)
{
    const int units = columns / WIDTH;
    Pack<real, WIDTH>* dy_cache = row_cache<WIDTH>(0);
    Pack<real, WIDTH>* y_cache = row_cache<WIDTH>(cached);
    for (RowWalk walk(rows, units, lanes); walk.more(); walk.next()) {
        const int64 start = walk.row() * columns;
        const RowReader<WIDTH> gradients = {dy + start, dy_cache, cached};
        const RowReader<WIDTH> outputs = {y + start, y_cache, cached};
        float total = 0.0f, count = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const Pack<real, WIDTH> gradient = gradients.first(unit, step);
            const Pack<real, WIDTH> output = outputs.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const bool inside = (float)output.v[j] > 0.0f;
                total += inside ? (float)gradient.v[j] : 0.0f;
                count += inside ? 1.0f : 0.0f;
            }
        }
        total = group_sum(total, lanes);
        count = group_sum(count, lanes);
        const float mean = count > 0.0f ? total / count : 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            Pack<real, WIDTH> gradient = gradients.again(unit, step);
            const Pack<real, WIDTH> output = outputs.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const bool inside = (float)output.v[j] > 0.0f;
                gradient.v[j] = (real)(inside ? (float)gradient.v[j] - mean : 0.0f);
            }
            store_pack<real, WIDTH>(dx + start, unit, gradient);
        }
    }
}

extern "C" __global__ void sparsemax_backward(real* dx, const real* dy, const real* y, int64 rows,
                                              int columns, int packed, int lanes, int cached)
{
    if (packed) {
        sparsemax_backward_rows<PACK>(dx, dy, y, rows, columns, lanes, cached);
    } else {
        sparsemax_backward_rows<1>(dx, dy, y, rows, columns, lanes, cached);
    }
}
