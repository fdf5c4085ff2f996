// Metrics: what of a batch is right, and sums that are added to a metric's state.
//
//   weighted_totals   totals += (sum_i w_i values_i, sum_i w_i),  w = sample_weight or 1
//   matches           share = mean_j(x_j == l_j), or of (x_j > threshold) == l_j
//   top_k_accuracy    correct = 1 where fewer than k elements exceed the one at the label
//   top_k_filter      y = x where x is among the k largest of its row, else -1e10
//   threshold_counts  state[1..4] += true and false positives, true and false negatives of x > t
//   confusion_matrix  matrix[label, x] += w
//   argmax            y = the column of the largest element
//   moments           state += (sum w, sum w l, sum w l^2, sum w (l - x)^2, sum 1) of each column
//
// Shapes: x (rows, columns), but class numbers (rows) in confusion_matrix; labels like x, or class
// numbers (rows) where the symbol ends in _int32; sample_weight (rows) or null; state (5, outputs)
// in double, of which threshold_counts reads the thresholds first. x is real, all else float; class
// numbers and values, too. Aliasing: none.
//
// Bytes an element, read + written: 4 to 12 + 0, the least, from DRAM. The sums are small next to
// any layer, hence plain scalar loads: each output (a threshold, a cell, a column) has threads of
// its own that go over all elements, which the caches serve to the outputs' neighbours. Thus
// weighted sums, too, run in a fixed order without atomics. top_k_filter reads a row per element.
#include "common.cuh"

constexpr int THREADS = 256;
constexpr float LOWEST = -1e10f;  // what top_k_filter leaves, as in Keras

// Whether a exceeds b; a NaN exceeds every number.
__device__ __forceinline__ bool exceeds(float a, float b) { return !(a <= b); }

// ------------------------------------------------------------------------- one number a row

struct LargestFirst {
    __device__ __forceinline__ static bool above(float a, float b)
    {
        return a > b || (a != a && b == b);
    }
    __device__ __forceinline__ Best operator()(Best a, Best b) const
    {
        const bool second = above(b.value, a.value) ||
                            (!above(a.value, b.value) && b.index < a.index);
        return second ? b : a;
    }
};

// The first of the largest elements of a row, for all lanes of its group.
template <typename T>
__device__ __forceinline__ int largest_of_row(const T* row, const RowWalk& walk)
{
    Best best = nothing_yet();
    for (int j = walk.lane; j < walk.end(); j += walk.lanes) {
        if (LargestFirst::above((float)row[j], best.value)) {
            best = Best{(float)row[j], j};
        }
    }
    return group_reduce(best, LargestFirst(), walk.lanes).index;
}

__device__ __forceinline__ void store_row(float* y, const RowWalk& walk, float value)
{
    if (walk.lane == 0 && walk.row() < walk.rows) {
        y[walk.row()] = value;
    }
}

extern "C" __global__ void argmax(float* y, const real* x, int64 rows, int columns, int lanes)
{
    for (RowWalk walk(rows, columns, lanes); walk.more(); walk.next()) {
        store_row(y, walk, (float)largest_of_row(x + walk.row() * columns, walk));
    }
}

extern "C" __global__ void matches(float* share, const real* x, const float* labels,
                                   int has_threshold, float threshold, int64 rows, int columns,
                                   int lanes)
{
    for (RowWalk walk(rows, columns, lanes); walk.more(); walk.next()) {
        const int64 start = walk.row() * columns;
        float count = 0.0f;
        for (int j = walk.lane; j < walk.end(); j += walk.lanes) {
            const float value = (float)x[start + j];
            const float answer = has_threshold ? (value > threshold ? 1.0f : 0.0f) : value;
            count += answer == labels[start + j] ? 1.0f : 0.0f;
        }
        store_row(share, walk, group_sum(count, lanes) / columns);
    }
}

__device__ __forceinline__ int class_of_row(const int* labels, const RowWalk& walk)
{
    return walk.row() < walk.rows ? labels[walk.row()] : 0;
}
__device__ __forceinline__ int class_of_row(const float* labels, const RowWalk& walk)
{
    return largest_of_row(labels + walk.row() * walk.units, walk);
}

template <typename Label>
__device__ __forceinline__ void top_k_rows(float* correct, const real* x, const Label* labels,
                                           int k, int64 rows, int columns, int lanes)
{
    for (RowWalk walk(rows, columns, lanes); walk.more(); walk.next()) {
        const real* row = x + walk.row() * columns;
        const int label = class_of_row(labels, walk);
        const bool exists = label >= 0 && label < columns && walk.row() < rows;
        const float at_label = exists ? (float)row[label] : not_a_number();
        float above = 0.0f;
        for (int j = walk.lane; j < walk.end(); j += walk.lanes) {
            above += exceeds((float)row[j], at_label) ? 1.0f : 0.0f;
        }
        above = group_sum(above, lanes);
        store_row(correct, walk, above < k && at_label == at_label ? 1.0f : 0.0f);
    }
}

