"""Metrics, a block of whole rows at a time; counts by np.bincount, sums in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.spec import Array

LOWEST = -1e10
"""What `top_k_filter` leaves of elements that are not among the largest, as in Keras."""


def weighted_totals(totals: Array, values: Array, sample_weight: Array | None) -> None:
    """totals += (sum_i sample_weight_i values_i, sum_i sample_weight_i)."""
    for values_, weight in _blocks(values, sample_weight):
        if weight is None:
            totals += (values_.sum(dtype=np.float64), len(values_))
        else:
            products = np.multiply(values_, weight, dtype=np.float64)
            totals += (products.sum(), weight.sum(dtype=np.float64))


def matches(share: Array, x: Array, labels: Array, *, threshold: float | None = None) -> None:
    """share = mean_j(x_j == labels_j)."""
    for x_, labels_, share_ in _blocks(x, labels, share):
        answers = x_ if threshold is None else np.greater(x_, x.dtype.type(threshold))
        np.mean(np.equal(answers, labels_), axis=1, dtype=share.dtype, out=share_)


def top_k_accuracy(correct: Array, x: Array, labels: Array, *, k: int) -> None:
    """correct = 1 where fewer than k elements of the row exceed the one at the label, else 0."""
    for x_, labels_, correct_ in _blocks(x, labels, correct):
        classes = labels_ if labels_.ndim == 1 else labels_.argmax(axis=1)
        inside = (classes >= 0) & (classes < x.shape[1])
        at_label = np.take_along_axis(x_, np.where(inside, classes, 0)[:, None], axis=1)
        not_above = np.less_equal(x_, at_label)  # a NaN is above everything
        above = x.shape[1] - not_above.sum(axis=1)
        correct_[:] = inside & (above < k) & ~np.isnan(at_label[:, 0])


def top_k_filter(y: Array, x: Array, *, k: int, ties: bool = False) -> None:
    """y = x where x is among the k largest of its row, else -1e10."""
    k = min(k, x.shape[1])
    for x_, y_ in _blocks(x, y):
        if ties:
            smallest = np.partition(x_, -k, axis=1)[:, -k, None]  # NaN, at the end, is largest
            y_[...] = np.where(x_ >= smallest, x_, LOWEST)
        else:
            keys = np.where(np.isnan(x_), -np.inf, -x_)
            largest = np.argsort(keys, axis=1, kind="stable")[:, :k]
            kept = np.take_along_axis(x_, largest, axis=1)
            y_[...] = LOWEST
            np.put_along_axis(y_, largest, np.where(np.isnan(kept), LOWEST, kept), axis=1)


def threshold_counts(
    state: Array, x: Array, labels: Array, sample_weight: Array | None, *, column: int = -1
) -> None:
    """state = (thresholds, true positives, false positives, true negatives, false negatives).

    Each element falls into the bin of how many thresholds it exceeds; what exceeds a threshold is
    then the sum of the bins above it.
    """
    groups, count = state.shape[1:]
    thresholds = state[0, 0].astype(x.dtype)
    order = thresholds.argsort()
    thresholds = thresholds[order]
    columns = np.arange(x.shape[1]) if column < 0 else np.array([column])
    group = np.arange(groups) if groups > 1 else 0
    bins = np.zeros(2 * groups * (count + 1))
    for x_, labels_, weight in _blocks(x, labels, sample_weight):
        positive = labels_[:, None] == columns if labels_.ndim == 1 else labels_[:, columns] != 0
        values = x_[:, columns]
        exceeded = np.searchsorted(thresholds, values)
        exceeded[np.isnan(values)] = 0
        exceeded += (positive * groups + group) * (count + 1)
        if weight is not None:
            weight = np.broadcast_to(weight[:, None], exceeded.shape).reshape(-1)
        bins += np.bincount(exceeded.reshape(-1), weight, bins.size)
    above = bins.reshape(2, groups, count + 1)[..., ::-1].cumsum(axis=-1)[..., ::-1]
    predicted, total = above[..., 1:], above[..., :1]
    for row, counts in zip((2, 1, 3, 4), (*predicted, *(total - predicted)), strict=True):
        state[row][:, order] += counts


def confusion_matrix(
    matrix: Array, x: Array, labels: Array, sample_weight: Array | None, *, ignore_class: int = -1
) -> None:
    """matrix[labels_i, x_i] += sample_weight_i, for class numbers."""
    classes = len(matrix)
    for x_, labels_, weight in _blocks(x, labels, sample_weight):
        counted = (x_ > -1) & (x_ < classes) & (labels_ > -1) & (labels_ < classes)
        truth = np.where(counted, labels_, 0).astype(np.int64)
        counted &= truth != ignore_class
        cells = (truth * classes + np.where(counted, x_, 0).astype(np.int64))[counted]
        weight = None if weight is None else weight[counted]
        matrix += np.bincount(cells, weight, matrix.size).reshape(matrix.shape)


def argmax(y: Array, x: Array) -> None:
    """y = the column of the largest element of each row."""
    for x_, y_ in _blocks(x, y):
        y_[:] = x_.argmax(axis=1)


def moments(state: Array, x: Array, labels: Array, sample_weight: Array | None) -> None:
    """state += sums over the rows of (w, w l, w l^2, w (l - x)^2, 1)."""
    for x_, labels_, weight in _blocks(x, labels, sample_weight):
        w = np.ones(len(x_)) if weight is None else weight.astype(np.float64)
        truth = labels_.astype(np.float64)
        state[0] += w.sum()
        state[1] += w @ truth
        state[2] += w @ np.square(truth)
        state[3] += w @ np.square(truth - x_)
        state[4] += len(x_)


def _blocks(first: Array, *others: Array | None) -> Iterator[tuple[Any, ...]]:
    """The same rows of all arrays at a time; small, as indices take 8 bytes an element."""
    row = max(first[:1].size, 1)
    length = max(1, BLOCK // 8 // row)
    for start in range(0, len(first), length):
        part = slice(start, start + length)
        yield tuple(None if array is None else array[part] for array in (first, *others))
