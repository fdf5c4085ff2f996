"""Cross-entropies with their gradients and accuracies, a block of whole rows at a time.

What all losses share (sample weights, totals, label smoothing, labels outside the classes) stands
once, in `for_each_block`; the functions below it are the formulas, on arrays of one block. There
``dx`` may be the same memory as ``x`` or None, ``loss`` is (rows,), ``correct`` (rows,) or None.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.backend.cpu.activations import row_max
from gpunet.backend.cpu.blocks import (
    BLOCK,
    HALF,
    INFINITY,
    ONE,
    ZERO,
    constant,
    ones,
    row_blocks,
    row_starts,
)
from gpunet.backend.spec import Array

LOWEST, HIGHEST = 1e-7, 1.0 - 1e-7
"""The bounds that probabilities are clipped to before a logarithm, as in Keras."""


def softmax_cross_entropy(
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
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> None:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels."""
    formula = _softmax_of_classes if labels.ndim == 1 else _softmax_of_probabilities
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, x.shape[1]) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, ignore_class)


def cross_entropy(
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
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> None:
    """loss = -sum_j labels_j log(p_j), p = x / sum(x) clipped, as Keras does."""
    formula = _cross_entropy_of_classes if labels.ndim == 1 else _cross_entropy_of_probabilities
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, x.shape[1]) if label_smoothing else None
    for_each_block(formula, written, x, labels, sample_weight, scale, smooth, ignore_class)


def sigmoid_cross_entropy(
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
    label_smoothing: float = 0.0,
) -> None:
    """loss = mean_j(max(x_j, 0) - x_j labels_j + log(1 + exp(-|x_j|))), from logits."""
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, 2) if label_smoothing else None
    for_each_block(_sigmoid_cross_entropy, written, x, labels, sample_weight, scale, smooth)


def binary_cross_entropy(
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
    label_smoothing: float = 0.0,
) -> None:
    """loss = -mean_j(labels_j log(p_j) + (1 - labels_j) log(1 - p_j)), p = x clipped."""
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, 2) if label_smoothing else None
    for_each_block(_binary_cross_entropy, written, x, labels, sample_weight, scale, smooth)


def accuracy(correct: Array, accuracy_totals: Array | None, x: Array, labels: Array) -> None:
    """The accuracy of probabilities x alone, for models whose loss does not count it."""
    for correct_, x_, labels_ in row_blocks(correct, x, labels):
        compare(correct_, x_, labels_, HALF)
        if accuracy_totals is not None:
            accuracy_totals += (np.dot(correct_, ones(len(x_), x_)), len(x_))


