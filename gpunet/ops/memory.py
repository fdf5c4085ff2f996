"""Plain functions: memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.dispatch import as_array, as_matrix, as_updated, dtype_of, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def fill(y: Array, value: float) -> None:
    """Set all elements of an array.

    >>> y = np.empty(3, np.float32)
    >>> fill(y, 2.0)
    >>> y
    array([2., 2., 2.], dtype=float32)
    """
    run_op("fill", {"y": as_updated("fill", "y", y)}, value=value)


def copy(x: Any) -> Array:
    """A copy in new memory, of any dtype.

    >>> copy(np.arange(3)[::-1])
    array([2, 1, 0])
    """
    x = as_array(x)
    return run_op("copy", {"x": x}, dtype=dtype_of(x))["y"]


def add(a: Any, b: Any) -> Array:
    """a + b, of one shape.

    >>> add([1, 2], [3, 4])
    array([4., 6.], dtype=float32)
    """
    return run_op("add", {"a": a, "b": b})["y"]


def scale_shift(
    x: Any, scale: float = 1.0, offset: float = 0.0, dtype: DTypeLike = np.float32
) -> Array:
    """scale * x + offset, from any number type into float32 or float64.

    >>> scale_shift(np.array([0, 255], np.uint8), scale=1 / 255)
    array([0., 1.], dtype=float32)
    """
    return run_op("scale_shift", {"x": x}, dtype=dtype, scale=scale, offset=offset)["y"]


def next_batch(indices: Array, state: Array, order: Any) -> None:
    """indices = the next samples of an epoch, order[position : position + batch].

    Args:
        indices: (batch,) int32, written.
        state: uint64 (position, seed, pass), which moves on: position += batch, pass += 1.
        order: (samples,) integers, the epoch's permutation; behind its end it begins again.

    >>> indices, state = np.empty(2, np.int32), np.array([1, 7, 0], np.uint64)
    >>> next_batch(indices, state, [3, 1, 0, 2])
    >>> indices, state
    (array([1, 0], dtype=int32), array([3, 7, 1], dtype=uint64))
    """
    indices = as_updated("next_batch", "indices", indices)
    state, order = as_updated("next_batch", "state", state), as_array(order)
    if indices.size and not len(order):
        raise ArgumentError("op next_batch needs an order of at least one sample, got none.")
    run_op("next_batch", {"indices": indices, "state": state, "order": order})


def gather(
    x: Any, indices: Any, scale: float = 1.0, offset: float = 0.0, dtype: DTypeLike | None = None
) -> Array:
    """scale * x[indices] + offset: a mini-batch (batch, ...) out of a data set (samples, ...).

    Args:
        x: the data, of any number type.
        indices: (batch,) integers in [0, samples).
        scale: what to multiply with.
        offset: what to add.
        dtype: of the result; by default that of x.

    >>> gather(np.array([[0, 10], [20, 30]], np.uint8), [1, 1, 0], scale=0.1, dtype=np.float32)
    array([[2., 3.],
           [2., 3.],
           [0., 1.]], dtype=float32)
    """
    x, indices = as_array(x), as_array(indices)
    matrix = as_matrix("gather", x, rows=1)
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < len(x):
        raise ArgumentError(
            f"op gather needs indices in [0, {len(x)}), got {indices.min()} to {indices.max()}."
        )
    arrays = {"x": matrix, "indices": indices}
    chosen = dtype or dtype_of(x)
    y = run_op("gather", arrays, dtype=chosen, scale=scale, offset=offset)["y"]
    return y.reshape(len(y), *x.shape[1:])
