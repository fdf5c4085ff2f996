// Kernels that look suspicious and are right; test_correct_kernels.py demands that the checked
// build raises no alarm, in any order of blocks and threads.
#include <cuda_fp16.h>
#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu

// Two tiles take turns, so that one barrier a step suffices.
KERNEL double_buffering(float* y, const float* x, int steps) {
    __shared__ float tile[2][64];
    float sum = 0.0f;
    tile[0][threadIdx.x] = x[threadIdx.x];
    for (int k = 0; k < steps; ++k) {
        __syncthreads();
        if (k + 1 < steps) tile[(k + 1) % 2][threadIdx.x] = x[(k + 1) * 64 + threadIdx.x];
        sum += tile[k % 2][63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}

// The last warp's part of a tree, with __syncwarp between reading and writing.
KERNEL warp_tree(float* sum, const float* x) {
    __shared__ float tree[32];
    float v = tree[threadIdx.x] = x[threadIdx.x];
    __syncwarp();
    for (int step = 16; step > 0; step /= 2) {
        v += tree[threadIdx.x ^ step];
        __syncwarp();
        tree[threadIdx.x] = v;
        __syncwarp();
    }
    if (threadIdx.x == 0) sum[0] = tree[31];
}

// The example of the CUDA programming guide for __threadfence.
KERNEL last_block_guide(float* total, volatile float* partial, unsigned* count) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = blockIdx.x + 1;
        __threadfence();
        last = atomicInc(count, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float sum = 0.0f;
        for (int i = 0; i < gridDim.x; ++i) sum += partial[i];
        total[0] = sum;
    }
}

// Every thread fences its own results before the barrier; all threads of the last block read.
KERNEL last_block_all_threads(float* total, float* partial, unsigned* count) {
    __shared__ bool last;
    __shared__ float sums[32];
    partial[blockIdx.x * 32 + threadIdx.x] = 1.0f;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(count, 1u) == gridDim.x - 1;
        __threadfence();
    }
    __syncthreads();
    if (!last) return;
    float sum = 0.0f;
    for (int i = 0; i < gridDim.x; ++i) sum += partial[i * 32 + (threadIdx.x ^ 5)];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < 32; ++i) sum += sums[i];
        total[0] = sum;
        *count = 0;
    }
}

// Blocks pair up in a tree: a block goes on with what two have released.
KERNEL tickets_in_a_tree(float* total, float* partial, unsigned* tickets) {
    if (threadIdx.x != 0) return;
    partial[blockIdx.x] = 1.0f;
    int node = blockIdx.x, width = 1;
    while (width < gridDim.x) {
        __threadfence();
        const int pair = node / (2 * width);
        if (atomicAdd(&tickets[gridDim.x / width + pair], 1u) == 0) return;
        __threadfence();
        node = pair * 2 * width;
        width *= 2;
    }
    float sum = 0.0f;
    for (int i = 0; i < gridDim.x; ++i) sum += partial[i];
    total[0] = sum;
}

// Lanes above 15 read beyond the mask, and nobody uses what they get.
KERNEL half_warps(float* y, const float* x) {
    const unsigned mask = threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u;
    float v = x[threadIdx.x];
    for (int step = 8; step > 0; step /= 2) v += __shfl_down_sync(mask, v, step, 16);
    if (threadIdx.x % 16 == 0) y[threadIdx.x / 16] = v;
}

KERNEL padded_transpose(float* y, const float* x) {
    __shared__ float tile[32][33];
    for (int j = threadIdx.y; j < 32; j += blockDim.y) tile[j][threadIdx.x] = x[j * 32 + threadIdx.x];
    __syncthreads();
    for (int j = threadIdx.y; j < 32; j += blockDim.y) y[j * 32 + threadIdx.x] = tile[threadIdx.x][j];
}

// Divergent branches, each with a mask of the lanes in it.
KERNEL masked_branches(int* y) {
    const unsigned odd = __ballot_sync(ALL, threadIdx.x & 1);
    if (threadIdx.x & 1) {
        y[threadIdx.x] = __reduce_add_sync(odd, threadIdx.x);
    } else {
        y[threadIdx.x] = __shfl_sync(~odd, (int)threadIdx.x, 30);
    }
}

