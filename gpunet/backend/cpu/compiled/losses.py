"""Softmax and cross-entropy: a row goes through its formula while it lies in the cache."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.backend.cpu.compiled.exponential import exponential
from gpunet.backend.cpu.compiled.kernel import bind_shares, inlined, kernel, parts_of
from gpunet.backend.cpu.losses import smoothing
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import Array

LANES = 64
"""How many maxima of a long row are kept side by side."""


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
    rows, columns = x.shape
    parts = parts_of(rows, x.size)
    sums = np.empty((parts, 2))  # of loss and of correct
    right = np.empty(2) if accuracy_totals is None else accuracy_totals
    # In place of None: arrays without rows, for which the kernels need not be compiled again.
    no_rows, nothing = np.empty((0, columns), x.dtype), np.empty(0, loss.dtype)
    dx = no_rows if dx is None else dx
    correct = nothing if correct is None else correct
    weight = nothing if sample_weight is None else sample_weight
    arrays = dx, loss, correct, totals, right, sums, x, labels, weight
    if labels.ndim == 1:
        ignored = -1 if ignore_class is None else ignore_class
        work = partial(_of_classes, *arrays, scale, ignore_class is not None, ignored)
    else:
        factor, shift = smoothing(label_smoothing, columns)
        work = partial(_of_probabilities, *arrays, scale, factor, shift)
    compute = bind_shares(work, parts, x.size)
    if parts == 1:
        return compute

    def run() -> None:
        compute()
        _add_totals(totals, right, sums, scale, rows)

    return run


@kernel
def _add_totals(totals: Array, right: Array, sums: Array, scale: float, rows: int) -> None:
    _add_sums(totals, right, sums, scale, rows)


@inlined
def _add_sums(totals: Array, right: Array, sums: Array, scale: float, rows: int) -> None:
    """Add the sums of all parts, in their order, to the totals."""
    for part in range(len(sums)):
        totals[0] += sums[part, 0] * (scale * rows)
        right[0] += sums[part, 1]
    totals[1] += rows
    right[1] += rows


@inlined
def _largest(row: Array, lanes: Array) -> Any:
    """The largest number of a row; what it is beside a NaN does not matter."""
    columns = len(row)
    lanes[:] = row[0]
    for first in range(0, columns - LANES + 1, LANES):
        for lane in range(LANES):
            if row[first + lane] > lanes[lane]:
                lanes[lane] = row[first + lane]
    for j in range(columns - columns % LANES, columns):
        if row[j] > lanes[0]:
            lanes[0] = row[j]
    m = lanes[0]
    if columns >= LANES:
        for lane in range(1, LANES):
            if lanes[lane] > m:
                m = lanes[lane]
    return m


@inlined
def _exps(row: Array, m: float) -> Any:
    """row = exp(row - m); returns the sum."""
    total = row.dtype.type(0)
    for j in range(len(row)):
        row[j] = exponential(row[j] - m)
        total += row[j]
    return total


@inlined
def _first_place(row: Array, largest: float, may_be_nan: bool) -> int:
    """Where the largest number of a row stands first, or the first NaN: what numpy.argmax says."""
    first = 0
    while first + LANES <= len(row):
        found = 0
        for lane in range(first, first + LANES):
            found += not row[lane] < largest
        if found:
            break
        first += LANES
    place = -1
    for j in range(first, len(row)):
        if row[j] != row[j]:
            return j
        if row[j] == largest and place < 0:
            place = j
            if not may_be_nan:
                break
    return place


@kernel
def _of_classes(
    dx: Array,
    loss: Array,
    correct: Array,
    totals: Array,
    right: Array,
    sums: Array,
    x: Array,
    labels: Array,
    weight: Array,
    scale: float,
    ignores: bool,
    ignored: int,
    start: int,
    stop: int,
) -> None:
    number = x.dtype.type
    rows, columns, parts = x.shape[0], x.shape[1], len(sums)
    row, lanes = np.empty(columns, x.dtype), np.empty(LANES, x.dtype)
    for part in range(start, stop):
        of_loss, of_correct = 0.0, 0.0
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            label = labels[i]
            is_class = 0 <= label < columns
            for j in range(columns):
                row[j] = x[i, j]
            m = _largest(row, lanes)
            logit = row[label] - m if is_class else number(np.nan)
            total = _exps(row, m)
            if len(correct):
                hit = is_class and _first_place(x[i], m, total != total) == label
                correct[i] = number(1) if hit else number(0)
                of_correct += correct[i]
            w = weight[i] if len(weight) else number(1)
            is_ignored = ignores and label == ignored
            loss[i] = number(0) if is_ignored else (np.log(total) - logit) * w
            of_loss += loss[i]
            if len(dx):
                unit = number(scale)
                factor = unit / total if is_class else number(np.nan)
                for j in range(columns):
                    dx[i, j] = row[j] * factor * w
                if is_class:
                    dx[i, label] = (row[label] * factor - unit) * w
                if is_ignored:
                    dx[i] = number(0)
        sums[part, 0], sums[part, 1] = of_loss, of_correct
    if parts == 1:
        _add_sums(totals, right, sums, scale, rows)


@kernel
def _of_probabilities(
    dx: Array,
    loss: Array,
    correct: Array,
    totals: Array,
    right: Array,
    sums: Array,
    x: Array,
    labels: Array,
    weight: Array,
    scale: float,
    factor: float,
    shift: float,
    start: int,
    stop: int,
) -> None:
    number = x.dtype.type
    rows, columns, parts = x.shape[0], x.shape[1], len(sums)
    row, wanted = np.empty(columns, x.dtype), np.empty(columns, x.dtype)
    lanes = np.empty(LANES, x.dtype)
    for part in range(start, stop):
        of_loss, of_correct = 0.0, 0.0
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            mass = number(0)
            for j in range(columns):
                row[j] = x[i, j]
                wanted[j] = labels[i, j] * number(factor) + number(shift)
                mass += wanted[j]
            m = _largest(row, lanes)
            logit = number(0)
            for j in range(columns):
                logit += wanted[j] * (row[j] - m)
            total = _exps(row, m)
            if len(correct):
                most = _largest(wanted, lanes)
                label = _first_place(wanted, most, mass != mass)
                hit = _first_place(x[i], m, total != total) == label
                correct[i] = number(1) if hit else number(0)
                of_correct += correct[i]
            w = weight[i] if len(weight) else number(1)
            loss[i] = (np.log(total) * mass - logit) * w
            of_loss += loss[i]
            if len(dx):
                unit = number(scale) * w
                of_row = unit * mass / total
                for j in range(columns):
                    dx[i, j] = row[j] * of_row - wanted[j] * unit
        sums[part, 0], sums[part, 1] = of_loss, of_correct
    if parts == 1:
        _add_sums(totals, right, sums, scale, rows)
