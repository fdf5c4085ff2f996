// What every kernel file shares: the element type, 16-byte packs, reductions in a fixed order, the
// "last block" ticket, and walks over the rows of a matrix.
//
// Only names that NVRTC knows by itself are used (no INFINITY, FLT_MAX, <stdint.h>), no inline PTX
// and no float atomics: the same input gives the same bits in every run.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// What the contract calls real is GPUNET_REAL, that is float, __half or __nv_bfloat16, and what it
// calls full is float. Sums and formulas are float whatever real is: a number is converted when it
// is loaded and rounded, to the nearest and then to even, when it is stored. The bytes that a file
// names are those of float; an array of 16-bit numbers has half of its share.
#ifndef GPUNET_REAL
#define GPUNET_REAL float
#endif
typedef GPUNET_REAL real;
typedef long long int64;
typedef unsigned long long uint64;

constexpr int WARP = 32;
constexpr unsigned ALL_LANES = 0xffffffffu;
constexpr int MAX_WARPS = 32;                // a block has at most 1024 threads
constexpr int PACK = 16 / sizeof(real);      // elements of real in the widest load of one thread
constexpr int FLOAT_PACK = 16 / sizeof(float);  // and of float

__device__ __forceinline__ float minus_infinity() { return __int_as_float(0xff800000); }
__device__ __forceinline__ float not_a_number() { return __int_as_float(0x7fffffff); }

// Unlike fmaxf and fminf these pass a NaN on.
__device__ __forceinline__ float at_least(float x, float low) { return x < low ? low : x; }
__device__ __forceinline__ float at_most(float x, float high) { return x > high ? high : x; }
__device__ __forceinline__ float clip(float x, float low, float high)
{
    return at_most(at_least(x, low), high);
}
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// ------------------------------------------------------------------------------------ packs

// WIDTH neighbouring elements that travel in one load or store, at most 16 bytes. Where arrays of
// several types meet, a pack has as many elements as are 16 bytes of the widest type.
template <typename T, int WIDTH>
struct alignas(WIDTH * sizeof(T)) Pack {
    T v[WIDTH];
};

template <typename T, int WIDTH>
__device__ __forceinline__ Pack<T, WIDTH> load_pack(const T* p, int64 unit)
{
    return reinterpret_cast<const Pack<T, WIDTH>*>(p)[unit];
}

template <typename T, int WIDTH>
__device__ __forceinline__ void store_pack(T* p, int64 unit, const Pack<T, WIDTH>& value)
{
    reinterpret_cast<Pack<T, WIDTH>*>(p)[unit] = value;
}

template <int WIDTH>
using RealPack = Pack<real, WIDTH>;

// A pack of a vector that may be missing.
template <int WIDTH>
__device__ __forceinline__ RealPack<WIDTH> load_or(const real* p, int unit, float otherwise)
{
    if (p != nullptr) {
        return load_pack<real, WIDTH>(p, unit);
    }
    RealPack<WIDTH> pack;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        pack.v[j] = (real)otherwise;
    }
    return pack;
}

