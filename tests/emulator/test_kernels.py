"""The CUDA dialect, feature by feature, against NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

WARPS = r"""
// What each of 32 lanes gets from `value`, one row per intrinsic.
template <class T> __device__ void shuffles(T* out, const T* in) {
    const int lane = threadIdx.x;
    const T value = in[lane];
    out[lane] = __shfl_sync(0xffffffffu, value, 5);
    out[32 + lane] = __shfl_sync(0xffffffffu, value, lane + 9, 8);
    out[64 + lane] = __shfl_up_sync(0xffffffffu, value, 3);
    out[96 + lane] = __shfl_down_sync(0xffffffffu, value, 3, 16);
    out[128 + lane] = __shfl_xor_sync(0xffffffffu, value, 9);
}
#define SHUFFLES(NAME, T) \
    extern "C" __global__ void NAME(T* out, const T* in) { shuffles(out, in); }
SHUFFLES(shuffles_int32, int)
SHUFFLES(shuffles_float32, float)
SHUFFLES(shuffles_float64, double)
SHUFFLES(shuffles_uint64, unsigned long long)
SHUFFLES(shuffles_uint8, unsigned char)

extern "C" __global__ void votes(unsigned* out, const int* in) {
    const int lane = threadIdx.x, value = in[lane];
    unsigned* row = out + lane * 12;
    row[0] = __ballot_sync(0xffffffffu, value > 3);
    row[1] = __any_sync(0xffffffffu, value == 7);
    row[2] = __all_sync(0xffffffffu, value < 8);
    row[3] = __reduce_add_sync(0xffffffffu, value);
    row[4] = __reduce_max_sync(0xffffffffu, -value);
    row[5] = __reduce_min_sync(0xffffffffu, unsigned(value));
    row[6] = __reduce_xor_sync(0xffffffffu, unsigned(value));
    row[7] = __match_any_sync(0xffffffffu, value);
    int same;
    row[8] = __match_all_sync(0xffffffffu, value, &same) + same;
    row[9] = __match_all_sync(0xffffffffu, 3.5f, &same);
    row[10] = __activemask() >> lane & 1;
    // Two halves of the warp meet on their own, many times and at different speeds.
    unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u, sum = 0;
    for (int i = 0; i < (lane < 16 ? 3 : 5); ++i) sum += __reduce_add_sync(mask, unsigned(lane));
    row[11] = sum;
}

extern "C" __global__ void short_warp(float* out) {
    // 40 threads: the second warp has 8 lanes. Lanes that do not exist give poison.
    float value = __shfl_down_sync(0xffffffffu, float(threadIdx.x), 4);
    out[threadIdx.x] = value;
}
"""

BARRIERS = r"""
extern "C" __global__ void reverse(float* x) {
    __shared__ float tile[64];
    tile[threadIdx.x] = x[blockIdx.x * 64 + threadIdx.x];
    __syncthreads();
    x[blockIdx.x * 64 + threadIdx.x] = tile[63 - threadIdx.x];
}
extern "C" __global__ void transpose(const float* in, float* out, int n) {
    __shared__ float tile[16][17];
    int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
    if (x < n && y < n) tile[threadIdx.y][threadIdx.x] = in[y * n + x];
    __syncthreads();
    x = blockIdx.y * 16 + threadIdx.x, y = blockIdx.x * 16 + threadIdx.y;
    if (x < n && y < n) out[y * n + x] = tile[threadIdx.x][threadIdx.y];
}
template <int threads> __device__ float block_sum(float v) {
    __shared__ float part[threads];
    part[threadIdx.x] = v;
    for (int step = threads / 2; step; step >>= 1) {
        __syncthreads();
        if (threadIdx.x < step) part[threadIdx.x] += part[threadIdx.x + step];
    }
    __syncthreads();
    return part[0];
}
extern "C" __global__ void sums(const float* in, float* out) {
    float sum = block_sum<64>(in[blockIdx.x * 64 + threadIdx.x]);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}
