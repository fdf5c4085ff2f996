"""Plain functions: embedding."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_array, run_op
from gpunet.backend.spec import Array


def embedding(table: Any, indices: Any) -> Array:
    """A row of a table for each number: table[indices].

    Args:
        table: (rows, columns).
        indices: integers of any shape; those outside of [0, rows) give rows of NaN.

    >>> embedding([[1, 2], [3, 4]], [1, 1, 0])
    array([[3., 4.],
           [3., 4.],
           [1., 2.]], dtype=float32)
    """
    indices = as_array(indices)
    y = run_op("embedding", {"table": table, "indices": indices.reshape(-1)})["y"]
    return y.reshape(*indices.shape, y.shape[-1])


def embedding_backward(dy: Any, indices: Any, rows: int) -> Array:
    """The gradient of the table: the sum of dy over the places where a number stands.

    Args:
        dy: (..., columns).
        indices: integers of the shape of dy without its last axis.
        rows: how many rows the table has.

    >>> embedding_backward([[1, 2], [3, 4], [5, 6]], [1, 1, 0], rows=2)
    array([[5., 6.],
           [4., 6.]], dtype=float32)
    """
    dy, indices = as_array(dy), as_array(indices)
    arrays = {"dy": dy.reshape(-1, dy.shape[-1]), "indices": indices.reshape(-1)}
    return run_op("embedding_backward", arrays, None, {"rows": rows})["dtable"]
