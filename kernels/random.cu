// Dropout without a stored mask: the backward pass draws the same numbers again.
//
//   y_i = x_i / (1 - rate) where u_i >= rate, else 0
//
// u_i is float32 number i of NumPy's Philox4x64-10 with key (seed, 0) and counter
// (block + 1, node, pass, 0), where random = (seed, pass). Any shape of n elements; y may be x.
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
