// Random transformations of images, affine sampling, brightness and contrast.
//
//   random_factors         factors_n = low + (high - low) u_0
//   random_affine          matrices (a, b, c, d, e, f) of flips, rotations, zooms and shifts
//   affine_image           y[n, i, j] = x[n] at column a j + b i + c and row d j + e i + f
//   affine_image_backward  dx = the gradient of x: dy goes back to where it came from
//   adjust_image           y = clip((x - mean) factor + mean + shift)
//   clip_backward          dx = dy where low < y < high, else 0
//
// u_0 ... u_7 of sample n are the numbers of NumPy's Philox4x64-10 with key (seed, 0) and counter
// (n + 1, node, pass, 0), where random = (seed, pass). Shapes: x (images, height, width, colors), y
// with another height and width, matrices (images, 6) or null for one matrix for all; factors,
// factor and shift (images), mean (images, colors). Images are real, all else is float,
// also `sums`, in which affine_image_backward adds dx up. Beyond the
// image fill modes take the index that NumPy's floor division gives; products and sums of places
// are not fused, so that all devices come to the same pixels.
//
// Bytes an element: affine_image reads each pixel that it needs from memory once (1 neighbour of 4
// with "nearest", 4 with "bilinear", most of them from the cache) and writes 4; adjust_image 4 + 4;
// clip_backward 8 + 4: the least. affine_image_backward adds up in the order of the output, one
// thread for each color of each image, and is as slow as that sounds: training does not need it.
//
// Aliasing: y = x (adjust_image), dx = dy or y (clip_backward).
#include "common.cuh"
#include "philox.cuh"

constexpr int NUMBERS = 8;  // of a sample

// Number j of a sample's block: the low half of each word comes first.
__device__ __forceinline__ float number(const Words4& words, int j)
{
    return uniform((unsigned)(words.word[j / 2] >> (32 * (j % 2))));
}

struct Range {
    float low, width;

    __device__ __forceinline__ float at(float u) const
    {
        return __fadd_rn(low, __fmul_rn(width, u));
    }
};

extern "C" __global__ void random_factors(float* factors, const uint64* random, float low,
                                          float width, uint64 node, int64 rows)
{
    for (int64 n = grid_thread(); n < rows; n += grid_threads()) {
        const Words4 words = philox4x64(n + 1, node, random[1], 0, random[0], 0);
        factors[n] = Range{low, width}.at(number(words, 0));
    }
}

extern "C" __global__ void random_affine(float* matrices, const uint64* random, int height,
                                         int width, uint64 node, int flip_y, int flip_x,
                                         float turn, float turn_width, float zoom_y,
                                         float zoom_y_width, float zoom_x, float zoom_x_width,
                                         int same_zoom, float shift_y, float shift_y_width,
                                         float shift_x, float shift_x_width, int whole,
                                         int64 rows)
{
    const float center_y = 0.5f * (height - 1), center_x = 0.5f * (width - 1);
    for (int64 n = grid_thread(); n < rows; n += grid_threads()) {
        const Words4 words = philox4x64(n + 1, node, random[1], 0, random[0], 0);
        const float mirrored = number(words, 0) <= 0.5f ? -1.0f : 1.0f;
        const float angle = __fmul_rn(6.28318530717958648f,
                                      Range{turn, turn_width}.at(number(words, 1)));
        float zy = Range{zoom_y, zoom_y_width}.at(number(words, 2));
        float zx = same_zoom ? zy : Range{zoom_x, zoom_x_width}.at(number(words, 3));
        float sy = Range{shift_y, shift_y_width}.at(number(words, 4));
        float sx = Range{shift_x, shift_x_width}.at(number(words, 5));
        if (whole) {
            sy = floorf(sy);
            sx = floorf(sx);
        }
        zy = flip_y ? zy * mirrored : zy;
        zx = flip_x ? zx * mirrored : zx;
        float sine, cosine;
        sincosf(angle, &sine, &cosine);
        const float a = zx * cosine, b = -zx * sine, d = zy * sine, e = zy * cosine;
        float* matrix = matrices + n * 6;
        matrix[0] = a;
        matrix[1] = b;
        matrix[2] = center_x - a * center_x - b * center_y + sx;
        matrix[3] = d;
        matrix[4] = e;
        matrix[5] = center_y - d * center_x - e * center_y + sy;
    }
}

// ------------------------------------------------------------------------------------ sampling

enum FillMode { CONSTANT, NEAREST, REFLECT, WRAP };

struct Matrix {
    float a, b, c, d, e, f;

