// What the kernels of all losses share: labels of two kinds, totals, and the walk over rows.
//
// A loss is a type with a function `row` that computes one row; `GPUNET_LOSS_KERNEL` makes kernels
// of it, which all take the same arguments.

constexpr float CLIP_LOW = 1e-7f, CLIP_HIGH = 1.0f - 1e-7f;  // Keras' epsilon

// What all losses write, beside dx.
struct Outputs {
    float* loss;
    float* correct;
    double* totals;
    double* accuracy_totals;
    const float* sample_weight;
    double* partials;  // 2 a block
    unsigned* ticket;
    double scale;
};

// The numbers of a formula: alpha and gamma of the focal losses (alpha also where there is one
// number), and which formula or variant it is.
struct Formula {
    float alpha, gamma;
    int kind;
    const float* alphas;  // one for each class, or null: then all have alpha

    __device__ __forceinline__ float alpha_of(int column) const
    {
        return alphas != nullptr ? alphas[column] : alpha;
    }
};

// What is done to labels: those of rows are smoothed, those of an ignored class have no loss.
struct LabelRule {
    float factor, shift;
    int64 ignored;  // a number that no label is, where no class is ignored
};

// How a launch deals rows to threads: see gpunet/backend/cuda/grids.py.
struct Layout {
    int64 rows;
    int columns, lanes, cached;
};

// ------------------------------------------------------------------------------------ labels
//
// Both kinds of labels look like rows of floats; of a class number the row is never stored.

// How many elements make a pack: labels that are rows travel in packs, too, class numbers do not.
template <typename LabelType>
constexpr int LOSS_PACK = PACK;
template <>
constexpr int LOSS_PACK<float> = FLOAT_PACK;

template <int WIDTH>
struct ClassLabel {
    int label, columns;
    bool is_ignored;

    __device__ __forceinline__ ClassLabel(const int*, int number, const Layout& layout,
                                          const LabelRule& rule, Pack<float, WIDTH>*)
        : label(number), columns(layout.columns), is_ignored(label == rule.ignored)
    {
    }
    __device__ __forceinline__ Pack<float, WIDTH> first(int unit, int) const
    {
        Pack<float, WIDTH> pack;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            pack.v[j] = unit * WIDTH + j == label ? 1.0f : 0.0f;
        }
        return pack;
    }
    __device__ __forceinline__ Pack<float, WIDTH> again(int unit, int step) const
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
struct DenseLabel {
    static constexpr bool is_ignored = false;
    RowReader<WIDTH, float> row;
    float factor, shift;

    __device__ __forceinline__ DenseLabel(const float* labels, int, const Layout& layout,
                                          const LabelRule& rule, Pack<float, WIDTH>* cache)
        : row(labels, cache, layout.cached), factor(rule.factor), shift(rule.shift)
    {
    }
    __device__ __forceinline__ Pack<float, WIDTH> first(int unit, int step) const
    {
        return smoothed(row.first(unit, step));
    }
    __device__ __forceinline__ Pack<float, WIDTH> again(int unit, int step) const
    {
        return smoothed(row.again(unit, step));
    }
    __device__ __forceinline__ Pack<float, WIDTH> smoothed(Pack<float, WIDTH> pack) const
    {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            pack.v[j] = pack.v[j] * factor + shift;
        }
        return pack;
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
__device__ __forceinline__ DenseLabel<WIDTH> label_type(const float*);

// ------------------------------------------------------------------------------ small pieces

// p inside the limits; a NaN stays one.
__device__ __forceinline__ float clip(float p)
{
    return p < CLIP_LOW ? CLIP_LOW : (p > CLIP_HIGH ? CLIP_HIGH : p);
}

__device__ __forceinline__ bool is_clipped(float p) { return p < CLIP_LOW || p > CLIP_HIGH; }

// Sums over rows: a thread adds up rows, the block its threads, and the last block the blocks, all
// in a fixed order and in double.
struct Sums {
    double loss, correct;

    __device__ __forceinline__ void add(const Outputs& out, int64 row, float row_loss, bool right)
    {
        if (out.loss != nullptr) {
            out.loss[row] = row_loss;
        }
        if (out.correct != nullptr) {
            out.correct[row] = right ? 1.0f : 0.0f;
        }
        loss += row_loss;
        correct += right;
    }

