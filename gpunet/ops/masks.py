"""Plain functions: masks, which say 1 for steps that are there and 0 for those that fill up."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def row_mask(x: Any, *, value: float = 0.0) -> Array:
    """1 for rows of x (rows, columns) in which some number differs from value, else 0.

    >>> row_mask([[0.0, 0.0], [0.0, 3.0]])
    array([0, 1], dtype=uint8)
    """
    return run_op("row_mask", {"x": x}, value=value)["mask"]


def either_mask(a: Any, b: Any) -> Array:
    """1 where a or b, uint8 of one shape, is 1, else 0.

    >>> import numpy as np
    >>> either_mask(np.uint8([0, 1, 0]), np.uint8([0, 0, 1]))
    array([0, 1, 1], dtype=uint8)
    """
    return run_op("either_mask", {"a": a, "b": b})["y"]


def both_mask(a: Any, b: Any) -> Array:
    """1 where a and b, uint8 of one shape, are 1, else 0.

    >>> import numpy as np
    >>> both_mask(np.uint8([0, 1, 1]), np.uint8([0, 0, 1]))
    array([0, 0, 1], dtype=uint8)
    """
    return run_op("both_mask", {"a": a, "b": b})["y"]


def masked_rows(x: Any, mask: Any) -> Array:
    """x (rows, columns) with 0 in the rows whose mask is 0.

    >>> import numpy as np
    >>> masked_rows([[1.0, 2.0], [3.0, 4.0]], np.uint8([0, 1]))
    array([[0., 0.],
           [3., 4.]], dtype=float32)
    """
    return run_op("masked_rows", {"x": x, "mask": mask})["y"]


def mask_shares(mask: Any) -> Array:
    """mask / sum(mask) along each row, uint8 (batch, steps): the weights of a mean.

    >>> import numpy as np
    >>> mask_shares(np.uint8([[1, 1, 0, 0]]))
    array([[0.5, 0.5, 0. , 0. ]], dtype=float32)
    """
    return run_op("mask_shares", {"mask": mask})["shares"]
