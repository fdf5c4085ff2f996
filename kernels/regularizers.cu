// Penalties on weights and on what layers put out, with their gradients, in ONE launch each.
//
//   weight_penalty    gradients += l1 sign(w) + 2 l2 w,      totals[0] += count sum(l1 |w| + l2 w^2)
//   activity_penalty  dx (+)= l1 sign(x) + 2 l2 x,           totals[0] += count sum(l1 |x| + l2 x^2)
//   orthogonality_penalty   slopes_ij = 2 f sign(g_ij) r_i r_j,  slopes_ii = -2 f r_i^2 sum_j c_ij,
//                           totals[0] += count f sum(c_ij), c_ij = |g_ij| r_i r_j for i != j
//
// weight_penalty: flat buffers of n elements; `penalties` has one row of four doubles for each
// weight that has a penalty (offset, size, l1, l2), in order of offset; all else is not touched.
// activity_penalty: n elements of any shape; dx is overwritten, or added to if `accumulate`.
// orthogonality_penalty: gram and slopes (vectors, vectors), r_i = min(1 / sqrt(gram_ii), 1e12).
// gradients, dx, slopes and totals may be null. No two arrays overlap.
//
// Bytes an element, read + written: gradients and accumulated dx 8 + 4, other dx 4 + 4, without
// either 4 + 0, slopes 4 + 4: the least, and for slopes 2 more read, as each band of 16 rows reads
// the diagonal, which has a sector for each number. Sums run in a fixed order, in double beyond one
// pack or row.
#include "common.cuh"

// 0 stays 0, NaN stays NaN.
__device__ __forceinline__ float sign_of(float x)
{
    return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x);
}

struct Penalty {
    float l1, l2;

    __device__ __forceinline__ float value(float x) const { return l1 * fabsf(x) + l2 * x * x; }
    __device__ __forceinline__ float slope(float x) const
    {
        return l1 * sign_of(x) + 2.0f * l2 * x;
    }
};

// One pack: writes its gradient, returns its penalty.
template <int WIDTH, typename X>
__device__ __forceinline__ float pack_penalty(const Penalty& penalty, real* dx, const X* x,
                                              int64 unit, bool accumulate)
{
    const Pack<X, WIDTH> values = load_pack<X, WIDTH>(x, unit);
    Pack<real, WIDTH> slopes = {};
    if (dx != nullptr && accumulate) {
        slopes = load_pack<real, WIDTH>(dx, unit);
    }
    float sum = 0.0f;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        const float value = (float)values.v[j];
        sum += penalty.value(value);
        slopes.v[j] = (real)((float)slopes.v[j] + penalty.slope(value));
    }
    if (dx != nullptr) {
        store_pack<real, WIDTH>(dx, unit, slopes);
    }
    return sum;
}

// This thread's share of the elements [begin, end), dealt to `threads` threads: packs inside,
// single elements at the edges.
template <typename X>
__device__ __forceinline__ double range_penalty(const Penalty& penalty, real* dx, const X* x,
                                                int64 begin, int64 end, int64 thread,
                                                int64 threads, bool accumulate)
{
    constexpr int WIDTH = 16 / sizeof(X);  // real is no wider
    int64 inner = begin, inner_end = begin;
    if (is_aligned(x) && is_aligned(dx)) {
        inner = min(end, (begin + WIDTH - 1) / WIDTH * WIDTH);
        inner_end = max(inner, end / WIDTH * WIDTH);
    }
    double sum = 0.0;
    for (int64 i = begin + thread; i < inner; i += threads) {
        sum += pack_penalty<1>(penalty, dx, x, i, accumulate);
    }
    for (int64 unit = inner / WIDTH + thread; unit < inner_end / WIDTH; unit += threads) {
        sum += pack_penalty<WIDTH>(penalty, dx, x, unit, accumulate);
    }
    for (int64 i = inner_end + thread; i < end; i += threads) {
        sum += pack_penalty<1>(penalty, dx, x, i, accumulate);
    }
    return sum;
}

// Adds up the threads of a block, and in the last block the blocks.
__device__ void add_to_totals(double* totals, double sum, int64 count, double* partials,
                              unsigned* ticket)
{
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        partials[blockIdx.x] = sum;
    }
    if (!is_last_block(ticket, gridDim.x)) {
        return;
    }
    sum = 0.0;
    for (int block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
        sum += __ldcg(&partials[block]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        totals[0] += count * sum;
    }
}

constexpr int COLUMNS = 4;
enum PenaltyColumn { OFFSET = 0, SIZE = 1, L1 = 2, L2 = 3 };