extern "C" __global__ void top_k_accuracy_int32(float* correct, const real* x, const int* labels,
                                                int k, int64 rows, int columns, int lanes)
{
    top_k_rows(correct, x, labels, k, rows, columns, lanes);
}

extern "C" __global__ void top_k_accuracy_float32(float* correct, const real* x,
                                                  const float* labels, int k, int64 rows,
                                                  int columns, int lanes)
{
    top_k_rows(correct, x, labels, k, rows, columns, lanes);
}

extern "C" __global__ void top_k_filter(real* y, const real* x, int64 size, int columns, int k,
                                        int ties)
{
    for (int64 i = grid_thread(); i < size; i += grid_threads()) {
        const int64 start = i / columns * columns;
        const float value = (float)x[i];
        int above = 0;
        for (int64 j = start; j < start + columns && above < k; ++j) {
            const float other = (float)x[j];
            above += exceeds(other, value) || (!ties && other == value && j < i);
        }
        y[i] = above < k && value == value ? x[i] : (real)LOWEST;
    }
}

// ---------------------------------------------------------------- sums over all elements
//
// threadIdx.x is an output, threadIdx.y and blockIdx.y deal the elements. A source says what an
// element adds to the SUMS sums of an output.

// Adds up the threads of a block that share an output, always in the same order; the first of them
// get the result. The block must call it together.
template <int SUMS>
__device__ void sum_down_block(double (&sums)[SUMS])
{
    __shared__ double of_thread[SUMS][THREADS];
    const int me = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();  // the results of an earlier call have been read
#pragma unroll
    for (int k = 0; k < SUMS; ++k) {
        of_thread[k][me] = sums[k];
    }
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.y < half) {
#pragma unroll
            for (int k = 0; k < SUMS; ++k) {
                of_thread[k][me] += of_thread[k][me + half * blockDim.x];
            }
        }
    }
    __syncthreads();
#pragma unroll
    for (int k = 0; k < SUMS; ++k) {
        sums[k] = of_thread[k][me];
    }
}

// state (SUMS, outputs) += the sums over all elements. The bands of elements meet in `partials`
// (gridDim.y, outputs, SUMS), which the last block of each strip (one ticket a strip) adds up.
template <int SUMS, typename Source>
__device__ __forceinline__ void add_sums(double* state, const Source& source, int outputs,
                                         int64 elements, double* partials, unsigned* tickets)
{
    const int output = blockIdx.x * blockDim.x + threadIdx.x;
    const bool mine = output < outputs;
    double sums[SUMS] = {};
    const int64 step = (int64)gridDim.y * blockDim.y;
    int64 element = (int64)blockIdx.y * blockDim.y + threadIdx.y;
    for (; element < elements && mine; element += step) {
        source.add(sums, output, element);
    }
    sum_down_block<SUMS>(sums);
    if (gridDim.y > 1) {
        if (threadIdx.y == 0 && mine) {
#pragma unroll
            for (int k = 0; k < SUMS; ++k) {
                partials[((int64)blockIdx.y * outputs + output) * SUMS + k] = sums[k];
            }
        }
        if (!is_last_block(&tickets[blockIdx.x], gridDim.y)) {
            return;
        }
#pragma unroll
        for (int k = 0; k < SUMS; ++k) {
            sums[k] = 0.0;
            for (int band = threadIdx.y; band < gridDim.y && mine; band += blockDim.y) {
                sums[k] += __ldcg(&partials[((int64)band * outputs + output) * SUMS + k]);
            }
        }
        sum_down_block<SUMS>(sums);
    }
    if (threadIdx.y == 0 && mine) {
#pragma unroll
        for (int k = 0; k < SUMS; ++k) {
            state[(int64)k * outputs + output] += sums[k];
        }
    }
}

__device__ __forceinline__ double weight_of(const float* sample_weight, int64 row)
{
    return sample_weight != nullptr ? (double)sample_weight[row] : 1.0;
}

struct Totals {
    const float* values;
    const float* sample_weight;

    __device__ __forceinline__ void add(double (&sums)[2], int, int64 row) const
    {
        const double weight = weight_of(sample_weight, row);
        sums[0] += weight * (double)values[row];
        sums[1] += weight;
    }
};

