// How well two masks overlap, each over a whole group of elements: Tversky's index, Dice's with it.
//
//   loss = w (1 - I / D), I = sum(x y), D = I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + epsilon
//   dx = scale w (I / D (beta + (1 - alpha - beta) y) - y) / D
//   totals += (size scale sum of loss, size), size = the elements of x
//
// Shapes: x, y = labels, dx (outer, reduced, inner); loss, w = sample_weight (outer, inner): a group
// is what `reduced` spans. Aliasing: dx = x. Sums are double, in a fixed order.
//
// Bytes an element, read + written: 8 for the sums, 4 + 4 for dx, which needs them: 16, the least.
// Many groups: one launch, a few lanes of a warp or a block for each (tversky). Few large ones:
// blocks share a group and the last one ends the sums, then the gradient (tversky_sums and
// tversky_gradient). Where inner > 1 neighbouring lanes read elements `inner` apart, and the caches
// hold the sectors for the neighbouring groups.
#include "common.cuh"
#include "losses.cuh"

struct Tversky {
    double alpha, beta, epsilon;
};

struct GroupSums {
    double both, of_x, of_y;

    __device__ __forceinline__ void add(float x, float y)
    {
        both += (double)x * y;
        of_x += x;
        of_y += y;
    }
};

// dx = constant + of_label y.
struct GroupGradient {
    double constant, of_label;
};

__device__ __forceinline__ float group_loss(const GroupSums& sums, const Tversky& formula,
                                            double weight, double scale, GroupGradient& gradient)
{
    const double divisor = sums.both + formula.alpha * (sums.of_y - sums.both) +
                           formula.beta * (sums.of_x - sums.both) + formula.epsilon;
    const double overlap = sums.both / divisor, factor = scale * weight / divisor;
    gradient.constant = factor * overlap * formula.beta;
    gradient.of_label = factor * (overlap * (1.0 - formula.alpha - formula.beta) - 1.0);
    return weight * (1.0 - overlap);
}

extern "C" __global__ void tversky(real* dx, float* loss, double* totals, const real* x,
                                   const float* labels, const float* sample_weight, double scale,
                                   double alpha, double beta, double epsilon, int64 groups,
                                   int reduced, int64 inner, int lanes, double* partials,
                                   unsigned* ticket)
{
    const Outputs out = {loss, nullptr, totals, nullptr, sample_weight, partials, ticket, scale};
    Sums sums = {0.0, 0.0};
    for (RowWalk walk(groups, reduced, lanes); walk.more(); walk.next()) {
        const int64 group = walk.row();
        const int64 start = group / inner * reduced * inner + group % inner;
        const bool inside = group < groups;
        GroupSums of_group = {0.0, 0.0, 0.0};
        for (int i = walk.lane; i < walk.end(); i += lanes) {
            of_group.add((float)x[start + i * inner], labels[start + i * inner]);
        }
        of_group.both = group_reduce(of_group.both, Plus(), lanes);
        of_group.of_x = group_reduce(of_group.of_x, Plus(), lanes);
        of_group.of_y = group_reduce(of_group.of_y, Plus(), lanes);
        GroupGradient gradient;
        const float value = group_loss(of_group, Tversky{alpha, beta, epsilon},
                                       weight_of(out, group, inside), scale, gradient);
        for (int i = walk.lane; i < walk.end() && dx != nullptr; i += lanes) {
            const float label = labels[start + i * inner];
            dx[start + i * inner] = (real)((float)gradient.constant +
                                           (float)gradient.of_label * label);
        }
        if (walk.lane == 0 && inside) {
            sums.add(out, group, value, false);
        }
    }
    add_to_totals(out, sums, groups * reduced);
}

// One block for each of `chunks` pieces of each group; partials hold three sums a block and, behind
// them, the gradient's two numbers a group.
extern "C" __global__ void tversky_sums(float* loss, double* totals, const real* x,
                                        const float* labels, const float* sample_weight,
                                        double scale, double alpha, double beta, double epsilon,
                                        int groups, int64 reduced, int64 inner, int chunks,
                                        double* partials, unsigned* ticket)
{
    const int group = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
    const int64 length = (reduced + chunks - 1) / chunks, begin = chunk * length;
    const int64 end = begin + length < reduced ? begin + length : reduced;
    const int64 start = group / inner * reduced * inner + group % inner;
    GroupSums sums = {0.0, 0.0, 0.0};
    for (int64 i = begin + threadIdx.x; i < end; i += blockDim.x) {
        sums.add((float)x[start + i * inner], labels[start + i * inner]);
    }
    sums = {block_sum(sums.both), block_sum(sums.of_x), block_sum(sums.of_y)};
    if (threadIdx.x == 0) {
        partials[3 * blockIdx.x] = sums.both;
        partials[3 * blockIdx.x + 1] = sums.of_x;
        partials[3 * blockIdx.x + 2] = sums.of_y;
    }
    if (!is_last_block(ticket, gridDim.x)) {
        return;
    }
    double total = 0.0;
    for (int g = threadIdx.x; g < groups; g += blockDim.x) {
        GroupSums of_group = {0.0, 0.0, 0.0};
        for (int block = g * chunks; block < (g + 1) * chunks; ++block) {
            of_group.both += __ldcg(&partials[3 * block]);
            of_group.of_x += __ldcg(&partials[3 * block + 1]);
            of_group.of_y += __ldcg(&partials[3 * block + 2]);
        }
        const double weight = sample_weight == nullptr ? 1.0 : (double)sample_weight[g];
        GroupGradient gradient;
        const float value =
            group_loss(of_group, Tversky{alpha, beta, epsilon}, weight, scale, gradient);
        loss[g] = value;
        partials[3 * gridDim.x + 2 * g] = gradient.constant;
        partials[3 * gridDim.x + 2 * g + 1] = gradient.of_label;
        total += value;
    }
    total = block_sum(total);
    if (threadIdx.x == 0) {
        const double size = (double)groups * reduced;
        totals[0] += scale * size * total;
        totals[1] += size;
    }
}

extern "C" __global__ void tversky_gradient(real* dx, const float* labels, const double* gradients,
                                            int64 size, int64 reduced, int64 inner)
{
    for (int64 i = grid_thread(); i < size; i += grid_threads()) {
        const int64 group = i / (reduced * inner) * inner + i % inner;
        dx[i] = (real)((float)gradients[2 * group] +
                       (float)gradients[2 * group + 1] * labels[i]);
    }
}
