// Tiles of a matrix product: what the products of matrices and the convolutions share.
//
// A block of 16 x 16 threads owns one TILE x TILE tile of c = a b. Step by step it brings DEPTH
// columns of a and rows of b into shared memory; each thread then updates PER x PER elements of c in
// registers, so that a number from shared memory serves PER products. While a step is computed, the
// next one is already on its way into registers. Each element of c is summed by one thread, always in
// the same order.

constexpr int SIDE = 16;             // a block is SIDE x SIDE threads
constexpr int THREADS = SIDE * SIDE;
constexpr int QUAD = 4;              // elements of c in one store

// The columns of a and rows of b of one step: each thread loads 16 bytes of both.
__host__ __device__ constexpr int depth_of(int tile) { return PACK * THREADS / tile; }
// They in shared memory. What rows have more keeps them 16-byte aligned, and off the same banks.
template <int TILE>
using Tile = float[depth_of(TILE)][TILE + (PACK > QUAD ? TILE / 8 : QUAD)];

__host__ __device__ constexpr int smaller(int a, int b) { return a < b ? a : b; }

// A row-major matrix in global memory, or some neighbouring columns of one; `in_quads`, `in_packs`:
// QUAD or PACK elements may be moved in one access. Anything with the same load (or store) can take
// its place.
template <typename T>
struct Matrix {
    T* data;
    int rows, columns, stride;
    bool in_quads, in_packs;

    __device__ __forceinline__ Matrix(T* data_, int rows_, int columns_)
        : Matrix(data_, rows_, columns_, columns_)
    {
    }
    __device__ __forceinline__ Matrix(T* data_, int rows_, int columns_, int stride_)
        : data(data_), rows(rows_), columns(columns_), stride(stride_),
          in_quads(fits(QUAD)), in_packs(fits(PACK))
    {
    }
    __device__ __forceinline__ bool fits(int width) const
    {
        return columns % width == 0 && stride % width == 0 && is_aligned(data, width * sizeof(T));
    }

    // Called before loads of the same row, or of the same column, in every step.
    __device__ __forceinline__ void keep_row(int) {}
    __device__ __forceinline__ void keep_column(int) {}

    // The elements (row, column ...), 0 outside the matrix. If packed, a pack that begins at a
    // multiple of its width lies either inside or outside.
    template <int WIDTH>
    __device__ __forceinline__ RealPack<WIDTH> load(int row, int column) const
    {
        RealPack<WIDTH> result = {};
        const real* p = data + (int64)row * stride + column;
        if (row < rows && column < columns) {
            if constexpr (WIDTH <= QUAD) {
                result = load_quad<WIDTH>(p, column);
            } else if (in_packs) {
                result = load_pack<real, WIDTH>(p, 0);
            } else {
#pragma unroll 1  // more would not fit into the registers
                for (int part = 0; part < WIDTH && column + part < columns; part += QUAD) {
                    const RealPack<QUAD> quad = load_quad<QUAD>(p + part, column + part);
#pragma unroll
                    for (int j = 0; j < WIDTH; ++j) {  // registers have no addresses
                        result.v[j] = j / QUAD * QUAD == part ? quad.v[j % QUAD] : result.v[j];
                    }
                }
            }
        }
        return result;
    }
    // Of a row that is there, from a column that is there.
    template <int COUNT>
    __device__ __forceinline__ RealPack<COUNT> load_quad(const real* p, int column) const
    {
        if (in_quads) {
            return load_pack<real, COUNT>(p, 0);
        }
        RealPack<COUNT> result = {};
#pragma unroll
        for (int j = 0; j < COUNT; ++j) {
            if (column + j < columns) {
                result.v[j] = p[j];
            }
        }
        return result;
    }

    template <int WIDTH>
    __device__ __forceinline__ void store(int row, int column, const Pack<float, WIDTH>& values)
    {
        T* p = data + (int64)row * stride + column;
        if (row < rows && column < columns) {
            if (in_quads) {
                Pack<T, WIDTH> rounded;
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    rounded.v[j] = (T)values.v[j];
                }
                store_pack<T, WIDTH>(p, 0, rounded);
            } else {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    if (column + j < columns) {
                        p[j] = (T)values.v[j];
                    }
                }
            }
        }
    }
};

// Brings tiles of one operand into shared memory, where e counts rows of op(a) or columns of op(b).
// `along_e`: neighbours in memory differ in e (a transposed, b not), else in k. A pack along k goes
// to as many rows of the tile. Row k lies at place_of(k): with packs of 8, where the threads of a warp
// begin at k of 8 and more apart, they then write into neighbouring rows, TILE / 8 banks apart.
template <int TILE, typename Source>
struct Operand {
    static constexpr int DEPTH = depth_of(TILE);
    typedef Pack<unsigned, 16 / sizeof(unsigned)> Words;

    Source source;
    bool along_e;
    int e, k;     // the thread's pack begins here, k counted from the step's first
    Words ahead;  // its part of the next tile, on its way: a half alone would take a register

    __device__ __forceinline__ Operand(const Source& source_, bool along_e_, int first_e)
        : source(source_), along_e(along_e_)
    {
        const int pack = threadIdx.x;
        e = first_e + (along_e ? pack % (TILE / PACK) * PACK : pack / (DEPTH / PACK));
        k = along_e ? pack / (TILE / PACK) : pack % (DEPTH / PACK) * PACK;
        if (along_e) {
            source.keep_column(e);
        } else {
            source.keep_row(e);
        }
    }

