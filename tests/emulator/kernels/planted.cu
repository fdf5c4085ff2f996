// Kernels with one bug each, in the line marked BUG; test_planted_bugs.py demands that the checked
// build finds it. Every array has 32 elements if nothing else is said.
#include <cuda_fp16.h>
#define KERNEL extern "C" __global__ void
#define ALL 0xffffffffu

// ---- out of bounds

KERNEL reads_past_the_end(float* y, const float* x) {
    const int i = threadIdx.x;
    y[i] = x[i + 1] - x[i];  // BUG
}
KERNEL writes_past_the_end(float* y, int n) {
    for (int i = threadIdx.x; i <= n; i += blockDim.x) y[i] = 1.0f;  // BUG
}
KERNEL reads_before_the_start(float* y, const float* x) {
    y[threadIdx.x] = x[(int)threadIdx.x - 1];  // BUG
}
KERNEL reads_a_vector_over_the_end(float* y, const float* x) {
    const float4 v = reinterpret_cast<const float4*>(x)[threadIdx.x];  // BUG
    y[threadIdx.x] = v.x + v.w;
}
KERNEL reads_one_byte_too_many(float* y, const unsigned char* x) {
    y[threadIdx.x] = x[threadIdx.x];  // BUG
}
KERNEL swaps_rows_and_columns(float* y, const float* x, int rows, int columns) {
    y[threadIdx.x * columns + threadIdx.y] = x[threadIdx.y * columns + threadIdx.x];  // BUG
}
KERNEL counts_outside_of_the_bins(int* bins, const int* x) {
    atomicAdd(&bins[x[threadIdx.x]], 1);  // BUG
}
KERNEL reads_freed_memory(float* y, float** table) {
    y[threadIdx.x] = table[0][threadIdx.x];  // BUG
}
KERNEL leaves_its_view(float* y, const float* x, int n) {
    for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = x[i];  // BUG
}
KERNEL reads_another_array(float* y, const float* x, long long distance) {
    y[threadIdx.x] = x[threadIdx.x + distance];  // BUG
}
KERNEL reads_null(float* y, const float* x) {
    y[threadIdx.x] = x[threadIdx.x];  // BUG
}
KERNEL writes_to_an_input(const float* x) {
    const_cast<float*>(x)[threadIdx.x] = 0.0f;  // BUG
}
KERNEL indexes_past_a_shared_array(float* y) {
    __shared__ float tile[31];
    tile[threadIdx.x] = y[threadIdx.x];  // BUG
    __syncthreads();
    y[threadIdx.x] = tile[30 - threadIdx.x];
}
KERNEL indexes_past_a_shared_row(float* y) {
    __shared__ float tile[4][8];
    tile[threadIdx.x / 9][threadIdx.x % 9] = y[threadIdx.x];  // BUG
}
__device__ void store(float* p, int i, float value) {
    p[i] = value;  // BUG of points_past_a_shared_array
}
KERNEL points_past_a_shared_array(float* y) {
    __shared__ float first[64];
    __shared__ float second[64];
    store(first, threadIdx.x + 33, 1.0f);
    store(second, threadIdx.x, 1.0f);
}
KERNEL points_before_a_shared_array(float* y) {
    __shared__ float tile[64];
    float* p = tile + threadIdx.x;
    p[-1] = 1.0f;  // BUG
}
KERNEL needs_more_dynamic_shared(float* y) {
    extern __shared__ float cache[];
    cache[threadIdx.x] = y[threadIdx.x];  // BUG
}

// ---- never written