// Each lane that finds something takes a place of its own.
KERNEL compaction(int* y, int* count, const int* x) {
    const int v = x[blockIdx.x * 32 + threadIdx.x];
    if (v % 3 == 0) y[atomicAdd(count, 1)] = v;
}

KERNEL warp_aggregated(int* y, int* count, const int* x) {
    const int v = x[blockIdx.x * 32 + threadIdx.x];
    const unsigned found = __ballot_sync(ALL, v % 3 == 0);
    int first = 0;
    if (threadIdx.x == 0) first = atomicAdd(count, __popc(found));
    first = __shfl_sync(ALL, first, 0);
    if (v % 3 == 0) y[first + __popc(found & ((1u << threadIdx.x) - 1))] = v;
}

KERNEL histogram(int* bins, const int* x) {
    __shared__ int count[8];
    if (threadIdx.x < 8) count[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&count[x[blockIdx.x * 32 + threadIdx.x] % 8], 1);
    __syncthreads();
    if (threadIdx.x < 8) atomicAdd(&bins[threadIdx.x], count[threadIdx.x]);
}

// Many threads may raise one flag: all write the same.
KERNEL raises_a_flag(int* any, const int* x) {
    __shared__ bool found;
    if (threadIdx.x == 0) found = false;
    __syncthreads();
    if (x[blockIdx.x * 32 + threadIdx.x] % 5 == 0) found = true;
    __syncthreads();
    if (found) any[0] = 1;
}

KERNEL bitonic_sort(int* x) {
    __shared__ int s[64];
    s[threadIdx.x] = x[threadIdx.x];
    for (int size = 2; size <= 64; size *= 2)
        for (int step = size / 2; step > 0; step /= 2) {
            __syncthreads();
            const int other = threadIdx.x ^ step;
            if (other > threadIdx.x && (s[threadIdx.x] > s[other]) == !(threadIdx.x & size)) {
                const int t = s[threadIdx.x];
                s[threadIdx.x] = s[other];
                s[other] = t;
            }
        }
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];
}

// Hillis and Steele's scan: all read, a barrier, all write, a barrier.
KERNEL scan(int* x) {
    __shared__ int s[64];
    s[threadIdx.x] = x[threadIdx.x];
    for (int step = 1; step < 64; step *= 2) {
        __syncthreads();
        const int left = threadIdx.x >= step ? s[threadIdx.x - step] : 0;
        __syncthreads();
        s[threadIdx.x] += left;
    }
    x[threadIdx.x] = s[threadIdx.x];
}

// Whole vectors, then a scalar tail.
KERNEL vectors_and_tail(float* y, const float* x, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x, step = gridDim.x * blockDim.x;
    for (int j = i; j < n / 4; j += step)
        reinterpret_cast<float4*>(y)[j] = reinterpret_cast<const float4*>(x)[j];
    for (int j = n / 4 * 4 + i; j < n; j += step) y[j] = x[j];
}

// One buffer, two arrays of different types in it.
KERNEL carved_buffer(double* y, const float* x) {
    extern __shared__ double wide[];
    float* narrow = reinterpret_cast<float*>(wide + 32);
    narrow[threadIdx.x] = x[threadIdx.x];
    wide[threadIdx.x] = 2.0 * x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = wide[31 - threadIdx.x] + narrow[threadIdx.x ^ 1];
}

// Shared memory that is used a second time as another type.
KERNEL reused_buffer(int* y, const float* x) {
    __shared__ float s[32];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float v = s[31 - threadIdx.x];
    __syncthreads();
    int* whole = reinterpret_cast<int*>(s);
    whole[threadIdx.x] = (int)v;
    __syncthreads();
    y[threadIdx.x] = whole[threadIdx.x ^ 1];
}

// Neighbouring bytes and halves of one word, each of another thread.
KERNEL neighbouring_bytes(unsigned char* y, __half* z) {
    y[threadIdx.x] = threadIdx.x;
    z[threadIdx.x] = __float2half((float)threadIdx.x);
    __syncthreads();
    y[threadIdx.x + 32] = y[31 - threadIdx.x];
    z[threadIdx.x + 32] = z[31 - threadIdx.x];
}

