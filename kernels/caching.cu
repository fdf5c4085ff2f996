// Attention step by step: keys and values of earlier positions wait in a cache.
//
//   insert_rows        cache[b, positions[i]] = x[b, i]           x once, as much written (the least)
//   cached_attention   y = softmax(scale q keys^T) values over the rows that a query sees
//                      bytes: the seen rows of keys and values for each query and head; for one
//                      position and as many heads of keys as of queries that is the least
//
// Shapes: q (batch, length, heads, size), y (batch, length, heads, value_size), keys and values
// (batch, capacity, key_heads, ...), positions (length), mask (batch, capacity) or null, scores
// (batch, length, heads, capacity) for the kernel's own use. No aliasing.
//
// Method: one block for a query of a head. Groups of lanes multiply the query with a key each; the
// softmax goes over the scores, which lie in the caches; then each thread adds up some elements of
// some of the values, and the block adds up its threads in a fixed order.
#include "common.cuh"

constexpr int THREADS = 256;  // a block of cached_attention; gpunet/backend/cuda/device.py

// Bytes move in units of 16, 4 or 1: their type does not matter.
template <typename Unit>
__device__ __forceinline__ void insert_units(Unit* cache, const Unit* x, const int* positions,
                                             int64 n, int length, int capacity, int units)
{
#pragma unroll 1
    for (int64 i = grid_thread(); i < n; i += grid_threads()) {
        const int64 row = i / units;
        const int place = positions[row % length];
        if (place >= 0 && place < capacity) {
            cache[(row / length * capacity + place) * units + i % units] = x[i];
        }
    }
}

extern "C" __global__ void insert_rows(unsigned char* cache, const unsigned char* x,
                                       const int* positions, int64 rows, int length, int capacity,
                                       int row_bytes, int unit_bytes)
{
    const int units = row_bytes / unit_bytes;
    if (unit_bytes == 16) {
        insert_units((uint4*)cache, (const uint4*)x, positions, rows * units, length, capacity,
                     units);
    } else if (unit_bytes == 4) {
        insert_units((unsigned*)cache, (const unsigned*)x, positions, rows * units, length,
                     capacity, units);
    } else {
        insert_units(cache, x, positions, rows * units, length, capacity, units);
    }
}

struct Cache {
    int heads, key_heads, capacity, size, value_size;
};

// Which rows one query of one head sees.
struct Seen {
    int first, end;
    const unsigned char* mask;  // of this sample, or null

    __device__ __forceinline__ Seen(int position, int window, const unsigned char* mask_,
                                    int64 sample, int capacity)
        : first(position < window ? 0 : position - window + 1),
          end(position < capacity ? position + 1 : capacity),
          mask(mask_ == nullptr ? nullptr : mask_ + sample * capacity)
    {
    }
    __device__ __forceinline__ bool operator()(int row) const
    {
        return mask == nullptr || mask[row] != 0;
    }
};

// scores[j] = scale q keys[j], -inf where it is masked; returns the largest.
template <int WIDTH>
__device__ __forceinline__ float score(float* scores, const real* q, const real* keys, int row_size,
                                       int units, const Seen& seen, float scale, int lanes)
{
    const int lane = threadIdx.x % lanes, group = threadIdx.x / lanes, groups = THREADS / lanes;
    float largest = minus_infinity();
    RealPack<WIDTH> own = {};  // a lane's part of the query, or the first of its parts
    if (lane < units) {
        own = load_pack<real, WIDTH>(q, lane);
    }
    for (int first = seen.first; first < seen.end; first += groups) {  // all threads together
        const int row = first + group;
        float sum = 0.0f;
        if (row < seen.end) {
            const real* key = keys + (int64)row * row_size;
            for (int unit = lane; unit < units; unit += lanes) {
                const RealPack<WIDTH> a = unit == lane ? own : load_pack<real, WIDTH>(q, unit);
                const RealPack<WIDTH> b = load_pack<real, WIDTH>(key, unit);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    sum += (float)a.v[j] * (float)b.v[j];
                }
            }
        }
        sum = scale * warp_reduce(sum, Plus(), lanes);
        if (row < seen.end && lane == 0) {
            sum = seen(row) ? sum : minus_infinity();
            scores[row] = sum;
            largest = sum > largest || sum != sum ? sum : largest;
        }
    }
    return largest;
}

