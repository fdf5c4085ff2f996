"""Losses of a row that are no cross-entropies; see `gpunet.backend.cpu.losses` for formulas."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import log

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK, ZERO, ones
from gpunet.backend.cpu.losses import for_each_block
from gpunet.backend.spec import Array

EPSILON = 1e-7
"""Keras' lower bound of what is divided by or taken the logarithm of."""
_BLOCK = BLOCK // 2  # a formula has up to four temporaries


def elementwise_loss(
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    kind: str,
    scale: float,
    parameter: float = 0.0,
) -> None:
    """loss = mean_j f(x_j, labels_j) of a row; the sum for kl_divergence."""
    terms = _TERMS[kind]
    formula = partial(_row_of_terms, terms, parameter, kind == "kl_divergence")
    written = (dx, loss, None, totals, None)
    size = BLOCK if kind in _LEAN else _BLOCK
    for_each_block(formula, written, x, labels, sample_weight, scale, size=size)


def categorical_hinge(
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
) -> None:
    """loss = max(max_j((1 - y_j) x_j) - sum_j y_j x_j + 1, 0), y = labels."""
    written = (dx, loss, None, totals, None)
    for_each_block(_categorical_hinge, written, x, labels, sample_weight, scale, size=_BLOCK)


def cosine_similarity(
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
) -> None:
    """loss = -sum_j x_j y_j / (max(|x|, 1e-7) max(|y|, 1e-7)), y = labels."""
    written = (dx, loss, None, totals, None)
    for_each_block(_cosine_similarity, written, x, labels, sample_weight, scale, size=_BLOCK)


Terms = Callable[[Array, Array, float, float, Array | None], Array]
"""function(x, y, parameter, factor, out) -> f(x, y) on arrays of one block; out = factor df/dx.

``out`` may be the memory of x, which is therefore not read once it is written; or None.
"""


def _row_of_terms(
    terms: Terms,
    parameter: float,
    is_sum: bool,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    columns = x.shape[1]
    divisor = 1 if is_sum else columns
    values = terms(x, labels, parameter, scale / divisor, dx)
    np.dot(values, ones(columns, values), loss)
    np.divide(loss, divisor, out=loss)


def _squared(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    d = np.subtract(x, y, out=out)
    values = np.square(d)
    np.multiply(d, 2.0 * factor, out=d)
    return values


def _absolute(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    d = np.subtract(x, y, out=out)
    values = np.abs(d)
    np.sign(d, out=d)
    np.multiply(d, factor, out=d)
    return values


def _percentage(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    d = np.subtract(x, y)
    per_unit = 100.0 / np.maximum(np.abs(y), EPSILON)
    np.multiply(np.sign(d), per_unit * factor, out=out)
    np.abs(d, out=d)
    return np.multiply(d, per_unit, out=d)


def _squared_logarithmic(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    above = np.maximum(x, EPSILON)
    d = np.log1p(above) - np.log1p(np.maximum(y, EPSILON))
    slope = (2.0 * factor) * d * (x > EPSILON)
    np.divide(slope, 1.0 + above, out=out)
    return np.square(d, out=d)


def _huber(x: Array, y: Array, delta: float, factor: float, out: Array | None) -> Array:
    d = np.subtract(x, y)
    size = np.abs(d)
    np.multiply(d.clip(-delta, delta), factor, out=out)
    return np.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))


def _log_cosh(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    d = np.subtract(x, y, out=out)
    values = np.abs(d)
    np.tanh(d, out=d)
    np.multiply(d, factor, out=d)
    values += np.log1p(np.exp(-2.0 * values))
    values -= log(2.0)
    return values


def _poisson(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    rate = x + EPSILON
    with np.errstate(invalid="ignore", divide="ignore"):  # a negative rate gives NaN
        values: Array = x - y * np.log(rate)
        np.multiply(1.0 - y / rate, factor, out=out)
    return values


def _kl_divergence(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    p, q = y.clip(EPSILON, 1.0), x.clip(EPSILON, 1.0)
    ratio = np.divide(p, q)
    np.multiply(ratio * (x == q), -factor, out=out)  # nothing where x was clipped
    np.log(ratio, out=ratio)
    return np.multiply(ratio, p, out=ratio)


def _hinge(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    side = y - (y == ZERO)  # 0 counts as -1
    margin = 1.0 - x * side
    np.multiply(side * (margin > ZERO), -factor, out=out)
    return np.maximum(margin, ZERO, out=margin)


def _squared_hinge(x: Array, y: Array, _: float, factor: float, out: Array | None) -> Array:
    side = y - (y == ZERO)
    margin = 1.0 - x * side
    np.maximum(margin, ZERO, out=margin)
    np.multiply(side * margin, -2.0 * factor, out=out)
    return np.square(margin, out=margin)


_TERMS: dict[str, Terms] = {
    "squared": _squared,
    "absolute": _absolute,
    "percentage": _percentage,
    "squared_logarithmic": _squared_logarithmic,
    "huber": _huber,
    "log_cosh": _log_cosh,
    "poisson": _poisson,
    "kl_divergence": _kl_divergence,
    "hinge": _hinge,
    "squared_hinge": _squared_hinge,
}
_LEAN = ("squared", "absolute")  # formulas with a single temporary


def _categorical_hinge(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    others = (1.0 - labels) * x
    at_best = np.arange(0, x.size, x.shape[1]) + others.argmax(axis=1)
    np.subtract(others.reshape(-1)[at_best], np.einsum("ij,ij->i", labels, x), out=loss)
    np.add(loss, 1.0, out=loss)
    np.maximum(loss, ZERO, out=loss)
    if dx is not None:
        slope = scale * (loss > ZERO)
        np.multiply(labels, -slope[:, None], out=dx)
        dx.reshape(-1)[at_best] += slope * (1.0 - labels.reshape(-1)[at_best])


def _cosine_similarity(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    norm = np.sqrt(np.einsum("ij,ij->i", x, x))
    per_x = 1.0 / np.maximum(norm, EPSILON)
    per_y = 1.0 / np.maximum(np.sqrt(np.einsum("ij,ij->i", labels, labels)), EPSILON)
    np.multiply(np.einsum("ij,ij->i", x, labels), -per_x, out=loss)
    np.multiply(loss, per_y, out=loss)
    if dx is not None:
        along_x = -scale * loss * per_x * per_x * (norm >= EPSILON)
        np.multiply(x, along_x[:, None], out=dx)
        np.subtract(dx, labels * (scale * per_x * per_y)[:, None], out=dx)
