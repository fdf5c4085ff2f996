"""Op cases: moving elements about. Each reference is the textbook formula in float64."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Values


def swap_axes(x: Array) -> Values:
    """Two axes exchanged."""
    return {"y": np.ascontiguousarray(x.swapaxes(1, 3))}


def concatenate(a: Array, b: Array, c: Array | None = None, d: Array | None = None) -> Values:
    """Rows one behind the other."""
    return {"y": np.concatenate([part for part in (a, b, c, d) if part is not None], axis=1)}


def pad(x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Values:
    """Zeros around."""
    return {"y": np.pad(x, ((0, 0), *zip(before, after, strict=True)))}


def crop(x: Array, before: tuple[int, ...], after: tuple[int, ...]) -> Values:
    """A part from the middle."""
    ends = zip(before, after, x.shape[1:], strict=True)
    return {"y": x[(slice(None), *(slice(b, n - a) for b, a, n in ends))]}


def repeat(x: Array, times: tuple[int, ...]) -> Values:
    """Each element several times, one axis after another."""
    for axis, factor in enumerate(times, start=1):
        x = x.repeat(factor, axis)
    return {"y": x}


def repeat_backward(dy: Array, times: tuple[int, ...]) -> Values:
    """Sums of slices."""
    for axis, factor in enumerate(times, start=1):
        starts = np.arange(0, dy.shape[axis], factor)
        dy = np.add.reduceat(dy, starts, axis) if dy.size else dy[(slice(None),) * axis + (starts,)]
    return {"dx": dy}


def _hats(small: int, times: int) -> Array:
    """Hat functions around the pixels of the small side, at the centres of the large side's."""
    centres = np.clip((np.arange(small * times) + 0.5) / times - 0.5, 0, small - 1)
    return np.maximum(0.0, 1.0 - np.abs(centres[:, None] - np.arange(small)))


def upsample_bilinear(x: Array, times: tuple[int, int]) -> Values:
    """Hat functions along both axes."""
    down, across = (_hats(n, t) for n, t in zip(x.shape[1:3], times, strict=True))
    return {"y": np.einsum("ip,jq,opqc->oijc", down, across, x)}


def upsample_bilinear_backward(dy: Array, times: tuple[int, int]) -> Values:
    """The transposed products."""
    down, across = (_hats(n // t, t) for n, t in zip(dy.shape[1:3], times, strict=True))
    return {"dx": np.einsum("ip,jq,oijc->opqc", down, across, dy)}


# ---------------------------------------------------------------------------------- the rows

_BOXES = (  # the small array, zeros before, zeros after
    ((2, 1, 4, 29), (1, 3, 2), (1, 1, 3)),
    ((2, 1, 4, 29), (1, 0, 2), (1, 1, 0)),
    ((3, 1, 7, 40), (0, 0, 12), (0, 0, 12)),
    ((1, 4, 3, 9), (0, 0, 0), (0, 0, 0)),
    ((0, 1, 1, 1), (1, 1, 1), (0, 0, 0)),
    ((5, 1, 38, 33), (0, 1, 3), (0, 1, 0)),
)
_REPEATS = (  # the small array, how often each element is repeated
    ((2, 1, 3, 5, 3), (1, 2, 2)),
    ((3, 2, 3, 2, 8), (2, 1, 3)),
    ((5, 1, 1, 1, 16), (1, 7, 11)),
    ((2, 1, 1, 1, 1), (1, 1, 1000)),
    ((0, 1, 2, 2, 3), (1, 2, 2)),
    ((37, 1, 1, 1, 33), (1, 1, 1)),
)
_IMAGES = (  # (outer, height, width, inner), times
    ((2, 3, 5, 3), (2, 2)),
    ((3, 4, 4, 8), (3, 2)),
    ((2, 1, 1, 4), (3, 4)),
    ((0, 2, 2, 3), (2, 2)),
    ((2, 9, 3, 1), (1, 7)),
)
_PARTS = (
    ((33, 31), (33, 1)),
    ((5, 8), (5, 12), (5, 4)),
    ((70, 3), (70, 300), (70, 5), (70, 64)),
    ((0, 3), (0, 4)),
    ((37, 1024), (37, 8)),
)


def _boxes(large: str, small: str) -> tuple[Values, ...]:
    return tuple(
        {
            large: (shape[0], *map(sum, zip(shape[1:], before, after, strict=True))),
            small: shape,
            "before": before,
            "after": after,
        }
        for shape, before, after in _BOXES
    )


def _times(shapes: tuple[Any, ...], large: str, small: str) -> tuple[Values, ...]:
    return tuple(
        {
            large: (shape[0], *map(prod, zip(shape[1:-1], times, strict=True)), shape[-1]),
            small: shape,
            "times": times,
        }
        for shape, times in shapes
    )


def _joined(parts: tuple[tuple[int, int], ...]) -> Values:
    total = sum(width for _, width in parts)
    arrays: dict[str, tuple[int, int] | None] = dict(zip("abcd", parts, strict=False))
    return {"y": (parts[0][0], total), **arrays, **{n: None for n in "cd" if n not in arrays}}


CASES = (
    Case(
        "swap_axes",
        swap_axes,
        tuple(
            {"x": shape}
            for shape in (
                (2, 33, 1, 45, 1),
                (3, 5, 2, 7, 1),
                (2, 3, 2, 5, 8),
                (1, 40, 3, 2, 3),
                (0, 2, 1, 3, 1),
                (1, 1, 1, 1023, 1),
            )
        ),
        (Gradient("swap_axes", "y", {"y": "x"}, {"x": "dy"}),),
    ),
    Case("concatenate", concatenate, tuple(map(_joined, _PARTS))),
    Case(
        "pad",
        pad,
        _boxes("y", "x"),
        (Gradient("crop", "y", {"y": "x"}, {"x": "dy", "y": "x"}),),
    ),
    Case(
        "crop",
        crop,
        _boxes("x", "y"),
        (Gradient("pad", "y", {"y": "x"}, {"x": "dy", "y": "x"}),),
    ),
    Case(
        "repeat",
        repeat,
        _times(_REPEATS, "y", "x"),
        (Gradient("repeat_backward", "y", {"dx": "x"}, {"dy": "dy", "dx": "x"}),),
    ),
    Case("repeat_backward", repeat_backward, _times(_REPEATS, "dy", "dx"), float32=3e-5),
    Case(
        "upsample_bilinear",
        upsample_bilinear,
        _times(_IMAGES, "y", "x"),
        (Gradient("upsample_bilinear_backward", "y", {"dx": "x"}, {"dy": "dy", "dx": "x"}),),
    ),
    Case("upsample_bilinear_backward", upsample_bilinear_backward, _times(_IMAGES, "dy", "dx")),
)
