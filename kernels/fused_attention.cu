// Attention whose weights never exist in memory: each tile of them lives in registers.
//
//   fused_attention           y = dropout(weights) v, weights = softmax(scale q k^T)
//   fused_attention_backward  dq, dk and dv from dy; weights = exp(scale q k^T - logsumexp)
//
// Shapes: q (batch, length, heads, size), k (batch, keys, key_heads, size), v (batch, keys,
// key_heads, value_size), y and dy (batch, length, heads, value_size), logsumexp and sums (batch,
// heads, length); heads is a multiple of key_heads, and that many heads in a row share one of keys.
// The masks are bytes, 0 where a key is not seen: of queries (batch, length), of keys (batch, keys),
// of both (batch, length, keys); a null pointer has only ones. No aliasing.
//
// Method (Milakov and Gimelshein, 2018; Dao et al., 2022; Dao, 2023): a block owns some rows, which
// stay in shared memory, and goes along the columns, a tile at a time. Forward the rows are queries
// and the columns keys: the sums of each row are brought to a new largest score when there is one.
// Backward makes the weights again. Its first kernel has queries as rows and adds up dq, its second
// has keys as rows and adds up dk and dv, over all queries that share them: so nobody adds to what
// another block adds to, and sums are taken in a fixed order, always to the same bits.
//
// Bytes: a block reads its rows once and writes its results once; it reads the columns that its
// rows see once: k and v for each ROWS queries, q and dy for each ROWS keys. Products are float.
#include "common.cuh"
#include "gemm.cuh"

constexpr int DOWN = 8, TILE_THREADS = DOWN * SIDE;  // a block: SIDE threads across a row
constexpr int PADDING = 4;  // keeps rows in shared memory 16-byte aligned, and off the same banks
constexpr int CHUNK = 32;   // weights of a row that are exchanged at a time
constexpr int NUMBERS = 8;  // of one Philox block

typedef unsigned char byte;

// What the kernels know besides the arrays. window: a query sees keys nearer than this.
struct Attention {
    const byte *query_mask, *key_mask, *attention_mask;
    const uint64* random;
    float scale, rate;
    uint64 node;
    int causal, window, batch, heads, key_heads, length, keys, size, value_size;
};

// A head of a sample of an array (batch, rows, heads, size).
template <typename T>
__device__ __forceinline__ Matrix<T> head_of(T* data, int sample, int head, int rows, int heads,
                                             int size)
{
    const int64 start = ((int64)sample * rows * heads + head) * size;
    return Matrix<T>(data + start, rows, size, heads * size);
}

// A head of queries: which one, and what it sees.
struct Head {
    const Attention& a;
    int sample, head;
    int64 row;  // its number among all heads

    __device__ __forceinline__ Head(const Attention& a_, int sample_, int head_)
        : a(a_), sample(sample_), head(head_), row((int64)sample_ * a_.heads + head_)
    {
    }
    // Of a weight in the array (batch, heads, length, keys) of all.
    __device__ __forceinline__ int64 number(int query, int key) const
    {
        return (row * a.length + query) * a.keys + key;
    }
    __device__ __forceinline__ int key_head() const { return head / (a.heads / a.key_heads); }

    template <typename T>
    __device__ __forceinline__ Matrix<T> queries(T* data, int size) const
    {
        return head_of(data, sample, head, a.length, a.heads, size);
    }
    template <typename T>
    __device__ __forceinline__ Matrix<T> keys(T* data, int size) const
    {
        return head_of(data, sample, key_head(), a.keys, a.key_heads, size);
    }

    // Whether all weights of this tile are seen, as one can tell without the masks.
    __device__ __forceinline__ bool sees_all(int query, int queries, int key, int keys) const
    {
        const bool inside = query + queries <= a.length && key + keys <= a.keys;
        const bool before = !a.causal || key + keys - 1 <= query;
        const bool near = key + keys - query <= a.window && query + queries - key <= a.window;
        return inside && before && near && a.query_mask == nullptr && a.key_mask == nullptr
               && a.attention_mask == nullptr;
    }
    __device__ __forceinline__ bool sees(int query, int key) const
    {
        if (query >= a.length || key >= a.keys || (a.causal && key > query)
            || key - query >= a.window || query - key >= a.window) {
            return false;
        }
        const int64 of_query = (int64)sample * a.length + query;
        return (a.query_mask == nullptr || a.query_mask[of_query])
               && (a.key_mask == nullptr || a.key_mask[(int64)sample * a.keys + key])
               && (a.attention_mask == nullptr || a.attention_mask[of_query * a.keys + key]);
    }
};

