// All steps of a recurrent layer, one launch a step.
//
//   lstm            a = z_t + h U; i, f, o = sigmoid(a); g = tanh(a_g); c = f c + i g; h = o tanh(c)
//   lstm_backward   dh = dy_t + dz_(t+1) U^T; dc += dh o (1 - tanh(c)^2); dz_t from dh and dc
//   gru             m = h U + bias; z, r = sigmoid(x_t + m); g = tanh(x_g + r m_g);
//                   h = z h + (1 - z) g
//   gru_backward    dh = dy_t + dh z + dm_(t+1) U^T; dx_t and dm_t from dh
//   previous_steps  y_t = x_(t-1): the state before each step, in the order of the inputs
//   masked_steps    y_t = mask_t ? a_t : b_t
//   reverse_steps   y_t = x_(steps - 1 - t)
//
// Shapes: y, cells, memories (m_g), dy (batch, steps, units) in the order in which the steps are
// taken; z or x, gates and their gradients (batch, steps, 4 units), gates i f g o, or for gru
// (batch, steps, 3 units), gates z r g, and the mask (batch, steps), which is 0 where the state
// stays as it is, in the order of the inputs; U (units, 4 or 3 units); h, c, h0, c0 and their
// gradients (batch, units); scratch: lstm 3, lstm_backward 10, gru 2, gru_backward 7 floats a unit
// of the batch. What the contract says is optional may be null. Aliasing: gates = z or x.
//
// A launch is one step: a block computes 32 units of 8 rows of the batch, product and gates, and
// hands its state on in scratch, which has a place for even and one for odd steps. States are float
// from step to step, whatever real is. Sums are added in the order of the inner dimension.
//
// Bytes a step and unit of a row: lstm 16 + 8 + 4 of scratch in, 16 + 8 + 8 out; lstm_backward
// 16 + 12 + 20 in, 16 + 20 out; gru 12 + 4 in, 12 + 12 out; gru_backward 12 + 12 + 16 in, 24 + 16
// out; U is read once for 8 rows of the batch, and from the second step on
// it lies in the L2 cache of a large device. previous_steps, masked_steps and reverse_steps
// 4 + 4, the least.
#include "common.cuh"

constexpr int UNITS = 32, ROWS = 8;  // of a block
constexpr int DEPTH = 32;            // of the inner dimension in shared memory at a time
constexpr int LSTM_GATES = 4, GRU_GATES = 3;

__device__ __forceinline__ float at_or_zero(const real* p, int64 i)
{
    return p != nullptr ? (float)p[i] : 0.0f;
}

// Where the numbers of one unit of one row of the batch stand, at one step.
struct Place {
    int unit, row;
    bool inside;
    int64 state;   // in (batch, units)
    int64 output;  // in (batch, steps, units), in the order in which the steps are taken
    int64 input;   // in (batch, steps), in the order of the inputs
    int64 gates;   // the first gate's in (batch, steps, count units), in the order of the inputs

    __device__ __forceinline__ Place(int count, int step, int reverse, int batch, int steps,
                                     int units)
        : unit(blockIdx.y * UNITS + threadIdx.x),
          row(blockIdx.x * ROWS + threadIdx.y),
          inside(unit < units && row < batch),
          state((int64)row * units + unit),
          output(((int64)row * steps + step) * units + unit),
          input((int64)row * steps + (reverse ? steps - 1 - step : step)),
          gates(input * count * units + unit)
    {
    }

    __device__ __forceinline__ bool stays(const unsigned char* mask) const
    {
        return mask != nullptr && mask[input] == 0;
    }
};

