"""Positions in sequences: launches of kernels/positions.cu."""

from __future__ import annotations

from math import log2, pi, prod

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import PACK_BYTES, flat_grid, packed_width, rectangle
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
        rows, size = prod(x.shape[:3]), x.shape[3]
        width = packed_width(size // 2, y, x) if table.data.ptr % PACK_BYTES == 0 else 1
        grid, block = rectangle(device, rows, size // 2 // width)
        sizes = [np.int32(n) for n in (*x.shape[1:], inverse, width > 1)]
        args = (y, x, table, np.int64(rows), *sizes)
        device.launch("positions", "rotary", y, grid, block, args)


def position_rows(device: Device, y: Array, table: Array, positions: Array | None) -> None:
    """y[b, i] = table[position] for all samples b."""
    if y.size:
        batch, length, columns = y.shape
        width = packed_width(columns, y, table)
        grid, block = rectangle(device, batch * length, columns // width)
        sizes = [np.int32(n) for n in (length, len(table), columns, width > 1)]
        args = (y, table, positions, np.int64(batch * length), *sizes)
        device.launch("positions", "position_rows", y, grid, block, args)


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
