// Tiles of a matrix product: what the products of matrices and the convolutions share.
//
// A block of 16 x 16 threads owns one TILE x TILE tile of c = a b. Step by step it brings DEPTH
// columns of a and rows of b into shared memory; each thread then updates PER x PER elements of c in
// registers, so that a number from shared memory serves PER products. While a step is computed, the
// next one is already on its way into registers. Each element of c is summed in the order of k by
// one thread, therefore always to the same bits.

constexpr int SIDE = 16;             // a block is SIDE x SIDE threads
constexpr int THREADS = SIDE * SIDE;
constexpr int QUAD = 4;              // elements in one load
constexpr int PADDING = 4;           // keeps rows of a tile 16-byte aligned, and off the same banks

__host__ __device__ constexpr int smaller(int a, int b) { return a < b ? a : b; }

// A row-major matrix in global memory, or some neighbouring columns of one; `packed`: quads of it may
// be moved in one access. Anything with the same load (or store) can take its place.
template <typename T>
struct Matrix {
    T* data;
    int rows, columns, stride;
    bool packed;

    __device__ __forceinline__ Matrix(T* data_, int rows_, int columns_)
        : Matrix(data_, rows_, columns_, columns_)
    {
    }
    __device__ __forceinline__ Matrix(T* data_, int rows_, int columns_, int stride_)
        : data(data_), rows(rows_), columns(columns_), stride(stride_),
          packed(columns_ % QUAD == 0 && stride_ % QUAD == 0
                 && is_aligned(data_, QUAD * sizeof(T)))
    {
    }

    // Called before loads of the same row, or of the same column, in every step.
    __device__ __forceinline__ void keep_row(int) {}
    __device__ __forceinline__ void keep_column(int) {}

    // The elements (row, column ...) as floats, 0 outside the matrix. If packed, a pack that begins
    // at a multiple of its width lies either inside or outside.
    template <int WIDTH>
    __device__ __forceinline__ Pack<float, WIDTH> load(int row, int column) const
    {
        Pack<float, WIDTH> result = {};
        const real* p = data + (int64)row * stride + column;
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
        T* p = data + (int64)row * stride + column;
        if (row < rows && column < columns) {
            if (packed) {
                Pack<T, WIDTH> pack;
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    pack.v[j] = (T)values.v[j];
                }
                store_pack<T, WIDTH>(p, 0, pack);
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

// Brings tiles of one operand into shared memory as tile[k][e], where e counts rows of op(a) or
// columns of op(b). `along_e`: neighbours in memory differ in e (a transposed, b not), else in k.
template <int TILE, int DEPTH, typename Source>
struct Operand {
    typedef float Tile[DEPTH][TILE + PADDING];
    static_assert(TILE * DEPTH == QUAD * THREADS, "each thread loads one quad of a tile");

    Source source;
    bool along_e;
    int e, k;                 // the thread's quad begins here, k counted from the step's first
    Pack<float, QUAD> ahead;  // its part of the next tile, on its way

    __device__ __forceinline__ Operand(const Source& source_, bool along_e_, int first_e)
        : source(source_), along_e(along_e_)
    {
        const int quad = threadIdx.x;
        e = first_e + (along_e ? quad % (TILE / QUAD) * QUAD : quad / (DEPTH / QUAD));
        k = along_e ? quad / (TILE / QUAD) : quad % (DEPTH / QUAD) * QUAD;
        if (along_e) {
            source.keep_column(e);
        } else {
            source.keep_row(e);
        }
    }

    __device__ __forceinline__ void fetch(int first_k)
    {
        ahead = along_e ? source.template load<QUAD>(first_k + k, e)
                        : source.template load<QUAD>(e, first_k + k);
    }

    __device__ __forceinline__ void put(Tile& tile, int first_e) const
    {
        if (along_e) {
            store_pack<float, QUAD>(&tile[k][e - first_e], 0, ahead);
        } else {
#pragma unroll
            for (int j = 0; j < QUAD; ++j) {
                tile[k + j][e - first_e] = ahead.v[j];
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
template <int PER, typename Target, typename Epilogue>
__device__ __forceinline__ void store_tile(Target c, float (&sums)[PER][PER],
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

// Which k a product is summed over: all, or the share of one of several blocks.
struct Range {
    int first, last;
};

// One tile of c = a b, which the block's number (x) says: c (m, n), the sides of a and b that are
// not summed over, are c's. `a_along_e`: a lies transposed in memory, (k, m); `b_along_e`: b does
// not, (k, n). column_sum is null, or gets the sums of b's columns from the first row of tiles.
template <int PER, int DEPTH, typename Target, typename Left, typename Right, typename Epilogue>
__device__ __forceinline__ void multiply_tiles(const Target& c, const Left& a, bool a_along_e,
                                               const Right& b, bool b_along_e, Range range,
                                               const Epilogue& epilogue,
                                               real* column_sum = nullptr, bool accumulate = false)
{
    constexpr int TILE = SIDE * PER;
    __shared__ __align__(16) float a_tile[DEPTH][TILE + PADDING], b_tile[DEPTH][TILE + PADDING];
    const int thread = threadIdx.x, across = thread % SIDE, down = thread / SIDE;
    const unsigned tiles_across = (c.columns + TILE - 1) / TILE;
    const int first_row = blockIdx.x / tiles_across * TILE;
    const int first_column = blockIdx.x % tiles_across * TILE;
    Operand<TILE, DEPTH, Left> left(a, a_along_e, first_row);
    Operand<TILE, DEPTH, Right> right(b, b_along_e, first_column);
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

    store_tile(c, sums, epilogue, first_row, first_column, down, across);
    if (adds_columns && first_column + thread < c.columns) {
        real& total = column_sum[first_column + thread];
        total = (real)(column_total + (accumulate ? (float)total : 0.0f));
    }
}
