// Matrix products c = op(a) op(b) in IEEE float32, with what a dense layer does next in the same
// launch.
//
//   gemm               c = op(a) op(b), or c += op(a) op(b)
//   gemm_bias_act      c = activation(op(a) op(b) + bias)
//   gemm_act_backward  c = op(a) op(b) activation'(saved)
//   gemm_column_sum    c = op(a) b (or +=), column_sum = sum of b over its rows (or +=)
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
// Each element of c is summed in the order of k by one thread, therefore always to the same bits.
#include "common.cuh"

constexpr int SIDE = 16;             // a block is SIDE x SIDE threads
constexpr int THREADS = SIDE * SIDE;
constexpr int QUAD = 4;              // elements in one load
constexpr int PADDING = 4;           // keeps rows of a tile 16-byte aligned, and off the same banks

__host__ __device__ constexpr int smaller(int a, int b) { return a < b ? a : b; }

// A row-major matrix in global memory; `packed`: quads of it may be moved in one access.
template <typename T>
struct Matrix {
    T* data;
    int rows, columns;
    bool packed;

    __device__ __forceinline__ Matrix(T* data_, int rows_, int columns_)
        : data(data_), rows(rows_), columns(columns_),
          packed(columns_ % QUAD == 0 && is_aligned(data_, QUAD * sizeof(real)))
    {
    }

    // The elements (row, column ...) as floats, 0 outside the matrix. If packed, a pack that begins
    // at a multiple of its width lies either inside or outside.
    template <int WIDTH>
    __device__ __forceinline__ Pack<float, WIDTH> load(int row, int column) const
    {
        Pack<float, WIDTH> result = {};
        const real* p = data + (int64)row * columns + column;
        if (row < rows && column < columns) {
            if (packed) {
                const Pack<real, WIDTH> pack = load_pack<real, WIDTH>(p, 0);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    result.v[j] = (float)pack.v[j];
                }
            } else {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    if (column + j < columns) {
                        result.v[j] = (float)p[j];
                    }
                }
            }
        }
        return result;
    }

    template <int WIDTH>
    __device__ __forceinline__ void store(int row, int column, const Pack<float, WIDTH>& values)
    {
        real* p = data + (int64)row * columns + column;
        if (row < rows && column < columns) {
            if (packed) {
                Pack<real, WIDTH> pack;
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    pack.v[j] = (real)values.v[j];
                }
                store_pack<real, WIDTH>(p, 0, pack);
            } else {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    if (column + j < columns) {
                        p[j] = (real)values.v[j];
                    }
                }
            }
        }
    }
};

// Brings tiles of one operand into shared memory as tile[k][e], where e counts rows of op(a) or
// columns of op(b). `along_e`: neighbours in memory differ in e (a transposed, b not), else in k.
template <int TILE, int DEPTH>
struct Operand {
    static constexpr int QUADS = TILE * DEPTH / (QUAD * THREADS);  // quads a thread loads
    typedef float Tile[DEPTH][TILE + PADDING];

    Matrix<const real> matrix;
    bool along_e;
    int first_e;
    Pack<float, QUAD> ahead[QUADS];  // the next tile, on its way

    __device__ __forceinline__ Operand(Matrix<const real> matrix_, bool along_e_, int first_e_)
        : matrix(matrix_), along_e(along_e_), first_e(first_e_)
    {
    }

    __device__ __forceinline__ void fetch(int first_k, int thread)
    {
#pragma unroll
        for (int i = 0; i < QUADS; ++i) {
            const int quad = i * THREADS + thread;
            if (along_e) {
                ahead[i] = matrix.template load<QUAD>(
                    first_k + quad / (TILE / QUAD), first_e + quad % (TILE / QUAD) * QUAD);
            } else {
                ahead[i] = matrix.template load<QUAD>(
                    first_e + quad / (DEPTH / QUAD), first_k + quad % (DEPTH / QUAD) * QUAD);
            }
        }
    }

    __device__ __forceinline__ void put(Tile& tile, int thread) const
    {
#pragma unroll
        for (int i = 0; i < QUADS; ++i) {
            const int quad = i * THREADS + thread;
            if (along_e) {
                store_pack<float, QUAD>(&tile[quad / (TILE / QUAD)][0], quad % (TILE / QUAD),
                                        ahead[i]);
            } else {
#pragma unroll
                for (int j = 0; j < QUAD; ++j) {
                    tile[quad % (DEPTH / QUAD) * QUAD + j][quad / (DEPTH / QUAD)] = ahead[i].v[j];
                }
            }
        }
    }
};

