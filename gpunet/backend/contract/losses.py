"""Losses: values, gradients, totals and accuracy in one launch.

dx = scale * sample_weight * d(loss of the row)/dx; loss = sample_weight * loss of the row;
totals += (sum of loss, rows). Where there is an accuracy: correct = 1 for each row that is
predicted right, else 0; accuracy_totals += (sum of correct, rows). Sums run in a fixed order.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op

_LOSS = {
    "dx": "rows columns",
    "loss": "rows",
    "correct": "rows",
    "totals": "float64: 2",
    "accuracy_totals": "float64: 2",
    "x": "rows columns",
    "sample_weight": "rows",
    "in_place": "dx=x",
}


@op(labels="int32: rows | rows columns", **_LOSS)
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
) -> None:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels.

    labels are class numbers (rows,) or probabilities (rows, columns). A row is right if x is
    largest (the first of equals) at its label, or where its labels are largest. A class number
    outside [0, columns) gives a loss and a dx of NaN.
    """


@op(labels="int32: rows | rows columns", **_LOSS)
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
) -> None:
    """loss = -sum_j labels_j log(p_j), p = x / sum(x) clipped to [1e-7, 1 - 1e-7], as Keras does.

    The gradient passes through the division; where p is clipped it is 0. Otherwise as
    `softmax_cross_entropy`, with probabilities instead of logits.
    """


@op(labels="rows columns", **_LOSS)
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
) -> None:
    """loss = mean_j(max(x_j, 0) - x_j labels_j + log(1 + exp(-|x_j|))), from logits.

    dx_j = (sigmoid(x_j) - labels_j) / columns. With one column a row is right if (x > 0) equals
    (label > 0.5); with more, if x and the labels are largest at the same place.
    """


@op(labels="rows columns", **_LOSS)
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
) -> None:
    """loss = -mean_j(labels_j log(p_j) + (1 - labels_j) log(1 - p_j)), p = x clipped.

    p is clipped to [1e-7, 1 - 1e-7], as Keras does, and where it is the gradient is 0.
    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x and the
    labels are largest at the same place.
    """


@op(
    dx="rows columns",
    loss="rows",
    totals="float64: 2",
    x="rows columns",
    labels="rows columns",
    sample_weight="rows",
    in_place="dx=x",
)
def mean_squared_error(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = mean_j (x_j - labels_j)^2, dx_j = 2 (x_j - labels_j) / columns."""


@op(
    correct="rows",
    accuracy_totals="float64: 2",
    x="rows columns",
    labels="int32: rows | rows columns",
)
def accuracy(correct: Out, accuracy_totals: InOut | None, x: In, labels: In) -> None:
    """The accuracy of probabilities x alone, for models whose loss does not count it.

    With one column a row is right if (x > 0.5) equals (label > 0.5); with more, if x is largest
    (the first of equals) at its label, or where its labels are largest.
    """
