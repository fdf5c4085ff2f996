"""Op cases: pooling. The references look at one window after another."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values

Triple = tuple[int, int, int]


def _windows(
    x: Array, outputs: Triple, window: Triple, strides: Triple, padding: Triple
) -> Iterator[tuple[tuple[Any, ...], tuple[slice, ...], Triple]]:
    """Each output, the inputs of its window, and the window's first element that is inside."""
    for o in np.ndindex(*outputs):
        starts = [o[a] * strides[a] - padding[a] for a in range(3)]
        inside = tuple(slice(max(starts[a], 0), max(starts[a] + window[a], 0)) for a in range(3))
        missing = tuple(max(-start, 0) for start in starts)
        yield (slice(None), *o), (slice(None), *inside), missing


def max_pool(
    y: Array, x: Array, window: Triple, strides: Triple, padding: Triple, argmax: Any = None
) -> Values:
    """The largest of each window and its place."""
    largest, place = np.zeros(y.shape), np.zeros(y.shape, np.int64)
    for output, inside, missing in _windows(x, y.shape[1:4], window, strides, padding):
        part = x[inside]
        flat = part.reshape(len(x), math.prod(part.shape[1:4]), x.shape[4])
        largest[output] = flat.max(axis=1)
        found = np.unravel_index(flat.argmax(axis=1), part.shape[1:4])
        shifted = tuple(f + m for f, m in zip(found, missing, strict=True))
        place[output] = np.ravel_multi_index(shifted, window)
    return {"y": largest, "argmax": place}


def max_pool_backward(
    dx: Array, dy: Array, argmax: Array, window: Triple, strides: Triple, padding: Triple
) -> Values:
    """dy where the place says that the largest stood."""
    result = np.zeros(dx.shape)
    for index in np.ndindex(*dy.shape):
        place = np.unravel_index(argmax[index], window)
        i = tuple(index[a + 1] * strides[a] + int(place[a]) - padding[a] for a in range(3))
        if all(0 <= i[a] < dx.shape[a + 1] for a in range(3)):
            result[(index[0], *i, index[4])] += dy[index]
    return {"dx": result}


def average_pool(y: Array, x: Array, window: Triple, strides: Triple, padding: Triple) -> Values:
    """The mean of what of each window is inside."""
    mean = np.zeros(y.shape)
    for output, inside, _ in _windows(x, y.shape[1:4], window, strides, padding):
        mean[output] = x[inside].mean(axis=(1, 2, 3))
    return {"y": mean}


def average_pool_backward(
    dx: Array, dy: Array, window: Triple, strides: Triple, padding: Triple
) -> Values:
    """dy spread evenly over the inside of its window."""
    result = np.zeros(dx.shape)
    for output, inside, _ in _windows(result, dy.shape[1:4], window, strides, padding):
        size = result[inside][0, ..., 0].size if len(dx) else 1
        result[inside] += dy[output][:, None, None, None] / size
    return {"dx": result}


# ---------------------------------------------------------------------------------- the rows


def _shape(
    batch: int,
    inputs: Triple,
    window: Triple,
    channels: int,
    strides: Triple | None = None,
    padding: Triple = (0, 0, 0),
    after: Triple | None = None,
) -> Values:
    strides, after = strides or window, after or padding
    outputs = ((inputs[a] + padding[a] + after[a] - window[a]) // strides[a] + 1 for a in range(3))
    return {
        "fine": (batch, *inputs, channels),
        "coarse": (batch, *outputs, channels),
        "window": window,
        "strides": strides,
        "padding": padding,
    }


_SHAPES = (
    _shape(1, (1, 1, 1), (1, 1, 1), 1),
    _shape(3, (1, 6, 8), (1, 2, 2), 5),
    _shape(2, (1, 7, 9), (1, 2, 2), 4),
    _shape(2, (1, 7, 9), (1, 3, 3), 4, (1, 2, 2), (0, 1, 1)),
    _shape(2, (1, 1, 11), (1, 1, 3), 7, (1, 1, 1), (0, 0, 1)),
    _shape(2, (4, 5, 6), (2, 3, 2), 3, (2, 2, 1), (0, 1, 0), (1, 1, 1)),
    _shape(2, (1, 9, 7), (1, 2, 1), 3, (1, 4, 3)),  # inputs that no window touches
    _shape(3, (2, 5, 4), (2, 5, 4), 6),  # global
    _shape(2, (1, 17, 17), (1, 17, 17), 33),  # global, with places of more than one byte
    _shape(2, (1, 20, 24), (1, 18, 19), 5, (1, 2, 3), (0, 1, 1)),  # the same, not global
    _shape(0, (1, 4, 4), (1, 2, 2), 3),
    _shape(5, (1, 34, 40), (1, 2, 2), 32),
)


def _calls(y: str, x: str) -> list[Values]:
    flags = ("window", "strides", "padding")
    return [{y: s["coarse"], x: s["fine"], **{key: s[key] for key in flags}} for s in _SHAPES]


def _place_dtype(call: Values) -> str:
    return "uint8" if np.prod(call["window"]) <= 256 else "int32"


def _places(*shape: int, call: Values) -> Maker:
    """Where the largest stand: places that a window has, in the smallest type that holds them."""
    window, dtype = call["window"], _place_dtype(call)
    return Maker(
        f"{dtype}_places",
        lambda random: random.integers(0, np.prod(window), shape).astype(dtype),
    )


CASES = (
    Case(
        "max_pool",
        max_pool,
        (
            *({"argmax": _places(*c["y"], call=c), **c} for c in _calls("y", "x")),
            *({"argmax": None, **c} for c in _calls("y", "x")[-1:]),
        ),
        (
            Gradient(
                "max_pool_backward",
                "y",
                {"dx": "x"},
                {"dx": "x", "dy": "dy", "argmax": "argmax"},
            ),
        ),
    ),
    Case(
        "max_pool_backward",
        max_pool_backward,
        tuple({"argmax": _places(*c["dy"], call=c), **c} for c in _calls("dy", "dx")),
    ),
    Case(
        "average_pool",
        average_pool,
        tuple(_calls("y", "x")),
        (Gradient("average_pool_backward", "y", {"dx": "x"}, {"dx": "x", "dy": "dy"}),),
    ),
    Case("average_pool_backward", average_pool_backward, tuple(_calls("dy", "dx"))),
)
