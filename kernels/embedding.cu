// Embedding: rows of a table by number, and the gradient of the table.
//
//   embedding   y[i] = table[indices[i]], NaN where the number is outside
//                                        4 bytes of index a row, x once, y once        (the least)
//   embedding_backward   dtable[k] = sum of dy[i] over indices[i] = k, in three kernels:
//     sort_chunks   (number, place) of each token, sorted within chunks of 1024
//     merge_runs    two sorted runs become one; each key finds its place by a binary search
//     embedding_backward   the tokens of one number are neighbours now, in the order of their
//                   places: one thread a column adds up their rows   dy once, touched rows once
//
// Shapes: table (rows, columns), y (tokens, columns), indices (tokens). No atomics, and sums in a
// fixed order: the same bits every time. Sorting moves 16 bytes a token and merge pass, nothing
// beside the rows.
#include "common.cuh"

constexpr int CHUNK = 1024;          // gpunet/backend/contract/embedding.py
constexpr int SORTERS = CHUNK / 2;   // one thread for each comparison

// A key is a number and, to make it unique, its place. In memory it is two words, number first.
__device__ __forceinline__ uint64 load_key(const unsigned* keys, int64 i)
{
    return (uint64)keys[2 * i] << 32 | keys[2 * i + 1];
}

__device__ __forceinline__ void store_key(unsigned* keys, int64 i, uint64 key)
{
    keys[2 * i] = (unsigned)(key >> 32);
    keys[2 * i + 1] = (unsigned)key;
}

template <int WIDTH>
__device__ __forceinline__ void look_up(real* y, const real* table, const int* indices, int64 tokens,
                                        int rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 token = (int64)blockIdx.y * blockDim.y + threadIdx.y; token < tokens;
         token += (int64)gridDim.y * blockDim.y) {
        const int row = indices[token];
        Pack<real, WIDTH> value;
        if (row >= 0 && row < rows) {
            value = load_pack<real, WIDTH>(table, (int64)row * units + unit);
        } else {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                value.v[j] = (real)not_a_number();
            }
        }
        store_pack<real, WIDTH>(y, token * units + unit, value);
    }
}

extern "C" __global__ void embedding(real* y, const real* table, const int* indices, int64 tokens,
                                     int rows, int columns, int packed)
{
    if (packed) {
        look_up<PACK>(y, table, indices, tokens, rows, columns);
    } else {
        look_up<1>(y, table, indices, tokens, rows, columns);
    }
}

// One block a chunk. What lies behind the last token gets the largest number and stays at the end.
// Bitonic sort: Batcher, "Sorting networks and their applications" (1968).
extern "C" __global__ void sort_chunks(unsigned* keys, const int* indices, int tokens)
{
    __shared__ uint64 chunk[CHUNK];
    const int64 first = (int64)blockIdx.x * CHUNK;
    for (int i = threadIdx.x; i < CHUNK; i += SORTERS) {
        const unsigned number = first + i < tokens ? (unsigned)indices[first + i] : 0xffffffffu;
        chunk[i] = (uint64)number << 32 | (unsigned)(first + i);
    }
    for (int size = 2; size <= CHUNK; size *= 2) {
        for (int step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            const int low = 2 * threadIdx.x - threadIdx.x % step;
            const uint64 a = chunk[low], b = chunk[low + step];
            const bool ascending = (low & size) == 0;
            if ((a > b) == ascending) {
                chunk[low] = b;
                chunk[low + step] = a;
            }
        }
    }
    __syncthreads();
    for (int i = threadIdx.x; i < CHUNK; i += SORTERS) {
        store_key(keys, first + i, chunk[i]);
    }
}

// Each key goes to its place in its own run plus the number of smaller keys in the other one.
extern "C" __global__ void merge_runs(unsigned* merged, const unsigned* keys, int count, int run)
{
    for (int64 i = grid_thread(); i < count; i += grid_threads()) {
        const uint64 key = load_key(keys, i);
        const int64 pair = i / (2 * run) * (2 * run);
        const bool is_second = i - pair >= run;
        const int64 other = is_second ? pair : pair + run;
        int64 low = other < count ? other : count;
        int64 high = other + run < count ? other + run : count;
        const int64 begin = low;
        while (low < high) {
            const int64 middle = (low + high) / 2;
            if (load_key(keys, middle) < key) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        const int64 before = i - (is_second ? pair + run : pair) + (low - begin);
        store_key(merged, pair + before, key);
    }
}

template <int WIDTH>
__device__ __forceinline__ void add_up(real* dtable, const real* dy, const unsigned* keys, int tokens,
                                       int rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 i = (int64)blockIdx.y * blockDim.y + threadIdx.y; i < tokens;
         i += (int64)gridDim.y * blockDim.y) {
        const unsigned row = keys[2 * i];
        if (row >= (unsigned)rows || (i > 0 && keys[2 * i - 2] == row)) {
            continue;  // outside of the table, or not the first token of this number
        }
        float sums[WIDTH] = {};
        for (int64 j = i; j < tokens && keys[2 * j] == row; ++j) {
            const Pack<real, WIDTH> value =
                load_pack<real, WIDTH>(dy, (int64)keys[2 * j + 1] * units + unit);
#pragma unroll
            for (int k = 0; k < WIDTH; ++k) {
                sums[k] += (float)value.v[k];
            }
        }
        const int64 place = (int64)row * units + unit;
        Pack<real, WIDTH> total = load_pack<real, WIDTH>(dtable, place);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            total.v[k] = (real)((float)total.v[k] + sums[k]);
        }
        store_pack<real, WIDTH>(dtable, place, total);
    }
}

// dtable holds zeros, or what is to be added to.
extern "C" __global__ void embedding_backward(real* dtable, const real* dy, const unsigned* keys,
                                              int tokens, int rows, int columns, int packed)
{
    if (packed) {
        add_up<PACK>(dtable, dy, keys, tokens, rows, columns);
    } else {
        add_up<1>(dtable, dy, keys, tokens, rows, columns);
    }
}
