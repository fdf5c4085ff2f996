"""Losses with a margin: nothing is lost once a prediction is right by 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.losses.base import MEAN, Loss, LossBuffers, Values
from gpunet.losses.regression import ElementwiseLoss


class Hinge(ElementwiseLoss):
    """mean_j max(1 - x_j y_j, 0), for labels y of -1 and 1, or of 0 and 1.

    Keras takes zeros for -1 in batches that hold nothing but 0 and 1. Here they always stand for
    -1, and zeros beside other labels are an error instead of a rule that depends on the batch.

    Args:
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.

    Example:
        >>> Hinge()([[0.0], [1.0]], [[-3.0], [0.5]])
        0.25
    """

    name = "hinge"
    kind = "hinge"

    def labels(self, y: Any, shape: tuple[int, ...], backend: Backend) -> Array:
        """Labels of two classes.

        Raises:
            ArgumentError: zeros beside other labels than 1.
        """
        labels = super().labels(y, shape, backend)
        values = labels if isinstance(labels, np.ndarray) else backend.to_numpy(labels)
        is_zero = values == 0
        if is_zero.any() and not (is_zero | (values == 1)).all():
            raise ArgumentError(
                f"y for the loss {self.name!r} must be of -1 and 1, or of 0 and 1, got zeros "
                "beside other labels; to leave samples out give them a sample_weight of 0."
            )
        return labels


class SquaredHinge(Hinge):
    """mean_j max(1 - x_j y_j, 0)^2. Labels and arguments as `Hinge`."""

    name = "squared_hinge"
    kind = "squared_hinge"


class CategoricalHinge(Loss):
    """max(max_j((1 - y_j) x_j) - sum_j y_j x_j + 1, 0), for one-hot rows y.

    Args:
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    name = "categorical_hinge"

    def __init__(
        self, reduction: str | None = MEAN, name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        op.categorical_hinge(b.dx, b.loss, b.totals, b.x, b.labels, b.sample_weight, scale=b.scale)


def hinge(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `Hinge`."""
    return Hinge().rows(y_true, y_pred)


def squared_hinge(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `SquaredHinge`."""
    return SquaredHinge().rows(y_true, y_pred)


def categorical_hinge(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `CategoricalHinge`."""
    return CategoricalHinge().rows(y_true, y_pred)