// Each block has one stretch of the buffers, and walks through the rows of the table (few: one for
// each kernel of a model) to those that meet it.
extern "C" __global__ void weight_penalty(real* gradients, double* totals, const float* weights,
                                          const double* penalties, int64 count, int64 n,
                                          int penalty_count, double* partials, unsigned* ticket)
{
    const int64 packs = (n + PACK - 1) / PACK;
    const int64 stretch = (packs + gridDim.x - 1) / gridDim.x * PACK;
    const int64 begin = min(n, blockIdx.x * stretch), end = min(n, begin + stretch);
    double sum = 0.0;
    for (int i = 0; i < penalty_count; ++i) {
        const double* row = penalties + i * COLUMNS;
        const int64 offset = row[OFFSET], row_end = offset + (int64)row[SIZE];
        if (offset >= end) {
            break;
        }
        if (row_end > begin) {
            const Penalty penalty = {(float)row[L1], (float)row[L2]};
            sum += range_penalty(penalty, gradients, weights, max(begin, offset),
                                 min(end, row_end), threadIdx.x, blockDim.x, true);
        }
    }
    if (totals != nullptr) {
        add_to_totals(totals, sum, count, partials, ticket);
    }
}

extern "C" __global__ void activity_penalty(real* dx, double* totals, const real* x, float l1,
                                            float l2, int64 count, int accumulate, int64 n,
                                            double* partials, unsigned* ticket)
{
    const double sum = range_penalty(Penalty{l1, l2}, dx, x, 0, n, grid_thread(), grid_threads(),
                                     accumulate);
    if (totals != nullptr) {
        add_to_totals(totals, sum, count, partials, ticket);
    }
}

constexpr int BAND = 16;
constexpr float SHORTEST = 1e-12f;

// A NaN stays one.
__device__ __forceinline__ float reciprocal_length(const float* gram, int64 vector, int64 vectors)
{
    const float length = sqrtf(gram[vector * vectors + vector]);
    return 1.0f / (length < SHORTEST ? SHORTEST : length);
}

// A thread goes down a strip of WIDTH columns of a band of rows, whose r it reads once for the whole
// band; sums += its part of sum_j |g_ij| r_i r_j.
template <int WIDTH>
__device__ __forceinline__ void penalize_band(float* slopes, float (&sums)[BAND],
                                              const float (&own)[BAND], const float* gram,
                                              float factor, int64 first, int64 vectors)
{
    for (int64 unit = threadIdx.x; unit < vectors / WIDTH; unit += blockDim.x) {
        float other[WIDTH];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            other[j] = reciprocal_length(gram, unit * WIDTH + j, vectors);
        }
#pragma unroll
        for (int i = 0; i < BAND; ++i) {
            if (first + i < vectors) {
                const int64 row = (first + i) * vectors;
                Pack<float, WIDTH> g = load_pack<float, WIDTH>(gram + row, unit);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    const bool pair = unit * WIDTH + j != first + i;
                    const float both = own[i] * other[j];
                    sums[i] += pair ? fabsf(g.v[j]) * both : 0.0f;
                    g.v[j] = 2.0f * factor * sign_of(g.v[j]) * both;
                }
                if (slopes != nullptr) {
                    store_pack<float, WIDTH>(slopes + row, unit, g);
                }
            }
        }
    }
}

// A block has a band of rows. Returns f sum(c_ij) of its bands, to thread 0.
__device__ __forceinline__ double penalize_bands(float* slopes, const float* gram, float factor,
                                                 int64 vectors, bool packed)
{
    double penalty = 0.0;
    for (int64 first = (int64)blockIdx.x * BAND; first < vectors;
         first += (int64)gridDim.x * BAND) {
        float own[BAND], sums[BAND] = {};
#pragma unroll
        for (int i = 0; i < BAND; ++i) {
            own[i] = first + i < vectors ? reciprocal_length(gram, first + i, vectors) : 0.0f;
        }
        if (packed) {
            penalize_band<FLOAT_PACK>(slopes, sums, own, gram, factor, first, vectors);
        } else {
            penalize_band<1>(slopes, sums, own, gram, factor, first, vectors);
        }
        // Not unrolled, as it is long; registers cannot be indexed by a variable, hence the next
        // row moves down to row 0.
#pragma unroll 1
        for (int i = 0; i < BAND; ++i) {
            const float sum = block_sum(sums[0]);
            if (threadIdx.x == 0 && first + i < vectors) {
                const bool cut_off = own[0] >= 1.0f / SHORTEST;
                penalty += (double)factor * sum;
                if (slopes != nullptr) {
                    slopes[(first + i) * (vectors + 1)] =
                        cut_off ? 0.0f : -2.0f * factor * own[0] * own[0] * sum;
                }
            }
#pragma unroll
            for (int next = 1; next < BAND; ++next) {
                own[next - 1] = own[next];
                sums[next - 1] = sums[next];
            }
        }
    }
    return penalty;
}

extern "C" __global__ void orthogonality_penalty(float* slopes, double* totals, const float* gram,
                                                 float factor, int64 count, int64 vectors,
                                                 int packed, double* partials, unsigned* ticket)
{
    const double penalty = penalize_bands(slopes, gram, factor, vectors, packed);
    if (totals != nullptr) {
        add_to_totals(totals, penalty, count, partials, ticket);
    }
}
