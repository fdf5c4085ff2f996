// Normalization of channels: batch norm, group norm and instance norm.
//
//   channel_moments        mean and variance of channels over the rows of each segment
//   group_moments          those of the channels of a group together
//   channel_norm           y = (x - mean) r gamma + beta, r = 1 / sqrt(variance + epsilon)
//   channel_norm_sums      sums of dy and of dy v over rows, v = (x - mean) r; over segments, too:
//                          dbeta and dgamma
//   group_sums             mean of gamma sums over the channels of a group
//   channel_norm_backward  dx = r (gamma dy - (s + v t) / rows), s and t from the sums
//
// Shapes: x and y (segments, rows, channels), mean and variance (segments, channels), sums (2,
// segments, channels), gamma, beta and moving statistics (channels); those may be null.
// Statistics and sums are float, all else is real.
//
// Bytes an element, read + written: channel_moments 4, channel_norm 4 + 4, channel_norm_sums 8,
// channel_norm_backward 8 + 4: together 12 forward and 20 backward, the least of a batch norm, and
// at most 1/16 of that for partial sums.
//
// Aliasing: y = x, dx = dy, dx = x: each thread reads an element before it writes it.
#include "common.cuh"

// A pack of a vector (channels) that may be missing; one row of threads loads it for all of the
// block, which must call this together. `mine` says whether the strip has such a unit.
template <int WIDTH, typename T>
__device__ __forceinline__ Pack<float, WIDTH> strip_pack(const T* p, int unit, bool mine,
                                                         float otherwise = 0.0f)
{
    constexpr int WIDEST = 16 / sizeof(T), PART = WIDTH < WIDEST ? WIDTH : WIDEST;
    __shared__ Pack<float, WIDTH> staged[256];
    __syncthreads();  // the packs of an earlier call have been read
    if (threadIdx.y == 0) {
        Pack<float, WIDTH> pack;
        const bool there = mine && p != nullptr, packed = there && is_aligned(p);
#pragma unroll
        for (int i = 0; i < WIDTH; i += PART) {
            Pack<T, PART> part;
            if (packed) {
                part = load_pack<T, PART>(p, (unit * WIDTH + i) / PART);
            }
#pragma unroll
            for (int j = 0; j < PART; ++j) {
                pack.v[i + j] = packed  ? (float)part.v[j]
                                : there ? (float)p[unit * WIDTH + i + j]
                                        : otherwise;
            }
        }
        staged[threadIdx.x] = pack;
    }
    __syncthreads();
    return staged[threadIdx.x];
}

// Sums are taken around the first row: variance = (sum of d^2 - (sum of d)^2 / rows) / rows with
// d = x - x_0 loses digits only where x_0 lies many standard deviations from the mean.
template <int WIDTH>
__device__ __forceinline__ void moments_of_strip(float* mean, float* variance, float* moving_mean,
                                                 float* moving_variance, const real* x,
                                                 float momentum, int64 segment, int64 rows,
                                                 int channels, float* partials, unsigned* tickets)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    const bool any = unit < units && rows > 0;
    x += segment * rows * channels;
    const Pack<float, WIDTH> first = strip_pack<WIDTH>(x, unit, any);
    float sums[WIDTH] = {}, squares[WIDTH] = {};
    for (Band band(any ? rows : 0); band.more(); band.next()) {
        const RealPack<WIDTH> value = load_pack<real, WIDTH>(x, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float d = (float)value.v[j] - first.v[j];
            sums[j] += d;
            squares[j] += d * d;
        }
    }
    partials += segment * gridDim.y * 2 * channels;
    if (finish_two_sums<WIDTH>(sums, squares, channels, unit, partials,
                               &tickets[segment * gridDim.x + blockIdx.x])) {
        const float share = rows > 0 ? 1.0f / rows : 0.0f;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int64 channel = (int64)unit * WIDTH + j, place = segment * channels + channel;
            const float step = sums[j] * share, m = first.v[j] + step;
            const float v = at_least((squares[j] - sums[j] * step) * share, 0.0f);
            mean[place] = m;
            variance[place] = v;
            if (moving_mean != nullptr && segment == 0) {
                moving_mean[channel] = momentum * moving_mean[channel] + (1.0f - momentum) * m;
            }
            if (moving_variance != nullptr && segment == 0) {
                moving_variance[channel] =
                    momentum * moving_variance[channel] + (1.0f - momentum) * v;
            }
        }
    }
}

extern "C" __global__ void channel_moments(float* mean, float* variance, float* moving_mean,
                                           float* moving_variance, const real* x, float momentum,
                                           int64 segments, int64 rows, int channels, int packed,
                                           float* partials, unsigned* tickets)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            moments_of_strip<PACK>(mean, variance, moving_mean, moving_variance, x, momentum,
                                   segment, rows, channels, partials, tickets);
        } else {
            moments_of_strip<1>(mean, variance, moving_mean, moving_variance, x, momentum,
                                segment, rows, channels, partials, tickets);
        }
    }
}

