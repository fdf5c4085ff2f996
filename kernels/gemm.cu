// Matrix products c = op(a) op(b) in IEEE float32, with what a dense layer does next in the same
// launch.
//
//   gemm               c = op(a) op(b), or c += op(a) op(b)
//   gemm_bias_act      c = activation(op(a) op(b) + bias)
//   gemm_act_backward  c = op(a) op(b) activation'(saved)
//   gemm_column_sum    c = op(a) b (or +=), column_sum = sum of b over its rows (or +=)
//   batched_gemm       c[i] = op(a[i]) op(b[i]) (or +=): a row of blocks for each product
//
// Shapes: c (m, n), a (m, k) or (k, m) if ta, b (k, n) or (n, k) if tb, bias and column_sum (n),
// saved (m, n). Any sizes >= 0; with k = 0 the product is zero. bias may be null. No aliasing.
//
// Method: a block of 16 x 16 threads owns one TILE x TILE tile of c. Step by step it brings DEPTH
// columns of op(a) and rows of op(b) into shared memory; each thread then updates PER x PER
// elements of c in registers, so that a number from shared memory serves PER products. While a
// step is computed, the next one is already on its way into registers. The launcher picks the
// largest of the tiles 128, 64, 32 that still gives every multiprocessor a block.
//
// Bytes read from global memory: a ceil(n / TILE) times and b ceil(m / TILE) times (the repeats
// mostly from L2; the least is once each), c written once, bias and saved read once. The column sums
// cost no further read: the blocks of the first row of tiles add up b's tiles as they pass.
// Each element of c is summed by one thread, always in the same order, therefore to the same bits.
#include "common.cuh"
#include "activations.cuh"
#include "gemm.cuh"
#include "epilogues.cuh"

struct Sizes {
    int m, n, k;
    bool ta, tb;
};

// column_sum is null, or gets the sums of b's columns from the first row of tiles.
template <int PER, typename Epilogue>
__device__ __forceinline__ void product(real* c, const real* a, const real* b, const Sizes& size,
                                        const Epilogue& epilogue, real* column_sum = nullptr,
                                        bool accumulate = false)
{
    const Matrix<const real> left(a, size.ta ? size.k : size.m, size.ta ? size.m : size.k);
    const Matrix<const real> right(b, size.tb ? size.n : size.k, size.tb ? size.k : size.n);
    multiply_tiles<PER>(Matrix<real>(c, size.m, size.n), left, size.ta, right, !size.tb,
                               Range{0, size.k}, epilogue, column_sum, accumulate);
}

// The same five kernels for each tile: NAME_tile128 and so on, for blocks of THREADS threads.
#define GPUNET_GEMM_KERNELS(TILE)                                                                 \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_tile##TILE(                     \
        real* c, const real* a, const real* b, int ta, int tb, int accumulate, int m, int n,      \
        int k)                                                                                    \
    {                                                                                             \
        const Accumulate epilogue = {{c, m, n}, accumulate != 0};                                 \
        product<TILE / SIDE>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);                     \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) batched_gemm_tile##TILE(             \
        real* c, const real* a, const real* b, int ta, int tb, int accumulate, int batch, int m,  \
        int n, int k)                                                                             \
    {                                                                                             \
        const int64 i = (int64)blockIdx.z * gridDim.y + blockIdx.y;                               \
        if (i >= batch) {                                                                         \
            return;                                                                               \
        }                                                                                         \
        real* target = c + i * m * n;                                                             \
        const Accumulate epilogue = {{target, m, n}, accumulate != 0};                            \
        product<TILE / SIDE>(target, a + i * m * k, b + i * k * n,                                \
                             {m, n, k, ta != 0, tb != 0}, epilogue);                              \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_bias_act_tile##TILE(            \
        real* c, const real* a, const real* b, const real* bias, int activation, float p,         \
        float q, float r, int ta, int tb, int m, int n, int k)                                    \
    {                                                                                             \
        const BiasActivation epilogue = {{bias, 1, n}, {activation, p, q, r}};                    \
        product<TILE / SIDE>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);                     \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_act_backward_tile##TILE(        \
        real* c, const real* a, const real* b, const real* saved, int activation, float p,        \
        float q, float r, int ta, int tb, int m, int n, int k)                                    \
    {                                                                                             \
        const ActivationBackward epilogue = {{saved, m, n}, {activation, p, q, r}};               \
        product<TILE / SIDE>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);                     \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_column_sum_tile##TILE(          \
        real* c, real* column_sum, const real* a, const real* b, int ta, int accumulate, int m,   \
        int n, int k)                                                                             \
    {                                                                                             \
        const Accumulate epilogue = {{c, m, n}, accumulate != 0};                                 \
        product<TILE / SIDE>(c, a, b, {m, n, k, ta != 0, false}, epilogue, column_sum,            \
                                    accumulate != 0);                                             \
    }

GPUNET_GEMM_KERNELS(128)
GPUNET_GEMM_KERNELS(64)
GPUNET_GEMM_KERNELS(32)
