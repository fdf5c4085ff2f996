"""Positions in sequences: launches of kernels/positions.cu."""

from __future__ import annotations

from math import log2, pi

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import PACK_BYTES, ceil_div, flat_grid, packed_width, rectangle
from gpunet.backend.spec import Array


def waves(
    device: Device,
    y: Array,
    positions: Array | None,
    *,
    max_wavelength: float = 10000.0,
    scale: float = 1.0,
) -> None:
    """y[i, c] = sin(angle) where c is even, cos(angle) where it is odd."""
    if y.size:
        length, columns = y.shape
        sizes = (np.int64(length), np.int32(columns))
        numbers = (np.float64(log2(max_wavelength)), np.float64(scale / (2 * pi)))
        grid = flat_grid(device, length * ((columns + 1) // 2))
        args = (y, positions, *sizes, *numbers)
        device.launch("positions", "waves", y, grid, (THREADS,), args)


def rotary(device: Device, y: Array, x: Array, table: Array, *, inverse: bool = False) -> None:
    """Turn the pairs (x[j], x[size / 2 + j]) of each row by the angle of their position."""
    if y.size:
        batch, length, heads, size = x.shape
        width = packed_width(size // 2, y, x) if table.data.ptr % PACK_BYTES == 0 else 1
        lanes = _lanes(device, length * (size // 2 // width), batch * heads)
        grid, block = rectangle(device, length * lanes, size // 2 // width)
        sizes = [np.int32(n) for n in (*x.shape, inverse, lanes, width > 1)]
        device.launch("positions", "rotary", y, grid, block, (y, x, table, *sizes))


def position_rows(device: Device, y: Array, table: Array, positions: Array | None) -> None:
    """y[b, i] = table[position] for all samples b."""
    if y.size:
        batch, length, columns = y.shape
        width = packed_width(columns, y, table)
        lanes = _lanes(device, length * (columns // width), batch)
        grid, block = rectangle(device, length * lanes, columns // width)
        sizes = [np.int32(n) for n in (batch, length, len(table), columns, lanes, width > 1)]
        device.launch("positions", "position_rows", y, grid, block, (y, table, positions, *sizes))


def _lanes(device: Device, units: int, repeats: int) -> int:
    """How many threads share what is done with each load of a table: as few as fill the device."""
    return max(1, min(repeats, ceil_div(device.max_blocks * THREADS, units)))


def position_rows_backward(
    device: Device, dtable: Array, dy: Array, *, accumulate: bool = False
) -> None:
    """dtable[i] = the sum of dy[b, i] over all samples b; 0 in the other rows."""
    if dtable.size:
        batch, length, columns = dy.shape
        width = packed_width(columns, dtable, dy)
        grid, block = rectangle(device, len(dtable), columns // width)
        numbers = (batch, length, len(dtable), columns, accumulate, width > 1)
        args = (dtable, dy, *(np.int32(n) for n in numbers))
        device.launch("positions", "position_rows_backward", dtable, grid, block, args)
