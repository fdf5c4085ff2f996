// CTC, the loss of label sequences that are not aligned with the steps, in three launches.
//
//   ctc_log_sums   log(sum(exp(x))) of each step
//   ctc            the loss, and alpha + beta of each step and state
//   ctc_gradient   dx = scale (softmax(x) - softmax(alpha + beta), summed over each class)
//
// Shapes: dx, x (batch, steps, classes), which may be the same memory; labels (batch, length);
// states are blank, label, blank, label, ..., blank, 2 length + 1 of them. lengths, label_lengths
// and sample_weight (batch,) may be null; the lattice is null if nobody wants dx.
//
// alpha(t, s) = log(sum of exp(alpha(t - 1, s')) for s' = s, s - 1 and, where s is a label that
// differs from the one before, s - 2) + log p(t, class of s); beta runs the same way from the end.
// The largest state of a step is taken off the next, so that all stay near 0 however long the
// sequence is: the gradient needs alpha and beta but for a number a step, and what was taken off
// adds up, in double, to the loss.
//
// Bytes an element of x, read + written: 8 + 4 (the least), and 4 more read; of the lattice 12 + 8.
#include "common.cuh"

constexpr int MOST_THREADS = 512;
constexpr int STATES_PER_THREAD = 8;

struct Sizes {
    int steps, classes, length, blank;

    __device__ __forceinline__ int states() const { return 2 * length + 1; }
};

__device__ __forceinline__ float log_add(float a, float b, float c)
{
    const float largest = fmaxf(fmaxf(a, b), c);
    const float shift = largest == minus_infinity() ? 0.0f : largest;
    return logf(expf(a - shift) + expf(b - shift) + expf(c - shift)) + shift;
}

// A length that is not given is the whole; one that cannot be is called invalid.
__device__ __forceinline__ int length_of(const int* lengths, int64 sample, int whole, bool& invalid)
{
    const int given = lengths != nullptr ? lengths[sample] : whole;
    invalid = invalid || given < 0 || given > whole;
    return max(0, min(given, whole));
}

// ------------------------------------------------------------------------- steps one by one

// A warp has a step.
template <int WIDTH>
__device__ __forceinline__ void log_sums_of_rows(float* log_sums, const real* x, int64 rows,
                                                 int classes)
{
    for (int64 row = grid_thread() / WARP; row < rows; row += grid_threads() / WARP) {
        OnlineSoftmax state = {minus_infinity(), 0.0f};
        for (int unit = threadIdx.x % WARP; unit < classes / WIDTH; unit += WARP) {
            const RealPack<WIDTH> values = load_pack<real, WIDTH>(x + row * classes, unit);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                state.add((float)values.v[j]);
            }
        }
        state.finish(warp_max(state.largest), WARP);
        if (threadIdx.x % WARP == 0) {
            log_sums[row] = state.largest + logf(state.sum);
        }
    }
}

extern "C" __global__ void ctc_log_sums(float* log_sums, const real* x, int64 rows, int classes,
                                        int packed)
{
    if (packed) {
        log_sums_of_rows<PACK>(log_sums, x, rows, classes);
    } else {
        log_sums_of_rows<1>(log_sums, x, rows, classes);
    }
}

// -------------------------------------------------------------------------------- the lattice

// The states of one thread of a sample's block: number threadIdx.x, threadIdx.x + blockDim.x, ...
template <int COUNT>
struct States {
    const real* x;          // of this sample
    const float* log_sums;  // of this sample
    int label[COUNT];       // -1 where it is no class
    bool skips[COUNT], is_skipped[COUNT];
    float upcoming[COUNT];

    __device__ __forceinline__ static int at(int i) { return threadIdx.x + i * blockDim.x; }

