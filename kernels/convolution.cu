// Convolutions as implicit matrix products: patches of the input exist in shared memory only.
//
//   convolution                 y = activation(x * kernel + bias)
//   transposed_convolution      y = activation(x *^T kernel + bias)
//   convolution_kernel_gradient dkernel = sum of x dy over batch and outputs (or +=)
//
// Shapes: fine side (batch, depth, height, width, channels), coarse side (batch, out_depth,
// out_height, out_width, filters), kernel (window_depth, window_height, window_width, channels /
// groups, filters), bias (channels of y) or null. Element w of the window links output o to input
// o * strides + w * dilation - padding; what lies outside is zero. No aliasing.
//
// Method: the tiles of gemm.cuh, of a product whose left side is gathered while it is loaded.
//   convolution      rows: outputs;          summed over: window, channels;  columns: filters
//   transposed       rows: outputs of one residue modulo the strides; summed over: those elements
//                    of the window that reach them, filters;  columns: channels. There is a grid
//                    plane for each residue, so that no product with a zero between strides is made
//   kernel gradient  rows: window, channels; summed over: batch, outputs;    columns: filters. The
//                    sum is dealt to several blocks; their parts, which stay float, are added in
//                    a fixed order
// Where each group has one channel on one side, a thread owns an output instead (depthwise).
//
// Bytes read from global memory: of the patches each tile reads its share once a column of tiles,
// neighbouring patches share what they overlap in (L1 and L2); the kernel once a row of tiles; the
// result is written once, bias read once. The least is x, kernel and y once. Where channels and
// addresses allow it, loads have 16 bytes.
#include "common.cuh"
#include "gemm.cuh"
#include "windows.cuh"

constexpr int STRIP = 32;  // filters of a block of depthwise_kernel_gradient

// The sizes and attributes of an op, as the kernels below take them.
struct Geometry {
    int batch;
    Triple fine;
    int channels;
    Triple coarse;
    int filters;
    Triple window, strides, dilation, padding;
    int groups;
};

#define GPUNET_GEOMETRY_PARAMETERS                                                                \
    int batch, int depth, int height, int width, int channels, int out_depth, int out_height,     \
        int out_width, int filters, int window_depth, int window_height, int window_width,        \
        int stride_depth, int stride_height, int stride_width, int dilation_depth,                \
        int dilation_height, int dilation_width, int padding_depth, int padding_height,           \
        int padding_width, int groups
#define GPUNET_GEOMETRY                                                                           \
    Geometry                                                                                      \
    {                                                                                             \
        batch, {depth, height, width}, channels, {out_depth, out_height, out_width}, filters,     \
            {window_depth, window_height, window_width},                                          \
            {stride_depth, stride_height, stride_width},                                          \
            {dilation_depth, dilation_height, dilation_width},                                    \
            {padding_depth, padding_height, padding_width}, groups                                \
    }

// ------------------------------------------------------------------------------------- operands

// Element t of the window of output o lies at input first + o * stride + t * step.
struct Windows {
    Triple first, stride, step, taps;
};

// The patches of x as a matrix (batch * outputs, taps * channels) that exists nowhere. A thread keeps
// its row (or its column) from step to step, so that only the other is worked out again.
struct Patches {
    const real* x;  // of the group's first channel
    int rows, columns, channels, stride;
    bool packed;
    Triple inputs, outputs;
    Windows windows;
    bool keeps_row, keeps_column;
    const real* image;  // of the row that is kept; null outside of the matrix
    Triple corner;      // its first input
    Triple reach;       // from there to the element of the column that is kept
    int channel;        // of that column

    __device__ __forceinline__ Patches(const real* x_, int batch, const Triple& inputs_,
                                       const Triple& outputs_, int channels_, int stride_,
                                       const Windows& windows_)
        : x(x_), rows(batch * outputs_.size()), columns(windows_.taps.size() * channels_),
          channels(channels_), stride(stride_),
          packed(channels_ % PACK == 0 && stride_ % PACK == 0 && is_aligned(x_)),
          inputs(inputs_), outputs(outputs_), windows(windows_), keeps_row(false),
          keeps_column(false)
    {
    }

