"""Normalization of rows and by the spectral norm: launches of kernels/row_norms.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import STRIP, THREADS, Device
from gpunet.backend.cuda.grids import (
    WARP,
    ceil_div,
    flat_grid,
    pack_of,
    packed_width,
    power_of_two,
    rectangle,
    row_launch,
)
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import ROW_NORMS, Array

_IDS = {name: np.int32(number) for number, name in enumerate(ROW_NORMS)}
_FLOAT32 = 4  # bytes
_SUMS_BYTES = 32 * 1024  # of shared memory for the sums of columns
_ROWS_PER_LANE = 4  # before the sums of columns are dealt to more blocks


def layer_norm(
    device: Device,
    y: Array,
    mean: Array,
    rstd: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    norm: str,
    epsilon: float,
) -> None:
    """y = (x - m) * rstd * gamma + beta along each row."""
    rows, columns = x.shape
    if x.size == 0:
        return
    width = packed_width(columns, y, x, gamma, beta)
    plan = row_launch(device, rows, columns, width, kept=x.dtype.itemsize)
    flags = (_IDS[norm], np.float32(epsilon), np.int64(rows), np.int32(columns), *plan.args)
    args = (y, mean, rstd, x, gamma, beta, *flags)
    device.launch("row_norms", "layer_norm", y, plan.grid, (THREADS,), args, plan.shared)


def layer_norm_backward(
    device: Device,
    dx: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
    *,
    norm: str,
    epsilon: float,
    accumulate: bool = False,
) -> None:
    """dx = rstd * (dy * gamma - a - v * b); dgamma, dbeta = sums of dy * w and dy over rows."""
    rows, columns = x.shape
    if x.size == 0:
        zero_sums(device, (dgamma, dbeta), accumulate)
        return
    wanted = dgamma is not None or dbeta is not None
    width = packed_width(columns, dx, dy, x, gamma)
    units = columns // width
    lanes = min(power_of_two(units), WARP) if units <= 2 * WARP else THREADS
    steps, slot = ceil_div(units, lanes), THREADS * width  # loads of a thread; elements in one
    two_sums, two_rows = 2 * steps * slot * _FLOAT32, 2 * slot * x.dtype.itemsize
    in_shared = wanted and two_sums <= _SUMS_BYTES and 2 * columns <= device.partials.size
    shared = two_sums if in_shared else 0
    cached = min(steps, (device.cache_bytes - shared) // two_rows)
    at_once = THREADS // lanes  # rows of a block
    blocks = min(ceil_div(rows, at_once), device.max_blocks)
    if in_shared:
        blocks = min(blocks, ceil_div(rows, at_once * _ROWS_PER_LANE))
        blocks = min(blocks, device.partials.size // (2 * columns))
    sizes = (np.int64(rows), np.int32(columns), np.int32(width > 1))
    flags = (_IDS[norm], np.float32(epsilon), *sizes, np.int32(lanes), np.int32(cached))
    partials = device.partials if in_shared else None
    if wanted and not in_shared:  # before dx, which may be dy or x, is written
        _column_sums(device, (dgamma, dbeta), (dy, x, mean, rstd), norm, accumulate)
    shared += cached * two_rows
    args = (dx, partials, dy, x, mean, rstd, gamma, *flags)
    device.launch("row_norms", "layer_norm_backward", dx, (blocks,), (THREADS,), args, shared)
    if in_shared:
        grid, block = (ceil_div(columns, WARP), 2), (WARP, THREADS // WARP)
        totals = (dgamma, dbeta, partials, np.int32(accumulate), np.int32(blocks))
        device.launch("row_norms", "column_totals", dx, grid, block, (*totals, np.int32(columns)))


def _column_sums(
    device: Device,
    totals: tuple[Array | None, Array | None],
    inputs: tuple[Array, ...],
    norm: str,
    accumulate: bool,
) -> None:
    rows, columns = inputs[0].shape
    width = packed_width(columns, *inputs[:2])
    grid, block = rectangle(device, rows, columns // width, widest=min(WARP, STRIP // width))
    grid = (grid[0], min(grid[1], device.partials.size // (2 * columns)) or 1)
    sizes = (np.int64(rows), np.int32(columns), np.int32(width > 1))
    args = (*totals, *inputs, _IDS[norm], np.int32(accumulate), *sizes)
    args = (*args, device.partials, device.tickets)
    device.launch("row_norms", "layer_norm_columns", inputs[0], grid, block, args)


def zero_sums(device: Device, sums: tuple[Array | None, ...], accumulate: bool) -> None:
    """What sums over no rows become."""
    for total in sums:
        if total is not None and not accumulate:
            fill(device, total, value=0.0)


def spectral_scale(
    device: Device,
    kernel: Array,
    vector: Array,
    direction: Array,
    reciprocal: Array,
    *,
    epsilon: float,
) -> None:
    """kernel *= reciprocal and vector = direction; both stay if reciprocal is 1 / epsilon."""
    grid = flat_grid(device, ceil_div(max(kernel.size, vector.size), pack_of(kernel)))
    sizes = (np.float32(epsilon), np.int64(kernel.size), np.int32(vector.size))
    args = (kernel, vector, direction, reciprocal, *sizes)
    device.launch("row_norms", "spectral_scale", kernel, grid, (THREADS,), args)
