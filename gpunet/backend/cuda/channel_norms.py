"""Normalization of channels: launches of kernels/channel_norms.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import STRIP, THREADS, Device
from gpunet.backend.cuda.grids import (
    WARP,
    ceil_div,
    flat_grid,
    packed_width,
    power_of_two,
    rectangle,
)
from gpunet.backend.cuda.row_norms import zero_sums
from gpunet.backend.spec import Array

_MAX_GRID_Z = 65535
_STRIP = 256  # the most channels of a block, for each of which shared memory holds some numbers
_ROWS_PER_THREAD = 4  # before the rows of a sum are dealt to more blocks


def channel_moments(
    device: Device,
    mean: Array,
    variance: Array,
    count: Array | None,
    moving_mean: Array | None,
    moving_variance: Array | None,
    x: Array,
    mask: Array | None,
    *,
    momentum: float = 0.99,
) -> None:
    """Mean and variance of each channel over the rows of each segment."""
    if mean.size == 0:
        return
    width = packed_width(x.shape[2], x)
    arrays: tuple[Any, ...] = (mean, variance, count, moving_mean, moving_variance, x)
    symbol = "channel_moments"
    if mask is not None:
        arrays, symbol = (*arrays, mask), "masked_channel_moments"
    _launch_sums(device, symbol, (*arrays, np.float32(momentum)), x, width)


def group_moments(device: Device, mean: Array, variance: Array, *, groups: int) -> None:
    """Replace each channel's mean and variance by those of all numbers of its group."""
    if mean.size > 0:
        segments, channels = mean.shape
        grid = flat_grid(device, segments * groups * WARP)
        args = (mean, variance, np.int64(segments), np.int32(channels), np.int32(groups))
        device.launch("channel_norms", "group_moments", None, grid, (THREADS,), args)


def channel_norm(
    device: Device,
    y: Array,
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    epsilon: float,
) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""
    args = (y, x, mean, variance, gamma, beta)
    _launch_strips(device, "channel_norm", args, (y, x), (np.float32(epsilon),))


def channel_norm_sums(
    device: Device,
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
) -> None:
    """Sums of dy and of dy * (x - mean) / sqrt(variance + epsilon) over rows."""
    segments, _, channels = x.shape
    if sums.size == 0:
        zero_sums(device, (dgamma, dbeta), accumulate)
        return
    width = packed_width(channels, dy, x)
    args = (sums, dgamma, dbeta, dy, x, mean, variance, np.float32(epsilon), np.int32(accumulate))
    _launch_sums(device, "channel_norm_sums", args, x, width)
    if segments > 1 and (dgamma is not None or dbeta is not None):
        grid, block = (ceil_div(channels, WARP), 2), (WARP, THREADS // WARP)
        sizes = (np.int32(accumulate), np.int64(segments), np.int32(channels))
        totals = (dbeta, dgamma, sums, *sizes)
        device.launch("channel_norms", "segment_totals", x, grid, block, totals)


def group_sums(device: Device, sums: Array, gamma: Array | None, *, groups: int) -> None:
    """sums = mean over the channels of a group of gamma * sums, for all channels of the group."""
    if sums.size > 0:
        _, segments, channels = sums.shape
        grid = flat_grid(device, 2 * segments * groups * WARP)
        args = (sums, gamma, np.int64(segments), np.int32(channels), np.int32(groups))
        device.launch("channel_norms", "group_sums", gamma, grid, (THREADS,), args)


def channel_norm_backward(
    device: Device,
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
) -> None:
    """dx = (gamma * dy - (s + v * t) / rows) / sqrt(variance + epsilon), the gradient of x."""
    if x is None or mean is None:
        sums = None
    flags, packed = (np.float32(epsilon), np.int32(grouped)), (dx, dy, x)
    if mask is None or sums is None:
        plain = (dx, dy, x, mean, variance, gamma, sums)
        _launch_strips(device, "channel_norm_backward", plain, packed, flags)
    else:
        masked = (dx, dy, x, mask, mean, variance, count, gamma, sums)
        _launch_strips(device, "masked_channel_norm_backward", masked, packed, flags)


def _launch_sums(device: Device, symbol: str, args: tuple[Any, ...], x: Array, width: int) -> None:
    """Launch a kernel that adds up rows: strips of channels, bands of rows, segments."""
    segments, rows, channels = x.shape
    units = channels // width
    across = min(power_of_two(units), WARP, STRIP // width)
    down = THREADS // across
    strips = ceil_div(units, across)
    bands = min(
        ceil_div(rows, down * _ROWS_PER_THREAD), device.max_blocks // 2 // (strips * segments)
    )
    grid = (strips, max(bands, 1), min(segments, _MAX_GRID_Z))
    sizes = (np.int64(segments), np.int64(rows), np.int32(channels), np.int32(width > 1))
    args = (*args, *sizes, device.partials, device.tickets)
    device.launch("channel_norms", symbol, x, grid, (across, down), args)


def _launch_strips(
    device: Device,
    symbol: str,
    arrays: tuple[Array | None, ...],
    packed: tuple[Array | None, ...],
    flags: tuple[Any, ...],
) -> None:
    """Launch a kernel whose threads keep their channels while they walk down a segment's rows."""
    y = arrays[0]
    if y is None or y.size == 0:
        return
    segments, rows, channels = y.shape
    width = packed_width(channels, *packed)
    widest = _STRIP // width
    (strips, bands), block = rectangle(device, rows, channels // width, widest=widest)
    bands = max(1, min(bands, device.max_blocks // (strips * min(segments, device.max_blocks))))
    grid = (strips, bands, min(segments, _MAX_GRID_Z))
    sizes = (np.int64(segments), np.int64(rows), np.int32(channels), np.int32(width > 1))
    device.launch("channel_norms", symbol, y, grid, block, (*arrays, *flags, *sizes))