    __device__ __forceinline__ Sums operator+(const Sums& other) const
    {
        return Sums{loss + other.loss, correct + other.correct};
    }
};

template <>
__device__ __forceinline__ Sums shuffle_xor(Sums value, int offset)
{
    return Sums{shuffle_xor(value.loss, offset), shuffle_xor(value.correct, offset)};
}

__device__ __forceinline__ void add_to_totals(const Outputs& out, Sums sums, int64 rows)
{
    sums = block_sum(sums);
    if (threadIdx.x == 0) {
        out.partials[blockIdx.x] = sums.loss;
        out.partials[gridDim.x + blockIdx.x] = sums.correct;
    }
    if (!is_last_block(out.ticket, gridDim.x)) {
        return;
    }
    sums = Sums{0.0, 0.0};
    for (int block = threadIdx.x; block < gridDim.x; block += blockDim.x) {
        sums.loss += __ldcg(&out.partials[block]);
        sums.correct += __ldcg(&out.partials[gridDim.x + block]);
    }
    sums = block_sum(sums);
    if (threadIdx.x == 0 && out.totals != nullptr) {
        out.totals[0] += out.scale * rows * sums.loss;  // the batch's loss, weighted by its rows
        out.totals[1] += rows;
    }
    if (threadIdx.x == 0 && out.accuracy_totals != nullptr) {
        out.accuracy_totals[0] += sums.correct;
        out.accuracy_totals[1] += rows;
    }
}

__device__ __forceinline__ float weight_of(const Outputs& out, int64 row, bool inside)
{
    return inside && out.sample_weight != nullptr ? out.sample_weight[row] : 1.0f;
}

__device__ __forceinline__ int class_number(const int* labels, int64 row) { return labels[row]; }
__device__ __forceinline__ int class_number(const float*, int64) { return 0; }

// The single numbers of a block's rows, thread i's those of row i. They pass through shared memory
// because the lanes that work on a row are not neighbours of those on the next: one of them would
// use 4 bytes of each sector of 32 that it touches.
struct RowNumbers {
    static constexpr int ROWS = 256;  // one thread each
    float weight[ROWS], loss[ROWS];
    int label[ROWS];
    bool right[ROWS];

    __device__ __forceinline__ static bool is_mine(const RowWalk& walk)
    {
        return threadIdx.x < walk.groups && walk.first + threadIdx.x < walk.rows;
    }
    template <typename LabelType>
    __device__ __forceinline__ void fetch(const Outputs& out, const LabelType* labels,
                                          const RowWalk& walk)
    {
        if (threadIdx.x < walk.groups) {
            const bool mine = is_mine(walk);
            const int64 row = walk.first + threadIdx.x;
            weight[threadIdx.x] = weight_of(out, row, mine);
            label[threadIdx.x] = mine ? class_number(labels, row) : 0;
        }
    }
    __device__ __forceinline__ void add_to(Sums& sums, const Outputs& out,
                                           const RowWalk& walk) const
    {
        if (is_mine(walk)) {
            sums.add(out, walk.first + threadIdx.x, loss[threadIdx.x], right[threadIdx.x]);
        }
    }
};

// One for all of a kernel's variants.
__device__ __forceinline__ RowNumbers& row_numbers()
{
    __shared__ RowNumbers numbers;
    return numbers;
}

// ------------------------------------------------------- means of a term of each element

struct Term {
    float loss, gradient;
};

// What the terms of a mean have in common; those that count say where class 1 begins.
struct MeanTerm {
    static constexpr bool COUNTS = true;
    __device__ static float divisor(const Formula&, int columns) { return columns; }
};

template <int WIDTH, typename ElementTerm>
struct MeanOfTerms {
    template <typename Label>
    __device__ static float row(real* dx, const RowReader<WIDTH>& x, const Label& labels,
                                const RowWalk& walk, const Formula& formula, float scale,
                                bool& right)
    {
        const int columns = walk.units * WIDTH;
        const float divisor = ElementTerm::divisor(formula, columns), factor = scale / divisor;
        Best best = nothing_yet(), target = nothing_yet();
        float loss = 0.0f;
        for (int unit = walk.lane, step = 0; unit < walk.end(); unit += walk.lanes, ++step) {
            Pack<real, WIDTH> values = x.first(unit, step);
            const Pack<float, WIDTH> label = labels.first(unit, step);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                if constexpr (ElementTerm::COUNTS) {
                    keep_best(best, (float)values.v[j], unit * WIDTH + j);
                    keep_best(target, label.v[j], unit * WIDTH + j);
                }
                const Term term = ElementTerm::at(formula, (float)values.v[j], label.v[j]);
                loss += term.loss;
                values.v[j] = (real)(factor * term.gradient);
            }
            if (dx != nullptr) {
                store_pack<real, WIDTH>(dx, unit, values);
            }
        }
        if constexpr (ElementTerm::COUNTS) {
            if (columns == 1) {
                right = (best.value > ElementTerm::THRESHOLD) == labels.is_positive(target);
            } else {
                best = group_reduce(best, Better(), walk.lanes);
                right = best.index == labels.target(target, walk.lanes);
            }
        }
        return group_sum(loss, walk.lanes) / divisor;
    }
};

