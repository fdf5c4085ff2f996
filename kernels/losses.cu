// Cross-entropies: value, gradient, hits and running totals in ONE launch.
//
//   dx = scale w dloss/dx,  loss = w * loss of the row,  correct = 1 where predicted right, else 0,
//   totals += (rows scale sum of loss, rows),  w = sample_weight,
//   accuracy_totals += (sum of correct, rows)
//
//   softmax_cross_entropy  loss = sum_j l_j (log(sum(exp(x))) - x_j), from logits
//   cross_entropy          loss = -sum_j l_j log(p_j), p = x / sum(x) clipped
//   sigmoid_cross_entropy  loss = mean_j(max(x, 0) - x l + log(1 + exp(-|x|)))
//   binary_cross_entropy   loss = -mean_j(l log(p) + (1 - l) log(1 - p)), p = x clipped
//   accuracy               hits alone
//   normalized_weights     weights = w v / sum(w v), v = 1 for rows that count, else 0
//
// Shapes: x, dx (rows, columns), of real; labels (rows, columns), or class numbers (rows) where the
// symbol ends in _int32; loss, correct, sample_weight (rows); these are float. dx, correct,
// accuracy_totals and sample_weight may be null. Labels of rows are smoothed on the way: l factor +
// shift. Rows of the class `ignored` have loss and dx 0. Aliasing: dx = x.
//
// Bytes an element, read + written: class numbers 4 + 4, labels as rows 8 + 4; besides 12 to 16 a
// row for loss, correct, class number and weight. That is the least; of rows of more than 16384 floats
// (8192 with labels as rows) what does not fit into 64 KB of shared memory is read a second time
// (cross_entropy: a third time, if a probability is clipped). Measured at 32768 columns: 10 bytes
// with class numbers, 18 with labels as rows. Several narrow rows share a warp, a wide one has a
// block. normalized_weights: 8 bytes a row, read twice, + 4.
#include "common.cuh"
#include "losses.cuh"

// --------------------------------------------------- cross entropies over the whole row

// Logits. First pass: largest, sum(exp), the labels' sum; second pass: the loss and dx.
template <int WIDTH>
struct SoftmaxCrossEntropy {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula&, float scale, bool& right)
    {
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        Best best = nothing_yet(), target = nothing_yet();
        float label_sum = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> logits = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                state.add((float)logits.v[j]);
                keep_best(best, (float)logits.v[j], unit * WIDTH + j);
                keep_best(target, label.v[j], unit * WIDTH + j);
                label_sum += label.v[j];
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
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float shifted = (float)logits.v[j] - state.largest;
                loss += label.v[j] * (log_sum - shifted);
                logits.v[j] = (real)(scale * (expf(shifted) * factor - label.v[j]));
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
// x_i is (g_i - sum_j g_j p_j) / sum(x) = (g_i + sum of the unclipped labels) / sum(x). Where
// something is clipped that sum is known only after a second pass, and dx takes a third.
template <int WIDTH>
struct CrossEntropy {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula&, float scale, bool& right)
    {
        Best best = nothing_yet(), target = nothing_yet();
        float sum = 0.0f, label_sum = 0.0f, smallest = -minus_infinity();
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sum += (float)values.v[j];
                smallest = fminf(smallest, (float)values.v[j]);
                label_sum += label.v[j];
                keep_best(best, (float)values.v[j], unit * WIDTH + j);
                keep_best(target, label.v[j], unit * WIDTH + j);
            }
        }
        best = group_reduce(best, Better(), walk.lanes);
        right = best.index == labels.target(target, walk.lanes);
        sum = group_sum(sum, walk.lanes);
        smallest = group_reduce(smallest, Smaller(), walk.lanes);
        label_sum = labels.sum(label_sum, walk.lanes);
        const float no_class = 0.0f * label_sum;  // NaN without a class
        // Division keeps order: if neither end is clipped nothing is, and all labels pass through.
        const bool clips = is_clipped(smallest / sum) || is_clipped(best.value / sum);
        const float factor = scale / sum;
        float loss = 0.0f, unclipped = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.again(unit, step);
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float p = (float)values.v[j] / sum;
                loss -= label.v[j] * logf(clip(p));
                unclipped += is_clipped(p) ? 0.0f : label.v[j];
                values.v[j] = (real)(factor * (label_sum - label.v[j] / p));
            }
            if (dx != nullptr && !clips) {
                store_pack<real, WIDTH>(dx, unit, values);
            }
        }
        loss = group_sum(loss, walk.lanes) + no_class;
        unclipped = group_sum(unclipped, walk.lanes) + no_class;
        if (dx != nullptr && clips) {
            write_gradient(dx, x, labels, walk, factor, sum, unclipped);
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
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float p = (float)values.v[j] / sum;
                const float through_log = is_clipped(p) ? 0.0f : label.v[j] / p;
                values.v[j] = (real)(factor * (unclipped - through_log));
            }
            store_pack<real, WIDTH>(dx, unit, values);
        }
    }
};

