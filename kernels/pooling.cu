// Pooling over windows of (depth, height, width).
//
//   max_pool               y = the largest x of each window, argmax = its place in the window
//   max_pool_backward      dx = sum of dy over the windows whose largest x stood here
//   average_pool           y = the mean of what of each window lies inside
//   average_pool_backward  dx = sum of dy / n over the windows that x lies in
//
// Shapes: x, dx (batch, depth, height, width, channels), y, dy, argmax (batch, out_depth, out_height,
// out_width, channels). Element w of the window of output o lies at input o * strides + w - padding.
// Places are bytes, or int32 where windows have more than 256 elements. No aliasing.
//
// A thread owns a pack of channels of one output (backward: of one input, whose gradient it gathers
// from the windows that contain it: nothing is added from two sides). Where windows are large, as in
// global pooling, the threads of a column of the block share a window and combine what they found in
// a fixed order. Bytes of a 2x2 window: x once and a quarter of y and of a byte, 5.25 an input
// element (the least); backward the same, dx written once.
#include "common.cuh"
#include "windows.cuh"

constexpr int THREADS = 256;

struct Pooling {
    int batch;
    Triple inputs, outputs;
    int channels;
    Triple window, strides, padding;

    // Where the part of output o's window that lies inside begins, and its sizes.
    __device__ __forceinline__ Triple first_inside(const Triple& o) const
    {
        const Triple start = o * strides - padding;
        return {max(start.depth, 0), max(start.height, 0), max(start.width, 0)};
    }
    __device__ __forceinline__ Triple sizes_inside(const Triple& o) const
    {
        const Triple stop = o * strides - padding + window, first = first_inside(o);
        return Triple{min(stop.depth, inputs.depth), min(stop.height, inputs.height),
                      min(stop.width, inputs.width)}
               - first;
    }
    // The outputs whose windows contain input i: the first, and how many along each axis.
    __device__ __forceinline__ Triple first_window(const Triple& i) const
    {
        const Triple far = i + padding - window;
        return {far.depth < 0 ? 0 : far.depth / strides.depth + 1,
                far.height < 0 ? 0 : far.height / strides.height + 1,
                far.width < 0 ? 0 : far.width / strides.width + 1};
    }
    __device__ __forceinline__ Triple windows(const Triple& i, const Triple& first) const
    {
        const Triple far = i + padding;
        return {max(min(far.depth / strides.depth + 1, outputs.depth) - first.depth, 0),
                max(min(far.height / strides.height + 1, outputs.height) - first.height, 0),
                max(min(far.width / strides.width + 1, outputs.width) - first.width, 0)};
    }
};

#define GPUNET_POOLING_PARAMETERS                                                                 \
    int batch, int depth, int height, int width, int channels, int out_depth, int out_height,     \
        int out_width, int window_depth, int window_height, int window_width, int stride_depth,   \
        int stride_height, int stride_width, int padding_depth, int padding_height,               \
        int padding_width
#define GPUNET_POOLING                                                                            \
    Pooling                                                                                       \
    {                                                                                             \
        batch, {depth, height, width}, {out_depth, out_height, out_width}, channels,              \
            {window_depth, window_height, window_width},                                          \
            {stride_depth, stride_height, stride_width},                                          \
        {                                                                                         \
            padding_depth, padding_height, padding_width                                          \
        }                                                                                         \
    }

// Which place and pack of channels a unit of work on one sample is.
struct Unit {
    Triple place;
    int channel;

    __device__ __forceinline__ Unit(unsigned unit, unsigned units, int width, const Triple& sizes)
    {
        const unsigned position = unit / units;
        place = sizes.at(position);
        channel = (unit - position * units) * width;
    }
};

// dx = what `add` sums up over the windows that contain an input, for each pack of inputs; `add` gets
// the place of the window's output in dy, the input and the output.
template <int WIDTH, typename Add>
__device__ __forceinline__ void for_each_input(real* dx, const Pooling& p, Add add)
{
    const unsigned units = p.channels / WIDTH, number = blockIdx.x * blockDim.x + threadIdx.x;
    if (number >= p.inputs.size() * units) {
        return;
    }
    const Unit unit(number, units, WIDTH, p.inputs);
    const Triple first = p.first_window(unit.place), count = p.windows(unit.place, first);
    for (int64 sample = blockIdx.y; sample < p.batch; sample += gridDim.y) {
        float sums[WIDTH] = {};
        for (int window = 0; window < count.size(); ++window) {
            const Triple o = first + count.at(window);
            const int64 output = sample * p.outputs.size() + p.outputs.place(o);
            add(output * p.channels + unit.channel, unit.place, o, sums);
        }
        Pack<real, WIDTH> result;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            result.v[j] = (real)sums[j];
        }
        const int64 input = sample * p.inputs.size() + p.inputs.place(unit.place);
        store_pack<real, WIDTH>(dx + input * p.channels + unit.channel, 0, result);
    }
}

