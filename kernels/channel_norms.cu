// Normalization of channels: batch norm, group norm and instance norm.
//
//   channel_moments        mean and variance of channels over the rows of each segment
//   group_moments          those of the channels of a group together
//   channel_norm           y = (x - mean) r gamma + beta, r = 1 / sqrt(variance + epsilon)
//   channel_norm_sums      sums of dy and of dy v over rows, v = (x - mean) r; over segments, too:
//                          dbeta and dgamma
//   group_sums             mean of gamma sums over the channels of a group
//   channel_norm_backward  dx = r (gamma dy - (s + v t) / count), s and t from the sums
//   masked_...             the same where a mask says which rows count: the others have no part in
//                          the statistics, and their dx = r gamma dy
//
// Shapes: x and y (segments, rows, channels), mean and variance (segments, channels), sums (2,
// segments, channels), gamma, beta and moving statistics (channels), count (segments), mask
// (segments, rows); what need not be there may be null. Statistics and sums are float, masks bytes,
// all else is real.
//
// Bytes an element, read + written: channel_moments 4, channel_norm 4 + 4, channel_norm_sums 8,
// channel_norm_backward 8 + 4: together 12 forward and 20 backward, the least of a batch norm, and
// at most 1/16 of that for partial sums. Of rows that do not count channel_moments reads nothing,
// and channel_norm_backward not x.
//
// Aliasing: y = x, dx = dy, dx = x: each thread reads an element before it writes it.
#include "common.cuh"
#include "strips.cuh"

typedef unsigned char uint8;

constexpr float COUNT_EPSILON = 1e-7f;  // added to the number of rows of a mask, as in Keras

// The first row of a segment that counts; `rows` if none does. Each warp finds it by itself.
__device__ __forceinline__ int64 first_row(const uint8* mask, int64 rows)
{
    const int lane = strip_thread() % WARP;
    for (int64 start = 0; start < rows; start += WARP) {
        const bool counts = start + lane < rows && mask[start + lane] != 0;
        const unsigned found = __ballot_sync(ALL_LANES, counts);
        if (found != 0) {
            return start + __ffs(found) - 1;
        }
    }
    return rows;
}

struct Moments {
    float *mean, *variance, *count, *moving_mean, *moving_variance;
    float momentum;

    __device__ __forceinline__ void write(int64 segment, int channel, int channels, float m,
                                          float v) const
    {
        mean[segment * channels + channel] = m;
        variance[segment * channels + channel] = v;
        if (segment == 0 && moving_mean != nullptr) {
            moving_mean[channel] = momentum * moving_mean[channel] + (1.0f - momentum) * m;
        }
        if (segment == 0 && moving_variance != nullptr) {
            moving_variance[channel] = momentum * moving_variance[channel] + (1.0f - momentum) * v;
        }
    }
};

// Sums are taken around the first row, d = x - x_0: that loses digits only where x_0 lies many
// standard deviations from the mean.
template <int WIDTH, bool MASKED>
__device__ __forceinline__ void moments_of_strip(const Moments& moments, const real* x,
                                                 const uint8* mask, int64 segment, int64 rows,
                                                 int channels, float* partials, unsigned* tickets)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    const int own = strip_thread(), channel = own_column<WIDTH>(channels);
    x += segment * rows * channels;
    const int64 origin = MASKED ? first_row(mask + segment * rows, rows) : 0;
    const float shift = origin < rows ? (float)x[origin * channels + channel] : 0.0f;
    __shared__ Line shifts;
    __syncthreads();  // those of an earlier segment have been read
    if (own < strip_columns<WIDTH>()) {
        shifts[line_place<WIDTH>(own)] = shift;
    }
    __syncthreads();
    float first[WIDTH];
    read_line<WIDTH>(first, shifts);

    constexpr int SUMS = MASKED ? 3 : 2;
    float sums[SUMS][WIDTH] = {}, totals[SUMS];  // of d, d^2, 1
    for (Band band(unit < units ? rows : 0); band.more(); band.next()) {
        if (MASKED && mask[segment * rows + band.row] == 0) {
            continue;
        }
        const RealPack<WIDTH> value = load_pack<real, WIDTH>(x, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float d = (float)value.v[j] - first[j];
            sums[0][j] += d;
            sums[1][j] += d * d;
            if constexpr (MASKED) {
                sums[2][j] += 1.0f;
            }
        }
    }
    partials += segment * gridDim.y * SUMS * channels;
    if (finish_sums(totals, sums, channels, partials, &tickets[segment * gridDim.x + blockIdx.x])) {
        const float found = MASKED ? totals[SUMS - 1] : rows, more = MASKED ? COUNT_EPSILON : 0.0f;
        const float count = found + more, share = count > 0.0f ? 1.0f / count : 0.0f;
        const float step = (totals[0] - shift * more) * share;  // from the shift to the mean
        const float squares = totals[1] - step * (2.0f * totals[0] - found * step);
        moments.write(segment, channel, channels, shift + step, at_least(squares * share, 0.0f));
        if (channel == 0 && moments.count != nullptr) {
            moments.count[segment] = count;
        }
    }
}

