"""Activations and softmax, forward and backward: launches of kernels/activations.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import STRIP, THREADS, Device
from gpunet.backend.cuda.grids import PACK, packed_width, rectangle, row_launch
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import ACTIVATIONS, Array

_INT32_MAX = 2**31 - 1


def activation_id(name: str) -> Any:
    """The number by which kernels know an activation."""
    return np.int32(ACTIVATIONS.index(name))


def bias_act(device: Device, y: Array, x: Array, bias: Array | None, *, activation: str) -> None:
    """y = activation(x + bias); without a bias, y = activation(x)."""
    if y.size == 0:
        return
    rows, columns = y.shape
    if bias is None and y.size <= _INT32_MAX:
        rows, columns = 1, y.size  # one long row packs whatever the matrix' width is
    width = packed_width(columns, y, x, bias)
    grid, block = rectangle(device, rows, columns // width)
    sizes = (np.int64(rows), np.int32(columns), np.int32(width > 1))
    args = (y, x, bias, activation_id(activation), *sizes)
    device.launch("activations", "bias_act", y, grid, block, args)


def bias_act_backward(
    device: Device,
    dx: Array,
    dbias: Array | None,
    dy: Array,
    y: Array | None,
    *,
    activation: str,
    accumulate: bool = False,
) -> None:
    """dx = dy * activation'(y), dbias = sum of dx over rows."""
    if dx.size == 0:
        if dbias is not None and not accumulate:
            fill(device, dbias, value=0.0)
        return
    rows, columns = dx.shape
    width = packed_width(columns, dx, dy, y)
    units = columns // width
    grid, block = rectangle(device, rows, units, widest=STRIP // PACK, rows_per_thread=2)
    flags = (activation_id(activation), np.int32(accumulate))
    sizes = (np.int64(rows), np.int32(columns), np.int32(width > 1))
    args = (dx, dbias, dy, y, *flags, *sizes, device.partials, device.tickets)
    device.launch("activations", "bias_act_backward", dx, grid, block, args)


def softmax(device: Device, y: Array, x: Array) -> None:
    """y = exp(x - max) / sum(exp(x - max)) along each row."""
    _launch_rows(device, "softmax", (y, x), arrays_kept=1)


def softmax_backward(device: Device, dx: Array, dy: Array, y: Array) -> None:
    """dx = y * (dy - sum(dy * y)) along each row."""
    _launch_rows(device, "softmax_backward", (dx, dy, y), arrays_kept=2)


def _launch_rows(device: Device, symbol: str, arrays: tuple[Array, ...], arrays_kept: int) -> None:
    rows, columns = arrays[0].shape
    if rows * columns == 0:
        return
    plan = row_launch(device, rows, columns, packed_width(columns, *arrays), arrays_kept)
    args = (*arrays, np.int64(rows), np.int32(columns), *plan.args)
    device.launch("activations", symbol, arrays[0], plan.grid, (THREADS,), args, plan.shared)
