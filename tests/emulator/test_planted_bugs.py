"""Planted bugs, one a kernel: the checked build finds each, and says where, who and what.

The kernels are in kernels/planted.cu; the line that a report must name is marked BUG there.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gpunet.emulator import CompileException, KernelFault, checked
from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

SOURCE = (Path(__file__).parent / "kernels" / "planted.cu").read_text("utf-8")
MODULE = cp.RawModule(code=f'#line 1 "planted.cu"\n{SOURCE}')
F32 = np.float32


def line_of_bug(kernel):
    lines = SOURCE.splitlines()
    start = next(i for i, line in enumerate(lines) if f"KERNEL {kernel}(" in line)
    of_helper = [i for i, line in enumerate(lines) if f"BUG of {kernel}" in line]
    return 1 + (of_helper or [i for i in range(start, len(lines)) if "// BUG" in lines[i]])[0]


def ramp(n=32, dtype=F32):
    return cp.arange(n, dtype=dtype)


def zeros(n=32, dtype=F32):
    return cp.zeros(n, dtype)


def empty(n=32, dtype=F32):
    return cp.empty(n, dtype)


def address_of_a_freed_array():
    return cp.asarray(np.array([ramp().data.ptr], np.uint64)).view(np.uint64)


def part_of(n):
    """The first n elements of a larger array."""
    return ramp(4 * n)[:n]


def far_away():
    x, other = ramp(), ramp(4096)
    distance = (other.data.ptr - x.data.ptr) // 4 + 100
    return [zeros(), x, np.int64(distance)], other


RACE = r"race on {}: {} by \[block .*\] and {} by \[block .*\], with {} in between"


def race(place, first, second, missing="no barrier"):
    return RACE.format(place, first, second, missing)


FENCE = "no __threadfence and atomic"

# Kernel: (arguments, what is said, block, grid); a block of 32 and a grid of 1 where none is given.
BUGS = {
    "reads_past_the_end": (
        lambda: [zeros(), ramp()],
        r"out-of-bounds read of 4 bytes, 0 bytes past the end of 'x' \(128 bytes\).*"
        r"thread \(31, 0, 0\)",
    ),
    "writes_past_the_end": (
        lambda: [zeros(), np.int32(32)],
        r"out-of-bounds write of 4 bytes, 0 bytes past the end of 'y'.*thread \(0, 0, 0\)",
    ),
    "reads_before_the_start": (
        lambda: [zeros(), ramp()],
        r"out-of-bounds read of 4 bytes, 4 bytes before the start of 'x'.*thread \(0, 0, 0\)",
    ),
    "reads_a_vector_over_the_end": (
        lambda: [zeros(), ramp(126)],
        r"out-of-bounds read of 16 bytes, 8 of them past the end of 'x' \(504 bytes\).*"
        r"thread \(31, 0, 0\)",
    ),
    "reads_one_byte_too_many": (
        lambda: [zeros(), ramp(31, np.uint8)],
        r"out-of-bounds read of 1 bytes, 0 bytes past the end of 'x' \(31 bytes\)",
    ),
    "swaps_rows_and_columns": (
        lambda: [zeros(6), ramp(6), np.int32(2), np.int32(3)],
        r"out-of-bounds write of 4 bytes, .* past the end of 'y' \(24 bytes\).*thread \(2, 0, 0\)",
        (3, 2),
    ),
    "counts_outside_of_the_bins": (
        lambda: [zeros(8, np.int32), ramp(32, np.int32)],
        r"out-of-bounds atomic access of 4 bytes, \d+ bytes past the end of 'bins'.*"
        r"thread \(8, 0, 0\)",
    ),
    "reads_freed_memory": (
        lambda: [zeros(), address_of_a_freed_array()],
        r"out-of-bounds read of 4 bytes, inside of an array of 128 bytes that has been freed",
    ),
    "leaves_its_view": (
        lambda: [zeros(64), part_of(32), np.int32(33)],
        r"0 bytes past the end of 'x' \(128 bytes\), inside of the array that it is a view of",
    ),
    "reads_another_array": (
        far_away,
        r"out-of-bounds read of 4 bytes, inside of an array that is no argument",
    ),
    "reads_null": (
        lambda: [zeros(), np.uintp(0)],
        r"out-of-bounds read of 4 bytes, at a null pointer",
    ),
    "writes_to_an_input": (
        lambda: [ramp()],
        r"write of 4 bytes to 'x'\[\d+\], which the kernel takes as pointer to const",
    ),
    "indexes_past_a_shared_array": (
        lambda: [ramp()],
        r"index 31 is out of bounds of an array 'float *\[31\]'.*thread \(31, 0, 0\)",
    ),
    "indexes_past_a_shared_row": (
        lambda: [ramp()],
        r"index 8 is out of bounds of an array 'float *\[8\]'.*thread \(8, 0, 0\)",
    ),
    "points_past_a_shared_array": (
        lambda: [ramp()],
        r"out-of-bounds write of 4 bytes, 0 bytes past the end of shared 'first' \(256 bytes\).*"
        r"thread \(31, 0, 0\)",
    ),
    "points_before_a_shared_array": (
        lambda: [ramp()],
        r"out-of-bounds write of 4 bytes, 4 bytes before the start of shared 'tile'",
    ),
    "needs_more_dynamic_shared": (
        lambda: [ramp()],
        r"out-of-bounds write of 4 bytes, \d+ bytes past the end of dynamic shared memory "
        r"\(64 bytes\).*thread \(16, 0, 0\)",
    ),
    "reads_an_empty_array": (
        lambda: [zeros(), empty()],
        r"read of memory that was never written: 'x'\[\d+\]",
    ),
    "adds_to_an_empty_array": (
        lambda: [empty(), ramp()],
        r"read of memory that was never written: 'y'\[\d+\]",
    ),
    "counts_in_an_empty_array": (
        lambda: [empty(32, np.int32)],
        r"read of memory that was never written: 'bins'\[\d+\]",
    ),
    "reads_the_part_not_written": (
        lambda: [zeros(), empty()],
        r"read of memory that was never written: 'x'\[31\]",
    ),
    "sums_unwritten_shared": (
        lambda: [ramp()],
        r"read of memory that was never written: byte 0 of shared 'sum'",
    ),
    "pads_nothing": (
        lambda: [ramp()],
        r"read of memory that was never written: byte (0|132) of shared 'halo'",
    ),
    "reads_unwritten_dynamic_shared": (
        lambda: [ramp()],
        r"read of memory that was never written: byte \d+ of dynamic shared memory",
    ),
    "reads_an_empty_half": (
        lambda: [zeros(), empty(32, np.float16)],
        r"read of memory that was never written: 'x'\[\d+\]",
    ),
    "expects_shared_to_survive_a_block": (
        lambda: [ramp()],
        r"read of memory that was never written: byte 0 of shared 'before' \[block \(1, 0, 0\)",
        (1,),
        (2,),
    ),
    "loads_float4_anywhere": (
        lambda: [zeros(), ramp(36)],
        r"misaligned read of 16 bytes at 'x'\[\d+\]: the address is no multiple of 16.*"
        r"thread \(1, 0, 0\)",
    ),
    "stores_float2_anywhere": (
        lambda: [ramp()],
        r"misaligned write of 8 bytes at 'y'\[1\]: the address is no multiple of 8",
    ),
    "loads_misaligned_shared": (
        lambda: [ramp()],
        r"misaligned read of 16 bytes at byte \d+ of shared 'tile'",
    ),
    "forgets_a_barrier": (
        lambda: [ramp(64)],
        # Thread 0 reads before thread 1 writes, or the other way round.
        r"never written: byte \d+ of shared 'tile'|race on byte \d+ of shared 'tile'",
        (64,),
    ),
    "overwrites_a_tile_in_use": (
        lambda: [zeros(64), ramp(128)],
        race(r"byte \d+ of shared 'tile'", "(read|written)", "(written|read)"),
        (64,),
    ),
    "sums_without_barriers": (
        lambda: [ramp(64)],
        race(r"byte \d+ of shared 'tree'", "(read|written)", "(written|read)"),
        (64,),
    ),
    "trusts_the_warp": (
        lambda: [ramp()],
        r"never written: byte \d+ of shared 'tree'|race on byte \d+ of shared 'tree'",
    ),
    "orders_by_a_shuffle": (
        lambda: [ramp()],
        race(r"byte \d+ of shared 'tile'", "written", "read"),
    ),
    "synchronises_half_a_warp": (
        lambda: [ramp()],
        r"never written: byte \d+ of shared 'tile'|"
        + race(r"byte \d+ of shared 'tile'", "written", "read"),
    ),
    "counts_without_atomics": (
        lambda: [zeros(1, np.int32)],
        race(r"'n'\[0\]", "written", "read"),
    ),
    "fills_shared_bins": (
        lambda: [zeros(4, np.int32)],
        race(r"byte \d+ of shared 'count'", "written", "read"),
    ),
    "reads_what_others_count": (
        lambda: [zeros(1, np.int32), zeros(32, np.int32)],
        race(r"'n'\[0\]", "(read|changed atomically)", "(read|changed atomically)"),
    ),
    "shifts_in_place": (
        lambda: [ramp()],
        race(r"'x'\[\d+\]", "(read|written)", "(written|read)"),
    ),
    "broadcasts_too_early": (
        lambda: [ramp(33)],
        r"never written: byte 0 of shared 'scale'|"
        + race("byte 0 of shared 'scale'", "written", "read"),
    ),
    "waits_for_its_warp_only": (
        lambda: [ramp(64)],
        r"never written: byte \d+ of shared 'tile'|"
        + race(r"byte \d+ of shared 'tile'", "written", "read"),
        (64,),
    ),
    "reads_the_next_blocks_output": (
        lambda: [zeros()],
        race(r"'y'\[\d+\]", "(written|read)", "(read|written)", FENCE),
        (1,),
        (4,),
    ),
    "all_blocks_write_one_element": (
        lambda: [zeros()],
        race(r"'y'\[0\]", "written", "written", FENCE),
        (1,),
        (4,),
    ),
    "last_block_without_fence": (
        lambda: [zeros(1), zeros(4), zeros(1, np.uint32)],
        race(r"'partial'\[\d\]", "written", "read", FENCE),
        (1,),
        (4,),
    ),
    "last_block_fences_too_late": (
        lambda: [zeros(1), zeros(4), zeros(1, np.uint32)],
        race(r"'partial'\[\d\]", "written", "read", FENCE),
        (1,),
        (4,),
    ),
    "last_block_forgets_the_other_threads": (
        lambda: [zeros(1), zeros(128), zeros(1, np.uint32)],
        race(r"'partial'\[\d+\]", "written", "read", FENCE),
        (32,),
        (4,),
    ),
    "waits_in_a_branch": (
        lambda: [zeros()],
        r"divergent __syncthreads\(\): 20 of the block's 32 threads wait .* 12 have exited",
    ),
    "returns_before_the_barrier": (
        lambda: [zeros(), np.int32(5)],
        r"divergent __syncthreads\(\): 5 of the block's 32 threads wait .* 27 have exited",
    ),
    "waits_at_two_barriers": (
        lambda: [zeros()],
        r"divergent __syncthreads\(\): some threads of the block wait at the barrier in planted",
    ),
    "loops_differently_often": (
        lambda: [zeros()],
        r"divergent __syncthreads\(\): 8 of the block's 32 threads wait .* 24 have exited",
    ),
    "waits_crosswise": (
        lambda: [zeros()],
        r"__syncwarp never completes: lanes 0xffff0000 of its mask .* lanes 0x0000ffff wait else",
    ),
    "shuffles_in_a_branch": (
        lambda: [ramp()],
        r"__shfl_down_sync never completes: .* lanes 0xffff0000 have exited",
    ),
    "is_not_in_its_mask": (
        lambda: [ramp()],
        r"__shfl_sync was called by lane (1[6-9]|2\d|3[01]), which its mask 0x0000ffff does not",
    ),
    "has_overlapping_masks": (
        lambda: [zeros()],
        r"lanes of one warp wait with different masks that overlap",
    ),
    "shuffles_over_seven_lanes": (
        lambda: [ramp()],
        r"a shuffle's width must be 1, 2, 4, 8, 16 or 32",
    ),
    "votes_and_shuffles": (
        lambda: [ramp()],
        r"lanes of one warp met with mask 0xffffffff, some in __(any|shfl)_sync",
    ),
    "waits_for_a_later_block": (
        lambda: [zeros(1, np.int32)],
        r"deadlock: a thread waits in a loop for 'flag'\[0\] to change",
        (1,),
        (2,),
    ),
    "never_unlocks": (
        lambda: [zeros(1, np.int32)],
        r"deadlock: a thread waits in a loop for 'lock'\[0\] to change",
    ),
}
SHARED_BYTES = {"needs_more_dynamic_shared": 64, "reads_unwritten_dynamic_shared": 128}


def test_every_planted_bug_is_tried():
    assert set(re.findall(r"KERNEL (\w+)\(", SOURCE)) == set(BUGS)
    assert len(BUGS) >= 35


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", BUGS)
def test_is_found(name, seed):
    make, message, *launch = BUGS[name]
    block, grid = (*launch, *[(32,), (1,)][len(launch) :])
    with checked(seed):
        made = make()
        arguments, _alive = made if isinstance(made, tuple) else (made, None)
        kernel = MODULE.get_function(name)
        with pytest.raises(KernelFault) as caught:
            kernel(grid, block, tuple(arguments), shared_mem=SHARED_BYTES.get(name, 0))
    report = str(caught.value)
    assert report.startswith(f"kernel '{name}': ")
    # Which of several threads is caught first depends on the order.
    said = message if seed == 0 else re.sub(r"(\.\*)?thread \\\(\d+, 0, 0\\\)$", "", message)
    assert re.search(said, report), report
    assert f"planted.cu:{line_of_bug(name)}" in report, report


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("float sum;\nfor (int i = 0; i < 4; ++i) sum += y[i];\ny[0] = sum;", "sum"),
        ("float v[4];\nfor (int i = 1; i < 4; ++i) v[i] = y[i];\ny[0] = v[0];", "v"),
    ],
)
def test_unwritten_local_variables_do_not_compile(body, name):
    code = f'extern "C" __global__ void k(float* y) {{\n{body}\n}}'
    cp.RawKernel(code, "k").compile()  # the fast build takes it, as NVRTC does
    with checked(), pytest.raises(CompileException, match=rf"kernel\.cu:\d.*{name}.*uninitialized"):
        cp.RawKernel(code, "k").compile()