extern "C" __global__ void dynamic_bytes(int* out, int n) {
    extern __shared__ __align__(16) unsigned char bytes[];
    int* first = reinterpret_cast<int*>(bytes);
    float* second = reinterpret_cast<float*>(first + n);
    first[threadIdx.x] = threadIdx.x;
    second[threadIdx.x] = 0.5f;
    __syncthreads();
    out[threadIdx.x] = first[n - 1 - threadIdx.x] + int(2 * second[threadIdx.x]);
}
extern "C" __global__ void dynamic_ints(int* out) {  // the same memory under another type
    extern volatile __shared__ int bytes_as_ints[];
    bytes_as_ints[threadIdx.x] = 7;
    out[threadIdx.x] = bytes_as_ints[threadIdx.x];
}
extern "C" __global__ void poisoned(float* seen) {
    __shared__ float fixed[2];
    extern __shared__ float varying[];
    seen[2 * blockIdx.x] = fixed[0];
    seen[2 * blockIdx.x + 1] = varying[0];
    if (seen[6] > 0) fixed[0] = varying[0] = 1;
}
extern "C" __global__ void counting(int* out) {
    const int n = threadIdx.x;
    int* row = out + 3 * n;
    row[0] = __syncthreads_count(n % 3 == 0);
    row[1] = __syncthreads_and(n < 64);
    row[2] = __syncthreads_or(n == 70);
}
extern "C" __global__ void last_block(const float* in, float* part, float* out, unsigned* ticket) {
    __shared__ bool last;
    float sum = block_sum<64>(in[blockIdx.x * 64 + threadIdx.x]);
    if (threadIdx.x == 0) {
        part[blockIdx.x] = sum;
        __threadfence();
        last = atomicInc(ticket, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float total = 0;
        for (int i = 0; i < gridDim.x; ++i) total += part[i];
        *out = total;
    }
}
extern "C" __global__ void where_am_i(int* out) {
    int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    int n = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[n] = n + warpSize;
}
"""

TYPES = r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>
#include <math_constants.h>
extern "C" __global__ void vectors(float4* x, const float2* y, uchar4* bytes, longlong2* wide) {
    float4 v = x[threadIdx.x];
    float2 w = __ldg(&y[threadIdx.x]);
    __stcs(&x[threadIdx.x], make_float4(v.w + w.x, v.z + w.y, v.y, v.x));
    uchar4 b = bytes[threadIdx.x];
    bytes[threadIdx.x] = make_uchar4(b.w, b.z, b.y, b.x);
    wide[threadIdx.x].y = wide[threadIdx.x].x + 1;
}
extern "C" __global__ void sizes(int* out) {
    out[0] = sizeof(float3) * 100 + alignof(float3);
    out[1] = sizeof(float4) * 100 + alignof(float4);
    out[2] = sizeof(double2) * 100 + alignof(double2);
    out[3] = sizeof(ushort4) * 100 + alignof(ushort4);
    out[4] = sizeof(uchar4) * 100 + alignof(uchar4);
    out[5] = sizeof(__half2) * 100 + alignof(__half2);
    out[6] = sizeof(long) * 100 + sizeof(size_t);
}
extern "C" __global__ void halves(const __half* a, const __half* b, __half* out, int n) {
    int i = threadIdx.x;
    __half x = a[i], y = b[i];
    out[i] = x + y;
    out[n + i] = x * y;
    out[2 * n + i] = x / y;
    out[3 * n + i] = __hfma(x, y, x);
    out[4 * n + i] = __float2half(__half2float(x) + 1.0f);
    out[5 * n + i] = __hmax(x, -y);
    __half2 pair = __hadd2(__halves2half2(x, y), __float2half2_rn(0.5f));
    out[6 * n + i] = __low2half(pair);
    out[7 * n + i] = x < y ? x : y;
}
extern "C" __global__ void bfloats(
        const __nv_bfloat16* a, const float* b, __nv_bfloat16* out, int n) {
    int i = threadIdx.x;
    out[i] = __float2bfloat16(b[i]);
    out[n + i] = a[i] + __float2bfloat16_rn(b[i]);
    out[2 * n + i] = __float2bfloat16(__bfloat162float(a[i]));
}
"""

MATHS = r"""
extern "C" __global__ void maths(const float* in, float* out, int n) {
    int i = threadIdx.x;
    float x = in[i];
    out[i] = __expf(x);
    out[n + i] = __logf(fabsf(x) + 1) + log1pf(x * x);
    out[2 * n + i] = rsqrtf(x * x + 1);
    out[3 * n + i] = tanhf(x) + erff(x);
    out[4 * n + i] = max(x, 0.25f) + min(x, 0.5f) + fminf(x, __int_as_float(0x7fc00000));
    out[5 * n + i] = __fdividef(x, 3.0f) + __frcp_rn(2.0f) + __saturatef(x);
    out[6 * n + i] = fmaf(x, x, x) + powf(fabsf(x), 1.5f);
    out[7 * n + i] = __int_as_float(__float_as_int(x)) + float(isnan(x)) + floor(x);
}
extern "C" __global__ void integers(const unsigned* in, unsigned long long* out, int n) {
    int i = threadIdx.x;
    unsigned x = in[i], y = in[(i + 1) % n];
    unsigned long long wide = (unsigned long long)x << 32 | y;
    out[i] = __umulhi(x, y);
    out[n + i] = __umul64hi(wide, wide);
    out[2 * n + i] = __popc(x) + 100 * __popcll(wide);
    out[3 * n + i] = __clz(x) + 100 * __clzll(wide >> 7);
    out[4 * n + i] = __ffs(x) + 100 * __ffsll(wide);
    out[5 * n + i] = __brev(x);
    out[6 * n + i] = max(x, y) - min(x, y);
}
extern "C" __global__ void conversions(const float* in, int* out, int n) {
    int i = threadIdx.x;
    out[i] = __float2int_rn(in[i]);
    out[n + i] = __float2int_rz(in[i]);
    out[2 * n + i] = __float2int_rd(in[i]);
    out[3 * n + i] = (int)__float2uint_rn(in[i]);
}
#define ATOMICS(NAME, T)                                            \
    extern "C" __global__ void NAME(T* out) {                       \
        T value = (T)(threadIdx.x * 7 % 32);                          \
        atomicAdd(&out[0], value);                                  \
        atomicMin(&out[1], value);                                  \
        atomicMax(&out[2], value);                                  \
        atomicAnd(&out[3], value | 1);                              \
        atomicOr(&out[4], value);                                   \
        atomicXor(&out[5], value);                                  \
        T seen = atomicCAS(&out[6], (T)threadIdx.x, (T)(threadIdx.x + 1)); \
        if (seen == (T)31) atomicExch(&out[7], (T)5);               \
    }
ATOMICS(atomics_int32, int)
ATOMICS(atomics_uint32, unsigned)
ATOMICS(atomics_uint64, unsigned long long)
extern "C" __global__ void atomics_other(float* single, double* twice, unsigned* count) {
    atomicAdd(single, 0.5f);
    atomicAdd(twice, 0.25);
    atomicInc(&count[0], 9);
    atomicDec(&count[1], 9);
    atomicSub(&count[2], 1);
}
"""

TEMPLATES = r"""
namespace tools {
template <class T, int factor> __global__ void __launch_bounds__(64) scale(T* x) {
    extern __shared__ T buffer[];
    __shared__ T first;
    buffer[threadIdx.x] = x[threadIdx.x];
    if (threadIdx.x == 0) first = x[0];
    __syncthreads();
    x[threadIdx.x] = buffer[threadIdx.x] * factor + first;
}
}
"""


@pytest.fixture(scope="module")
def modules():
    sources = {"warps": WARPS, "barriers": BARRIERS, "types": TYPES, "maths": MATHS}
    return {name: cp.RawModule(code=source) for name, source in sources.items()}


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64", "uint64", "uint8"])
def test_shuffles_move_values_between_lanes(modules, dtype):
    values = np.arange(100, 132).astype(dtype)
    out = cp.empty((5, 32), dtype)
    kernel = modules["warps"].get_function(f"shuffles_{dtype}")
    kernel((1,), (32,), (out, cp.asarray(values)))
    lane = np.arange(32)
    down = np.where(lane % 16 + 3 < 16, lane + 3, lane)
    sources = [lane * 0 + 5, lane // 8 * 8 + (lane + 9) % 8, np.where(lane < 3, lane, lane - 3)]
    expected = values[np.stack([*sources, down, lane ^ 9])]
    np.testing.assert_array_equal(out.get(), expected)


def test_votes_reductions_and_matches(modules):
    values = np.random.default_rng(0).integers(0, 8, 32).astype(np.int32)
    out = cp.empty((32, 12), np.uint32)
    modules["warps"].get_function("votes")((1,), (32,), (out, cp.asarray(values)))
    lane = np.arange(32, dtype=np.uint32)
    bits = np.uint32(1) << lane
    expected = np.empty((32, 12), np.uint32)
    expected[:, 0] = bits[values > 3].sum()
    expected[:, 1] = (values == 7).any()
    expected[:, 2] = 1
    expected[:, 3] = values.sum()
    expected[:, 4] = np.uint32(2**32 - int(values.min())) if values.min() else 0
    expected[:, 5] = values.min()
    expected[:, 6] = np.bitwise_xor.reduce(values)
    expected[:, 7] = [bits[values == value].sum() for value in values]
    expected[:, 8] = 0
    expected[:, 9] = 0xFFFFFFFF
    expected[:, 10] = 1
    expected[:, 11] = np.where(lane < 16, 3 * lane[:16].sum(), 5 * lane[16:].sum())
    np.testing.assert_array_equal(out.get(), expected)


def test_lanes_that_do_not_exist_give_poison(modules):
    out = cp.zeros(40, np.float32)
    modules["warps"].get_function("short_warp")((1,), (40,), (out,))
    result = out.get()
    np.testing.assert_array_equal(result[:28], np.arange(4, 32))
    np.testing.assert_array_equal(result[28:32], np.arange(28, 32))  # the own value at the end
    np.testing.assert_array_equal(result[32:36], np.arange(36, 40))
    assert np.isnan(result[36:]).all()


def test_static_shared_memory_and_barriers(modules):
    x = np.arange(256, dtype=np.float32)
    device = cp.asarray(x)
    modules["barriers"].get_function("reverse")((4,), (64,), (device,))
    np.testing.assert_array_equal(device.get(), x.reshape(4, 64)[:, ::-1].ravel())


def test_two_dimensional_shared_memory(modules):
    x = np.arange(33 * 33, dtype=np.float32).reshape(33, 33)
    out = cp.empty_like(x)
    kernel = modules["barriers"].get_function("transpose")
    kernel((3, 3), (16, 16), (cp.asarray(x), out, np.int32(33)))
    np.testing.assert_array_equal(out.get(), x.T)


def test_shared_memory_inside_a_device_function(modules):
    x = np.arange(192, dtype=np.float32)
    out = cp.empty(3, np.float32)
    modules["barriers"].get_function("sums")((3,), (64,), (cp.asarray(x), out))
    np.testing.assert_array_equal(out.get(), x.reshape(3, 64).sum(1))


def test_the_last_block_finishes(modules):
    x = np.arange(320, dtype=np.float32)
    out, ticket = cp.empty(1, np.float32), cp.zeros(1, np.uint32)
    kernel = modules["barriers"].get_function("last_block")
    kernel((5,), (64,), (cp.asarray(x), cp.empty(5, np.float32), out, ticket))
    assert out.item() == x.sum()
    assert ticket.item() == 0


def test_dynamic_shared_memory(modules):
    out = cp.empty(20, np.int32)
    kernel = modules["barriers"].get_function("dynamic_bytes")
    kernel((1,), (20,), (out, np.int32(20)), shared_mem=160)
    np.testing.assert_array_equal(out.get(), np.arange(20)[::-1] + 1)
    modules["barriers"].get_function("dynamic_ints")((1,), (20,), (out,), shared_mem=80)
    assert (out == 7).all()


def test_shared_memory_is_poisoned_for_every_block(modules):
    seen = cp.full(7, 1, np.float32)
    modules["barriers"].get_function("poisoned")((3,), (1,), (seen,), shared_mem=4)
    assert np.isnan(seen.get()[:6]).all()


def test_barriers_that_count(modules):
    out = cp.empty((100, 3), np.int32)
    modules["barriers"].get_function("counting")((1,), (100,), (out,))
    assert (out.get() == [34, 0, 1]).all()


def test_thread_and_block_indices(modules):
    out = cp.empty(2 * 3 * 4 * 5 * 6 * 7, np.int32)
    modules["barriers"].get_function("where_am_i")((2, 3, 4), (5, 6, 7), (out,))
    np.testing.assert_array_equal(out.get(), np.arange(out.size) + 32)


def test_vector_types(modules):
    rng = np.random.default_rng(1)
    x, y = rng.random((8, 4), np.float32), rng.random((8, 2), np.float32)
    bytes_ = rng.integers(0, 256, (8, 4), np.uint8)
    wide = np.arange(16).reshape(8, 2)
    arrays = [cp.asarray(a) for a in (x, y, bytes_, wide)]
    modules["types"].get_function("vectors")((1,), (8,), tuple(arrays))
    x_new = x[:, ::-1].copy()
    x_new[:, :2] += y
    np.testing.assert_array_equal(arrays[0].get(), x_new)
    np.testing.assert_array_equal(arrays[2].get(), bytes_[:, ::-1])
    np.testing.assert_array_equal(arrays[3].get()[:, 1], wide[:, 0] + 1)


def test_sizes_and_alignments(modules):
    out = cp.empty(7, np.int32)
    modules["types"].get_function("sizes")((1,), (1,), (out,))
    assert out.get().tolist() == [1204, 1616, 1616, 808, 404, 404, 808]


def test_half_precision(modules):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 64)).astype(np.float16)
    a[:2] = [6e-8, 60000]  # a denormal number, and one that overflows
    out = cp.empty((8, 64), np.float16)
    args = (cp.asarray(a), cp.asarray(b), out, np.int32(64))
    modules["types"].get_function("halves")((1,), (64,), args)
    with np.errstate(over="ignore"):
        wide = a.astype(np.float64) * b.astype(np.float64) + a
        expected = [a + b, a * b, a / b, wide.astype(np.float16)]
        expected.append((a.astype(np.float32) + 1).astype(np.float16))
        expected += [np.maximum(a, -b), a + np.float16(0.5), np.minimum(a, b)]
    np.testing.assert_array_equal(out.get(), np.stack(expected))