    __device__ __forceinline__ float column(float i, float j) const
    {
        return __fadd_rn(__fmul_rn(a, j), __fadd_rn(__fmul_rn(b, i), c));
    }
    __device__ __forceinline__ float row(float i, float j) const
    {
        return __fadd_rn(__fmul_rn(d, j), __fadd_rn(__fmul_rn(e, i), f));
    }
};

__device__ __forceinline__ Matrix matrix_of(const float* matrices, const Matrix& one, int64 image)
{
    if (matrices == nullptr) {
        return one;
    }
    const float* m = matrices + image * 6;
    return Matrix{m[0], m[1], m[2], m[3], m[4], m[5]};
}

__device__ __forceinline__ int floor_mod(int index, int size)
{
    const int rest = index % size;
    return rest < 0 ? rest + size : rest;
}

// The pixel that stands for one beyond the image, or -1.
__device__ __forceinline__ int pixel_of(int index, int size, int fill_mode)
{
    switch (fill_mode) {
    case NEAREST: return min(max(index, 0), size - 1);
    case REFLECT: {
        const int place = floor_mod(index, 2 * size);
        return min(place, 2 * size - 1 - place);
    }
    case WRAP: return floor_mod(index, size);
    default: return index >= 0 && index < size ? index : -1;
    }
}

// The pixels next to a place along one axis; with interpolation the second one, too, is used.
struct Nodes {
    int pixel[2];
    float weight[2];

    __device__ __forceinline__ Nodes(float place, int size, int bilinear, int fill_mode)
    {
        constexpr float FAR = 16777216.0f;  // beyond it, float has no single pixels
        place = fminf(fmaxf(place, -FAR), FAR);
        const float low = bilinear ? floorf(place) : rintf(place);
        weight[1] = place - low;
        weight[0] = bilinear ? 1.0f - weight[1] : 1.0f;
        pixel[0] = pixel_of((int)low, size, fill_mode);
        pixel[1] = bilinear ? pixel_of((int)low + 1, size, fill_mode) : 0;
    }
};

struct ImageSizes {
    int64 images;
    int height, width, out_height, out_width, colors;
};

template <int WIDTH>
__device__ __forceinline__ void sample_images(real* y, const real* x, const float* matrices,
                                              const Matrix& one, int bilinear, int fill_mode,
                                              float fill_value, const ImageSizes& s)
{
    const int units = s.colors / WIDTH;
    const int64 all = s.images * s.out_height * s.out_width * units;
    for (int64 place = grid_thread(); place < all; place += grid_threads()) {
        const int unit = (int)(place % units);
        const int64 pixel = place / units, line = pixel / s.out_width;
        const int64 image = line / s.out_height;
        const float j = (float)(pixel % s.out_width), i = (float)(line % s.out_height);
        const Matrix m = matrix_of(matrices, one, image);
        const Nodes across(m.column(i, j), s.width, bilinear, fill_mode);
        const Nodes down(m.row(i, j), s.height, bilinear, fill_mode);
        float sums[WIDTH] = {};
#pragma unroll
        for (int corner = 0; corner < 4; ++corner) {
            const int v = corner / 2, h = corner % 2;
            if (corner == 0 || bilinear) {
                const float weight = down.weight[v] * across.weight[h];
                const bool inside = down.pixel[v] >= 0 && across.pixel[h] >= 0;
                Pack<real, WIDTH> value = {};
                if (inside) {
                    const int64 row = image * s.height + down.pixel[v];
                    value = load_pack<real, WIDTH>(x, (row * s.width + across.pixel[h]) * units +
                                                          unit);
                }
#pragma unroll
                for (int k = 0; k < WIDTH; ++k) {
                    const float color = inside ? (float)value.v[k] : fill_value;
                    sums[k] += bilinear ? weight * color : color;
                }
            }
        }
        Pack<real, WIDTH> result;
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            result.v[k] = (real)sums[k];
        }
        store_pack<real, WIDTH>(y, place, result);
    }
}

extern "C" __global__ void affine_image(real* y, const real* x, const float* matrices, float a,
                                        float b, float c, float d, float e, float f, int bilinear,
                                        int fill_mode, float fill_value, int64 images, int height,
                                        int width, int out_height, int out_width, int colors,
                                        int packed)
{
    const Matrix one = {a, b, c, d, e, f};
    const ImageSizes sizes = {images, height, width, out_height, out_width, colors};
    if (packed) {
        sample_images<PACK>(y, x, matrices, one, bilinear, fill_mode, fill_value, sizes);
    } else {
        sample_images<1>(y, x, matrices, one, bilinear, fill_mode, fill_value, sizes);
    }
}