// One thread of each warp takes the lock in turn.
KERNEL spin_lock(int* sum, int* lock) {
    if (threadIdx.x % 32 != 0) return;
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    sum[0] += threadIdx.x;
    __threadfence();
    atomicExch(lock, 0);
}

// A flag between two warps of a block.
KERNEL hand_over(int* y, int* box, volatile int* flag) {
    if (threadIdx.x == 0) {
        while (flag[0] == 0) {}
        __threadfence();
        y[0] = box[0];
    } else if (threadIdx.x == 32) {
        box[0] = 42;
        __threadfence();
        flag[0] = 1;
    }
}

// The last warp is short: its mask names the lanes that exist.
KERNEL short_warp(float* sum, const float* x) {
    const unsigned mask = __ballot_sync(threadIdx.x < 32 ? ALL : 0xffu, 1);
    float v = x[threadIdx.x];
    for (int step = 4; step > 0; step /= 2) v += __shfl_xor_sync(mask, v, step);
    if (threadIdx.x == 32) sum[0] = v;
}

KERNEL counting_barriers(int* y, const int* x) {
    const int odd = __syncthreads_count(x[threadIdx.x] & 1);
    const int all = __syncthreads_and(x[threadIdx.x] >= 0);
    y[threadIdx.x] = odd * 2 + (all && !__syncthreads_or(x[threadIdx.x] > 1000));
}

// A neighbour's old value is read before the barrier, so that writing in place is safe.
KERNEL stencil_in_place(float* x) {
    const int i = threadIdx.x, n = blockDim.x;
    const float left = x[i > 0 ? i - 1 : 0], right = x[i < n - 1 ? i + 1 : n - 1];
    __syncthreads();
    x[i] = 0.5f * (left + right);
}

struct Odd {
    float v[3];
};
__constant__ float weights[4] = {1.0f, 2.0f, 3.0f, 4.0f};
__device__ int launches = 0;

// Structs of 12 bytes, a table in constant memory, a variable of the device.
KERNEL structs_and_tables(Odd* y, const Odd* x) {
    Odd p = x[threadIdx.x];
    for (int j = 0; j < 3; ++j) p.v[j] *= weights[threadIdx.x % 4];
    y[threadIdx.x] = p;
    atomicAdd(&launches, 1);
}

// A local array goes by pointer to a function that is not inlined.
__device__ __noinline__ float polynomial(const float* coefficients, int n, float x) {
    float value = 0.0f;
    for (int i = 0; i < n; ++i) value = value * x + coefficients[i];
    return value;
}
KERNEL local_arrays(float* y) {
    const float coefficients[3] = {1.0f, 2.0f, (float)threadIdx.x};
    y[threadIdx.x] = polynomial(coefficients, 3, 2.0f);
}

// Threads leave early, and the rest need no barrier any more.
KERNEL early_return(float* y, const float* x, int n) {
    __shared__ float s[64];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    if (threadIdx.x >= n) return;
    y[threadIdx.x] = s[63 - threadIdx.x];
}

KERNEL tiled_product(float* c, const float* a, const float* b, int n) {
    __shared__ float as[8][8], bs[8][9];
    const int row = blockIdx.y * 8 + threadIdx.y, column = blockIdx.x * 8 + threadIdx.x;
    float sum = 0.0f;
    for (int k = 0; k < n; k += 8) {
        const int i = k + threadIdx.x, j = k + threadIdx.y;
        as[threadIdx.y][threadIdx.x] = row < n && i < n ? a[row * n + i] : 0.0f;
        bs[threadIdx.y][threadIdx.x] = column < n && j < n ? b[j * n + column] : 0.0f;
        __syncthreads();
        for (int m = 0; m < 8; ++m) sum += as[threadIdx.y][m] * bs[m][threadIdx.x];
        __syncthreads();
    }
    if (row < n && column < n) c[row * n + column] = sum;
}