def test_bfloat16_held_as_bit_patterns(modules):
    def bits(x):
        word = x.astype(np.float32).view(np.uint32)
        return ((word + 0x7FFF + (word >> 16 & 1)) >> 16).astype(np.uint16)

    def value(pattern):
        return (pattern.astype(np.uint32) << 16).view(np.float32)

    rng = np.random.default_rng(3)
    a, b = bits(rng.normal(size=32)), rng.normal(size=32).astype(np.float32)
    out = cp.empty((3, 32), np.uint16)
    args = (cp.asarray(a), cp.asarray(b), out, np.int32(32))
    modules["types"].get_function("bfloats")((1,), (32,), args)
    expected = [bits(b), bits(value(a) + value(bits(b))), a]
    np.testing.assert_array_equal(out.get(), np.stack(expected))


def test_mathematical_functions(modules):
    x = np.random.default_rng(4).normal(size=64).astype(np.float32)
    out = cp.empty((8, 64), np.float32)
    modules["maths"].get_function("maths")((1,), (64,), (cp.asarray(x), out, np.int32(64)))
    x = x.astype(np.float64)
    erf = np.array([math.erf(v) for v in x])
    expected = [
        np.exp(x),
        np.log(np.abs(x) + 1) + np.log1p(x * x),
        1 / np.sqrt(x * x + 1),
        np.tanh(x) + erf,
        np.maximum(x, 0.25) + np.minimum(x, 0.5) + x,
        x / 3 + 0.5 + np.clip(x, 0, 1),
        x * x + x + np.abs(x) ** 1.5,
        x + np.floor(x),
    ]
    np.testing.assert_allclose(out.get(), np.stack(expected), rtol=2e-6, atol=1e-6)