    // Returns whether all labels are classes.
    __device__ __forceinline__ bool read(const int* labels, int own, const Sizes& sizes)
    {
        bool valid = true;
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            const int place = at(i) / 2;
            const bool is_label = at(i) % 2 == 1 && place < own;
            label[i] = is_label ? labels[place] : sizes.blank;
            skips[i] = is_label && place > 0 && label[i] != labels[place - 1];
            is_skipped[i] = is_label && place + 1 < own && label[i] != labels[place + 1];
            const bool is_class = label[i] >= 0 && label[i] < sizes.classes;
            if (!is_class || (is_label && label[i] == sizes.blank)) {
                label[i] = -1;
                valid = false;
            }
        }
        return valid;
    }
    // Reads what the next step needs early, so that its way from memory is not waited for.
    __device__ __forceinline__ void fetch(int step, const Sizes& sizes)
    {
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            if (at(i) < sizes.states()) {
                const real* row = x + (int64)step * sizes.classes;
                upcoming[i] = label[i] < 0 ? not_a_number()
                                           : (float)row[label[i]] - log_sums[step];
            }
        }
    }
};

// The largest number of a block that `step` writes; to be read behind the next barrier.
struct LargestOfStep {
    float (*of_warp)[MAX_WARPS];

    __device__ __forceinline__ void put(float value, int step) const
    {
        value = warp_max(value);
        if (threadIdx.x % WARP == 0) {
            of_warp[step % 2][threadIdx.x / WARP] = value;
        }
    }
    // 0 where nothing is reached.
    __device__ __forceinline__ float get(int step) const
    {
        float largest = minus_infinity();
        for (int warp = 0; warp < blockDim.x / WARP; ++warp) {
            largest = fmaxf(largest, of_warp[step % 2][warp]);
        }
        return largest == minus_infinity() ? 0.0f : largest;
    }
};

template <int COUNT>
struct Walk {
    States<COUNT>& states;
    const Sizes& sizes;
    LargestOfStep largest;
    float *before, *after;  // of all states, in shared memory

    __device__ __forceinline__ void swap()
    {
        float* other = before;
        before = after;
        after = other;
    }

    // Leaves the last alpha in `before`; returns what was taken off.
    __device__ double forward(float* lattice, int steps)
    {
        double taken = 0.0;
        const int count = sizes.states();
        states.fetch(0, sizes);
        for (int step = 0; step < steps; ++step) {
            const float shift = step > 0 ? largest.get(step - 1) : 0.0f;
            taken += shift;
            float most = minus_infinity();
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                const int s = States<COUNT>::at(i);
                if (s < count) {
                    float value = s < 2 ? 0.0f : minus_infinity();
                    if (step > 0) {
                        value = log_add(before[s], s > 0 ? before[s - 1] : minus_infinity(),
                                        states.skips[i] ? before[s - 2] : minus_infinity());
                    }
                    value += states.upcoming[i] - shift;
                    after[s] = value;
                    most = fmaxf(most, value);
                    if (lattice != nullptr) {
                        lattice[(int64)step * count + s] = value;
                    }
                }
            }
            if (step + 1 < steps) {
                states.fetch(step + 1, sizes);
            }
            largest.put(most, step);
            __syncthreads();
            swap();
        }
        return taken;
    }

    // Adds beta to the alpha of the lattice.
    __device__ void backward(float* lattice, int steps, int last)
    {
        const int count = sizes.states();
        states.fetch(steps - 1, sizes);
        for (int step = steps - 1; step >= 0; --step) {
            const bool is_end = step == steps - 1;
            const float shift = is_end ? 0.0f : largest.get(step + 1);
            float most = minus_infinity();
#pragma unroll
            for (int i = 0; i < COUNT; ++i) {
                const int s = States<COUNT>::at(i);
                if (s < count) {
                    float beta = s == last || s == last - 1 ? 0.0f : minus_infinity();
                    if (!is_end) {
                        beta = log_add(before[s], s + 1 < count ? before[s + 1] : minus_infinity(),
                                       states.is_skipped[i] ? before[s + 2] : minus_infinity());
                        beta -= shift;
                    }
                    const float value = beta + states.upcoming[i];
                    after[s] = value;
                    most = fmaxf(most, value);
                    lattice[(int64)step * count + s] += beta;
                }
            }
            if (step > 0) {
                states.fetch(step - 1, sizes);
            }
            largest.put(most, step);
            __syncthreads();
            swap();
        }
    }
};

