"""Accuracies: the share of rows, or of numbers, that are predicted right."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import check_count
from gpunet.errors import ArgumentError
from gpunet.metrics.base import MeanOfRows


class AccuracyByShape(MeanOfRows):
    """What the name "accuracy" stands for: the accuracy of the kind that fits, as Keras picks it.

    One output: whether x > 0.5 equals y > 0.5. Several: whether the largest output (the first of
    equals) is the label's, be it a class number or a one-hot row.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
    """

    name = "accuracy"
    totals_itself = True

    def record_rows(self, op: Any, rows: Any, totals: Any, x: Any, labels: Any) -> None:
        """Part of the loss' launch where the loss can count."""
        op.accuracy(rows, totals, x, labels)


class CategoricalAccuracy(AccuracyByShape):
    """The share of rows whose largest output is where the one-hot row of labels is largest.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> CategoricalAccuracy()([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]])
        0.5
    """

    name = "categorical_accuracy"

    def check(self, x: Any, labels: Any) -> None:
        """With one output every row would be right."""
        super().check(x, labels)
        if x.shape[1] == 1:
            raise ArgumentError(
                f"the metric {self.name!r} compares several outputs, but there is one; take "
                "'binary_accuracy'."
            )


class SparseCategoricalAccuracy(CategoricalAccuracy):
    """The share of rows whose largest output is the label, a class number.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> SparseCategoricalAccuracy()([2, 1], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]])
        0.5
    """

    name = "sparse_categorical_accuracy"


class TopKCategoricalAccuracy(MeanOfRows):
    """The share of rows in which fewer than k outputs exceed the one at the label, a one-hot row.

    Args:
        k: how many outputs may be right.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> TopKCategoricalAccuracy(k=2)([[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.6, 0.1, 0.3]])
        0.5
    """

    name = "top_k_categorical_accuracy"

    def __init__(self, k: int = 5, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.k = check_count(self, "k", k)

    def record_rows(self, op: Any, rows: Any, totals: Any, x: Any, labels: Any) -> None:
        """One op for both kinds of labels."""
        op.top_k_accuracy(rows, x, labels, k=self.k)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "k": self.k}


class SparseTopKCategoricalAccuracy(TopKCategoricalAccuracy):
    """`TopKCategoricalAccuracy` for labels that are class numbers.

    Args:
        k: how many outputs may be right.
        name: the name to show.
        dtype: kept for `get_config`.
        from_sorted_ids: must be False; predictions are scores, not sorted class numbers.
    """

    name = "sparse_top_k_categorical_accuracy"

    def __init__(
        self,
        k: int = 5,
        name: str | None = None,
        dtype: str | None = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(k, name, dtype)
        if from_sorted_ids:
            raise ArgumentError(
                "SparseTopKCategoricalAccuracy takes scores of all classes: "
                "from_sorted_ids=True is not available."
            )


class Accuracy(MeanOfRows):
    """The share of numbers that equal their labels exactly.

    For outputs that are probabilities say "accuracy" (in quotes) instead.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> Accuracy()([1, 2, 3, 4], [0, 2, 3, 4])
        0.75
    """

    name = "accuracy"
    takes = "numbers"
    threshold: float | None = None

    def check(self, x: Any, labels: Any) -> None:
        """Class numbers cannot equal probabilities."""
        if len(labels.shape) == 1 and self.threshold is None:
            raise ArgumentError(
                "the metric Accuracy compares outputs with labels number by number, but the labels "
                "are class numbers; write metrics=['accuracy'], in quotes."
            )
        super().check(x, labels)

    def record_rows(self, op: Any, rows: Any, totals: Any, x: Any, labels: Any) -> None:
        """The share of columns in each row."""
        op.matches(rows, x, labels, threshold=self.threshold)


class BinaryAccuracy(Accuracy):
    """The share of outputs for which (x > threshold) equals the label, 0 or 1.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
        threshold: what an output of class 1 exceeds.

    Example:
        >>> BinaryAccuracy()([[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]])
        0.75
    """

    name = "binary_accuracy"

    def __init__(
        self, name: str | None = None, dtype: str | None = None, threshold: float = 0.5
    ) -> None:
        super().__init__(name, dtype)
        if not isinstance(threshold, int | float):
            raise ArgumentError(f"BinaryAccuracy needs a number as threshold, got {threshold!r}.")
        self.threshold = threshold

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "threshold": self.threshold}