extern "C" __global__ void weighted_totals(double* totals, const float* values,
                                           const float* sample_weight, int outputs, int64 elements,
                                           double* partials, unsigned* tickets)
{
    add_sums<2>(totals, Totals{values, sample_weight}, outputs, elements, partials, tickets);
}

struct Moments {
    const real* x;
    const float* labels;
    const float* sample_weight;
    int columns;

    __device__ __forceinline__ void add(double (&sums)[5], int column, int64 row) const
    {
        const double weight = weight_of(sample_weight, row);
        const double label = labels[row * columns + column];
        const double error = label - (double)(float)x[row * columns + column];
        sums[0] += weight;
        sums[1] += weight * label;
        sums[2] += weight * label * label;
        sums[3] += weight * error * error;
        sums[4] += 1.0;
    }
};

extern "C" __global__ void moments(double* state, const real* x, const float* labels,
                                   const float* sample_weight, int outputs, int64 elements,
                                   double* partials, unsigned* tickets)
{
    const Moments source = {x, labels, sample_weight, outputs};
    add_sums<5>(state, source, outputs, elements, partials, tickets);
}

__device__ __forceinline__ bool is_positive(const int* labels, int64 row, int column, int64)
{
    return labels[row] == column;
}
__device__ __forceinline__ bool is_positive(const float* labels, int64, int, int64 place)
{
    return labels[place] != 0.0f;
}

// Output `group * thresholds + t`: one group of all elements, of one column's, or one a column.
template <typename Label>
struct ThresholdCounts {
    const double* state;
    const real* x;
    const Label* labels;
    const float* sample_weight;
    int thresholds, columns, together, column;

    __device__ __forceinline__ void add(double (&sums)[4], int output, int64 element) const
    {
        const int of_group = column + output / thresholds;
        const int64 place = together ? element : element * columns + of_group;
        const int64 row = together ? element / columns : element;
        const int at = together ? (int)(element - row * columns) : of_group;
        const bool predicted = (float)x[place] > (float)state[output];
        const bool positive = is_positive(labels, row, at, place);
        const double weight = weight_of(sample_weight, row);
        sums[0] += predicted && positive ? weight : 0.0;
        sums[1] += predicted && !positive ? weight : 0.0;
        sums[2] += !predicted && !positive ? weight : 0.0;
        sums[3] += !predicted && positive ? weight : 0.0;
    }
};

#define GPUNET_COUNTS_KERNEL(SYMBOL, LABEL)                                                       \
    extern "C" __global__ void SYMBOL(                                                            \
        double* state, const real* x, const LABEL* labels, const float* sample_weight,            \
        int thresholds, int columns, int together, int column, int outputs, int64 elements,       \
        double* partials, unsigned* tickets)                                                      \
    {                                                                                             \
        const ThresholdCounts<LABEL> source = {state,      x,       labels,   sample_weight,      \
                                               thresholds, columns, together, column};            \
        add_sums<4>(state + outputs, source, outputs, elements, partials, tickets);               \
    }

GPUNET_COUNTS_KERNEL(threshold_counts_int32, int)
GPUNET_COUNTS_KERNEL(threshold_counts_float32, float)

// The class of a number whose fraction is cut off; -1 if there is none.
__device__ __forceinline__ int class_number(int value, int classes)
{
    return value >= 0 && value < classes ? value : -1;
}
__device__ __forceinline__ int class_number(float value, int classes)
{
    return value > -1.0f && value < classes ? (int)value : -1;
}

template <typename Label>
struct ConfusionMatrix {
    const float* x;
    const Label* labels;
    const float* sample_weight;
    int classes, ignore_class;

    __device__ __forceinline__ void add(double (&sums)[1], int cell, int64 row) const
    {
        const int label = class_number(labels[row], classes);
        const bool counts = label == cell / classes && label != ignore_class &&
                            class_number(x[row], classes) == cell % classes;
        sums[0] += counts ? weight_of(sample_weight, row) : 0.0;
    }
};

#define GPUNET_CONFUSION_KERNEL(SYMBOL, LABEL)                                                    \
    extern "C" __global__ void SYMBOL(double* matrix, const float* x, const LABEL* labels,        \
                                      const float* sample_weight, int classes, int ignore_class,   \
                                      int outputs, int64 elements, double* partials,              \
                                      unsigned* tickets)                                          \
    {                                                                                             \
        const ConfusionMatrix<LABEL> source = {x, labels, sample_weight, classes, ignore_class};  \
        add_sums<1>(matrix, source, outputs, elements, partials, tickets);                        \
    }

GPUNET_CONFUSION_KERNEL(confusion_matrix_int32, int)
GPUNET_CONFUSION_KERNEL(confusion_matrix_float32, float)