def test_integer_intrinsics(modules):
    x = np.random.default_rng(5).integers(1, 2**32, 64, dtype=np.uint32)
    out = cp.empty((7, 64), np.uint64)
    modules["maths"].get_function("integers")((1,), (64,), (cp.asarray(x), out, np.int32(64)))
    rows = []
    for first, second in zip(x.tolist(), np.roll(x, -1).tolist(), strict=True):
        wide = first << 32 | second
        rows.append(
            [
                first * second >> 32,
                wide * wide >> 64,
                first.bit_count() + 100 * wide.bit_count(),
                32 - first.bit_length() + 100 * (64 - (wide >> 7).bit_length()),
                (first & -first).bit_length() + 100 * (wide & -wide).bit_length(),
                int(f"{first:032b}"[::-1], 2),
                abs(first - second),
            ]
        )
    np.testing.assert_array_equal(out.get(), np.array(rows, np.uint64).T)


def test_conversions_saturate(modules):
    x = np.array([1.5, 2.5, -1.5, 3e9, -3e9, np.nan, np.inf, 5e9], np.float32)
    out = cp.empty((4, 8), np.int32)
    modules["maths"].get_function("conversions")((1,), (8,), (cp.asarray(x), out, np.int32(8)))
    low, high = -(2**31), 2**31 - 1
    assert out.get().tolist() == [
        [2, 2, -2, high, low, 0, high, high],
        [1, 2, -1, high, low, 0, high, high],
        [1, 2, -2, high, low, 0, high, high],
        [2, 2, 0, 3_000_000_000 - 2**32, 0, 0, -1, -1],
    ]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint64"])
