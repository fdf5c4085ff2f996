"""Pooling: place by place of the window, all windows of a slab of outputs at once.

For one place of the window the inputs of all windows are one strided view. Where a window hangs
over the edge, that view has fewer elements than the outputs, and only those outputs are changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from gpunet.backend.cpu.blocks import ones
from gpunet.backend.cpu.windows import Axis, Slab, axes_of, slabs
from gpunet.backend.spec import Array

BLOCK = 32 * 1024
"""Outputs of a slab."""

Slices = tuple[slice, ...]


def max_pool(
    y: Array,
    argmax: Array | None,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the largest x in each window; argmax = the place of the first such x in the window."""
    axes = axes_of(window, strides, padding)
    if _covers(window, padding, x):
        channels = x.shape[4]
        by_image = x.reshape(len(x), prod(window), channels)
        np.max(by_image, axis=1, out=y.reshape(len(x), channels))
        if argmax is not None:
            argmax.reshape(len(x), channels)[:] = by_image.argmax(axis=1)
        return
    for slab in _output_slabs(y):
        y_ = y[slab]
        places = list(_places(slab, y, x, axes))
        whole = y_[places[0][0]].shape == y_.shape  # no window hangs over the edge there
        if whole:
            np.copyto(y_, x[places[0][1]])
        else:
            y_.fill(-np.inf)
        for outputs, inputs in places[whole:]:
            np.maximum(y_[outputs], x[inputs], out=y_[outputs])
        if argmax is not None:
            _find(argmax[slab], y_, x, places)


def _find(argmax: Array, y: Array, x: Array, places: Sequence[tuple[Slices, Slices]]) -> None:
    """The first place whose input is the output; the last where the output is NaN.

    Bytes are multiplied and compared 64 at a time, which a masked copy is not.
    """
    argmax.fill(0)  # for the time being the distance from the last place
    last = len(places) - 1
    hit = np.empty(y.shape, np.bool_)
    distance = np.empty(y.shape, argmax.dtype)
    for place, (outputs, inputs) in enumerate(places[:-1]):
        hit_, distance_, argmax_ = hit[outputs], distance[outputs], argmax[outputs]
        np.equal(y[outputs], x[inputs], out=hit_)
        np.multiply(hit_.view(np.uint8), argmax.dtype.type(last - place), out=distance_)
        np.maximum(argmax_, distance_, out=argmax_)
    np.subtract(argmax.dtype.type(last), argmax, out=argmax)


def max_pool_backward(
    dx: Array,
    dy: Array,
    argmax: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy over the windows whose largest x stood here."""
    axes = axes_of(window, strides, padding)
    once = _prepare(dx, dy, axes)
    for slab in _output_slabs(dy):
        dy_, argmax_ = dy[slab], argmax[slab]
        hit = np.empty(dy_.shape, np.bool_)
        part = np.empty_like(dy_)
        for place, (outputs, inputs) in enumerate(_places(slab, dy, dx, axes)):
            hit_, part_, dx_ = hit[outputs], part[outputs], dx[inputs]
            np.equal(argmax_[outputs], argmax.dtype.type(place), out=hit_)
            np.multiply(dy_[outputs], hit_, out=dx_ if once else part_)
            if not once:
                np.add(dx_, part_, out=dx_)


def average_pool(
    y: Array,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the mean of x over what of each window lies inside of x."""
    axes = axes_of(window, strides, padding)
    shares = _shares(y, x, axes)
    if _covers(window, padding, x):
        one = ones(prod(x.shape[1:4]), x)
        for y_, x_ in zip(y, x, strict=True):
            np.dot(one, x_.reshape(len(one), x.shape[4]), y_.reshape(x.shape[4]))
        np.multiply(y, shares, out=y)
        return
    for slab in _output_slabs(y):
        y_ = y[slab]
        y_.fill(0.0)
        for outputs, inputs in _places(slab, y, x, axes):
            np.add(y_[outputs], x[inputs], out=y_[outputs])
        np.multiply(y_, shares[slab[1:]], out=y_)


def average_pool_backward(
    dx: Array,
    dy: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy / n over the windows that x lies in, n elements of each inside."""
    axes = axes_of(window, strides, padding)
    shares = _shares(dy, dx, axes)
    if _covers(window, padding, dx):
        np.copyto(dx, np.multiply(dy, shares))
        return
    once = _prepare(dx, dy, axes)
    for slab in _output_slabs(dy):
        part = np.multiply(dy[slab], shares[slab[1:]])
        for outputs, inputs in _places(slab, dy, dx, axes):
            if once:
                np.copyto(dx[inputs], part[outputs])
            else:
                np.add(dx[inputs], part[outputs], out=dx[inputs])


def _covers(window: Sequence[int], padding: Sequence[int], x: Array) -> bool:
    """Whether the one window is exactly an image: global pooling."""
    return x.shape[1:4] == window and not any(padding)


def _output_slabs(y: Array) -> list[Slab]:
    def cost(*counts: int) -> int:
        return int(prod(counts) * y.shape[3] * y.shape[4])

    return slabs(y.shape, cost, BLOCK)


def _places(
    slab: Slab, y: Array, x: Array, axes: Sequence[Axis]
) -> Iterator[tuple[Slices, Slices]]:
    """For each place of the window: the outputs of a slab whose input is inside, and that input."""
    parts = (*slab[1:], slice(0, y.shape[3]))
    choices = [
        [_inside(part, axis, tap, size) for tap in range(axis.taps)]
        for part, axis, size in zip(parts, axes, x.shape[1:4], strict=True)
    ]
    for along in product(*choices):
        outputs, inputs = zip(*along, strict=True)
        yield (slice(None), *outputs), (slab[0], *inputs)


def _inside(part: slice, axis: Axis, tap: int, size: int) -> tuple[slice, slice]:
    """Along one axis: which outputs of a part (counted from its first) see which inputs."""
    reach = axis.first + tap  # the input of output 0
    first = max(part.start, -(reach // axis.stride))
    stop = max(first, min(part.stop, (size - 1 - reach) // axis.stride + 1))
    inputs = slice(first * axis.stride + reach, stop * axis.stride + reach, axis.stride)
    return slice(first - part.start, stop - part.start), inputs


def _prepare(dx: Array, dy: Array, axes: Sequence[Axis]) -> bool:
    """Whether no input lies in two windows; where inputs are in none or in several, dx = 0."""
    once = all(axis.stride >= axis.taps for axis in axes)
    tiled = all(
        axis.stride == axis.taps and axis.first == 0 and axis.span(outputs) == size
        for axis, outputs, size in zip(axes, dy.shape[1:4], dx.shape[1:4], strict=True)
    )
    if not (once and tiled):
        dx.fill(0.0)
    return once


def _shares(y: Array, x: Array, axes: Sequence[Axis]) -> Array:
    """1 / how many inputs each window has, (depth, height, width, 1)."""
    counts = np.ones((1, 1, 1, 1))
    for number, (axis, outputs, size) in enumerate(
        zip(axes, y.shape[1:4], x.shape[1:4], strict=True)
    ):
        starts = axis.first + axis.stride * np.arange(outputs)
        inside = np.minimum(starts + axis.taps, size) - np.maximum(starts, 0)
        counts = counts * np.expand_dims(inside, tuple(n for n in range(4) if n != number))
    shares: Array = (1.0 / counts).astype(x.dtype)
    return shares
