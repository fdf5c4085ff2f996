"""Exchanging axes, joining, cutting, padding, repeating, interpolating."""

from __future__ import annotations

from functools import lru_cache, partial
from math import prod

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import Array


@prepared
def swap_axes(y: Array, x: Array) -> Call:
    """y[o, j, m, i, :] = x[o, i, m, j, :]: two axes change places."""
    return partial(np.copyto, y, x.swapaxes(1, 3))


@prepared
def concatenate(y: Array, a: Array, b: Array, c: Array | None, d: Array | None) -> Call:
    """Each row of y is that of a, then those of b, c and d."""
    parts = [part for part in (a, b, c, d) if part is not None]
    return partial(np.concatenate, parts, axis=1, out=y)


@prepared
def pad(y: Array, x: Array, *, before: tuple[int, int, int], after: tuple[int, int, int]) -> Call:
    """y = x with so many zeros before and after each of the last three axes."""
    inside = _inside(y, before, after)

    def run() -> None:
        y.fill(0.0)
        np.copyto(inside, x)

    return run


@prepared
def crop(y: Array, x: Array, *, before: tuple[int, int, int], after: tuple[int, int, int]) -> Call:
    """y = x without so many elements at both ends of the last three axes."""
    return partial(np.copyto, y, _inside(x, before, after))


def _inside(array: Array, before: tuple[int, int, int], after: tuple[int, int, int]) -> Array:
    ends = zip(before, after, array.shape[1:], strict=True)
    return array[(slice(None), *(slice(first, size - last) for first, last, size in ends))]


@prepared
def repeat(y: Array, x: Array, *, times: tuple[int, int, int]) -> Call:
    """Each element of the three axes becomes a block."""
    return partial(np.copyto, _blocks(y, x.shape, times), x[:, :, None, :, None, :, None])


@prepared
def repeat_backward(
    dx: Array, dy: Array, *, times: tuple[int, int, int], accumulate: bool = False
) -> Call:
    """dx = the sum of dy over each block."""
    blocks = _blocks(dy, dx.shape, times)
    if prod(times) > _FEW:
        return partial(_sum_blocks, dx, blocks, accumulate)
    # One place of each block after another: long loops, where the sum over three axes has short.
    parts = [
        blocks[:, :, i, :, j, :, k]
        for i in range(times[0])
        for j in range(times[1])
        for k in range(times[2])
    ]

    def run() -> None:
        first, *others = parts
        np.add(dx, first, out=dx) if accumulate else np.copyto(dx, first)
        for part in others:
            np.add(dx, part, out=dx)

    return run


_FEW = 64


def _blocks(array: Array, small: tuple[int, ...], times: tuple[int, int, int]) -> Array:
    """An array (outer, d, h, w, inner) as (outer, xd, td, xh, th, xw, tw, inner)."""
    outer, d, h, w, inner = small
    return array.reshape(outer, d, times[0], h, times[1], w, times[2], inner)


def _sum_blocks(dx: Array, blocks: Array, accumulate: bool) -> None:
    if accumulate:
        np.add(dx, blocks.sum(axis=(2, 4, 6)), out=dx)
    else:
        blocks.sum(axis=(2, 4, 6), out=dx)


def upsample_bilinear(y: Array, x: Array, *, times: tuple[int, int]) -> None:
    """y = x interpolated between four neighbours: along the height, then along the width."""
    down, across = (weights(n, t, x.dtype.char) for n, t in zip(x.shape[1:3], times, strict=True))
    _interpolate(y, x, down, across)


def upsample_bilinear_backward(dx: Array, dy: Array, *, times: tuple[int, int]) -> None:
    """dx = the transposed interpolation of dy."""
    down, across = (weights(n, t, dx.dtype.char) for n, t in zip(dx.shape[1:3], times, strict=True))
    _interpolate(dx, dy, down.T, across.T)


def _interpolate(to: Array, of: Array, down: Array, across: Array) -> None:
    """to[i] = across (down[i] of), for a block of rows i of one image at a time."""
    outer, height, width, inner = of.shape
    rows = max(1, BLOCK // max(width * inner, 1))
    for to_, of_ in zip(to, of.reshape(outer, height, width * inner), strict=True):
        for start in range(0, len(to_), rows):
            block = np.matmul(down[start : start + rows], of_).reshape(-1, width, inner)
            np.matmul(across, block, out=to_[start : start + rows])


@lru_cache(maxsize=32)
def weights(size: int, times: int, dtype: str) -> Array:
    """The matrix (size times, size) that interpolates: two numbers a row, which add up to 1.

    As a product it is as fast as memory up to about a hundred pixels a side.
    """
    matrix = np.zeros((size * times, size), dtype)
    place = np.clip((np.arange(size * times) + 0.5) / times - 0.5, 0, max(size - 1, 0))
    low = np.floor(place).astype(int)
    rows, share = np.arange(size * times), place - low
    matrix[rows, low] = 1.0 - share
    matrix[rows, np.minimum(low + 1, size - 1)] += share.astype(dtype)
    matrix.setflags(write=False)
    return matrix
