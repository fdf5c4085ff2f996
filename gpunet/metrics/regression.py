"""How far predicted numbers are off."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.metrics.base import Metric, State
from gpunet.metrics.reduction import LossMetric


class MeanSquaredError(LossMetric):
    """The mean of (x - y)^2.

    Example:
        >>> MeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
        0.25
    """

    name = of = "mean_squared_error"


class RootMeanSquaredError(LossMetric):
    """The square root of the mean of (x - y)^2.

    Example:
        >>> RootMeanSquaredError()([[0, 1], [0, 0]], [[1, 1], [0, 0]])
        0.5
    """

    name, of = "root_mean_squared_error", "mean_squared_error"

    def value(self, state: State) -> float:
        """The root of the mean."""
        return float(np.sqrt(super().value(state)))


class MeanAbsoluteError(LossMetric):
    """The mean of |x - y|."""

    name = of = "mean_absolute_error"


class MeanAbsolutePercentageError(LossMetric):
    """The mean of 100 |x - y| / max(|y|, 1e-7)."""

    name = of = "mean_absolute_percentage_error"


class MeanSquaredLogarithmicError(LossMetric):
    """The mean of (log(1 + x) - log(1 + y))^2."""

    name = of = "mean_squared_logarithmic_error"


class LogCoshError(LossMetric):
    """The mean of log(cosh(x - y))."""

    name, of = "logcosh", "log_cosh"


class CosineSimilarity(LossMetric):
    """The mean of sum(x y) / (|x| |y|) of each row; the loss of this name has the other sign.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
        axis: the axis of the vectors, the last one.
    """

    name = of = "cosine_similarity"

    def __init__(self, name: str | None = None, dtype: str | None = None, axis: int = -1) -> None:
        if axis != -1:
            raise ArgumentError("CosineSimilarity has the vectors on the last axis: axis is -1.")
        super().__init__(name, dtype)

    def value(self, state: State) -> float:
        """The mean with the sign of the similarity."""
        return 0.0 - super().value(state)


AGGREGATIONS = (None, "uniform_average", "variance_weighted_average")


class R2Score(Metric):
    """The coefficient of determination: 1 - sum((y - x)^2) / sum((y - mean(y))^2) of each column.

    The state is made of sums, of which the mean is taken off in the end, in float64.

    Args:
        class_aggregation: "uniform_average" for the mean of the columns,
            "variance_weighted_average" for that by their variance, None for one number a column.
        num_regressors: if not 0, how many regressors to adjust the score for.
        name: the name to show.
        dtype: kept for `get_config`.

    Raises:
        ArgumentError: a value that cannot be used.

    Example:
        >>> round(R2Score()([[1.0], [4.0], [3.0]], [[2.0], [4.0], [4.0]]), 4)
        0.5714
    """

    name = "r2_score"
    takes = "numbers"

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        if class_aggregation not in AGGREGATIONS:
            raise ArgumentError(
                "R2Score knows the class_aggregation None, uniform_average and "
                f"variance_weighted_average, got {class_aggregation!r}."
            )
        if not isinstance(num_regressors, int) or num_regressors < 0:
            raise ArgumentError(
                f"R2Score needs an integer num_regressors of at least 0, got {num_regressors!r}."
            )
        self.class_aggregation, self.num_regressors = class_aggregation, num_regressors

    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """(sums of w, w y, w y^2, w (y - x)^2 and 1; columns)."""
        return (5, output_shape[-1] or 1)

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """One launch."""
        op.moments(state, x, labels, sample_weight)

    def value(self, state: State) -> Any:
        """A number, or an array with one for each column."""
        count, total, squares, residual, rows = state
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = squares - total * (total / count)
            scores = 1 - residual / variance
            scores = np.where(np.isinf(scores), 0.0, scores)
            score: Any = scores
            if self.class_aggregation == "uniform_average":
                score = np.mean(scores)
            elif self.class_aggregation is not None:
                score = np.sum(variance * scores) / np.sum(variance)
        score = self._adjusted(score, float(rows.sum()))
        return score if self.class_aggregation is None else float(score)

    def _adjusted(self, score: Any, numbers: float) -> Any:
        """1 - (1 - score) (n - 1) / (n - p - 1), where Keras counts numbers as n, not rows."""
        if self.num_regressors == 0:
            return score
        if self.num_regressors >= numbers - 1:
            warnings.warn(
                f"R2Score cannot adjust for {self.num_regressors} regressors with "
                f"{numbers:.0f} numbers; the score is not adjusted.",
                stacklevel=2,
            )
            return score
        return 1 - (1 - score) * (numbers - 1) / (numbers - self.num_regressors - 1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {
            "class_aggregation": self.class_aggregation,
            "num_regressors": self.num_regressors,
        }
        return {**super().get_config(), **own}