// ------------------------------------------------------------------------ which weights are not 0

// For a tile that begins at a query and a key, a bit for each weight: whether it is seen, and
// whether it is kept. Those are numbers of op `dropout`: of the array of all weights number i is
// number i % 8 of Philox block i / 8.
template <int QUERIES, int KEYS>
struct Bits {
    static constexpr int WORDS = (KEYS + WARP - 1) / WARP;
    static constexpr int BYTES = KEYS / NUMBERS + 1;  // a row may begin within a block
    unsigned seen[QUERIES * WORDS];
    byte kept[QUERIES * BYTES];

    // The whole block makes the bits; a barrier must follow. `all`: they are all seen.
    __device__ __forceinline__ void make(const Head& head, int query, int key, bool all)
    {
        const int lane = threadIdx.x % WARP;
#pragma unroll 1
        for (int place = threadIdx.x / WARP; place < QUERIES * WORDS && !all;
             place += TILE_THREADS / WARP) {
            const int j = place % WORDS * WARP + lane;
            const bool sees = j < KEYS && head.sees(query + place / WORDS, key + j);
            const unsigned word = __ballot_sync(ALL_LANES, sees);
            if (lane == 0) {
                seen[place] = word;
            }
        }
#pragma unroll 1
        for (int place = threadIdx.x; place < QUERIES * BYTES && head.a.rate > 0.0f;
             place += TILE_THREADS) {
            kept[place] = draw(head, head.number(query + place / BYTES, key) / NUMBERS
                                         + place % BYTES);
        }
    }
    __device__ static __forceinline__ byte draw(const Head& head, int64 block)
    {
        const uint64* random = head.a.random;
        const Words4 words = philox4x64(block + 1, head.a.node, random[1], 0, random[0], 0);
        unsigned bits = 0;
#pragma unroll
        for (int j = 0; j < NUMBERS; ++j) {
            const unsigned word = (unsigned)(words.word[j / 2] >> (32 * (j % 2)));
            bits |= (unsigned)(uniform(word) >= head.a.rate) << j;
        }
        return (byte)bits;
    }
    // Of the tile's query i and key j.
    __device__ __forceinline__ bool is_seen(int i, int j) const
    {
        return seen[i * WORDS + j / WARP] >> j % WARP & 1;
    }
    __device__ __forceinline__ bool is_kept(const Head& head, int query, int key, int i,
                                            int j) const
    {
        const unsigned place = (unsigned)head.number(query + i, key) % NUMBERS + j;
        return kept[i * BYTES + place / NUMBERS] >> place % NUMBERS & 1;
    }
};

// --------------------------------------------------------------------------------------- tiles

// How a block shares a tile of weights, ROWS x COLUMNS, of heads of up to SIZE numbers: a thread
// has PER_ROW neighbouring rows and every SIDE-th column, and of what is summed over the columns
// the same rows and PER_SIZE numbers. The SIDE threads of a row are half of a warp.
template <int SIZE, int ROWS, int COLUMNS>
struct Tiling {
    static constexpr int STRIDE = SIZE + PADDING;
    static constexpr int PER_ROW = ROWS / DOWN, PER_COLUMN = COLUMNS / SIDE, PER_SIZE = SIZE / SIDE;
    static constexpr int WIDTH = smaller(COLUMNS, CHUNK), PER_CHUNK = WIDTH / SIDE;
    static constexpr int WEIGHTS_STRIDE = WIDTH + PADDING;
    static constexpr int ROW_FLOATS = ROWS * STRIDE, COLUMN_FLOATS = COLUMNS * STRIDE;
    using Side = Stripe<PER_SIZE>;

    typedef float Weights[PER_ROW][PER_COLUMN];
    typedef float Sums[PER_ROW][PER_SIZE];

