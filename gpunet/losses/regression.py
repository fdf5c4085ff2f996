"""Losses of numbers: how far predictions are from their targets, and in which direction."""

from __future__ import annotations

from typing import Any

from gpunet.engine.recorder import Recorder
from gpunet.losses.base import MEAN, Loss, LossBuffers, Values, last_axis, number


class ElementwiseLoss(Loss):
    """The mean along a row of a formula of each prediction and its target.

    Args:
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    kind = "squared"
    """Which formula: one of `gpunet.backend.spec.ELEMENTWISE_LOSSES`."""
    parameter = 0.0
    """The formula's number, if it has one."""

    def __init__(
        self, reduction: str | None = MEAN, name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        arrays = (b.dx, b.loss, b.totals, b.x, b.labels, b.sample_weight)
        op.elementwise_loss(*arrays, kind=self.kind, scale=b.scale, parameter=self.parameter)


class MeanSquaredError(ElementwiseLoss):
    """mean_j (x_j - y_j)^2.

    Args:
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.

    Example:
        >>> MeanSquaredError()([[0.0, 0.0]], [[1.0, 3.0]])
        5.0
    """

    name = "mean_squared_error"
    kind = "squared"


class MeanAbsoluteError(ElementwiseLoss):
    """mean_j |x_j - y_j|. Arguments as `MeanSquaredError`."""

    name = "mean_absolute_error"
    kind = "absolute"


class MeanAbsolutePercentageError(ElementwiseLoss):
    """100 mean_j |x_j - y_j| / max(|y_j|, 1e-7). Arguments as `MeanSquaredError`."""

    name = "mean_absolute_percentage_error"
    kind = "percentage"


class MeanSquaredLogarithmicError(ElementwiseLoss):
    """mean_j (log(1 + x_j) - log(1 + y_j))^2, both at least 1e-7. Arguments as above."""

    name = "mean_squared_logarithmic_error"
    kind = "squared_logarithmic"


class Huber(ElementwiseLoss):
    """mean_j f(x_j - y_j), f(d) = d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2).

    Args:
        delta: where the parabola becomes a line.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    name = "huber_loss"
    kind = "huber"

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.delta = self.parameter = number("delta", delta, 0, loss=self.name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "delta": self.delta}


class LogCosh(ElementwiseLoss):
    """mean_j log(cosh(x_j - y_j)). Arguments as `MeanSquaredError`."""

    name = "log_cosh"
    kind = "log_cosh"


class CosineSimilarity(Loss):
    """-sum_j x_j y_j / (|x| |y|), between -1 (the same direction) and 1; norms at least 1e-7.

    Args:
        axis: -1, the axis of the vectors.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    name = "cosine_similarity"

    def __init__(
        self,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = last_axis(axis, self.name)

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        op.cosine_similarity(b.dx, b.loss, b.totals, b.x, b.labels, b.sample_weight, scale=b.scale)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


def mean_squared_error(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `MeanSquaredError`."""
    return MeanSquaredError().rows(y_true, y_pred)


def mean_absolute_error(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `MeanAbsoluteError`."""
    return MeanAbsoluteError().rows(y_true, y_pred)


def mean_absolute_percentage_error(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `MeanAbsolutePercentageError`."""
    return MeanAbsolutePercentageError().rows(y_true, y_pred)


def mean_squared_logarithmic_error(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `MeanSquaredLogarithmicError`."""
    return MeanSquaredLogarithmicError().rows(y_true, y_pred)


def huber(y_true: Any, y_pred: Any, delta: float = 1.0) -> Values:
    """The loss of each row; see `Huber`."""
    return Huber(delta).rows(y_true, y_pred)


def log_cosh(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `LogCosh`."""
    return LogCosh().rows(y_true, y_pred)


def cosine_similarity(y_true: Any, y_pred: Any, axis: int = -1) -> Values:
    """The loss of each row; see `CosineSimilarity`."""
    return CosineSimilarity(axis).rows(y_true, y_pred)
