"""Op cases: cross-entropies. Each reference is the textbook formula in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
    one_hot: Array = np.equal(labels[:, None], np.arange(columns)).astype(float)
    return one_hot


def of_rows(
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
        "totals": totals + len(loss) * np.array([scale * loss.sum(), 1.0]),
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
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> Values:
    """-sum_j labels_j log(softmax(x)_j)."""
    wanted = _probabilities(labels, x.shape[1])
    if labels.ndim == 2:
        wanted = smoothed(wanted, label_smoothing, x.shape[1])
    p = softmax_of(x)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    gradient = p * wanted.sum(axis=1, keepdims=True) - wanted
    loss, gradient = _without_class(loss, gradient, labels, ignore_class)
    correct = right_class(x, labels)
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> Values:
    """-sum_j labels_j log(p_j) with p = x / sum(x), clipped."""
    wanted = _probabilities(labels, x.shape[1])
    if labels.ndim == 2:
        wanted = smoothed(wanted, label_smoothing, x.shape[1])
    total = x.sum(axis=1, keepdims=True)
    q = x / total
    p = np.clip(q, 1e-7, 1.0 - 1e-7)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    dq = np.where(p == q, -wanted / p, 0.0)
    gradient = (dq - (dq * q).sum(axis=1, keepdims=True)) / total
    loss, gradient = _without_class(loss, gradient, labels, ignore_class)
    correct = right_class(x, labels)
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def sigmoid_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> Values:
    """Binary cross-entropy of sigmoid(x)."""
    correct = right(x, labels, 0.0)
    labels = smoothed(labels, label_smoothing, 2)
    p = act(x, "sigmoid")
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    gradient = (p - labels) / x.shape[1]
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def binary_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
    label_smoothing: float = 0.0,
) -> Values:
    """Binary cross-entropy of probabilities, clipped."""
    correct = right(x, labels, 0.5)
    labels = smoothed(labels, label_smoothing, 2)
    p = np.clip(x, 1e-7, 1.0 - 1e-7)
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    slope = np.where(p == x, -labels / p + (1 - labels) / (1 - p), 0.0)
    gradient = slope / x.shape[1]
    return of_rows(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def accuracy(x: Array, labels: Array, accuracy_totals: Array | None = None) -> Values:
    """Which rows are predicted right."""
    correct = right(x, labels, 0.5)
    if accuracy_totals is None:
        return {"correct": correct}
    counted = np.array([correct.sum(), len(x)])
    return {"correct": correct, "accuracy_totals": accuracy_totals + counted}


def smoothed(labels: Array, label_smoothing: float, classes: int) -> Array:
    """Labels a little nearer to equal shares."""
    return np.asarray(labels * (1.0 - label_smoothing) + label_smoothing / classes)


def _without_class(
    loss: Array, gradient: Array, labels: Array, ignore_class: int | None
) -> tuple[Array, Array]:
    """Nothing for rows of the class that is ignored."""
    if ignore_class is None or labels.ndim == 2:
        return loss, gradient
    ignored = labels == ignore_class
    return np.where(ignored, 0.0, loss), np.where(ignored[:, None], 0.0, gradient)


def normalized_weights(
    weights: Array | None = None,
    sample_weight: Array | None = None,
    labels: Array | None = None,
    mask: Array | None = None,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> Values:
    """Weights that add up to 1 (by_count: whose valid rows are averaged)."""
    size = len(next(a for a in (sample_weight, labels, mask) if a is not None))
    weight = np.ones(size) if sample_weight is None else sample_weight
    valid = np.ones(size) if labels is None else (labels != ignore_class).astype(float)
    valid = valid if mask is None else valid * mask
    divisor = valid.sum() if by_count else (weight * valid).sum()
    return {"weights": weight * valid / divisor if divisor else np.zeros(size)}


def right_class(x: Array, labels: Array) -> Array:
    """1 where x and the labels are largest at the same place."""
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    right: Array = x.argmax(axis=1) == classes
    return right.astype(float)


def right(x: Array, labels: Array, threshold: float) -> Array:
    """1 for each row that is predicted right; one column is held against the threshold."""
    if x.shape[1] > 1:
        return right_class(x, labels)
    return np.equal(x.ravel() > threshold, labels.ravel() > 0.5).astype(float)


# ---------------------------------------------------------------------------------- the rows


def loss_calls(
    x: Callable[[int, int], Maker],
    *labels: Callable[[int, int], Maker],
    totals: tuple[str, ...] = ("totals", "accuracy_totals"),
    **attributes: Any,
) -> tuple[Values, ...]:
    """Calls of a loss on inputs and labels that are functions of (rows, columns)."""
    begin = {name: given([3.0, 4.0], label=name) for name in totals}
    calls: list[Values] = []
    for make in labels:
        for shape in SHAPES:
            # Totals are in rows * scale: with many rows they shall err no more than one row.
            scale = 0.5 if shape[0] < 100 else 2.0**-11
            call = {"x": x(*shape), "labels": make(*shape), "scale": scale}
            calls.append({**call, **begin, **attributes})
        small = {"x": x(7, 10), "labels": make(7, 10), "scale": 2.0, **begin, **attributes}
        calls.append({**small, "sample_weight": uniform(7)})
        calls.append({**small, "dx": None})
        if len(totals) > 1:
            calls.append({**small, "correct": None, "accuracy_totals": None})
    return tuple(calls)


def some_calls(
    x: Callable[[int, int], Maker], labels: Callable[[int, int], Maker], **attributes: Any
) -> tuple[Values, ...]:
    """A few calls more: another value of a keyword argument on two shapes, one of them packed."""
    begin = {name: given([3.0, 4.0], label=name) for name in ("totals", "accuracy_totals")}
    return tuple(
        {"x": x(*shape), "labels": labels(*shape), "scale": 2.0, **begin, **attributes}
        for shape in ((9, 7), (5, 1028))
    )


_LABELS_OUTSIDE: Values = {
    "x": uniform(7, 10),
    "labels": given([2, -1, 10, 0, 2**31 - 1, -(2**31), 9], "int32", "outside"),
    "scale": 1.0,
    "dx": None,  # whose value is then unspecified
    "totals": given([3.0, 4.0], label="totals"),
    "accuracy_totals": given([3.0, 4.0], label="totals"),
}
# Rows of an ignored class are as nothing, whatever the label or x (a NaN here) is.
_NAN_ROW = np.array([[0.2, 0.3, 0.5], [np.nan, 0.1, 0.1], [0.6, 0.3, 0.1]])
_IGNORED: tuple[Values, ...] = tuple(
    {
        "x": given(_NAN_ROW, label="nan"),
        "labels": given([2, ignored, 1], "int32", "ignored"),
        "sample_weight": given([2.0, 3.0, 0.5], label="weights"),
        "scale": 2.0,
        "ignore_class": ignored,
        "totals": given([3.0, 4.0], label="totals"),
        "correct": None,
        "accuracy_totals": None,
    }
    for ignored in (-1, 0)
)


def own_gradient(op: str, *arrays: str) -> tuple[Gradient, ...]:
    """A loss computes its own gradient; dy is then ``scale`` for each row."""
    same = {name: name for name in ("x", "labels", "sample_weight", "totals", *arrays)}
    return (Gradient(op, "loss", {"dx": "x"}, same),)


CASES = (
    Case(
        "softmax_cross_entropy",
        softmax_cross_entropy,
        (
            *loss_calls(normal, classes, shares),
            *some_calls(normal, shares, label_smoothing=0.1),
            *some_calls(normal, classes, ignore_class=3),
            *_IGNORED,
            _LABELS_OUTSIDE,
        ),
        own_gradient("softmax_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "cross_entropy",
        cross_entropy,
        (
            *loss_calls(uniform, classes, shares),
            *some_calls(uniform, shares, label_smoothing=0.1),
            *some_calls(uniform, classes, ignore_class=3),
            *_IGNORED,
            _LABELS_OUTSIDE,
        ),
        own_gradient("cross_entropy", "accuracy_totals"),
        float32=3e-5,
    ),
    Case(
        "sigmoid_cross_entropy",
        sigmoid_cross_entropy,
        (*loss_calls(normal, uniform), *some_calls(normal, uniform, label_smoothing=0.2)),
        own_gradient("sigmoid_cross_entropy", "accuracy_totals"),
    ),
    Case(
        "binary_cross_entropy",
        binary_cross_entropy,
        (*loss_calls(uniform, uniform), *some_calls(uniform, uniform, label_smoothing=0.2)),
        own_gradient("binary_cross_entropy", "accuracy_totals"),
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
    Case(
        "normalized_weights",
        normalized_weights,
        (
            {"sample_weight": uniform(1)},
            {"sample_weight": uniform(4000)},
            {"sample_weight": uniform(33), "labels": classes(33, 5), "ignore_class": 2},
            {
                "sample_weight": uniform(33),
                "labels": classes(33, 5),
                "ignore_class": 2,
                "by_count": True,
            },
            {"labels": classes(1500, 3), "ignore_class": 0, "by_count": True},
            {"labels": given([4, 4], "int32", "ignored"), "ignore_class": 4, "by_count": True},
            {"sample_weight": given([0.0, 0.0], label="zeros")},
            {"mask": given([1, 0, 1], "uint8", "mask"), "by_count": True},
            {
                "sample_weight": uniform(3),
                "labels": given([4, 2, 1], "int32", "labels"),
                "mask": given([1, 0, 1], "uint8", "mask"),
                "ignore_class": 4,
            },
            {"mask": given([0, 0], "uint8", "nothing"), "by_count": True},
        ),
    ),
)
