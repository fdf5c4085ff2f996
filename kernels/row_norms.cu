// Normalization of rows, layer norm and its relatives, and of a kernel by its spectral norm.
//
//   layer_norm           y = (x - m) r gamma + beta along rows, r = 1 / sqrt(variance + epsilon)
//   layer_norm_backward  dx = r (g - a - v b), g = gamma dy, v = (x - mean) r, a = mean of g,
//                        b = mean of g v; dgamma, dbeta = sums of dy v and dy over rows
//   spectral_scale       kernel *= reciprocal, vector = direction, unless reciprocal is 1 / epsilon
//
// Other norms of a row than "layer": see the contract. Shapes: (rows, columns), mean and r (rows),
// gamma, beta, dgamma and dbeta (columns), of which each may be null; mean, r
// and reciprocal are float, all else is real; any kernel whose last axis is
// that of vector and direction (columns), reciprocal (1).
//
// Bytes an element, read + written: layer_norm 4 + 4 and 8 a row, the least; of rows over 64 KB what
// does not fit into shared memory is read twice (at most 8 + 4). layer_norm_backward 8 + 4, the
// least, and 16 for each column and block; rows over 16 KB are read once more for dgamma and dbeta
// (16 + 4), and of those over 32 KB what does not fit a third time (at most 24 + 4).
// spectral_scale 4 + 4, the least.
//
// Aliasing: y = x, dx = dy, dx = x: each thread reads an element before it writes it.
#include "common.cuh"
#include "strips.cuh"

enum RowNorm { LAYER, VARIANCE, RMS, UNIT };

// What a row is multiplied by, from the sum of its squared deviations (LAYER, VARIANCE) or squares.
__device__ __forceinline__ float reciprocal_root(float squares, int columns, int norm,
                                                 float epsilon)
{
    return norm == UNIT ? at_most(1.0f / sqrtf(squares), 1.0f / epsilon)
                        : 1.0f / sqrtf(squares / columns + epsilon);
}

template <int WIDTH>
__device__ __forceinline__ void layer_norm_rows(real* y, float* mean, float* rstd, const real* x,
                                                const real* gamma, const real* beta, int norm,
                                                float epsilon, int64 rows, int columns, int lanes,
                                                int cached)
{
    RealPack<WIDTH>* cache = row_cache<WIDTH>(0);
    const bool centered = norm == LAYER || norm == VARIANCE;
    for (RowWalk walk(rows, columns / WIDTH, lanes); walk.more(); walk.next()) {
        const RowReader<WIDTH> in(x + walk.row() * columns, cache, cached);
        RunningDeviations state = {};
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const RealPack<WIDTH> pack = in.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float value = (float)pack.v[j];
                if (centered) {
                    state.add(value);
                } else {
                    state.squares += value * value;
                }
            }
        }
        Deviations of_row = {0.0f, 0.0f, 0.0f};
        if (centered) {
            of_row = state.finish(lanes);
        } else {
            of_row.squares = group_sum(state.squares, lanes);
        }
        const float factor = reciprocal_root(of_row.squares, columns, norm, epsilon);
        const float shift = norm == LAYER ? of_row.mean : 0.0f;
        if (walk.lane < walk.end() && walk.lane == 0) {
            mean[walk.row()] = of_row.mean;
            rstd[walk.row()] = factor;
        }
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            RealPack<WIDTH> pack = in.again(unit, step);
            const RealPack<WIDTH> g = load_or<WIDTH>(gamma, unit, 1.0f);
            const RealPack<WIDTH> b = load_or<WIDTH>(beta, unit, 0.0f);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float v = ((float)pack.v[j] - shift) * factor;
                pack.v[j] = (real)(v * (float)g.v[j] + (float)b.v[j]);
            }
            store_pack<real, WIDTH>(y + walk.row() * columns, unit, pack);
        }
    }
}

extern "C" __global__ void layer_norm(real* y, float* mean, float* rstd, const real* x,
                                      const real* gamma, const real* beta, int norm,
                                      float epsilon, int64 rows, int columns, int packed,
                                      int lanes, int cached)
{
    if (packed) {
        layer_norm_rows<PACK>(y, mean, rstd, x, gamma, beta, norm, epsilon, rows, columns, lanes,
                              cached);
    } else {
        layer_norm_rows<1>(y, mean, rstd, x, gamma, beta, norm, epsilon, rows, columns, lanes,
                           cached);
    }
}

// The sums of a block's columns, kept in shared memory by the threads that own the columns: a slot
// is one pack of each thread, in parts of 16 bytes, so that neighbouring threads have neighbouring
// banks.
template <int WIDTH>
struct ColumnSums {
    static constexpr int PART = WIDTH < FLOAT_PACK ? WIDTH : FLOAT_PACK, PARTS = WIDTH / PART;
    Pack<float, PART>* slots;
    int steps;  // slots of each of the two sums