// WIDTH floats that other blocks have written (see is_last_block), or that they will read.
template <int WIDTH>
__device__ __forceinline__ void load_floats(float (&values)[WIDTH], const float* p)
{
    if constexpr (WIDTH % FLOAT_PACK == 0) {
#pragma unroll
        for (int j = 0; j < WIDTH; j += FLOAT_PACK) {
            const float4 pack = __ldcg(reinterpret_cast<const float4*>(p + j));
            values[j] = pack.x;
            values[j + 1] = pack.y;
            values[j + 2] = pack.z;
            values[j + 3] = pack.w;
        }
    } else {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values[j] = __ldcg(p + j);
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void store_floats(float* p, const float (&values)[WIDTH])
{
    constexpr int STEP = WIDTH % FLOAT_PACK == 0 ? FLOAT_PACK : 1;
#pragma unroll
    for (int j = 0; j < WIDTH; j += STEP) {
        Pack<float, STEP> pack;
#pragma unroll
        for (int k = 0; k < STEP; ++k) {
            pack.v[k] = values[j + k];
        }
        store_pack<float, STEP>(p + j, 0, pack);
    }
}

// Whether p may be read in packs of `bytes` bytes. A null pointer is aligned, as it is not read.
__device__ __forceinline__ bool is_aligned(const void* p, int bytes = 16)
{
    return reinterpret_cast<uint64>(p) % bytes == 0;
}

// This thread's number among all threads of the grid, and how many there are: a grid-stride loop
// runs `for (i = grid_thread(); i < n; i += grid_threads())`.
__device__ __forceinline__ int64 grid_thread()
{
    return (int64)blockIdx.x * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ int64 grid_threads() { return (int64)gridDim.x * blockDim.x; }

// ------------------------------------------------------------------------------- reductions

struct Plus {
    template <typename T>
    __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};

struct Larger {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
};

struct Smaller {
    __device__ __forceinline__ float operator()(float a, float b) const { return fminf(a, b); }
};

template <typename T>
__device__ __forceinline__ T shuffle_xor(T value, int offset)
{
    return __shfl_xor_sync(ALL_LANES, value, offset);
}

// All lanes of each aligned group of `lanes` (a power of two, at most 32) get the group's result.
// The whole warp must call it. The xor tree combines in the same order for every lane.
template <typename T, typename Op>
__device__ __forceinline__ T warp_reduce(T value, Op op, int lanes = WARP)
{
    for (int offset = lanes / 2; offset > 0; offset /= 2) {
        value = op(value, shuffle_xor(value, offset));
    }
    return value;
}

__device__ __forceinline__ float warp_sum(float value) { return warp_reduce(value, Plus()); }
__device__ __forceinline__ float warp_max(float value) { return warp_reduce(value, Larger()); }

// All threads of the block get its result. The block must be whole warps, a power of two of them,
// and call it together.
template <typename T, typename Op>
__device__ T block_reduce(T value, Op op)
{
    __shared__ T of_warp[MAX_WARPS];
    const int warps = blockDim.x / WARP;
    value = warp_reduce(value, op);
    __syncthreads();  // the results of an earlier call have been read
    if (threadIdx.x % WARP == 0) {
        of_warp[threadIdx.x / WARP] = value;
    }
    __syncthreads();
    return warp_reduce(of_warp[threadIdx.x & (warps - 1)], op, warps);
}

template <typename T>
__device__ __forceinline__ T block_sum(T value) { return block_reduce(value, Plus()); }

// `lanes` threads share a row: 1, 2, 4, ... 32 of a warp, or the whole block.
template <typename T, typename Op>
__device__ __forceinline__ T group_reduce(T value, Op op, int lanes)
{
    return lanes <= WARP ? warp_reduce(value, op, lanes) : block_reduce(value, op);
}

__device__ __forceinline__ float group_sum(float value, int lanes)
{
    return group_reduce(value, Plus(), lanes);
}

// The largest value so far and where it stands; of equals the first.
struct Best {
    float value;
    int index;
};

__device__ __forceinline__ Best nothing_yet() { return Best{minus_infinity(), 0}; }

__device__ __forceinline__ void keep_best(Best& best, float value, int index)
{
    if (value > best.value) {
        best = Best{value, index};
    }
}

struct Better {
    __device__ __forceinline__ Best operator()(Best a, Best b) const
    {
        const bool second = b.value > a.value || (b.value == a.value && b.index < a.index);
        return second ? b : a;
    }
};

template <>
__device__ __forceinline__ Best shuffle_xor(Best value, int offset)
{
    return Best{shuffle_xor(value.value, offset), shuffle_xor(value.index, offset)};
}

// Of some numbers: how many there are, their mean, the sum of squared deviations from it.
struct Deviations {
    float count, mean, squares;
};

// Those of both (Chan et al., 1979). The mean's last bit depends on which one comes first.
struct Merge {
    __device__ __forceinline__ Deviations operator()(Deviations a, Deviations b) const
    {
        const float count = a.count + b.count, step = b.mean - a.mean;
        const float share = count > 0.0f ? b.count / count : 0.0f;
        return Deviations{count, a.mean + step * share,
                       a.squares + b.squares + step * step * a.count * share};
    }
};

template <>
__device__ __forceinline__ Deviations shuffle_xor(Deviations value, int offset)
{
    return Deviations{shuffle_xor(value.count, offset), shuffle_xor(value.mean, offset),
                   shuffle_xor(value.squares, offset)};
}

// Adds numbers up around the first of them, so that little cancels wherever they lie.
struct RunningDeviations {
    float shift, sum, squares, count;

    __device__ __forceinline__ void add(float x)
    {
        shift = count == 0.0f ? x : shift;
        count += 1.0f;
        sum += x - shift;
        squares += (x - shift) * (x - shift);
    }
    // Of the numbers of all `lanes` threads, the same bits for each of them.
    __device__ __forceinline__ Deviations finish(int lanes) const
    {
        const float step = count > 0.0f ? sum / count : 0.0f;
        const Deviations own = {count, shift + step, squares - sum * step};
        Deviations all = group_reduce(own, Merge(), lanes);
        all.mean = __shfl_sync(ALL_LANES, all.mean, 0, min(lanes, WARP));
        all.squares = __shfl_sync(ALL_LANES, all.squares, 0, min(lanes, WARP));
        all.squares = all.squares < 0.0f ? 0.0f : all.squares;
        return all;
    }
};

// Adds up `sums` over the block's rows of threads (a power of two), always in the same order; the
// result is valid in the first `across` threads, a row, and lies in the shared array returned, the
// j-th of thread t at t + j * SUM_STRIDE. 256 threads of a pack each are the most of a launch.
template <int WIDTH>
constexpr int SUM_STRIDE = 256 + WARP / WIDTH;  // columns one after the other lie in other banks

template <int WIDTH>
__device__ __forceinline__ const float* sum_over_thread_rows(float (&sums)[WIDTH], int across)
{
    constexpr int STRIDE = SUM_STRIDE<WIDTH>;
    __shared__ float of_thread[WIDTH * STRIDE];
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const int threads = blockDim.x * blockDim.y;
    __syncthreads();  // the sums of an earlier call have been read
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        of_thread[j * STRIDE + thread] = sums[j];
    }
    for (int half = threads / 2; half >= across; half /= 2) {
        __syncthreads();
        if (thread < half) {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += of_thread[j * STRIDE + thread + half];
                of_thread[j * STRIDE + thread] = sums[j];
            }
        }
    }
    return of_thread;
}

template <int WIDTH>
__device__ __forceinline__ void sum_over_thread_rows(float (&sums)[WIDTH])
{
    sum_over_thread_rows<WIDTH>(sums, blockDim.x);
}

// True in all threads of the block that is the last of `blocks` to come here: what the others
// wrote before is then visible to it (read it with __ldcg: this multiprocessor's L1 may be stale).
// The whole block must call it. atomicInc wraps to 0, so that the ticket is ready for its next use.
__device__ __forceinline__ bool is_last_block(unsigned* ticket, unsigned blocks)
{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {
        last = atomicInc(ticket, blocks - 1) == blocks - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// ---------------------------------------------------------------------------------- strips

// Blocks are (units, rows) rectangles of threads: blockIdx.x is the strip of columns, blockIdx.y the
// band of rows.

// The rows of a strip that a thread walks down.
struct Band {
    int64 row, rows, step;

    __device__ __forceinline__ explicit Band(int64 rows_)
        : row((int64)blockIdx.y * blockDim.y + threadIdx.y), rows(rows_),
          step((int64)gridDim.y * blockDim.y)
    {
    }
    __device__ __forceinline__ bool more() const { return row < rows; }
    __device__ __forceinline__ void next() { row += step; }
};

__device__ __forceinline__ void write_total(real* totals, int64 column, float sum, int accumulate)
{
    if (totals != nullptr) {
        totals[column] = (real)(sum + (accumulate ? (float)totals[column] : 0.0f));
    }
}

// ------------------------------------------------------------------------------ rows of a matrix

// Which row a thread works on. Rows are dealt to groups of `lanes` threads; all threads of a block
// make equally many steps, so that reductions and barriers meet: past the end a row has no units.
struct RowWalk {
    int lanes, lane, groups, units;
    int64 rows, first;

    __device__ __forceinline__ RowWalk(int64 rows_, int units_, int lanes_)
        : lanes(lanes_), lane(threadIdx.x % lanes_), groups(blockDim.x / lanes_), units(units_),
          rows(rows_), first((int64)blockIdx.x * groups)
    {
    }
    __device__ __forceinline__ bool more() const { return first < rows; }
    __device__ __forceinline__ void next() { first += (int64)gridDim.x * groups; }
    __device__ __forceinline__ int64 row() const { return first + threadIdx.x / lanes; }
    __device__ __forceinline__ int end() const { return row() < rows ? units : 0; }
};

// Shared memory of the size given at launch, as arrays of one pack a thread; the array behind
// `slots_before` others, which are of real.
template <int WIDTH, typename T = real>
__device__ __forceinline__ Pack<T, WIDTH>* row_cache(int slots_before)
{
    extern __shared__ __align__(16) unsigned char dynamic_shared[];
    return reinterpret_cast<Pack<T, WIDTH>*>(
        reinterpret_cast<Pack<real, WIDTH>*>(dynamic_shared) + (int64)slots_before * blockDim.x);
}

// Reads a row more than once but what is cached only once from global memory: the first units of
// each thread, as many as `cached` says, which of a very wide row are not all. Each thread comes back
// to the very units that it read itself, therefore no barrier is needed.
template <int WIDTH, typename T = real>
struct RowReader {
    const T* row;
    Pack<T, WIDTH>* cache;
    int cached;

    __device__ __forceinline__ RowReader(const T* row_, Pack<T, WIDTH>* cache_, int cached_)
        : row(row_), cache(cache_), cached(cached_)
    {
    }
    __device__ __forceinline__ Pack<T, WIDTH> first(int unit, int step) const
    {
        const Pack<T, WIDTH> pack = load_pack<T, WIDTH>(row, unit);
        if (step < cached) {
            cache[step * blockDim.x + threadIdx.x] = pack;
        }
        return pack;
    }
    __device__ __forceinline__ Pack<T, WIDTH> again(int unit, int step) const
    {
        return step < cached ? cache[step * blockDim.x + threadIdx.x]
                             : load_pack<T, WIDTH>(row, unit);
    }
};

// The largest x of what one thread has seen, and sum(exp(x - largest)), in one pass.
struct OnlineSoftmax {
    float largest, sum;

    __device__ __forceinline__ void add(float x)
    {
        if (x > largest) {
            sum = sum * expf(largest - x) + 1.0f;
            largest = x;
        } else if (x != minus_infinity()) {  // exp(-inf - -inf) would be NaN; a NaN goes in
            sum += expf(x - largest);
        }
    }
    // Brings `sum` to the group's largest value; then the lanes' sums can be added.
    __device__ __forceinline__ void finish(float group_largest, int lanes)
    {
        sum = group_sum(sum * expf(largest - group_largest), lanes);
        largest = group_largest;
    }
};
