"""Random transformations of images, affine sampling, brightness and contrast."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi
from typing import Any

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK, flat_blocks, row_blocks
from gpunet.backend.cpu.random import _lane
from gpunet.backend.spec import Array

_FAR = 2.0**24  # beyond it, float32 has no single pixels


def _uniform(random: Array, node: int, like: Array) -> Array:
    """The eight numbers of each sample, (samples, 8), in a dtype that like has."""
    seed, number = random.tolist()
    words = _lane.start(seed, node, number).random_raw(4 * len(like)).view(np.uint32)
    uniform: Array = (words >> np.uint32(8)).astype(like.dtype).reshape(-1, 8)
    return np.multiply(uniform, 2.0**-24, out=uniform)


def _between(low: float, high: float, uniform: Array) -> Array:
    between: Array = np.multiply(uniform, high - low)
    return np.add(between, low, out=between)


def random_factors(factors: Array, random: Array, *, low: float, high: float, node: int) -> None:
    """One number for each sample: low + (high - low) u_0."""
    factors[...] = _between(low, high, _uniform(random, node, factors)[:, 0])


def random_affine(
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
    u = _uniform(random, node, matrices).T
    mirrored = 1.0 - 2.0 * (u[0] <= 0.5).astype(u.dtype)
    angle = 2.0 * pi * _between(*rotation, u[1])
    zoom_y = _between(*zoom[:2], u[2])
    zoom_x = zoom_y if same_zoom else _between(*zoom[2:], u[3])
    shift_y, shift_x = _between(*shift[:2], u[4]), _between(*shift[2:], u[5])
    if whole:
        shift_y, shift_x = np.floor(shift_y), np.floor(shift_x)
    if flip[0]:
        zoom_y = zoom_y * mirrored
    if flip[1]:
        zoom_x = zoom_x * mirrored
    center_y, center_x = (height - 1) / 2, (width - 1) / 2
    a, b = zoom_x * np.cos(angle), -zoom_x * np.sin(angle)
    d, e = zoom_y * np.sin(angle), zoom_y * np.cos(angle)
    c = center_x - a * center_x - b * center_y + shift_x
    f = center_y - d * center_x - e * center_y + shift_y
    for column, values in enumerate((a, b, c, d, e, f)):
        matrices[:, column] = values


# ------------------------------------------------------------------------------------ sampling


def affine_image(
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
    images, out_height, out_width, colors = y.shape
    lines = y.reshape(images * out_height, out_width, colors)
    pixels = x.reshape(-1, colors)
    started = slice(0, 0)
    how = (matrices, matrix, interpolation, fill_mode)
    for rows, index, weight, outside in _corners(y, x, *how):
        values = pixels.take(index, axis=0, mode="clip")
        if outside is not None:
            values[outside] = fill_value
        if weight is not None:
            np.multiply(values, weight[:, :, None], out=values)
        line = lines[rows]
        if rows == started:
            np.add(line, values, out=line)
        else:
            np.copyto(line, values)
        started = rows


def affine_image_backward(
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
    images, out_height, out_width, colors = dy.shape
    lines = dy.reshape(images * out_height, out_width, colors)
    pixels = sums.reshape(-1, colors)
    sums[...] = 0.0
    how = (matrices, matrix, interpolation, fill_mode)
    for rows, index, weight, outside in _corners(dy, dx, *how):
        values = lines[rows]
        if weight is not None:
            values = values * weight[:, :, None]
        if outside is not None:
            values = np.where(outside[:, :, None], 0.0, values)
        np.add.at(pixels, index, values)
    np.copyto(dx, sums)


def _corners(
    y: Array,
    x: Array,
    matrices: Array | None,
    matrix: tuple[float, ...],
    interpolation: str,
    fill_mode: str,
) -> Iterator[tuple[slice, Array, Array | None, Array | None]]:
    """The one or four neighbours in x of each pixel of y, some rows of y at a time.

    Each comes as: the rows (those of all images, one after another), the neighbour's number among
    the pixels of all images, its weight or None for all of it, whether it lies beyond the image or
    None if it cannot.
    """
    images, out_height, out_width, colors = y.shape
    height, width = x.shape[1:3]
    dtype = np.float64 if x.dtype == np.float64 else np.float32
    if matrices is None:
        matrices = np.broadcast_to(np.array(matrix, dtype), (images, 6))
    columns = np.arange(out_width, dtype=dtype)
    step = max(1, BLOCK // 8 // max(out_width * colors, 1))
    for start in range(0, images * out_height, step):
        rows = slice(start, min(start + step, images * out_height))
        image, row = np.divmod(np.arange(rows.start, rows.stop), out_height)
        a, b, c, d, e, f = matrices[image].T[:, :, None]
        i = row.astype(dtype)[:, None]
        along_x = _nodes(a * columns + (b * i + c), width, interpolation, fill_mode)
        along_y = _nodes(d * columns + (e * i + f), height, interpolation, fill_mode)
        for index_y, weight_y, outside_y in along_y:
            for index_x, weight_x, outside_x in along_x:
                index = (image[:, None] * height + index_y) * width + index_x
                weight = None if weight_y is None else weight_y * weight_x
                outside = None if outside_y is None else outside_y | outside_x
                yield rows, index, weight, outside


def _nodes(
    place: Array, size: int, interpolation: str, fill_mode: str
) -> list[tuple[Array, Any, Any]]:
    """The pixels next to a place along one axis: index, weight, whether it lies outside."""
    place = np.fmin(np.fmax(place, -_FAR), _FAR)
    if interpolation == "nearest":
        nodes = [(np.rint(place).astype(np.int64), None)]
    else:
        floor = np.floor(place)
        upper = place - floor
        lower = floor.astype(np.int64)
        nodes = [(lower, 1.0 - upper), (lower + 1, upper)]
    found = []
    for index, weight in nodes:
        outside = None
        if fill_mode == "constant":
            outside = (index < 0) | (index >= size)
        if fill_mode == "wrap":
            index = np.mod(index, size)
        elif fill_mode == "reflect":
            index = np.mod(index, 2 * size)
            index = np.minimum(index, 2 * size - 1 - index)
        else:
            index = np.clip(index, 0, size - 1)
        found.append((index, weight, outside))
    return found


# ------------------------------------------------------------------------------------- colours


def adjust_image(
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
    for n, (y_, x_) in enumerate(zip(y, x, strict=True)):
        for y_block, x_block in row_blocks(y_, x_):
            np.subtract(x_block, 0.0 if mean is None else mean[n], out=y_block)
            if factor is not None:
                np.multiply(y_block, factor[n], out=y_block)
            np.add(y_block, _offset(mean, shift, n), out=y_block)
            np.minimum(np.maximum(y_block, low, out=y_block), high, out=y_block)


def _offset(mean: Array | None, shift: Array | None, n: int) -> Any:
    """What is added to image n, a number or one for each colour."""
    return (0.0 if mean is None else mean[n]) + (0.0 if shift is None else shift[n])


def clip_backward(dx: Array, dy: Array, y: Array, *, low: float, high: float) -> None:
    """dx = dy where low < y < high, else 0."""
    for dx_, dy_, y_ in flat_blocks(dx, dy, y):
        np.multiply(dy_, (y_ > low) & (y_ < high), out=dx_)
