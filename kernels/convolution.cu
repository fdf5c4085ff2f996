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
// Where each group has one channel on one side see depthwise.cu.
//
// Bytes read from global memory: of the patches each tile reads its share once a column of tiles,
// neighbouring patches share what they overlap in (L1 and L2); the kernel once a row of tiles; the
// result is written once, bias read once. The least is x, kernel and y once. Where channels and
// addresses allow it, loads have 16 bytes.
#include "common.cuh"
#include "activations.cuh"
#include "gemm.cuh"
#include "epilogues.cuh"
#include "windows.cuh"
#include "geometry.cuh"

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
