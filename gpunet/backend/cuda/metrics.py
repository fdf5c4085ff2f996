"""Metrics: launches of kernels/metrics.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import flat_grid, rectangle, row_launch
from gpunet.backend.spec import Array

ACROSS = 8  # the most sums of one block: 5 float64 each still fit its share of the scratch memory


def weighted_totals(
    device: Device, totals: Array, values: Array, sample_weight: Array | None
) -> None:
    """totals += (sum_i sample_weight_i values_i, sum_i sample_weight_i)."""
    args = (totals, values, sample_weight)
    _launch_sums(device, "weighted_totals", values, 1, len(values), args, ())


def matches(
    device: Device, share: Array, x: Array, labels: Array, *, threshold: float | None = None
) -> None:
    """share = mean_j(x_j == labels_j)."""
    flags = (np.int32(threshold is not None), np.float32(threshold or 0.0))
    _launch_rows(device, "matches", share, x, (labels, *flags))


def top_k_accuracy(device: Device, correct: Array, x: Array, labels: Array, *, k: int) -> None:
    """correct = 1 where fewer than k elements of the row exceed the one at the label, else 0."""
    symbol = f"top_k_accuracy_{_label_type(labels)}"
    _launch_rows(device, symbol, correct, x, (labels, np.int32(k)))


def top_k_filter(device: Device, y: Array, x: Array, *, k: int, ties: bool = False) -> None:
    """y = x where x is among the k largest of its row, else -1e10."""
    if x.size:
        args = (y, x, np.int64(x.size), np.int32(x.shape[1]), np.int32(k), np.int32(ties))
        device.launch("metrics", "top_k_filter", x, flat_grid(device, x.size), (THREADS,), args)


def threshold_counts(
    device: Device,
    state: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    column: int = -1,
) -> None:
    """state = (thresholds, true positives, false positives, true negatives, false negatives)."""
    groups, thresholds = state.shape[1:]
    rows, columns = x.shape
    together = groups == 1 and column < 0
    symbol = f"threshold_counts_{_label_type(labels)}"
    sizes = (np.int32(thresholds), np.int32(columns), np.int32(together), np.int32(max(column, 0)))
    args = (state, x, labels, sample_weight)
    elements = x.size if together else rows
    _launch_sums(device, symbol, x, groups * thresholds, elements, args, sizes)


def confusion_matrix(
    device: Device,
    matrix: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    ignore_class: int = -1,
) -> None:
    """matrix[labels_i, x_i] += sample_weight_i, for class numbers."""
    symbol = f"confusion_matrix_{'int32' if labels.dtype == np.int32 else 'float32'}"
    args = (matrix, x, labels, sample_weight)
    sizes = (np.int32(len(matrix)), np.int32(ignore_class))
    _launch_sums(device, symbol, x, matrix.size, len(x), args, sizes)


def argmax(device: Device, y: Array, x: Array) -> None:
    """y = the column of the largest element of each row."""
    _launch_rows(device, "argmax", y, x, ())


def moments(
    device: Device, state: Array, x: Array, labels: Array, sample_weight: Array | None
) -> None:
    """state += sums over the rows of (w, w l, w l^2, w (l - x)^2, 1)."""
    rows, columns = x.shape
    args = (state, x, labels, sample_weight)
    _launch_sums(device, "moments", x, columns, rows, args, ())


def _label_type(labels: Array) -> str:
    """The suffix of the kernel: class numbers, or a row of numbers for each row of x."""
    return "int32" if labels.ndim == 1 else "float32"


def _launch_rows(device: Device, symbol: str, y: Array, x: Array, others: tuple[Any, ...]) -> None:
    """Launch a kernel that makes one number of each row."""
    rows, columns = x.shape
    if rows == 0:
        return
    plan = row_launch(device, rows, columns, 1, kept=0)
    lanes = plan.args[1]
    args = (y, x, *others, np.int64(rows), np.int32(columns), lanes)
    device.launch("metrics", symbol, x, plan.grid, (THREADS,), args)


def _launch_sums(
    device: Device,
    symbol: str,
    real: Array,
    outputs: int,
    elements: int,
    arrays: tuple[Array | None, ...],
    sizes: tuple[Any, ...],
) -> None:
    """Launch a kernel that adds sums over so many elements to each of so many outputs."""
    if elements == 0:
        return
    grid, block = rectangle(device, elements, outputs, widest=ACROSS)
    counts = (np.int32(outputs), np.int64(elements))
    args = (*arrays, *sizes, *counts, device.block_sums, device.tickets)
    device.launch("metrics", symbol, real, grid, block, args)
