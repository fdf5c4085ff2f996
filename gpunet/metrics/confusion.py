"""What exceeds a threshold and what should: counts, precision, recall and areas under curves.

All of them keep the state of the op `threshold_counts`: (thresholds, true positives, false
positives, true negatives, false negatives) for each group of columns and each threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import check_count, is_number
from gpunet.errors import ArgumentError
from gpunet.metrics.base import Metric, State, divide, scalar_or_array

TP, FP, TN, FN = 1, 2, 3, 4
"""Where the counts stand in a state; the thresholds come first."""


class ThresholdMetric(Metric):
    """Base class of what is computed from counts above thresholds.

    Args:
        thresholds: the thresholds.
        name: the name to show.
        dtype: kept for `get_config`.
        by_column: whether each column is counted apart.
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        name: str | None = None,
        dtype: str | None = None,
        by_column: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self._thresholds = [float(threshold) for threshold in thresholds]
        self._by_column = by_column

    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """(5, groups of columns, thresholds)."""
        groups = output_shape[-1] or 1 if self._by_column else 1
        return (5, groups, len(self._thresholds))

    def initial_state(self, output_shape: Sequence[int | None]) -> State:
        """The thresholds, and zeros."""
        state = super().initial_state(output_shape)
        state[0] = self._thresholds
        return state

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """One launch for all thresholds."""
        op.threshold_counts(state, x, labels, sample_weight)


def parse_thresholds(metric: str, thresholds: Any, default: float) -> list[float]:
    """One threshold or several, each between 0 and 1."""
    if thresholds is None:
        return [default]
    several = (
        list(thresholds) if isinstance(thresholds, list | tuple | np.ndarray) else [thresholds]
    )
    for threshold in several:
        if not is_number(threshold) or not 0 <= threshold <= 1:
            raise ArgumentError(f"{metric} needs thresholds from 0 to 1, got {threshold!r}.")
    return [float(threshold) for threshold in several]


# ------------------------------------------------------------------------------------- counts


class _Count(ThresholdMetric):
    """The (weighted) number of one kind of outputs.

    Args:
        thresholds: a number or several from 0 to 1; 0.5 if None.
        name: the name to show.
        dtype: kept for `get_config`.
    """

    kind = TP

    def __init__(
        self, thresholds: Any = None, name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(parse_thresholds(type(self).__name__, thresholds, 0.5), name, dtype)
        self.thresholds = thresholds

    def value(self, state: State) -> Any:
        """A number, or an array with one for each threshold."""
        return scalar_or_array(state[self.kind, 0])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "thresholds": self.thresholds}


class TruePositives(_Count):
    """How many outputs exceed the threshold where the label is positive. Arguments as `Precision`.

    Example:
        >>> TruePositives()([0, 1, 1, 1], [1, 0, 1, 1])
        2.0
    """

    name, kind = "true_positives", TP


class FalsePositives(_Count):
    """How many outputs exceed the threshold where the label is 0. Arguments as `TruePositives`."""

    name, kind = "false_positives", FP


class TrueNegatives(_Count):
    """How many outputs do not exceed the threshold where the label is 0.

    Arguments as `TruePositives`.
    """

    name, kind = "true_negatives", TN


class FalseNegatives(_Count):
    """How many outputs do not exceed the threshold where the label is positive.

    Arguments as `TruePositives`.
    """

    name, kind = "false_negatives", FN


# -------------------------------------------------------------------------- precision, recall


class Precision(ThresholdMetric):
    """true positives / (true positives + false positives), 0 without any.

    Args:
        thresholds: a number or several from 0 to 1; if None 0.5, or with top_k none.
        top_k: count as positive only the k largest outputs of each row.
        class_id: count only this column.
        name: the name to show.
        dtype: kept for `get_config`.

    Raises:
        ArgumentError: a value that cannot be used.

    Example:
        >>> Precision()([0, 1, 1, 1], [1, 0, 1, 1])
        0.6666666666666666
    """

    name = "precision"
    missed = FP
    """What is counted beside the true positives."""

    def __init__(
        self,
        thresholds: Any = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        kind = type(self).__name__
        default = 0.5 if top_k is None else -1e9  # top_k_filter leaves -1e10 of the others
        super().__init__(parse_thresholds(kind, thresholds, default), name, dtype)
        if top_k is not None:
            check_count(kind, "top_k", top_k)
        if class_id is not None and (not isinstance(class_id, int) or class_id < 0):
            raise ArgumentError(f"{kind} needs a column from 0 on as class_id, got {class_id!r}.")
        self.thresholds, self.top_k, self.class_id = thresholds, top_k, class_id

    def check(self, x: Any, labels: Any) -> None:
        """top_k and class_id must fit the number of outputs."""
        super().check(x, labels)
        columns = x.shape[1]
        if (self.top_k or 0) > columns or (self.class_id or 0) >= columns:
            raise ArgumentError(
                f"the metric {self.name!r} has top_k={self.top_k} and class_id={self.class_id}, "
                f"but there are {columns} outputs."
            )

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """One launch for all thresholds, and one that keeps the k largest."""
        if self.top_k is not None:
            largest = op.scratch(x.shape, name=f"{self.name}.largest")
            op.top_k_filter(largest, x, k=self.top_k)
            x = largest
        column = -1 if self.class_id is None else self.class_id
        op.threshold_counts(state, x, labels, sample_weight, column=column)

    def value(self, state: State) -> Any:
        """A number, or an array with one for each threshold."""
        hits = state[TP, 0]
        return scalar_or_array(divide(hits, hits + state[self.missed, 0]))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"thresholds": self.thresholds, "top_k": self.top_k, "class_id": self.class_id}
        return {**super().get_config(), **own}


