"""Attention step by step: launches of kernels/caching.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import (
    MAX_GRID_Y,
    WARP,
    flat_grid,
    packed_width,
    power_of_two,
)
from gpunet.backend.spec import Array

_ALL = np.int32(2**31 - 1)  # a window that hides nothing


def insert_rows(device: Device, cache: Array, x: Array, positions: Array) -> None:
    """cache[b, positions[i]] = x[b, i]."""
    if x.size == 0:
        return
    batch, length, columns = x.shape
    row_bytes = columns * x.dtype.itemsize
    places = (row_bytes, cache.data.ptr, x.data.ptr)
    unit = next(size for size in (16, 4, 1) if all(place % size == 0 for place in places))
    sizes = [np.int32(n) for n in (length, cache.shape[1], row_bytes, unit)]
    args = (cache, x, positions, np.int64(batch * length), *sizes)
    grid = flat_grid(device, batch * length * (row_bytes // unit))
    device.launch("caching", "insert_rows", None, grid, (THREADS,), args)


def cached_attention(
    device: Device,
    y: Array,
    q: Array,
    keys: Array,
    values: Array,
    positions: Array,
    mask: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    sliding_window: int | None = None,
) -> None:
    """y = softmax(scale q keys^T) values over the rows that a query sees, for each head."""
    if y.size == 0:
        return
    batch, length, heads, size = q.shape
    capacity, key_heads, value_size = values.shape[1:]
    width = min(packed_width(size, q, keys), packed_width(value_size, y, values))
    lanes = min(power_of_two(size // width), WARP)
    window = _ALL if sliding_window is None else np.int32(sliding_window)
    sizes = (batch, length, heads, key_heads, capacity, size, value_size, lanes, width > 1)
    args = (y, q, keys, values, positions, mask, scratch, np.float32(scale), window)
    grid = (length * heads, min(batch, MAX_GRID_Y))
    block = (THREADS,)
    args = (*args, *(np.int32(n) for n in sizes))
    device.launch("caching", "cached_attention", y, grid, block, args)