// y = the sum of weights[j] values[j]: threads across the elements, groups of them down the rows.
template <int WIDTH>
__device__ __forceinline__ void mix(real* y, const float* weights, const real* values, int row_size,
                                    int units, const Seen& seen, float factor)
{
    __shared__ float of_thread[THREADS * WIDTH];
    int across = 1;
    while (across < units && across < THREADS) {
        across *= 2;
    }
    const int group = threadIdx.x / across, groups = THREADS / across;
    for (int strip = 0; strip < units; strip += across) {
        const int unit = strip + threadIdx.x % across;
        float sums[WIDTH] = {};
        for (int row = seen.first + group; row < seen.end && unit < units; row += groups) {
            const RealPack<WIDTH> value =
                load_pack<real, WIDTH>(values + (int64)row * row_size, unit);
            const float weight = weights[row];
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += weight != 0.0f ? weight * (float)value.v[j] : 0.0f;
            }
        }
        __syncthreads();  // the sums of an earlier strip have been read
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            of_thread[j * THREADS + threadIdx.x] = sums[j];
        }
        for (int half = groups / 2; half > 0; half /= 2) {
            __syncthreads();
            if (group < half) {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    sums[j] += of_thread[j * THREADS + threadIdx.x + half * across];
                    of_thread[j * THREADS + threadIdx.x] = sums[j];
                }
            }
        }
        if (group == 0 && unit < units) {
            RealPack<WIDTH> pack;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                pack.v[j] = (real)(sums[j] * factor);
            }
            store_pack<real, WIDTH>(y, unit, pack);
        }
    }
}

// NaN counts as the largest, so that it passes on.
struct LargestOrNan {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return a > b || a != a ? a : b;
    }
};

template <int WIDTH>
__device__ __forceinline__ void attend(real* y, const real* q, const real* keys, const real* values,
                                       const int* positions, const unsigned char* mask,
                                       float* scores, float scale, int window, int batch, int length,
                                       const Cache& n, int lanes)
{
    const int head = blockIdx.x % n.heads, i = blockIdx.x / n.heads;
    const int key_head = head / (n.heads / n.key_heads);
    for (int64 sample = blockIdx.y; sample < batch; sample += gridDim.y) {
        const int64 query = (sample * length + i) * n.heads + head;
        const int64 pair = sample * n.capacity * n.key_heads + key_head;
        const Seen seen(positions[i], window, mask, sample, n.capacity);
        float* own = scores + query * n.capacity;
        float largest =
            score<WIDTH>(own, q + query * n.size, keys + pair * n.size, n.key_heads * n.size,
                         n.size / WIDTH, seen, scale, lanes);
        largest = block_reduce(largest, LargestOrNan());  // and all scores are written
        const float shift = largest == minus_infinity() ? 0.0f : largest;
        float sum = 0.0f;
        for (int row = seen.first + threadIdx.x; row < seen.end; row += THREADS) {
            const float power = expf(own[row] - shift);
            own[row] = power;
            sum += power;
        }
        sum = block_sum(sum);
        mix<WIDTH>(y + query * n.value_size, own, values + pair * n.value_size,
                   n.key_heads * n.value_size, n.value_size / WIDTH, seen,
                   sum == 0.0f ? 0.0f : 1.0f / sum);
        __syncthreads();  // the sums in shared memory have been read
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 2)
    cached_attention(real* y, const real* q, const real* keys, const real* values,
                     const int* positions, const unsigned char* mask, float* scores, float scale,
                     int window, int batch, int length, int heads, int key_heads, int capacity,
                     int size, int value_size, int lanes, int packed)
{
    const Cache n = {heads, key_heads, capacity, size, value_size};
    if (packed) {
        attend<PACK>(y, q, keys, values, positions, mask, scores, scale, window, batch, length, n,
                     lanes);
    } else {
        attend<1>(y, q, keys, values, positions, mask, scores, scale, window, batch, length, n,
                  lanes);
    }
}
