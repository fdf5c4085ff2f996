// Attention whose weights never exist in memory: each tile of them lives in registers.
//
//   fused_attention  y = dropout(weights) v, weights = softmax(scale q k^T)
//
// Shapes: q (batch, length, heads, size), k (batch, keys, key_heads, size), v (batch, keys,
// key_heads, value_size), y (batch, length, heads, value_size), logsumexp (batch, heads, length);
// heads is a multiple of key_heads, and that many heads in a row share one of keys. The masks are
// bytes, 0 where a key is not seen: of queries (batch, length), of keys (batch, keys), of both (batch,
// length, keys); a null pointer has only ones. No aliasing.
//
// Method (Milakov and Gimelshein, 2018; Dao et al., 2022; Dao, 2023): a block owns some queries,
// which stay in shared memory, and goes along the keys, a tile at a time. The sums of each row are
// brought to a new largest score when there is one. They are taken in a fixed order, always to the
// same bits.
//
// Bytes: a block reads its queries once and writes its results once; k and v are read once for each
// ROWS queries that see them. Products are float.
#include "common.cuh"
#include "philox.cuh"
#include "gemm.cuh"
#include "fused_attention.cuh"

// One tile of queries of a head.
template <int SIZE, int ROWS, int COLUMNS>
__device__ __forceinline__ void attend(real* y, float* logsumexp, const real* q, const real* k,
                                       const real* v, const Head& head, int first)
{
    using Tile = Tiling<SIZE, ROWS, COLUMNS>;
    extern __shared__ __align__(16) float tiles[];
    __shared__ Bits<ROWS, COLUMNS> bits;
    float* const queries = tiles;
    float* const columns = queries + Tile::ROW_FLOATS;  // keys, then their values
    float* const exchange = columns + Tile::COLUMN_FLOATS;
    const Attention& a = head.a;
    const Matrix<const real> keys = head.keys(k, a.size), values = head.keys(v, a.value_size);
    typename Tile::Sums sums = {};
    float largest[Tile::PER_ROW], total[Tile::PER_ROW];
#pragma unroll
    for (int i = 0; i < Tile::PER_ROW; ++i) {
        largest[i] = minus_infinity();
        total[i] = 0.0f;
    }

    __syncthreads();  // all have finished with the tile before
    Tile::load(queries, head.queries(q, a.size), first, ROWS);
    const int end = smaller(a.keys, (a.causal ? first : first + a.window - 1) + ROWS);
    for (int key = max(0, first - a.window + 1); key < end; key += COLUMNS) {
        const bool all = head.sees_all(first, ROWS, key, COLUMNS);
        typename Tile::Weights weights;
        __syncthreads();  // all have finished with the values before
        Tile::load(columns, keys, key, COLUMNS);
        bits.make(head, first, key, all);
        __syncthreads();
        Tile::multiply(weights, queries, columns, a.size);
#pragma unroll
        for (int i = 0; i < Tile::PER_ROW; ++i) {
            float of_tile = minus_infinity();
#pragma unroll
            for (int j = 0; j < Tile::PER_COLUMN; ++j) {
                const bool seen = all || bits.is_seen(Tile::row(i), Tile::column(j));
                weights[i][j] = seen ? weights[i][j] * a.scale : minus_infinity();
                of_tile = fmaxf(of_tile, weights[i][j]);
            }
            of_tile = fmaxf(largest[i], warp_reduce(of_tile, Larger(), SIDE));
            const float shift = of_tile == minus_infinity() ? 0.0f : of_tile;  // none is seen yet
            const float factor = expf(largest[i] - shift);
            largest[i] = of_tile;
            total[i] *= factor;
#pragma unroll
            for (int j = 0; j < Tile::PER_SIZE; ++j) {
                sums[i][j] *= factor;
            }
#pragma unroll
            for (int j = 0; j < Tile::PER_COLUMN; ++j) {
                weights[i][j] = expf(weights[i][j] - shift);
                total[i] += weights[i][j];
                if (a.rate > 0.0f
                    && !bits.is_kept(head, first, key, Tile::row(i), Tile::column(j))) {
                    weights[i][j] = 0.0f;
                }
            }
        }
        __syncthreads();  // all have finished with the keys
        Tile::load(columns, values, key, COLUMNS);
        __syncthreads();
        Tile::add_weighted(sums, weights, exchange, columns);
    }

    float factors[Tile::PER_ROW];
#pragma unroll
    for (int i = 0; i < Tile::PER_ROW; ++i) {
        // The largest score adds 1, if there is one.
        const float sum = at_least(warp_reduce(total[i], Plus(), SIDE), 1.0f);
        factors[i] = 1.0f / (sum * (1.0f - a.rate));
        if (Tile::across() == 0 && first + Tile::row(i) < a.length) {
            logsumexp[head.row * a.length + first + Tile::row(i)] = largest[i] + logf(sum);
        }
    }
    Tile::store(head.queries(y, a.value_size), first, sums, factors);
}

// The same kernel for heads of several sizes: fused_attention_size64 and so on, for blocks of
// TILE_THREADS threads. Its tiles are as large as 64 KB of shared memory allow, which every device
// has. Under a causal mask the last queries meet the most keys: they go first.
#define GPUNET_ATTENTION_KERNEL(SIZE, ROWS, COLUMNS)                                              \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2) fused_attention_size##SIZE(     \
        real* y, float* logsumexp, const real* q, const real* k, const real* v,                   \
        GPUNET_ATTENTION_PARAMETERS)                                                              \
    {                                                                                             \
        const Attention a = GPUNET_ATTENTION;                                                     \
        const int tile = causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x;                        \
        for (int pair = blockIdx.y; pair < batch * heads; pair += gridDim.y) {                    \
            attend<SIZE, ROWS, COLUMNS>(y, logsumexp, q, k, v,                                    \
                                        Head(a, pair / heads, pair % heads), tile * ROWS);        \
        }                                                                                         \
    }

GPUNET_ATTENTION_KERNEL(32, 64, 64)
GPUNET_ATTENTION_KERNEL(64, 64, 64)
GPUNET_ATTENTION_KERNEL(128, 64, 32)
