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
    ones,
    row_blocks,
    row_starts,
)
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.spec import Array

LOWEST, HIGHEST = 1e-7, 1.0 - 1e-7
"""The bounds that probabilities are clipped to before a logarithm, as in Keras."""


@prepared
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
) -> Call:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels."""
    formula = _softmax_of_classes if labels.ndim == 1 else _softmax_of_probabilities
    written = (dx, loss, correct, totals, accuracy_totals)
    smooth = smoothing(label_smoothing, x.shape[1]) if label_smoothing else None
    weights = sample_weight
    return bind(for_each_block, formula, written, x, labels, weights, scale, smooth, ignore_class)


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
    mask: Array | None,
    *,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> None:
    """weights = sample_weight v / sum(sample_weight v), v = 1 for rows that count, else 0.

    by_count divides by sum(v) instead.
    """
    if labels is None or ignore_class is None:
        weights.fill(1.0)
    else:
        np.not_equal(labels, ignore_class, out=weights)
    if mask is not None:
        np.multiply(weights, mask, out=weights)
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
Formula = Callable[[Array | None, Array, Array | None, Array, Array, float], object]
"""function(dx, loss, correct, x, labels, scale) on arrays of one block, without sample weights; it
may be prepared."""


def smoothing(label_smoothing: float, classes: int) -> Smoothing:
    """The factor of the labels and what is added to them."""
    return 1.0 - label_smoothing, label_smoothing / classes


@prepared
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
) -> Call:
    """One loss over all rows, and its totals."""
    dx, loss, correct, totals, accuracy_totals = written
    rows = len(x)
    if smooth is not None and labels.ndim == 2:
        size = min(size, BLOCK // 2)  # the smoothed labels are one temporary more
    options = (formula, scale, smooth, ignore_class)
    arrays = (x, labels, sample_weight, dx, loss, correct)
    # Thousands of blocks are bound as they come: their views would take more memory than time.
    single = [_bind_block(*options, *arrays)] if rows and x.size <= size else None

    def run() -> None:
        calls = single or (_bind_block(*options, *a) for a in row_blocks(*arrays, size=size))
        total = right = 0.0
        for call in calls if rows else ():
            of_loss, of_correct = call()
            total += of_loss
            right += of_correct
        totals[0] += total * (scale * rows)
        totals[1] += rows
        if accuracy_totals is not None:
            accuracy_totals[0] += right
            accuracy_totals[1] += rows

    return run


def _bind_block(
    formula: Formula,
    scale: float,
    smooth: Smoothing | None,
    ignore_class: int | None,
    x: Array,
    labels: Array,
    weight: Array | None,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
) -> Callable[[], tuple[float, float]]:
    """The call of one block; it returns the sums of loss and correct."""
    one = ones(len(x), x)
    written = (dx, loss, correct)
    if labels.ndim == 1:
        compute = _bind_classes(formula, written, x, labels, scale)
    elif smooth is None:
        compute = bind(formula, *written, x, labels, scale)
    else:
        factor, shift = smooth
        compute = lambda: formula(*written, x, labels * factor + shift, scale)  # noqa: E731

    def run() -> tuple[float, float]:
        compute()
        if ignore_class is not None and labels.ndim == 1:
            ignored = np.equal(labels, ignore_class)
            loss[ignored] = 0.0
            if dx is not None:
                dx[ignored] = 0.0
        if weight is not None:
            np.multiply(loss, weight, out=loss)
            if dx is not None:
                np.multiply(dx, weight[:, None], out=dx)
        return float(np.dot(loss, one)), 0.0 if correct is None else float(np.dot(correct, one))

    return run


def _bind_classes(
    formula: Formula,
    written: tuple[Array | None, Array, Array | None],
    x: Array,
    labels: Array,
    scale: float,
) -> Call:
    """The call of a block whose labels are class numbers, some perhaps outside of the columns."""
    columns = x.shape[1]
    unsigned = labels.view(np.uint32)  # a negative label becomes a huge one
    compute = bind(formula, *written, x, labels, scale)

    def run() -> None:
        # The largest label is found at a third of the price of comparing each with the columns.
        if unsigned.item(unsigned.argmax()) < columns:
            compute()
        else:
            outside = np.greater_equal(unsigned, columns)
            formula(*written, x, np.where(outside, 0, labels), scale)
            _mark_outside(*written, outside)

    return run


def _mark_outside(dx: Array | None, loss: Array, correct: Array | None, outside: Array) -> None:
    """A row without a valid label has no loss and no gradient, and is not predicted right."""
    loss[outside] = np.nan
    if dx is not None:
        dx[outside] = np.nan
    if correct is not None:
        correct[outside] = 0.0


@prepared
def _softmax_of_classes(
    dx: Array | None, loss: Array, correct: Array | None, x: Array, labels: Array, scale: float
) -> Call:
    rows, columns = x.shape
    starts, one = row_starts(rows, columns), ones(columns, x)
    factor = np.full(rows, scale, x.dtype)  # a ufunc takes two vectors in half the time of one
    exps = np.empty_like(x) if dx is None else dx  # (rows, columns)
    flat_x, flat_exps = x.reshape(-1), exps.reshape(-1)
    at_label, at_largest = np.empty((2, rows), np.intp)  # places in the flat arrays
    largest, total, logit = np.empty((3, rows), x.dtype)
    largest_, total_ = largest[:, None], total[:, None]  # (rows, 1)

    def run() -> None:
        np.add(starts, labels, out=at_label)
        x.argmax(1, at_largest)
        np.add(at_largest, starts, out=at_largest)
        if correct is not None:
            correct[:] = at_largest == at_label
        flat_x.take(at_largest, None, largest, "clip")
        np.subtract(x, largest_, out=exps)
        flat_exps.take(at_label, None, logit, "clip")
        np.exp(exps, out=exps)
        np.dot(exps, one, total)
        np.log(total, out=loss)
        np.subtract(loss, logit, out=loss)
        if dx is not None:
            np.divide(factor, total, out=total)
            np.multiply(exps, total_, out=dx)
            flat_exps.take(at_label, None, logit, "clip")
            np.subtract(logit, factor, out=logit)
            flat_exps.put(at_label, logit)

    return run


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
