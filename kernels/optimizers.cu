// Optimizers over flat buffers: one launch updates all weights of a model. What each update does
// to an element, after clipping the gradient g and decaying the weight w (lr = hyper[0] * factor,
// t = step + 1):
//
//   sgd       v = momentum v - lr g,  w += v  (nesterov: w += momentum v - lr g)
//   adam      m += (g - m)(1 - b1),  v += (g^2 - v)(1 - b2),  (amsgrad: v^ = max(v^, v), used as v)
//             w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
//   nadam     m, v as adam,  u(t) = b1 (1 - 0.96^t / 2),  p(t) = u(1) ... u(t),
//             w -= lr (u(t+1) m / (1 - p(t+1)) + (1 - u(t)) g / (1 - p(t)))
//                  / (sqrt(v / (1 - b2^t)) + epsilon)
//   adamax    m as adam,  u = max(b2 u, |g|),  w -= lr / (1 - b1^t) m / (u + epsilon)
//   rmsprop   v += (g^2 - v)(1 - rho),  (centered: a += (g - a)(1 - rho)),
//             c = lr g / sqrt(v - a^2 + epsilon),  (momentum: m = momentum m + c, used as c),  w -= c
//   adagrad   s += g^2,  w -= lr g / sqrt(s + epsilon)
//   adadelta  s += (g^2 - s)(1 - rho),  c = g sqrt(d + epsilon) / sqrt(s + epsilon),
//             d += (c^2 - d)(1 - rho),  w -= lr c
//   lion      w -= lr sign(b1 m + (1 - b1) g),  m = b2 m + (1 - b2) g
//
// moving_average: a = momentum a + (1 - momentum) w, every so many steps w = a.
//
// All buffers have n elements, gradients of real, weights and slots of float. `segments` has one row
// of six doubles for each weight (offset, size, decay, learning-rate factor, trainable, clip group),
// in order of offset. What lies in no segment, or in one that is not trainable, stays untouched. The
// last block adds 1 to `step` if `tick`. No two arrays overlap; slots that may be missing are null
// pointers.
//
// Bytes an element: weights and each slot are read and written, gradients read: 12 and 8 for each
// slot (sgd 12, with momentum 20, adam 28), moving_average 12 (16 where it overwrites): the least.
#include "common.cuh"
#include "segments.cuh"

enum HyperColumn { LEARNING_RATE = 0, WEIGHT_DECAY, CLIP, OWN };

// ------------------------------------------------------------------- what the updates share

// What the host passes to every update.
struct Common {
    float* weights;
    const real* gradients;  // null for moving_average
    const double* segments;
    const double* norms;  // null where gradients are not clipped by norm
    double learning_rate, weight_decay, clip;
    int64 n;
    int segment_count;
    bool stores_weights;
};

__device__ __forceinline__ Common common(float* weights, const real* gradients,
                                         const double* segments, const double* norms,
                                         const double* hyper, int64 n, int segment_count)
{
    return Common{weights, gradients, segments, norms, hyper[LEARNING_RATE], hyper[WEIGHT_DECAY],
                  hyper[CLIP], n, segment_count, true};
}

// One segment of an update: loads, clips, decays, applies the formula, stores. A formula says how
// many SLOTS it has and works on one element: formula(w, g, slots of the element, lr).
template <typename Formula>
struct Update {
    Formula formula;
    float* weights;
    const real* gradients;
    float* slots[Formula::SLOTS];
    float rate, shrink, scale, limit;
    bool stores_weights;

