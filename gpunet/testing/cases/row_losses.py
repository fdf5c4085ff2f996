"""Op cases: losses of a row that are no cross-entropies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.testing.cases.losses import loss_calls, of_rows, own_gradient
from gpunet.testing.op_checks import Array, Case, Maker, Values, given, normal, shares, uniform


def elementwise_loss(
    x: Array,
    labels: Array,
    kind: str,
    scale: float,
    totals: Array,
    sample_weight: Array | None = None,
    parameter: float = 0.0,
) -> Values:
    """The mean of f(x_j, labels_j) along a row; the sum for kl_divergence."""
    terms, slopes = _FORMULAS[kind](x, labels, parameter)
    divisor = 1 if kind == "kl_divergence" else x.shape[1]
    loss, gradient = terms.sum(axis=1) / divisor, slopes / divisor
    return of_rows(loss, gradient, None, scale, totals, None, sample_weight)


def categorical_hinge(
    x: Array, labels: Array, scale: float, totals: Array, sample_weight: Array | None = None
) -> Values:
    """max(largest of (1 - y) x - sum(y x) + 1, 0)."""
    others = (1 - labels) * x
    best = np.eye(x.shape[1])[others.argmax(axis=1)]
    margin = others.max(axis=1) - (labels * x).sum(axis=1) + 1
    gradient = np.where(margin[:, None] > 0, best * (1 - labels) - labels, 0.0)
    return of_rows(np.maximum(margin, 0), gradient, None, scale, totals, None, sample_weight)


def cosine_similarity(
    x: Array, labels: Array, scale: float, totals: Array, sample_weight: Array | None = None
) -> Values:
    """Minus the cosine of the angle between x and y."""
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    a = x / np.maximum(norm, 1e-7)
    b = labels / np.maximum(np.linalg.norm(labels, axis=1, keepdims=True), 1e-7)
    cosine = (a * b).sum(axis=1, keepdims=True)
    gradient = -(b - np.where(norm >= 1e-7, a * cosine, 0.0)) / np.maximum(norm, 1e-7)
    return of_rows(-cosine[:, 0], gradient, None, scale, totals, None, sample_weight)


Formula = Callable[[Array, Array, float], tuple[Array, Array]]


def _percentage(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    base = np.maximum(np.abs(y), 1e-7)
    return 100 * np.abs((x - y) / base), 100 * np.sign(x - y) / base


def _squared_logarithmic(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    difference = np.log(np.maximum(x, 1e-7) + 1) - np.log(np.maximum(y, 1e-7) + 1)
    return difference**2, np.where(x > 1e-7, 2 * difference / (x + 1), 0.0)


def _huber(x: Array, y: Array, delta: float) -> tuple[Array, Array]:
    d = x - y
    near = np.abs(d) <= delta
    terms = np.where(near, 0.5 * d**2, delta * np.abs(d) - 0.5 * delta**2)
    return terms, np.where(near, d, delta * np.sign(d))


def _kl_divergence(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    p, q = np.clip(y, 1e-7, 1), np.clip(x, 1e-7, 1)
    return p * np.log(p / q), np.where(q == x, -p / q, 0.0)


def _hinge(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    side = np.where(y == 0, -1.0, y)
    margin = np.maximum(1 - x * side, 0)
    return margin, np.where(margin > 0, -side, 0.0)


def _squared_hinge(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    margin, slope = _hinge(x, y, _)
    return margin**2, 2 * margin * slope


_FORMULAS: dict[str, Formula] = {
    "squared": lambda x, y, _: ((x - y) ** 2, 2 * (x - y)),
    "absolute": lambda x, y, _: (np.abs(x - y), np.sign(x - y)),
    "percentage": _percentage,
    "squared_logarithmic": _squared_logarithmic,
    "huber": _huber,
    "log_cosh": lambda x, y, _: (np.log(np.cosh(x - y)), np.tanh(x - y)),
    "poisson": lambda x, y, _: (x - y * np.log(x + 1e-7), 1 - y / (x + 1e-7)),
    "kl_divergence": _kl_divergence,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
}


def _bits(rows: int, columns: int) -> Maker:
    return Maker(f"b{rows}x{columns}", lambda r: r.integers(0, 2, (rows, columns)).astype(float))


def _signs(rows: int, columns: int) -> Maker:
    return Maker(f"s{rows}x{columns}", lambda r: 2.0 * r.integers(0, 2, (rows, columns)) - 1)


def _calls(x: Any, labels: Any, kind: str, **attributes: Any) -> tuple[Values, ...]:
    return loss_calls(x, labels, totals=("totals",), kind=kind, **attributes)


def _few(x: Any, labels: Any, kind: str, **attributes: Any) -> tuple[Values, ...]:
    """Fewer shapes for the kinds that differ from others in their formula alone."""
    some = ((33, 31), (5, 1028), (1023, 1))
    totals = given([3.0, 4.0], label="totals")
    return tuple(
        {"x": x(*s), "labels": labels(*s), "scale": 0.5, "totals": totals, "kind": kind}
        | attributes
        for s in some
    )


# Where formulas are clipped: at and outside of the ends of what they are made for.
_EDGE = np.array([[0.0, 1e-9, 1.0, 1.5, 0.25]])
_EDGES: tuple[Values, ...] = tuple(
    {
        "x": given(_EDGE, label="edge"),
        "labels": given(_EDGE[:, ::-1], label="edge"),
        "kind": kind,
        "scale": 1.0,
        "dx": None,
        "totals": given([3.0, 4.0], label="totals"),
    }
    for kind in ("squared_logarithmic", "poisson", "kl_divergence", "hinge")
)
_ZERO_ROWS: Values = {
    "x": given([[0.0, 0.0], [3.0, 4.0]], label="zero"),
    "labels": given([[1.0, 1.0], [0.0, 0.0]], label="zero"),
    "scale": 1.0,
    "dx": None,
    "totals": given([3.0, 4.0], label="totals"),
}

CASES = (
    Case(
        "elementwise_loss",
        elementwise_loss,
        (
            *_calls(normal, normal, "squared"),
            *_few(normal, normal, "absolute"),
            *_few(normal, uniform, "percentage"),
            *_few(uniform, uniform, "squared_logarithmic"),
            *_few(normal, normal, "huber", parameter=0.7),
            *_few(normal, normal, "log_cosh"),
            *_few(uniform, uniform, "poisson"),
            *_calls(uniform, shares, "kl_divergence"),
            *_few(normal, _bits, "hinge"),
            *_few(normal, _signs, "hinge"),
            *_few(normal, _bits, "squared_hinge"),
            *_EDGES,
        ),
        own_gradient("elementwise_loss"),
        float32=2e-5,
    ),
    Case(
        "categorical_hinge",
        categorical_hinge,
        (
            *loss_calls(normal, _bits, totals=("totals",)),
            *loss_calls(normal, shares, totals=("totals",)),
        ),
        own_gradient("categorical_hinge"),
        float32=3e-5,
    ),
    Case(
        "cosine_similarity",
        cosine_similarity,
        (*loss_calls(normal, normal, totals=("totals",)), _ZERO_ROWS),
        own_gradient("cosine_similarity"),
    ),
)
