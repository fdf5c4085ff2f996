"""Images: launches of kernels/images.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, pack_of, packed_width
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import FILL_MODES, Array

_FILL = {name: np.int32(number) for number, name in enumerate(FILL_MODES)}


def random_factors(
    device: Device, factors: Array, random: Array, *, low: float, high: float, node: int
) -> None:
    """One number for each sample: low + (high - low) u_0."""
    if factors.size > 0:
        flags = (*_range(low, high), np.uint64(node), np.int64(len(factors)))
        grid = flat_grid(device, len(factors))
        args = (factors, random, *flags)
        device.launch("images", "random_factors", None, grid, (THREADS,), args)


def random_affine(
    device: Device,
    matrices: Array,
    random: Array,
    *,
    height: int,
    width: int,
    node: int,
    flip: tuple[bool, bool] = (False, False),
    rotation: tuple[float, float] = (0.0, 0.0),
    zoom: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    same_zoom: bool = False,
    shift: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    whole: bool = False,
) -> None:
    """Matrices (a, b, c, d, e, f) for `affine_image`, one for each sample."""
    if matrices.size > 0:
        sizes = (np.int32(height), np.int32(width), np.uint64(node))
        turns = (*map(np.int32, flip), *_range(*rotation))
        zooms = (*_range(*zoom[:2]), *_range(*zoom[2:]), np.int32(same_zoom))
        shifts = (*_range(*shift[:2]), *_range(*shift[2:]), np.int32(whole))
        args = (matrices, random, *sizes, *turns, *zooms, *shifts, np.int64(len(matrices)))
        grid = flat_grid(device, len(matrices))
        device.launch("images", "random_affine", None, grid, (THREADS,), args)


def _range(low: float, high: float) -> tuple[np.float32, np.float32]:
    """Where a range begins, and its width, rounded as NumPy's backend does."""
    return np.float32(low), np.float32(high - low)


def affine_image(
    device: Device,
    y: Array,
    x: Array,
    matrices: Array | None,
    *,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> None:
    """y[n, i, j] = x[n] at column a j + b i + c and row d j + e i + f."""
    if y.size == 0:
        return
    width = packed_width(y.shape[3], y, x)
    how = (*_sampling(matrix, interpolation, fill_mode), np.float32(fill_value))
    args = (y, x, matrices, *how, *_sizes(x, y), np.int32(width > 1))
    grid = flat_grid(device, ceil_div(y.size, width))
    device.launch("images", "affine_image", y, grid, (THREADS,), args)


def affine_image_backward(
    device: Device,
    dx: Array,
    sums: Array,
    dy: Array,
    matrices: Array | None,
    *,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
) -> None:
    """dx = the gradient of x in `affine_image`: each dy goes back to the pixels it came from."""
    if dx.size == 0 or dy.size == 0:
        fill(device, dx, value=0.0)
        fill(device, sums, value=0.0)
        return
    args = (dx, sums, dy, matrices, *_sampling(matrix, interpolation, fill_mode), *_sizes(dx, dy))
    grid = flat_grid(device, dx.shape[0] * dx.shape[3])
    device.launch("images", "affine_image_backward", dy, grid, (THREADS,), args)


def _sampling(matrix: tuple[float, ...], interpolation: str, fill_mode: str) -> tuple[Any, ...]:
    return (*map(np.float32, matrix), np.int32(interpolation == "bilinear"), _FILL[fill_mode])


def _sizes(x: Array, y: Array) -> tuple[Any, ...]:
    images, height, width, colors = x.shape
    sizes = (height, width, y.shape[1], y.shape[2], colors)
    return (np.int64(images), *map(np.int32, sizes))


def adjust_image(
    device: Device,
    y: Array,
    x: Array,
    factor: Array | None,
    mean: Array | None,
    shift: Array | None,
    *,
    low: float,
    high: float,
) -> None:
    """y = (x - mean) * factor + mean + shift, cut off at low and high."""
    if y.size == 0:
        return
    images, pixels, colors = y.shape
    width = packed_width(colors, y, x)
    sizes = (np.int64(images), np.int64(pixels), np.int32(colors), np.int32(width > 1))
    args = (y, x, factor, mean, shift, np.float32(low), np.float32(high), *sizes)
    grid = flat_grid(device, ceil_div(y.size, width))
    device.launch("images", "adjust_image", y, grid, (THREADS,), args)


def clip_backward(
    device: Device, dx: Array, dy: Array, y: Array, *, low: float, high: float
) -> None:
    """dx = dy where low < y < high, else 0."""
    if dx.size > 0:
        args = (dx, dy, y, np.float32(low), np.float32(high), np.int64(dx.size))
        grid = flat_grid(device, ceil_div(dx.size, pack_of(dx)))
        device.launch("images", "clip_backward", dx, grid, (THREADS,), args)