    __device__ __forceinline__ bool is_packed() const
    {
        bool packed = is_aligned(weights) && is_aligned(gradients);
#pragma unroll
        for (int k = 0; k < Formula::SLOTS; ++k) {
            packed = packed && is_aligned(slots[k]);
        }
        return packed;
    }
    __device__ __forceinline__ float clipped(float g) const
    {
        g *= scale;
        return g > limit ? limit : g < -limit ? -limit : g;  // a NaN stays a NaN
    }
    template <int WIDTH>
    __device__ __forceinline__ void at(int64 unit) const
    {
        Pack<float, WIDTH> weight = load_pack<float, WIDTH>(weights, unit);
        Pack<float, WIDTH> slot[Formula::SLOTS] = {};
        Pack<real, WIDTH> gradient = {};
        if (gradients != nullptr) {
            gradient = load_pack<real, WIDTH>(gradients, unit);
        }
#pragma unroll
        for (int k = 0; k < Formula::SLOTS; ++k) {
            if (slots[k] != nullptr) {
                slot[k] = load_pack<float, WIDTH>(slots[k], unit);
            }
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            float w = weight.v[j], of_element[Formula::SLOTS];
#pragma unroll
            for (int k = 0; k < Formula::SLOTS; ++k) {
                of_element[k] = slot[k].v[j];
            }
            w -= w * shrink;
            formula(w, clipped((float)gradient.v[j]), of_element, rate);
            weight.v[j] = w;
#pragma unroll
            for (int k = 0; k < Formula::SLOTS; ++k) {
                slot[k].v[j] = of_element[k];
            }
        }
        if (stores_weights) {
            store_pack<float, WIDTH>(weights, unit, weight);
        }
#pragma unroll
        for (int k = 0; k < Formula::SLOTS; ++k) {
            if (slots[k] != nullptr) {
                store_pack<float, WIDTH>(slots[k], unit, slot[k]);
            }
        }
    }
};

// What a gradient is multiplied by if its norm may be at most `clip`; NaN if it is not finite.
__device__ __forceinline__ float clip_scale(double squared_norm, double clip)
{
    const double norm = sqrt(squared_norm);
    return (float)(clip / fmax(norm, clip) + (norm - norm));
}

// Each block has one stretch of the buffers, and walks through the segments that meet it.
template <typename Formula>
__device__ __forceinline__ void update_all(const Formula& formula, const Common& c,
                                           float* const (&slots)[Formula::SLOTS])
{
    Update<Formula> update = {formula, c.weights, c.gradients, {}, 0.0f, 0.0f, 1.0f,
                              -minus_infinity(), c.stores_weights};
#pragma unroll
    for (int k = 0; k < Formula::SLOTS; ++k) {
        update.slots[k] = slots[k];
    }
    if (c.norms == nullptr) {
        update.limit = (float)c.clip;
    }
    const bool packed = update.is_packed();
    const int64 stretch = stretch_of(c.n);
    const int64 begin = min(c.n, blockIdx.x * stretch), end = min(c.n, begin + stretch);
    for (int i = first_segment(c.segments, c.segment_count, begin); i < c.segment_count; ++i) {
        const double* segment = c.segments + i * COLUMNS;
        const int64 offset = segment[OFFSET];
        if (offset >= end) {
            break;
        }
        if (segment[TRAINABLE] != 0.0) {
            const double rate = c.learning_rate * segment[FACTOR];
            update.rate = (float)rate;
            update.shrink = (float)(rate * c.weight_decay * segment[DECAY]);
            if (c.norms != nullptr) {
                update.scale = clip_scale(c.norms[(int)segment[GROUP]], c.clip);
            }
            for_span<FLOAT_PACK>(update, packed, max(begin, offset), min(end, end_of(segment)));
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

// mean += (value - mean) * rate, where rate = 1 - decay.
__device__ __forceinline__ void to_mean(float& mean, float value, float rate)
{
    mean += (value - mean) * rate;
}

// The larger one, or a NaN, which fmaxf would hide.
__device__ __forceinline__ float larger(float a, float b) { return a > b || a != a ? a : b; }

// --------------------------------------------------------------------------------- updates

struct Sgd {
    static constexpr int SLOTS = 1;
    float momentum;
    bool nesterov;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        const float step = -lr * g;
        slot[0] = momentum * slot[0] + step;
        w += nesterov ? momentum * slot[0] + step : slot[0];
    }
};

extern "C" __global__ void sgd(float* weights, float* velocity, int64* step, const real* gradients,
                               const double* segments, const double* norms, const double* hyper,
                               int nesterov, int tick, int64 n, int segment_count, unsigned* ticket)
{
    const Sgd formula = {(float)hyper[OWN], nesterov && velocity != nullptr};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {velocity});
    tick_step(step, tick, ticket);
}

struct Adam {
    static constexpr int SLOTS = 3;
    float rate_1, rate_2, epsilon, correction;  // rate_i = 1 - beta_i

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        to_mean(slot[0], g, rate_1);
        to_mean(slot[1], g * g, rate_2);
        slot[2] = larger(slot[2], slot[1]);  // without amsgrad: larger(0, v)
        w -= lr * correction * slot[0] / (sqrtf(slot[2]) + epsilon);
    }
};

