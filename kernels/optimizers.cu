// Optimizers over flat buffers: one launch updates all weights of a model.
//
//   sgd   weights -= lr g;  with velocity: v = momentum v - lr g, weights += v
//         (nesterov: weights += momentum v - lr g)
//   adam  m += (g - m)(1 - b1), v += (g^2 - v)(1 - b2),
//         weights -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon), t = step + 1
//
// All of n elements. `segments` has one row of six doubles for each weight (offset, size, decay,
// learning-rate factor, trainable, clip group), in order of offset; lr = hyper[0] * factor. What
// lies in no segment, or in one that is not trainable, stays untouched. The last block adds 1 to
// `step` if `tick`. No two arrays overlap.
//
// Bytes an element: sgd 8 + 4 = 12, with velocity 12 + 8 = 20, adam 16 + 12 = 28: the least.
#include "common.cuh"

constexpr int COLUMNS = 6;
enum SegmentColumn { OFFSET = 0, SIZE = 1, FACTOR = 3, TRAINABLE = 4 };

// The first segment that ends behind `element`: all threads of a block search together.
__device__ __forceinline__ int first_segment(const double* segments, int count, int64 element)
{
    int low = 0, high = count;
    while (low < high) {
        const int middle = (low + high) / 2;
        const double* segment = segments + middle * COLUMNS;
        if ((int64)(segment[OFFSET] + segment[SIZE]) <= element) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// Calls update.at<WIDTH>(unit) for all elements of [begin, end): packs inside, single ones at the
// edges.
template <typename Update>
__device__ __forceinline__ void update_span(const Update& update, int64 begin, int64 end)
{
    int64 inner = begin, inner_end = begin;
    if (update.is_packed()) {
        inner = min(end, (begin + PACK - 1) / PACK * PACK);
        inner_end = max(inner, end / PACK * PACK);
    }
    for (int64 i = begin + threadIdx.x; i < inner; i += blockDim.x) {
        update.template at<1>(i);
    }
    for (int64 unit = inner / PACK + threadIdx.x; unit < inner_end / PACK; unit += blockDim.x) {
        update.template at<PACK>(unit);
    }
    for (int64 i = inner_end + threadIdx.x; i < end; i += blockDim.x) {
        update.template at<1>(i);
    }
}

// Each block has one stretch of the buffers, and walks through the segments that meet it.
template <typename Update>
__device__ __forceinline__ void update_segments(Update update, const double* segments, int count,
                                                double learning_rate, int64 n)
{
    const int64 packs = (n + PACK - 1) / PACK;
    const int64 stretch = (packs + gridDim.x - 1) / gridDim.x * PACK;
    const int64 begin = min(n, blockIdx.x * stretch), end = min(n, begin + stretch);
    for (int i = first_segment(segments, count, begin); i < count; ++i) {
        const double* segment = segments + i * COLUMNS;
        const int64 offset = segment[OFFSET];
        if (offset >= end) {
            break;
        }
        if (segment[TRAINABLE] != 0.0) {
            update.learning_rate = (float)(learning_rate * segment[FACTOR]);
            update_span(update, max(begin, offset), min(end, offset + (int64)segment[SIZE]));
        }
    }
}

// After all blocks have read `step`.
__device__ __forceinline__ void tick_step(int64* step, int tick, unsigned* ticket)
{
    if (tick && is_last_block(ticket, gridDim.x) && threadIdx.x == 0) {
        *step += 1;
    }
}

struct SgdUpdate {
    real* weights;
    real* velocity;
    const real* gradients;
    float momentum, learning_rate;
    bool nesterov;

    __device__ __forceinline__ bool is_packed() const
    {
        return is_aligned(weights) && is_aligned(velocity) && is_aligned(gradients);
    }
    template <int WIDTH>
    __device__ __forceinline__ void at(int64 unit) const
    {
        Pack<real, WIDTH> weight = load_pack<real, WIDTH>(weights, unit);
        const Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(gradients, unit);
        Pack<real, WIDTH> speed = {};
        if (velocity != nullptr) {
            speed = load_pack<real, WIDTH>(velocity, unit);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float step = -learning_rate * (float)gradient.v[j];
            const float moved = velocity != nullptr ? momentum * (float)speed.v[j] + step : step;
            speed.v[j] = (real)moved;
            weight.v[j] = (real)((float)weight.v[j] + (nesterov ? momentum * moved + step : moved));
        }
        store_pack<real, WIDTH>(weights, unit, weight);
        if (velocity != nullptr) {
            store_pack<real, WIDTH>(velocity, unit, speed);
        }
    }
};

extern "C" __global__ void sgd(real* weights, real* velocity, int64* step, const real* gradients,
                               const double* segments, const double* hyper, int nesterov, int tick,
                               int64 n, int segment_count, unsigned* ticket)
{
    const bool look_ahead = nesterov && velocity != nullptr;
    SgdUpdate update = {weights, velocity, gradients, (float)hyper[1], 0.0f, look_ahead};
    update_segments(update, segments, segment_count, hyper[0], n);
    tick_step(step, tick, ticket);
}

struct AdamUpdate {
    real* weights;
    real* momentums;
    real* velocities;
    const real* gradients;
    float rate_1, rate_2, epsilon, learning_rate;  // rate_i = 1 - beta_i

    __device__ __forceinline__ bool is_packed() const
    {
        return is_aligned(weights) && is_aligned(momentums) && is_aligned(velocities) &&
               is_aligned(gradients);
    }
    template <int WIDTH>
    __device__ __forceinline__ void at(int64 unit) const
    {
        Pack<real, WIDTH> weight = load_pack<real, WIDTH>(weights, unit);
        Pack<real, WIDTH> momentum = load_pack<real, WIDTH>(momentums, unit);
        Pack<real, WIDTH> velocity = load_pack<real, WIDTH>(velocities, unit);
        const Pack<real, WIDTH> gradient = load_pack<real, WIDTH>(gradients, unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float g = (float)gradient.v[j];
            float m = (float)momentum.v[j], v = (float)velocity.v[j];
            m += (g - m) * rate_1;
            v += (g * g - v) * rate_2;
            momentum.v[j] = (real)m;
            velocity.v[j] = (real)v;
            weight.v[j] =
                (real)((float)weight.v[j] - learning_rate * m / (sqrtf(v) + epsilon));
        }
        store_pack<real, WIDTH>(weights, unit, weight);
        store_pack<real, WIDTH>(momentums, unit, momentum);
        store_pack<real, WIDTH>(velocities, unit, velocity);
    }
};

extern "C" __global__ void adam(real* weights, real* momentums, real* velocities, int64* step,
                                const real* gradients, const double* segments, const double* hyper,
                                int tick, int64 n, int segment_count, unsigned* ticket)
{
    __shared__ double corrected_rate;
    if (threadIdx.x == 0) {  // double powers are slow: once a block
        const double t = *step + 1;
        corrected_rate = hyper[0] * sqrt(1.0 - pow(hyper[2], t)) / (1.0 - pow(hyper[1], t));
    }
    __syncthreads();
    AdamUpdate update = {weights,   momentums, velocities, gradients, (float)(1.0 - hyper[1]),
                         (float)(1.0 - hyper[2]), (float)hyper[3], 0.0f};
    update_segments(update, segments, segment_count, corrected_rate, n);
    tick_step(step, tick, ticket);
}
