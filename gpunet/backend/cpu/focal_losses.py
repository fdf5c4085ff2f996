"""Focal cross-entropies; `gpunet.backend.cpu.losses` says what a formula gets."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.activations import row_max
from gpunet.backend.cpu.blocks import BLOCK, HALF, ONE, ZERO, ones
from gpunet.backend.cpu.losses import (
    HIGHEST,
    LOWEST,
    compare,
    for_each_block,
    row_means,
    smoothing,
)
from gpunet.backend.spec import Array

_BLOCK = BLOCK // 8  # a formula has up to ten temporaries


def softmax_focal_cross_entropy(
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """loss = -sum_j alpha labels_j (1 - p_j)^gamma log(p_j), p = softmax(x)."""
    formula = partial(_focal_of_logits, _weights(alpha, x), gamma)
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, x.shape[1]) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, size=_BLOCK)


def focal_cross_entropy(
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """The same of probabilities: p = x / sum(x) clipped, as Keras does."""
    formula = partial(_focal_of_probabilities, _weights(alpha, x), gamma)
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, x.shape[1]) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, size=_BLOCK)


def sigmoid_focal_cross_entropy(
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """loss = mean_j(w_j u_j^gamma bce_j), from logits: p = sigmoid(x)."""
    formula = partial(_binary_of_logits, alpha if apply_class_balancing else None, gamma)
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, 2) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, size=_BLOCK)


def binary_focal_cross_entropy(
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """The same of probabilities p = x, which bce clips."""
    formula = partial(_binary_of_probabilities, alpha if apply_class_balancing else None, gamma)
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, 2) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, size=_BLOCK)


def _weights(alpha: float | tuple[float, ...], x: Array) -> Array | float:
    """One number for all classes, or (columns,)."""
    return np.array(alpha, x.dtype) if isinstance(alpha, tuple) else alpha


def _focal_of_logits(
    alpha: Array | float,
    gamma: float,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    if correct is not None:
        correct[:] = x.argmax(axis=1) == labels.argmax(axis=1)
    one = ones(x.shape[1], x)
    log_p = x - row_max(x)[:, None]
    log_p -= np.log(np.dot(np.exp(log_p), one))[:, None]
    factor = alpha * labels * (-np.expm1(log_p)) ** gamma
    np.negative(np.dot(factor * log_p, one), out=loss)
    if dx is not None:
        p = np.exp(log_p)
        h = _p_times_slope(factor, p, -np.expm1(log_p), log_p, gamma)
        p *= np.dot(h, one)[:, None]
        np.subtract(h, p, out=dx)
        np.multiply(dx, scale, out=dx)


def _focal_of_probabilities(
    alpha: Array | float,
    gamma: float,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    if correct is not None:
        correct[:] = x.argmax(axis=1) == labels.argmax(axis=1)
    one = ones(x.shape[1], x)
    total = np.dot(x, one)[:, None]
    share = x / total
    p = share.clip(LOWEST, HIGHEST)
    log_p = np.log(p)
    factor = alpha * labels * (1.0 - p) ** gamma
    np.negative(np.dot(factor * log_p, one), out=loss)
    if dx is not None:
        h = _p_times_slope(factor, p, 1.0 - p, log_p, gamma)
        h *= p == share  # nothing where p was clipped
        np.subtract(h / p, np.dot(h, one)[:, None], out=dx)
        np.multiply(dx, scale / total, out=dx)


def _p_times_slope(factor: Array, p: Array, q: Array, log_p: Array, gamma: float) -> Array:
    """h = p d(-factor(p) log(p))/dp for factor = alpha labels q^gamma, q = 1 - p.

    log(p) / q ends at -1 where q ends at 0.
    """
    ratio = np.full_like(p, -1.0)
    np.divide(log_p, q, out=ratio, where=q != 0.0)
    h: Array = factor * (gamma * p * ratio - 1.0)
    return h


def _binary_of_logits(
    alpha: float | None,
    gamma: float,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    if correct is not None:
        compare(correct, x, labels, ZERO)
    p, q = 0.5 + 0.5 * np.tanh(0.5 * x), 0.5 - 0.5 * np.tanh(0.5 * x)
    bce = np.maximum(x, 0.0) - x * labels + np.log1p(np.exp(-np.abs(x)))
    u = labels * q + (1.0 - labels) * p
    factor = _balanced(u**gamma, labels, alpha)
    row_means(loss, factor * bce)
    if dx is not None:
        slope = _over(bce, u) * (gamma * (1.0 - 2.0 * labels) * p * q) + (p - labels)
        np.multiply(factor, slope, out=dx)
        np.multiply(dx, scale / x.shape[1], out=dx)


def _binary_of_probabilities(
    alpha: float | None,
    gamma: float,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    if correct is not None:
        compare(correct, x, labels, HALF)
    p = x.clip(LOWEST, HIGHEST)
    bce = -(labels * np.log(p) + (1.0 - labels) * np.log(ONE - p))
    u = labels * (1.0 - x) + (1.0 - labels) * x
    factor = _balanced(u**gamma, labels, alpha)
    row_means(loss, factor * bce)
    if dx is not None:
        through_bce = (p - labels) / (p * (1.0 - p)) * (x == p)
        slope = _over(bce, u) * (gamma * (1.0 - 2.0 * labels)) + through_bce
        np.multiply(factor, slope, out=dx)
        np.multiply(dx, scale / x.shape[1], out=dx)


def _balanced(factor: Array, labels: Array, alpha: float | None) -> Array:
    """The factor, weighted alpha for class 1 and 1 - alpha for class 0."""
    if alpha is not None:
        factor *= labels * alpha + (1.0 - labels) * (1.0 - alpha)
    return factor


def _over(bce: Array, u: Array) -> Array:
    """bce / u, and 0 where u is: u^gamma / u times bce ends there at 0."""
    return np.divide(bce, u, out=np.zeros_like(u), where=u != 0.0)
