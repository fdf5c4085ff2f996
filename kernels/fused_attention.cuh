// What fused attention shares, forward and backward: heads and what they see, dropout's numbers, tiles.
//
// A block owns some rows, which stay in shared memory, and goes along the columns, a tile at a time.

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

// ------------------------------------------------------------------------- arguments of all kernels

#define GPUNET_ATTENTION_PARAMETERS                                                               \
    const byte *query_mask, const byte *key_mask, const byte *attention_mask,                     \
        const uint64 *random, float scale, float rate, uint64 node, int causal, int window,       \
        int batch, int heads, int key_heads, int length, int keys, int size, int value_size
#define GPUNET_ATTENTION                                                                          \
    {query_mask, key_mask, attention_mask, random, scale, rate,      node,  causal, window,       \
     batch,      heads,    key_heads,      length, keys,  size, value_size}
