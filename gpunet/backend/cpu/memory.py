"""Filling, copying, adding, scaling, choosing and gathering mini-batches."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.blocks import each_element, flat_blocks, row_blocks
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import HALF, Array


def fill(y: Array, *, value: float) -> None:
    """y = value."""
    y.fill(value)


def copy(y: Array, x: Array) -> None:
    """y = x, both of one dtype."""
    np.copyto(y, x)


def add(y: Array, a: Array, b: Array) -> None:
    """y = a + b."""
    each_element(np.add, y, a, b)


def scale_shift(y: Array, x: Array, *, scale: float, offset: float) -> None:
    """y = scale * x + offset, where x may be of any number type."""
    for y_, x_ in flat_blocks(y, x):
        _convert(y_, x_, scale, offset)


@prepared
def next_batch(indices: Array, state: Array, order: Array) -> Call:
    """indices[i] = order[position + i], then position += batch and pass += 1."""
    batch, samples = len(indices), max(len(order), 1)
    advance = np.array([batch, 0, 1], np.uint64)

    def run() -> None:
        position = int(state[0]) % samples
        if position + batch <= samples:
            indices[:] = order[position : position + batch]
        else:
            order.take(np.arange(position, position + batch), None, indices, "wrap")
        np.add(state, advance, out=state)

    return run


@prepared
def gather(y: Array, x: Array, indices: Array, *, scale: float = 1.0, offset: float = 0.0) -> Call:
    """y[i] = scale * x[indices[i]] + offset: a mini-batch out of a data set."""
    # "clip" lets take write into its output directly; with "raise" it fills a buffer first. The
    # method costs 0.3 us less than np.take.
    if x.dtype == y.dtype and scale == 1.0 and offset == 0.0:
        return partial(x.take, indices, 0, y, "clip")

    def run() -> None:
        for y_, indices_ in row_blocks(y, indices):
            _convert(y_, x.take(indices_, 0, None, "clip"), scale, offset)

    return run


def _convert(y: Array, x: Array, scale: float, offset: float) -> None:
    """y = scale * x + offset with arrays of one block, converting x to y's dtype first."""
    if y.dtype.name in HALF:  # rounded once, at the end
        wide = np.empty(y.shape, np.float32)
        _convert(wide, x, scale, offset)
        np.copyto(y, wide, casting="unsafe")
        return
    if x.dtype != y.dtype:
        np.copyto(y, x, casting="unsafe")
        x = y
    # casting="unsafe" allows a scale of 0.5 when y is an array of integers.
    np.multiply(x, scale, out=y, casting="unsafe")
    if offset != 0.0:
        np.add(y, offset, out=y, casting="unsafe")