// ------------------------------------------------------------------------------------- the largest

template <int WIDTH>
struct Largest {
    float value[WIDTH];
    int place[WIDTH];  // -1: none yet

    __device__ __forceinline__ void clear()
    {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            value[j] = minus_infinity();
            place[j] = -1;
        }
    }
    // Takes another number if it is larger, NaN, or as large and stands before.
    __device__ __forceinline__ void see(int j, float other, int where)
    {
        const bool first = place[j] < 0 || (other == value[j] && where < place[j]);
        if (where >= 0 && (first || other > value[j] || other != other)) {
            value[j] = value[j] != value[j] ? value[j] : other;  // a NaN stays
            place[j] = where;
        }
    }
};

template <int WIDTH, typename Place>
__device__ void find_largest(real* y, Place* argmax, const real* x, const Pooling& p)
{
    __shared__ Largest<WIDTH> shared[THREADS];
    const int units = p.channels / WIDTH, across = blockDim.x, sharing = blockDim.y;
    const unsigned all = p.outputs.size() * units, start = blockIdx.x * across;
    const bool active = start + threadIdx.x < all;
    const Unit unit(active ? start + threadIdx.x : start, units, WIDTH, p.outputs);
    for (int64 sample = blockIdx.y; sample < p.batch; sample += gridDim.y) {
        const Triple corner = unit.place * p.strides - p.padding;
        const Triple first = p.first_inside(unit.place), sizes = p.sizes_inside(unit.place);
        const real* image = x + sample * p.inputs.size() * p.channels + unit.channel;
        Largest<WIDTH> best;
        best.clear();
        for (int inside = threadIdx.y; inside < sizes.size(); inside += sharing) {
            const Triple i = first + sizes.at(inside);
            const int place = p.window.place(i - corner);
            const Pack<real, WIDTH> pack =
                load_pack<real, WIDTH>(image + (int64)p.inputs.place(i) * p.channels, 0);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                best.see(j, (float)pack.v[j], place);
            }
        }
        if (sharing > 1) {
            __syncthreads();  // what was shared for the output before has been read
            shared[threadIdx.y * across + threadIdx.x] = best;
            __syncthreads();
            for (int other = 1; threadIdx.y == 0 && other < sharing; ++other) {
                const Largest<WIDTH>& found = shared[other * across + threadIdx.x];
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    best.see(j, found.value[j], found.place[j]);
                }
            }
        }
        if (active && threadIdx.y == 0) {
            const int64 element =
                (sample * p.outputs.size() + p.outputs.place(unit.place)) * p.channels + unit.channel;
            Pack<real, WIDTH> values;
            Pack<Place, WIDTH> places;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                values.v[j] = (real)best.value[j];
                const bool is_nan = best.value[j] != best.value[j];
                places.v[j] = (Place)(is_nan ? p.window.size() - 1 : best.place[j]);
            }
            store_pack<real, WIDTH>(y + element, 0, values);
            if (argmax != nullptr) {
                store_pack<Place, WIDTH>(argmax + element, 0, places);
            }
        }
    }
}

template <int WIDTH, typename Place>
__device__ void spread_to_largest(real* dx, const real* dy, const Place* argmax, const Pooling& p)
{
    for_each_input<WIDTH>(dx, p, [&](int64 element, const Triple& i, const Triple& o, float* sums) {
        const int place = p.window.place(i + p.padding - o * p.strides);
        const Pack<Place, WIDTH> places = load_pack<Place, WIDTH>(argmax + element, 0);
        const Pack<real, WIDTH> pack = load_pack<real, WIDTH>(dy + element, 0);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sums[j] += places.v[j] == place ? (float)pack.v[j] : 0.0f;
        }
    });
}

