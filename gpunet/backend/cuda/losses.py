"""Cross-entropies with their gradients, accuracies and totals: launches of kernels/losses.cu."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import packed_width, row_launch
from gpunet.backend.spec import Array

_SOURCE = "losses"
_NO_CLASS = 1 << 32  # a number that no int32 label is
_MOST_THREADS = 1024  # of a block: normalized_weights has one alone


def softmax_cross_entropy(
    device: Device,
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
    written = (dx, loss, correct, totals, accuracy_totals)
    symbol = f"softmax_cross_entropy_{_label_type(labels)}"
    rule = label_rule(labels, label_smoothing, x.shape[1], ignore_class)
    launch(device, _SOURCE, symbol, written, x, labels, sample_weight, scale, rule=rule, passes=2)


def cross_entropy(
    device: Device,
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
    written = (dx, loss, correct, totals, accuracy_totals)
    symbol = f"cross_entropy_{_label_type(labels)}"
    rule = label_rule(labels, label_smoothing, x.shape[1], ignore_class)
    launch(device, _SOURCE, symbol, written, x, labels, sample_weight, scale, rule=rule, passes=3)


def sigmoid_cross_entropy(
    device: Device,
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
    rule = label_rule(labels, label_smoothing, 2)
    launch(
        device,
        _SOURCE,
        "sigmoid_cross_entropy",
        written,
        x,
        labels,
        sample_weight,
        scale,
        rule=rule,
    )


def binary_cross_entropy(
    device: Device,
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
    rule = label_rule(labels, label_smoothing, 2)
    launch(
        device, _SOURCE, "binary_cross_entropy", written, x, labels, sample_weight, scale, rule=rule
    )


def accuracy(
    device: Device, correct: Array, accuracy_totals: Array | None, x: Array, labels: Array
) -> None:
    """The accuracy of probabilities x alone."""
    written = (None, None, correct, None, accuracy_totals)
    symbol = f"accuracy_{_label_type(labels)}"
    launch(device, _SOURCE, symbol, written, x, labels, None, 0.0)


def normalized_weights(
    device: Device,
    weights: Array,
    sample_weight: Array | None,
    labels: Array | None,
    mask: Array | None,
    *,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> None:
    """weights = sample_weight v / sum(sample_weight v), v = 1 for rows that count, else 0."""
    ignored = _NO_CLASS if ignore_class is None else ignore_class
    numbers = (np.int32(by_count), np.int64(ignored), np.int64(weights.size))
    args = (weights, sample_weight, labels, mask, *numbers)
    device.launch(_SOURCE, "normalized_weights", weights, (1,), (_MOST_THREADS,), args)


def _label_type(labels: Array) -> str:
    """The suffix of the kernel: class numbers, or a row of numbers for each row of x."""
    return "int32" if labels.ndim == 1 else "float32"


class LabelRule(NamedTuple):
    """What is done to labels: factor and shift of rows of them, and the class that is ignored."""

    factor: np.float32 = np.float32(1.0)
    shift: np.float32 = np.float32(0.0)
    ignored: np.int64 = np.int64(_NO_CLASS)


class Formula(NamedTuple):
    """The numbers of a formula, as the kernels take them."""

    alpha: np.float32 = np.float32(0.0)
    gamma: np.float32 = np.float32(0.0)
    kind: np.int32 = np.int32(0)
    alphas: Array | None = None  # one for each class, instead of alpha


_AS_THEY_ARE, _NO_NUMBERS = LabelRule(), Formula()


def label_rule(
    labels: Array, label_smoothing: float, classes: int, ignore_class: int | None = None
) -> LabelRule:
    """The rule for an op's keyword arguments; class numbers are not smoothed."""
    if label_smoothing == 0.0 and ignore_class is None:
        return _AS_THEY_ARE
    smooth = label_smoothing if labels.ndim == 2 else 0.0
    ignored = _NO_CLASS if ignore_class is None else ignore_class
    return LabelRule(np.float32(1.0 - smooth), np.float32(smooth / classes), np.int64(ignored))


def launch(
    device: Device,
    source: str,
    symbol: str,
    written: tuple[Array | None, ...],
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    scale: float,
    *,
    formula: Formula = _NO_NUMBERS,
    rule: LabelRule = _AS_THEY_ARE,
    passes: int = 1,
) -> None:
    """Launch a loss that goes ``passes`` times over its rows; all kernels take the same list."""
    rows, columns = x.shape
    if rows == 0:
        return  # nothing is added to the totals
    dense = labels if labels.ndim == 2 else None
    kept = sum(a.dtype.itemsize for a in (x, dense) if a is not None) if passes > 1 else 0
    plan = row_launch(device, rows, columns, packed_width(columns, written[0], x, dense), kept)
    numbers = (np.float64(scale), *formula, *rule, np.int64(rows), np.int32(columns), *plan.args)
    args = (*written, x, labels, sample_weight, *numbers, device.block_sums, device.tickets)
    device.launch(source, symbol, x, plan.grid, (THREADS,), args, plan.shared)
