// What every kernel file shares: the element type, 16-byte packs, reductions in a fixed order,
// the "last block" ticket, NumPy's Philox generator and the activations.
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

// ------------------------------------------------------------------------------ activations

// The numbers by which gpunet/backend/cuda names them: the index in spec.ACTIVATIONS, which also
// says what each gradient is written in: the output y, or the number x that f was applied to.
enum ActivationId {
    LINEAR, RELU, SIGMOID, TANH, LEAKY_RELU, BOUNDED_RELU, RELU6, ELU, SELU, CELU, SOFTPLUS,
    SOFTSIGN, EXPONENTIAL, LOG_SIGMOID, HARD_SIGMOID, HARD_TANH, SPARSE_SIGMOID, SPARSE_PLUS,
    SQUAREPLUS, SOFT_SHRINK, HARD_SHRINK, THRESHOLD, TANH_SHRINK, SILU, HARD_SILU, MISH, GELU,
    GELU_TANH
};

// An activation with its parameters, the same for all threads.
struct Activation {
    int id;
    float p, q, r;
};

constexpr float SELU_SCALE = 1.05070098735548f, SELU_ALPHA = 1.67326324235438f;
constexpr float SQRT_HALF = 0.707106781186548f, INVERSE_SQRT_2PI = 0.398942280401433f;
constexpr float GELU_LINEAR = 0.797884560802865f, GELU_CUBIC = 0.0356774081363001f;  // k, .044715 k
constexpr float FAR_AWAY = 1e4f;  // exp(-FAR_AWAY) is 0; keeps inf out of inf * 0

