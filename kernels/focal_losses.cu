// Focal cross-entropies: value, gradient, hits and running totals in ONE launch.
//
//   softmax_focal_cross_entropy  loss = -sum_j alpha l_j (1 - p_j)^gamma log(p_j), p = softmax(x)
//   focal_cross_entropy          the same with p = x / sum(x) clipped
//   sigmoid_focal_cross_entropy  loss = mean_j(w u^gamma bce), p = sigmoid(x),
//                                u = l (1 - p) + (1 - l) p, bce = -(l log(p) + (1 - l) log(1 - p))
//   binary_focal_cross_entropy   the same with p = x, clipped in bce
//
// alpha is one number, or one for each class j in the first two. w = l alpha + (1 - l) (1 - alpha)
// where kind is 1 (class balancing), else 1. Shapes, aliasing and
// the rest as in losses.cu; labels are rows.
//
// Bytes an element, read + written: 8 + 4, the least; rows of the first two that do not fit on chip
// are read a second and a third time.
#include "common.cuh"
#include "losses.cuh"

// factor = alpha l q^gamma, q = 1 - p: the loss is -factor log(p), and
// h = p dloss/dp = factor (gamma p log(p) / q - 1), where log(p) / q ends at -1 for p = 1.
struct FocalTerm {
    float loss, h;

    __device__ FocalTerm(float alpha, float gamma, float label, float p, float q, float log_p)
    {
        const float factor = alpha * label * powf(q, gamma);
        const float ratio = q == 0.0f ? -1.0f : log_p / q;
        loss = -factor * log_p;
        h = factor * (gamma * p * ratio - 1.0f);
    }
};

// From logits: dx_i = h_i - p_i sum_j h_j.
struct ShareOfLogits {
    float largest, sum, log_sum;

    __device__ FocalTerm at(float alpha, float gamma, float x, float label) const
    {
        const float log_p = x - largest - log_sum;
        return FocalTerm(alpha, gamma, label, expf(log_p), -expm1f(log_p), log_p);
    }
    __device__ float gradient(float x, float h, float h_sum) const
    {
        return h - expf(x - largest - log_sum) * h_sum;
    }
};

// From probabilities: dx_i = (h_i / p_i - sum_j h_j) / sum(x), h = 0 where p is clipped.
struct ShareOfProbabilities {
    float sum;

    __device__ FocalTerm at(float alpha, float gamma, float x, float label) const
    {
        const float share = x / sum, p = clip(share);
        FocalTerm term(alpha, gamma, label, p, 1.0f - p, logf(p));
        term.h = is_clipped(share) ? 0.0f : term.h;
        return term;
    }
    __device__ float gradient(float x, float h, float h_sum) const
    {
        return (h / clip(x / sum) - h_sum) / sum;
    }
};

// First pass: what p needs of the whole row, and hits; second: the loss and sum(h); third: dx.
template <int WIDTH, bool LOGITS>
struct FocalCrossEntropy {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula& formula, float scale,
                                bool& right)
    {
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        Best best = nothing_yet(), target = nothing_yet();
        float sum = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                if constexpr (LOGITS) {
                    state.add((float)values.v[j]);
                }
                sum += (float)values.v[j];
                keep_best(best, (float)values.v[j], unit * WIDTH + j);
                keep_best(target, label.v[j], unit * WIDTH + j);
            }
        }
        best = group_reduce(best, Better(), walk.lanes);
        right = best.index == labels.target(target, walk.lanes);
        if constexpr (LOGITS) {
            state.finish(best.value, walk.lanes);
            const ShareOfLogits share = {state.largest, state.sum, logf(state.sum)};
            return second_and_third_pass(dx, x, labels, walk, formula, scale, share);
        } else {
            const ShareOfProbabilities share = {group_sum(sum, walk.lanes)};
            return second_and_third_pass(dx, x, labels, walk, formula, scale, share);
        }
    }

    template <typename Label, typename Share>
    __device__ static float second_and_third_pass(real* dx, const RowReader<WIDTH>& x,
                                                  const Label& labels, const RowWalk& walk,
                                                  const Formula& formula, float scale,
                                                  const Share& share)
    {
        float loss = 0.0f, h_sum = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.again(unit, step);
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float alpha = formula.alpha_of(unit * WIDTH + j);
                const FocalTerm term =
                    share.at(alpha, formula.gamma, (float)values.v[j], label.v[j]);
                loss += term.loss;
                h_sum += term.h;
            }
        }
        loss = group_sum(loss, walk.lanes);
        h_sum = group_sum(h_sum, walk.lanes);
        if (dx == nullptr) {
            return loss;
        }
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.again(unit, step);
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float value = (float)values.v[j];
                const float alpha = formula.alpha_of(unit * WIDTH + j);
                const float h = share.at(alpha, formula.gamma, value, label.v[j]).h;
                values.v[j] = (real)(scale * share.gradient(value, h, h_sum));
            }
            store_pack<real, WIDTH>(dx, unit, values);
        }
        return loss;
    }
};

// The loss w u^gamma bce has the slope w u^gamma (gamma (1 - 2 l) bce / u dp + dbce); where u is 0
// bce / u counts as 0, as u^gamma / u times bce ends there.
__device__ __forceinline__ Term binary_focal(const Formula& formula, float label, float u,
                                             float bce, float dp, float dbce)
{
    const float balance = formula.alpha * label + (1.0f - formula.alpha) * (1.0f - label);
    const float factor = powf(u, formula.gamma) * (formula.kind ? balance : 1.0f);
    const float ratio = u == 0.0f ? 0.0f : bce / u;
    const float slope = formula.gamma * (1.0f - 2.0f * label) * ratio * dp + dbce;
    return Term{factor * bce, factor * slope};
}

struct SigmoidFocalTerm : MeanTerm {
    static constexpr float THRESHOLD = 0.0f;
    __device__ static Term at(const Formula& formula, float x, float label)
    {
        const float p = sigmoid(x), q = sigmoid(-x);
        const float bce = fmaxf(x, 0.0f) - x * label + log1pf(expf(-fabsf(x)));
        const float u = label * q + (1.0f - label) * p;
        return binary_focal(formula, label, u, bce, p * q, p - label);
    }
};

struct BinaryFocalTerm : MeanTerm {
    static constexpr float THRESHOLD = 0.5f;
    __device__ static Term at(const Formula& formula, float x, float label)
    {
        const float p = clip(x);
        const float bce = -(label * logf(p) + (1.0f - label) * log1pf(-p));
        const float dbce = is_clipped(x) ? 0.0f : (1.0f - label) / (1.0f - p) - label / p;
        const float u = label * (1.0f - x) + (1.0f - label) * x;
        return binary_focal(formula, label, u, bce, 1.0f, dbce);
    }
};

GPUNET_LOSS_KERNEL(softmax_focal_cross_entropy, float, FocalCrossEntropy<WIDTH, true>)
GPUNET_LOSS_KERNEL(focal_cross_entropy, float, FocalCrossEntropy<WIDTH, false>)
GPUNET_LOSS_KERNEL(sigmoid_focal_cross_entropy, float, MeanOfTerms<WIDTH, SigmoidFocalTerm>)
GPUNET_LOSS_KERNEL(binary_focal_cross_entropy, float, MeanOfTerms<WIDTH, BinaryFocalTerm>)
