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
    for_each_block(formula, written, x, labels, sample_weight, scale, size=_BLOCK)


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


Terms = Callable[[Array, Array, float], tuple[Array, Array]]
"""function(x, y, parameter) -> (f(x, y), df/dx) on arrays of one block, as new arrays."""


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
    values, slope = terms(x, labels, parameter)
    np.dot(values, ones(columns, x), loss)
    np.divide(loss, divisor, out=loss)
    if dx is not None:
        np.multiply(slope, scale / divisor, out=dx)


def _squared(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    d = np.subtract(x, y)
    values = np.square(d)
    return values, np.add(d, d, out=d)


def _absolute(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    d = np.subtract(x, y)
    values = np.abs(d)
    return values, np.sign(d, out=d)


def _percentage(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    d = np.subtract(x, y)
    per_unit = 100.0 / np.maximum(np.abs(y), EPSILON)
    return np.abs(d) * per_unit, np.sign(d) * per_unit


def _squared_logarithmic(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    d = np.log1p(np.maximum(x, EPSILON)) - np.log1p(np.maximum(y, EPSILON))
    slope = (x > EPSILON) * d
    slope *= 2.0
    slope /= 1.0 + np.maximum(x, EPSILON)
    return np.square(d, out=d), slope


def _huber(x: Array, y: Array, delta: float) -> tuple[Array, Array]:
    d = np.subtract(x, y)
    size = np.abs(d)
    values = np.where(size <= delta, 0.5 * d * d, delta * (size - 0.5 * delta))
    return values, d.clip(-delta, delta, out=d)


def _log_cosh(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    d = np.subtract(x, y)
    values = np.abs(d)
    values += np.log1p(np.exp(-2.0 * values))
    values -= log(2.0)
    return values, np.tanh(d, out=d)


def _poisson(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    rate = x + EPSILON
    with np.errstate(invalid="ignore", divide="ignore"):  # a negative rate gives NaN
        values = x - y * np.log(rate)
        return values, 1.0 - y / rate


def _kl_divergence(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    p, q = y.clip(EPSILON, 1.0), x.clip(EPSILON, 1.0)
    values = np.divide(p, q)
    slope = np.multiply(values, x == q)  # nothing where x was clipped
    np.log(values, out=values)
    values *= p
    return values, np.negative(slope, out=slope)


def _hinge(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    sign = y - (y == ZERO)  # 0 counts as -1
    margin = 1.0 - x * sign
    sign *= margin > ZERO
    return np.maximum(margin, ZERO, out=margin), np.negative(sign, out=sign)


def _squared_hinge(x: Array, y: Array, _: float) -> tuple[Array, Array]:
    margin, slope = _hinge(x, y, _)
    slope *= 2.0
    slope *= margin
    return np.square(margin, out=margin), slope


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
