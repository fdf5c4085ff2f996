"""Plain functions: optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from gpunet.backend.dispatch import as_array, as_updated, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError


def sgd(
    weights: Array,
    gradients: Array,
    velocity: Array | None = None,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of gradient descent, which updates weights and velocity where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        velocity: of the same shape, zeros before the first step; None for no momentum.
        learning_rate: how far to go.
        momentum: how much of the velocity to keep.
        nesterov: whether to look ahead.

    >>> weights = np.array([1.0, 2.0])
    >>> sgd(weights, np.array([10.0, 20.0]), learning_rate=0.1)
    >>> weights
    array([0., 0.])
    """
    written = {"weights": weights, "velocity": velocity}
    hyper = [learning_rate, momentum]
    _update("sgd", written, gradients, 0, hyper, nesterov=nesterov)


def adam(
    weights: Array,
    gradients: Array,
    momentums: Array,
    velocities: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
) -> None:
    """One step of Adam, which updates weights, momentums and velocities where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        momentums: means of the gradients so far; zeros before the first step.
        velocities: means of their squares; zeros before the first step.
        step: how many steps were made before this one.
        learning_rate: how far to go.
        beta_1: how much of the momentums to keep.
        beta_2: how much of the velocities to keep.
        epsilon: keeps the division finite.

    >>> weights, momentums, velocities = np.ones(2), np.zeros(2), np.zeros(2)
    >>> adam(weights, np.array([3.0, -4.0]), momentums, velocities, step=0, learning_rate=0.5)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {"weights": weights, "momentums": momentums, "velocities": velocities}
    _update("adam", written, gradients, step, [learning_rate, beta_1, beta_2, epsilon])


def _update(
    name: str,
    written: Mapping[str, Array | None],
    gradients: Any,
    step: int,
    hyper: list[float],
    **attributes: Any,
) -> None:
    """One step of an optimizer on arrays of any one shape, as one segment."""
    arrays = {key: as_updated(name, key, a) for key, a in written.items() if a is not None}
    arrays["gradients"] = as_array(gradients)
    shape = arrays["weights"].shape
    for key, array in arrays.items():
        if array.shape != shape:
            raise ShapeError(
                f"op {name}: {key} must have the shape of weights {shape}, got {array.shape}."
            )
    flat = {key: array.reshape(-1) for key, array in arrays.items()}
    segments = [[0.0, float(prod(shape)), 0.0, 1.0, 1.0, 0.0]]
    run_op(name, {**flat, "step": [step], "segments": segments, "hyper": hyper}, **attributes)