// a[j] = (h U)[row][j units + unit] for a block of rows and units, where h (batch, units) is the
// state before the step, in scratch or, at the first step, h0; null is zero.
template <int COUNT>
__device__ __forceinline__ void times_kernel(float (&a)[COUNT], const float* before, const real* h0,
                                             const real* kernel, const Place& at, int step,
                                             int batch, int units)
{
    __shared__ float of_state[ROWS][DEPTH];
    __shared__ float of_kernel[COUNT][DEPTH][UNITS];
    for (int first = 0; first < units && (step > 0 || h0 != nullptr); first += DEPTH) {
        const int k = first + threadIdx.x;
        const int64 from = (int64)at.row * units + k;
        const bool exists = at.row < batch && k < units;
        of_state[threadIdx.y][threadIdx.x] = !exists ? 0.0f
                                             : step > 0 ? before[from]
                                                        : (float)h0[from];
        for (int depth = threadIdx.y; depth < DEPTH; depth += ROWS) {
            const int64 line = (int64)(first + depth) * COUNT * units + at.unit;
            const bool holds = first + depth < units && at.unit < units;
#pragma unroll
            for (int j = 0; j < COUNT; ++j) {
                of_kernel[j][depth][threadIdx.x] =
                    holds ? (float)kernel[line + (int64)j * units] : 0.0f;
            }
        }
        __syncthreads();
#pragma unroll 8
        for (int depth = 0; depth < DEPTH; ++depth) {
            const float value = of_state[threadIdx.y][depth];
#pragma unroll
            for (int j = 0; j < COUNT; ++j) {
                a[j] += value * of_kernel[j][depth][threadIdx.x];
            }
        }
        __syncthreads();
    }
}

extern "C" __global__ void lstm(real* y, real* cells, real* gates, real* h, real* c, const real* z,
                                const real* kernel, const real* h0, const real* c0,
                                const unsigned char* mask, float* scratch, int step, int reverse,
                                int batch, int steps, int units)
{
    const Place at(LSTM_GATES, step, reverse, batch, steps, units);
    const int64 states = (int64)batch * units;
    const float* before = scratch + (step % 2) * states;
    float* after = scratch + ((step + 1) % 2) * states;
    float* cell = scratch + 2 * states;

    float a[LSTM_GATES] = {};
    times_kernel(a, before, h0, kernel, at, step, batch, units);
    if (!at.inside) {
        return;
    }
    const float i = sigmoid(a[0] + (float)z[at.gates]);
    const float f = sigmoid(a[1] + (float)z[at.gates + units]);
    const float g = tanhf(a[2] + (float)z[at.gates + 2 * units]);
    const float o = sigmoid(a[3] + (float)z[at.gates + 3 * units]);
    const float c_before = step > 0 ? cell[at.state] : at_or_zero(c0, at.state);
    float c_now = f * c_before + i * g;
    float h_now = o * tanhf(c_now);
    if (at.stays(mask)) {
        c_now = c_before;
        h_now = step > 0 ? before[at.state] : at_or_zero(h0, at.state);
    }
    gates[at.gates] = (real)i;
    gates[at.gates + units] = (real)f;
    gates[at.gates + 2 * units] = (real)g;
    gates[at.gates + 3 * units] = (real)o;
    cells[at.output] = (real)c_now;
    y[at.output] = (real)h_now;
    cell[at.state] = c_now;
    after[at.state] = h_now;
    if (step == steps - 1) {
        if (h != nullptr) {
            h[at.state] = (real)h_now;
        }
        if (c != nullptr) {
            c[at.state] = (real)c_now;
        }
    }
}

// (dz U^T)[row][unit] for a block of rows and units, where dz (batch, columns), U (units, columns).
__device__ __forceinline__ float times_transposed(const float* dz, const real* kernel,
                                                  const Place& at, int batch, int units,
                                                  int columns)
{
    __shared__ float of_dz[ROWS][DEPTH];
    __shared__ float of_kernel[UNITS][DEPTH + 1];  // one more, so that columns lie in all banks
    float sum = 0.0f;
    for (int first = 0; first < columns; first += DEPTH) {
        const int k = first + threadIdx.x;
        const bool holds = k < columns;
        of_dz[threadIdx.y][threadIdx.x] =
            holds && at.row < batch ? dz[(int64)at.row * columns + k] : 0.0f;
        for (int line = threadIdx.y; line < UNITS; line += ROWS) {
            const int unit = blockIdx.y * UNITS + line;
            of_kernel[line][threadIdx.x] =
                holds && unit < units ? (float)kernel[(int64)unit * columns + k] : 0.0f;
        }
        __syncthreads();
#pragma unroll 8
        for (int depth = 0; depth < DEPTH; ++depth) {
            sum += of_dz[threadIdx.y][depth] * of_kernel[threadIdx.x][depth];
        }
        __syncthreads();
    }
    return sum;
}

