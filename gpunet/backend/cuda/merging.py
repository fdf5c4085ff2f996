"""Two arrays element by element: launches of kernels/merging.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, pack_of
from gpunet.backend.spec import Array


def subtract(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = a - b."""
    _launch(device, "subtract", (y, a, b))


def multiply(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = a * b."""
    _launch(device, "multiply", (y, a, b))


def maximum(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = the larger of a and b; NaN where one is NaN."""
    _launch(device, "maximum", (y, a, b))


def minimum(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = the smaller of a and b; NaN where one is NaN."""
    _launch(device, "minimum", (y, a, b))


def maximum_backward(device: Device, da: Array, db: Array, dy: Array, a: Array, b: Array) -> None:
    """da = dy where a > b, db = dy where a < b, both dy / 2 elsewhere (a = b, or NaN)."""
    _launch(device, "maximum_backward", (da, db, dy, a, b))


def _launch(device: Device, symbol: str, arrays: tuple[Array, ...]) -> None:
    size = arrays[0].size
    if size > 0:
        grid = flat_grid(device, ceil_div(size, pack_of(arrays[0])))
        device.launch("merging", symbol, arrays[0], grid, (THREADS,), (*arrays, np.int64(size)))
