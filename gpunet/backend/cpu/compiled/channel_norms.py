"""Normalization of channels: one pass through memory for each op, or one for all its sums."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu import channel_norms as plain
from gpunet.backend.cpu.activations import add_column_sum
from gpunet.backend.cpu.compiled.kernel import (
    bind_shares,
    inlined,
    kernel,
    ones_or,
    parts_of,
    pasted,
    same_memory,
    zeros_or,
)
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.spec import COUNT_EPSILON, Array

FEW = 8
"""Rows of so few channels are too short for a loop over each."""
CHUNK = 512
"""How many rows are summed in the precision of x before they go to sums in float64."""
OVER_NONE, OVER_DY, OVER_X = range(3)
"""Where a gradient is written: a loop that knows takes half the time."""
SAMPLE = 16
"""Of so many rows a first mean is taken, around which squares are summed: then little cancels."""


@prepared
def channel_moments(
    mean: Array,
    variance: Array,
    count: Array | None,
    moving_mean: Array | None,
    moving_variance: Array | None,
    x: Array,
    mask: Array | None,
    *,
    momentum: float = 0.99,
) -> Call:
    """Mean and variance of each channel over the rows of each segment."""
    segments, rows, channels = x.shape
    if channels < FEW or x.size == 0:
        arrays = mean, variance, count, moving_mean, moving_variance, x, mask
        return bind(plain.channel_moments, *arrays, momentum=momentum)
    sums = np.empty((segments * parts_of(rows, x[0].size), 4, channels))
    compute = bind_shares(partial(_moments, sums, x, mask), len(sums), x.size)
    # In place of None: moments that nobody sees.
    moving_mean = zeros_or(moving_mean, channels, mean)
    moving_variance = zeros_or(moving_variance, channels, mean)
    moving = moving_mean, moving_variance, momentum
    more = 0.0 if mask is None else COUNT_EPSILON

    def run() -> None:
        compute()
        _finish_moments(mean, variance, count, *moving, sums, more)

    return run


@kernel
def _moments(sums: Array, x: Array, mask: Array | None, start: int, stop: int) -> None:
    """For each part of each segment sums of x - shift, of its squares; shift; how many rows count.

    What depends on the mask being None is compiled for each of both.
    """
    rows, channels, parts = x.shape[1], x.shape[2], len(sums) // len(x)
    s, q = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    shift = np.empty(channels, x.dtype)
    for unit in range(start, stop):
        segment, part = x[unit // parts], unit % parts
        if mask is None:
            _first_mean(shift, segment)
        else:
            _first_row(shift, segment, mask[unit // parts])
        sums[unit] = 0.0
        sums[unit, 2] = shift
        first, end = rows * part // parts, rows * (part + 1) // parts
        for chunk in range(first, end, CHUNK):
            s[:] = x.dtype.type(0)
            q[:] = x.dtype.type(0)
            for i in range(chunk, min(chunk + CHUNK, end)):
                if mask is not None and mask[unit // parts, i] == 0:
                    continue
                for j in range(channels):
                    v = segment[i, j] - shift[j]
                    s[j] += v
                    q[j] += v * v
            for j in range(channels):
                sums[unit, 0, j] += s[j]
                sums[unit, 1, j] += q[j]
        if mask is None:
            sums[unit, 3] = end - first
        else:
            sums[unit, 3] = np.count_nonzero(mask[unit // parts, first:end])


@kernel
def _first_mean(shift: Array, segment: Array) -> None:
    """The mean of some rows of a segment."""
    rows = len(segment)
    shift[:] = shift.dtype.type(0)
    for sample in range(SAMPLE):
        for j in range(len(shift)):
            shift[j] += segment[rows * sample // SAMPLE, j] / shift.dtype.type(SAMPLE)


@kernel
def _first_row(shift: Array, segment: Array, mask: Array) -> None:
    """The first row of a segment that is there."""
    shift[:] = shift.dtype.type(0)
    for i in range(len(segment)):
        if mask[i] != 0:
            shift[:] = segment[i]
            break


@kernel
def _finish_moments(
    mean: Array,
    variance: Array,
    count: Array | None,
    moving_mean: Array,
    moving_variance: Array,
    momentum: float,
    sums: Array,
    more: float,
) -> None:
    parts = len(sums) // len(mean)
    for segment in range(len(mean)):
        first = segment * parts
        rows = sums[first : first + parts, 3, 0].sum()
        share = 1.0 / (rows + more)
        if count is not None:
            count[segment] = rows + more
        for j in range(mean.shape[1]):
            s, q = 0.0, 0.0
            for unit in range(first, first + parts):
                s += sums[unit, 0, j]
                q += sums[unit, 1, j]
            shift = sums[first, 2, j]
            step = (s - more * shift) * share  # from the shift to the mean
            q = (q - step * (2.0 * s - rows * step)) * share
            mean[segment, j] = shift + step
            variance[segment, j] = 0.0 if q < 0.0 else q
    for j in range(len(moving_mean)):
        moving_mean[j] = moving_mean[j] * momentum + mean[0, j] * (1.0 - momentum)
        moving_variance[j] = moving_variance[j] * momentum + variance[0, j] * (1.0 - momentum)


@prepared
def channel_norm(
    y: Array,
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    epsilon: float,
) -> Call:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""
    segments, rows, channels = x.shape
    if channels < FEW:
        return bind(plain.channel_norm, y, x, mean, variance, gamma, beta, epsilon=epsilon)
    vectors = mean, variance, ones_or(gamma, channels, x), zeros_or(beta, channels, x), epsilon
    work = partial(_norm, y, x, *vectors, same_memory(y, x))
    return bind_shares(work, segments * rows, x.size)


@kernel
def _norm(
    y: Array,
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array,
    beta: Array,
    epsilon: float,
    in_place: bool,
    start: int,
    stop: int,
) -> None:
    rows, channels = x.shape[1], x.shape[2]
    scale = np.empty(channels, x.dtype)
    while start < stop:
        segment, first = start // rows, start % rows
        end = min(rows, first + stop - start)
        for j in range(channels):
            scale[j] = gamma[j] / np.sqrt(variance[segment, j] + x.dtype.type(epsilon))
        m, y_, x_ = mean[segment], y[segment, first:end], x[segment, first:end]
        if in_place:
            _norm_rows(y_, y_, m, scale, beta)
        else:
            _norm_rows(y_, x_, m, scale, beta)
        start += end - first


@pasted
def _norm_rows(y: Array, x: Array, mean: Array, scale: Array, beta: Array) -> None:
    for i in range(len(y)):
        for j in range(len(mean)):
            y[i, j] = (x[i, j] - mean[j]) * scale[j] + beta[j]


@prepared
def channel_norm_sums(
    sums: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float,
    accumulate: bool = False,
) -> Call:
    """Sums of dy and of dy * (x - mean) / sqrt(variance + epsilon) over rows."""
    segments, rows, channels = x.shape
    if channels < FEW:
        arrays = sums, dgamma, dbeta, dy, x, mean, variance
        return bind(plain.channel_norm_sums, *arrays, epsilon=epsilon, accumulate=accumulate)
    parts = parts_of(rows, rows * channels)
    of_parts = np.empty((segments * parts, 2, channels))
    compute = bind_shares(partial(_sums, of_parts, dy, x, mean), len(of_parts), 2 * x.size)

    def run() -> None:
        compute()
        _finish_sums(sums, of_parts, variance, epsilon)
        for total, of_segments in ((dbeta, sums[0]), (dgamma, sums[1])):
            if total is not None:
                add_column_sum(total, of_segments, accumulate)

    return run


@kernel
def _sums(sums: Array, dy: Array, x: Array, mean: Array, start: int, stop: int) -> None:
    """Sums of dy and of dy * (x - mean), for each part of each segment."""
    rows, channels, parts = x.shape[1], x.shape[2], len(sums) // len(x)
    s, t = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    for unit in range(start, stop):
        segment, part = unit // parts, unit % parts
        m, dy_, x_ = mean[segment], dy[segment], x[segment]
        sums[unit] = 0.0
        first, end = rows * part // parts, rows * (part + 1) // parts
        for chunk in range(first, end, CHUNK):
            s[:] = x.dtype.type(0)
            t[:] = x.dtype.type(0)
            for i in range(chunk, min(chunk + CHUNK, end)):
                for j in range(channels):
                    s[j] += dy_[i, j]
                    t[j] += dy_[i, j] * (x_[i, j] - m[j])
            for j in range(channels):
                sums[unit, 0, j] += s[j]
                sums[unit, 1, j] += t[j]


@kernel
def _finish_sums(sums: Array, of_parts: Array, variance: Array, epsilon: float) -> None:
    parts = len(of_parts) // max(len(variance), 1)
    for segment in range(len(variance)):
        for j in range(variance.shape[1]):
            s, t = 0.0, 0.0
            for unit in range(segment * parts, (segment + 1) * parts):
                s += of_parts[unit, 0, j]
                t += of_parts[unit, 1, j]
            sums[0, segment, j] = s
            sums[1, segment, j] = t / np.sqrt(variance[segment, j] + epsilon)


@prepared
def channel_norm_backward(
    dx: Array,
    dy: Array,
    x: Array | None,
    mask: Array | None,
    mean: Array | None,
    variance: Array,
    count: Array | None,
    gamma: Array | None,
    sums: Array | None,
    *,
    epsilon: float,
    grouped: bool = False,
) -> Call:
    """dx = (gamma * dy - (s + v * t) / rows) / sqrt(variance + epsilon), the gradient of x.

    It is linear in dy and x: dx = scale * dy - slope * (x - mean) - offset.
    """
    segments, rows, channels = dx.shape
    if x is None or mean is None or sums is None or channels < FEW:
        arrays = dx, dy, x, mask, mean, variance, count, gamma, sums
        return bind(plain.channel_norm_backward, *arrays, epsilon=epsilon, grouped=grouped)
    if mask is None or count is None:
        count = np.full(segments, rows, mean.dtype)
    vectors = mean, variance, count, ones_or(gamma, channels, dx), sums, epsilon, grouped
    over = OVER_DY if same_memory(dx, dy) else OVER_X if same_memory(dx, x) else OVER_NONE
    work = partial(_backward, dx, dy, x, mask, *vectors, over)
    return bind_shares(work, segments * rows, 2 * dx.size)


@kernel
def _backward(
    dx: Array,
    dy: Array,
    x: Array,
    mask: Array | None,
    mean: Array,
    variance: Array,
    count: Array,
    gamma: Array,
    sums: Array,
    epsilon: float,
    grouped: bool,
    over: int,
    start: int,
    stop: int,
) -> None:
    rows, lines = x.shape[1], np.empty((4, x.shape[2]), x.dtype)
    while start < stop:
        segment, first = start // rows, start % rows
        end = min(rows, first + stop - start)
        moments = mean[segment], variance[segment], sums[:, segment]
        _lines(lines, *moments, gamma, epsilon, grouped, count[segment], mask is not None)
        there = None if mask is None else mask[segment, first:end]
        dx_, dy_, x_ = dx[segment, first:end], dy[segment, first:end], x[segment, first:end]
        if over == OVER_DY:
            _backward_rows(dx_, dx_, x_, there, lines)
        elif over == OVER_X:
            _backward_rows(dx_, dy_, dx_, there, lines)
        else:
            _backward_rows(dx_, dy_, x_, there, lines)
        start += end - first


@inlined
def _lines(
    lines: Array,
    mean: Array,
    variance: Array,
    sums: Array,
    gamma: Array,
    epsilon: float,
    grouped: bool,
    count: float,
    masked: bool,
) -> None:
    """Mean, scale, slope and offset of the channels of a segment."""
    number = lines.dtype.type
    more = COUNT_EPSILON / count if masked else 0.0  # the mean is that much nearer to 0
    for j in range(len(variance)):
        rstd = number(1) / np.sqrt(variance[j] + number(epsilon))
        of_sums = (rstd if grouped else gamma[j] * rstd) / number(count)
        lines[0, j] = mean[j] + mean[j] * number(more)
        lines[1, j] = gamma[j] * rstd
        lines[2, j] = sums[1, j] * of_sums * rstd
        lines[3, j] = sums[0, j] * of_sums


@pasted
def _backward_rows(dx: Array, dy: Array, x: Array, mask: Array | None, lines: Array) -> None:
    mean, scale, slope, offset = lines[0], lines[1], lines[2], lines[3]
    for i in range(len(dx)):
        if mask is not None and mask[i] == 0:
            for j in range(len(mean)):
                dx[i, j] = dy[i, j] * scale[j]
            continue
        for j in range(len(mean)):
            v = (x[i, j] - mean[j]) * slope[j] + offset[j]
            dx[i, j] = dy[i, j] * scale[j] - v
