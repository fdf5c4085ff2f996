// Convolutions whose groups have one channel on one side: a thread owns an output.
//
//   depthwise_convolution             y = activation(x * kernel + bias)
//   depthwise_transposed_convolution  y = activation(x *^T kernel + bias)
//   depthwise_kernel_gradient         dkernel = sum of x dy over batch and outputs (or +=); several
//                                     blocks leave parts for convolution_sum_of_parts
//
// Shapes, bytes and the rest as in convolution.cu; filter f sees channel f / (filters / channels).
#include "common.cuh"
#include "activations.cuh"
#include "windows.cuh"
#include "geometry.cuh"

constexpr int THREADS = 256;
constexpr int STRIP = 32;  // filters of a block of depthwise_kernel_gradient

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
    const int first = blockIdx.z * length, last = min(first + length, positions);
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