// ---------------------------------------------------------------------------------------- the mean

template <int WIDTH>
__device__ void find_mean(real* y, const real* x, const Pooling& p)
{
    __shared__ Pack<float, WIDTH> shared[THREADS];
    const int units = p.channels / WIDTH, across = blockDim.x, sharing = blockDim.y;
    const unsigned all = p.outputs.size() * units, start = blockIdx.x * across;
    const bool active = start + threadIdx.x < all;
    const Unit unit(active ? start + threadIdx.x : start, units, WIDTH, p.outputs);
    for (int64 sample = blockIdx.y; sample < p.batch; sample += gridDim.y) {
        const Triple first = p.first_inside(unit.place), sizes = p.sizes_inside(unit.place);
        const real* image = x + sample * p.inputs.size() * p.channels + unit.channel;
        Pack<float, WIDTH> sums = {};
        for (int inside = threadIdx.y; inside < sizes.size(); inside += sharing) {
            const int64 i = p.inputs.place(first + sizes.at(inside));
            const Pack<real, WIDTH> pack = load_pack<real, WIDTH>(image + i * p.channels, 0);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums.v[j] += (float)pack.v[j];
            }
        }
        if (sharing > 1) {
            __syncthreads();  // what was shared for the output before has been read
            shared[threadIdx.y * across + threadIdx.x] = sums;
            __syncthreads();
            for (int other = 1; threadIdx.y == 0 && other < sharing; ++other) {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) {
                    sums.v[j] += shared[other * across + threadIdx.x].v[j];
                }
            }
        }
        if (active && threadIdx.y == 0) {
            const int64 element =
                (sample * p.outputs.size() + p.outputs.place(unit.place)) * p.channels + unit.channel;
            Pack<real, WIDTH> result;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                result.v[j] = (real)(sums.v[j] / (float)sizes.size());
            }
            store_pack<real, WIDTH>(y + element, 0, result);
        }
    }
}

template <int WIDTH>
__device__ void spread_evenly(real* dx, const real* dy, const Pooling& p)
{
    for_each_input<WIDTH>(dx, p, [&](int64 element, const Triple&, const Triple& o, float* sums) {
        const float share = __fdividef(1.0f, (float)p.sizes_inside(o).size());
        const Pack<real, WIDTH> pack = load_pack<real, WIDTH>(dy + element, 0);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            sums[j] += (float)pack.v[j] * share;
        }
    });
}

// ------------------------------------------------------------------------------------- the kernels

#define GPUNET_MAX_POOL_KERNELS(SUFFIX, WIDTH, PLACE)                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) max_pool##SUFFIX(                       \
        real* y, PLACE* argmax, const real* x, GPUNET_POOLING_PARAMETERS)                         \
    {                                                                                             \
        find_largest<WIDTH, PLACE>(y, argmax, x, GPUNET_POOLING);                                 \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) max_pool_backward##SUFFIX(              \
        real* dx, const real* dy, const PLACE* argmax, GPUNET_POOLING_PARAMETERS)                 \
    {                                                                                             \
        spread_to_largest<WIDTH, PLACE>(dx, dy, argmax, GPUNET_POOLING);                          \
    }

GPUNET_MAX_POOL_KERNELS(_uint8, 1, unsigned char)
GPUNET_MAX_POOL_KERNELS(_uint8_packed, PACK, unsigned char)
GPUNET_MAX_POOL_KERNELS(_int32, 1, int)
GPUNET_MAX_POOL_KERNELS(_int32_packed, FLOAT_PACK, int)

#define GPUNET_AVERAGE_POOL_KERNELS(SUFFIX, WIDTH)                                                \
    extern "C" __global__ void __launch_bounds__(THREADS) average_pool##SUFFIX(                   \
        real* y, const real* x, GPUNET_POOLING_PARAMETERS)                                        \
    {                                                                                             \
        find_mean<WIDTH>(y, x, GPUNET_POOLING);                                                   \
    }                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) average_pool_backward##SUFFIX(          \
        real* dx, const real* dy, GPUNET_POOLING_PARAMETERS)                                      \
    {                                                                                             \
        spread_evenly<WIDTH>(dx, dy, GPUNET_POOLING);                                             \
    }

GPUNET_AVERAGE_POOL_KERNELS(, 1)
GPUNET_AVERAGE_POOL_KERNELS(_packed, PACK)
