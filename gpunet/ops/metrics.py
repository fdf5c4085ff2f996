"""Plain functions: metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend.dispatch import as_array, run_op
from gpunet.backend.spec import Array


def weighted_totals(values: Any, sample_weight: Any = None) -> Array:
    """(sum of sample_weight values, sum of sample_weight) of vectors; without weights they are 1.

    >>> weighted_totals([1.0, 2.0], [1.0, 3.0])
    array([7., 4.])
    """
    arrays = {"totals": [0.0, 0.0], "values": values, "sample_weight": sample_weight}
    return run_op("weighted_totals", arrays)["totals"]


def matches(x: Any, labels: Any, threshold: float | None = None) -> Array:
    """The share of each row's columns where x (or x > threshold, as 0 or 1) equals the label.

    >>> matches([[0.2, 0.9], [0.7, 0.8]], [[0.0, 1.0], [0.0, 1.0]], threshold=0.5)
    array([1. , 0.5], dtype=float32)
    """
    return run_op("matches", {"x": x, "labels": labels}, threshold=threshold)["share"]


def top_k_accuracy(x: Any, labels: Any, k: int) -> Array:
    """1 for each row in which the label's element is among the k largest (ties count), else 0.

    >>> top_k_accuracy([[0.1, 0.6, 0.3], [0.1, 0.6, 0.3]], labels=[2, 0], k=2)
    array([1., 0.], dtype=float32)
    """
    return run_op("top_k_accuracy", {"x": x, "labels": labels}, k=k)["correct"]


def top_k_filter(x: Any, k: int, ties: bool = False) -> Array:
    """x with all but the k largest elements of each row replaced by -1e10.

    >>> top_k_filter([[1.0, 3.0, 2.0]], k=2)
    array([[-1.e+10,  3.e+00,  2.e+00]], dtype=float32)
    """
    return run_op("top_k_filter", {"x": x}, k=k, ties=ties)["y"]


def threshold_counts(
    x: Any,
    labels: Any,
    thresholds: Sequence[float],
    sample_weight: Any = None,
    column: int = -1,
    by_column: bool = False,
) -> Array:
    """True positives, false positives, true negatives and false negatives of x > threshold.

    Args:
        x: scores (rows, columns).
        labels: class numbers (rows,), or (rows, columns) where not 0 is positive.
        thresholds: numbers in any order.
        sample_weight: (rows,) weights of the rows, or None.
        column: the one column to count, or -1 for all together.
        by_column: whether to count each column apart.

    Returns:
        (4, 1 or columns, thresholds) in float64.

    >>> threshold_counts([[0.2], [0.6], [0.9]], [[0.0], [0.0], [1.0]], [0.5])[:, 0, 0]
    array([1., 1., 1., 0.])
    """
    groups = as_array(x).shape[-1] if by_column else 1
    state = np.zeros((5, groups, len(thresholds)))
    state[0] = thresholds
    arrays = {"state": state.tolist(), "x": x, "labels": labels, "sample_weight": sample_weight}
    return run_op("threshold_counts", arrays, column=column)["state"][1:]


def confusion_matrix(
    x: Any, labels: Any, classes: int, sample_weight: Any = None, ignore_class: int = -1
) -> Array:
    """matrix[label, prediction]: how often (or with what weight) each pair of class numbers occurs.

    >>> confusion_matrix([0.0, 1.0, 1.0], labels=[0, 0, 1], classes=2)
    array([[1., 1.],
           [0., 1.]])
    """
    matrix = np.zeros((classes, classes)).tolist()
    arrays = {"matrix": matrix, "x": x, "labels": labels, "sample_weight": sample_weight}
    return run_op("confusion_matrix", arrays, ignore_class=ignore_class)["matrix"]


def argmax(x: Any) -> Array:
    """The column of the largest element of each row, as numbers of x' dtype.

    >>> argmax([[0.1, 0.7, 0.2], [0.5, 0.5, 0.0]])
    array([1., 0.], dtype=float32)
    """
    return run_op("argmax", {"x": x})["y"]


def moments(x: Any, labels: Any, sample_weight: Any = None) -> Array:
    """Sums of w, w label, w label^2, w (label - x)^2 and 1 over each column: (5, columns).

    >>> moments([[1.0], [2.0]], [[1.0], [4.0]])[:, 0]
    array([ 2.,  5., 17.,  4.,  2.])
    """
    state = np.zeros((5, as_array(x).shape[-1])).tolist()
    arrays = {"state": state, "x": x, "labels": labels, "sample_weight": sample_weight}
    return run_op("moments", arrays)["state"]
