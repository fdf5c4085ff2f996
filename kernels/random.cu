// Dropout and noise without a stored mask: the backward pass draws the same numbers again.
//
//   dropout           y_i = x_i / (1 - rate) where u_i >= rate, else 0
//   spatial_dropout   the same with one u for all positions of a channel of a sample
//   gaussian_noise    y_i = x_i + stddev n_i, n normal: of each pair of u by Box and Muller
//   gaussian_dropout  y_i = x_i (1 + stddev n_i)
//
// u_i is float32 number i of NumPy's Philox4x64-10 with key (seed, 0) and counter
// (block + 1, node, pass, 0), where random = (seed, pass). Any shape of n elements; spatial_dropout:
// (batch, positions, channels). y may be x.
// 8 bytes an element, the least; what limits it on fast memory is the generator (about 75
// integer instructions an element).
#include "common.cuh"

constexpr int NUMBERS = 8;  // float32 numbers in one Philox block: 4 words of 64 bits
constexpr int GROUP = PACK;  // of which so many elements travel in one load

// Where number `j` of a block lies among its words: the low half of each word comes first.
__device__ __forceinline__ float number(const Words4& words, int j)
{
    return uniform((unsigned)(words.word[j / 2] >> (32 * (j % 2))));
}

extern "C" __global__ void dropout(real* y, const real* x, const uint64* random, float rate,
                                   float keep, uint64 node, int64 n)
{
    const uint64 seed = random[0], pass = random[1];
    const bool packed = is_aligned(y) && is_aligned(x);
    for (int64 block = grid_thread(); block * NUMBERS < n; block += grid_threads()) {
        const Words4 words = philox4x64(block + 1, node, pass, 0, seed, 0);
        if (packed && (block + 1) * NUMBERS <= n) {
#pragma unroll
            for (int group = 0; group < NUMBERS / GROUP; ++group) {
                const int64 unit = block * (NUMBERS / GROUP) + group;
                Pack<real, GROUP> pack = load_pack<real, GROUP>(x, unit);
#pragma unroll
                for (int j = 0; j < GROUP; ++j) {
                    const bool kept = number(words, group * GROUP + j) >= rate;
                    pack.v[j] = kept ? (real)((float)pack.v[j] / keep) : (real)0.0f;
                }
                store_pack<real, GROUP>(y, unit, pack);
            }
        } else {
#pragma unroll
            for (int j = 0; j < NUMBERS; ++j) {
                const int64 i = block * NUMBERS + j;
                if (i < n) {
                    const bool kept = number(words, j) >= rate;
                    y[i] = kept ? (real)((float)x[i] / keep) : (real)0.0f;
                }
            }
        }
    }
}

// --------------------------------------------------------------------------------- whole channels

// A thread draws the numbers of its channels once, for a run of `length` positions.
template <int WIDTH>
__device__ __forceinline__ void drop_channels(real* y, const real* x, const uint64* random,
                                              float rate, float keep, uint64 node, int64 batch,
                                              int64 positions, int channels, int64 length,
                                              int runs)
{
    const int units = channels / WIDTH, unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < batch * runs;
         row += (int64)gridDim.y * blockDim.y) {
        const int64 sample = row / runs, first = row % runs * length;
        bool kept[WIDTH];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int64 i = sample * channels + unit * WIDTH + j;
            const Words4 words =
                philox4x64(i / NUMBERS + 1, node, random[1], 0, random[0], 0);
            const int place = (int)(i % NUMBERS);
            const uint64 half = place / 2 == 0   ? words.word[0]
                                : place / 2 == 1 ? words.word[1]
                                : place / 2 == 2 ? words.word[2]
                                                 : words.word[3];
            kept[j] = uniform((unsigned)(half >> (32 * (place % 2)))) >= rate;
        }
        for (int64 position = first; position < min(first + length, positions); ++position) {
            const int64 place = (sample * positions + position) * units + unit;
            Pack<real, WIDTH> pack = load_pack<real, WIDTH>(x, place);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                pack.v[j] = kept[j] ? (real)((float)pack.v[j] / keep) : (real)0.0f;
            }
            store_pack<real, WIDTH>(y, place, pack);
        }
    }
}

extern "C" __global__ void spatial_dropout(real* y, const real* x, const uint64* random,
                                           float rate, float keep, uint64 node, int64 batch,
                                           int64 positions, int channels, int64 length, int runs,
                                           int packed)
{
    if (packed) {
        drop_channels<PACK>(y, x, random, rate, keep, node, batch, positions, channels, length,
                            runs);
    } else {
        drop_channels<1>(y, x, random, rate, keep, node, batch, positions, channels, length, runs);
    }
}

// ------------------------------------------------------------------------------------------ noise

// Numbers 2 k and 2 k + 1 of a block of uniform ones, made normal.
__device__ __forceinline__ void normal_pair(const Words4& words, int k, float& first,
                                            float& second)
{
    const float radius = sqrtf(-2.0f * log1pf(-number(words, 2 * k)));
    float sine, cosine;
    sincosf(6.28318530717958648f * number(words, 2 * k + 1), &sine, &cosine);
    first = radius * cosine;
    second = radius * sine;
}

// y = f(x, normal): a thread has the eight numbers of a block.
template <typename F>
__device__ __forceinline__ void with_normal(real* y, const real* x, const uint64* random,
                                            uint64 node, int64 n, F f)
{
    const uint64 seed = random[0], pass = random[1];
    const bool packed = is_aligned(y) && is_aligned(x);
    for (int64 block = grid_thread(); block * NUMBERS < n; block += grid_threads()) {
        const Words4 words = philox4x64(block + 1, node, pass, 0, seed, 0);
        float normal[NUMBERS];
#pragma unroll
        for (int k = 0; k < NUMBERS / 2; ++k) {
            normal_pair(words, k, normal[2 * k], normal[2 * k + 1]);
        }
        if (packed && (block + 1) * NUMBERS <= n) {
#pragma unroll
            for (int group = 0; group < NUMBERS / GROUP; ++group) {
                const int64 unit = block * (NUMBERS / GROUP) + group;
                Pack<real, GROUP> pack = load_pack<real, GROUP>(x, unit);
#pragma unroll
                for (int j = 0; j < GROUP; ++j) {
                    pack.v[j] = (real)f((float)pack.v[j], normal[group * GROUP + j]);
                }
                store_pack<real, GROUP>(y, unit, pack);
            }
        } else {
#pragma unroll
            for (int j = 0; j < NUMBERS; ++j) {
                const int64 i = block * NUMBERS + j;
                if (i < n) {
                    y[i] = (real)f((float)x[i], normal[j]);
                }
            }
        }
    }
}

extern "C" __global__ void gaussian_noise(real* y, const real* x, const uint64* random,
                                          float stddev, uint64 node, int64 n)
{
    with_normal(y, x, random, node, n,
                [=](float value, float normal) { return value + stddev * normal; });
}

extern "C" __global__ void gaussian_dropout(real* y, const real* x, const uint64* random,
                                            float stddev, uint64 node, int64 n)
{
    with_normal(y, x, random, node, n,
                [=](float value, float normal) { return value * (1.0f + stddev * normal); });
}
