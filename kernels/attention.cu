// Attention: products of queries, keys and values, for every sample and head at once.
//
//   attention_scores           scores = scale q k^T
//   attention_weights          weights = softmax(scale q k^T) along the keys
//   softmax_of_seen            weights = softmax(scores) along the keys that are seen
//   attention_values           y = scale weights v       (or +=)
//   attention_values_backward  dv = scale weights^T dy   (or +=)
//
// Shapes: q, y and dy (batch, length, heads, size), k, v and dv (batch, keys, heads, size), scores
// and weights (batch, heads, length, keys); a head of the former is a matrix whose rows lie heads
// size apart. If causal, query i sees the keys up to i alone; the masks are bytes, 0 where a key is
// not seen, as in fused_attention.cu. No aliasing.
//
// Method: the tiles of gemm.cuh, for each pair of a sample and a head (blockIdx.y). A block of
// attention_weights owns the rows of a tile and goes along the keys twice: the first time for each
// row's largest score and its sum of powers, the second time, with the same products again, for the
// weights; where one tile holds all keys, its products are kept. Tiles of keys that nobody sees are
// not multiplied.
//
// Bytes: each array is written once. A product reads its factors as often as gemm.cu; scores never
// exist in global memory beside the weights, for which the softmax would read and write 8 more each.
// Sums are taken in a fixed order, therefore always to the same bits.
#include "common.cuh"
#include "gemm.cuh"

struct Sizes {
    int pairs, heads, length, keys, size;
};

// One head of one sample of an array (batch, rows, heads, size).
template <typename T>
__device__ __forceinline__ Matrix<T> head_of(T* data, int pair, int rows, const Sizes& n)
{
    const int64 start = ((int64)(pair / n.heads) * rows * n.heads + pair % n.heads) * n.size;
    return Matrix<T>(data + start, rows, n.size, n.heads * n.size);
}

// Their scores or weights.
template <typename T>
__device__ __forceinline__ Matrix<T> weights_of(T* data, int pair, const Sizes& n)
{
    return Matrix<T>(data + (int64)pair * n.length * n.keys, n.length, n.keys);
}

struct ScaleAccumulate {
    Matrix<const real> c;
    float scale;
    bool accumulate;
    template <int WIDTH>
    __device__ __forceinline__ void finish(Pack<float, WIDTH>& values, int row, int column) const
    {
        RealPack<WIDTH> before = {};
        if (accumulate) {
            before = c.template load<WIDTH>(row, column);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] = (float)before.v[j] + scale * values.v[j];
        }
    }
};

template <int PER>
__device__ __forceinline__ void scores_of_heads(real* scores, const real* q, const real* k,
                                                float scale, const Sizes& n)
{
    for (int pair = blockIdx.y; pair < n.pairs; pair += gridDim.y) {
        const ScaleAccumulate epilogue = {weights_of<const real>(scores, pair, n), scale, false};
        multiply_tiles<PER>(weights_of(scores, pair, n), head_of(q, pair, n.length, n),
                                   false, head_of(k, pair, n.keys, n), false, Range{0, n.size},
                                   epilogue);
    }
}

// y = scale weights v, or, transposed, the gradient of v from that of y.
template <int PER, bool TRANSPOSED>
__device__ __forceinline__ void values_of_heads(real* y, const real* weights, const real* v,
                                                float scale, int accumulate, const Sizes& n)
{
    const int rows = TRANSPOSED ? n.keys : n.length, inner = TRANSPOSED ? n.length : n.keys;
    for (int pair = blockIdx.y; pair < n.pairs; pair += gridDim.y) {
        const ScaleAccumulate epilogue = {head_of<const real>(y, pair, rows, n), scale,
                                          accumulate != 0};
        multiply_tiles<PER>(head_of(y, pair, rows, n), weights_of(weights, pair, n),
                                   TRANSPOSED, head_of(v, pair, inner, n), true, Range{0, inner},
                                   epilogue);
    }
}

// ---------------------------------------------------------------------------------- the softmax

// Which keys are seen. window: a query sees keys nearer than this.
struct Sight {
    const unsigned char *query_mask, *key_mask, *attention_mask;
    int causal, window;

