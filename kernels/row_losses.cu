// Losses of a row that are no cross-entropies: value, gradient and running totals in ONE launch.
//
//   elementwise_loss   loss = mean_j f(x_j, y_j), or the sum; the formulas are in the switch below
//   categorical_hinge  loss = max(max_j((1 - y_j) x_j) - sum_j y_j x_j + 1, 0)
//   cosine_similarity  loss = -sum_j x_j y_j / (|x| |y|), |x| the norm of the row, at least 1e-7
//
// y = labels. Shapes, aliasing and the rest as in losses.cu; nothing is counted.
//
// Bytes an element, read + written: 8 + 4, the least; rows of the last two that do not fit on chip
// are read a second time.
#include "common.cuh"
#include "losses.cuh"

constexpr float EPSILON = 1e-7f;  // Keras'

// The numbers by which gpunet/backend/cuda names them: the index in spec.ELEMENTWISE_LOSSES.
enum Kind {
    SQUARED, ABSOLUTE, PERCENTAGE, SQUARED_LOGARITHMIC, HUBER,
    LOG_COSH, POISSON, KL_DIVERGENCE, HINGE, SQUARED_HINGE
};

__device__ __forceinline__ float sign(float d) { return d > 0.0f ? 1.0f : (d < 0.0f ? -1.0f : d); }

// x, but at least epsilon; a NaN stays one.
__device__ __forceinline__ float at_least_epsilon(float x) { return x < EPSILON ? EPSILON : x; }

// x between epsilon and 1; a NaN stays one.
__device__ __forceinline__ float share(float x) { return x > 1.0f ? 1.0f : at_least_epsilon(x); }

struct ElementwiseTerm : MeanTerm {
    static constexpr bool COUNTS = false;

    __device__ static float divisor(const Formula& formula, int columns)
    {
        return formula.kind == KL_DIVERGENCE ? 1.0f : columns;
    }

    __device__ static Term at(const Formula& formula, float x, float y)
    {
        const float d = x - y, size = fabsf(d);
        switch (formula.kind) {
        case ABSOLUTE: return Term{size, sign(d)};
        case PERCENTAGE: {
            const float per_unit = 100.0f / at_least_epsilon(fabsf(y));
            return Term{per_unit * size, per_unit * sign(d)};
        }
        case SQUARED_LOGARITHMIC: {
            const float above = at_least_epsilon(x);
            const float log_ratio = log1pf(above) - log1pf(at_least_epsilon(y));
            return Term{log_ratio * log_ratio,
                        x <= EPSILON ? 0.0f : 2.0f * log_ratio / (1.0f + above)};
        }
        case HUBER: {
            const float delta = formula.alpha;
            return size <= delta ? Term{0.5f * d * d, d}
                                 : Term{delta * (size - 0.5f * delta), delta * sign(d)};
        }
        case LOG_COSH: {
            constexpr float LOG_2 = 0.69314718f;
            return Term{size + log1pf(expf(-2.0f * size)) - LOG_2, tanhf(d)};
        }
        case POISSON: return Term{x - y * logf(x + EPSILON), 1.0f - y / (x + EPSILON)};
        case KL_DIVERGENCE: {
            const float p = share(y), ratio = p / share(x);
            return Term{p * logf(ratio), x < EPSILON || x > 1.0f ? 0.0f : -ratio};
        }
        case HINGE:
        case SQUARED_HINGE: {
            const float side = y == 0.0f ? -1.0f : y, margin = 1.0f - x * side;
            const float loss = margin <= 0.0f ? 0.0f : margin;
            const float slope = margin > 0.0f ? -side : 0.0f;
            return formula.kind == HINGE ? Term{loss, slope}
                                         : Term{loss * loss, 2.0f * loss * slope};
        }
        default: return Term{d * d, 2.0f * d};
        }
    }
};

template <int WIDTH>
struct CategoricalHinge {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula&, float scale, bool&)
    {
        Best best = nothing_yet();
        float positive = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float value = (float)values.v[j], y = label.v[j];
                positive += y * value;
                keep_best(best, (1.0f - y) * value, unit * WIDTH + j);
            }
        }
        best = group_reduce(best, Better(), walk.lanes);
        const float margin = best.value - group_sum(positive, walk.lanes) + 1.0f;
        const float factor = margin > 0.0f ? scale : 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end() && dx != nullptr;
             unit += walk.lanes, ++step) {
            const Pack<float, WIDTH> label = labels.again(unit, step);
            Pack<real, WIDTH> gradient;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float y = label.v[j];
                const bool is_best = unit * WIDTH + j == best.index;
                gradient.v[j] = (real)(factor * (is_best ? 1.0f - 2.0f * y : -y));
            }
            store_pack<real, WIDTH>(dx, unit, gradient);
        }
        return margin <= 0.0f ? 0.0f : margin;
    }
};

template <int WIDTH>
struct CosineSimilarity {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula&, float scale, bool&)
    {
        float xx = 0.0f, yy = 0.0f, xy = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            const Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float value = (float)values.v[j], y = label.v[j];
                xx += value * value;
                yy += y * y;
                xy += value * y;
            }
        }
        const float norm = sqrtf(group_sum(xx, walk.lanes));
        const float per_x = 1.0f / at_least_epsilon(norm);
        const float per_y = 1.0f / at_least_epsilon(sqrtf(group_sum(yy, walk.lanes)));
        const float loss = -group_sum(xy, walk.lanes) * per_x * per_y;
        // dx = -(y / |y| + loss x / |x|) / |x|
        const float of_y = -scale * per_x * per_y;
        const float of_x = norm < EPSILON ? 0.0f : -scale * loss * per_x * per_x;
        for (int unit = walk.lane, step = 0; unit < walk.end() && dx != nullptr;
             unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.again(unit, step);
            const Pack<float, WIDTH> label = labels.again(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                values.v[j] = (real)(of_y * label.v[j] + of_x * (float)values.v[j]);
            }
            store_pack<real, WIDTH>(dx, unit, values);
        }
        return loss;
    }
};

GPUNET_LOSS_KERNEL(elementwise_loss, float, MeanOfTerms<WIDTH, ElementwiseTerm>)
GPUNET_LOSS_KERNEL(categorical_hinge, float, CategoricalHinge<WIDTH>)
GPUNET_LOSS_KERNEL(cosine_similarity, float, CosineSimilarity<WIDTH>)