// A warp for each group of each segment.
extern "C" __global__ void group_moments(float* mean, float* variance, int64 segments, int channels,
                                         int groups)
{
    const int size = channels / groups, lane = threadIdx.x % WARP;
    for (int64 group = grid_thread() / WARP; group < segments * groups;
         group += grid_threads() / WARP) {
        float *means = mean + group * size, *variances = variance + group * size;
        float sum = 0.0f;
        for (int i = lane; i < size; i += WARP) {
            sum += means[i];
        }
        const float of_group = warp_sum(sum) / size;
        float squares = 0.0f;
        for (int i = lane; i < size; i += WARP) {
            const float d = means[i] - of_group;
            squares += variances[i] + d * d;
        }
        squares = warp_sum(squares) / size;
        for (int i = lane; i < size; i += WARP) {
            means[i] = of_group;
            variances[i] = squares;
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void channel_norm_strip(real* y, const real* x, const float* mean,
                                                   const float* variance, const real* gamma,
                                                   const real* beta, float epsilon, int64 segment,
                                                   int64 rows, int channels)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    const bool mine = unit < units;
    const int64 start = segment * rows * channels, vectors = segment * channels;
    const Pack<float, WIDTH> shift = strip_pack<WIDTH>(mean + vectors, unit, mine);
    const Pack<float, WIDTH> spread = strip_pack<WIDTH>(variance + vectors, unit, mine);
    const Pack<float, WIDTH> g = strip_pack<WIDTH>(gamma, unit, mine, 1.0f);
    const Pack<float, WIDTH> b = strip_pack<WIDTH>(beta, unit, mine);
    float scale[WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        scale[j] = g.v[j] / sqrtf(spread.v[j] + epsilon);
    }
    for (Band band(mine ? rows : 0); band.more(); band.next()) {
        RealPack<WIDTH> value = load_pack<real, WIDTH>(x + start, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            value.v[j] = (real)(((float)value.v[j] - shift.v[j]) * scale[j] + b.v[j]);
        }
        store_pack<real, WIDTH>(y + start, band.row * units + unit, value);
    }
}

extern "C" __global__ void channel_norm(real* y, const real* x, const float* mean,
                                        const float* variance, const real* gamma, const real* beta,
                                        float epsilon, int64 segments, int64 rows, int channels,
                                        int packed)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            channel_norm_strip<PACK>(y, x, mean, variance, gamma, beta, epsilon, segment, rows,
                                     channels);
        } else {
            channel_norm_strip<1>(y, x, mean, variance, gamma, beta, epsilon, segment, rows,
                                  channels);
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void norm_sums_of_strip(float* sums, real* dgamma, real* dbeta,
                                                   const real* dy, const real* x,
                                                   const float* mean, const float* variance,
                                                   float epsilon, int accumulate, int64 segment,
                                                   int64 segments, int64 rows, int channels,
                                                   float* partials, unsigned* tickets)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    const bool any = unit < units;
    const int64 start = segment * rows * channels;
    const Pack<float, WIDTH> shift = strip_pack<WIDTH>(mean + segment * channels, unit, any);
    const Pack<float, WIDTH> spread = strip_pack<WIDTH>(variance + segment * channels, unit, any);
    float of_dy[WIDTH] = {}, of_products[WIDTH] = {};
    for (Band band(any ? rows : 0); band.more(); band.next()) {
        const RealPack<WIDTH> d = load_pack<real, WIDTH>(dy + start, band.row * units + unit);
        const RealPack<WIDTH> in = load_pack<real, WIDTH>(x + start, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            of_dy[j] += (float)d.v[j];
            of_products[j] += (float)d.v[j] * ((float)in.v[j] - shift.v[j]);
        }
    }
    partials += segment * gridDim.y * 2 * channels;
    if (finish_two_sums<WIDTH>(of_dy, of_products, channels, unit, partials,
                               &tickets[segment * gridDim.x + blockIdx.x])) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int64 channel = (int64)unit * WIDTH + j, place = segment * channels + channel;
            const float product = of_products[j] / sqrtf(spread.v[j] + epsilon);
            sums[place] = of_dy[j];
            sums[segments * channels + place] = product;
            if (segments == 1) {
                write_total(dbeta, channel, of_dy[j], accumulate);
                write_total(dgamma, channel, product, accumulate);
            }
        }
    }
}

