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
#include "philox.cuh"

constexpr int NUMBERS = 8;  // float32 numbers in one Philox block: 4 words of 64 bits

// Where number `j` of a block lies among its words: the low half of each word comes first.
__device__ __forceinline__ float number(const Words4& words, int j)
{
    return uniform((unsigned)(words.word[j / 2] >> (32 * (j % 2))));
}

// The warp's 32 blocks of numbers begin at element `first`, and this lane drew `own`. Neighbouring
// lanes take neighbouring packs, WIDTH elements each, and ask the lane that drew their numbers.
template <int WIDTH, typename F>
__device__ __forceinline__ void apply_numbers(real* y, const real* x, int64 first,
                                              const float (&own)[NUMBERS], int64 n, F f)
{
    constexpr int PACKS = NUMBERS / WIDTH;  // in a block of numbers
#pragma unroll
    for (int round = 0; round < PACKS; ++round) {
        const int place = round * WARP + threadIdx.x % WARP;
        float numbers[WIDTH] = {};
#pragma unroll
        for (int i = 0; i < NUMBERS; ++i) {
            const float drawn = __shfl_sync(ALL_LANES, own[i], place / PACKS);
            numbers[i % WIDTH] = place % PACKS == i / WIDTH ? drawn : numbers[i % WIDTH];
        }
        const int64 unit = first / WIDTH + place;
        if (unit * WIDTH < n) {
            Pack<real, WIDTH> pack = load_pack<real, WIDTH>(x, unit);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                pack.v[j] = (real)f((float)pack.v[j], numbers[j]);
            }
            store_pack<real, WIDTH>(y, unit, pack);
        }
    }
}

// y = f(x, number), where `draw` makes the eight numbers of a block. A lane draws a block.
template <typename Draw, typename F>
__device__ __forceinline__ void with_numbers(real* y, const real* x, const uint64* random,
                                             uint64 node, int64 n, Draw draw, F f)
{
    const uint64 seed = random[0], pass = random[1];
    const bool packed = is_aligned(y) && is_aligned(x);
    const int lane = threadIdx.x % WARP;
    for (int64 block = grid_thread(); (block - lane) * NUMBERS < n; block += grid_threads()) {
        float own[NUMBERS];
        draw(philox4x64(block + 1, node, pass, 0, seed, 0), own);
        const int64 first = (block - lane) * NUMBERS;
        if (packed && first + WARP * NUMBERS <= n) {
            apply_numbers<PACK>(y, x, first, own, n, f);
        } else {
            apply_numbers<1>(y, x, first, own, n, f);
        }
    }
}

extern "C" __global__ void dropout(real* y, const real* x, const uint64* random, float rate,
                                   float keep, uint64 node, int64 n)
{
    with_numbers(
        y, x, random, node, n,
        [](const Words4& words, float (&own)[NUMBERS]) {
#pragma unroll
            for (int j = 0; j < NUMBERS; ++j) {
                own[j] = number(words, j);
            }
        },
        [=](float value, float u) { return u >= rate ? value / keep : 0.0f; });
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
        // WIDTH divides NUMBERS: all of a pack's numbers lie in one block.
        const int64 i = sample * channels + unit * WIDTH;
        const Words4 words = philox4x64(i / NUMBERS + 1, node, random[1], 0, random[0], 0);
        bool kept[WIDTH];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int place = (int)(i % NUMBERS) + j;
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

template <typename F>
__device__ __forceinline__ void with_normal(real* y, const real* x, const uint64* random,
                                            uint64 node, int64 n, F f)
{
    with_numbers(
        y, x, random, node, n,
        [](const Words4& words, float (&own)[NUMBERS]) {
#pragma unroll
            for (int k = 0; k < NUMBERS / 2; ++k) {
                normal_pair(words, k, own[2 * k], own[2 * k + 1]);
            }
        },
        f);
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
