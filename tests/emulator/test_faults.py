"""What the emulator says about kernels that misbehave; the process survives all of it."""

from __future__ import annotations

import numpy as np
import pytest

from gpunet.emulator import KernelFault
from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

CODE = r"""
#define KERNEL extern "C" __global__ void
#line 101 "faults.cu"
KERNEL exited(int* x) { if (threadIdx.x < 5) __syncthreads(); }
KERNEL other_barrier(int* x) { if (threadIdx.x < 5) __syncthreads(); else __syncthreads(); }
KERNEL exited_lane(int* x) { if (threadIdx.x < 20) x[0] = __shfl_down_sync(0xffffffffu, 1, 1); }
KERNEL unnamed(int* x) { __syncwarp(0xfffffff0u); }
KERNEL overlap(int* x) { __syncwarp(threadIdx.x < 16 ? 0x0001ffffu : 0xffff0000u); }
KERNEL mixed(int* x) { if (threadIdx.x & 1) __syncwarp(); else __any_sync(0xffffffffu, 1); }
KERNEL width(int* x) { x[0] = __shfl_sync(0xffffffffu, 1, 0, 7); }
KERNEL waiting(int* x) { if (threadIdx.x < 64) __syncthreads(); }
KERNEL wild(int* x) { if (threadIdx.x == 3) x[1 << 28] = 1; }
KERNEL null(int* x) { x[2] = 1; }
KERNEL past_end(int* x) { x[8] = 1; }
KERNEL before_start(int* x) { x[-3] = 1; }
KERNEL shared_end(int* x) { extern __shared__ int s[]; s[threadIdx.x] = 1; }
KERNEL division(int* x) { x[1] = 7 / x[threadIdx.x]; }
KERNEL asserting(int* x) { assert(threadIdx.x + 10 * blockIdx.x < 13); }
KERNEL trapping(int* x) { if (threadIdx.y == 2) __trap(); }
__device__ int deep(int n, int* x) {
    volatile int local[4000];
    local[n % 4000] = n;
    return x[0] ? local[0] : deep(n + 1, x) + local[n % 4000];
}
KERNEL recursion(int* x) { x[1] = deep(0, x); }
KERNEL fine(int* x) { __shared__ int s; s = 3; __syncthreads(); __syncwarp(); x[threadIdx.x] = s; }
"""


@pytest.fixture(scope="module")
def module():
    return cp.RawModule(code=CODE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "exited",
            r"divergent __syncthreads.*5 of the block's 32 .* 27 have exited.*faults.cu:101",
        ),
        ("other_barrier", r"divergent __syncthreads.*faults.cu:102.*thread \(5, 0, 0\)"),
        ("exited_lane", r"__shfl_down_sync never completes.*0xfff00000 have exited.*faults.cu:103"),
        ("unnamed", r"__syncwarp was called by lane 0, which its mask 0xfffffff0 does not name"),
        ("overlap", r"different masks that overlap: 0x0001ffff.*0xffff0000.*thread \(16, 0, 0\)"),
        ("mixed", r"some in __any_sync \(faults.cu:106\) and some in __syncwarp"),
        ("width", r"a shuffle's width must be 1, 2, 4.*faults.cu:107"),
        ("wild", r"illegal memory access.*thread \(3, 0, 0\)"),
        ("past_end", r"wrote outside of argument 0, 0 bytes past its end"),
        ("before_start", r"wrote outside of argument 0, 9 bytes before its start"),
        ("division", r"integer division by zero \[block \(0, 0, 0\), thread \(0, 0, 0\)"),
        (
            "asserting",
            r"assertion failed: threadIdx.x .* < 13 \(faults.cu:115\).*block \(0, 0, 0\)",
        ),
        ("recursion", r"stack overflow"),
    ],
)
def test_fault_reports(module, name, message):
    with pytest.raises(KernelFault, match=f"kernel '{name}'.*{message}"):
        module.get_function(name)((2,), (32,), (cp.zeros(8, np.int32),))
    # The device is as good as new.
    x = cp.empty(40, np.int32)
    module.get_function("fine")((3,), (40,), (x,))
    assert (x == 3).all()


def test_a_barrier_that_only_some_warps_reach(module):
    with pytest.raises(KernelFault, match="64 of the block's 96 threads wait"):
        module.get_function("waiting")((1,), (96,), (cp.zeros(8, np.int32),))


def test_the_thread_is_named_in_three_dimensions(module):
    with pytest.raises(KernelFault, match=r"__trap\(\).*block \(0, 0, 0\), thread \(0, 2, 0\)"):
        module.get_function("trapping")((1,), (4, 4, 4), (cp.zeros(8, np.int32),))


def test_null_pointers_are_called_so(module):
    with pytest.raises(KernelFault, match=r"null pointer \+ 8 bytes"):
        module.get_function("null")((1,), (1,), (np.uint64(0),))


def test_a_wild_address_is_described_by_its_neighbour(module):
    with pytest.raises(KernelFault, match=r"bytes past the end of argument 0"):
        module.get_function("wild")((1,), (32,), (cp.zeros(8, np.int32),))


def test_writing_past_the_dynamic_shared_memory(module):
    kernel = module.get_function("shared_end")
    x = cp.zeros(8, np.int32)
    kernel((1,), (8,), (x,), shared_mem=32)
    with pytest.raises(KernelFault, match="0 bytes past the 28 bytes of dynamic shared memory"):
        kernel((1,), (8,), (x,), shared_mem=28)


def test_red_zones_are_repaired(module):
    x = cp.zeros(8, np.int32)
    kernel = module.get_function("past_end")
    for _ in range(2):
        with pytest.raises(KernelFault, match="wrote outside of argument 0"):
            kernel((1,), (1,), (x,))
    module.get_function("fine")((1,), (8,), (x,))