    __device__ __forceinline__ void find_row(int row)
    {
        const unsigned sample = (unsigned)row / (unsigned)outputs.size();
        const Triple o = outputs.at((unsigned)row - sample * outputs.size());
        corner = windows.first + o * windows.stride;
        image = row < rows ? x + (int64)sample * inputs.size() * stride : nullptr;
    }
    __device__ __forceinline__ void find_column(int column)
    {
        const unsigned tap = (unsigned)column / (unsigned)channels;
        reach = windows.taps.at(tap) * windows.step;
        channel = column - tap * channels;
    }
    __device__ __forceinline__ void keep_row(int row)
    {
        find_row(row);
        keeps_row = true;
    }
    __device__ __forceinline__ void keep_column(int column)
    {
        find_column(column);
        keeps_column = true;
    }

    template <int WIDTH>
    __device__ __forceinline__ RealPack<WIDTH> load(int row, int column)
    {
        RealPack<WIDTH> result = {};
        if (!keeps_row) {
            find_row(row);
        }
        if (image == nullptr || column >= columns) {
            return result;
        }
        if (packed) {
            if (!keeps_column) {
                find_column(column);
            }
            const Triple i = corner + reach;
            if (inputs.holds(i)) {
                const real* p = image + (int64)inputs.place(i) * stride + channel;
                result = load_pack<real, WIDTH>(p, 0);
            }
            return result;
        }
#pragma unroll 1
        for (int j = 0; j < WIDTH; ++j) {
            find_column(column + j);
            const Triple i = corner + reach;
            if (column + j < columns && inputs.holds(i)) {
                const real value = image[(int64)inputs.place(i) * stride + channel];
#pragma unroll
                for (int other = 0; other < WIDTH; ++other) {  // registers have no addresses
                    result.v[other] = other == j ? value : result.v[other];
                }
            }
        }
        return result;
    }
};

// Those elements of the window that reach the outputs of one residue, the last first: along each
// axis last, last - apart, ... (count of them).
struct Phase {
    Triple residue, last, apart;
    Windows windows;
};

__device__ __forceinline__ void find_phase(int residue, int taps, int stride, int dilation,
                                           int padding, int& last, int& apart, int& count,
                                           int& first, int& step)
{
    const int reach = residue + padding;
    last = 0;
    apart = 1;
    count = 0;
    for (int t = taps - 1; t >= 0; --t) {
        if ((reach - t * dilation) % stride == 0) {
            if (count == 0) {
                last = t;
            } else if (count == 1) {
                apart = last - t;
            }
            ++count;
        }
    }
    first = (reach - last * dilation) / stride;  // without a remainder, if there is a tap
    step = apart * dilation / stride;
}

__device__ __forceinline__ Phase phase_of(const Geometry& g, int number)
{
    Phase phase;
    phase.residue = g.strides.at(number);
    phase.windows.stride = {1, 1, 1};
    find_phase(phase.residue.depth, g.window.depth, g.strides.depth, g.dilation.depth,
               g.padding.depth, phase.last.depth, phase.apart.depth, phase.windows.taps.depth,
               phase.windows.first.depth, phase.windows.step.depth);
    find_phase(phase.residue.height, g.window.height, g.strides.height, g.dilation.height,
               g.padding.height, phase.last.height, phase.apart.height, phase.windows.taps.height,
               phase.windows.first.height, phase.windows.step.height);
    find_phase(phase.residue.width, g.window.width, g.strides.width, g.dilation.width,
               g.padding.width, phase.last.width, phase.apart.width, phase.windows.taps.width,
               phase.windows.first.width, phase.windows.step.width);
    return phase;
}

// The kernel as the right side of a transposed convolution: (channels, taps of a phase * filters).
struct TurnedKernel {
    const real* kernel;  // of the group's first filter
    int rows, columns, filters, stride;
    bool packed;
    int last;           // the number of the first tap's element of the window
    Triple taps, step;  // and by how much less it is of the next tap along each axis

