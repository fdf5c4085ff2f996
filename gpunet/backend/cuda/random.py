"""Dropout and noise: launches of kernels/random.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, packed_width, rectangle
from gpunet.backend.spec import Array

_NUMBERS = 8  # of one Philox block, all used by one thread


def dropout(device: Device, y: Array, x: Array, random: Array, *, rate: float, node: int) -> None:
    """y_i = x_i / (1 - rate) where u_i >= rate, else 0; the gradient is the same op on dy."""
    if y.size > 0:
        grid = flat_grid(device, ceil_div(y.size, _NUMBERS))
        scalars = (np.float32(rate), np.float32(1.0 - rate), np.uint64(node), np.int64(y.size))
        device.launch("random", "dropout", y, grid, (THREADS,), (y, x, random, *scalars))


def spatial_dropout(
    device: Device, y: Array, x: Array, random: Array, *, rate: float, node: int
) -> None:
    """y = x / (1 - rate) where u >= rate, else 0, for whole channels: one u for all positions."""
    if y.size == 0:
        return
    batch, positions, channels = x.shape
    width = packed_width(channels, y, x)
    # A thread draws its numbers once for a run of positions; runs are as long as fills the device.
    threads = device.max_blocks * THREADS
    runs = min(positions, max(1, threads * width // (batch * channels)))
    length = ceil_div(positions, runs)
    grid, block = rectangle(device, batch * runs, channels // width)
    sizes = (np.int64(batch), np.int64(positions), np.int32(channels), np.int64(length))
    scalars = (np.float32(rate), np.float32(1.0 - rate), np.uint64(node))
    args = (y, x, random, *scalars, *sizes, np.int32(runs), np.int32(width > 1))
    device.launch("random", "spatial_dropout", y, grid, block, args)


def gaussian_noise(
    device: Device, y: Array, x: Array, random: Array, *, stddev: float, node: int
) -> None:
    """y_i = x_i + stddev n_i, where n_i is normal."""
    _launch_normal(device, "gaussian_noise", y, x, random, stddev, node)


def gaussian_dropout(
    device: Device, y: Array, x: Array, random: Array, *, stddev: float, node: int
) -> None:
    """y_i = x_i (1 + stddev n_i); the gradient is the same op on dy."""
    _launch_normal(device, "gaussian_dropout", y, x, random, stddev, node)


def _launch_normal(
    device: Device, symbol: str, y: Array, x: Array, random: Array, stddev: float, node: int
) -> None:
    if y.size > 0:
        grid = flat_grid(device, ceil_div(y.size, _NUMBERS))
        args = (y, x, random, np.float32(stddev), np.uint64(node), np.int64(y.size))
        device.launch("random", symbol, y, grid, (THREADS,), args)
