"""Exchanging axes, joining, cutting, padding, repeating, interpolating: kernels/shapes.cu."""

from __future__ import annotations

from math import prod

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import MAX_GRID_Y, ceil_div, flat_grid, packed_width, rectangle
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import Array

_TILE = 32  # of both axes that swap_axes exchanges
_TILE_ROWS = 8  # threads across, and down, a tile


def swap_axes(device: Device, y: Array, x: Array) -> None:
    """y[o, j, m, i, :] = x[o, i, m, j, :]: two axes change places."""
    outer, a, middle, b, inner = x.shape
    if x.size == 0:
        return
    width = packed_width(inner, y, x)
    if inner == 1:
        grid = (ceil_div(a, _TILE) * ceil_div(b, _TILE), min(outer * middle, MAX_GRID_Y))
        tiled = (y, x, np.int64(outer), np.int32(a), np.int32(middle), np.int32(b))
        device.launch("shapes", "swap_axes_tiled", y, grid, (_TILE, _TILE_ROWS), tiled)
        return
    sizes = [np.int32(size) for size in (a, middle, b, inner, width > 1)]
    args = (y, x, np.int64(x.size), *sizes)
    device.launch("shapes", "swap_axes", y, flat_grid(device, x.size // width), (THREADS,), args)


def concatenate(
    device: Device, y: Array, a: Array, b: Array, c: Array | None, d: Array | None
) -> None:
    """Each row of y is that of a, then those of b, c and d."""
    if y.size == 0:
        return
    rows, total = y.shape
    parts = [part for part in (a, b, c, d) if part is not None]
    widths = [part.shape[1] for part in parts] + [0, 0]
    width = min(packed_width(array.shape[1], array) for array in (y, *parts))
    grid, block = rectangle(device, rows, total // width)
    sizes = [np.int32(size) for size in (*widths[:3], total)]
    args = (y, a, b, c, d, np.int64(rows), *sizes, np.int32(width > 1))
    device.launch("shapes", "concatenate", y, grid, block, args)


def pad(
    device: Device,
    y: Array,
    x: Array,
    *,
    before: tuple[int, int, int],
    after: tuple[int, int, int],
) -> None:
    """y = x with so many zeros before and after each of the last three axes."""
    _launch_box(device, "pad", y, x, before)


def crop(
    device: Device,
    y: Array,
    x: Array,
    *,
    before: tuple[int, int, int],
    after: tuple[int, int, int],
) -> None:
    """y = x without so many elements at both ends of the last three axes."""
    _launch_box(device, "crop", y, x, before)


def _launch_box(
    device: Device, symbol: str, y: Array, x: Array, before: tuple[int, int, int]
) -> None:
    if y.size == 0:
        return
    if x.size == 0:
        fill(device, y, value=0.0)
        return
    widths = [packed_width(array.shape[3], array) for array in (y, x)]
    width = min(*widths, packed_width(before[2], y))
    grid, block = rectangle(device, prod(y.shape[:3]), y.shape[3] // width)
    sizes = [np.int32(size) for size in (*y.shape[1:], *x.shape[1:], *before)]
    args = (y, x, np.int64(y.shape[0]), *sizes, np.int32(width > 1))
    device.launch("shapes", symbol, y, grid, block, args)


def repeat(device: Device, y: Array, x: Array, *, times: tuple[int, int, int]) -> None:
    """Each element of the three axes becomes a block."""
    if y.size:
        width = packed_width(x.shape[4], y, x)
        sizes = [np.int32(size) for size in (*x.shape[1:4], *times, x.shape[4], width > 1)]
        grid = flat_grid(device, y.size // width)
        device.launch("shapes", "repeat", y, grid, (THREADS,), (y, x, np.int64(y.size), *sizes))


def repeat_backward(
    device: Device, dx: Array, dy: Array, *, times: tuple[int, int, int], accumulate: bool = False
) -> None:
    """dx = the sum of dy over each block."""
    if dx.size:
        width = packed_width(dx.shape[4], dx, dy)
        lanes = _lanes(prod(times), dx.size // width)
        sizes = [np.int32(size) for size in (*dx.shape[1:4], *times, dx.shape[4], width > 1)]
        args = (dx, dy, np.int32(accumulate), np.int64(dx.size), *sizes, np.int32(lanes))
        grid = flat_grid(device, dx.size // width * lanes)
        device.launch("shapes", "repeat_backward", dx, grid, (THREADS,), args)


def _lanes(block: int, sums: int) -> int:
    """Threads that share a sum: more than one where blocks are large and sums are few."""
    lanes = 1
    while lanes < 32 and lanes * 16 <= block and sums * lanes < 1 << 16:
        lanes *= 2
    return lanes


def upsample_bilinear(device: Device, y: Array, x: Array, *, times: tuple[int, int]) -> None:
    """y = x interpolated between four neighbours."""
    _launch_upsample(device, "upsample_bilinear", y, x, times)


def upsample_bilinear_backward(
    device: Device, dx: Array, dy: Array, *, times: tuple[int, int]
) -> None:
    """dx = the transposed interpolation of dy."""
    _launch_upsample(device, "upsample_bilinear_backward", dx, dy, times)


def _launch_upsample(
    device: Device, symbol: str, to: Array, of: Array, times: tuple[int, int]
) -> None:
    if to.size:
        width = packed_width(to.shape[3], to, of)
        small = min(to, of, key=lambda array: array.size)
        sizes = [np.int32(size) for size in (*small.shape[1:3], *times, to.shape[3], width > 1)]
        grid = flat_grid(device, to.size // width)
        args = (to, of, np.int64(to.size), *sizes)
        device.launch("shapes", symbol, to, grid, (THREADS,), args)
