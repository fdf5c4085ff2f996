// Norms of gradients, by which they are clipped.
//
//   squared_norms  norms[group] = sum of g^2 over the segments of a group (or +=)
//
// Gradients have n elements of real, norms one double for each group; `segments` has one row of six
// doubles for each weight (offset, size, decay, learning-rate factor, trainable, clip group), in order
// of offset; groups are in that order, too. What is in no segment, or in one that is not trainable,
// does not count. Sums are added in an order that only the sizes decide.
//
// Bytes an element: 4, the least.
#include "common.cuh"
#include "segments.cuh"

struct SquareSum {
    const real* gradients;
    float sum;

    template <int WIDTH>
    __device__ __forceinline__ void at(int64 unit)
    {
        const Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(gradients, unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sum += (float)gradient.v[j] * (float)gradient.v[j];
        }
    }
};

// Where the partial sums of segments before the i-th end. A block writes one partial sum for each
// segment from the first that ends behind its begin to the first that ends behind its end, that of
// segment i into partials[block + i]: neighbours share no place and leave none out.
__device__ __forceinline__ int64 partials_begin(const double* segments, int i, int64 stretch)
{
    if (i == 0) {
        return 0;
    }
    const int64 blocks = (end_of(segments + (i - 1) * COLUMNS) + stretch - 1) / stretch;
    return max(blocks - 1, 0ll) + i;
}

// The first segment whose group is at least `group`.
__device__ __forceinline__ int group_begin(const double* segments, int count, int group)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (segments[middle * COLUMNS + GROUP] < group) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

extern "C" __global__ void squared_norms(double* norms, const real* gradients,
                                         const double* segments, int64 n, int segment_count,
                                         int groups, int accumulate, double* partials,
                                         unsigned* ticket)
{
    const int64 stretch = stretch_of(n);
    const int64 begin = min(n, blockIdx.x * stretch), end = min(n, begin + stretch);
    const int last = first_segment(segments, segment_count, end);
    for (int i = first_segment(segments, segment_count, begin); i <= last; ++i) {
        SquareSum squares = {gradients, 0.0f};
        if (i < segment_count && segments[i * COLUMNS + TRAINABLE] != 0.0) {
            const double* segment = segments + i * COLUMNS;
            const int64 from = max(begin, (int64)segment[OFFSET]);
            const int64 to = max(from, min(end, end_of(segment)));
            for_span<PACK>(squares, is_aligned(gradients), from, to);
        }
        const double sum = block_sum((double)squares.sum);
        if (threadIdx.x == 0) {
            partials[blockIdx.x + i] = sum;
        }
    }
    if (!is_last_block(ticket, gridDim.x)) {
        return;
    }
    // A warp adds up a group: the partial sums of neighbouring segments are neighbours.
    const int lane = threadIdx.x % WARP;
    for (int group = threadIdx.x / WARP; group < groups; group += blockDim.x / WARP) {
        const int first = group_begin(segments, segment_count, group);
        const int behind = group_begin(segments, segment_count, group + 1);
        const int64 stop = first < behind ? partials_begin(segments, behind, stretch) : 0;
        double sum = 0.0;
        for (int64 k = partials_begin(segments, first, stretch) + lane; k < stop; k += WARP) {
            sum += __ldcg(partials + k);
        }
        sum = warp_reduce(sum, Plus());
        if (lane == 0) {
            norms[group] = accumulate ? norms[group] + sum : sum;
        }
    }
}
