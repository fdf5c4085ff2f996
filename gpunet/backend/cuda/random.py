"""Dropout: launches of kernels/random.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid
from gpunet.backend.spec import Array

_NUMBERS = 8  # of one Philox block, all used by one thread


def dropout(device: Device, y: Array, x: Array, random: Array, *, rate: float, node: int) -> None:
    """y_i = x_i / (1 - rate) where u_i >= rate, else 0; the gradient is the same op on dy."""
    if y.size > 0:
        grid = flat_grid(device, ceil_div(y.size, _NUMBERS))
        scalars = (np.float32(rate), np.float32(1.0 - rate), np.uint64(node), np.int64(y.size))
        device.launch("random", "dropout", y, grid, (THREADS,), (y, x, random, *scalars))
