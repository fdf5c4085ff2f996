"""Focal cross-entropies: rows that are predicted well count less (Lin et al., 2017).

As `gpunet.backend.contract.losses`, with the terms of each class multiplied by
alpha (1 - p)^gamma; with gamma = 0 and alpha = 1 they are the plain cross-entropies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, InOut, Out, Shapes, op
from gpunet.errors import ShapeError

_LOSS = {
    "dx": "rows columns",
    "loss": "full: rows",
    "correct": "full: rows",
    "totals": "float64: 2",
    "accuracy_totals": "float64: 2",
    "x": "rows columns",
    "labels": "full: rows columns",
    "sample_weight": "full: rows",
    "in_place": "dx=x",
}


def _one_alpha_a_class(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    alpha, classes = attributes["alpha"], shapes["x"][1]
    if isinstance(alpha, tuple) and len(alpha) != classes:
        raise ShapeError(
            f"op {name} takes one number for alpha, or one for each of the {classes} classes, "
            f"got {len(alpha)}."
        )


@op(_one_alpha_a_class, **_LOSS)
def softmax_focal_cross_entropy(
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
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """loss = -sum_j alpha labels_j (1 - p_j)^gamma log(p_j), p = softmax(x).

    dx_i = h_i - p_i sum_j h_j, h_j = alpha labels_j (1 - p_j)^gamma (gamma p_j log(p_j) /
    (1 - p_j) - 1). Hits and label smoothing as in `softmax_cross_entropy`. ``alpha`` is one number,
    or one for each class.
    """


@op(_one_alpha_a_class, **_LOSS)
def focal_cross_entropy(
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
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """The same of probabilities: p = x / sum(x) clipped to [1e-7, 1 - 1e-7], as Keras does.

    The gradient passes through the division; where p is clipped it is 0.
    """


@op(**_LOSS)
def sigmoid_focal_cross_entropy(
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
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """loss = mean_j(w_j u_j^gamma bce_j), from logits: p = sigmoid(x).

    bce = -(labels log(p) + (1 - labels) log(1 - p)); u = labels (1 - p) + (1 - labels) p, how far
    p is off; w = labels alpha + (1 - labels) (1 - alpha) with apply_class_balancing, else 1. Hits
    and label smoothing as in `sigmoid_cross_entropy`.
    """


@op(**_LOSS)
def binary_focal_cross_entropy(
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
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """The same of probabilities: p = x, which bce clips to [1e-7, 1 - 1e-7] and u does not.

    Where p is clipped bce has no gradient. Hits as in `binary_cross_entropy`.
    """