// With step = -1 it writes the gradients of the state before the first step.
extern "C" __global__ void lstm_backward(real* dz, real* dh0, real* dc0, const real* dy,
                                         const real* dh, const real* dc, const real* gates,
                                         const real* cells, const real* kernel, const real* c0,
                                         const unsigned char* mask, float* scratch, int step, int reverse, int batch,
                                         int steps, int units)
{
    const Place at(LSTM_GATES, step, reverse, batch, steps, units);
    const int64 states = (int64)batch * units;
    const float* dz_after = scratch + ((step + 1) % 2) * LSTM_GATES * states;
    float* dz_now = scratch + ((step + 2) % 2) * LSTM_GATES * states;
    float* dcell = scratch + 2 * LSTM_GATES * states;
    float* dstate = dcell + states;  // of what stayed as it was
    const bool last = step == steps - 1;

    float dh_now = 0.0f;
    if (!last) {
        dh_now = times_transposed(dz_after, kernel, at, batch, units, LSTM_GATES * units);
    }
    if (!at.inside) {
        return;
    }
    dh_now += last ? at_or_zero(dh, at.state) : mask != nullptr ? dstate[at.state] : 0.0f;
    float dc_now = last ? at_or_zero(dc, at.state) : dcell[at.state];
    if (step < 0) {
        if (dh0 != nullptr) {
            dh0[at.state] = (real)dh_now;
        }
        if (dc0 != nullptr) {
            dc0[at.state] = (real)dc_now;
        }
        return;
    }
    dh_now += at_or_zero(dy, at.output);
    const bool stays = at.stays(mask);
    if (mask != nullptr) {
        dstate[at.state] = stays ? dh_now : 0.0f;
    }
    const float i = (float)gates[at.gates];
    const float f = (float)gates[at.gates + units];
    const float g = (float)gates[at.gates + 2 * units];
    const float o = (float)gates[at.gates + 3 * units];
    const float c_before =
        step > 0 ? (float)cells[at.output - units] : at_or_zero(c0, at.state);
    const float tanh_c = tanhf((float)cells[at.output]);
    const float dc_after = dc_now;
    dc_now += dh_now * o * (1.0f - tanh_c * tanh_c);
    const float of_gates[LSTM_GATES] = {dc_now * g * i * (1.0f - i), dc_now * c_before * f * (1.0f - f),
                                   dc_now * i * (1.0f - g * g), dh_now * tanh_c * o * (1.0f - o)};
#pragma unroll
    for (int j = 0; j < LSTM_GATES; ++j) {
        const float of_gate = stays ? 0.0f : of_gates[j];
        dz[at.gates + (int64)j * units] = (real)of_gate;
        dz_now[(int64)at.row * LSTM_GATES * units + (int64)j * units + at.unit] = of_gate;
    }
    dcell[at.state] = stays ? dc_after : dc_now * f;
}

extern "C" __global__ void gru(real* y, real* memories, real* gates, real* h, const real* x,
                               const real* kernel, const real* bias, const real* h0,
                               const unsigned char* mask, float* scratch, int step, int reverse,
                               int batch, int steps, int units)
{
    const Place at(GRU_GATES, step, reverse, batch, steps, units);
    const int64 states = (int64)batch * units;
    const float* before = scratch + (step % 2) * states;
    float* after = scratch + ((step + 1) % 2) * states;

    float m[GRU_GATES] = {};
    times_kernel(m, before, h0, kernel, at, step, batch, units);
    if (!at.inside) {
        return;
    }
#pragma unroll
    for (int j = 0; j < GRU_GATES; ++j) {
        m[j] += at_or_zero(bias, j * units + at.unit);
    }
    const float z = sigmoid((float)x[at.gates] + m[0]);
    const float r = sigmoid((float)x[at.gates + units] + m[1]);
    const float g = tanhf((float)x[at.gates + 2 * units] + r * m[2]);
    const float h_before = step > 0 ? before[at.state] : at_or_zero(h0, at.state);
    const float h_now = at.stays(mask) ? h_before : z * h_before + (1.0f - z) * g;
    gates[at.gates] = (real)z;
    gates[at.gates + units] = (real)r;
    gates[at.gates + 2 * units] = (real)g;
    memories[at.output] = (real)m[2];
    y[at.output] = (real)h_now;
    after[at.state] = h_now;
    if (step == steps - 1 && h != nullptr) {
        h[at.state] = (real)h_now;
    }
}