    __device__ static __forceinline__ int place_of(int k)
    {
        return PACK > QUAD ? k % PACK * (DEPTH / PACK) + k / PACK : k;
    }

    __device__ __forceinline__ void fetch(int first_k)
    {
        const int row = along_e ? first_k + k : e, column = along_e ? e : first_k + k;
        const RealPack<PACK> pack = source.template load<PACK>(row, column);
        ahead = reinterpret_cast<const Words&>(pack);
    }

    __device__ __forceinline__ void put(Tile<TILE>& tile, int first_e) const
    {
        const RealPack<PACK> pack = reinterpret_cast<const RealPack<PACK>&>(ahead);
        if (along_e) {
#pragma unroll
            for (int j = 0; j < PACK; j += QUAD) {
                Pack<float, QUAD> quad;
#pragma unroll
                for (int i = 0; i < QUAD; ++i) {
                    quad.v[i] = (float)pack.v[j + i];
                }
                store_pack<float, QUAD>(&tile[place_of(k)][e - first_e + j], 0, quad);
            }
        } else {
#pragma unroll
            for (int j = 0; j < PACK; ++j) {
                tile[place_of(k + j)][e - first_e] = (float)pack.v[j];
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

// ----------------------------------------------------------------------------------- the product

// Adds to a thread's part of the tile of c what the tiles of op(a) and op(b) contribute.
template <int PER>
__device__ __forceinline__ void multiply(float (&sums)[PER][PER], const Tile<SIDE * PER>& a_tile,
                                         const Tile<SIDE * PER>& b_tile, int down, int across)
{
    // More would not fit into 128 registers, with which two blocks share a processor.
    constexpr int UNROLLED = PACK > QUAD ? 1 : 2;
#pragma unroll UNROLLED
    for (int k = 0; k < depth_of(SIDE * PER); ++k) {
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
template <int PER, typename Target, typename Epilogue>
__device__ __forceinline__ void store_tile(Target c, float (&sums)[PER][PER],
                                           const Epilogue& epilogue, int first_row,
                                           int first_column, int down, int across)
{
    using Side = Stripe<PER>;
    // Not unrolled, because the epilogue is long. Registers cannot be indexed by a variable, hence
    // the next group of a row moves to its beginning, and the next row down to row 0.
#pragma unroll 1
    for (int i = 0; i < PER; ++i) {
        const int row = first_row + Side::place(i / Side::GROUP, down) + i % Side::GROUP;
#pragma unroll 1
        for (int group = 0; group < Side::GROUPS; ++group) {
            const int column = first_column + Side::place(group, across);
            Pack<float, Side::GROUP> values;
#pragma unroll
            for (int j = 0; j < PER; ++j) {
                if (j < Side::GROUP) {
                    values.v[j] = sums[0][j];
                } else {
                    sums[0][j - Side::GROUP] = sums[0][j];
                }
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

// Which k a product is summed over: all, or the share of one of several blocks.
struct Range {
    int first, last;
};

// One tile of c = a b, which the block's number (x) says: c (m, n), the sides of a and b that are
// not summed over, are c's. `a_along_e`: a lies transposed in memory, (k, m); `b_along_e`: b does
// not, (k, n). column_sum is null, or gets the sums of b's columns from the first row of tiles.
template <int PER, typename Target, typename Left, typename Right, typename Epilogue>
__device__ __forceinline__ void multiply_tiles(const Target& c, const Left& a, bool a_along_e,
                                               const Right& b, bool b_along_e, Range range,
                                               const Epilogue& epilogue,
                                               real* column_sum = nullptr, bool accumulate = false)
{
    constexpr int TILE = SIDE * PER, DEPTH = depth_of(TILE);
    __shared__ __align__(16) Tile<TILE> a_tile, b_tile;
    const int thread = threadIdx.x, across = thread % SIDE, down = thread / SIDE;
    const unsigned tiles_across = (c.columns + TILE - 1) / TILE;
    const int first_row = blockIdx.x / tiles_across * TILE;
    const int first_column = blockIdx.x % tiles_across * TILE;
    Operand<TILE, Left> left(a, a_along_e, first_row);
    Operand<TILE, Right> right(b, b_along_e, first_column);
    const bool adds_columns = column_sum != nullptr && first_row == 0 && thread < TILE;
    float sums[PER][PER] = {};
    float column_total = 0.0f;

    left.fetch(range.first);
    right.fetch(range.first);
    for (int first_k = range.first; first_k < range.last; first_k += DEPTH) {
        __syncthreads();  // all have finished with the tiles of the step before
        left.put(a_tile, first_row);
        right.put(b_tile, first_column);
        __syncthreads();
        if (first_k + DEPTH < range.last) {
            left.fetch(first_k + DEPTH);
            right.fetch(first_k + DEPTH);
        }
        multiply<PER>(sums, a_tile, b_tile, down, across);
        if (adds_columns) {
            float of_step = 0.0f;  // two levels of sums lose less
#pragma unroll 1
            for (int k = 0; k < DEPTH; ++k) {
                of_step += b_tile[k][thread];
            }
            column_total += of_step;
        }
    }

    store_tile(c, sums, epilogue, first_row, first_column, down, across);
    if (adds_columns && first_column + thread < c.columns) {
        real& total = column_sum[first_column + thread];
        total = (real)(column_total + (accumulate ? (float)total : 0.0f));
    }
}
