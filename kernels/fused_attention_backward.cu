// The gradients of attention whose weights never exist in memory: they are made again.
//
//   fused_attention_backward  dq, dk and dv from dy; weights = exp(scale q k^T - logsumexp)
//
// Shapes, masks and method as in fused_attention.cu; dy (batch, length, heads, value_size), sums
// (batch, heads, length). No aliasing.
//
// The first kernel has queries as rows and adds up dq, the second has keys as rows and adds up dk and
// dv, over all queries that share them: so nobody adds to what another block adds to, and sums are
// taken in a fixed order, always to the same bits.
//
// Bytes: a block reads its rows once and writes its results once; it reads the columns that its
// rows see once: k and v for each ROWS queries, q and dy for each ROWS keys. Products are float.
#include "common.cuh"
#include "philox.cuh"
#include "gemm.cuh"
#include "fused_attention.cuh"

// Of a score without its scale, and the gradient of its weight, makes the weight (0 if it is not
// kept), and the gradient of the score.
__device__ __forceinline__ void differentiate(float& weight, float& gradient, const Attention& a,
                                              bool seen, bool kept, float logsumexp, float sum)
{
    const float power = seen ? expf(weight * a.scale - logsumexp) : 0.0f;
    const float factor = kept ? 1.0f / (1.0f - a.rate) : 0.0f;
    weight = power * factor;
    gradient = seen ? power * (gradient * factor - sum) : 0.0f;
}

// dq of one tile of queries of a head, and the sums of dy y along its rows.
template <int SIZE, int ROWS, int COLUMNS>
__device__ __forceinline__ void attend_backward(real* dq, float* sums, const real* dy,
                                                const real* y, const float* logsumexp,
                                                const real* q, const real* k, const real* v,
                                                const Head& head, int first)
{
    using Tile = Tiling<SIZE, ROWS, COLUMNS>;
    extern __shared__ __align__(16) float tiles[];
    __shared__ Bits<ROWS, COLUMNS> bits;
    float* const q_tile = tiles;
    float* const dy_tile = q_tile + Tile::ROW_FLOATS;
    float* const k_tile = dy_tile + Tile::ROW_FLOATS;
    float* const v_tile = k_tile + Tile::COLUMN_FLOATS;
    float* const exchange = v_tile + Tile::COLUMN_FLOATS;
    const Attention& a = head.a;
    const Matrix<const real> keys = head.keys(k, a.size), values = head.keys(v, a.value_size);
    typename Tile::Sums total = {};
    float of_row[Tile::PER_ROW], lse[Tile::PER_ROW], factors[Tile::PER_ROW];

    __syncthreads();  // all have finished with the tile before
    Tile::load(q_tile, head.queries(q, a.size), first, ROWS);
    Tile::load(dy_tile, head.queries(dy, a.value_size), first, ROWS);
    __syncthreads();
    const Matrix<const real> outputs = head.queries(y, a.value_size);
#pragma unroll
    for (int i = 0; i < Tile::PER_ROW; ++i) {
        const int row = Tile::row(i), query = first + row;
        float sum = 0.0f;
#pragma unroll 1  // SIDE * QUAD numbers are most of a row, or all
        for (int column = Tile::across() * QUAD; column < a.value_size; column += SIDE * QUAD) {
            const RealPack<QUAD> output = outputs.template load<QUAD>(query, column);
#pragma unroll
            for (int t = 0; t < QUAD; ++t) {
                sum += (float)output.v[t] * dy_tile[row * Tile::STRIDE + column + t];
            }
        }
        of_row[i] = warp_reduce(sum, Plus(), SIDE);
        lse[i] = query < a.length ? logsumexp[head.row * a.length + query] : 0.0f;
        factors[i] = a.scale;
        if (Tile::across() == 0 && query < a.length) {
            sums[head.row * a.length + query] = of_row[i];
        }
    }

    const int end = smaller(a.keys, (a.causal ? first : first + a.window - 1) + ROWS);
    for (int key = max(0, first - a.window + 1); key < end; key += COLUMNS) {
        const bool all = head.sees_all(first, ROWS, key, COLUMNS);
        typename Tile::Weights weights, gradients;
        __syncthreads();  // all have finished with the tiles before
        Tile::load(k_tile, keys, key, COLUMNS);
        Tile::load(v_tile, values, key, COLUMNS);
        bits.make(head, first, key, all);
        __syncthreads();
        Tile::multiply(weights, q_tile, k_tile, a.size);
        Tile::multiply(gradients, dy_tile, v_tile, a.value_size);
#pragma unroll
        for (int i = 0; i < Tile::PER_ROW; ++i) {
#pragma unroll
            for (int j = 0; j < Tile::PER_COLUMN; ++j) {
                const int row = Tile::row(i), column = Tile::column(j);
                const bool seen = all || bits.is_seen(row, column);
                const bool keep = a.rate == 0.0f || bits.is_kept(head, first, key, row, column);
                differentiate(weights[i][j], gradients[i][j], a, seen, keep, lse[i], of_row[i]);
            }
        }
        Tile::add_weighted(total, gradients, exchange, k_tile);
    }
    Tile::store(head.queries(dq, a.size), first, total, factors);
}

