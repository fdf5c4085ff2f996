// Losses: value, gradient, hits and running totals in ONE launch.
//
//   dx = scale w dloss/dx,  loss = w * loss of the row,  correct = 1 where predicted right, else 0,
//   totals += (sum of loss, rows),  accuracy_totals += (sum of correct, rows),  w = sample_weight
//
//   softmax_cross_entropy  loss = sum_j l_j (log(sum(exp(x))) - x_j), from logits
//   cross_entropy          loss = -sum_j l_j log(p_j), p = x / sum(x) clipped
//   sigmoid_cross_entropy  loss = mean_j(max(x, 0) - x l + log(1 + exp(-|x|)))
//   binary_cross_entropy   loss = -mean_j(l log(p) + (1 - l) log(1 - p)), p = x clipped
//   mean_squared_error     loss = mean_j (x - l)^2
//   accuracy               hits alone
//
// Shapes: x, dx (rows, columns); labels (rows, columns), or class numbers (rows) where the symbol
// ends in _int32; loss, correct, sample_weight (rows). dx, correct, accuracy_totals and
// sample_weight may be null. Aliasing: dx = x.
//
// Bytes an element, read + written: class numbers 4 + 4, labels as rows 8 + 4; besides 12 to 16 a
// row for loss, correct, class number and weight. That is the least; rows that do not fit on chip
// are read a second time (cross_entropy: a third time). Several narrow rows share a warp, a wide
// one has a block.
#include "common.cuh"

constexpr float CLIP_LOW = 1e-7f, CLIP_HIGH = 1.0f - 1e-7f;  // Keras' epsilon

// What all losses write, beside dx.
struct Outputs {
    real* loss;
    real* correct;
    double* totals;
    double* accuracy_totals;
    const real* sample_weight;
    double* partials;  // 2 a block
    unsigned* ticket;
};

// ------------------------------------------------------------------------------------ labels
//
// Both kinds of labels look like rows of numbers; of a class number the row is never stored.

template <int WIDTH>
struct ClassLabel {
    int label, columns;

    __device__ __forceinline__ ClassLabel(const int* labels, int64 row, bool inside, int columns_,
                                          Pack<real, WIDTH>*)
        : label(inside ? labels[row] : 0), columns(columns_)
    {
    }
    __device__ __forceinline__ Pack<real, WIDTH> first(int unit, int) const
    {
        Pack<real, WIDTH> pack;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            pack.v[j] = unit * WIDTH + j == label ? 1.0f : 0.0f;
        }
        return pack;
    }
    __device__ __forceinline__ Pack<real, WIDTH> again(int unit, int step) const
    {
        return first(unit, step);
    }
    // A class that does not exist makes the loss NaN, and the gradient with it.
    __device__ __forceinline__ float sum(float, int) const
    {
        return label >= 0 && label < columns ? 1.0f : not_a_number();
    }
    __device__ __forceinline__ int target(Best, int) const { return label; }
    __device__ __forceinline__ bool is_positive(Best) const { return label > 0; }
};

template <int WIDTH>
struct DenseLabel : RowReader<WIDTH> {
    __device__ __forceinline__ DenseLabel(const real* labels, int64 row, bool, int columns,
                                          Pack<real, WIDTH>* cache)
        : RowReader<WIDTH>{labels + row * columns, cache}
    {
    }
    __device__ __forceinline__ float sum(float of_thread, int lanes) const
    {
        return group_sum(of_thread, lanes);
    }
    __device__ __forceinline__ int target(Best of_thread, int lanes) const
    {
        return group_reduce(of_thread, Better(), lanes).index;
    }
    // With one column the label itself says which of two classes it is.
    __device__ __forceinline__ bool is_positive(Best of_thread) const
    {
        return of_thread.value > 0.5f;
    }
};

template <int WIDTH>
__device__ __forceinline__ ClassLabel<WIDTH> label_type(const int*);
template <int WIDTH>
__device__ __forceinline__ DenseLabel<WIDTH> label_type(const real*);

// ------------------------------------------------------------------------------ small pieces

// p inside the limits; a NaN stays one.
__device__ __forceinline__ float clip(float p)
{
    return p < CLIP_LOW ? CLIP_LOW : (p > CLIP_HIGH ? CLIP_HIGH : p);
}

__device__ __forceinline__ bool is_clipped(float p) { return p < CLIP_LOW || p > CLIP_HIGH; }

// Sums over rows: each thread that leads a row adds up its own rows, the block its threads, and
// the last block the blocks, all in a fixed order and in double.
struct Sums {
    double loss, correct;

    __device__ __forceinline__ void add(const Outputs& out, int64 row, float row_loss, bool right)
    {
        if (out.loss != nullptr) {
            out.loss[row] = (real)row_loss;
        }
        if (out.correct != nullptr) {
            out.correct[row] = right ? 1.0f : 0.0f;
        }
        loss += row_loss;
        correct += right;
    }