// With several segments dgamma and dbeta are left to segment_totals.
extern "C" __global__ void channel_norm_sums(float* sums, real* dgamma, real* dbeta,
                                             const real* dy, const real* x, const float* mean,
                                             const float* variance, float epsilon, int accumulate,
                                             int64 segments, int64 rows, int channels, int packed,
                                             float* partials, unsigned* tickets)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            norm_sums_of_strip<PACK>(sums, dgamma, dbeta, dy, x, mean, variance, epsilon,
                                     accumulate, segment, segments, rows, channels, partials,
                                     tickets);
        } else {
            norm_sums_of_strip<1>(sums, dgamma, dbeta, dy, x, mean, variance, epsilon, accumulate,
                                  segment, segments, rows, channels, partials, tickets);
        }
    }
}

// dbeta and dgamma (channels) = sums (2, segments, channels) over segments; blocks of (channels,
// segments), gridDim.y = 2.
extern "C" __global__ void segment_totals(real* dbeta, real* dgamma, const float* sums,
                                          int accumulate, int64 segments, int channels)
{
    const int channel = blockIdx.x * blockDim.x + threadIdx.x, which = blockIdx.y;
    float sum[1] = {0.0f};
    for (int64 s = threadIdx.y; s < segments && channel < channels; s += blockDim.y) {
        sum[0] += sums[(which * segments + s) * channels + channel];
    }
    sum_over_thread_rows<1>(sum);
    if (threadIdx.y == 0 && channel < channels) {
        write_total(which == 0 ? dbeta : dgamma, channel, sum[0], accumulate);
    }
}

// A warp for each group of each of the two sums of each segment.
extern "C" __global__ void group_sums(float* sums, const real* gamma, int64 segments, int channels,
                                      int groups)
{
    const int size = channels / groups, lane = threadIdx.x % WARP;
    for (int64 group = grid_thread() / WARP; group < 2 * segments * groups;
         group += grid_threads() / WARP) {
        float* mine = sums + group * size;
        const real* weights = gamma == nullptr ? nullptr : gamma + group % groups * size;
        float sum = 0.0f;
        for (int i = lane; i < size; i += WARP) {
            sum += mine[i] * (weights == nullptr ? 1.0f : (float)weights[i]);
        }
        const float mean = warp_sum(sum) / size;
        for (int i = lane; i < size; i += WARP) {
            mine[i] = mean;
        }
    }
}

// dx = scale dy - slope (x - mean) - offset; without sums slope and offset are 0.
template <int WIDTH>
__device__ __forceinline__ void norm_backward_strip(real* dx, const real* dy, const real* x,
                                                    const float* mean, const float* variance,
                                                    const real* gamma, const float* sums,
                                                    float epsilon, int grouped, int64 segment,
                                                    int64 segments, int64 rows, int channels)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    const bool mine = unit < units, moved = mine && sums != nullptr;
    const int64 start = segment * rows * channels, vectors = segment * channels;
    const Pack<float, WIDTH> spread = strip_pack<WIDTH>(variance + vectors, unit, mine);
    const Pack<float, WIDTH> weight = strip_pack<WIDTH>(gamma, unit, mine, 1.0f);
    const Pack<float, WIDTH> shift = strip_pack<WIDTH>(mean + vectors, unit, moved);
    const Pack<float, WIDTH> s = strip_pack<WIDTH>(sums + vectors, unit, moved);
    const float* second = sums + segments * channels + vectors;
    const Pack<float, WIDTH> t = strip_pack<WIDTH>(second, unit, moved);
    float scale[WIDTH], slope[WIDTH], offset[WIDTH];
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        const float rstd = 1.0f / sqrtf(spread.v[j] + epsilon);
        scale[j] = weight.v[j] * rstd;
        const float share = (grouped ? rstd : scale[j]) / rows;
        offset[j] = s.v[j] * share;
        slope[j] = t.v[j] * share * rstd;
    }
    for (Band band(mine ? rows : 0); band.more(); band.next()) {
        const int64 place = band.row * units + unit;
        RealPack<WIDTH> d = load_pack<real, WIDTH>(dy + start, place);
        RealPack<WIDTH> in = {};
        if (sums != nullptr) {
            in = load_pack<real, WIDTH>(x + start, place);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float v = (float)in.v[j] - shift.v[j];
            d.v[j] = (real)(scale[j] * (float)d.v[j] - (slope[j] * v + offset[j]));
        }
        store_pack<real, WIDTH>(dx + start, place, d);
    }
}

extern "C" __global__ void channel_norm_backward(real* dx, const real* dy, const real* x,
                                                 const float* mean, const float* variance,
                                                 const real* gamma, const float* sums,
                                                 float epsilon, int grouped, int64 segments,
                                                 int64 rows, int channels, int packed)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            norm_backward_strip<PACK>(dx, dy, x, mean, variance, gamma, sums, epsilon, grouped,
                                      segment, segments, rows, channels);
        } else {
            norm_backward_strip<1>(dx, dy, x, mean, variance, gamma, sums, epsilon, grouped,
                                   segment, segments, rows, channels);
        }
    }
}

