"""Metrics: what of a batch is right, and counts and sums that are added to a metric's state.

States are float64 on every device: counts are whole numbers up to 2^53, weighted sums run in a
fixed order. A sample_weight of None is 1 for each row. `accuracy` stands among the losses, which
count it in their own launch.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op


@op(totals="float64: 2", values="full: rows", sample_weight="full: rows")
def weighted_totals(totals: InOut, values: In, sample_weight: In | None) -> None:
    """totals += (sum_i sample_weight_i values_i, sum_i sample_weight_i)."""


@op(share="full: rows", x="rows columns", labels="full: rows columns")
def matches(share: Out, x: In, labels: In, *, threshold: float | None = None) -> None:
    """share = mean_j(x_j == labels_j).

    With a threshold x_j counts as 1 if it is above the threshold, else (also as NaN) as 0.
    """


@op(correct="full: rows", x="rows columns", labels="int32: rows | full: rows columns")
def top_k_accuracy(correct: Out, x: In, labels: In, *, k: int) -> None:
    """correct = 1 where fewer than k elements of the row exceed the one at the label, else 0.

    The label is a class number, or where the labels are largest (the first of equals). A NaN
    exceeds all numbers; a NaN at the label, or a label outside [0, columns), is not correct.
    """


@op(y="rows columns", x="rows columns")
def top_k_filter(y: Out, x: In, *, k: int, ties: bool = False) -> None:
    """y = x where x is among the k largest of its row, else -1e10.

    Of equals the first ones count as larger; with ``ties`` x stays wherever fewer than k elements
    exceed it. A NaN exceeds all numbers and never stays.
    """


@op(
    state="float64: 5 groups thresholds",
    x="rows columns",
    labels="int32: rows | full: rows columns",
    sample_weight="full: rows",
)
def threshold_counts(
    state: InOut, x: In, labels: In, sample_weight: In | None, *, column: int = -1
) -> None:
    """state = (thresholds, true positives, false positives, true negatives, false negatives).

    For each threshold (in any order, the same ones for each group) the elements with x > threshold
    are the positive ones; NaN is not. An element's label is positive if it is not 0, or if it
    stands in the column of its row's class number. One group counts all columns together, or only
    ``column`` if that is not negative; as many groups as columns count each column apart.
    """


@op(
    matrix="float64: classes classes",
    x="full: rows",
    labels="int32: rows | full: rows",
    sample_weight="full: rows",
)
def confusion_matrix(
    matrix: InOut, x: In, labels: In, sample_weight: In | None, *, ignore_class: int = -1
) -> None:
    """matrix[labels_i, x_i] += sample_weight_i, for class numbers, of which fractions are cut off.

    Rows whose label is ``ignore_class``, or where a number is no class, count nowhere.
    """


@op(y="full: rows", x="rows columns")
def argmax(y: Out, x: In) -> None:
    """y = the column of the largest element of each row, the first of equals; NaN is largest."""


@op(
    state="float64: 5 columns",
    x="rows columns",
    labels="full: rows columns",
    sample_weight="full: rows",
)
def moments(state: InOut, x: In, labels: In, sample_weight: In | None) -> None:
    """state += (sum w, sum w l, sum w l^2, sum w (l - x)^2, sum 1) over the rows of each column.

    w is the sample_weight, l the label.
    """
