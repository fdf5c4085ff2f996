"""Op cases: metrics. Each reference says in words of NumPy what is counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.testing.op_checks import (
    SHAPES,
    Array,
    Case,
    Maker,
    Values,
    classes,
    given,
    integers,
    normal,
    uniform,
)


def weighted_totals(totals: Array, values: Array, sample_weight: Array | None = None) -> Values:
    """The weighted sum and the sum of weights."""
    weight = np.ones(len(values)) if sample_weight is None else sample_weight
    return {"totals": totals + np.array([weight @ values, weight.sum()])}


def matches(x: Array, labels: Array, threshold: float | None = None) -> Values:
    """The share of columns in which the answer is the label."""
    answers = x if threshold is None else np.greater(x, threshold).astype(float)
    return {"share": np.mean(answers == labels, axis=1)}


def top_k_accuracy(x: Array, labels: Array, k: int) -> Values:
    """Whether fewer than k elements exceed the one at the label."""
    numbers = labels if labels.ndim == 1 else labels.argmax(axis=1)
    correct = np.zeros(len(x))
    for row, number in enumerate(numbers):
        if 0 <= number < x.shape[1] and not np.isnan(x[row, number]):
            others = x[row]
            correct[row] = np.sum((others > others[number]) | np.isnan(others)) < k
    return {"correct": correct}


def top_k_filter(x: Array, k: int, ties: bool = False) -> Values:
    """The k largest of each row, else -1e10."""
    y = np.full(x.shape, -1e10)
    for row, values in enumerate(x):
        for j, value in enumerate(values):
            above = np.sum((values > value) | np.isnan(values))
            if not ties:
                above += np.sum(values[:j] == value)
            if above < k and not np.isnan(value):
                y[row, j] = value
    return {"y": y}


def threshold_counts(
    state: Array, x: Array, labels: Array, sample_weight: Array | None = None, column: int = -1
) -> Values:
    """What exceeds each threshold, with and without a positive label."""
    state = state.copy()
    weight = np.ones(len(x)) if sample_weight is None else sample_weight
    positive = labels != 0
    if labels.ndim == 1:
        positive = labels[:, None] == np.arange(x.shape[1])
    if column >= 0:
        x, positive = x[:, [column]], positive[:, [column]]
    for group in range(state.shape[1]):
        columns = slice(None) if state.shape[1] == 1 else slice(group, group + 1)
        for t, threshold in enumerate(state[0, group]):
            predicted, label = x[:, columns] > threshold, positive[:, columns]
            kinds = (predicted & label, predicted & ~label, ~predicted & ~label, ~predicted & label)
            for row, kind in enumerate(kinds, start=1):
                state[row, group, t] += weight @ kind.sum(axis=1)
    return {"state": state}


def confusion_matrix(
    matrix: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None = None,
    ignore_class: int = -1,
) -> Values:
    """The weight of each pair of label and prediction."""
    matrix = matrix.copy()
    for row, pair in enumerate(zip(labels, x, strict=True)):
        if all(-1 < number < len(matrix) for number in pair) and int(pair[0]) != ignore_class:
            weight = 1.0 if sample_weight is None else sample_weight[row]
            matrix[int(pair[0]), int(pair[1])] += weight
    return {"matrix": matrix}


def argmax(x: Array) -> Values:
    """The column of the largest."""
    return {"y": x.argmax(axis=1)}


def moments(state: Array, x: Array, labels: Array, sample_weight: Array | None = None) -> Values:
    """Sums of w, w l, w l^2, w (l - x)^2 and 1 of each column."""
    weight = np.ones(len(x)) if sample_weight is None else sample_weight
    ones = np.ones(x.shape)
    terms = (ones, labels, labels**2, (labels - x) ** 2)
    sums = np.array([*(weight @ term for term in terms), ones.sum(axis=0)])
    return {"state": state + sums}


# ---------------------------------------------------------------------------------- the rows

NAN = float("nan")


def tied(rows: int, columns: int) -> Maker:
    """Numbers of which many are equal, and equal to the thresholds 0.25, 0.5, ..."""

    def make(random: np.random.Generator) -> Array:
        return np.asarray(random.integers(0, 5, (rows, columns)) / 4.0)

    return Maker(f"tied{rows}x{columns}", make)


def binary(rows: int, columns: int) -> Maker:
    """Labels 0 and 1."""
    return integers(rows, columns, high=2, dtype="float64")


def _thresholds(*values: float, groups: int = 1) -> Maker:
    """A state with these thresholds and counts that are not 0."""
    state = np.arange(5.0 * groups * len(values)).reshape(5, groups, len(values))
    state[0] = values
    return given(state, label=f"{len(values)}thresholds_{groups}")


_SHAPES = (*SHAPES, (20005, 3))
_WITH_NAN = given([[0.5, NAN, 0.1], [NAN, NAN, NAN], [0.2, 0.2, 0.2]], label="nan")
_LABELS: tuple[Callable[[int, int], Maker], ...] = (classes, binary)
_MANY = np.linspace(0.0, 1.0, 101).tolist()
_BEGIN = given([3.0, 4.0], label="begin")


CASES = (
    Case(
        "weighted_totals",
        weighted_totals,
        tuple(
            {"totals": _BEGIN, "values": uniform(n), **weight}
            for n in (0, 1, 31, 1023, 70001)
            for weight in ({"sample_weight": uniform(n)}, {})
        ),
    ),
    Case(
        "matches",
        matches,
        (
            *({"x": tied(*shape), "labels": tied(*shape)} for shape in _SHAPES),
            *({"x": tied(*s), "labels": binary(*s), "threshold": 0.5} for s in _SHAPES),
            {"x": _WITH_NAN, "labels": binary(3, 3), "threshold": 0.15},
            {"x": _WITH_NAN, "labels": _WITH_NAN},
        ),
    ),
    Case(
        "top_k_accuracy",
        top_k_accuracy,
        (
            *(
                {"x": x(*shape), "labels": labels(*shape), "k": 3}
                for shape in _SHAPES
                for x in (normal, tied)
                for labels in (classes, uniform)
            ),
            {"x": _WITH_NAN, "labels": given([0, 1, 2], "int32"), "k": 2},
            {"x": _WITH_NAN, "labels": given([2, 1, 2], "int32"), "k": 2},
            {"x": normal(4, 3), "labels": given([-1, 3, 2**31 - 1, 0], "int32"), "k": 3},
        ),
    ),
    Case(
        "top_k_filter",
        top_k_filter,
        (
            *(
                {"x": x(*s), "k": 3, "ties": t}
                for s in SHAPES[:5]
                for x in (normal, tied)
                for t in (False, True)
            ),
            *({"x": _WITH_NAN, "k": 2, "ties": ties} for ties in (False, True)),
        ),
    ),
    Case(
        "threshold_counts",
        threshold_counts,
        (
            *(
                {"state": _thresholds(*values), "x": tied(*shape), "labels": labels(*shape)}
                for shape in _SHAPES
                for values in ((0.5,), (0.75, -np.inf, 0.25, np.inf))
                for labels in _LABELS
            ),
            *(
                {
                    "state": _thresholds(0.5, 0.1, groups=31),
                    "x": tied(33, 31),
                    "labels": labels(33, 31),
                    "sample_weight": uniform(33),
                }
                for labels in _LABELS
            ),
            *(
                {
                    "state": _thresholds(*_MANY),
                    "x": uniform(999, 7),
                    "labels": labels(999, 7),
                    "sample_weight": uniform(999),
                    "column": column,
                }
                for column in (-1, 0, 6)
                for labels in _LABELS
            ),
            {"state": _thresholds(-np.inf, 0.3), "x": _WITH_NAN, "labels": binary(3, 3)},
        ),
    ),
    Case(
        "confusion_matrix",
        confusion_matrix,
        (
            *(
                {
                    "matrix": given(np.ones((n, n)), label=f"{n}classes"),
                    "x": integers(rows, high=n + 1, low=-1, dtype="float64"),
                    "labels": integers(rows, high=n + 1, low=-1, dtype=dtype),
                    **more,
                }
                for rows, n in ((0, 2), (1, 1), (33, 2), (1023, 11), (20005, 3))
                for dtype in ("int32", "float64")
                for more in ({}, {"sample_weight": uniform(rows), "ignore_class": 1})
            ),
            {
                "matrix": given(np.zeros((3, 3)), label="fractions"),
                "x": given([-0.5, 1.9, NAN, 3.0, 2.5], label="x"),
                "labels": given([0.9, -0.1, 1.0, 1.0, 2.0], label="labels"),
            },
        ),
    ),
    Case(
        "argmax",
        argmax,
        (*({"x": x(*s)} for s in _SHAPES for x in (normal, tied)), {"x": _WITH_NAN}),
    ),
    Case(
        "moments",
        moments,
        tuple(
            {
                "state": given(np.ones((5, columns)), label="ones"),
                "x": normal(rows, columns),
                "labels": normal(rows, columns),
                **weight,
            }
            for rows, columns in _SHAPES
            for weight in ({}, {"sample_weight": uniform(rows)})
        ),
    ),
)