    __device__ __forceinline__ TurnedKernel(const real* kernel_, const Geometry& g,
                                            const Phase& phase)
        : kernel(kernel_), rows(g.channels / g.groups),
          columns(phase.windows.taps.size() * (g.filters / g.groups)),
          filters(g.filters / g.groups), stride(g.filters),
          packed(filters % PACK == 0 && stride % PACK == 0 && is_aligned(kernel_)),
          last(g.window.place(phase.last)), taps(phase.windows.taps),
          step{phase.apart.depth * g.window.height * g.window.width,
               phase.apart.height * g.window.width, phase.apart.width}
    {
    }
    __device__ __forceinline__ void keep_row(int) {}
    __device__ __forceinline__ void keep_column(int) {}

    __device__ __forceinline__ const real* at(int row, int column) const
    {
        const unsigned tap = (unsigned)column / (unsigned)filters;
        const Triple steps = taps.at(tap) * step;
        const int place = last - steps.depth - steps.height - steps.width;
        return kernel + ((int64)place * rows + row) * stride + (column - tap * filters);
    }

    template <int WIDTH>
    __device__ __forceinline__ RealPack<WIDTH> load(int row, int column) const
    {
        RealPack<WIDTH> result = {};
        if (row < rows && column < columns) {
            if (packed) {
                result = load_pack<real, WIDTH>(at(row, column), 0);
            } else {
                constexpr int UNROLLED = WIDTH > QUAD ? 1 : WIDTH;  // for want of registers
#pragma unroll UNROLLED
                for (int j = 0; j < WIDTH; ++j) {
                    if (column + j < columns) {
                        const real value = *at(row, column + j);
#pragma unroll
                        for (int other = 0; other < WIDTH; ++other) {
                            result.v[other] = other == j ? value : result.v[other];
                        }
                    }
                }
            }
        }
        return result;
    }
};

// Which outputs a residue has, in shared memory: nobody needs it before the end.
struct PhasePlaces {
    Triple residue, sizes;
};

// The outputs of one residue, as a matrix (batch * those outputs, channels) that lies scattered.
struct PhaseOutputs {
    Matrix<real> all;
    int rows, columns;
    Triple outputs, strides;
    const PhasePlaces* places;

    template <int WIDTH>
    __device__ __forceinline__ void store(int row, int column, const Pack<float, WIDTH>& values)
    {
        if (row < rows) {
            const Triple sizes = places->sizes;
            const unsigned sample = (unsigned)row / (unsigned)sizes.size();
            const Triple j = sizes.at((unsigned)row - sample * sizes.size());
            const int place = outputs.place(places->residue + j * strides);
            all.store(sample * outputs.size() + place, column, values);
        }
    }
};

// --------------------------------------------------------------------------------- the products

template <int TILE>
__device__ __forceinline__ void convolve(real* y, const real* x, const real* kernel,
                                         const real* bias, const Geometry& g,
                                         const Activation& activation)
{
    const int group = blockIdx.y, channels = g.channels / g.groups, filters = g.filters / g.groups;
    const Triple zero = {0, 0, 0};
    const Windows windows = {zero - g.padding, g.strides, g.dilation, g.window};
    const Patches patches(x + group * channels, g.batch, g.fine, g.coarse, channels, g.channels,
                          windows);
    const Matrix<const real> weights(kernel + group * filters, patches.columns, filters, g.filters);
    const BiasActivation epilogue = {
        {bias == nullptr ? nullptr : bias + group * filters, 1, filters}, activation};
    multiply_tiles<TILE / SIDE>(
        Matrix<real>(y + group * filters, patches.rows, filters, g.filters), patches, false,
        weights, true, Range{0, patches.columns}, epilogue);
}