def test_atomics(modules, dtype):
    values = np.arange(32) * 7 % 32
    out = cp.asarray(np.array([0, 99, 0, 255, 0, 0, 0, 0], dtype))
    modules["maths"].get_function(f"atomics_{dtype}")((1,), (32,), (out,))
    folded = [np.bitwise_and.reduce(values | 1) & 255, np.bitwise_or.reduce(values)]
    expected = [values.sum(), 0, 31, *folded, np.bitwise_xor.reduce(values), 32, 5]
    assert out.get().tolist() == expected


def test_atomics_on_floating_point_and_counters(modules):
    single, double = cp.zeros(1, np.float32), cp.zeros(1, np.float64)
    count = cp.asarray(np.array([0, 0, 50], np.uint32))
    modules["maths"].get_function("atomics_other")((1,), (32,), (single, double, count))
    assert (single.item(), double.item()) == (16.0, 8.0)
    assert count.get().tolist() == [32 % 10, (0 - 32) % 10, 18]


def test_template_kernels_by_name_expression():
    names = ["tools::scale<float, 3>", "tools::scale<int, -2>"]
    module = cp.RawModule(code=TEMPLATES, options=("-std=c++17",), name_expressions=names)
    for name, dtype, factor in zip(names, (np.float32, np.int32), (3, -2), strict=True):
        x = np.arange(2, 34).astype(dtype)
        device = cp.asarray(x)
        module.get_function(name)((1,), (32,), (device,), shared_mem=32 * 4)
        np.testing.assert_array_equal(device.get(), x * factor + 2)


