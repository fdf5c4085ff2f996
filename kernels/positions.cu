// Positions in sequences: waves of many lengths, rotations by them, rows of a table of positions.
//
//   waves    y[i, c] = sin or cos (odd c) of scale position max_wavelength^(-2 (c / 2) / columns)
//                                     y once, 4 bytes of a position a row              (the least)
//   rotary   (y1, y2) = (x1 cos - x2 sin, x2 cos + x1 sin) for the two halves of each row
//                                     x once, y once; the table comes from the caches  (the least)
//   position_rows            y[b, i] = table[position]       y once, touched rows once (the least)
//   position_rows_backward   dtable[i] = sum over b of dy[b, i]   dy once, dtable once (the least)
//
// Shapes: x and y of rotary (batch, length, heads, size), table (length, size) with (sin, cos) of
// each pair in turn; y of position_rows (batch, length, columns), table (rows, columns). Aliasing:
// y of rotary may be x: a thread reads both elements of a pair before it writes them.
#include "common.cuh"

// Angles are counted in turns, in double, whose fraction is exact enough for any position; what is
// left after whole turns are taken off is less than half a turn and fits a float. One thread a pair.
extern "C" __global__ void waves(real* y, const int* positions, int64 length, int columns,
                                 double log2_wavelength, double turns)
{
    const int pairs = (columns + 1) / 2;
    for (int64 i = grid_thread(); i < length * pairs; i += grid_threads()) {
        const int64 row = i / pairs;
        const int pair = (int)(i - row * pairs);
        const double place = (double)(positions == nullptr ? row : positions[row]);
        double angle = place * turns * exp2(-2.0 * pair / columns * log2_wavelength);
        angle -= rint(angle);
        float sine, cosine;
        sincospif(2.0f * (float)angle, &sine, &cosine);
        y[row * columns + 2 * pair] = (real)sine;
        if (2 * pair + 1 < columns) {
            y[row * columns + 2 * pair + 1] = (real)cosine;
        }
    }
}

template <int WIDTH>
__device__ __forceinline__ void load_table(float (&waves)[2 * WIDTH], const float* table)
{
    constexpr int STEP = WIDTH % FLOAT_PACK == 0 ? FLOAT_PACK : 1;
#pragma unroll
    for (int j = 0; j < 2 * WIDTH; j += STEP) {
        const Pack<float, STEP> pack = load_pack<float, STEP>(table + j, 0);
#pragma unroll
        for (int k = 0; k < STEP; ++k) {
            waves[j + k] = pack.v[k];
        }
    }
}

// blockIdx.x and threadIdx.x: a pack in the first half of a row; the others go down the rows.
template <int WIDTH>
__device__ __forceinline__ void turn(real* y, const real* x, const float* table, int64 rows,
                                     int length, int heads, int size, float sign)
{
    const int units = size / 2 / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        const int place = (int)(row / heads % length);
        float waves[2 * WIDTH];  // (sin, cos) of each pair
        load_table<WIDTH>(waves, table + (int64)place * size + 2 * unit * WIDTH);
        RealPack<WIDTH> first = load_pack<real, WIDTH>(x, 2 * row * units + unit);
        RealPack<WIDTH> second = load_pack<real, WIDTH>(x, (2 * row + 1) * units + unit);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const float a = (float)first.v[j], b = (float)second.v[j];
            const float sine = sign * waves[2 * j], cosine = waves[2 * j + 1];
            first.v[j] = (real)(a * cosine - b * sine);
            second.v[j] = (real)(b * cosine + a * sine);
        }
        store_pack<real, WIDTH>(y, 2 * row * units + unit, first);
        store_pack<real, WIDTH>(y, (2 * row + 1) * units + unit, second);
    }
}

extern "C" __global__ void rotary(real* y, const real* x, const float* table, int64 rows,
                                  int length, int heads, int size, int inverse, int packed)
{
    const float sign = inverse ? -1.0f : 1.0f;
    if (packed) {
        turn<PACK>(y, x, table, rows, length, heads, size, sign);
    } else {
        turn<1>(y, x, table, rows, length, heads, size, sign);
    }
}

template <int WIDTH>
__device__ __forceinline__ void lay_rows(real* y, const real* table, const int* positions,
                                         int64 tokens, int length, int rows, int columns)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 token = (int64)blockIdx.y * blockDim.y + threadIdx.y; token < tokens;
         token += (int64)gridDim.y * blockDim.y) {
        const int i = (int)(token % length);
        const int64 row = positions == nullptr ? i : positions[i];
        RealPack<WIDTH> value;
        if (row >= 0 && row < rows) {
            value = load_pack<real, WIDTH>(table, row * units + unit);
        } else {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                value.v[j] = (real)not_a_number();
            }
        }
        store_pack<real, WIDTH>(y, token * units + unit, value);
    }
}

extern "C" __global__ void position_rows(real* y, const real* table, const int* positions,
                                         int64 tokens, int length, int rows, int columns,
                                         int packed)
{
    if (packed) {
        lay_rows<PACK>(y, table, positions, tokens, length, rows, columns);
    } else {
        lay_rows<1>(y, table, positions, tokens, length, rows, columns);
    }
}

template <int WIDTH>
__device__ __forceinline__ void add_samples(real* dtable, const real* dy, int batch, int length,
                                            int rows, int columns, int accumulate)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < rows;
         row += (int64)gridDim.y * blockDim.y) {
        float sums[WIDTH] = {};
        for (int sample = 0; sample < batch && row < length; ++sample) {
            const RealPack<WIDTH> value =
                load_pack<real, WIDTH>(dy, ((int64)sample * length + row) * units + unit);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sums[j] += (float)value.v[j];
            }
        }
        RealPack<WIDTH> total = {};
        if (accumulate) {
            total = load_pack<real, WIDTH>(dtable, row * units + unit);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            total.v[j] = (real)((accumulate ? (float)total.v[j] : 0.0f) + sums[j]);
        }
        store_pack<real, WIDTH>(dtable, row * units + unit, total);
    }
}

extern "C" __global__ void position_rows_backward(real* dtable, const real* dy, int batch,
                                                  int length, int rows, int columns,
                                                  int accumulate, int packed)
{
    if (packed) {
        add_samples<PACK>(dtable, dy, batch, length, rows, columns, accumulate);
    } else {
        add_samples<1>(dtable, dy, batch, length, rows, columns, accumulate);
    }
}