template <int TILE>
__device__ __forceinline__ void convolve_transposed(real* y, const real* x, const real* kernel,
                                                    const real* bias, const Geometry& g,
                                                    const Activation& activation)
{
    const int group = blockIdx.y, channels = g.channels / g.groups, filters = g.filters / g.groups;
    const Phase phase = phase_of(g, blockIdx.z);
    const Triple one = {1, 1, 1}, left = g.fine + g.strides - one - phase.residue;
    const Triple sizes = {left.depth / g.strides.depth, left.height / g.strides.height,
                          left.width / g.strides.width};
    const Patches patches(x + group * filters, g.batch, g.coarse, sizes, filters, g.filters,
                          phase.windows);
    const unsigned tiles_across = (channels + TILE - 1) / TILE;
    if (blockIdx.x / tiles_across * TILE >= patches.rows) {
        return;  // other residues have more outputs
    }
    const TurnedKernel weights(kernel + group * filters, g, phase);
    const BiasActivation epilogue = {
        {bias == nullptr ? nullptr : bias + group * channels, 1, channels}, activation};
    __shared__ PhasePlaces places;
    if (threadIdx.x == 0) {
        places = {phase.residue, sizes};
    }
    __syncthreads();
    const PhaseOutputs outputs = {
        {y + group * channels, g.batch * g.fine.size(), channels, g.channels},
        patches.rows, channels, g.fine, g.strides, &places};
    multiply_tiles<TILE / SIDE>(outputs, patches, false, weights, false,
                                       Range{0, patches.columns}, epilogue);
}

// Where a block puts its sums: into dkernel or, if there are several, into its own part.
struct KernelGradient {
    Matrix<real> whole;
    Matrix<float> part;
    int rows, columns;
    bool in_parts;

    template <int WIDTH>
    __device__ __forceinline__ void store(int row, int column, const Pack<float, WIDTH>& values)
    {
        if (in_parts) {
            part.store(row, column, values);
        } else {
            whole.store(row, column, values);
        }
    }
};

// Block z sums over the outputs z * length ...
template <int TILE>
__device__ __forceinline__ void find_kernel_gradient(real* dkernel, float* parts, const real* x,
                                                     const real* dy, const Geometry& g,
                                                     bool accumulate, int length)
{
    const int group = blockIdx.y, channels = g.channels / g.groups, filters = g.filters / g.groups;
    const Triple zero = {0, 0, 0};
    const Windows windows = {zero - g.padding, g.strides, g.dilation, g.window};
    const Patches patches(x + group * channels, g.batch, g.fine, g.coarse, channels, g.channels,
                          windows);
    const Matrix<const real> gradients(dy + group * filters, patches.rows, filters, g.filters);
    const Matrix<real> whole(dkernel + group * filters, patches.columns, filters, g.filters);
    const int64 before = (int64)blockIdx.z * patches.columns * g.filters;
    const KernelGradient target = {
        whole, {parts + before + group * filters, whole.rows, whole.columns, g.filters},
        whole.rows, whole.columns, gridDim.z > 1};
    const Accumulate epilogue = {{whole.data, whole.rows, whole.columns, g.filters},
                                 accumulate && !target.in_parts};
    const int first = blockIdx.z * length;
    multiply_tiles<TILE / SIDE>(
        target, patches, true, gradients, true,
        Range{first, smaller(first + length, patches.rows)}, epilogue);
}

#define GPUNET_CONVOLUTION_KERNELS(TILE)                                                          \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) convolution_tile##TILE(              \
        real* y, const real* x, const real* kernel, const real* bias, int activation, float p,    \
        float q, float r, GPUNET_GEOMETRY_PARAMETERS)                                             \
    {                                                                                             \
        convolve<TILE>(y, x, kernel, bias, GPUNET_GEOMETRY, {activation, p, q, r});               \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2) transposed_convolution_tile##TILE(   \
        real* y, const real* x, const real* kernel, const real* bias, int activation, float p,    \
        float q, float r, GPUNET_GEOMETRY_PARAMETERS)                                             \
    {                                                                                             \
        convolve_transposed<TILE>(y, x, kernel, bias, GPUNET_GEOMETRY,                            \
                                         {activation, p, q, r});                                  \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS, 2)                                      \
        convolution_kernel_gradient_tile##TILE(real* dkernel, float* parts, const real* x,        \
                                               const real* dy, int accumulate, int length,        \
                                               GPUNET_GEOMETRY_PARAMETERS)                        \
    {                                                                                             \
        find_kernel_gradient<TILE>(dkernel, parts, x, dy, GPUNET_GEOMETRY,                        \
                                          accumulate != 0, length);                               \
    }