KERNEL reads_an_empty_array(float* y, const float* x) {
    y[threadIdx.x] = x[threadIdx.x];  // BUG
}
KERNEL adds_to_an_empty_array(float* y, const float* x) {
    y[threadIdx.x] += x[threadIdx.x];  // BUG
}
KERNEL counts_in_an_empty_array(int* bins) {
    atomicAdd(&bins[threadIdx.x], 1);  // BUG
}
KERNEL reads_the_part_not_written(float* y, float* x) {
    if (threadIdx.x < 20) x[threadIdx.x] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = x[31 - threadIdx.x];  // BUG
}
KERNEL sums_unwritten_shared(float* y) {
    __shared__ float sum;
    for (int i = 0; i < 32; ++i)
        if (threadIdx.x == i) sum += y[i];  // BUG
}
KERNEL pads_nothing(float* y) {
    __shared__ float halo[34];
    halo[threadIdx.x + 1] = y[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = halo[threadIdx.x] + halo[threadIdx.x + 2];  // BUG
}
KERNEL reads_unwritten_dynamic_shared(float* y) {
    extern __shared__ float cache[];
    y[threadIdx.x] = cache[threadIdx.x];  // BUG
}
KERNEL reads_an_empty_half(float* y, const __half* x) {
    y[threadIdx.x] = __half2float(x[threadIdx.x]);  // BUG
}
KERNEL expects_shared_to_survive_a_block(float* y) {
    __shared__ float before;
    if (blockIdx.x > 0) y[blockIdx.x] = before;  // BUG
    before = y[0];
}

// ---- misaligned

KERNEL loads_float4_anywhere(float* y, const float* x) {
    const float4 v = *reinterpret_cast<const float4*>(x + threadIdx.x);  // BUG
    y[threadIdx.x] = v.y;
}
KERNEL stores_float2_anywhere(float* y) {
    *reinterpret_cast<float2*>(y + 1) = make_float2(1.0f, 2.0f);  // BUG
}
KERNEL loads_misaligned_shared(float* y) {
    __shared__ float tile[36];
    tile[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    const float4* vectors = reinterpret_cast<const float4*>(tile + 2);
    if (threadIdx.x < 4) reinterpret_cast<float4*>(y)[threadIdx.x] = vectors[threadIdx.x];  // BUG
}

// ---- races inside of a block

KERNEL forgets_a_barrier(float* y) {
    __shared__ float tile[64];
    tile[threadIdx.x] = y[threadIdx.x];
    y[threadIdx.x] = tile[threadIdx.x ^ 1];  // BUG
}
KERNEL overwrites_a_tile_in_use(float* y, const float* x) {
    __shared__ float tile[64];
    float sum = 0.0f;
    for (int k = 0; k < 2; ++k) {
        tile[threadIdx.x] = x[k * 64 + threadIdx.x];  // BUG
        __syncthreads();
        sum += tile[63 - threadIdx.x];
    }
    y[threadIdx.x] = sum;
}
KERNEL sums_without_barriers(float* y) {
    __shared__ float tree[64];
    tree[threadIdx.x] = y[threadIdx.x];
    __syncthreads();
    for (int step = 32; step > 0; step /= 2)
        if (threadIdx.x < step) tree[threadIdx.x] += tree[threadIdx.x + step];  // BUG
    if (threadIdx.x == 0) y[0] = tree[0];
}
KERNEL trusts_the_warp(float* y) {
    volatile __shared__ float tree[32];
    tree[threadIdx.x] = y[threadIdx.x];
    if (threadIdx.x < 16) tree[threadIdx.x] += tree[threadIdx.x + 16];  // BUG
    if (threadIdx.x == 0) y[0] = tree[0];
}
KERNEL orders_by_a_shuffle(float* y) {
    __shared__ float tile[32];
    tile[threadIdx.x] = y[threadIdx.x];
    const float v = __shfl_xor_sync(ALL, y[threadIdx.x], 1);
    y[threadIdx.x] = v + tile[threadIdx.x ^ 1];  // BUG
}
KERNEL synchronises_half_a_warp(float* y) {
    __shared__ float tile[32];
    tile[threadIdx.x] = y[threadIdx.x];
    __syncwarp(threadIdx.x < 16 ? 0x0000ffffu : 0xffff0000u);
    y[threadIdx.x] = tile[(threadIdx.x + 16) % 32];  // BUG
}
KERNEL counts_without_atomics(int* n) {
    n[0] += 1;  // BUG
}
KERNEL fills_shared_bins(int* bins) {
    __shared__ int count[4];
    if (threadIdx.x < 4) count[threadIdx.x] = 0;
    __syncthreads();
    count[threadIdx.x % 4]++;  // BUG
    __syncthreads();
    if (threadIdx.x < 4) bins[threadIdx.x] = count[threadIdx.x];
}
KERNEL reads_what_others_count(int* n, int* y) {
    atomicAdd(n, 1);
    y[threadIdx.x] = n[0];  // BUG
}
KERNEL shifts_in_place(float* x) {
    if (threadIdx.x < 31) x[threadIdx.x] = x[threadIdx.x + 1];  // BUG
}
KERNEL broadcasts_too_early(float* y) {
    __shared__ float scale;
    if (threadIdx.x == 0) scale = y[0];
    y[threadIdx.x + 1] = scale;  // BUG
}
KERNEL waits_for_its_warp_only(float* y) {
    __shared__ float tile[64];
    tile[threadIdx.x] = y[threadIdx.x];
    __syncwarp();
    y[threadIdx.x] = tile[63 - threadIdx.x];  // BUG
}

// ---- races between blocks

KERNEL reads_the_next_blocks_output(float* y) {
    y[blockIdx.x] = blockIdx.x;
    if (blockIdx.x > 0) y[blockIdx.x + 8] = y[blockIdx.x - 1];  // BUG
}
KERNEL all_blocks_write_one_element(float* y) {
    y[0] = blockIdx.x;  // BUG
}
KERNEL last_block_without_fence(float* sum, float* partial, unsigned* ticket) {
    partial[blockIdx.x] = 1.0f;
    if (atomicAdd(ticket, 1u) == gridDim.x - 1)
        for (int i = 0; i < gridDim.x; ++i) sum[0] += partial[i];  // BUG
}
KERNEL last_block_fences_too_late(float* sum, float* partial, unsigned* ticket) {
    partial[blockIdx.x] = 1.0f;
    const bool last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    __threadfence();
    if (last)
        for (int i = 0; i < gridDim.x; ++i) sum[0] += partial[i];  // BUG
}
KERNEL last_block_forgets_the_other_threads(float* sum, float* partial, unsigned* ticket) {
    __shared__ bool last;
    partial[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
    if (threadIdx.x == 0) {
        __threadfence();
        last = atomicAdd(ticket, 1u) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0)
        for (int i = 0; i < gridDim.x * blockDim.x; ++i) sum[0] += partial[i];  // BUG
}

// ---- barriers and warps

KERNEL waits_in_a_branch(float* y) {
    if (threadIdx.x < 20) {
        y[threadIdx.x] = 1.0f;
        __syncthreads();  // BUG
    }
}
KERNEL returns_before_the_barrier(float* y, int n) {
    if (threadIdx.x >= n) return;
    y[threadIdx.x] = 1.0f;
    __syncthreads();  // BUG
}
KERNEL waits_at_two_barriers(float* y) {
    if (threadIdx.x % 2) {
        __syncthreads();
    } else {
        __syncthreads();  // BUG
    }
}
KERNEL loops_differently_often(float* y) {
    for (int i = threadIdx.x; i < 40; i += 32) __syncthreads();  // BUG
}
KERNEL waits_crosswise(float* y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        __syncwarp();  // BUG
    }
}
KERNEL shuffles_in_a_branch(float* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_down_sync(ALL, y[threadIdx.x], 1);  // BUG
}
KERNEL is_not_in_its_mask(float* y) {
    y[threadIdx.x] = __shfl_sync(0x0000ffffu, y[threadIdx.x], 0);  // BUG
}
KERNEL has_overlapping_masks(float* y) {
    __syncwarp(threadIdx.x < 16 ? 0x0001ffffu : 0xffff0000u);  // BUG
}
KERNEL shuffles_over_seven_lanes(float* y) {
    y[threadIdx.x] = __shfl_xor_sync(ALL, y[threadIdx.x], 1, 7);  // BUG
}
KERNEL votes_and_shuffles(float* y) {
    if (threadIdx.x % 2) {
        y[threadIdx.x] = __any_sync(ALL, 1);
    } else {
        y[threadIdx.x] = __shfl_sync(ALL, 1.0f, 0);  // BUG
    }
}
KERNEL waits_for_a_later_block(volatile int* flag) {
    if (blockIdx.x == 0)
        while (flag[0] == 0) {}  // BUG
    flag[0] = 1;
}
KERNEL never_unlocks(int* lock) {
    while (atomicCAS(lock, 0, 1) != 0) {}  // BUG
}