    __device__ __forceinline__ bool sees(int sample, int row, int column, int rows,
                                         int columns) const
    {
        if (row >= rows || column >= columns || (causal && column > row)
            || column - row >= window || row - column >= window) {
            return false;
        }
        const int64 query = (int64)sample * rows + row, key = (int64)sample * columns + column;
        return (query_mask == nullptr || query_mask[query])
               && (key_mask == nullptr || key_mask[key])
               && (attention_mask == nullptr || attention_mask[query * columns + column]);
    }
};

// Writes the weights of the TILE rows from first_row on.
template <int PER>
struct WeightRows {
    static constexpr int TILE = SIDE * PER;
    using Side = Stripe<PER>;

    Matrix<real> weights;
    Matrix<const real> q, k;
    float scale;
    Sight sight;
    int sample, first_row, across, down;
    float scores[PER][PER];
    OnlineSoftmax rows[PER];

    __device__ __forceinline__ int row(int i) const
    {
        return first_row + Side::place(i / Side::GROUP, down) + i % Side::GROUP;
    }
    __device__ __forceinline__ int column(int first_column, int j) const
    {
        return first_column + Side::place(j / Side::GROUP, across) + j % Side::GROUP;
    }
    __device__ __forceinline__ bool sees(int row, int column) const
    {
        return sight.sees(sample, row, column, weights.rows, weights.columns);
    }
    // How many keys the tile's rows see.
    __device__ __forceinline__ int seen() const
    {
        return sight.causal ? smaller(weights.columns, first_row + TILE) : weights.columns;
    }

    // scores = scale q k^T of the tile of keys that begins at first_column.
    __device__ __forceinline__ void multiply_with(int first_column, Tile<TILE>& q_tile,
                                                  Tile<TILE>& k_tile)
    {
        Operand<TILE, Matrix<const real>> left(q, false, first_row);
        Operand<TILE, Matrix<const real>> right(k, false, first_column);
#pragma unroll
        for (int i = 0; i < PER; ++i) {
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                scores[i][j] = 0.0f;
            }
        }
        left.fetch(0);
        right.fetch(0);
        for (int first = 0; first < q.columns; first += depth_of(TILE)) {
            __syncthreads();  // all have finished with the tiles of the step before
            left.put(q_tile, first_row);
            right.put(k_tile, first_column);
            __syncthreads();
            if (first + depth_of(TILE) < q.columns) {
                left.fetch(first + depth_of(TILE));
                right.fetch(first + depth_of(TILE));
            }
            multiply<PER>(scores, q_tile, k_tile, down, across);
        }
#pragma unroll
        for (int i = 0; i < PER; ++i) {
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                scores[i][j] *= scale;
            }
        }
    }

    __device__ __forceinline__ void add_to_rows(int first_column)
    {
#pragma unroll
        for (int i = 0; i < PER; ++i) {
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                if (sees(row(i), column(first_column, j))) {
                    rows[i].add(scores[i][j]);
                }
            }
        }
    }

    __device__ __forceinline__ void store(int first_column)
    {
#pragma unroll
        for (int i = 0; i < PER; ++i) {
            const float factor = 1.0f / rows[i].sum;
#pragma unroll
            for (int group = 0; group < Side::GROUPS; ++group) {
                Pack<float, Side::GROUP> pack;
#pragma unroll
                for (int j = 0; j < Side::GROUP; ++j) {
                    const int at = group * Side::GROUP + j;
                    pack.v[j] = sees(row(i), column(first_column, at))
                                    ? expf(scores[i][at] - rows[i].largest) * factor
                                    : 0.0f;
                }
                weights.template store<Side::GROUP>(row(i),
                                                    column(first_column, group * Side::GROUP), pack);
            }
        }
    }

    __device__ __forceinline__ void run(Tile<TILE>& q_tile, Tile<TILE>& k_tile)
    {
#pragma unroll
        for (int i = 0; i < PER; ++i) {
            rows[i] = OnlineSoftmax{minus_infinity(), 0.0f};
        }
        for (int first = 0; first < seen(); first += TILE) {
            multiply_with(first, q_tile, k_tile);
            add_to_rows(first);
        }
#pragma unroll
        for (int i = 0; i < PER; ++i) {  // the SIDE threads of a row are half of a warp
            rows[i].finish(group_reduce(rows[i].largest, Larger(), SIDE), SIDE);
        }
        for (int first = 0; first < weights.columns; first += TILE) {
            if (first < seen() && seen() > TILE) {
                multiply_with(first, q_tile, k_tile);
            }
            store(first);
        }
    }
};