extern "C" __global__ void adam(float* weights, float* momentums, float* velocities,
                                float* velocity_hats, int64* step, const real* gradients,
                                const double* segments, const double* norms, const double* hyper,
                                int tick, int64 n, int segment_count, unsigned* ticket)
{
    const double* own = hyper + OWN;
    __shared__ float correction;
    if (threadIdx.x == 0) {  // double powers are slow: once a block
        const double t = *step + 1;
        correction = (float)(sqrt(1.0 - pow(own[1], t)) / (1.0 - pow(own[0], t)));
    }
    __syncthreads();
    const Adam formula = {(float)(1.0 - own[0]), (float)(1.0 - own[1]), (float)own[2], correction};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {momentums, velocities, velocity_hats});
    tick_step(step, tick, ticket);
}

struct Nadam {
    static constexpr int SLOTS = 2;
    float rate_1, rate_2, epsilon, of_momentum, of_gradient, correction;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        to_mean(slot[0], g, rate_1);
        to_mean(slot[1], g * g, rate_2);
        w -= lr * (of_momentum * slot[0] + of_gradient * g) /
             (sqrtf(slot[1]) * correction + epsilon);
    }
};

extern "C" __global__ void nadam(float* weights, float* momentums, float* velocities, int64* step,
                                 const real* gradients, const double* segments,
                                 const double* norms, const double* hyper, int tick, int64 n,
                                 int segment_count, unsigned* ticket)
{
    const double* own = hyper + OWN;
    __shared__ float of_momentum, of_gradient, correction;
    if (threadIdx.x == 0) {
        const double t = *step + 1, power = pow(0.96, t);
        const double now = own[0] * (1.0 - 0.5 * power), next = own[0] * (1.0 - 0.48 * power);
        of_momentum = (float)(next / (1.0 - own[3] * now * next));
        of_gradient = (float)((1.0 - now) / (1.0 - own[3] * now));
        correction = (float)(1.0 / sqrt(1.0 - pow(own[1], t)));
    }
    __syncthreads();
    const Nadam formula = {(float)(1.0 - own[0]), (float)(1.0 - own[1]), (float)own[2],
                           of_momentum, of_gradient, correction};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {momentums, velocities});
    tick_step(step, tick, ticket);
}

struct Adamax {
    static constexpr int SLOTS = 2;
    float rate_1, beta_2, epsilon, correction;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        to_mean(slot[0], g, rate_1);
        slot[1] = larger(beta_2 * slot[1], fabsf(g));
        w -= lr * correction * slot[0] / (slot[1] + epsilon);
    }
};

extern "C" __global__ void adamax(float* weights, float* momentums, float* maxima, int64* step,
                                  const real* gradients, const double* segments,
                                  const double* norms, const double* hyper, int tick, int64 n,
                                  int segment_count, unsigned* ticket)
{
    const double* own = hyper + OWN;
    __shared__ float correction;
    if (threadIdx.x == 0) {
        correction = (float)(1.0 / (1.0 - pow(own[0], (double)(*step + 1))));
    }
    __syncthreads();
    const Adamax formula = {(float)(1.0 - own[0]), (float)own[1], (float)own[2], correction};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {momentums, maxima});
    tick_step(step, tick, ticket);
}

struct RmsProp {
    static constexpr int SLOTS = 3;
    float rate, momentum, epsilon;
    bool centered;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        to_mean(slot[0], g * g, rate);
        if (centered) {
            to_mean(slot[2], g, rate);
        }
        const float change = lr * g / sqrtf(slot[0] - slot[2] * slot[2] + epsilon);
        slot[1] = momentum * slot[1] + change;  // without momentums: 0 + change
        w -= slot[1];
    }
};

