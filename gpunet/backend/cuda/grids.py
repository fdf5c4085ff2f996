"""How many blocks and threads an op launches, from the problem's size and the device's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.spec import Array

PACK_BYTES = 16  # the widest load of a thread
WARP = 32
MAX_GRID_Y = 65535
_UNITS_PER_LANE = 4  # the most loads of a lane before a row gets a block instead of a warp


def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up."""
    return -(-a // b)


def power_of_two(value: int) -> int:
    """The smallest power of two that is at least value."""
    return 1 << max(value - 1, 0).bit_length()


def pack_of(*arrays: Array | None) -> int:
    """As many elements as are 16 bytes of the widest of these arrays: 4 of float32, 8 of halves."""
    widest: int = max(a.dtype.itemsize for a in arrays if a is not None)
    return PACK_BYTES // widest


def packed_width(columns: int, *arrays: Array | None) -> int:
    """`pack_of` these arrays if their rows can be read in packs, else 1."""
    pack = pack_of(*arrays)
    fits = columns % pack == 0 and all(
        a is None or a.data.ptr % (pack * a.dtype.itemsize) == 0 for a in arrays
    )
    return pack if fits else 1


def flat_grid(device: Device, units: int) -> tuple[int]:
    """Blocks for a grid-stride loop over ``units`` loads."""
    return (max(1, min(ceil_div(units, THREADS), device.max_blocks)),)


def sample_grid(device: Device, batch: int, units: int, across: int = THREADS) -> tuple[int, int]:
    """Blocks of ``across`` threads, one for each unit of a sample (x), looping over samples (y)."""
    blocks = ceil_div(units, across)
    return blocks, max(1, min(batch, ceil_div(device.max_blocks, blocks), MAX_GRID_Y))


class Rectangle(NamedTuple):
    """A grid and a block over the columns (x) and rows (y) of a matrix."""

    grid: tuple[int, int]
    block: tuple[int, int]


def rectangle(
    device: Device, rows: int, units: int, *, widest: int = THREADS, rows_per_thread: int = 1
) -> Rectangle:
    """Threads over a matrix whose rows consist of ``units`` loads: one a load, looping down rows.

    Args:
        device: limits the number of blocks.
        rows: the matrix' rows.
        units: loads (packs or elements) in a row.
        widest: the most threads of a block along a row.
        rows_per_thread: how many rows a thread should have before there are more blocks.
    """
    across = min(power_of_two(units), widest)
    down = THREADS // across
    strips = ceil_div(units, across)
    bands = min(ceil_div(rows, down * rows_per_thread), device.max_blocks // strips, MAX_GRID_Y)
    return Rectangle((strips, max(1, bands)), (across, down))


class RowLaunch(NamedTuple):
    """How a kernel that reduces along rows deals them to threads.

    Attributes:
        grid: blocks.
        shared: bytes of shared memory that hold what a block has read.
        args: the kernel's arguments packed, lanes, cached: how many loads of each thread are kept.
    """

    grid: tuple[int]
    shared: int
    args: tuple[np.int32, np.int32, np.int32]


def row_launch(device: Device, rows: int, columns: int, width: int, kept: int) -> RowLaunch:
    """Give a narrow row a few lanes of a warp, a wide one a block.

    Args:
        device: limits the number of blocks and their shared memory.
        rows: the matrix' rows.
        columns: the matrix' columns.
        width: elements in a load.
        kept: bytes of each column that are to be kept in shared memory between passes.
    """
    units = columns // width
    lanes = min(power_of_two(units), WARP) if units <= WARP * _UNITS_PER_LANE else THREADS
    of_step = kept * THREADS * width
    cached = min(ceil_div(units, lanes), device.cache_bytes // of_step) if kept else 0
    blocks = min(ceil_div(rows, THREADS // lanes), device.max_blocks)
    return RowLaunch(
        (blocks,),
        cached * of_step,
        (np.int32(width > 1), np.int32(lanes), np.int32(cached)),
    )