template <int PER>
__device__ __forceinline__ void weights_of_heads(real* weights, const real* q, const real* k,
                                                 float scale, const Sight& sight,
                                                 const Sizes& n)
{
    constexpr int TILE = SIDE * PER;
    __shared__ __align__(16) Tile<TILE> q_tile, k_tile;
    const int thread = threadIdx.x;
    for (int pair = blockIdx.y; pair < n.pairs; pair += gridDim.y) {
        WeightRows<PER> tile = {weights_of(weights, pair, n),
                                head_of(q, pair, n.length, n),
                                head_of(k, pair, n.keys, n),
                                scale,
                                sight,
                                pair / n.heads,
                                (int)blockIdx.x * TILE,
                                thread % SIDE,
                                thread / SIDE,
                                {},
                                {}};
        tile.run(q_tile, k_tile);
    }
}

// The softmax of scores of any kind, (batch, heads, length, keys); a row is read twice.
extern "C" __global__ void softmax_of_seen(real* weights, const real* scores,
                                           const unsigned char* query_mask,
                                           const unsigned char* key_mask,
                                           const unsigned char* attention_mask, int causal,
                                           int window, int64 rows, int heads, int length, int keys,
                                           int lanes)
{
    const Sight sight = {query_mask, key_mask, attention_mask, causal, window};
    for (RowWalk walk(rows, keys, lanes); walk.more(); walk.next()) {
        const int sample = (int)(walk.row() / length / heads), query = (int)(walk.row() % length);
        const real* row = scores + walk.row() * keys;
        OnlineSoftmax of_row = {minus_infinity(), 0.0f};
        for (int key = walk.lane; key < walk.end(); key += lanes) {
            if (sight.sees(sample, query, key, length, keys)) {
                of_row.add((float)row[key]);
            }
        }
        of_row.finish(group_reduce(of_row.largest, Larger(), lanes), lanes);
        for (int key = walk.lane; key < walk.end(); key += lanes) {
            const bool seen = sight.sees(sample, query, key, length, keys);
            const float power = seen ? expf((float)row[key] - of_row.largest) : 0.0f;
            weights[walk.row() * keys + key] = (real)(seen ? power / of_row.sum : 0.0f);
        }
    }
}

// The same kernels for each tile: NAME_tile64 and so on, for blocks of THREADS threads.
#define GPUNET_ATTENTION_KERNELS(TILE)                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_scores_tile##TILE(         \
        real* scores, const real* q, const real* k, float scale, int pairs, int heads,            \
        int length, int keys, int size)                                                           \
    {                                                                                             \
        scores_of_heads<TILE / SIDE>(scores, q, k, scale,                                         \
                                     {pairs, heads, length, keys, size});                         \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_weights_tile##TILE(        \
        real* weights, const real* q, const real* k, const unsigned char* query_mask,             \
        const unsigned char* key_mask, const unsigned char* attention_mask, float scale,          \
        int causal, int window, int pairs, int heads, int length, int keys, int size)             \
    {                                                                                             \
        weights_of_heads<TILE / SIDE>(                                                            \
            weights, q, k, scale, {query_mask, key_mask, attention_mask, causal, window},         \
            {pairs, heads, length, keys, size});                                                  \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) attention_values_tile##TILE(         \
        real* y, const real* weights, const real* v, float scale, int accumulate, int pairs,      \
        int heads, int length, int keys, int size)                                                \
    {                                                                                             \
        values_of_heads<TILE / SIDE, false>(y, weights, v, scale, accumulate,                     \
                                            {pairs, heads, length, keys, size});                  \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2)                                      \
        attention_values_backward_tile##TILE(real* dv, const real* weights, const real* dy,       \
                                             float scale, int accumulate, int pairs, int heads,   \
                                             int length, int keys, int size)                      \
    {                                                                                             \
        values_of_heads<TILE / SIDE, true>(dv, weights, dy, scale, accumulate,                    \
                                           {pairs, heads, length, keys, size});                   \
    }

GPUNET_ATTENTION_KERNELS(64)
GPUNET_ATTENTION_KERNELS(32)
