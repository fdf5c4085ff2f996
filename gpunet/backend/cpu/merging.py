"""Two arrays element by element."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import HALF, ONE, each_element, flat_blocks
from gpunet.backend.spec import Array


def subtract(y: Array, a: Array, b: Array) -> None:
    """y = a - b."""
    each_element(np.subtract, y, a, b)


def multiply(y: Array, a: Array, b: Array) -> None:
    """y = a * b."""
    each_element(np.multiply, y, a, b)


def maximum(y: Array, a: Array, b: Array) -> None:
    """y = the larger of a and b; NaN where one is NaN."""
    each_element(np.maximum, y, a, b)


def minimum(y: Array, a: Array, b: Array) -> None:
    """y = the smaller of a and b; NaN where one is NaN."""
    each_element(np.minimum, y, a, b)


def maximum_backward(da: Array, db: Array, dy: Array, a: Array, b: Array) -> None:
    """da = dy where a > b, db = dy where a < b, both dy / 2 elsewhere (a = b, or NaN)."""
    for da_, db_, dy_, a_, b_ in flat_blocks(da, db, dy, a, b):
        share = np.empty_like(dy_)  # da's part of dy: (1 + [a > b] - [a < b]) / 2
        np.greater(a_, b_, out=share)
        np.add(share, ONE, out=share)
        np.subtract(share, np.less(a_, b_), out=share)
        np.multiply(share, HALF, out=share)
        np.multiply(share, dy_, out=share)
        np.subtract(dy_, share, out=db_)
        np.copyto(da_, share)