    __device__ void finish(const Outputs& out, int64 rows)
    {
        loss = block_sum(loss);
        correct = block_sum(correct);
        if (threadIdx.x == 0) {
            out.partials[2 * blockIdx.x] = loss;
            out.partials[2 * blockIdx.x + 1] = correct;
        }
        if (!is_last_block(out.ticket, gridDim.x)) {
            return;
        }
        loss = correct = 0.0;
        for (int block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
            loss += __ldcg(&out.partials[2 * block]);
            correct += __ldcg(&out.partials[2 * block + 1]);
        }
        loss = block_sum(loss);
        correct = block_sum(correct);
        if (threadIdx.x == 0 && out.totals != nullptr) {
            out.totals[0] += loss;
            out.totals[1] += rows;
        }
        if (threadIdx.x == 0 && out.accuracy_totals != nullptr) {
            out.accuracy_totals[0] += correct;
            out.accuracy_totals[1] += rows;
        }
    }
};

__device__ __forceinline__ float weight_of(const Outputs& out, int64 row, bool inside)
{
    return inside && out.sample_weight != nullptr ? (float)out.sample_weight[row] : 1.0f;
}

// --------------------------------------------------- cross entropies over the whole row

// Logits. First pass: largest, sum(exp), the labels' sum; second pass: the loss and dx.
template <int WIDTH>
struct SoftmaxCrossEntropy {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, float scale, bool& right)
    {
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        Best best = nothing_yet(), target = nothing_yet();
        float label_sum = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> logits = x.first(unit, step), label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                state.add((float)logits.v[j]);
                keep_best(best, (float)logits.v[j], unit * WIDTH + j);
                keep_best(target, (float)label.v[j], unit * WIDTH + j);
                label_sum += (float)label.v[j];
            }
        }
        best = group_reduce(best, Better(), walk.lanes);
        right = best.index == labels.target(target, walk.lanes);
        state.finish(best.value, walk.lanes);
        label_sum = labels.sum(label_sum, walk.lanes);
        const float log_sum = logf(state.sum), factor = label_sum / state.sum;
        float loss = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> logits = x.again(unit, step);
            const Pack<real, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float shifted = (float)logits.v[j] - state.largest;
                loss += (float)label.v[j] * (log_sum - shifted);
                logits.v[j] = (real)(scale * (expf(shifted) * factor - (float)label.v[j]));
            }
            if (dx != nullptr) {
                store_pack<real, WIDTH>(dx, unit, logits);
            }
        }
        // 0 label_sum carries the NaN of a class that does not exist.
        return group_sum(loss, walk.lanes) + 0.0f * label_sum;
    }
};

// Probabilities. With g_j = -l_j / p_j, or 0 where p_j is clipped, the gradient of
// x_i is (g_i - sum_j g_j p_j) / sum(x) = (g_i + sum of the unclipped labels) / sum(x).
template <int WIDTH>
struct CrossEntropy {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, float scale, bool& right)
    {
        Best best = nothing_yet(), target = nothing_yet();
        float sum = 0.0f, label_sum = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.first(unit, step), label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sum += (float)values.v[j];
                label_sum += (float)label.v[j];
                keep_best(best, (float)values.v[j], unit * WIDTH + j);
                keep_best(target, (float)label.v[j], unit * WIDTH + j);
            }
        }
        best = group_reduce(best, Better(), walk.lanes);
        right = best.index == labels.target(target, walk.lanes);
        sum = group_sum(sum, walk.lanes);
        const float no_class = 0.0f * labels.sum(label_sum, walk.lanes);  // NaN without a class
        float loss = 0.0f, unclipped = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.again(unit, step), label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float p = (float)values.v[j] / sum;
                loss -= (float)label.v[j] * logf(clip(p));
                unclipped += is_clipped(p) ? 0.0f : (float)label.v[j];
            }
        }
        loss = group_sum(loss, walk.lanes) + no_class;
        unclipped = group_sum(unclipped, walk.lanes) + no_class;
        if (dx != nullptr) {
            write_gradient(dx, x, labels, walk, scale / sum, sum, unclipped);
        }
        return loss;
    }

    template <typename Label>
    __device__ static void write_gradient(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                          const RowWalk& walk, float factor, float sum,
                                          float unclipped)
    {
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.again(unit, step);
            const Pack<real, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float p = (float)values.v[j] / sum;
                const float through_log = is_clipped(p) ? 0.0f : (float)label.v[j] / p;
                values.v[j] = (real)(factor * (unclipped - through_log));
            }
            store_pack<real, WIDTH>(dx, unit, values);
        }
    }
};

// ------------------------------------------------- means of a term of each element, one pass

struct Term {
    float loss, gradient;
};

struct SigmoidTerm {
    static constexpr float THRESHOLD = 0.0f;  // one column: x above it means class 1
    __device__ static Term at(float x, float label)
    {
        const float loss = fmaxf(x, 0.0f) - x * label + log1pf(expf(-fabsf(x)));
        return Term{loss, sigmoid(x) - label};
    }
};

struct BinaryTerm {
    static constexpr float THRESHOLD = 0.5f;
    __device__ static Term at(float x, float label)
    {
        const float p = clip(x);
        const float loss = -(label * logf(p) + (1.0f - label) * log1pf(-p));
        const float gradient = (1.0f - label) / (1.0f - p) - label / p;
        return Term{loss, is_clipped(x) ? 0.0f : gradient};
    }
};

