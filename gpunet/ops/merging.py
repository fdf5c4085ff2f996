"""Plain functions: two arrays element by element."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def subtract(a: Any, b: Any) -> Array:
    """a - b, of one shape.

    >>> subtract([1, 2], [3, 5])
    array([-2., -3.], dtype=float32)
    """
    return run_op("subtract", {"a": a, "b": b})["y"]


def multiply(a: Any, b: Any) -> Array:
    """a * b, of one shape.

    >>> multiply([1, 2], [3, 5])
    array([ 3., 10.], dtype=float32)
    """
    return run_op("multiply", {"a": a, "b": b})["y"]


def maximum(a: Any, b: Any) -> Array:
    """The larger of a and b, of one shape; NaN where one is NaN.

    >>> maximum([1, 7], [3, 5])
    array([3., 7.], dtype=float32)
    """
    return run_op("maximum", {"a": a, "b": b})["y"]


def minimum(a: Any, b: Any) -> Array:
    """The smaller of a and b, of one shape; NaN where one is NaN.

    >>> minimum([1, 7], [3, 5])
    array([1., 5.], dtype=float32)
    """
    return run_op("minimum", {"a": a, "b": b})["y"]


def maximum_backward(dy: Any, a: Any, b: Any) -> tuple[Array, Array]:
    """The gradients (da, db) of `maximum`; of `minimum` they are (db, da).

    >>> maximum_backward([1, 1, 1], [5, 2, 4], [3, 7, 4])
    (array([1. , 0. , 0.5], dtype=float32), array([0. , 1. , 0.5], dtype=float32))
    """
    results = run_op("maximum_backward", {"dy": dy, "a": a, "b": b})
    return results["da"], results["db"]