template <bool MASKED>
__device__ __forceinline__ void moments_of_segments(const Moments& moments, const real* x,
                                                    const uint8* mask, int64 segments, int64 rows,
                                                    int channels, int packed, float* partials,
                                                    unsigned* tickets)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            moments_of_strip<PACK, MASKED>(moments, x, mask, segment, rows, channels, partials,
                                           tickets);
        } else {
            moments_of_strip<1, MASKED>(moments, x, mask, segment, rows, channels, partials,
                                        tickets);
        }
    }
}

extern "C" __global__ void channel_moments(float* mean, float* variance, float* count,
                                           float* moving_mean, float* moving_variance,
                                           const real* x, float momentum, int64 segments,
                                           int64 rows, int channels, int packed, float* partials,
                                           unsigned* tickets)
{
    const Moments moments = {mean, variance, count, moving_mean, moving_variance, momentum};
    moments_of_segments<false>(moments, x, nullptr, segments, rows, channels, packed, partials,
                               tickets);
}

extern "C" __global__ void masked_channel_moments(float* mean, float* variance, float* count,
                                                  float* moving_mean, float* moving_variance,
                                                  const real* x, const uint8* mask, float momentum,
                                                  int64 segments, int64 rows, int channels,
                                                  int packed, float* partials, unsigned* tickets)
{
    const Moments moments = {mean, variance, count, moving_mean, moving_variance, momentum};
    moments_of_segments<true>(moments, x, mask, segments, rows, channels, packed, partials,
                              tickets);
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
    __shared__ Line scales, shifts, offsets;
    __syncthreads();  // those of an earlier segment have been read
    if (strip_thread() < strip_columns<WIDTH>()) {
        const int place = line_place<WIDTH>(strip_thread()), channel = own_column<WIDTH>(channels);
        const float weight = gamma == nullptr ? 1.0f : (float)gamma[channel];
        scales[place] = weight / sqrtf(variance[segment * channels + channel] + epsilon);
        shifts[place] = mean[segment * channels + channel];
        offsets[place] = beta == nullptr ? 0.0f : (float)beta[channel];
    }
    __syncthreads();
    float scale[WIDTH], shift[WIDTH], offset[WIDTH];
    read_line<WIDTH>(scale, scales);
    read_line<WIDTH>(shift, shifts);
    read_line<WIDTH>(offset, offsets);
    const int64 start = segment * rows * channels;
    for (Band band(unit < units ? rows : 0); band.more(); band.next()) {
        RealPack<WIDTH> value = load_pack<real, WIDTH>(x + start, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            value.v[j] = (real)(((float)value.v[j] - shift[j]) * scale[j] + offset[j]);
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
    const int channel = own_column<WIDTH>(channels);
    const int64 start = segment * rows * channels, place = segment * channels + channel;
    __shared__ Line shifts;
    __syncthreads();  // those of an earlier segment have been read
    if (strip_thread() < strip_columns<WIDTH>()) {
        shifts[line_place<WIDTH>(strip_thread())] = mean[place];
    }
    __syncthreads();
    float shift[WIDTH];
    read_line<WIDTH>(shift, shifts);

    float of_rows[2][WIDTH] = {}, totals[2];  // of dy, dy (x - mean)
    for (Band band(unit < units ? rows : 0); band.more(); band.next()) {
        const RealPack<WIDTH> d = load_pack<real, WIDTH>(dy + start, band.row * units + unit);
        const RealPack<WIDTH> in = load_pack<real, WIDTH>(x + start, band.row * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            of_rows[0][j] += (float)d.v[j];
            of_rows[1][j] += (float)d.v[j] * ((float)in.v[j] - shift[j]);
        }
    }
    partials += segment * gridDim.y * 2 * channels;
    if (finish_sums(totals, of_rows, channels, partials,
                    &tickets[segment * gridDim.x + blockIdx.x])) {
        const float product = totals[1] / sqrtf(variance[place] + epsilon);
        sums[place] = totals[0];
        sums[segments * channels + place] = product;
        if (segments == 1) {
            write_total(dbeta, channel, totals[0], accumulate);
            write_total(dgamma, channel, product, accumulate);
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

// dx = scale dy - slope (x - mean) - offset; without sums, and in rows that do not count, slope and
// offset are 0. With a mask the sum of (x - mean) is not 0 but mean times what is added to count, so
// that the variance depends on the mean: slope is then of a mean that much larger.
template <int WIDTH, bool MASKED>
__device__ __forceinline__ void norm_backward_strip(real* dx, const real* dy, const real* x,
                                                    const uint8* mask, const float* mean,
                                                    const float* variance, const float* count,
                                                    const real* gamma, const float* sums,
                                                    float epsilon, int grouped, int64 segment,
                                                    int64 segments, int64 rows, int channels)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    __shared__ Line scales, shifts, slopes, offsets;
    __syncthreads();  // those of an earlier segment have been read
    if (strip_thread() < strip_columns<WIDTH>()) {
        const int own = line_place<WIDTH>(strip_thread()), channel = own_column<WIDTH>(channels);
        const int64 place = segment * channels + channel;
        const float weight = gamma == nullptr ? 1.0f : (float)gamma[channel];
        const float rstd = 1.0f / sqrtf(variance[place] + epsilon), scale = weight * rstd;
        scales[own] = scale;
        shifts[own] = slopes[own] = offsets[own] = 0.0f;
        if (sums != nullptr) {
            const float n = MASKED ? count[segment] : rows;
            const float share = (grouped ? rstd : scale) / n;
            shifts[own] = MASKED ? mean[place] * (1.0f + COUNT_EPSILON / n) : mean[place];
            slopes[own] = sums[segments * channels + place] * share * rstd;
            offsets[own] = sums[place] * share;
        }
    }
    __syncthreads();
    float scale[WIDTH], shift[WIDTH], slope[WIDTH], offset[WIDTH];
    read_line<WIDTH>(scale, scales);
    read_line<WIDTH>(shift, shifts);
    read_line<WIDTH>(slope, slopes);
    read_line<WIDTH>(offset, offsets);
    const int64 start = segment * rows * channels;
    for (Band band(unit < units ? rows : 0); band.more(); band.next()) {
        const int64 place = band.row * units + unit;
        const bool counts = !MASKED || mask[segment * rows + band.row] != 0;
        RealPack<WIDTH> d = load_pack<real, WIDTH>(dy + start, place);
        RealPack<WIDTH> in = {};
        if (sums != nullptr && counts) {
            in = load_pack<real, WIDTH>(x + start, place);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float through = slope[j] * ((float)in.v[j] - shift[j]) + offset[j];
            d.v[j] = (real)(scale[j] * (float)d.v[j] - (counts ? through : 0.0f));
        }
        store_pack<real, WIDTH>(dx + start, place, d);
    }
}

template <bool MASKED>
__device__ __forceinline__ void norm_backward(real* dx, const real* dy, const real* x,
                                              const uint8* mask, const float* mean,
                                              const float* variance, const float* count,
                                              const real* gamma, const float* sums, float epsilon,
                                              int grouped, int64 segments, int64 rows,
                                              int channels, int packed)
{
    for (int64 segment = blockIdx.z; segment < segments; segment += gridDim.z) {
        if (packed) {
            norm_backward_strip<PACK, MASKED>(dx, dy, x, mask, mean, variance, count, gamma, sums,
                                              epsilon, grouped, segment, segments, rows, channels);
        } else {
            norm_backward_strip<1, MASKED>(dx, dy, x, mask, mean, variance, count, gamma, sums,
                                           epsilon, grouped, segment, segments, rows, channels);
        }
    }
}

extern "C" __global__ void channel_norm_backward(real* dx, const real* dy, const real* x,
                                                 const float* mean, const float* variance,
                                                 const real* gamma, const float* sums,
                                                 float epsilon, int grouped, int64 segments,
                                                 int64 rows, int channels, int packed)
{
    norm_backward<false>(dx, dy, x, nullptr, mean, variance, nullptr, gamma, sums, epsilon, grouped,
                         segments, rows, channels, packed);
}

extern "C" __global__ void masked_channel_norm_backward(real* dx, const real* dy, const real* x,
                                                        const uint8* mask, const float* mean,
                                                        const float* variance, const float* count,
                                                        const real* gamma, const float* sums,
                                                        float epsilon, int grouped, int64 segments,
                                                        int64 rows, int channels, int packed)
{
    norm_backward<true>(dx, dy, x, mask, mean, variance, count, gamma, sums, epsilon, grouped,
                        segments, rows, channels, packed);
}