    __device__ __forceinline__ Pack<float, PART>& at(int which, int step, int part,
                                                     int thread) const
    {
        return slots[((which * steps + step) * PARTS + part) * blockDim.x + thread];
    }
    __device__ __forceinline__ void clear() const
    {
        for (int slot = 0; slot < 2 * steps * PARTS; ++slot) {
            slots[slot * blockDim.x + threadIdx.x] = Pack<float, PART>{};
        }
    }
    // A thread's own sum.
    __device__ __forceinline__ void read(float (&sums)[WIDTH], int which, int step) const
    {
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            const Pack<float, PART> pack = at(which, step, part, threadIdx.x);
#pragma unroll
            for (int j = 0; j < PART; ++j) {
                sums[part * PART + j] = pack.v[j];
            }
        }
    }
    __device__ __forceinline__ void write(const float (&sums)[WIDTH], int which, int step) const
    {
#pragma unroll
        for (int part = 0; part < PARTS; ++part) {
            Pack<float, PART> pack;
#pragma unroll
            for (int j = 0; j < PART; ++j) {
                pack.v[j] = sums[part * PART + j];
            }
            at(which, step, part, threadIdx.x) = pack;
        }
    }
    // Adds up what the block's groups of lanes have of each column: partials (2, columns).
    __device__ __forceinline__ void add_up(float* partials, int units, int lanes) const
    {
        __syncthreads();
        for (int unit = threadIdx.x; unit < 2 * units; unit += blockDim.x) {
            const int which = unit / units, column = unit % units;
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
                Pack<float, PART> total = {};
                for (int first = column % lanes; first < blockDim.x; first += lanes) {
                    const Pack<float, PART> more = at(which, column / lanes, part, first);
#pragma unroll
                    for (int j = 0; j < PART; ++j) {
                        total.v[j] += more.v[j];
                    }
                }
                store_pack<float, PART>(partials, (int64)unit * PARTS + part, total);
            }
        }
    }
};

// The part of a row's gradient that comes from its statistics: dx = rstd (g - a - v b).
struct RowGradient {
    float mean, rstd, shift, a, b;
};

template <int WIDTH>
__device__ __forceinline__ void layer_norm_backward_rows(
    real* dx, float* partials, const real* dy, const real* x, const float* mean, const float* rstd,
    const real* gamma, int norm, float epsilon, int64 rows, int columns, int lanes, int cached)
{
    constexpr int SLOTS = sizeof(float) / sizeof(real);  // of a pack of reals in one of floats
    const int units = columns / WIDTH, steps = (units + lanes - 1) / lanes;
    const bool summed = partials != nullptr;
    using Sums = ColumnSums<WIDTH>;
    const Sums sums = {row_cache<Sums::PART, float>(0), steps};
    const int taken = summed ? 2 * steps * SLOTS : 0;
    RealPack<WIDTH>* dy_cache = row_cache<WIDTH>(taken);
    RealPack<WIDTH>* x_cache = row_cache<WIDTH>(taken + cached);
    if (summed) {
        sums.clear();
    }
    for (RowWalk walk(rows, units, lanes); walk.more(); walk.next()) {
        const int64 row = walk.row(), start = row * columns;
        const RowReader<WIDTH> gradients(dy + start, dy_cache, cached);
        const RowReader<WIDTH> inputs(x + start, x_cache, cached);
        RowGradient r = {};
        if (row < rows) {
            r.mean = mean[row];
            r.rstd = rstd[row];
        }
        r.shift = norm == LAYER ? r.mean : 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            const RealPack<WIDTH> gradient = gradients.first(unit, step);
            const RealPack<WIDTH> input = inputs.first(unit, step);
            const RealPack<WIDTH> weight = load_or<WIDTH>(gamma, unit, 1.0f);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float g = (float)gradient.v[j] * (float)weight.v[j];
                r.a += g;
                r.b += g * ((float)input.v[j] - r.shift) * r.rstd;
            }
        }
        r.a = norm == LAYER ? group_sum(r.a, lanes) / columns : 0.0f;
        r.b = group_sum(r.b, lanes);
        r.b = norm != UNIT ? r.b / columns : r.rstd >= 1.0f / epsilon ? 0.0f : r.b;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += lanes, ++step) {
            RealPack<WIDTH> gradient = gradients.again(unit, step);
            const RealPack<WIDTH> input = inputs.again(unit, step);
            const RealPack<WIDTH> weight = load_or<WIDTH>(gamma, unit, 1.0f);
            float products[WIDTH] = {}, plain[WIDTH] = {};
            if (summed) {
                sums.read(products, 0, step);
                sums.read(plain, 1, step);
            }
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float d = (float)gradient.v[j], in = (float)input.v[j];
                const float g = d * (float)weight.v[j], v = (in - r.mean) * r.rstd;
                products[j] += d * (in - r.shift) * r.rstd;
                plain[j] += d;
                gradient.v[j] = (real)(r.rstd * (g - r.a - v * r.b));
            }
            if (summed) {
                sums.write(products, 0, step);
                sums.write(plain, 1, step);
            }
            store_pack<real, WIDTH>(dx + start, unit, gradient);
        }
    }
    if (summed) {
        sums.add_up(partials + (int64)blockIdx.x * 2 * columns, units, lanes);
    }
}

