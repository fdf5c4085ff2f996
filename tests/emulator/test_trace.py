"""The hook that checks and counters are built on: every load and store, once, as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.emulator import build, record_accesses
from gpunet.emulator import cupy as cp
from gpunet.emulator.trace import ATOMIC, IN_PARTS, READS, VOLATILE, WRITES

pytestmark = pytest.mark.emulator

CODE = r"""
template <typename T, int N> struct alignas(N * sizeof(T)) Pack { T v[N]; };
struct Odd { float v[3]; };
template <typename T> __device__ __forceinline__ T load(const T* p) { return *p; }
#define KERNEL extern "C" __global__ void
#line 101 "traced.cu"
KERNEL copy4(const float4* x, float4* y) { y[threadIdx.x] = x[threadIdx.x]; }
KERNEL member(const float4* x, float* y) { y[0] = x[1].y; }
KERNEL scale(const Pack<float, 4>* x, Pack<float, 4>* y) {
    Pack<float, 4> p = load(x + 1);
    for (int j = 0; j < 4; ++j) p.v[j] *= 2.0f;
    y[0] = p;
}
KERNEL twice(const float* x, float* y) { y[0] = x[0] + x[1]; y[1] = x[0]; }
KERNEL odd(const Odd* x, Odd* y) { y[0] = x[1]; }
KERNEL atomics(int* n) { atomicAdd(n + 1, 2); atomicCAS_block(n + 1, 2, 5); }
KERNEL hinted(const float* x, float* y) { __stcs(y, __ldg(x + 2)); }
KERNEL is_volatile(volatile int* n) { n[1] = n[0]; }
KERNEL shared(int* n) {
    __shared__ int s[64];
    s[threadIdx.x] = threadIdx.x;
    __syncthreads();
    n[threadIdx.x] = s[threadIdx.x ^ 1];
}
KERNEL collective(float* x) {
    float v = x[threadIdx.x];
    for (int o = 16; o; o /= 2) v += __shfl_xor_sync(0xffffffffu, v, o);
    if (__ballot_sync(0xffffffffu, v > 0.0f) && __any_sync(0xffffffffu, 1)) x[threadIdx.x] = v;
}
__device__ __noinline__ void fill(float* v, int n) { for (int i = 0; i < n; ++i) v[i] = i; }
KERNEL local(float* x) { float v[4]; fill(v, 4); x[0] = v[3]; }
__constant__ float table[3] = {1.0f, 2.0f, 3.0f};
"""


def traced(name, *arrays, grid=(1,), block=(1,)):
    kernel = cp.RawModule(code=CODE).get_function(name)
    with record_accesses() as traces:
        kernel(grid, block, arrays)
    return traces[0]


def steps(trace, *arrays):
    """(which array, byte offset, size, kind) of every access to these arrays."""
    found = []
    for r in trace.records:
        for which, array in enumerate(arrays):
            offset = int(r["address"]) - array.data.ptr
            if 0 <= offset < array.nbytes:
                found.append((which, offset, int(r["size"]), int(r["kind"])))
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("copy4", {(0, 0, 16, READS), (1, 0, 16, WRITES)}),
        ("member", {(0, 20, 4, READS), (1, 0, 4, WRITES)}),
        ("scale", {(0, 16, 16, READS), (1, 0, 16, WRITES)}),
        ("odd", {(0, 12, 12, READS | IN_PARTS), (1, 0, 12, WRITES | IN_PARTS)}),
        ("hinted", {(0, 8, 4, READS), (1, 0, 4, WRITES)}),
    ],
)
def test_vectors_and_structs_stay_whole(name, expected):
    x, y = cp.arange(16, dtype=np.float32), cp.zeros(16, np.float32)
    trace = traced(name, x, y)
    assert set(steps(trace, x, y)) == expected
    assert len(trace.records) == 2


def test_repeated_reads_are_not_merged():
    x, y = cp.arange(4, dtype=np.float32), cp.zeros(4, np.float32)
    trace = traced("twice", x, y)
    assert sorted(steps(trace, x, y)) == [
        *((0, 0, 4, READS), (0, 0, 4, READS), (0, 4, 4, READS)),
        *((1, 0, 4, WRITES), (1, 4, 4, WRITES)),
    ]


def test_atomics_and_volatile_are_told_apart():
    n = cp.zeros(2, np.int32)
    assert steps(traced("atomics", n), n) == [(0, 4, 4, READS | WRITES | ATOMIC)] * 2
    assert n.get().tolist() == [0, 5]
    kinds = {(0, 0, 4, READS | VOLATILE), (0, 4, 4, WRITES | VOLATILE)}
    assert set(steps(traced("is_volatile", n), n)) == kinds


def test_shared_memory_is_seen_and_threads_are_numbered():
    n = cp.zeros(64, np.int32)
    trace = traced("shared", n, block=(32, 2), grid=(3,))
    assert trace.name == "shared"
    assert trace.grid == (3, 1, 1)
    assert trace.block == (32, 2, 1)
    assert len(trace.records) == 3 * 64 * 3
    by_place = {}
    for r in trace.records:
        place = by_place.setdefault(trace.source_line(int(r["code"])), [])
        place.append((int(r["block"]), int(r["thread"])))
    assert sorted(by_place) == ["traced.cu:115", "traced.cu:117"]
    every = [(b, t) for b in range(3) for t in range(64)]
    assert sorted(set(by_place["traced.cu:115"])) == every
    assert sorted(by_place["traced.cu:117"]) == sorted(every + every)


def test_the_emulators_own_memory_is_not():
    x = cp.ones(32, np.float32)
    trace = traced("collective", x, block=(32,))
    assert len(trace.records) == 64
    assert (x == 32.0).all()
    assert len(traced("local", x).records) == 1


def test_without_the_hook_the_fast_build_runs():
    x = cp.ones(32, np.float32)
    module = cp.RawModule(code=CODE)
    module.get_function("collective")((1,), (32,), (x,))
    assert build.profile().name == "fast"
    with build.use_profile("checked"):
        module.get_function("collective")((1,), (32,), (x,))
    assert (x == 1024.0).all()
    assert sorted(module._modules) == ["checked", "fast"]