// One thread's PER elements along one side of the tile: groups of GROUP neighbours, a group for
// each stretch of SIDE * GROUP, so that the loads of a warp's threads are next to each other.
template <int PER>
struct Stripe {
    static constexpr int GROUP = smaller(PER, QUAD), GROUPS = PER / GROUP;

    __device__ static __forceinline__ int place(int group, int thread)
    {
        return (group * SIDE + thread) * GROUP;
    }
    __device__ static __forceinline__ void read(float (&values)[PER], const float* line, int thread)
    {
#pragma unroll
        for (int group = 0; group < GROUPS; ++group) {
            const Pack<float, GROUP> pack = load_pack<float, GROUP>(line + place(group, thread), 0);
#pragma unroll
            for (int j = 0; j < GROUP; ++j) {
                values[group * GROUP + j] = pack.v[j];
            }
        }
    }
};

// ------------------------------------------------------------------------------------ epilogues
//
// What happens to a finished pack of c at (row, column) before it is stored.

struct Accumulate {
    Matrix<const real> c;
    bool accumulate;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int row, int column) const
    {
        if (accumulate) {
            const Pack<float, WIDTH> before = c.template load<WIDTH>(row, column);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                values.v[j] += before.v[j];
            }
        }
    }
};

struct BiasActivation {
    Matrix<const real> bias;
    Activation activation;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int, int column) const
    {
        Pack<float, WIDTH> shift = {};
        if (bias.data != nullptr) {
            shift = bias.template load<WIDTH>(0, column);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] = activate(values.v[j] + shift.v[j], activation);
        }
    }
};

struct ActivationBackward {
    Matrix<const real> saved;
    Activation activation;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int row, int column) const
    {
        const Pack<float, WIDTH> kept = saved.template load<WIDTH>(row, column);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] *= activation_gradient(kept.v[j], activation);
        }
    }
};

// ----------------------------------------------------------------------------------- the product

struct Sizes {
    int m, n, k;
    bool ta, tb;
};

// Adds to a thread's part of the tile of c what the tiles of op(a) and op(b) contribute.
template <int PER, int DEPTH, typename Tile>
__device__ __forceinline__ void multiply(float (&sums)[PER][PER], const Tile& a_tile,
                                         const Tile& b_tile, int down, int across)
{
#pragma unroll 2  // more would not fit into 128 registers, with which two blocks share a processor
    for (int k = 0; k < DEPTH; ++k) {
        float rows[PER], columns[PER];
        Stripe<PER>::read(rows, a_tile[k], down);
        Stripe<PER>::read(columns, b_tile[k], across);
#pragma unroll
        for (int i = 0; i < PER; ++i) {
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                sums[i][j] += rows[i] * columns[j];
            }
        }
    }
}

// Stores a thread's part of the tile that begins at (first_row, first_column).
template <int PER, typename Epilogue>
__device__ __forceinline__ void store_tile(Matrix<real> c, float (&sums)[PER][PER],
                                           const Epilogue& epilogue, int first_row,
                                           int first_column, int down, int across)
{
    using Side = Stripe<PER>;
    // Not unrolled, because the epilogue is long. Registers cannot be indexed by a variable, hence
    // the next row of sums moves down to row 0.
#pragma unroll 1
    for (int i = 0; i < PER; ++i) {
        const int row = first_row + Side::place(i / Side::GROUP, down) + i % Side::GROUP;
#pragma unroll
        for (int group = 0; group < Side::GROUPS; ++group) {
            const int column = first_column + Side::place(group, across);
            Pack<float, Side::GROUP> values;
#pragma unroll
            for (int j = 0; j < Side::GROUP; ++j) {
                values.v[j] = sums[0][group * Side::GROUP + j];
            }
            epilogue.finish(values, row, column);
            c.store(row, column, values);
        }
#pragma unroll
        for (int next = 1; next < PER; ++next) {
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                sums[next - 1][j] = sums[next][j];
            }
        }
    }
}

