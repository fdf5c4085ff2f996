"""Pooling: launches of kernels/pooling.cu."""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import packed_width, sample_grid
from gpunet.backend.spec import Array

_ACROSS = 32  # threads of a block along channels where the others share a window
_SHARED = 64  # windows of so many elements are shared


def max_pool(
    device: Device,
    y: Array,
    argmax: Array | None,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the largest x in each window; argmax = the place of the first such x in the window."""
    places = "uint8" if argmax is None else argmax.dtype.name
    args = (y, argmax, x)
    _launch_windows(device, f"max_pool_{places}", args, x, y, window, strides, padding)


def max_pool_backward(
    device: Device,
    dx: Array,
    dy: Array,
    argmax: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy over the windows whose largest x stood here."""
    symbol = f"max_pool_backward_{argmax.dtype.name}"
    _launch_inputs(device, symbol, (dx, dy, argmax), window, strides, padding)


def average_pool(
    device: Device,
    y: Array,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the mean of x over what of each window lies inside of x."""
    _launch_windows(device, "average_pool", (y, x), x, y, window, strides, padding)


def average_pool_backward(
    device: Device,
    dx: Array,
    dy: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy / n over the windows that x lies in, n elements of each inside."""
    _launch_inputs(device, "average_pool_backward", (dx, dy), window, strides, padding)


def _launch_windows(
    device: Device, symbol: str, arrays: tuple[Any, ...], x: Array, y: Array, *triples: Any
) -> None:
    """Launch a kernel with a thread, or a column of threads, for each output."""
    if y.size == 0:
        return
    width = packed_width(y.shape[4], *arrays)
    units = y.size // (len(y) * width)
    sharing = THREADS // _ACROSS if prod(triples[0]) >= _SHARED else 1
    across = THREADS // sharing
    grid = sample_grid(device, len(y), units, across)
    name = f"{symbol}_packed" if width > 1 else symbol
    args = (*arrays, *_geometry(x.shape, y.shape, *triples))
    device.launch("pooling", name, y, grid, (across, sharing), args)


def _launch_inputs(device: Device, symbol: str, arrays: tuple[Any, ...], *triples: Any) -> None:
    """Launch a kernel with a thread for each input."""
    dx, dy = arrays[:2]
    if dx.size == 0:
        return
    width = packed_width(dx.shape[4], *arrays)
    name = f"{symbol}_packed" if width > 1 else symbol
    args = (*arrays, *_geometry(dx.shape, dy.shape, *triples))
    grid = sample_grid(device, len(dx), dx.size // (len(dx) * width))
    device.launch("pooling", name, dx, grid, (THREADS,), args)


@functools.lru_cache(maxsize=256)
def _geometry(
    fine: tuple[int, ...], coarse: tuple[int, ...], *triples: tuple[int, ...]
) -> tuple[np.int32, ...]:
    """The sizes and attributes in the order in which the kernels take them."""
    numbers = (*fine, *coarse[1:4], *(n for triple in triples for n in triple))
    return tuple(np.int32(number) for number in numbers)