    __device__ static __forceinline__ int across() { return threadIdx.x % SIDE; }
    __device__ static __forceinline__ int row(int i) { return threadIdx.x / SIDE * PER_ROW + i; }
    __device__ static __forceinline__ int column(int j) { return j * SIDE + across(); }

    // Brings `count` rows of a matrix into shared memory, zeros where it has none.
    __device__ static __forceinline__ void load(float* tile, const Matrix<const real>& from,
                                                int first, int count)
    {
        if (from.in_quads) {
            load_packs<QUAD>(tile, from, first, count);
        } else {
            load_packs<1>(tile, from, first, count);
        }
    }
    template <int WIDE>
    __device__ static __forceinline__ void load_packs(float* tile, const Matrix<const real>& from,
                                                      int first, int count)
    {
        constexpr int PACKS = SIZE / WIDE, UNROLLED = WIDE == QUAD ? 2 : 1;
#pragma unroll UNROLLED
        for (int i = threadIdx.x; i < count * PACKS; i += TILE_THREADS) {
            const int row = i / PACKS, column = i % PACKS * WIDE;
            Pack<float, WIDE> values = {};
            if (first + row < from.rows && column < from.columns) {
                const Pack<real, WIDE> pack = load_pack<real, WIDE>(
                    from.data + (int64)(first + row) * from.stride + column, 0);
#pragma unroll
                for (int j = 0; j < WIDE; ++j) {
                    values.v[j] = (float)pack.v[j];
                }
            }
            store_pack<float, WIDE>(tile + row * STRIDE + column, 0, values);
        }
    }

    // products = rows columns^T, over the numbers of a head.
    __device__ static __forceinline__ void multiply(Weights& products, const float* rows,
                                                    const float* columns, int size)
    {
#pragma unroll
        for (int i = 0; i < PER_ROW; ++i) {
#pragma unroll
            for (int j = 0; j < PER_COLUMN; ++j) {
                products[i][j] = 0.0f;
            }
        }
#pragma unroll 1
        for (int k = 0; k < size; k += QUAD) {
            Pack<float, QUAD> a[PER_ROW], b[PER_COLUMN];
#pragma unroll
            for (int i = 0; i < PER_ROW; ++i) {
                a[i] = load_pack<float, QUAD>(rows + row(i) * STRIDE + k, 0);
            }
#pragma unroll
            for (int j = 0; j < PER_COLUMN; ++j) {
                b[j] = load_pack<float, QUAD>(columns + column(j) * STRIDE + k, 0);
            }
#pragma unroll
            for (int t = 0; t < QUAD; ++t) {
#pragma unroll
                for (int i = 0; i < PER_ROW; ++i) {
#pragma unroll
                    for (int j = 0; j < PER_COLUMN; ++j) {
                        products[i][j] += a[i].v[t] * b[j].v[t];
                    }
                }
            }
        }
    }

    // sums += weights columns, over the tile's columns. The threads of a row exchange its weights
    // through shared memory that no other warp uses.
    __device__ static __forceinline__ void add_weighted(Sums& sums, const Weights& weights,
                                                        float* exchange, const float* columns)
    {
#pragma unroll
        for (int chunk = 0; chunk < COLUMNS / WIDTH; ++chunk) {
            __syncwarp();  // what was exchanged before has been read
#pragma unroll
            for (int i = 0; i < PER_ROW; ++i) {
#pragma unroll
                for (int j = 0; j < PER_CHUNK; ++j) {
                    exchange[row(i) * WEIGHTS_STRIDE + column(j)] =
                        weights[i][chunk * PER_CHUNK + j];
                }
            }
            __syncwarp();
#pragma unroll 1
            for (int k = 0; k < WIDTH; k += QUAD) {
                Pack<float, QUAD> a[PER_ROW];
#pragma unroll
                for (int i = 0; i < PER_ROW; ++i) {
                    a[i] = load_pack<float, QUAD>(exchange + row(i) * WEIGHTS_STRIDE + k, 0);
                }
#pragma unroll
                for (int t = 0; t < QUAD; ++t) {
                    float b[PER_SIZE];
                    Side::read(b, columns + (chunk * WIDTH + k + t) * STRIDE, across());
#pragma unroll
                    for (int i = 0; i < PER_ROW; ++i) {
#pragma unroll
                        for (int j = 0; j < PER_SIZE; ++j) {
                            sums[i][j] += a[i].v[t] * b[j];
                        }
                    }
                }
            }
        }
    }

