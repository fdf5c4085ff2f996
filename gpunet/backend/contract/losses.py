"""Cross-entropies: values, gradients, totals and accuracy in one launch.

What all losses have in common: dx = scale * sample_weight * d(loss of the row)/dx;
loss = sample_weight * loss of the row; totals += (rows * scale * sum of loss, rows), that is the
batch's loss weighted by its rows. Where there is an accuracy: correct = 1 for each row that is
predicted right, else 0; accuracy_totals += (sum of correct, rows). Sums run in a fixed order.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op

_LOSS = {
    "dx": "rows columns",
    "loss": "full: rows",
    "correct": "full: rows",
    "totals": "float64: 2",
    "accuracy_totals": "float64: 2",
    "x": "rows columns",
    "sample_weight": "full: rows",
    "in_place": "dx=x",
}


@op(labels="int32: rows | full: rows columns", **_LOSS)
def softmax_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> None:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels.

    labels are class numbers (rows,) or probabilities (rows, columns). A row is right if x is
    largest (the first of equals) at its label, or where its labels are largest. A class number
    outside [0, columns) gives a loss and a dx of NaN; a row of the class ignore_class has a loss
    and a dx of 0, whatever x is. Label smoothing takes labels (1 - s) + s / columns for
    probabilities; class numbers are not smoothed.
    """


@op(labels="int32: rows | full: rows columns", **_LOSS)
def cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> None:
    """loss = -sum_j labels_j log(p_j), p = x / sum(x) clipped to [1e-7, 1 - 1e-7], as Keras does.

    The gradient passes through the division; where p is clipped it is 0. Otherwise as
    `softmax_cross_entropy`, with probabilities instead of logits.
    """


@op(labels="full: rows columns", **_LOSS)
def sigmoid_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
    label_smoothing: float = 0.0,
) -> None:
    """loss = mean_j(max(x_j, 0) - x_j labels_j + log(1 + exp(-|x_j|))), from logits.

    dx_j = (sigmoid(x_j) - labels_j) / columns. With one column a row is right if (x > 0) equals
    (label > 0.5); with more, if x and the labels are largest at the same place. Label smoothing
    takes labels (1 - s) + s / 2.
    """


@op(labels="full: rows columns", **_LOSS)
def binary_cross_entropy(
    dx: Out | None,
    loss: Out,
    correct: Out | None,
    totals: InOut,
    accuracy_totals: InOut | None,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
    label_smoothing: float = 0.0,
) -> None:
    """loss = -mean_j(labels_j log(p_j) + (1 - labels_j) log(1 - p_j)), p = x clipped.

    p is clipped to [1e-7, 1 - 1e-7], as Keras does, and where it is the gradient is 0.
    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x and the
    labels are largest at the same place. Label smoothing as in `sigmoid_cross_entropy`.
    """


@op(
    correct="full: rows",
    accuracy_totals="float64: 2",
    x="rows columns",
    labels="int32: rows | full: rows columns",
)
def accuracy(correct: Out, accuracy_totals: InOut | None, x: In, labels: In) -> None:
    """The accuracy of probabilities x alone, for models whose loss does not count it.

    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x is largest
    (the first of equals) at its label, or where its labels are largest.
    """


@op(weights="full: rows", sample_weight="full: rows", labels="int32: rows", mask="uint8: rows")
def normalized_weights(
    weights: Out,
    sample_weight: In | None,
    labels: In | None,
    mask: In | None,
    *,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> None:
    """weights = sample_weight v / sum(sample_weight v), v = 1 for rows that count, else 0.

    What a loss whose divisor changes from batch to batch takes as sample_weight with scale = 1.
    by_count divides by sum(v) instead. Where the divisor is 0 the weights are 0, as in Keras.
    Without sample_weight every row weighs 1. Rows whose label is ignore_class do not count, nor
    those whose mask is 0.
    """
