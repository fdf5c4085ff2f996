// Positions in sequences: waves of many lengths, rotations by them, rows of a table of positions.
//
//   waves    y[i, c] = sin or cos (odd c) of scale position max_wavelength^(-2 (c / 2) / columns)
//                                     y once, 4 bytes of a position a row              (the least)
//   rotary   (y1, y2) = (x1 cos - x2 sin, x2 cos + x1 sin) for the two halves of each row
//                                     x once, y once, the table a few times        (almost the least)
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

// blockIdx.x and threadIdx.x: a pack in the first half of a row. Down the grid each position comes
// `lanes` times; its threads share the samples and heads, and read its waves once.
template <int WIDTH>
__device__ __forceinline__ void turn(real* y, const real* x, const float* table, int batch,
                                     int length, int heads, int size, float sign, int lanes)
{
    const int units = size / 2 / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 row = (int64)blockIdx.y * blockDim.y + threadIdx.y; row < (int64)length * lanes;
         row += (int64)gridDim.y * blockDim.y) {
        const int place = (int)(row % length);
        float waves[2 * WIDTH];  // (sin, cos) of each pair
        load_table<WIDTH>(waves, table + (int64)place * size + 2 * unit * WIDTH);
        for (int64 pair = row / length; pair < (int64)batch * heads; pair += lanes) {
            const int64 at = (pair / heads * length + place) * heads + pair % heads;
            RealPack<WIDTH> first = load_pack<real, WIDTH>(x, 2 * at * units + unit);
            RealPack<WIDTH> second = load_pack<real, WIDTH>(x, (2 * at + 1) * units + unit);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                const float a = (float)first.v[j], b = (float)second.v[j];
                const float sine = sign * waves[2 * j], cosine = waves[2 * j + 1];
                first.v[j] = (real)(a * cosine - b * sine);
                second.v[j] = (real)(b * cosine + a * sine);
            }
            store_pack<real, WIDTH>(y, 2 * at * units + unit, first);
            store_pack<real, WIDTH>(y, (2 * at + 1) * units + unit, second);
        }
    }
}

extern "C" __global__ void rotary(real* y, const real* x, const float* table, int batch, int length,
                                  int heads, int size, int inverse, int lanes, int packed)
{
    const float sign = inverse ? -1.0f : 1.0f;
    if (packed) {
        turn<PACK>(y, x, table, batch, length, heads, size, sign, lanes);
    } else {
        turn<1>(y, x, table, batch, length, heads, size, sign, lanes);
    }
}

template <int WIDTH>
__device__ __forceinline__ void lay_rows(real* y, const real* table, const int* positions,
                                         int batch, int length, int rows, int columns, int lanes)
{
    const int units = columns / WIDTH;
    const int unit = blockIdx.x * blockDim.x + threadIdx.x;
    if (unit >= units) {
        return;
    }
    for (int64 line = (int64)blockIdx.y * blockDim.y + threadIdx.y; line < (int64)length * lanes;
         line += (int64)gridDim.y * blockDim.y) {
        const int i = (int)(line % length);
        const int row = positions == nullptr ? i : positions[i];
        RealPack<WIDTH> value;
        if (row >= 0 && row < rows) {
            value = load_pack<real, WIDTH>(table, (int64)row * units + unit);
        } else {
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                value.v[j] = (real)not_a_number();
            }
        }
        for (int64 sample = line / length; sample < batch; sample += lanes) {
            store_pack<real, WIDTH>(y, (sample * length + i) * units + unit, value);
        }
    }
}

extern "C" __global__ void position_rows(real* y, const real* table, const int* positions,
                                         int batch, int length, int rows, int columns, int lanes,
                                         int packed)
{
    if (packed) {
        lay_rows<PACK>(y, table, positions, batch, length, rows, columns, lanes);
    } else {
        lay_rows<1>(y, table, positions, batch, length, rows, columns, lanes);
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