// `partials` (blocks, 2, columns) takes the sums of each block's rows; null if nobody wants them,
// or if they do not fit into shared memory.
extern "C" __global__ void layer_norm_backward(real* dx, float* partials, const real* dy,
                                               const real* x, const float* mean, const float* rstd,
                                               const real* gamma, int norm, float epsilon,
                                               int64 rows, int columns, int packed, int lanes,
                                               int cached)
{
    if (packed) {
        layer_norm_backward_rows<PACK>(dx, partials, dy, x, mean, rstd, gamma, norm, epsilon,
                                       rows, columns, lanes, cached);
    } else {
        layer_norm_backward_rows<1>(dx, partials, dy, x, mean, rstd, gamma, norm, epsilon, rows,
                                    columns, lanes, cached);
    }
}

// first and second (columns) = sums over `bands` of partials (bands, 2, columns); blocks of
// (columns, bands), gridDim.y = 2.
extern "C" __global__ void column_totals(real* first, real* second, const float* partials,
                                         int accumulate, int bands, int columns)
{
    const int column = blockIdx.x * blockDim.x + threadIdx.x, which = blockIdx.y;
    float sum[1] = {0.0f};
    for (int band = threadIdx.y; band < bands && column < columns; band += blockDim.y) {
        sum[0] += partials[((int64)band * 2 + which) * columns + column];
    }
    sum_over_thread_rows<1>(sum);
    if (threadIdx.y == 0 && column < columns) {
        write_total(which == 0 ? first : second, column, sum[0], accumulate);
    }
}

template <int WIDTH>
__device__ __forceinline__ void layer_norm_column_sums(real* dgamma, real* dbeta, const real* dy,
                                                       const real* x, const float* mean,
                                                       const float* rstd, int norm, int accumulate,
                                                       int64 rows, int columns, float* partials,
                                                       unsigned* tickets)
{
    const int units = columns / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    float sums[2][WIDTH] = {}, totals[2];
    for (Band band(unit < units ? rows : 0); band.more(); band.next()) {
        const RealPack<WIDTH> d = load_pack<real, WIDTH>(dy, band.row * units + unit);
        const RealPack<WIDTH> in = load_pack<real, WIDTH>(x, band.row * units + unit);
        const float shift = norm == LAYER ? mean[band.row] : 0.0f;
        const float factor = rstd[band.row];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sums[0][j] += (float)d.v[j] * ((float)in.v[j] - shift) * factor;
            sums[1][j] += (float)d.v[j];
        }
    }
    if (finish_sums(totals, sums, columns, partials, &tickets[blockIdx.x])) {
        const int column = own_column<WIDTH>(columns);
        write_total(dgamma, column, totals[0], accumulate);
        write_total(dbeta, column, totals[1], accumulate);
    }
}

// dgamma and dbeta of layer_norm_backward for rows whose sums do not fit into shared memory.
extern "C" __global__ void layer_norm_columns(real* dgamma, real* dbeta, const real* dy,
                                              const real* x, const float* mean, const float* rstd,
                                              int norm, int accumulate, int64 rows, int columns,
                                              int packed, float* partials, unsigned* tickets)
{
    if (packed) {
        layer_norm_column_sums<PACK>(dgamma, dbeta, dy, x, mean, rstd, norm, accumulate, rows,
                                     columns, partials, tickets);
    } else {
        layer_norm_column_sums<1>(dgamma, dbeta, dy, x, mean, rstd, norm, accumulate, rows,
                                  columns, partials, tickets);
    }
}

// --------------------------------------------------------------------------------- spectral

extern "C" __global__ void spectral_scale(real* kernel, real* vector, const real* direction,
                                          const float* reciprocal, float epsilon, int64 n,
                                          int columns)
{
    const float factor = reciprocal[0];
    if (factor >= 1.0f / epsilon) {
        return;
    }
    const int64 packs = is_aligned(kernel) ? n / PACK : 0;
    for (int64 unit = grid_thread(); unit < packs; unit += grid_threads()) {
        RealPack<PACK> pack = load_pack<real, PACK>(kernel, unit);
#pragma unroll
        for (int j = 0; j < PACK; ++j) {
            pack.v[j] = (real)((float)pack.v[j] * factor);
        }
        store_pack<real, PACK>(kernel, unit, pack);
    }
    for (int64 i = packs * PACK + grid_thread(); i < n; i += grid_threads()) {
        kernel[i] = (real)((float)kernel[i] * factor);
    }
    for (int64 i = grid_thread(); i < columns; i += grid_threads()) {
        vector[i] = direction[i];
    }
}