// dk and dv of one tile of keys, from all heads of queries that share them, in their order.
template <int SIZE, int ROWS, int COLUMNS>
__device__ __forceinline__ void attend_backward_keys(real* dk, real* dv, const float* sums,
                                                     const real* dy, const float* logsumexp,
                                                     const real* q, const real* k, const real* v,
                                                     const Attention& a, int sample, int key_head,
                                                     int first)
{
    using Tile = Tiling<SIZE, ROWS, COLUMNS>;
    extern __shared__ __align__(16) float tiles[];
    __shared__ Bits<COLUMNS, ROWS> bits;
    float* const k_tile = tiles;
    float* const v_tile = k_tile + Tile::ROW_FLOATS;
    float* const q_tile = v_tile + Tile::ROW_FLOATS;
    float* const dy_tile = q_tile + Tile::COLUMN_FLOATS;
    float* const exchange = dy_tile + Tile::COLUMN_FLOATS;
    const int group = a.heads / a.key_heads;
    const Head first_head(a, sample, key_head * group);
    typename Tile::Sums dk_total = {}, dv_total = {};

    __syncthreads();  // all have finished with the tile before
    Tile::load(k_tile, first_head.keys(k, a.size), first, ROWS);
    Tile::load(v_tile, first_head.keys(v, a.value_size), first, ROWS);
    const int start = max(a.causal ? first : 0, first - a.window + 1);
    const int end = smaller(a.length, first + ROWS + a.window - 1);
    for (int member = 0; member < group; ++member) {
        const Head head(a, sample, first_head.head + member);
        for (int query = start; query < end; query += COLUMNS) {
            const bool all = head.sees_all(query, COLUMNS, first, ROWS);
            typename Tile::Weights weights, gradients;
            __syncthreads();  // all have finished with the tiles before
            Tile::load(q_tile, head.queries(q, a.size), query, COLUMNS);
            Tile::load(dy_tile, head.queries(dy, a.value_size), query, COLUMNS);
            bits.make(head, query, first, all);
            __syncthreads();
            Tile::multiply(weights, k_tile, q_tile, a.size);
            Tile::multiply(gradients, v_tile, dy_tile, a.value_size);
#pragma unroll
            for (int j = 0; j < Tile::PER_COLUMN; ++j) {
                const int column = Tile::column(j);
                const bool inside = query + column < a.length;
                const int64 place = head.row * a.length + query + column;
                const float lse = inside ? logsumexp[place] : 0.0f;
                const float sum = inside ? sums[place] : 0.0f;
#pragma unroll
                for (int i = 0; i < Tile::PER_ROW; ++i) {
                    const int row = Tile::row(i);
                    const bool seen = all || bits.is_seen(column, row);
                    const bool keep =
                        a.rate == 0.0f || bits.is_kept(head, query, first, column, row);
                    differentiate(weights[i][j], gradients[i][j], a, seen, keep, lse, sum);
                }
            }
            Tile::add_weighted(dv_total, weights, exchange, dy_tile);
            Tile::add_weighted(dk_total, gradients, exchange, q_tile);
        }
    }

    float scale[Tile::PER_ROW], one[Tile::PER_ROW];
#pragma unroll
    for (int i = 0; i < Tile::PER_ROW; ++i) {
        scale[i] = a.scale;
        one[i] = 1.0f;
    }
    Tile::store(first_head.keys(dk, a.size), first, dk_total, scale);
    Tile::store(first_head.keys(dv, a.value_size), first, dv_total, one);
}

// The same kernels for heads of several sizes, as in fused_attention.cu. Under a causal mask the last
// queries and the first keys meet the most: they go first.
#define GPUNET_ATTENTION_KERNELS(SIZE, ROWS, COLUMNS)                                             \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)                                 \
        fused_attention_backward_queries_size##SIZE(                                              \
            real* dq, float* sums, const real* dy, const real* y, const float* logsumexp,         \
            const real* q, const real* k, const real* v, GPUNET_ATTENTION_PARAMETERS)             \
    {                                                                                             \
        const Attention a = GPUNET_ATTENTION;                                                     \
        const int tile = causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x;                        \
        for (int pair = blockIdx.y; pair < batch * heads; pair += gridDim.y) {                    \
            attend_backward<SIZE, ROWS, COLUMNS>(                                                 \
                dq, sums, dy, y, logsumexp, q, k, v, Head(a, pair / heads, pair % heads),         \
                tile * ROWS);                                                                     \
        }                                                                                         \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)                                 \
        fused_attention_backward_keys_size##SIZE(                                                 \
            real* dk, real* dv, const float* sums, const real* dy, const float* logsumexp,        \
            const real* q, const real* k, const real* v, GPUNET_ATTENTION_PARAMETERS)             \
    {                                                                                             \
        const Attention a = GPUNET_ATTENTION;                                                     \
        for (int pair = blockIdx.y; pair < batch * key_heads; pair += gridDim.y) {                \
            attend_backward_keys<SIZE, ROWS, COLUMNS>(                                            \
                dk, dv, sums, dy, logsumexp, q, k, v, a, pair / key_heads, pair % key_heads,      \
                blockIdx.x * ROWS);                                                               \
        }                                                                                         \
    }

GPUNET_ATTENTION_KERNELS(32, 64, 32)
GPUNET_ATTENTION_KERNELS(64, 64, 32)
GPUNET_ATTENTION_KERNELS(128, 32, 16)
