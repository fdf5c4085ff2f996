"""Plain functions: constraints."""

from __future__ import annotations

from math import prod

from gpunet.backend.dispatch import as_updated, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError


def norm_constraint(
    weights: Array, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: int = 0
) -> None:
    """Scale the vectors along an axis, where they are, so that their lengths come within bounds.

    w *= (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm).

    Args:
        weights: the weights, of any shape.
        min_value: the least length.
        max_value: the greatest length.
        rate: the share of the way to the bounds that is gone.
        axis: the axis along which a vector lies.

    >>> weights = np.array([[3.0, 0.3], [4.0, 0.4]])
    >>> norm_constraint(weights, max_value=1.0)
    >>> weights.round(3)
    array([[0.6, 0.3],
           [0.8, 0.4]])
    """
    weights = as_updated("norm_constraint", "weights", weights)
    if not -weights.ndim <= axis < weights.ndim:
        raise ShapeError(
            f"op norm_constraint: weights of shape {weights.shape} have no axis {axis}."
        )
    axis %= weights.ndim
    shape = weights.shape
    vectors = weights.reshape(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]))
    run_op(
        "norm_constraint",
        {"weights": vectors},
        min_value=min_value,
        max_value=max_value,
        rate=rate,
    )
