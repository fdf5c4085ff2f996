"""Op cases: memory. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import (
    Array,
    Case,
    Values,
    given,
    integers,
)


def fill(value: float) -> Values:
    """Everywhere the value."""
    return {"y": np.array(value)}


def copy(x: Array) -> Values:
    """The same numbers."""
    return {"y": x}


def add(a: Array, b: Array) -> Values:
    """A sum."""
    return {"y": a + b}


def scale_shift(x: Array, scale: float, offset: float) -> Values:
    """A straight line."""
    return {"y": scale * x + offset}


def next_batch(state: Array, order: Array) -> Values:
    """The rest of an epoch, and counters that move on."""
    indices = order[int(state[0]) :]
    return {"indices": indices, "state": state + np.array([len(indices), 0, 1], np.uint64)}


def gather(x: Array, indices: Array, scale: float = 1.0, offset: float = 0.0) -> Values:
    """Chosen rows."""
    return {"y": scale * x[indices] + offset}


# ---------------------------------------------------------------------------------- the rows


def _last_batch(size: int) -> Values:
    """An epoch of which this many samples are left."""
    return {
        "indices": integers(size, high=9),
        "state": given([50, 7, 3], "uint64", "state"),
        "order": integers(50 + size, high=2000),
    }


CASES = (
    Case(
        "fill",
        fill,
        (
            {"y": (33, 31), "value": 1.5},
            {"y": (0, 3), "value": 1.0},
            {"y": integers(1023, high=9), "value": 7},
            {"y": integers(33, high=9, dtype="uint8"), "value": 255},
        ),
    ),
    Case(
        "copy",
        copy,
        (
            {"x": (3, 11, 31)},
            {"x": (0, 3)},
            {"x": (70001,)},
            {"y": integers(1023, high=9), "x": integers(1023, high=99)},
            {
                "y": integers(33, high=9, dtype="uint8"),
                "x": integers(33, high=99, dtype="uint8"),
            },
        ),
    ),
    Case("add", add, tuple({"a": s, "b": s} for s in ((3, 11, 31), (0, 3), (70001,)))),
    Case(
        "scale_shift",
        scale_shift,
        (
            *({"x": s, "scale": 0.3, "offset": -2.0} for s in ((3, 11, 31), (0, 3), (70001,))),
            {"x": integers(70001, high=256, dtype="uint8"), "scale": 1 / 255, "offset": 0.0},
            {"x": integers(33, low=-999, high=999), "scale": 2.0, "offset": 0.5},
        ),
    ),
    Case("next_batch", next_batch, tuple(map(_last_batch, (1, 33, 1023, 0)))),
    Case(
        "gather",
        gather,
        (
            {"x": (50, 31), "indices": integers(33, high=50)},
            {"x": (50, 31), "indices": integers(0, high=50)},
            {"x": (2000, 1), "indices": integers(1023, high=2000)},
            {"x": (90, 1025), "indices": integers(37, high=90), "scale": 0.5, "offset": 1.0},
            {
                "x": integers(50, 785, high=256, dtype="uint8"),
                "indices": integers(65, high=50),
                "scale": 1 / 255,
            },
            {
                "y": integers(33, 1, high=9),
                "x": integers(50, 1, high=10),
                "indices": integers(33, high=50),
            },
        ),
    ),
)