extern "C" __global__ void rmsprop(float* weights, float* velocities, float* momentums,
                                   float* average_gradients, int64* step, const real* gradients,
                                   const double* segments, const double* norms,
                                   const double* hyper, int tick, int64 n, int segment_count,
                                   unsigned* ticket)
{
    const double* own = hyper + OWN;
    const RmsProp formula = {(float)(1.0 - own[0]), (float)own[1], (float)own[2],
                             average_gradients != nullptr};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {velocities, momentums, average_gradients});
    tick_step(step, tick, ticket);
}

struct Adagrad {
    static constexpr int SLOTS = 1;
    float epsilon;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        slot[0] += g * g;
        w -= lr * g / sqrtf(slot[0] + epsilon);
    }
};

extern "C" __global__ void adagrad(float* weights, float* accumulators, int64* step,
                                   const real* gradients, const double* segments,
                                   const double* norms, const double* hyper, int tick, int64 n,
                                   int segment_count, unsigned* ticket)
{
    const Adagrad formula = {(float)hyper[OWN]};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {accumulators});
    tick_step(step, tick, ticket);
}

struct Adadelta {
    static constexpr int SLOTS = 2;
    float rate, epsilon;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        to_mean(slot[0], g * g, rate);
        const float change = g * sqrtf(slot[1] + epsilon) / sqrtf(slot[0] + epsilon);
        to_mean(slot[1], change * change, rate);
        w -= lr * change;
    }
};

extern "C" __global__ void adadelta(float* weights, float* accumulated_gradients,
                                    float* accumulated_changes, int64* step, const real* gradients,
                                    const double* segments, const double* norms,
                                    const double* hyper, int tick, int64 n, int segment_count,
                                    unsigned* ticket)
{
    const Adadelta formula = {(float)(1.0 - hyper[OWN]), (float)hyper[OWN + 1]};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {accumulated_gradients, accumulated_changes});
    tick_step(step, tick, ticket);
}

struct Lion {
    static constexpr int SLOTS = 1;
    float beta_1, rate_1, beta_2, rate_2;

    __device__ __forceinline__ void operator()(float& w, float g, float* slot, float lr) const
    {
        const float c = beta_1 * slot[0] + rate_1 * g;
        w -= lr * (c > 0.0f ? 1.0f : c < 0.0f ? -1.0f : c);  // 0 and NaN as they are
        slot[0] = beta_2 * slot[0] + rate_2 * g;
    }
};

extern "C" __global__ void lion(float* weights, float* momentums, int64* step,
                                const real* gradients, const double* segments,
                                const double* norms, const double* hyper, int tick, int64 n,
                                int segment_count, unsigned* ticket)
{
    const double* own = hyper + OWN;
    const Lion formula = {(float)own[0], (float)(1.0 - own[0]), (float)own[1],
                          (float)(1.0 - own[1])};
    update_all(formula, common(weights, gradients, segments, norms, hyper, n, segment_count),
               {momentums});
    tick_step(step, tick, ticket);
}

// --------------------------------------------------------------------- averages of weights

struct MovingAverage {
    static constexpr int SLOTS = 1;
    float momentum, rate;
    bool overwrites;

    __device__ __forceinline__ void operator()(float& w, float, float* slot, float) const
    {
        slot[0] = momentum * slot[0] + rate * w;
        w = overwrites ? slot[0] : w;
    }
};

extern "C" __global__ void moving_average(float* averages, float* weights, int64* step,
                                          const double* segments, const double* hyper, int tick,
                                          int64 n, int segment_count, unsigned* ticket)
{
    const double momentum = *step == 0 ? 0.0 : hyper[0];
    const int64 frequency = hyper[1];
    const bool overwrites = frequency != 0 && (*step + 1) % frequency == 0;
    const MovingAverage formula = {(float)momentum, (float)(1.0 - momentum), overwrites};
    const Common c = {weights, nullptr, segments, nullptr, 0.0, 0.0, 1.0, n, segment_count,
                      overwrites};
    update_all(formula, c, {averages});
    tick_step(step, tick, ticket);
}