@pytest.mark.parametrize(
    "statement",
    [
        "x[0] = INFINITY;",
        "x[0] = NAN;",
        "x[0] = FLT_MAX;",
        "x[0] = M_PI;",
        "uint32_t n = 0;",
        "uint n = 0;",
        "x[0] = std::min(1.0f, 2.0f);",
        "x[0] = sqrt(2);",
        "x[0] = max(1.0f, 2);",
        "atomicMax(x, 1.0f);",
        "x[0] = __shfl_sync(~0u, make_float4(1, 2, 3, 4), 0).x;",
        "__half h = 1.0f; x[0] = h + 1.0f;",
    ],
)
def test_what_nvrtc_refuses_does_not_compile(statement):
    code = f'#include <cuda_fp16.h>\nextern "C" __global__ void k(float* x) {{ {statement} }}'
    with pytest.raises(cp.cuda.compiler.CompileException, match=r"kernel.cu:2:\d+: "):
        cp.RawModule(code=code).compile()


@pytest.mark.parametrize("header", ["cfloat", "stdint.h", "type_traits", "cooperative_groups.h"])
def test_headers_that_nvrtc_lacks_are_not_found(header):
    with pytest.raises(cp.cuda.compiler.CompileException, match="No such file"):
        cp.RawModule(code=f"#include <{header}>").compile()