// column_sum is null, or gets the sums of b's columns from the first row of tiles.
template <int PER, int DEPTH, typename Epilogue>
__device__ __forceinline__ void product(real* c, const real* a, const real* b, const Sizes& size,
                                        const Epilogue& epilogue, real* column_sum = nullptr,
                                        bool accumulate = false)
{
    constexpr int TILE = SIDE * PER;
    using Side = Operand<TILE, DEPTH>;
    __shared__ __align__(16) typename Side::Tile a_tile, b_tile;
    const int thread = threadIdx.x, across = thread % SIDE, down = thread / SIDE;
    const unsigned tiles_across = (size.n + TILE - 1) / TILE;
    const int first_row = blockIdx.x / tiles_across * TILE;
    const int first_column = blockIdx.x % tiles_across * TILE;
    Side left({a, size.ta ? size.k : size.m, size.ta ? size.m : size.k}, size.ta, first_row);
    Side right({b, size.tb ? size.n : size.k, size.tb ? size.k : size.n}, !size.tb, first_column);
    const bool adds_columns = column_sum != nullptr && first_row == 0 && thread < TILE;
    float sums[PER][PER] = {};
    float column_total = 0.0f;

    left.fetch(0, thread);
    right.fetch(0, thread);
    for (int first_k = 0; first_k < size.k; first_k += DEPTH) {
        __syncthreads();  // all have finished with the tiles of the step before
        left.put(a_tile, thread);
        right.put(b_tile, thread);
        __syncthreads();
        if (first_k + DEPTH < size.k) {
            left.fetch(first_k + DEPTH, thread);
            right.fetch(first_k + DEPTH, thread);
        }
        multiply<PER, DEPTH>(sums, a_tile, b_tile, down, across);
        if (adds_columns) {
            float of_step = 0.0f;  // two levels of sums lose less
#pragma unroll 1
            for (int k = 0; k < DEPTH; ++k) {
                of_step += b_tile[k][thread];
            }
            column_total += of_step;
        }
    }

    store_tile({c, size.m, size.n}, sums, epilogue, first_row, first_column, down, across);
    if (adds_columns && first_column + thread < size.n) {
        real& total = column_sum[first_column + thread];
        total = (real)(column_total + (accumulate ? (float)total : 0.0f));
    }
}

// The same four kernels for each tile: NAME_tile128 and so on, for blocks of THREADS threads.
#define GPUNET_GEMM_KERNELS(TILE, DEPTH)                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_tile##TILE(                     \
        real* c, const real* a, const real* b, int ta, int tb, int accumulate, int m, int n,      \
        int k)                                                                                    \
    {                                                                                             \
        const Accumulate epilogue = {{c, m, n}, accumulate != 0};                                 \
        product<TILE / SIDE, DEPTH>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);              \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_bias_act_tile##TILE(            \
        real* c, const real* a, const real* b, const real* bias, int activation, float p,         \
        float q, float r, int ta, int tb, int m, int n, int k)                                    \
    {                                                                                             \
        const BiasActivation epilogue = {{bias, 1, n}, {activation, p, q, r}};                    \
        product<TILE / SIDE, DEPTH>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);              \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_act_backward_tile##TILE(        \
        real* c, const real* a, const real* b, const real* saved, int activation, float p,        \
        float q, float r, int ta, int tb, int m, int n, int k)                                    \
    {                                                                                             \
        const ActivationBackward epilogue = {{saved, m, n}, {activation, p, q, r}};               \
        product<TILE / SIDE, DEPTH>(c, a, b, {m, n, k, ta != 0, tb != 0}, epilogue);              \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) gemm_column_sum_tile##TILE(          \
        real* c, real* column_sum, const real* a, const real* b, int ta, int accumulate, int m,   \
        int n, int k)                                                                             \
    {                                                                                             \
        const Accumulate epilogue = {{c, m, n}, accumulate != 0};                                 \
        product<TILE / SIDE, DEPTH>(c, a, b, {m, n, k, ta != 0, false}, epilogue, column_sum,     \
                                    accumulate != 0);                                             \
    }

GPUNET_GEMM_KERNELS(128, 8)
GPUNET_GEMM_KERNELS(64, 16)
GPUNET_GEMM_KERNELS(32, 32)
