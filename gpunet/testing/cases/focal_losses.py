"""Op cases: focal cross-entropies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.testing.cases.activations import act, softmax_of
from gpunet.testing.cases.losses import (
    loss_calls,
    of_rows,
    own_gradient,
    right,
    right_class,
    smoothed,
    some_calls,
)
from gpunet.testing.op_checks import Array, Case, Maker, Values, given, normal, shares, uniform


def softmax_focal_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> Values:
    """-sum_j alpha labels_j (1 - p_j)^gamma log(p_j) with p = softmax(x)."""
    wanted = smoothed(labels, label_smoothing, x.shape[1])
    p = softmax_of(x)
    loss, dp = _focal(p, p, wanted, alpha, gamma)
    gradient = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    correct = right_class(x, labels)
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def focal_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> Values:
    """The same with p = x / sum(x), clipped."""
    wanted = smoothed(labels, label_smoothing, x.shape[1])
    total = x.sum(axis=1, keepdims=True)
    share = x / total
    loss, dp = _focal(np.clip(share, 1e-7, 1.0 - 1e-7), share, wanted, alpha, gamma)
    gradient = (dp - (dp * share).sum(axis=1, keepdims=True)) / total
    correct = right_class(x, labels)
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def sigmoid_focal_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    alpha: float,
    gamma: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> Values:
    """mean_j(w u^gamma bce) of p = sigmoid(x)."""
    correct = right(x, labels, 0.0)
    wanted = smoothed(labels, label_smoothing, 2)
    p = act(x, "sigmoid")
    loss, dp = _binary_focal(p, p, wanted, alpha if apply_class_balancing else None, gamma)
    gradient = dp * p * (1 - p) / x.shape[1]
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def binary_focal_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    alpha: float,
    gamma: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> Values:
    """The same of probabilities, clipped in bce."""
    correct = right(x, labels, 0.5)
    wanted = smoothed(labels, label_smoothing, 2)
    p = np.clip(x, 1e-7, 1.0 - 1e-7)
    loss, dp = _binary_focal(p, x, wanted, alpha if apply_class_balancing else None, gamma)
    gradient = dp / x.shape[1]
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def _focal(
    p: Array, unclipped: Array, labels: Array, alpha: float | tuple[float, ...], gamma: float
) -> tuple[Array, Array]:
    """The loss of each row, and its derivative with respect to unclipped p."""
    weighted = np.array(alpha) * labels
    loss = -(weighted * (1 - p) ** gamma * np.log(p)).sum(axis=1)
    dp = weighted * (gamma * (1 - p) ** (gamma - 1) * np.log(p) - (1 - p) ** gamma / p)
    return loss, np.where(p == unclipped, dp, 0.0)


def _binary_focal(
    p: Array, unclipped: Array, labels: Array, alpha: float | None, gamma: float
) -> tuple[Array, Array]:
    """The loss of each row, and columns times its derivative with respect to unclipped p."""
    bce = -(labels * np.log(p) + (1 - labels) * np.log(1 - p))
    dbce = np.where(p == unclipped, -labels / p + (1 - labels) / (1 - p), 0.0)
    u = labels * (1 - unclipped) + (1 - labels) * unclipped
    balance = 1.0 if alpha is None else labels * alpha + (1 - labels) * (1 - alpha)
    dp = gamma * u ** (gamma - 1) * (1 - 2 * labels) * bce + u**gamma * dbce
    return (balance * u**gamma * bce).mean(axis=1), balance * dp


_FOCAL: Values = {"alpha": 0.25, "gamma": 2.0}
_OTHER: Values = {"alpha": 0.75, "gamma": 0.5, "label_smoothing": 0.1}
_PLAIN: Values = {"alpha": 1.0, "gamma": 0.0}
_BALANCED: Values = {**_OTHER, "apply_class_balancing": True}

_BEGIN: Values = {name: given([3.0, 4.0], label=name) for name in ("totals", "accuracy_totals")}


def _each_class(x: Callable[[int, int], Maker]) -> tuple[Values, ...]:
    """Calls with an alpha for each class, on rows of elements and of packs."""
    return tuple(
        {
            "x": x(*shape),
            "labels": shares(*shape),
            "scale": 2.0,
            **_BEGIN,
            **_OTHER,
            "alpha": tuple(0.25 * j for j in range(shape[1])),
        }
        for shape in ((9, 7), (5, 16))
    )


CASES = (
    Case(
        "softmax_focal_cross_entropy",
        softmax_focal_cross_entropy,
        (
            *loss_calls(normal, shares, **_FOCAL),
            *some_calls(normal, shares, **_OTHER),
            *some_calls(normal, shares, **_PLAIN),
            *_each_class(normal),
        ),
        own_gradient("softmax_focal_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "focal_cross_entropy",
        focal_cross_entropy,
        (
            *loss_calls(uniform, shares, **_FOCAL),
            *some_calls(uniform, shares, **_OTHER),
            *some_calls(uniform, shares, **_PLAIN),
            *_each_class(uniform),
        ),
        own_gradient("focal_cross_entropy", "accuracy_totals"),
        float32=3e-5,
    ),
    Case(
        "sigmoid_focal_cross_entropy",
        sigmoid_focal_cross_entropy,
        (
            *loss_calls(normal, uniform, **_FOCAL),
            *some_calls(normal, uniform, **_BALANCED),
            *some_calls(normal, uniform, **_PLAIN),
        ),
        own_gradient("sigmoid_focal_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "binary_focal_cross_entropy",
        binary_focal_cross_entropy,
        (
            *loss_calls(uniform, uniform, **_FOCAL),
            *some_calls(uniform, uniform, **_BALANCED),
            *some_calls(uniform, uniform, **_PLAIN),
        ),
        own_gradient("binary_focal_cross_entropy", "accuracy_totals"),
    ),
)