    // Writes factors[i] sums[i] as rows of a matrix from row `first` on. Not unrolled, as it is
    // long; registers cannot be indexed by a variable, hence the next row moves down to row 0.
    __device__ static __forceinline__ void store(Matrix<real> to, int first, Sums& sums,
                                                 float (&factors)[PER_ROW])
    {
#pragma unroll 1
        for (int i = 0; i < PER_ROW; ++i) {
#pragma unroll
            for (int group = 0; group < Side::GROUPS; ++group) {
                Pack<float, Side::GROUP> values;
#pragma unroll
                for (int j = 0; j < Side::GROUP; ++j) {
                    values.v[j] = factors[0] * sums[0][group * Side::GROUP + j];
                }
                to.store(first + row(i), Side::place(group, across()), values);
            }
#pragma unroll
            for (int next = 1; next < PER_ROW; ++next) {
                factors[next - 1] = factors[next];
#pragma unroll
                for (int j = 0; j < PER_SIZE; ++j) {
                    sums[next - 1][j] = sums[next][j];
                }
            }
        }
    }
};

// ------------------------------------------------------------------------------------- forward

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

// ------------------------------------------------------------------------------------ backward

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

// ------------------------------------------------------------------------------------- kernels

#define GPUNET_ATTENTION_PARAMETERS                                                               \
    const byte *query_mask, const byte *key_mask, const byte *attention_mask,                     \
        const uint64 *random, float scale, float rate, uint64 node, int causal, int window,       \
        int batch, int heads, int key_heads, int length, int keys, int size, int value_size
#define GPUNET_ATTENTION                                                                          \
    {query_mask, key_mask, attention_mask, random, scale, rate,      node,  causal, window,       \
     batch,      heads,    key_heads,      length, keys,  size, value_size}

// The same kernels for heads of several sizes: NAME_size64 and so on, for blocks of TILE_THREADS
// threads. Their tiles are as large as 64 KB of shared memory allow, which every device has. Under
// a causal mask the last queries and the first keys meet the most: they go first.
#define GPUNET_ATTENTION_KERNELS(SIZE, ROWS, COLUMNS, BACKWARD_ROWS, BACKWARD_COLUMNS)            \
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
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)                                 \
        fused_attention_backward_queries_size##SIZE(                                              \
            real* dq, float* sums, const real* dy, const real* y, const float* logsumexp,         \
            const real* q, const real* k, const real* v, GPUNET_ATTENTION_PARAMETERS)             \
    {                                                                                             \
        const Attention a = GPUNET_ATTENTION;                                                     \
        const int tile = causal ? gridDim.x - 1 - blockIdx.x : blockIdx.x;                        \
        for (int pair = blockIdx.y; pair < batch * heads; pair += gridDim.y) {                    \
            attend_backward<SIZE, BACKWARD_ROWS, BACKWARD_COLUMNS>(                               \
                dq, sums, dy, y, logsumexp, q, k, v, Head(a, pair / heads, pair % heads),         \
                tile * BACKWARD_ROWS);                                                            \
        }                                                                                         \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(TILE_THREADS, 2)                                 \
        fused_attention_backward_keys_size##SIZE(                                                 \
            real* dk, real* dv, const float* sums, const real* dy, const float* logsumexp,        \
            const real* q, const real* k, const real* v, GPUNET_ATTENTION_PARAMETERS)             \
    {                                                                                             \
        const Attention a = GPUNET_ATTENTION;                                                     \
        for (int pair = blockIdx.y; pair < batch * key_heads; pair += gridDim.y) {                \
            attend_backward_keys<SIZE, BACKWARD_ROWS, BACKWARD_COLUMNS>(                          \
                dk, dv, sums, dy, logsumexp, q, k, v, a, pair / key_heads, pair % key_heads,      \
                blockIdx.x * BACKWARD_ROWS);                                                      \
        }                                                                                         \
    }

GPUNET_ATTENTION_KERNELS(32, 64, 64, 64, 32)
GPUNET_ATTENTION_KERNELS(64, 64, 64, 64, 32)
GPUNET_ATTENTION_KERNELS(128, 64, 32, 32, 16)