GPUNET_CONVOLUTION_KERNELS(128)
GPUNET_CONVOLUTION_KERNELS(64)
GPUNET_CONVOLUTION_KERNELS(32)

// total = (or +=) parts[0] + parts[1] + ..., each of n elements.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_sum_of_parts(
    real* total, const float* parts, int64 n, int count, int accumulate)
{
    for (int64 i = grid_thread(); i < n; i += grid_threads()) {
        float sum = accumulate ? (float)total[i] : 0.0f;
        for (int part = 0; part < count; ++part) {
            sum += parts[part * n + i];
        }
        total[i] = (real)sum;
    }
}

// ------------------------------------------------------------------------------------ depthwise

template <int WIDTH>
__device__ __forceinline__ void store_finished(real* y, const float (&sums)[WIDTH],
                                               const real* bias, const Activation& activation)
{
    Pack<real, WIDTH> result;
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        const float shift = bias == nullptr ? 0.0f : (float)bias[j];
        result.v[j] = (real)activate(sums[j] + shift, activation);
    }
    store_pack<real, WIDTH>(y, 0, result);
}

// sums += a * b, element by element.
template <int WIDTH>
__device__ __forceinline__ void add_products(float (&sums)[WIDTH], const real* a, const real* b)
{
    const Pack<real, WIDTH> left = load_pack<real, WIDTH>(a, 0);
    const Pack<real, WIDTH> right = load_pack<real, WIDTH>(b, 0);
#pragma unroll
    for (int j = 0; j < WIDTH; ++j) {
        sums[j] += (float)left.v[j] * (float)right.v[j];
    }
}

// One thread a pack of filters of one output. Filter f sees channel f / (filters / channels).
template <int WIDTH>
__device__ void depthwise(real* y, const real* x, const real* kernel, const real* bias,
                          const Geometry& g, const Activation& activation)
{
    const int units = g.filters / WIDTH, many = g.filters / g.channels;
    const unsigned unit = blockIdx.x * blockDim.x + threadIdx.x, position = unit / (unsigned)units;
    if (position >= (unsigned)g.coarse.size()) {
        return;
    }
    const int f = (unit - position * units) * WIDTH;
    const Triple corner = g.coarse.at(position) * g.strides - g.padding;
    for (int64 sample = blockIdx.y; sample < g.batch; sample += gridDim.y) {
        const real* image = x + sample * g.fine.size() * g.channels + f / many;
        float sums[WIDTH] = {};
        for (int tap = 0; tap < g.window.size(); ++tap) {
            const Triple i = corner + g.window.at(tap) * g.dilation;
            if (g.fine.holds(i)) {
                add_products<WIDTH>(sums, image + (int64)g.fine.place(i) * g.channels,
                                    kernel + (int64)tap * g.filters + f);
            }
        }
        store_finished<WIDTH>(y + (sample * g.coarse.size() + position) * g.filters + f, sums,
                              bias == nullptr ? nullptr : bias + f, activation);
    }
}

