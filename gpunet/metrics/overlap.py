"""Intersection over union: what labels and predictions of a class have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import check_count
from gpunet.engine.data import as_numbers, check_lengths
from gpunet.errors import ArgumentError
from gpunet.metrics.base import Metric, State, matrix_of, predictions_of, weights_of
from gpunet.metrics.confusion import FN, FP, TN, TP, ThresholdMetric

EPSILON = 1e-7


def mean_overlap(matrix: State, target_class_ids: Sequence[int]) -> float:
    """The mean over some classes of true positives / (true and false positives, false negatives).

    Classes that occur neither in labels nor in predictions do not count.
    """
    common = np.diagonal(matrix)[list(target_class_ids)]
    union = (matrix.sum(axis=0) + matrix.sum(axis=1))[list(target_class_ids)] - common
    occurs = union > 1e-9
    return float(np.sum((common / (union + EPSILON))[occurs]) / (np.sum(occurs) + EPSILON))


class IoU(Metric):
    """The mean over some classes of (label and prediction) / (label or prediction).

    Sample weights count as they are; Keras cuts their fractions off unless dtype is "float32".

    Args:
        num_classes: the number of classes.
        target_class_ids: the classes to take the mean over.
        name: the name to show.
        dtype: kept for `get_config`.
        ignore_class: a class number whose rows do not count.
        sparse_y_true: whether labels are class numbers rather than one-hot rows.
        sparse_y_pred: whether predictions are class numbers rather than rows of scores.
        axis: the axis of the classes, the last one.

    Raises:
        ArgumentError: a value that cannot be used.

    Example:
        >>> metric = IoU(num_classes=2, target_class_ids=[0])
        >>> round(metric([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    name = "io_u"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        kind = type(self).__name__
        check_count(kind, "num_classes", num_classes)
        self.target_class_ids = [int(number) for number in target_class_ids]
        if not all(0 <= number < num_classes for number in self.target_class_ids):
            raise ArgumentError(
                f"{kind} has the classes 0 to {num_classes - 1}, got target_class_ids="
                f"{self.target_class_ids}."
            )
        if axis != -1:
            raise ArgumentError(f"{kind} has the classes on the last axis: axis must be -1.")
        self.num_classes, self.ignore_class, self.axis = num_classes, ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred

    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """The confusion matrix."""
        return (self.num_classes, self.num_classes)

    def check(self, x: Any, labels: Any) -> None:
        """Labels and predictions must give one class number each for the same rows."""
        columns = x.shape[1]
        rows = x.shape[0] * (columns if self.sparse_y_pred else 1)
        if not self.sparse_y_pred and columns != self.num_classes:
            raise ArgumentError(
                f"the metric {self.name!r} has num_classes={self.num_classes}, but there are "
                f"{columns} outputs."
            )
        whole = len(labels.shape) == 2 and self.sparse_y_true
        count = labels.shape[0] * (labels.shape[1] if whole else 1)
        if count != rows:
            raise ArgumentError(
                f"the metric {self.name!r} got {count} labels for {rows} predictions; say with "
                "sparse_y_true and sparse_y_pred whether they are class numbers (True) or rows "
                "with one number a class (False)."
            )

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """The classes, where they are not given, and the confusion matrix."""
        classes = x.reshape(-1) if self.sparse_y_pred else self._argmax(op, x)
        if len(labels.shape) == 2:
            labels = labels.reshape(-1) if self.sparse_y_true else self._argmax(op, labels)
        ignored = -1 if self.ignore_class is None else self.ignore_class
        op.confusion_matrix(state, classes, labels, sample_weight, ignore_class=ignored)

    def _argmax(self, op: Any, x: Any) -> Any:
        classes = op.scratch((x.shape[0],), name=f"{self.name}.classes")
        op.argmax(classes, x)
        return classes

    def value(self, state: State) -> float:
        """The mean over the target classes."""
        return mean_overlap(state, self.target_class_ids)

    def _arrays(self, y_true: Any, y_pred: Any, sample_weight: Any) -> tuple[Any, Any, Any]:
        """Class numbers as one column; any class number may occur."""
        x, dtype = predictions_of(y_pred)
        labels = as_numbers(y_true, f"y_true for {self.name!r}")
        check_lengths({"y_true": labels, "y_pred": x}, f"the metric {self.name!r}")
        if self.sparse_y_pred:
            x = x.reshape(-1, 1)
        labels = labels.reshape(-1, 1) if self.sparse_y_true else labels
        if np.ndim(sample_weight) > 1:
            sample_weight = np.reshape(sample_weight, -1)
        shape = (x.size // x.shape[-1], x.shape[-1])
        return (
            matrix_of(x, dtype),
            matrix_of(labels, dtype),
            weights_of(sample_weight, shape, dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("num_classes", "target_class_ids", "ignore_class", "sparse_y_true")
        own = {name: getattr(self, name) for name in (*names, "sparse_y_pred", "axis")}
        return {**super().get_config(), **own}


class MeanIoU(IoU):
    """`IoU` over all classes. Arguments as there, without target_class_ids.

    Example:
        >>> round(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1]), 4)
        0.3333
    """

    name = "mean_io_u"

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        targets = range(num_classes) if isinstance(num_classes, int) else ()
        flags = (ignore_class, sparse_y_true, sparse_y_pred, axis)
        super().__init__(num_classes, targets, name, dtype, *flags)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return _without(super().get_config(), "target_class_ids")


class OneHotIoU(IoU):
    """`IoU` for one-hot rows of labels and, unless sparse_y_pred, rows of scores."""

    name = "one_hot_io_u"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        flags = (ignore_class, False, sparse_y_pred, axis)
        super().__init__(num_classes, target_class_ids, name, dtype, *flags)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return _without(super().get_config(), "sparse_y_true")


class OneHotMeanIoU(MeanIoU):
    """`MeanIoU` for one-hot rows of labels and, unless sparse_y_pred, rows of scores."""

    name = "one_hot_mean_io_u"

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return _without(super().get_config(), "sparse_y_true")


class BinaryIoU(ThresholdMetric):
    """`IoU` of two classes, where outputs of at least the threshold are of class 1.

    Args:
        target_class_ids: the classes to take the mean over.
        threshold: the smallest output of class 1.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> round(BinaryIoU(threshold=0.3)([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7]), 4)
        0.3333
    """

    name = "binary_io_u"
    takes = "numbers"

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        if not isinstance(threshold, int | float):
            raise ArgumentError(f"BinaryIoU needs a number as threshold, got {threshold!r}.")
        self.target_class_ids = [int(number) for number in target_class_ids]
        if not set(self.target_class_ids) <= {0, 1}:
            raise ArgumentError(f"BinaryIoU has the classes 0 and 1, got {target_class_ids!r}.")
        below = np.nextafter(np.float32(threshold), np.float32(-np.inf))  # >= is > what is below
        super().__init__([float(below)], name, dtype)
        self.threshold = threshold

    def value(self, state: State) -> float:
        """The mean over the target classes."""
        counts = state[:, 0, 0]
        matrix = np.array([[counts[TN], counts[FP]], [counts[FN], counts[TP]]])
        return mean_overlap(matrix, self.target_class_ids)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"target_class_ids": self.target_class_ids, "threshold": self.threshold}
        return {**super().get_config(), **own}


def _without(config: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != name}
