"""Plain functions: random."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError


def dropout(x: Any, rate: float, seed: int = 0, node: int = 0, number: int = 0) -> Array:
    """x with each element kept, and divided by 1 - rate, with probability 1 - rate, else 0.

    The same seed, node and number (of the pass) give the same mask on every device.

    >>> dropout([1.0, 1.0, 1.0, 1.0], rate=0.5, seed=1)
    array([0., 0., 2., 2.], dtype=float32)
    """
    if not 0.0 <= rate < 1.0:
        raise ArgumentError(f"op dropout needs a rate in [0, 1), got {rate}.")
    arrays = {"x": x, "random": np.array([seed, number], np.uint64)}
    return run_op("dropout", arrays, rate=rate, node=node)["y"]