struct SquaredTerm {
    static constexpr float THRESHOLD = 0.0f;  // has no accuracy
    __device__ static Term at(float x, float label)
    {
        const float difference = x - label;
        return Term{difference * difference, 2.0f * difference};
    }
};

template <int WIDTH, typename ElementTerm>
struct MeanOfTerms {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, float scale, bool& right)
    {
        const int columns = walk.units * WIDTH;
        const float factor = scale / columns;
        Best best = nothing_yet(), target = nothing_yet();
        float loss = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<real, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                keep_best(best, (float)values.v[j], unit * WIDTH + j);
                keep_best(target, (float)label.v[j], unit * WIDTH + j);
                const Term term = ElementTerm::at((float)values.v[j], (float)label.v[j]);
                loss += term.loss;
                values.v[j] = (real)(factor * term.gradient);
            }
            if (dx != nullptr) {
                store_pack<real, WIDTH>(dx, unit, values);
            }
        }
        if (columns == 1) {
            right = (best.value > ElementTerm::THRESHOLD) == labels.is_positive(target);
        } else {
            best = group_reduce(best, Better(), walk.lanes);
            right = best.index == labels.target(target, walk.lanes);
        }
        return group_sum(loss, walk.lanes) / columns;
    }
};

// Accuracy is a loss of which nothing but the hits is used.
struct NoTerm {
    static constexpr float THRESHOLD = 0.5f;
    __device__ static Term at(float, float) { return Term{0.0f, 0.0f}; }
};

// ------------------------------------------------------------------------------------ kernels

// How a launch deals rows to threads: see gpunet/backend/cuda/grids.py.
struct Layout {
    int64 rows;
    int columns, lanes, cached;
};

template <int WIDTH, typename Loss, typename LabelType>
__device__ __forceinline__ void loss_rows(real* dx, const Outputs& out, const real* x,
                                          const LabelType* labels, float scale,
                                          const Layout& layout)
{
    using Label = decltype(label_type<WIDTH>(labels));
    const int units = layout.columns / WIDTH, lanes = layout.lanes;
    Pack<real, WIDTH>* x_cache = layout.cached ? row_cache<WIDTH>(0) : nullptr;
    Pack<real, WIDTH>* label_cache =
        layout.cached ? row_cache<WIDTH>((units + lanes - 1) / lanes) : nullptr;
    Sums sums = {0.0, 0.0};
    for (RowWalk walk(layout.rows, units, lanes); walk.more(); walk.next()) {
        const int64 row = walk.row(), start = row * layout.columns;
        const bool inside = row < layout.rows;
        const float weight = weight_of(out, row, inside);
        const RowReader<WIDTH> values = {x + start, x_cache};
        const Label label(labels, row, inside, layout.columns, label_cache);
        bool right = false;
        const float loss = Loss::row(dx != nullptr ? dx + start : nullptr, values, label, walk,
                                     scale * weight, right);
        if (walk.lane == 0 && inside) {
            sums.add(out, row, weight * loss, right);
        }
    }
    sums.finish(out, layout.rows);
}

// The symbol, the type of the labels, and the loss as a type that may use WIDTH.
#define GPUNET_LOSS_KERNEL(SYMBOL, LABEL, ...)                                                    \
    extern "C" __global__ void SYMBOL(                                                            \
        real* dx, real* loss, real* correct, double* totals, double* accuracy_totals,             \
        const real* x, const LABEL* labels, const real* sample_weight, float scale, int64 rows,   \
        int columns, int packed, int lanes, int cached, double* partials, unsigned* ticket)       \
    {                                                                                             \
        const Outputs out = {loss,          correct,  totals, accuracy_totals,                    \
                             sample_weight, partials, ticket};                                    \
        const Layout layout = {rows, columns, lanes, cached};                                     \
        if (packed) {                                                                             \
            constexpr int WIDTH = PACK;                                                           \
            loss_rows<WIDTH, __VA_ARGS__>(dx, out, x, labels, scale, layout);                     \
        } else {                                                                                  \
            constexpr int WIDTH = 1;                                                              \
            loss_rows<WIDTH, __VA_ARGS__>(dx, out, x, labels, scale, layout);                     \
        }                                                                                         \
    }

GPUNET_LOSS_KERNEL(softmax_cross_entropy_int32, int, SoftmaxCrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(softmax_cross_entropy_real, real, SoftmaxCrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(cross_entropy_int32, int, CrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(cross_entropy_real, real, CrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(sigmoid_cross_entropy, real, MeanOfTerms<WIDTH, SigmoidTerm>)
GPUNET_LOSS_KERNEL(binary_cross_entropy, real, MeanOfTerms<WIDTH, BinaryTerm>)
GPUNET_LOSS_KERNEL(mean_squared_error, real, MeanOfTerms<WIDTH, SquaredTerm>)
GPUNET_LOSS_KERNEL(accuracy_int32, int, MeanOfTerms<WIDTH, NoTerm>)
GPUNET_LOSS_KERNEL(accuracy_real, real, MeanOfTerms<WIDTH, NoTerm>)