// One thread a pack of channels of one output i = o * strides + w * dilation - padding.
template <int WIDTH>
__device__ void depthwise_transposed(real* y, const real* x, const real* kernel, const real* bias,
                                     const Geometry& g, const Activation& activation)
{
    const int units = g.channels / WIDTH, many = g.filters / g.channels;
    const unsigned unit = blockIdx.x * blockDim.x + threadIdx.x, position = unit / (unsigned)units;
    if (position >= (unsigned)g.fine.size()) {
        return;
    }
    const int c = (unit - position * units) * WIDTH;
    const Triple i = g.fine.at(position);
    for (int64 sample = blockIdx.y; sample < g.batch; sample += gridDim.y) {
        const real* image = x + sample * g.coarse.size() * g.filters + c * many;
        float sums[WIDTH] = {};
        for (int tap = 0; tap < g.window.size(); ++tap) {
            const Triple far = i + g.padding - g.window.at(tap) * g.dilation;  // o * strides
            const Triple o = {far.depth / g.strides.depth, far.height / g.strides.height,
                              far.width / g.strides.width};
            const Triple rest = far - o * g.strides;
            if (rest.depth == 0 && rest.height == 0 && rest.width == 0 && g.coarse.holds(o)) {
                const int64 place = (int64)g.coarse.place(o) * g.filters;
#pragma unroll 1  // mostly there is one; unrolled, sm_86 and sm_89 spill in 16 bits
                for (int member = 0; member < many; ++member) {
                    add_products<WIDTH>(sums, image + place + member,
                                        kernel + (int64)tap * g.filters + c * many + member);
                }
            }
        }
        store_finished<WIDTH>(y + (sample * g.fine.size() + position) * g.channels + c, sums,
                              bias == nullptr ? nullptr : bias + c, activation);
    }
}

#define GPUNET_DEPTHWISE_KERNELS(SUFFIX, WIDTH)                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) depthwise_convolution##SUFFIX(          \
        real* y, const real* x, const real* kernel, const real* bias, int activation, float p,    \
        float q, float r, GPUNET_GEOMETRY_PARAMETERS)                                             \
    {                                                                                             \
        depthwise<WIDTH>(y, x, kernel, bias, GPUNET_GEOMETRY, {activation, p, q, r});             \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                         \
        depthwise_transposed_convolution##SUFFIX(                                                 \
            real* y, const real* x, const real* kernel, const real* bias, int activation,         \
            float p, float q, float r, GPUNET_GEOMETRY_PARAMETERS)                                \
    {                                                                                             \
        depthwise_transposed<WIDTH>(y, x, kernel, bias, GPUNET_GEOMETRY, {activation, p, q, r});  \
    }

GPUNET_DEPTHWISE_KERNELS(, 1)
GPUNET_DEPTHWISE_KERNELS(_packed, PACK)

// A block (STRIP filters, THREADS / STRIP rows of threads) for each strip of filters (x), element of
// the window (y) and share of the outputs (z).
extern "C" __global__ void __launch_bounds__(THREADS) depthwise_kernel_gradient(
    real* dkernel, float* parts, const real* x, const real* dy, int accumulate, int length,
    GPUNET_GEOMETRY_PARAMETERS)
{
    constexpr int ROWS = THREADS / STRIP;
    __shared__ float sums[ROWS][STRIP];
    const Geometry g = GPUNET_GEOMETRY;
    const int f = blockIdx.x * STRIP + threadIdx.x, c = f / (g.filters / g.channels);
    const int positions = g.batch * g.coarse.size();
    const int first = blockIdx.z * length, last = smaller(first + length, positions);
    const Triple reach = g.window.at(blockIdx.y) * g.dilation - g.padding;
    float sum = 0.0f;
    if (f < g.filters) {
        for (int position = first + threadIdx.y; position < last; position += ROWS) {
            const int sample = position / g.coarse.size();
            const Triple i = g.coarse.at(position - sample * g.coarse.size()) * g.strides + reach;
            if (g.fine.holds(i)) {
                const int64 input = (int64)sample * g.fine.size() + g.fine.place(i);
                sum += (float)x[input * g.channels + c] * (float)dy[(int64)position * g.filters + f];
            }
        }
    }
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && f < g.filters) {
        for (int row = 1; row < ROWS; ++row) {
            sum += sums[row][threadIdx.x];
        }
        if (gridDim.z > 1) {
            parts[((int64)blockIdx.z * gridDim.y + blockIdx.y) * g.filters + f] = sum;
        } else {
            real& whole = dkernel[(int64)blockIdx.y * g.filters + f];
            whole = (real)(sum + (accumulate ? (float)whole : 0.0f));
        }
    }
}
