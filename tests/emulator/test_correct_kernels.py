"""Kernels that look suspicious and are right: no alarm, the right result, in any order.

The kernels are in kernels/correct.cu.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpunet.emulator import checked
from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

SOURCE = (Path(__file__).parent / "kernels" / "correct.cu").read_text("utf-8")
MODULE = cp.RawModule(code=f'#line 1 "correct.cu"\n{SOURCE}')
F32, I32 = np.float32, np.int32
RAMP = np.arange(128)
MIXED = (RAMP * 37 + 11) % 101
WEIGHTS = np.arange(32)[:, None] % 4 + 1
SQUARE = np.arange(121.0).reshape(11, 11) % 7


def new(n, dtype=F32):
    """An array that nobody has written to."""
    return cp.empty(n, dtype)


def zeros(n, dtype=I32):
    return cp.zeros(n, dtype)


def given(values, dtype=F32):
    return cp.asarray(np.asarray(values), dtype)


def multiples(n):
    return sorted(v for v in MIXED[:n] if v % 3 == 0)


# Kernel: (arguments, what the first one must hold afterwards, block, grid, shared bytes)
CORRECT = {
    "double_buffering": (
        lambda: [new(64), given(RAMP[:128]), I32(2)],
        (RAMP[:64] + RAMP[64:128])[::-1],
        (64,),
    ),
    "warp_tree": (lambda: [new(1), given(RAMP[:32])], [496]),
    "last_block_guide": (lambda: [new(1), new(7), zeros(1, np.uint32)], [28], (32,), (7,)),
    "last_block_all_threads": (
        lambda: [new(1), new(160), zeros(1, np.uint32)],
        [160],
        (32,),
        (5,),
    ),
    "tickets_in_a_tree": (lambda: [new(1), new(8), zeros(16, np.uint32)], [8], (32,), (8,)),
    "half_warps": (lambda: [new(2), given(RAMP[:32])], [120, 376]),
    "padded_transpose": (
        lambda: [new(1024), given(np.arange(1024))],
        np.arange(1024).reshape(32, 32).T.ravel(),
        (32, 4),
    ),
    "masked_branches": (lambda: [new(32, I32)], [30, 256] * 16),
    "compaction": (
        lambda: [zeros(len(multiples(96))), zeros(1), given(MIXED, I32)],
        multiples(96),
        (32,),
        (3,),
    ),
    "warp_aggregated": (
        lambda: [zeros(len(multiples(96))), zeros(1), given(MIXED, I32)],
        multiples(96),
        (32,),
        (3,),
    ),
    "histogram": (
        lambda: [zeros(8), given(MIXED, I32)],
        np.bincount(MIXED[:96] % 8, minlength=8),
        (32,),
        (3,),
    ),
    "raises_a_flag": (lambda: [zeros(1), given(MIXED, I32)], [1], (32,), (3,)),
    "bitonic_sort": (lambda: [given(MIXED[:64], I32)], np.sort(MIXED[:64]), (64,)),
    "scan": (lambda: [given(MIXED[:64], I32)], np.cumsum(MIXED[:64]), (64,)),
    "vectors_and_tail": (
        lambda: [new(127), given(RAMP[:127]), I32(127)],
        RAMP[:127],
        (8,),
        (3,),
    ),
    "carved_buffer": (
        lambda: [new(32, np.float64), given(RAMP[:32])],
        2 * RAMP[31::-1] + (RAMP[:32] ^ 1),
        (32,),
        (1,),
        32 * 12,
    ),
    "reused_buffer": (
        lambda: [new(32, I32), given(RAMP[:32])],
        31 - (RAMP[:32] ^ 1),
    ),
    "neighbouring_bytes": (
        lambda: [new(64, np.uint8), new(64, np.float16)],
        [*RAMP[:32], *RAMP[31::-1]],
    ),
    "spin_lock": (lambda: [zeros(1), zeros(1)], [96], (96,)),
    "hand_over": (lambda: [new(1, I32), new(1, I32), zeros(1)], [42], (64,)),
    "short_warp": (lambda: [new(1), given(RAMP[:40])], [sum(range(32, 40))], (40,)),
    "counting_barriers": (
        lambda: [new(64, I32), given(RAMP[:64], I32)],
        [65] * 64,
        (64,),
    ),
    "stencil_in_place": (
        lambda: [given(RAMP[:64] ** 2)],
        (np.append(RAMP[1:64], 63) ** 2 + np.append(0, RAMP[:63]) ** 2) / 2,
        (64,),
    ),
    "structs_and_tables": (
        lambda: [new(96), given(RAMP[:96])],
        (RAMP[:96].reshape(32, 3) * WEIGHTS).ravel(),
    ),
    "local_arrays": (lambda: [new(32)], 8 + RAMP[:32]),
    "early_return": (
        lambda: [new(5), given(RAMP[:64]), I32(5)],
        RAMP[63:58:-1],
        (64,),
    ),
    "tiled_product": (
        lambda: [new(121), given(SQUARE.ravel()), given(SQUARE.T.ravel()), I32(11)],
        (SQUARE @ SQUARE.T).ravel(),
        (8, 8),
        (2, 2),
    ),
}
UNORDERED = {"compaction", "warp_aggregated"}


def test_every_correct_kernel_is_tried():
    assert set(re.findall(r"KERNEL (\w+)\(", SOURCE)) == set(CORRECT)
    assert len(CORRECT) >= 20


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", CORRECT)
def test_raises_no_alarm(name, seed):
    make, expected, *launch = CORRECT[name]
    block, grid, shared = (*launch, *[(32,), (1,), 0][len(launch) :])
    with checked(seed):
        arguments = make()
        MODULE.get_function(name)(grid, block, tuple(arguments), shared_mem=shared)
    result = arguments[0].get()
    np.testing.assert_array_equal(np.sort(result) if name in UNORDERED else result, expected)


def test_the_order_is_drawn_by_the_seed():
    code = """
    extern "C" __global__ void order(int* y, int* n) {
        y[atomicAdd(n, 1)] = blockIdx.x * blockDim.x + threadIdx.x;
    }"""
    kernel = cp.RawKernel(code, "order")

    def order(seed):
        with checked(seed):
            y, n = new(24, I32), zeros(1)
            kernel((3,), (8,), (y, n))
        return y.get().tolist()

    assert order(0) == list(range(24))
    assert order(1) == order(1)
    assert len({tuple(order(seed)) for seed in range(5)}) == 5
    assert sorted(order(7)) == list(range(24))
