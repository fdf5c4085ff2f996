"""Pooling: place by place of the window, all windows of a slab of outputs at once.

For one place of the window the inputs of all windows are one strided view. Where a window hangs
over the edge, that view has fewer elements than the outputs, and only those outputs are changed.
Threads share the slabs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby, product
from math import prod

import numpy as np

from gpunet.backend.cpu.blocks import LARGE, block_scratch, ones
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.cpu.slabs import KEPT, Slab, slabs
from gpunet.backend.cpu.threads import blas, in_threads
from gpunet.backend.cpu.windows import Axis, axes_of
from gpunet.backend.spec import Array

BLOCK = 32 * 1024
"""Outputs of a slab; of global pooling twice as many inputs."""

Slices = tuple[slice, ...]


@prepared
def max_pool(
    y: Array,
    argmax: Array | None,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> Call:
    """y = the largest x in each window; argmax = the place of the first such x in the window."""
    axes = axes_of(window, strides, padding)

    def of_images(slab: Slab) -> Call:
        images = slab[0]
        by_place = x[images].reshape(-1, prod(window), x.shape[4])
        largest = y[images].reshape(-1, x.shape[4])
        places = None if argmax is None else argmax[images].reshape(-1, x.shape[4])

        def run() -> None:
            np.max(by_place, axis=1, out=largest)
            if places is not None:
                places[...] = by_place.argmax(axis=1)

        return run

    def of_slab(slab: Slab) -> Call:
        y_ = y[slab]
        slices = list(_places(slab, y, x, axes))
        places = [(y_[outputs], x[inputs]) for outputs, inputs in slices]
        whole = places[0][0].shape == y_.shape  # no window hangs over the edge there
        find = None
        if argmax is not None:
            find = _bind_find(argmax[slab], places, [outputs for outputs, _ in slices])

        def run() -> None:
            if whole:
                np.copyto(y_, places[0][1])
            else:
                y_.fill(-np.inf)
            for outputs, inputs in places[whole:]:
                np.maximum(outputs, inputs, out=outputs)
            if find is not None:
                find()

        return run

    if _covers(window, padding, x):
        return _bind_images(of_images, x)
    return _bind_slabs(of_slab, y)


def _bind_find(
    argmax: Array, places: Sequence[tuple[Array, Array]], slices: Sequence[Slices]
) -> Call:
    """The first place whose input is the output; the last where the output is NaN.

    Bytes are multiplied and compared 64 at a time, which a masked copy is not.

    Args:
        argmax: of a slab.
        places: for each place the outputs and the inputs there.
        slices: which outputs of the slab these are.
    """
    last = argmax.dtype.type(len(places) - 1)
    found = [argmax[outputs] for outputs in slices[:-1]]

    def run() -> None:
        argmax.fill(0)  # for the time being the distance from the last place
        hit = block_scratch(argmax.shape, np.bool_)
        distance = block_scratch(argmax.shape, argmax.dtype, 1)
        for place, of_argmax in enumerate(found):
            hit_, distance_ = hit[slices[place]], distance[slices[place]]
            np.equal(*places[place], out=hit_)
            np.multiply(hit_.view(np.uint8), argmax.dtype.type(last - place), out=distance_)
            np.maximum(of_argmax, distance_, out=of_argmax)
        np.subtract(last, argmax, out=argmax)

    return run


@prepared
def max_pool_backward(
    dx: Array,
    dy: Array,
    argmax: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> Call:
    """dx = sum of dy over the windows whose largest x stood here."""
    axes = axes_of(window, strides, padding)
    once, clear = _written(dx, dy, axes)

    def of_slab(slab: Slab) -> Call:
        dy_, argmax_ = dy[slab], argmax[slab]
        views = [
            (argmax_[outputs], dy_[outputs], dx[inputs], outputs)
            for outputs, inputs in _places(slab, dy, dx, axes)
        ]

        def run() -> None:
            hit = block_scratch(dy_.shape, np.bool_)
            part = block_scratch(dy_.shape, dy.dtype, 1)
            for place, (of_argmax, of_dy, of_dx, outputs) in enumerate(views):
                np.equal(of_argmax, argmax.dtype.type(place), out=hit[outputs])
                np.multiply(of_dy, hit[outputs], out=of_dx if once else part[outputs])
                if not once:
                    np.add(of_dx, part[outputs], out=of_dx)

        return run

    return _bind_slabs(of_slab, dy, clear)


@prepared
def average_pool(
    y: Array,
    x: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> Call:
    """y = the mean of x over what of each window lies inside of x."""
    axes = axes_of(window, strides, padding)
    shares = _shares(y, x, axes)
    one = ones(prod(x.shape[1:4]), x)

    def of_images(slab: Slab) -> Call:
        y_ = y[slab[0]]
        pairs = zip(y_, x[slab[0]], strict=True)
        sums = [(row.reshape(-1), image.reshape(len(one), -1)) for row, image in pairs]

        def run() -> None:
            for row, image in sums:
                np.dot(one, image, row)
            np.multiply(y_, shares, out=y_)

        return run

    def of_slab(slab: Slab) -> Call:
        y_, shares_ = y[slab], shares[slab[1:]]
        places = [(y_[outputs], x[inputs]) for outputs, inputs in _places(slab, y, x, axes)]

        def run() -> None:
            y_.fill(0.0)
            for outputs, inputs in places:
                np.add(outputs, inputs, out=outputs)
            np.multiply(y_, shares_, out=y_)

        return run

    if _covers(window, padding, x):
        return _bind_images(of_images, x)
    return _bind_slabs(of_slab, y)


@prepared
def average_pool_backward(
    dx: Array,
    dy: Array,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> Call:
    """dx = sum of dy / n over the windows that x lies in, n elements of each inside."""
    axes = axes_of(window, strides, padding)
    shares = _shares(dy, dx, axes)
    once, clear = _written(dx, dy, axes)

    def of_images(slab: Slab) -> Call:
        dx_, dy_ = dx[slab[0]], dy[slab[0]]
        return lambda: np.copyto(dx_, np.multiply(dy_, shares))

    def of_slab(slab: Slab) -> Call:
        dy_, shares_ = dy[slab], shares[slab[1:]]
        places = [(dx[inputs], outputs) for outputs, inputs in _places(slab, dy, dx, axes)]

        def run() -> None:
            part = np.multiply(dy_, shares_, out=block_scratch(dy_.shape, dy.dtype))
            for of_dx, outputs in places:
                if once:
                    np.copyto(of_dx, part[outputs])
                else:
                    np.add(of_dx, part[outputs], out=of_dx)

        return run

    if _covers(window, padding, dx):
        return _bind_images(of_images, dx)
    return _bind_slabs(of_slab, dy, clear)


def _covers(window: Sequence[int], padding: Sequence[int], x: Array) -> bool:
    """Whether the one window is exactly an image: global pooling."""
    return x.shape[1:4] == window and not any(padding)


def _bind_images(prepare: Callable[[Slab], Call], x: Array) -> Call:
    """The call that does some whole images of x at a time."""

    def cost(images: int, planes: int, rows: int) -> int:
        return images * int(prod(x.shape[1:]))

    pieces = slabs((len(x), 1, 1), cost, 2 * BLOCK)
    return _bind_pieces(prepare, [[slab] for slab in pieces], x.size)


def _bind_slabs(
    prepare: Callable[[Slab], Call], y: Array, clear: Callable[[slice], None] | None = None
) -> Call:
    """The call that does slabs of outputs.

    Args:
        prepare: gives the call for one of them.
        y: the outputs.
        clear: clears the inputs' gradient of some images before what their slabs add to it; one
            thread then does all slabs of an image.
    """

    def cost(*counts: int) -> int:
        return int(prod(counts) * y.shape[3] * y.shape[4])

    pieces = slabs(y.shape, cost, BLOCK)
    if clear is None:
        return _bind_pieces(prepare, [[slab] for slab in pieces], y.size)
    of_images = [list(group) for _, group in groupby(pieces, lambda slab: slab[0].start)]
    return _bind_pieces(prepare, of_images, y.size, clear)


def _bind_pieces(
    prepare: Callable[[Slab], Call],
    groups: Sequence[Sequence[Slab]],
    size: int,
    clear: Callable[[slice], None] | None = None,
) -> Call:
    """The call that does groups of slabs, in threads if the arrays are large."""

    @lru_cache(maxsize=KEPT)
    def calls(number: int) -> list[Call]:
        return [prepare(slab) for slab in groups[number]]

    def work(thread: int, numbers: Iterator[int]) -> None:
        for number in numbers:
            if clear is not None:
                clear(groups[number][0][0])
            for call in calls(number):
                call()

    def run() -> None:
        with blas() as threads:
            in_threads(work, len(groups), threads if size >= LARGE else 1)

    return run


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


def _written(
    dx: Array, dy: Array, axes: Sequence[Axis]
) -> tuple[bool, Callable[[slice], None] | None]:
    """Whether no input lies in two windows; and, where inputs are in none or in several, what makes
    dx = 0 for some images."""  # noqa: D205, D209
    once = all(axis.stride >= axis.taps for axis in axes)
    tiled = all(
        axis.stride == axis.taps and axis.first == 0 and axis.span(outputs) == size
        for axis, outputs, size in zip(axes, dy.shape[1:4], dx.shape[1:4], strict=True)
    )
    return once, None if once and tiled else lambda images: dx[images].fill(0.0)


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
