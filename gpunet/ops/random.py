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


def spatial_dropout(x: Any, rate: float, seed: int = 0, node: int = 0, number: int = 0) -> Array:
    """`dropout` of whole channels: x is (samples, positions, channels).

    >>> spatial_dropout([[[1.0, 1.0], [2.0, 2.0]]], rate=0.5, seed=5).tolist()
    [[[0.0, 2.0], [0.0, 4.0]]]
    """
    if not 0.0 <= rate < 1.0:
        raise ArgumentError(f"op spatial_dropout needs a rate in [0, 1), got {rate}.")
    arrays = {"x": x, "random": np.array([seed, number], np.uint64)}
    return run_op("spatial_dropout", arrays, rate=rate, node=node)["y"]


def gaussian_noise(x: Any, stddev: float, seed: int = 0, node: int = 0, number: int = 0) -> Array:
    """x with normal numbers of a standard deviation added.

    >>> float(gaussian_noise(np.zeros(10000), 0.5).std().round(1))
    0.5
    """
    arrays = {"x": x, "random": np.array([seed, number], np.uint64)}
    return run_op("gaussian_noise", arrays, stddev=stddev, node=node)["y"]


def gaussian_dropout(x: Any, stddev: float, seed: int = 0, node: int = 0, number: int = 0) -> Array:
    """x times normal numbers around 1 of a standard deviation.

    >>> float(gaussian_dropout(np.full(10000, 2.0), 0.5).mean().round(1))
    2.0
    """
    arrays = {"x": x, "random": np.array([seed, number], np.uint64)}
    return run_op("gaussian_dropout", arrays, stddev=stddev, node=node)["y"]
