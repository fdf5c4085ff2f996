// Masks: which steps of sequences are there (1), and which only fill them up (0).
//
//   row_mask      mask = whether a row differs from a value   element size read, 1 byte a row written
//   either_mask   y = a or b                                  2 bytes read, 1 written
//   both_mask     y = a and b                                 2 bytes read, 1 written
//   masked_rows   y = x where the mask is 1, else 0           a masked row is not read at all
//   mask_shares   shares = mask / sum(mask) of each row       1 byte read (twice), 4 written
//
// Shapes: x, y (rows, columns); mask (rows,) or, for mask_shares, (rows, columns). Aliasing: y may be
// x, and may be a or b. A row is read by `lanes` threads, which are a warp's or a whole block.
#include "common.cuh"

typedef unsigned char uint8;

template <typename T, typename Number>
__device__ __forceinline__ void write_row_mask(uint8* mask, const T* x, Number value, int64 rows,
                                               int columns, int lanes)
{
    for (RowWalk walk(rows, columns, lanes); walk.more(); walk.next()) {
        const T* row = x + walk.row() * columns;
        float differs = 0.0f;
        for (int i = walk.lane; i < walk.end(); i += lanes) {
            differs = (Number)row[i] == value ? differs : 1.0f;
        }
        differs = group_reduce(differs, Larger(), lanes);
        if (walk.lane == 0 && walk.row() < rows) {
            mask[walk.row()] = differs > 0.0f;
        }
    }
}

extern "C" __global__ void row_mask(uint8* mask, const real* x, float value, int64 rows,
                                    int columns, int lanes)
{
    write_row_mask(mask, x, (float)(real)value, rows, columns, lanes);
}

extern "C" __global__ void row_mask_int32(uint8* mask, const int* x, float value, int64 rows,
                                          int columns, int lanes)
{
    write_row_mask(mask, x, (int)value, rows, columns, lanes);
}

extern "C" __global__ void either_mask(uint8* y, const uint8* a, const uint8* b, int64 n)
{
    for (int64 i = grid_thread(); i < n; i += grid_threads()) {
        y[i] = a[i] | b[i];
    }
}

extern "C" __global__ void both_mask(uint8* y, const uint8* a, const uint8* b, int64 n)
{
    for (int64 i = grid_thread(); i < n; i += grid_threads()) {
        y[i] = a[i] & b[i];
    }
}

template <int WIDTH>
__device__ __forceinline__ void mask_strip(real* y, const real* x, const uint8* mask, int64 rows,
                                           int columns)
{
    const int unit = blockIdx.x * blockDim.x + threadIdx.x, units = columns / WIDTH;
    if (unit >= units) {
        return;
    }
    for (Band band(rows); band.more(); band.next()) {
        const int64 place = band.row * units + unit;
        RealPack<WIDTH> values = {};
        if (mask[band.row] != 0) {
            values = load_pack<real, WIDTH>(x, place);
        }
        store_pack<real, WIDTH>(y, place, values);
    }
}

extern "C" __global__ void masked_rows(real* y, const real* x, const uint8* mask, int64 rows,
                                       int columns, int packed)
{
    if (packed) {
        mask_strip<PACK>(y, x, mask, rows, columns);
    } else {
        mask_strip<1>(y, x, mask, rows, columns);
    }
}

extern "C" __global__ void mask_shares(real* shares, const uint8* mask, int64 rows, int columns,
                                       int lanes)
{
    for (RowWalk walk(rows, columns, lanes); walk.more(); walk.next()) {
        const uint8* row = mask + walk.row() * columns;
        float count = 0.0f;
        for (int i = walk.lane; i < walk.end(); i += lanes) {
            count += (float)row[i];
        }
        count = group_sum(count, lanes);
        const float share = count > 0.0f ? 1.0f / count : 0.0f;
        for (int i = walk.lane; i < walk.end(); i += lanes) {
            shares[walk.row() * columns + i] = (real)((float)row[i] * share);
        }
    }
}