extern "C" __global__ void affine_image_backward(real* dx, float* sums, const real* dy,
                                                 const float* matrices, float a, float b,
                                                 float c, float d, float e, float f, int bilinear,
                                                 int fill_mode, int64 images, int height,
                                                 int width, int out_height, int out_width,
                                                 int colors)
{
    const Matrix one = {a, b, c, d, e, f};
    for (int64 n = grid_thread(); n < images * colors; n += grid_threads()) {
        const int64 image = n / colors, color = n % colors;
        const Matrix m = matrix_of(matrices, one, image);
        float* mine = sums + image * height * width * colors + color;
        const real* gradient = dy + image * out_height * out_width * colors + color;
        for (int64 pixel = 0; pixel < (int64)height * width; ++pixel) {
            mine[pixel * colors] = 0.0f;
        }
        for (int i = 0; i < out_height; ++i) {
            for (int j = 0; j < out_width; ++j) {
                const float g = (float)gradient[((int64)i * out_width + j) * colors];
                const Nodes across(m.column((float)i, (float)j), width, bilinear, fill_mode);
                const Nodes down(m.row((float)i, (float)j), height, bilinear, fill_mode);
#pragma unroll
                for (int corner = 0; corner < 4; ++corner) {
                    const int v = corner / 2, h = corner % 2;
                    const bool used = corner == 0 || bilinear;
                    if (used && down.pixel[v] >= 0 && across.pixel[h] >= 0) {
                        const float weight = down.weight[v] * across.weight[h];
                        const int64 to = (int64)down.pixel[v] * width + across.pixel[h];
                        mine[to * colors] += bilinear ? weight * g : g;
                    }
                }
            }
        }
        const int64 start = image * height * width * colors + color;
        for (int64 pixel = 0; pixel < (int64)height * width; ++pixel) {
            dx[start + pixel * colors] = (real)mine[pixel * colors];
        }
    }
}

// ------------------------------------------------------------------------------------- colors

template <int WIDTH>
__device__ __forceinline__ void adjust_pixels(real* y, const real* x, const float* factor,
                                              const float* mean, const float* shift, float low,
                                              float high, int64 images, int64 pixels, int colors)
{
    const int units = colors / WIDTH;
    for (int64 place = grid_thread(); place < images * pixels * units; place += grid_threads()) {
        const int64 image = place / (pixels * units);
        const int unit = (int)(place % units);
        const float f = factor == nullptr ? 1.0f : factor[image];
        const float s = shift == nullptr ? 0.0f : shift[image];
        Pack<real, WIDTH> value = load_pack<real, WIDTH>(x, place);
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) {
            const float m = mean == nullptr ? 0.0f : mean[image * colors + unit * WIDTH + k];
            value.v[k] = (real)clip(((float)value.v[k] - m) * f + (m + s), low, high);
        }
        store_pack<real, WIDTH>(y, place, value);
    }
}

extern "C" __global__ void adjust_image(real* y, const real* x, const float* factor,
                                        const float* mean, const float* shift, float low,
                                        float high, int64 images, int64 pixels, int colors,
                                        int packed)
{
    if (packed) {
        adjust_pixels<PACK>(y, x, factor, mean, shift, low, high, images, pixels, colors);
    } else {
        adjust_pixels<1>(y, x, factor, mean, shift, low, high, images, pixels, colors);
    }
}

extern "C" __global__ void clip_backward(real* dx, const real* dy, const real* y, float low,
                                         float high, int64 n)
{
    const int64 packs = is_aligned(dx) && is_aligned(dy) && is_aligned(y) ? n / PACK : 0;
    for (int64 unit = grid_thread(); unit < packs; unit += grid_threads()) {
        Pack<real, PACK> gradient = load_pack<real, PACK>(dy, unit);
        const Pack<real, PACK> value = load_pack<real, PACK>(y, unit);
#pragma unroll
        for (int k = 0; k < PACK; ++k) {
            const bool kept = (float)value.v[k] > low && (float)value.v[k] < high;
            gradient.v[k] = kept ? gradient.v[k] : (real)0.0f;
        }
        store_pack<real, PACK>(dx, unit, gradient);
    }
    for (int64 i = packs * PACK + grid_thread(); i < n; i += grid_threads()) {
        const bool kept = (float)y[i] > low && (float)y[i] < high;
        dx[i] = kept ? dy[i] : (real)0.0f;
    }
}
