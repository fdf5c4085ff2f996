"""Losses with their gradients, accuracies and totals: launches of kernels/losses.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import packed_width, row_launch
from gpunet.backend.spec import Array


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
) -> None:
    """loss = sum_j labels_j (log(sum(exp(x))) - x_j), dx = softmax(x) sum(labels) - labels."""
    written = (dx, loss, correct, totals, accuracy_totals)
    symbol = f"softmax_cross_entropy_{_label_type(labels)}"
    _launch(device, symbol, written, x, labels, sample_weight, scale, passes=2)


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
) -> None:
    """loss = -sum_j labels_j log(p_j), p = x / sum(x) clipped, as Keras does."""
    written = (dx, loss, correct, totals, accuracy_totals)
    symbol = f"cross_entropy_{_label_type(labels)}"
    _launch(device, symbol, written, x, labels, sample_weight, scale, passes=3)


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
) -> None:
    """loss = mean_j(max(x_j, 0) - x_j labels_j + log(1 + exp(-|x_j|))), from logits."""
    written = (dx, loss, correct, totals, accuracy_totals)
    _launch(device, "sigmoid_cross_entropy", written, x, labels, sample_weight, scale)


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
) -> None:
    """loss = -mean_j(labels_j log(p_j) + (1 - labels_j) log(1 - p_j)), p = x clipped."""
    written = (dx, loss, correct, totals, accuracy_totals)
    _launch(device, "binary_cross_entropy", written, x, labels, sample_weight, scale)


def mean_squared_error(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
) -> None:
    """loss = mean_j (x_j - labels_j)^2, dx_j = 2 (x_j - labels_j) / columns."""
    written = (dx, loss, None, totals, None)
    _launch(device, "mean_squared_error", written, x, labels, sample_weight, scale)


def accuracy(
    device: Device, correct: Array, accuracy_totals: Array | None, x: Array, labels: Array
) -> None:
    """The accuracy of probabilities x alone."""
    written = (None, None, correct, None, accuracy_totals)
    _launch(device, f"accuracy_{_label_type(labels)}", written, x, labels, None, 0.0)


def _label_type(labels: Array) -> str:
    """The suffix of the kernel: class numbers, or a row of numbers for each row of x."""
    return "int32" if labels.ndim == 1 else "real"


def _launch(
    device: Device,
    symbol: str,
    written: tuple[Array | None, ...],
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    scale: float,
    passes: int = 1,
) -> None:
    """Launch a loss that goes ``passes`` times over its rows; all kernels take the same list."""
    rows, columns = x.shape
    if rows == 0:
        return  # nothing is added to the totals
    dense = labels if labels.ndim == 2 else None
    arrays_kept = 0 if passes == 1 else 1 if dense is None else 2
    plan = row_launch(
        device, rows, columns, packed_width(columns, written[0], x, dense), arrays_kept
    )
    sizes = (np.float32(scale), np.int64(rows), np.int32(columns), *plan.args)
    args = (*written, x, labels, sample_weight, *sizes, device.block_sums, device.tickets)
    device.launch("losses", symbol, x, plan.grid, (THREADS,), args, plan.shared)
