"""Op cases: two arrays element by element. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Values, integers

_SIZES = ((3, 11, 31), (0, 3), (70001,))


def subtract(a: Array, b: Array) -> Values:
    """A difference."""
    return {"y": a - b}


def multiply(a: Array, b: Array) -> Values:
    """A product."""
    return {"y": a * b}


def maximum(a: Array, b: Array) -> Values:
    """The larger one."""
    return {"y": np.maximum(a, b)}


def minimum(a: Array, b: Array) -> Values:
    """The smaller one."""
    return {"y": np.minimum(a, b)}


def maximum_backward(dy: Array, a: Array, b: Array) -> Values:
    """The larger one has it all; equals have half of it."""
    share = np.select([a > b, a < b], [1.0, 0.0], 0.5)
    return {"da": share * dy, "db": (1.0 - share) * dy}


# ---------------------------------------------------------------------------------- the rows

_CALLS = tuple({"a": shape, "b": shape} for shape in _SIZES)


CASES = (
    Case(
        "subtract",
        subtract,
        _CALLS,
    ),
    Case(
        "multiply",
        multiply,
        _CALLS,
        (
            Gradient("multiply", "y", {"y": "a"}, {"a": "dy", "b": "b"}),
            Gradient("multiply", "y", {"y": "b"}, {"a": "dy", "b": "a"}),
        ),
    ),
    Case(
        "maximum",
        maximum,
        _CALLS,
        (
            Gradient(
                "maximum_backward",
                "y",
                {"da": "a", "db": "b"},
                {"dy": "dy", "a": "a", "b": "b"},
            ),
        ),
    ),
    Case(
        "minimum",
        minimum,
        _CALLS,
        (
            Gradient(
                "maximum_backward",
                "y",
                {"db": "a", "da": "b"},
                {"dy": "dy", "a": "a", "b": "b"},
            ),
        ),
    ),
    Case(
        "maximum_backward",
        maximum_backward,
        tuple(
            {
                "dy": shape,
                "a": integers(*shape, high=3, dtype="float64"),
                "b": integers(*shape, high=3, dtype="float64"),
            }
            for shape in _SIZES
        ),
    ),
)