// ------------------------------------------------------- means of a term of each element

struct SigmoidTerm : MeanTerm {
    static constexpr float THRESHOLD = 0.0f;  // one column: x above it means class 1
    __device__ static Term at(const Formula&, float x, float label)
    {
        const float loss = fmaxf(x, 0.0f) - x * label + log1pf(expf(-fabsf(x)));
        return Term{loss, sigmoid(x) - label};
    }
};

struct BinaryTerm : MeanTerm {
    static constexpr float THRESHOLD = 0.5f;
    __device__ static Term at(const Formula&, float x, float label)
    {
        const float p = clip(x);
        const float loss = -(label * logf(p) + (1.0f - label) * log1pf(-p));
        const float gradient = (1.0f - label) / (1.0f - p) - label / p;
        return Term{loss, is_clipped(x) ? 0.0f : gradient};
    }
};

// Accuracy is a loss of which nothing but the hits is used.
struct NoTerm : MeanTerm {
    static constexpr float THRESHOLD = 0.5f;
    __device__ static Term at(const Formula&, float, float) { return Term{0.0f, 0.0f}; }
};

// ------------------------------------------------------------------------------------ kernels

GPUNET_LOSS_KERNEL(softmax_cross_entropy_int32, int, SoftmaxCrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(softmax_cross_entropy_float32, float, SoftmaxCrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(cross_entropy_int32, int, CrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(cross_entropy_float32, float, CrossEntropy<WIDTH>)
GPUNET_LOSS_KERNEL(sigmoid_cross_entropy, float, MeanOfTerms<WIDTH, SigmoidTerm>)
GPUNET_LOSS_KERNEL(binary_cross_entropy, float, MeanOfTerms<WIDTH, BinaryTerm>)
GPUNET_LOSS_KERNEL(accuracy_int32, int, MeanOfTerms<WIDTH, NoTerm>)
GPUNET_LOSS_KERNEL(accuracy_float32, float, MeanOfTerms<WIDTH, NoTerm>)

// One block: a divisor that every row needs, of few bytes.
extern "C" __global__ void normalized_weights(float* weights, const float* sample_weight,
                                              const int* labels, const unsigned char* mask,
                                              int by_count, int64 ignored, int64 rows)
{
    const auto does_count = [=](int64 row) {
        return (labels == nullptr || labels[row] != ignored) && (mask == nullptr || mask[row] != 0);
    };
    double sum = 0.0;
    for (int64 row = threadIdx.x; row < rows; row += blockDim.x) {
        const bool counts = does_count(row);
        const bool ones = by_count || sample_weight == nullptr;
        sum += counts ? (ones ? 1.0 : (double)sample_weight[row]) : 0.0;
    }
    sum = block_sum(sum);
    const double factor = sum == 0.0 ? 0.0 : 1.0 / sum;
    for (int64 row = threadIdx.x; row < rows; row += blockDim.x) {
        const bool counts = does_count(row);
        const double weight = sample_weight == nullptr ? 1.0 : (double)sample_weight[row];
        weights[row] = (float)(counts ? weight * factor : 0.0);
    }
}
