"""One rate at the threshold where another one is large enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.errors import ArgumentError
from gpunet.metrics.base import State, divide
from gpunet.metrics.confusion import ThresholdMetric


class _RateAtRate(ThresholdMetric):
    """The largest value of one rate among the thresholds where another one is large enough.

    Args:
        value: what the other rate must reach, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1; the single one is 0.5.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.
    """

    constrained = ""
    """The argument that says what the other rate must reach, which is also that rate's name."""

    def __init__(
        self,
        value: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        kind = type(self).__name__
        if not is_number(value) or not 0 <= value <= 1:
            raise ArgumentError(f"{kind} needs {self.constrained} from 0 to 1, got {value!r}.")
        if not isinstance(num_thresholds, int) or num_thresholds < 1:
            raise ArgumentError(f"{kind} needs at least 1 threshold, got {num_thresholds!r}.")
        if class_id is not None and (not isinstance(class_id, int) or class_id < 0):
            raise ArgumentError(f"{kind} needs a column from 0 on as class_id, got {class_id!r}.")
        last = max(num_thresholds - 1, 1)
        even = [i / last for i in range(num_thresholds)]
        super().__init__(even if num_thresholds > 1 else [0.5], name, dtype)
        self.least, self.num_thresholds, self.class_id = float(value), num_thresholds, class_id

    def check(self, x: Any, labels: Any) -> None:
        """class_id must be a column."""
        super().check(x, labels)
        if (self.class_id or 0) >= x.shape[1]:
            raise ArgumentError(
                f"the metric {self.name!r} has class_id={self.class_id}, but there are "
                f"{x.shape[1]} outputs."
            )

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """One launch for all thresholds."""
        column = -1 if self.class_id is None else self.class_id
        op.threshold_counts(state, x, labels, sample_weight, column=column)

    def rates(self, tp: State, fp: State, tn: State, fn: State) -> tuple[State, State]:
        """The rate that must reach the value, and the one that is wanted."""
        raise NotImplementedError

    def value(self, state: State) -> float:
        """The largest wanted rate; 0 if the other one is never large enough."""
        constrained, wanted = self.rates(*state[1:, 0])
        return float(np.max(np.where(constrained >= self.least, wanted, 0.0), initial=0.0))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"num_thresholds": self.num_thresholds, "class_id": self.class_id}
        return {**super().get_config(), self.constrained: self.least, **own}


class SensitivityAtSpecificity(_RateAtRate):
    """The largest sensitivity tp / (tp + fn) where the specificity tn / (tn + fp) is large enough.

    Args:
        specificity: what the specificity must reach, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> SensitivityAtSpecificity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    name, constrained = "sensitivity_at_specificity", "specificity"

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(specificity, num_thresholds, class_id, name, dtype)
        self.specificity = self.least

    def rates(self, tp: State, fp: State, tn: State, fn: State) -> tuple[State, State]:
        """Specificity and sensitivity."""
        return divide(tn, tn + fp), divide(tp, tp + fn)


class SpecificityAtSensitivity(_RateAtRate):
    """The largest specificity tn / (tn + fp) where the sensitivity tp / (tp + fn) is large enough.

    Args:
        sensitivity: what the sensitivity must reach, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> round(SpecificityAtSensitivity(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8]), 4)
        0.6667
    """

    name, constrained = "specificity_at_sensitivity", "sensitivity"

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(sensitivity, num_thresholds, class_id, name, dtype)
        self.sensitivity = self.least

    def rates(self, tp: State, fp: State, tn: State, fn: State) -> tuple[State, State]:
        """Sensitivity and specificity."""
        return divide(tp, tp + fn), divide(tn, tn + fp)


class PrecisionAtRecall(_RateAtRate):
    """The largest precision tp / (tp + fp) where the recall tp / (tp + fn) is large enough.

    Args:
        recall: what the recall must reach, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> PrecisionAtRecall(0.5)([0, 0, 0, 1, 1], [0, 0.3, 0.8, 0.3, 0.8])
        0.5
    """

    name, constrained = "precision_at_recall", "recall"

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(recall, num_thresholds, class_id, name, dtype)
        self.recall = self.least

    def rates(self, tp: State, fp: State, tn: State, fn: State) -> tuple[State, State]:
        """Recall and precision."""
        return divide(tp, tp + fn), divide(tp, tp + fp)


class RecallAtPrecision(_RateAtRate):
    """The largest recall tp / (tp + fn) where the precision tp / (tp + fp) is large enough.

    Args:
        precision: what the precision must reach, from 0 to 1.
        num_thresholds: how many thresholds, evenly from 0 to 1.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> RecallAtPrecision(0.8)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9])
        0.5
    """

    name, constrained = "recall_at_precision", "precision"

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(precision, num_thresholds, class_id, name, dtype)
        self.precision = self.least

    def rates(self, tp: State, fp: State, tn: State, fn: State) -> tuple[State, State]:
        """Precision and recall."""
        return divide(tp, tp + fp), divide(tp, tp + fn)
