"""What the counters say of kernels whose accesses are known."""

import numpy as np
import pytest

from gpunet.emulator import cupy as cp
from gpunet.emulator import record_accesses
from gpunet.inspection.counters import Counts, count

pytestmark = pytest.mark.emulator

CODE = r"""
#define KERNEL extern "C" __global__ void
struct Odd { float v[3]; };
KERNEL wide(float* y, const float* x) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    ((float4*)y)[i] = ((const float4*)x)[i];
}
KERNEL narrow(float* y, const float* x) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    y[i] = x[i];
}
KERNEL strided(float* y, const float* x) { y[8 * threadIdx.x] = x[2 * threadIdx.x]; }
KERNEL shifted(float* y, const float* x) { y[threadIdx.x] = x[threadIdx.x + 1]; }
KERNEL same(float* y, const float* x) { y[threadIdx.x] = x[0]; }
KERNEL twice(float* y, const float* x) {
    for (int i = 0; i < 2; ++i) y[threadIdx.x] = x[threadIdx.x] + i;
}
KERNEL some_lanes(float* y, const float* x) {
    for (int i = 0; i < threadIdx.x % 2 + 1; ++i) y[i * 32 + threadIdx.x] = x[threadIdx.x];
}
KERNEL odd(Odd* y, const Odd* x) { y[threadIdx.x] = x[threadIdx.x]; }
KERNEL ticket(unsigned* y) { atomicAdd(y, 1u); }
template <int COLUMNS> __device__ void transpose(float* y, const float* x) {
    __shared__ float tile[32][COLUMNS];
    for (int i = 0; i < 32; ++i) tile[i][threadIdx.x] = x[i * 32 + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < 32; ++i) y[i * 32 + threadIdx.x] = tile[threadIdx.x][i];
}
KERNEL conflicts(float* y, const float* x) { transpose<32>(y, x); }
KERNEL padded(float* y, const float* x) { transpose<33>(y, x); }
template <typename T> __device__ void through_shared(T* y, const T* x, int stride) {
    extern __shared__ __align__(16) unsigned char memory[];
    T* tile = (T*)memory;
    tile[stride * threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = tile[stride * threadIdx.x];
}
KERNEL bytes(unsigned char* y, const unsigned char* x) { through_shared(y, x, 1); }
KERNEL doubles(double* y, const double* x) { through_shared(y, x, 1); }
KERNEL quads(float4* y, const float4* x) { through_shared(y, x, 1); }
KERNEL spread_quads(float4* y, const float4* x) { through_shared(y, x, 2); }
"""

# On 32 threads unless GRIDS says otherwise (blocks, threads).
EXPECTED = {
    "wide": Counts(2048, 2048, 64, 64, 2048, 0, 0),
    "narrow": Counts(512, 512, 16, 16, 0, 0, 0),
    "strided": Counts(256, 256, 8 + 32, 8, 0, 0, 0),
    "shifted": Counts(256, 256, 9, 8, 0, 0, 0),
    "same": Counts(132, 132, 5, 5, 0, 0, 0),
    "twice": Counts(256, 512, 16, 16, 0, 0, 0),
    # Second round: the 16 odd lanes, in as many sectors as all 32.
    "some_lanes": Counts(128 + 128 + 64, 128 * 2 + 64 * 2, 16, 12, 0, 0, 0),
    "odd": Counts(768, 768, 2 * 3 * 12, 2 * 3 * 4, 0, 0, 0),
    "ticket": Counts(8, 4, 1, 1, 0, 0, 0),
    "conflicts": Counts(8192, 8192, 256, 256, 0, 32 + 32 * 32, 64),
    "padded": Counts(8192, 8192, 256, 256, 0, 64, 64),
    "bytes": Counts(64, 64, 2, 2, 0, 2, 2),
    "doubles": Counts(512, 512, 16, 16, 0, 4, 4),
    "quads": Counts(1024, 1024, 32, 32, 1024, 8, 8),
    "spread_quads": Counts(1024, 1024, 32, 32, 1024, 16, 8),
}
GRIDS = {"wide": (2, 32), "narrow": (1, 64)}


@pytest.mark.parametrize("name", EXPECTED)
def test_accesses_are_counted_as_a_gpu_makes_them(name):
    kernel = cp.RawModule(code=CODE).get_function(name)
    dtype = {"ticket": np.uint32, "doubles": np.float64}.get(name, np.float32)
    arrays = cp.zeros(4096, dtype), cp.zeros(4096, dtype)
    blocks, threads = GRIDS.get(name, (1, 32))
    dynamic = 0 if name in ("conflicts", "padded") else 1024
    with record_accesses() as traces:
        kernel(
            (blocks,), (threads,), arrays[:1] if name == "ticket" else arrays, shared_mem=dynamic
        )
    assert count(traces) == EXPECTED[name]


def test_shares_of_counts():
    counts = Counts(
        moved=100, sectors=8, least_sectors=4, wide=25, wavefronts=3, least_wavefronts=2
    )
    assert (counts.coalescing, counts.wide_share, counts.bank_conflicts) == (0.5, 0.25, 1.5)
    nothing = Counts()
    assert (nothing.coalescing, nothing.wide_share, nothing.bank_conflicts) == (1.0, 1.0, 1.0)
    assert count([]) == nothing


def test_launches_are_added_up():
    kernel = cp.RawModule(code=CODE).get_function("narrow")
    y, x = cp.zeros(64, np.float32), cp.zeros(64, np.float32)
    with record_accesses() as traces:
        for _ in range(3):
            kernel((1,), (64,), (y, x))
    assert count(traces) == Counts(3 * 512, 3 * 512, 3 * 16, 3 * 16)