class Recall(Precision):
    """true positives / (true positives + false negatives), 0 without any. Arguments as `Precision`.

    Example:
        >>> Recall()([0, 1, 1, 1], [1, 0, 1, 1])
        0.6666666666666666
    """

    name = "recall"
    missed = FN


# ------------------------------------------------------------------------------- area under curve

CURVES = ("ROC", "PR", "PRGAIN")
SUMMATIONS = ("interpolation", "majoring", "minoring")


class AUC(ThresholdMetric):
    """The area under the curve of true over false positive rate, or of precision over recall.

    A Riemann sum over a fixed number of thresholds, as in Keras; the interpolation of precision is
    that of Davis & Goadrich (2006), "The relationship between precision-recall and ROC curves".

    Args:
        num_thresholds: how many thresholds, evenly from 0 to 1.
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation" (the mean height), "minoring" or "majoring".
        name: the name to show.
        dtype: kept for `get_config`.
        thresholds: numbers between 0 and 1 in place of the even ones.
        multi_label: whether each column has an area of its own, of which the mean is taken.
        num_labels: accepted with multi_label; the outputs say it.
        label_weights: with multi_label, the weight of each column in the mean.
        from_logits: whether the outputs are logits rather than probabilities.

    Raises:
        ArgumentError: a value that cannot be used.

    Example:
        >>> round(AUC(num_thresholds=3)([0, 0, 1, 1], [0, 0.5, 0.3, 0.9]), 4)
        0.75
    """

    name = "auc"

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        if not isinstance(num_thresholds, int) or num_thresholds < 2:
            raise ArgumentError(f"AUC needs at least 2 thresholds, got {num_thresholds!r}.")
        self.curve, self.summation_method = str(curve).upper(), str(summation_method).lower()
        for what, got, known in (
            ("curve", self.curve, CURVES),
            ("summation_method", self.summation_method, SUMMATIONS),
        ):
            if got not in known:
                raise ArgumentError(f"AUC knows the {what}s {', '.join(known)}, got {got!r}.")
        if not multi_label and (num_labels is not None or label_weights is not None):
            raise ArgumentError(
                "AUC takes num_labels and label_weights only with multi_label=True."
            )
        self.thresholds = None
        inner = [i / (num_thresholds - 1) for i in range(1, num_thresholds - 1)]
        if thresholds is not None:
            inner = self.thresholds = sorted(parse_thresholds("AUC", list(thresholds), 0.5))
        self.num_thresholds = len(inner) + 2
        self.multi_label, self.num_labels, self.from_logits = multi_label, num_labels, from_logits
        self.label_weights = None if label_weights is None else [float(w) for w in label_weights]
        if from_logits:  # sigmoid(x) > t where x > log(t / (1 - t))
            with np.errstate(divide="ignore"):
                inner = [float(np.log(t) - np.log1p(-np.float64(t))) for t in np.array(inner)]
        # Everything exceeds the first threshold and nothing the last one.
        super().__init__([-np.inf, *inner, np.inf], name, dtype, by_column=multi_label)

    def check(self, x: Any, labels: Any) -> None:
        """The number of label_weights must be that of the outputs."""
        super().check(x, labels)
        for count in (self.num_labels, self.label_weights and len(self.label_weights)):
            if count is not None and count != x.shape[1]:
                raise ArgumentError(
                    f"the metric {self.name!r} is for {count} labels, but there are "
                    f"{x.shape[1]} outputs."
                )

    def value(self, state: State) -> float:
        """The area, or the mean of the columns' areas."""
        areas = self._areas(*state[1:])
        if self.label_weights is None:
            return float(areas.mean())
        return float(divide(areas @ self.label_weights, np.sum(self.label_weights)))

    def _areas(self, tp: State, fp: State, tn: State, fn: State) -> State:
        """The area of each group of columns."""
        recall = divide(tp, tp + fn)
        if self.curve == "PR" and self.summation_method == "interpolation":
            return _interpolated_precision(tp, fp, fn)
        if self.curve == "ROC":
            x, y = divide(fp, fp + tn), recall
        elif self.curve == "PR":
            x, y = recall, divide(tp, tp + fp)
        else:  # Flach & Kull (2015), "Precision-recall-gain curves"
            ratio = divide(tp + fn, tn + fp)
            x = np.where(tp == 0, 0.0, np.maximum(1 - ratio * divide(fn, tp), 0.0))
            y = np.where(tp == 0, 1.0, 1 - ratio * divide(fp, tp))
        left, right = y[:, :-1], y[:, 1:]
        heights = {
            "interpolation": (left + right) / 2,
            "minoring": np.minimum(left, right),
            "majoring": np.maximum(left, right),
        }[self.summation_method]
        areas: State = ((x[:, :-1] - x[:, 1:]) * heights).sum(axis=1)
        return areas

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_thresholds": self.num_thresholds,
            "curve": self.curve,
            "summation_method": self.summation_method,
            "thresholds": self.thresholds,
            "multi_label": self.multi_label,
            "num_labels": self.num_labels,
            "label_weights": self.label_weights,
            "from_logits": self.from_logits,
        }


def _interpolated_precision(tp: State, fp: State, fn: State) -> State:
    """The area under precision over recall: between thresholds the positives are interpolated."""
    positives = tp + fp
    left, right = positives[:, :-1], positives[:, 1:]
    d_tp = tp[:, :-1] - tp[:, 1:]
    slope = divide(d_tp, np.maximum(left - right, 0))
    intercept = tp[:, 1:] - slope * right
    ratio = np.where((left > 0) & (right > 0), divide(left, np.maximum(right, 0)), 1.0)
    increments = slope * (d_tp + intercept * np.log(ratio))
    areas: State = divide(increments, np.maximum(tp[:, 1:] + fn[:, 1:], 0)).sum(axis=1)
    return areas
