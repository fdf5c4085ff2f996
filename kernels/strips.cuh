// Strips of columns whose rows are added up, or that have something in common for all of their rows.
//
// Blocks are (units, rows) rectangles of threads: blockIdx.x is the strip of columns, WIDTH of them
// for each thread of a row, blockIdx.y the band of rows. A thread walks down the rows of its WIDTH
// columns; before and after that the strip's columns, at most as many as the block has threads, are
// dealt to the block's threads one by one, so that neighbours read and write neighbours.

template <int WIDTH>
__device__ __forceinline__ int strip_columns() { return blockDim.x * WIDTH; }

__device__ __forceinline__ int strip_thread() { return threadIdx.y * blockDim.x + threadIdx.x; }

// This thread's own column; beyond the last one, that, so that each place of a line is written.
template <int WIDTH>
__device__ __forceinline__ int own_column(int columns)
{
    return min((int)blockIdx.x * strip_columns<WIDTH>() + strip_thread(), columns - 1);
}

// What is to be known of each column lies in shared memory, a line of floats for each quantity:
// computed once, by the thread whose own the column is, and read by all threads for the columns of
// their packs. Placed like this, no two threads of a warp meet in a bank.
typedef float Line[256 + WARP];

template <int WIDTH>
__device__ __forceinline__ int line_stride() { return blockDim.x | (WARP / WIDTH); }

template <int WIDTH>
__device__ __forceinline__ int line_place(int own)
{
    return own % WIDTH * line_stride<WIDTH>() + own / WIDTH;
}

template <int WIDTH>
__device__ __forceinline__ void read_line(float (&values)[WIDTH], const Line& line)
{
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        values[j] = line[j * line_stride<WIDTH>() + threadIdx.x];
    }
}

// The sum over the rows of threads for this thread's own column.
template <int WIDTH>
__device__ __forceinline__ float column_sum(float (&sums)[WIDTH], int across)
{
    const float* totals = sum_over_thread_rows<WIDTH>(sums, across);
    __syncthreads();
    const int thread = strip_thread();
    return totals[thread % WIDTH * SUM_STRIDE<WIDTH> + thread / WIDTH];
}

// Adds up SUMS numbers for each column over the rows of threads, and over bands through `partials`
// (bands, SUMS, columns): the last band of a strip adds those in order. True where `totals` are
// those of this thread's own column.
template <int WIDTH, int SUMS>
__device__ __forceinline__ bool finish_sums(float (&totals)[SUMS], float (&sums)[SUMS][WIDTH],
                                            int columns, float* partials, unsigned* ticket)
{
    const int width = strip_columns<WIDTH>(), start = blockIdx.x * width, own = strip_thread();
    const bool mine = own < width && start + own < columns;
#pragma unroll
    for (int s = 0; s < SUMS; ++s) {
        totals[s] = column_sum<WIDTH>(sums[s], blockDim.x);
    }
    if (gridDim.y == 1) {
        return mine;
    }
    if (mine) {
#pragma unroll
        for (int s = 0; s < SUMS; ++s) {
            partials[((int64)blockIdx.y * SUMS + s) * columns + start + own] = totals[s];
        }
    }
    if (!is_last_block(ticket, gridDim.y)) {
        return false;
    }
    constexpr int STEP = WIDTH % FLOAT_PACK == 0 ? FLOAT_PACK : 1;
    const int across = width / STEP, column = start + own % across * STEP;
    const int bands = column < columns ? gridDim.y : 0, step = blockDim.x * blockDim.y / across;
    float of_bands[SUMS][STEP] = {};
    for (int band = own / across; band < bands; band += step) {
#pragma unroll
        for (int s = 0; s < SUMS; ++s) {
            float of_band[STEP];
            load_floats<STEP>(of_band, partials + ((int64)band * SUMS + s) * columns + column);
#pragma unroll
            for (int j = 0; j < STEP; ++j) {
                of_bands[s][j] += of_band[j];
            }
        }
    }
#pragma unroll
    for (int s = 0; s < SUMS; ++s) {
        totals[s] = column_sum<STEP>(of_bands[s], across);
    }
    return mine;
}