// With step = -1 it writes the gradient of the state before the first step.
extern "C" __global__ void gru_backward(real* dx, real* dm, real* dh0, const real* dy,
                                        const real* dh, const real* gates, const real* memories,
                                        const real* y, const real* kernel, const real* h0,
                                        const unsigned char* mask, float* scratch, int step, int reverse, int batch,
                                        int steps, int units)
{
    const Place at(GRU_GATES, step, reverse, batch, steps, units);
    const int64 states = (int64)batch * units;
    const float* dm_after = scratch + ((step + 1) % 2) * GRU_GATES * states;
    float* dm_now = scratch + ((step + 2) % 2) * GRU_GATES * states;
    float* kept = scratch + 2 * GRU_GATES * states;  // dh z of the step after; dh if it stayed
    const bool last = step == steps - 1;

    float dh_now = 0.0f;
    if (!last) {
        dh_now = times_transposed(dm_after, kernel, at, batch, units, GRU_GATES * units);
    }
    if (!at.inside) {
        return;
    }
    dh_now += last ? at_or_zero(dh, at.state) : kept[at.state];
    if (step < 0) {
        dh0[at.state] = (real)dh_now;
        return;
    }
    dh_now += at_or_zero(dy, at.output);
    const bool stays = at.stays(mask);
    const float z = (float)gates[at.gates];
    const float r = (float)gates[at.gates + units];
    const float g = (float)gates[at.gates + 2 * units];
    const float h_before = step > 0 ? (float)y[at.output - units] : at_or_zero(h0, at.state);
    const float d_z = dh_now * (h_before - g) * z * (1.0f - z);
    const float d_g = dh_now * (1.0f - z) * (1.0f - g * g);
    const float d_r = d_g * (float)memories[at.output] * r * (1.0f - r);
    const float of_x[GRU_GATES] = {d_z, d_r, d_g}, of_m[GRU_GATES] = {d_z, d_r, d_g * r};
#pragma unroll
    for (int j = 0; j < GRU_GATES; ++j) {
        const float of_memory = stays ? 0.0f : of_m[j];
        dx[at.gates + (int64)j * units] = (real)(stays ? 0.0f : of_x[j]);
        dm[at.gates + (int64)j * units] = (real)of_memory;
        dm_now[(int64)at.row * GRU_GATES * units + (int64)j * units + at.unit] = of_memory;
    }
    kept[at.state] = stays ? dh_now : dh_now * z;
}

extern "C" __global__ void previous_steps(real* y, const real* x, const real* first, int reverse,
                                          int64 batch, int steps, int units)
{
    for (int64 i = grid_thread(); i < batch * steps * units; i += grid_threads()) {
        const int unit = i % units;
        const int64 row = i / units / steps;
        const int t = i / units % steps, step = reverse ? steps - 1 - t : t;
        if (step > 0) {
            y[i] = x[(row * steps + step - 1) * units + unit];
        } else {
            y[i] = (real)at_or_zero(first, row * units + unit);
        }
    }
}

// The mask is (batch, inputs); y, a and b are the steps from number first on.
extern "C" __global__ void masked_steps(real* y, const real* a, const real* b,
                                        const unsigned char* mask, int first, int reverse,
                                        int lasting, int64 batch, int steps, int units, int inputs)
{
    for (int64 i = grid_thread(); i < batch * steps * units; i += grid_threads()) {
        const int64 row = i / units / steps;
        const int step = first + (int)(i / units % steps);
        const unsigned char* of_row = mask + row * inputs;
        bool there = of_row[reverse ? inputs - 1 - step : step] != 0;
        for (int t = 0; lasting && !there && t < step; ++t) {
            there = of_row[reverse ? inputs - 1 - t : t] != 0;
        }
        y[i] = (real)(there ? at_or_zero(a, i) : at_or_zero(b, i));
    }
}

extern "C" __global__ void reverse_steps(real* y, const real* x, int64 batch, int steps, int units)
{
    for (int64 i = grid_thread(); i < batch * steps * units; i += grid_threads()) {
        const int64 row = i / units / steps;
        const int step = i / units % steps;
        y[i] = x[(row * steps + steps - 1 - step) * units + i % units];
    }
}
