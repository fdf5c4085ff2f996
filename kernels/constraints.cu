// Constraints on weights after a step.
//
//   norm_constraint  norm = sqrt(sum of w^2) of each vector weights[o, :, i]
//                    w *= (rate clip(norm, min_value, max_value) + (1 - rate) norm) / (1e-7 + norm)
//
// Shapes: weights (outer, reduced, inner), updated in place.
//
// Bytes an element: 4 + 4 read, 4 written, of which the second read finds a weight of usual size in
// the L2 cache; the least is 4 + 4.
#include "common.cuh"

constexpr int STRIP = 8;  // the most vectors side by side in a block
constexpr float EPSILON = 1e-7f;

// A block is (across, down) threads, across a power of two: each column of threads adds up what
// its thread.y-th, thread.y + down-th, ... element is; all threads of the column get the sum.
__device__ __forceinline__ float column_sum(float sum)
{
    __shared__ float of_warp[MAX_WARPS][STRIP];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    for (int offset = WARP / 2; offset >= blockDim.x; offset /= 2) {
        sum += shuffle_xor(sum, offset);
    }
    __syncthreads();  // the sums of an earlier call have been read
    if (thread % WARP < blockDim.x) {
        of_warp[thread / WARP][threadIdx.x] = sum;
    }
    __syncthreads();
    sum = 0.0f;
    for (int warp = 0; warp < blockDim.x * blockDim.y / WARP; ++warp) {
        sum += of_warp[warp][threadIdx.x];
    }
    return sum;
}

template <int WIDTH>
__device__ __forceinline__ void constrain_norms(float* weights, float min_value, float max_value,
                                                float rate, int64 outer, int64 reduced,
                                                int64 inner)
{
    const int64 units = inner / WIDTH;
    const int64 unit = (int64)blockIdx.x * blockDim.x + threadIdx.x;
    const int64 end = unit < units ? reduced : 0;  // past the edge: nothing but the barriers
    for (int64 o = blockIdx.y; o < outer; o += gridDim.y) {
        const int64 first = o * reduced * units + unit;
        float factors[WIDTH] = {};
        for (int64 r = threadIdx.y; r < end; r += blockDim.y) {
            const Pack<float, WIDTH> w = load_pack<float, WIDTH>(weights, first + r * units);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                factors[j] += w.v[j] * w.v[j];
            }
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float norm = sqrtf(column_sum(factors[j]));
            const float wanted = rate * clip(norm, min_value, max_value) + (1.0f - rate) * norm;
            factors[j] = wanted / (EPSILON + norm);
        }
        for (int64 r = threadIdx.y; r < end; r += blockDim.y) {
            Pack<float, WIDTH> w = load_pack<float, WIDTH>(weights, first + r * units);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                w.v[j] *= factors[j];
            }
            store_pack<float, WIDTH>(weights, first + r * units, w);
        }
    }
}

extern "C" __global__ void norm_constraint(float* weights, float min_value, float max_value,
                                           float rate, int64 outer, int64 reduced, int64 inner,
                                           int packed)
{
    if (packed) {
        constrain_norms<FLOAT_PACK>(weights, min_value, max_value, rate, outer, reduced, inner);
    } else {
        constrain_norms<1>(weights, min_value, max_value, rate, outer, reduced, inner);
    }
}