// ------------------------------------------------------------------------------------ kernels

// A row of zeros, whatever NaN the logits hold.
template <int WIDTH>
__device__ __forceinline__ void clear_row(real* dx, const RowWalk& walk)
{
    for (int unit = walk.lane; dx != nullptr && unit < walk.end(); unit += walk.lanes) {
        store_pack<real, WIDTH>(dx, unit, Pack<real, WIDTH>{});
    }
}

// Returns what this thread has added up.
template <int WIDTH, typename Loss, typename LabelType>
__device__ __forceinline__ Sums loss_rows(real* dx, const Outputs& out, const real* x,
                                          const LabelType* labels, const Formula& formula,
                                          const LabelRule& rule, const Layout& layout)
{
    using Label = decltype(label_type<WIDTH>(labels));
    const int units = layout.columns / WIDTH, lanes = layout.lanes;
    Pack<real, WIDTH>* x_cache = row_cache<WIDTH>(0);
    Pack<float, WIDTH>* label_cache = row_cache<WIDTH, float>(layout.cached);
    RowNumbers& numbers = row_numbers();
    Sums sums = {0.0, 0.0};
    for (RowWalk walk(layout.rows, units, lanes); walk.more(); walk.next()) {
        const int64 row = walk.row(), start = row * layout.columns;
        const int number = threadIdx.x / lanes;
        numbers.fetch(out, labels, walk);
        __syncthreads();
        const float weight = numbers.weight[number];
        const RowReader<WIDTH> values(x + start, x_cache, layout.cached);
        const Label label(labels + start, numbers.label[number], layout, rule, label_cache);
        real* gradient = dx != nullptr ? dx + start : nullptr;
        bool right = false;
        float loss = Loss::row(label.is_ignored ? nullptr : gradient, values, label, walk, formula,
                               (float)out.scale * weight, right);
        if (label.is_ignored) {
            loss = 0.0f;
            clear_row<WIDTH>(gradient, walk);
        }
        if (walk.lane == 0) {
            numbers.loss[number] = weight * loss;
            numbers.right[number] = right;
        }
        __syncthreads();
        numbers.add_to(sums, out, walk);
    }
    return sums;
}

// The symbol, the type of the labels, and the loss as a type that may use WIDTH.
#define GPUNET_LOSS_KERNEL(SYMBOL, LABEL, ...)                                                    \
    extern "C" __global__ void SYMBOL(                                                            \
        real* dx, float* loss, float* correct, double* totals, double* accuracy_totals,           \
        const real* x, const LABEL* labels, const float* sample_weight, double scale,             \
        float alpha, float gamma, int kind, const float* alphas, float label_factor,              \
        float label_shift, int64 ignored, int64 rows, int columns, int packed, int lanes,         \
        int cached, double* partials, unsigned* ticket)                                           \
    {                                                                                             \
        const Outputs out = {loss,          correct,  totals, accuracy_totals,                    \
                             sample_weight, partials, ticket, scale};                             \
        const Formula formula = {alpha, gamma, kind, alphas};                                     \
        const LabelRule rule = {label_factor, label_shift, ignored};                              \
        const Layout layout = {rows, columns, lanes, cached};                                     \
        Sums sums;                                                                                \
        if (packed) {                                                                             \
            constexpr int WIDTH = LOSS_PACK<LABEL>;                                               \
            sums = loss_rows<WIDTH, __VA_ARGS__>(dx, out, x, labels, formula, rule, layout);      \
        } else {                                                                                  \
            constexpr int WIDTH = 1;                                                              \
            sums = loss_rows<WIDTH, __VA_ARGS__>(dx, out, x, labels, formula, rule, layout);      \
        }                                                                                         \
        add_to_totals(out, sums, rows);                                                           \
    }
