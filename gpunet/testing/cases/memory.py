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
    """Three quarters of an order that has a quarter left, and counters that move on."""
    batch = 3 * len(order) // 4
    indices = np.roll(order, -int(state[0]))[:batch]
    return {"indices": indices, "state": state + np.array([batch, 0, 1], np.uint64)}


def gather(x: Array, indices: Array, scale: float = 1.0, offset: float = 0.0) -> Values:
    """Chosen rows."""
    return {"y": scale * x[indices] + offset}


# ---------------------------------------------------------------------------------- the rows


def _batch(size: int, position: int) -> Values:
    """A batch that takes three quarters of the order."""
    return {
        "indices": integers(3 * size // 4, high=9),
        "state": given([position, 7, 3], "uint64", f"at_{position}"),
        "order": integers(size, high=2000),
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
    Case(
        "next_batch",
        next_batch,
        (_batch(0, 0), _batch(8, 2), _batch(44, 33), _batch(1364, 341), _batch(1364, 1365)),
    ),
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