// Unlike fmaxf and fminf these pass a NaN on.
__device__ __forceinline__ float at_least(float x, float low) { return x < low ? low : x; }
__device__ __forceinline__ float at_most(float x, float high) { return x > high ? high : x; }
__device__ __forceinline__ float clip(float x, float low, float high)
{
    return at_most(at_least(x, low), high);
}
// The straight line from 0 at x = -end to 1 at x = end, with all digits near both.
__device__ __forceinline__ float ramp(float x, float end)
{
    return clip(x + end, 0.0f, 2.0f * end) * (0.5f / end);
}
__device__ __forceinline__ float inside(float y, float low, float high, float slope)
{
    return low < y && y < high ? slope : 0.0f;
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ float log1p_exp_of_minus_abs(float x)
{
    return log1pf(expf(-fabsf(x)));
}

// tanh(log(1 + e)) = n / (n + 2), where e = exp(x), n = e (e + 2).
__device__ __forceinline__ float mish(float x)
{
    const float e = expf(clip(x, -FAR_AWAY, 20.0f)), n = e * (e + 2.0f);
    return at_least(x, -FAR_AWAY) * (n / (n + 2.0f));
}
__device__ __forceinline__ float mish_gradient(float x)
{
    x = clip(x, -FAR_AWAY, 20.0f);
    const float e = expf(x), scale = e * (e + 2.0f) + 2.0f;
    return e * (4.0f * (x + 1.0f) + e * (4.0f * x + 6.0f + e * (4.0f + e))) / (scale * scale);
}

// Phi(-a) for the integral Phi of the normal distribution, a >= 0.
__device__ __forceinline__ float normal_tail(float a) { return 0.5f * erfcf(a * SQRT_HALF); }

__device__ __forceinline__ float gelu(float x)
{
    const float a = at_most(fabsf(x), 40.0f);  // x Phi(x) = max(x, 0) - |x| Phi(-|x|)
    return at_least(x, 0.0f) - a * normal_tail(a);
}
__device__ __forceinline__ float gelu_gradient(float x)
{
    const float a = at_most(fabsf(x), 40.0f);
    const float tail = normal_tail(a) - a * INVERSE_SQRT_2PI * expf(-0.5f * a * a);
    return x < 0.0f ? tail : 1.0f - tail;
}

// (1 + tanh(u)) / 2 = sigmoid(2 u), u = k (x + 0.044715 x^3).
__device__ __forceinline__ float gelu_tanh_gate(float x)
{
    return sigmoid(2.0f * x * (GELU_LINEAR + GELU_CUBIC * x * x));
}
__device__ __forceinline__ float gelu_tanh_gradient(float x)
{
    x = clip(x, -40.0f, 40.0f);
    const float s = gelu_tanh_gate(x), slope_of_2u = 2.0f * GELU_LINEAR + 6.0f * GELU_CUBIC * x * x;
    return s * (1.0f + x * slope_of_2u * (1.0f - s));
}

__device__ __forceinline__ float silu_gradient(float x)
{
    x = clip(x, -FAR_AWAY, FAR_AWAY);
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

__device__ __forceinline__ float squareplus(float x, float b)
{
    const float twice = fabsf(x) + sqrtf(x * x + b);  // where x^2 overflows, b / twice is 0
    return at_least(x, 0.0f) + 0.5f * b / twice;
}
__device__ __forceinline__ float squareplus_gradient(float y, float b)
{
    const float ratio = 0.5f * sqrtf(b) / y;
    return 1.0f / (1.0f + ratio * ratio);
}

__device__ __forceinline__ float bounded_relu(float x, float slope, float largest, float threshold)
{
    const float below = slope == 0.0f ? 0.0f : slope * (x - threshold);  // not 0 * inf
    return x > threshold ? at_most(x, largest) : x <= threshold ? below : x;
}
__device__ __forceinline__ float sparse_plus(float x)
{
    const float root = 0.5f * (clip(x, -1.0f, 1.0f) + 1.0f);
    return x > 1.0f ? x : root * root;
}

// f(x). All threads take the same branch; a NaN stays a NaN; +-inf goes to f's limit.
__device__ __forceinline__ float activate(float x, const Activation& f)
{
    switch (f.id) {
    case RELU: return at_least(x, 0.0f);
    case SIGMOID: return sigmoid(x);
    case TANH: return tanhf(x);
    case LEAKY_RELU: return x > 0.0f ? x : f.p * x;
    case BOUNDED_RELU: return bounded_relu(x, f.p, f.q, f.r);
    case RELU6: return clip(x, 0.0f, 6.0f);
    case ELU: return x > 0.0f ? x : f.p * expm1f(x);
    case SELU: return SELU_SCALE * (x > 0.0f ? x : SELU_ALPHA * expm1f(x));
    case CELU: return x > 0.0f ? x : f.p * expm1f(x / f.p);
    case SOFTPLUS: return fmaxf(x, 0.0f) + log1p_exp_of_minus_abs(x);
    case SOFTSIGN: return clip(x, -1e30f, 1e30f) / (1.0f + at_most(fabsf(x), 1e30f));
    case EXPONENTIAL: return expf(x);
    case LOG_SIGMOID: return fminf(x, 0.0f) - log1p_exp_of_minus_abs(x);
    case HARD_SIGMOID: return ramp(x, 3.0f);
    case HARD_TANH: return clip(x, -1.0f, 1.0f);
    case SPARSE_SIGMOID: return ramp(x, 1.0f);
    case SPARSE_PLUS: return sparse_plus(x);
    case SQUAREPLUS: return squareplus(x, f.p);
    case SOFT_SHRINK: return x - clip(x, -f.p, f.p);
    case HARD_SHRINK: return fabsf(x) <= f.p ? 0.0f : x;
    case THRESHOLD: return x <= f.p ? f.q : x;
    case TANH_SHRINK: return x - tanhf(x);
    case SILU: return at_least(x, -FAR_AWAY) * sigmoid(x);
    case HARD_SILU: return at_least(x, -3.0f) * ramp(x, 3.0f);
    case MISH: return mish(x);
    case GELU: return gelu(x);
    case GELU_TANH: return at_least(x, -40.0f) * gelu_tanh_gate(clip(x, -40.0f, 40.0f));
    default: return x;
    }
}

// f'(x), written in terms of y = f(x) or of x.
__device__ __forceinline__ float activation_gradient(float saved, const Activation& f)
{
    const float x = saved, y = saved;
    switch (f.id) {
    case RELU: return y > 0.0f ? 1.0f : 0.0f;
    case SIGMOID: return y * (1.0f - y);
    case TANH: return 1.0f - y * y;
    case LEAKY_RELU: return y > 0.0f ? 1.0f : f.p;
    case BOUNDED_RELU: return y >= f.q ? 0.0f : y > 0.0f ? 1.0f : f.p;
    case RELU6: return inside(y, 0.0f, 6.0f, 1.0f);
    case ELU: return y > 0.0f ? 1.0f : y + f.p;
    case SELU: return y > 0.0f ? SELU_SCALE : y + SELU_SCALE * SELU_ALPHA;
    case CELU: return y > 0.0f ? 1.0f : y / f.p + 1.0f;
    case SOFTPLUS: return -expm1f(-y);
    case SOFTSIGN: return (1.0f - fabsf(y)) * (1.0f - fabsf(y));
    case EXPONENTIAL: return y;
    case LOG_SIGMOID: return -expm1f(y);
    case HARD_SIGMOID: return inside(y, 0.0f, 1.0f, 1.0f / 6.0f);
    case HARD_TANH: return inside(y, -1.0f, 1.0f, 1.0f);
    case SPARSE_SIGMOID: return inside(y, 0.0f, 1.0f, 0.5f);
    case SPARSE_PLUS: return y >= 1.0f ? 1.0f : sqrtf(y);
    case SQUAREPLUS: return squareplus_gradient(y, f.p);
    case SOFT_SHRINK:
    case HARD_SHRINK: return y != 0.0f ? 1.0f : 0.0f;
    case THRESHOLD: return x > f.p ? 1.0f : 0.0f;
    case TANH_SHRINK: return tanhf(x) * tanhf(x);
    case SILU: return silu_gradient(x);
    case HARD_SILU: return x < -3.0f ? 0.0f : x > 3.0f ? 1.0f : x / 3.0f + 0.5f;
    case MISH: return mish_gradient(x);
    case GELU: return gelu_gradient(x);
    case GELU_TANH: return gelu_tanh_gradient(x);
    default: return 1.0f;
    }
}

// ----------------------------------------------------------------------------------- random

struct Words4 {
    uint64 word[4];
};

// Philox4x64-10 (Salmon et al., 2011), bit for bit NumPy's np.random.Philox.
__device__ __forceinline__ Words4 philox4x64(uint64 c0, uint64 c1, uint64 c2, uint64 c3, uint64 k0,
                                             uint64 k1)
{
    constexpr uint64 MULTIPLY_0 = 0xD2E7470EE14C6C93ull, MULTIPLY_1 = 0xCA5A826395121157ull;
    constexpr uint64 WEYL_0 = 0x9E3779B97F4A7C15ull, WEYL_1 = 0xBB67AE8584CAA73Bull;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const uint64 high0 = __umul64hi(MULTIPLY_0, c0), low0 = MULTIPLY_0 * c0;
        const uint64 high1 = __umul64hi(MULTIPLY_1, c2), low1 = MULTIPLY_1 * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    return Words4{{c0, c1, c2, c3}};
}

// NumPy's float32 in [0, 1) out of 32 random bits.
__device__ __forceinline__ float uniform(unsigned bits)
{
    constexpr float STEP = 1.0f / (1 << 24);
    return (bits >> 8) * STEP;
}