def normalized_weights(
    weights: Array,
    sample_weight: Array | None,
    labels: Array | None,
    *,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> None:
    """weights = sample_weight v / sum(sample_weight v), v = 0 for labels of ignore_class, else 1.

    by_count divides by sum(v) instead.
    """
    if labels is None or ignore_class is None:
        weights.fill(1.0)
    else:
        np.not_equal(labels, ignore_class, out=weights)
    count = weights.sum(dtype=np.float64)
    if sample_weight is not None:
        np.multiply(weights, sample_weight, out=weights)
    divisor = float(count if by_count else weights.sum(dtype=np.float64))
    if divisor == 0.0:
        weights.fill(0.0)
    else:
        np.divide(weights, divisor, out=weights)


Written = tuple[Array | None, Array, Array | None, Array, Array | None]
"""dx, loss, correct, totals, accuracy_totals: what a loss writes."""
Smoothing = tuple[float, float]
"""The factor of the labels, and what is added to them."""
Formula = Callable[[Array | None, Array, Array | None, Array, Array, float], None]
"""function(dx, loss, correct, x, labels, scale) on arrays of one block, without sample weights."""


def smoothing(label_smoothing: float, classes: int) -> Smoothing:
    """The factor of the labels and what is added to them."""
    return 1.0 - label_smoothing, label_smoothing / classes


def for_each_block(
    formula: Formula,
    written: Written,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    scale: float,
    smooth: Smoothing | None = None,
    ignore_class: int | None = None,
    size: int = BLOCK,
) -> None:
    """One loss over all rows, and its totals."""
    dx, loss, correct, totals, accuracy_totals = written
    rows = len(x)
    if not rows:
        return
    if smooth is not None and labels.ndim == 2:
        size = min(size, BLOCK // 2)  # the smoothed labels are one temporary more
    total = 0.0
    for x_, labels_, weight, dx_, loss_, correct_ in row_blocks(
        x, labels, sample_weight, dx, loss, correct, size=size
    ):
        if labels_.ndim == 1:
            _rows_of_classes(formula, dx_, loss_, correct_, x_, labels_, scale)
        else:
            wanted = labels_ if smooth is None else labels_ * smooth[0] + smooth[1]
            formula(dx_, loss_, correct_, x_, wanted, scale)
        if ignore_class is not None and labels_.ndim == 1:
            ignored = np.equal(labels_, ignore_class)
            loss_[ignored] = 0.0
            if dx_ is not None:
                dx_[ignored] = 0.0
        if weight is not None:
            np.multiply(loss_, weight, out=loss_)
            if dx_ is not None:
                np.multiply(dx_, weight[:, None], out=dx_)
        total += float(np.dot(loss_, ones(len(x_), x_)))
        if correct_ is not None and accuracy_totals is not None:
            accuracy_totals[0] += np.dot(correct_, ones(len(x_), x_))
    totals[0] += total * (scale * rows)
    totals[1] += rows
    if accuracy_totals is not None:
        accuracy_totals[1] += rows


def _rows_of_classes(
    formula: Formula,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    x: Array,
    labels: Array,
    scale: float,
) -> None:
    """A block whose labels are class numbers, some of them perhaps outside of the columns."""
    outside = _labels_outside(labels, x.shape[1])
    if outside is None:
        formula(dx, loss, correct, x, labels, scale)
    else:
        formula(dx, loss, correct, x, np.where(outside, 0, labels), scale)
        _mark_outside(dx, loss, correct, outside)


def _labels_outside(labels: Array, columns: int) -> Array | None:
    """Which class numbers are outside [0, columns); None, at a third of the price, if none is."""
    unsigned = labels.view(np.uint32)  # a negative label becomes a huge one
    if unsigned.item(unsigned.argmax()) < columns:
        return None
    return np.greater_equal(unsigned, columns)


def _mark_outside(dx: Array | None, loss: Array, correct: Array | None, outside: Array) -> None:
    """A row without a valid label has no loss and no gradient, and is not predicted right."""
    loss[outside] = np.nan
    if dx is not None:
        dx[outside] = np.nan
    if correct is not None:
        correct[outside] = 0.0


def _softmax_of_classes(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    columns = x.shape[1]
    starts = row_starts(len(x), columns)
    at_label = starts + labels
    largest = x.argmax(axis=1)
    largest += starts
    if correct is not None:
        correct[:] = largest == at_label
    exps = np.subtract(x, x.reshape(-1)[largest][:, None], out=dx)
    flat = exps.reshape(-1)
    logit = flat[at_label]
    np.exp(exps, out=exps)
    total = np.dot(exps, ones(columns, x))
    np.log(total, out=loss)
    np.subtract(loss, logit, out=loss)
    if dx is not None:
        factor = constant(scale, x.dtype)
        np.divide(factor, total, out=total)
        np.multiply(dx, total[:, None], out=dx)
        flat[at_label] = flat[at_label] - factor


def _softmax_of_probabilities(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    if correct is not None:
        correct[:] = x.argmax(axis=1) == labels.argmax(axis=1)
    one = ones(x.shape[1], x)
    exps = np.subtract(x, row_max(x)[:, None], out=dx)
    scratch = np.multiply(labels, exps)
    logit = np.dot(scratch, one)
    np.exp(exps, out=exps)
    total = np.dot(exps, one)
    mass = np.dot(labels, one)
    np.log(total, out=loss)
    np.multiply(loss, mass, out=loss)
    np.subtract(loss, logit, out=loss)
    if dx is not None:
        np.divide(mass, total, out=total)
        np.multiply(dx, total[:, None], out=dx)
        np.subtract(dx, labels, out=dx)
        np.multiply(dx, scale, out=dx)


def _cross_entropy_of_classes(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    at_label = np.arange(0, x.size, x.shape[1]) + labels
    if correct is not None:
        correct[:] = x.argmax(axis=1) == labels
    total = np.dot(x, ones(x.shape[1], x))
    p = x.reshape(-1)[at_label] / total
    clipped = p.clip(LOWEST, HIGHEST)
    np.negative(np.log(clipped), out=loss)
    if dx is not None:
        # d loss / dx_j = 1 / total, less 1 / x_label at the label; nothing where p was clipped.
        slope = np.equal(p, clipped) * scale / total
        dx[...] = slope[:, None]
        dx.reshape(-1)[at_label] -= slope / clipped


def _cross_entropy_of_probabilities(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    if correct is not None:
        correct[:] = x.argmax(axis=1) == labels.argmax(axis=1)
    one = ones(x.shape[1], x)
    total = np.dot(x, one)[:, None]
    p = np.divide(x, total, out=dx)
    free = np.greater_equal(p, LOWEST) & np.less_equal(p, HIGHEST)
    p.clip(LOWEST, HIGHEST, out=p)
    scratch = np.log(p)
    np.multiply(scratch, labels, out=scratch)
    np.negative(np.dot(scratch, one), out=loss)
    if dx is not None:
        # With d = labels where p is free, else 0: d loss / dx_j = (sum(d) - d_j / p_j) / total.
        np.multiply(labels, free, out=scratch)
        mass = np.dot(scratch, one)
        np.divide(scratch, p, out=scratch)
        np.subtract(mass[:, None], scratch, out=dx)
        np.multiply(dx, scale / total, out=dx)


def _sigmoid_cross_entropy(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    columns = x.shape[1]
    if correct is not None:
        compare(correct, x, labels, ZERO)
    terms = np.abs(x)
    np.negative(terms, out=terms)
    np.exp(terms, out=terms)
    np.log1p(terms, out=terms)
    other = x.clip(ZERO, INFINITY)
    np.add(terms, other, out=terms)
    np.multiply(x, labels, out=other)
    np.subtract(terms, other, out=terms)
    row_means(loss, terms)
    if dx is not None:
        np.multiply(x, HALF, out=dx)
        np.tanh(dx, out=dx)  # sigmoid(x) = tanh(x / 2) / 2 + 1 / 2
        np.multiply(dx, HALF, out=dx)
        np.add(dx, HALF, out=dx)
        np.subtract(dx, labels, out=dx)
        np.multiply(dx, scale / columns, out=dx)


def _binary_cross_entropy(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> None:
    if correct is not None:
        compare(correct, x, labels, HALF)
    p = x.clip(LOWEST, HIGHEST)
    scratch = np.subtract(ONE, p)
    # labels log(p) + (1 - labels) log(1 - p) = labels (log(p) - log(1 - p)) + log(1 - p)
    np.log(p, out=p)
    np.log(scratch, out=scratch)
    np.subtract(p, scratch, out=p)
    np.multiply(p, labels, out=p)
    np.add(p, scratch, out=p)
    row_means(loss, p)
    np.negative(loss, out=loss)
    if dx is not None:
        x.clip(LOWEST, HIGHEST, out=p)
        free = np.equal(x, p)
        np.subtract(ONE, p, out=scratch)
        np.multiply(scratch, p, out=scratch)
        np.subtract(p, labels, out=dx)
        np.divide(dx, scratch, out=dx)
        np.multiply(dx, scale / x.shape[1], out=dx)
        np.multiply(dx, free, out=dx)


def row_means(loss: Array, terms: Array) -> None:
    """loss = the mean of each row of terms."""
    columns = terms.shape[1]
    np.dot(terms, ones(columns, terms), loss)
    np.divide(loss, columns, out=loss)


def compare(correct: Array, x: Array, labels: Array, threshold: Array) -> None:
    """correct = 1 where x predicts the label: by a threshold if there is one column."""
    if x.shape[1] == 1:
        correct[:] = (x.reshape(-1) > threshold) == (labels.reshape(-1) > HALF)
    else:
        classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
        correct[:] = x.argmax(axis=1) == classes
