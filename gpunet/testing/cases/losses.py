"""Op cases: losses. Each reference is the textbook formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.testing.cases.activations import act, softmax_of
from gpunet.testing.op_checks import (
    SHAPES,
    Array,
    Case,
    Gradient,
    Maker,
    Values,
    classes,
    given,
    normal,
    shares,
    uniform,
)


def _probabilities(labels: Array, columns: int) -> Array:
    """Labels as probabilities (rows, columns)."""
    if labels.ndim == 2:
        return labels
    return np.equal(labels[:, None], np.arange(columns)).astype(float)


def _loss(
    row_loss: Array,
    row_gradient: Array,
    correct: Array | None,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None,
    sample_weight: Array | None,
) -> Values:
    """What all losses do with the loss and gradient of each row."""
    weight = np.ones(len(row_loss)) if sample_weight is None else sample_weight
    loss = weight * row_loss
    values = {
        "dx": scale * weight[:, None] * row_gradient,
        "loss": loss,
        "totals": totals + np.array([loss.sum(), len(loss)]),
    }
    if correct is not None:
        values["correct"] = correct
    if correct is not None and accuracy_totals is not None:
        values["accuracy_totals"] = accuracy_totals + np.array([correct.sum(), len(correct)])
    return values


def softmax_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """-sum_j labels_j log(softmax(x)_j)."""
    wanted = _probabilities(labels, x.shape[1])
    p = softmax_of(x)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    gradient = p * wanted.sum(axis=1, keepdims=True) - wanted
    correct = _right_class(x, labels)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """-sum_j labels_j log(p_j) with p = x / sum(x), clipped."""
    wanted = _probabilities(labels, x.shape[1])
    total = x.sum(axis=1, keepdims=True)
    q = x / total
    p = np.clip(q, 1e-7, 1.0 - 1e-7)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    dq = np.where(p == q, -wanted / p, 0.0)
    gradient = (dq - (dq * q).sum(axis=1, keepdims=True)) / total
    correct = _right_class(x, labels)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def sigmoid_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """Binary cross-entropy of sigmoid(x)."""
    p = act(x, "sigmoid")
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    gradient = (p - labels) / x.shape[1]
    correct = _right(x, labels, 0.0)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def binary_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """Binary cross-entropy of probabilities, clipped."""
    p = np.clip(x, 1e-7, 1.0 - 1e-7)
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    slope = np.where(p == x, -labels / p + (1 - labels) / (1 - p), 0.0)
    correct = _right(x, labels, 0.5)
    gradient = slope / x.shape[1]
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def mean_squared_error(
    x: Array, labels: Array, scale: float, totals: Array, sample_weight: Array | None = None
) -> Values:
    """The mean of squared differences."""
    loss = ((x - labels) ** 2).mean(axis=1)
    gradient = 2 * (x - labels) / x.shape[1]
    return _loss(loss, gradient, None, scale, totals, None, sample_weight)


def accuracy(x: Array, labels: Array, accuracy_totals: Array | None = None) -> Values:
    """Which rows are predicted right."""
    correct = _right(x, labels, 0.5)
    if accuracy_totals is None:
        return {"correct": correct}
    counted = np.array([correct.sum(), len(x)])
    return {"correct": correct, "accuracy_totals": accuracy_totals + counted}


def _right_class(x: Array, labels: Array) -> Array:
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    right: Array = x.argmax(axis=1) == classes
    return right.astype(float)


def _right(x: Array, labels: Array, threshold: float) -> Array:
    if x.shape[1] > 1:
        return _right_class(x, labels)
    return np.equal(x.ravel() > threshold, labels.ravel() > 0.5).astype(float)


# ---------------------------------------------------------------------------------- the rows


def _losses(
    x: Callable[[int, int], Maker],
    *labels: Callable[[int, int], Maker],
    totals: tuple[str, ...] = ("totals", "accuracy_totals"),
) -> tuple[Values, ...]:
    """Calls of a loss on inputs and labels that are functions of (rows, columns)."""
    begin = {name: given([3.0, 4.0], label=name) for name in totals}
    calls: list[Values] = []
    for make in labels:
        for shape in SHAPES:
            calls.append({"x": x(*shape), "labels": make(*shape), "scale": 0.5, **begin})
        small = {"x": x(7, 10), "labels": make(7, 10), "scale": 2.0, **begin}
        calls.append({**small, "sample_weight": uniform(7)})
        calls.append({**small, "dx": None})
        if len(totals) > 1:
            calls.append({**small, "correct": None, "accuracy_totals": None})
    return tuple(calls)


_LABELS_OUTSIDE: Values = {
    "x": uniform(7, 10),
    "labels": given([2, -1, 10, 0, 2**31 - 1, -(2**31), 9], "int32", "outside"),
    "scale": 1.0,
    "dx": None,  # whose value is then unspecified
    "totals": given([3.0, 4.0], label="totals"),
    "accuracy_totals": given([3.0, 4.0], label="totals"),
}


def _own_gradient(op: str, *arrays: str) -> tuple[Gradient, ...]:
    """A loss computes its own gradient; dy is then ``scale`` for each row."""
    same = {name: name for name in ("x", "labels", "sample_weight", "totals", *arrays)}
    return (Gradient(op, "loss", {"dx": "x"}, same),)


CASES = (
    Case(
        "softmax_cross_entropy",
        softmax_cross_entropy,
        (*_losses(normal, classes, shares), _LABELS_OUTSIDE),
        _own_gradient("softmax_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "cross_entropy",
        cross_entropy,
        (*_losses(uniform, classes, shares), _LABELS_OUTSIDE),
        _own_gradient("cross_entropy", "accuracy_totals"),
        float32=3e-5,
    ),
    Case(
        "sigmoid_cross_entropy",
        sigmoid_cross_entropy,
        _losses(normal, uniform),
        _own_gradient("sigmoid_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "binary_cross_entropy",
        binary_cross_entropy,
        _losses(uniform, uniform),
        _own_gradient("binary_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "mean_squared_error",
        mean_squared_error,
        _losses(normal, normal, totals=("totals",)),
        _own_gradient("mean_squared_error"),
    ),
    Case(
        "accuracy",
        accuracy,
        (
            *(
                {
                    "x": uniform(*shape),
                    "labels": make(*shape),
                    "accuracy_totals": given([3.0, 4.0], label="totals"),
                }
                for make in (classes, uniform)
                for shape in SHAPES
            ),
            {"x": uniform(33, 7), "labels": classes(33, 7), "accuracy_totals": None},
        ),
    ),
)