// For each label: 1 + the place of the next that equals it (1 + length if there is none), negative
// if an earlier one equals it or it is not the sample's own. So the first of equals finds all.
__device__ __forceinline__ void link_equals(int* links, const int* labels, int own, int length)
{
    for (int place = threadIdx.x; place < length; place += blockDim.x) {
        int next = place + 1, earlier = 0;
        while (next < own && labels[next] != labels[place]) {
            ++next;
        }
        while (earlier < place && labels[earlier] != labels[place]) {
            ++earlier;
        }
        const int link = 1 + (next < own ? next : length);
        links[place] = place < own && earlier == place ? link : -link;
    }
}

// Block i has sample i; the last one to finish adds up the losses.
template <int COUNT>
__device__ void ctc_of_sample(float* loss, float* lattice, int* links, const real* x,
                              const int* labels, const float* sample_weight, const int* lengths,
                              const int* label_lengths, const float* log_sums, const Sizes& sizes)
{
    extern __shared__ __align__(16) float of_states[];
    __shared__ float largest[2][MAX_WARPS];
    const int64 sample = blockIdx.x;
    labels += sample * sizes.length;
    int labels_here = 0;
    for (int place = threadIdx.x; place < sizes.length; place += blockDim.x) {
        labels_here += labels[place] != sizes.blank;
    }
    labels_here = block_sum(labels_here);
    bool invalid = false;
    const int steps = length_of(lengths, sample, sizes.steps, invalid);
    const int own = label_lengths == nullptr
                        ? labels_here
                        : length_of(label_lengths, sample, sizes.length, invalid);
    const int last = 2 * own;
    States<COUNT> states;
    states.x = x + sample * sizes.steps * sizes.classes;
    states.log_sums = log_sums + sample * sizes.steps;
    invalid = !states.read(labels, own, sizes) || invalid;
    invalid = block_sum((int)invalid) > 0;
    if (lattice != nullptr) {
        lattice += sample * sizes.steps * sizes.states();
        link_equals(links + sample * sizes.length, labels, own, sizes.length);
    }
    Walk<COUNT> walk = {states, sizes, {largest}, of_states, of_states + sizes.states()};
    double log_p = own == 0 ? 0.0 : minus_infinity();
    if (steps > 0) {
        log_p = walk.forward(lattice, steps);
        const float second = last > 0 ? walk.before[last - 1] : minus_infinity();
        log_p += log_add(walk.before[last], second, minus_infinity());
        __syncthreads();  // all have read the last alpha
        if (lattice != nullptr) {
            walk.backward(lattice, steps, last);
        }
    }
    if (threadIdx.x == 0) {
        const float weight = sample_weight != nullptr ? sample_weight[sample] : 1.0f;
        const bool possible = log_p != minus_infinity();
        const float value = weight == 0.0f && !possible ? 0.0f : weight * (float)-log_p;
        loss[sample] = invalid ? not_a_number() : value;
    }
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
    ctc(float* loss, double* totals, float* lattice, int* links, const real* x, const int* labels,
        const float* sample_weight, const int* lengths, const int* label_lengths,
        const float* log_sums, double scale, int steps, int classes, int length, int blank,
        unsigned* ticket)
{
    const Sizes sizes = {steps, classes, length, blank};
    if (sizes.states() <= blockDim.x) {
        ctc_of_sample<1>(loss, lattice, links, x, labels, sample_weight, lengths, label_lengths,
                         log_sums, sizes);
    } else {
        ctc_of_sample<STATES_PER_THREAD>(loss, lattice, links, x, labels, sample_weight, lengths,
                                         label_lengths, log_sums, sizes);
    }
    if (!is_last_block(ticket, gridDim.x)) {
        return;
    }
    double sum = 0.0;
    for (int64 sample = threadIdx.x; sample < gridDim.x; sample += blockDim.x) {
        sum += __ldcg(&loss[sample]);
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        totals[0] += scale * gridDim.x * sum;
        totals[1] += gridDim.x;
    }
}

// --------------------------------------------------------------------------------- the gradient

// A warp has a step. What a class has in the labels is found by the first of its labels, and lies
// in that label's place of the lattice until the row has been written: dx may be x.
template <int WIDTH>
__device__ __forceinline__ void gradient_of_step(real* dx, float* lattice, const int* links,
                                                 const real* x, const int* labels,
                                                 float log_sum, float shift, float factor,
                                                 const Sizes& sizes)
{
    const int lane = threadIdx.x % WARP;
    float of_blank = 0.0f, of_labels = 0.0f;
    for (int s = lane; s < sizes.states(); s += WARP) {
        const float share = expf(lattice[s] - shift);
        of_blank += s % 2 == 0 ? share : 0.0f;
        of_labels += s % 2 == 0 ? 0.0f : share;
    }
    of_blank = warp_sum(of_blank);
    const float all = of_blank + warp_sum(of_labels);
    __syncwarp();  // all states have been read
    for (int place = lane; place < sizes.length; place += WARP) {
        const int label = labels[place];
        if (links[place] > 0 && label >= 0 && label < sizes.classes) {
            float share = 0.0f;
            for (int other = place; other < sizes.length; other = abs(links[other]) - 1) {
                share += expf(lattice[2 * other + 1] - shift);
            }
            const float p = expf((float)x[label] - log_sum);
            lattice[2 * place + 1] = factor * (p - share / all);
        }
    }
    const float p_blank = expf((float)x[sizes.blank] - log_sum);
    __syncwarp();  // the labels' logits have been read
    for (int unit = lane; unit < sizes.classes / WIDTH; unit += WARP) {
        RealPack<WIDTH> values = load_pack<real, WIDTH>(x, unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            values.v[j] = (real)(factor * expf((float)values.v[j] - log_sum));
        }
        store_pack<real, WIDTH>(dx, unit, values);
    }
    __syncwarp();  // the row has been written
    for (int place = lane; place < sizes.length; place += WARP) {
        const int label = labels[place];
        if (links[place] > 0 && label >= 0 && label < sizes.classes) {
            dx[label] = (real)lattice[2 * place + 1];
        }
    }
    if (lane == 0) {
        dx[sizes.blank] = (real)(factor * (p_blank - of_blank / all));
    }
}

template <int WIDTH>
__device__ __forceinline__ void gradient_of_steps(real* dx, float* lattice, const int* links,
                                                  const real* x, const float* loss,
                                                  const int* labels, const float* sample_weight,
                                                  const int* lengths, const float* log_sums,
                                                  double scale, int64 batch, const Sizes& sizes)
{
    const int64 rows = batch * sizes.steps;
    for (int64 row = grid_thread() / WARP; row < rows; row += grid_threads() / WARP) {
        const int64 sample = row / sizes.steps, first = sample * sizes.length;
        const float weight = sample_weight != nullptr ? sample_weight[sample] : 1.0f;
        const bool is_nan = isnan(loss[sample]);
        bool invalid = false;
        const bool counts =
            row % sizes.steps < length_of(lengths, sample, sizes.steps, invalid);
        real* gradient = dx + row * sizes.classes;
        float* states = lattice + row * sizes.states();
        float largest = minus_infinity();
        for (int s = threadIdx.x % WARP; s < sizes.states() && counts; s += WARP) {
            largest = fmaxf(largest, states[s]);
        }
        largest = warp_max(largest);
        if (!counts || (!is_nan && largest == minus_infinity())) {
            for (int unit = threadIdx.x % WARP; unit < sizes.classes / WIDTH; unit += WARP) {
                store_pack<real, WIDTH>(gradient, unit, RealPack<WIDTH>{});
            }
            continue;
        }
        const float factor = is_nan ? not_a_number() : (float)scale * weight;
        gradient_of_step<WIDTH>(gradient, states, links + first, x + row * sizes.classes,
                                labels + first, log_sums[row],
                                largest == minus_infinity() ? 0.0f : largest, factor, sizes);
    }
}

extern "C" __global__ void ctc_gradient(real* dx, float* lattice, const int* links, const real* x,
                                        const float* loss, const int* labels,
                                        const float* sample_weight, const int* lengths,
                                        const float* log_sums, double scale, int64 batch,
                                        int steps, int classes, int length, int blank, int packed)
{
    const Sizes sizes = {steps, classes, length, blank};
    if (packed) {
        gradient_of_steps<PACK>(dx, lattice, links, x, loss, labels, sample_weight, lengths,
                                log_sums, scale, batch, sizes);
    } else {
        gradient_of_steps<1>(dx, lattice, links, x, loss, labels, sample_weight, lengths,
                             log_sums, scale, batch, sizes);
    }
}
