"""Masks: which steps of sequences are there and which are not: launches of kernels/masks.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import flat_grid, packed_width, rectangle, row_launch
from gpunet.backend.spec import Array


def row_mask(device: Device, mask: Array, x: Array, *, value: float = 0.0) -> None:
    """mask = 1 for rows of x in which some number differs from value (NaN does), else 0."""
    rows, columns = x.shape
    if rows == 0:
        return
    symbol, real = ("row_mask_int32", None) if x.dtype == np.int32 else ("row_mask", x)
    plan = row_launch(device, rows, columns, width=1, kept=0)
    args = (mask, x, np.float32(value), np.int64(rows), np.int32(columns), plan.args[1])
    device.launch("masks", symbol, real, plan.grid, (THREADS,), args)


def either_mask(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = 1 where a or b is 1, else 0."""
    _combine(device, "either_mask", y, a, b)


def both_mask(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = 1 where a and b are 1, else 0."""
    _combine(device, "both_mask", y, a, b)


def _combine(device: Device, symbol: str, y: Array, a: Array, b: Array) -> None:
    if y.size:
        args = (y, a, b, np.int64(y.size))
        device.launch("masks", symbol, None, flat_grid(device, y.size), (THREADS,), args)


def masked_rows(device: Device, y: Array, x: Array, mask: Array) -> None:
    """y = x in rows whose mask is 1, else 0, whatever x is there."""
    if y.size == 0:
        return
    rows, columns = y.shape
    width = packed_width(columns, y, x)
    grid, block = rectangle(device, rows, columns // width)
    args = (y, x, mask, np.int64(rows), np.int32(columns), np.int32(width > 1))
    device.launch("masks", "masked_rows", y, grid, block, args)


def mask_shares(device: Device, shares: Array, mask: Array) -> None:
    """shares = mask / sum(mask) along each row; 0 where nothing is there."""
    rows, columns = mask.shape
    if mask.size == 0:
        return
    plan = row_launch(device, rows, columns, width=1, kept=0)
    args = (shares, mask, np.int64(rows), np.int32(columns), plan.args[1])
    device.launch("masks", "mask_shares", shares, plan.grid, (THREADS,), args)
