"""Activations, forward and backward: launches of kernels/activations.cu and softmax.cu."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.backend.cuda.device import STRIP, THREADS, Device
from gpunet.backend.cuda.grids import WARP, packed_width, rectangle, row_launch
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import ACTIVATIONS, Array

_INT32_MAX = 2**31 - 1
_IDS = {name: np.int32(number) for number, name in enumerate(ACTIVATIONS)}


@functools.lru_cache
def activation_args(name: str, parameters: tuple[float, ...]) -> tuple[Any, ...]:
    """An activation as kernels take it: its number and three parameters, unused ones 0."""
    values = (*(parameters or ACTIVATIONS[name].parameters.values()), 0.0, 0.0, 0.0)
    return (_IDS[name], *map(np.float32, values[:3]))


def bias_act(
    device: Device,
    y: Array,
    x: Array,
    bias: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
) -> None:
    """y = activation(x + bias); without a bias, y = activation(x)."""
    if y.size == 0:
        return
    flat = bias is None and y.size <= _INT32_MAX
    shape = (1, y.size) if flat else y.shape  # one long row packs whatever the width is
    act = activation_args(activation, parameters)
    _launch_columns(device, "bias_act", (y, x, bias, *act), shape, (y, x, bias))


def bias_act_backward(
    device: Device,
    dx: Array,
    dbias: Array | None,
    dy: Array,
    saved: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    accumulate: bool = False,
) -> None:
    """dx = dy * activation'(saved), dbias = sum of dx over rows."""
    act = activation_args(activation, parameters)
    _launch_with_sums(
        device, "bias_act_backward", (dx, dbias, dy, saved), act, (dx, dy, saved), accumulate
    )


def column_sum(device: Device, sums: Array, x: Array, accumulate: bool) -> None:
    """sums = the sum of x over its rows: the gradient of a bias alone."""
    act = activation_args("linear", ())
    arrays = (None, sums, x, None)
    _launch_with_sums(device, "bias_act_backward", arrays, act, (x,), accumulate)


def softmax(device: Device, y: Array, x: Array) -> None:
    """y = exp(x - max) / sum(exp(x - max)) along each row."""
    _launch_rows(device, "softmax", (y, x), arrays_kept=1)


def softmax_backward(device: Device, dx: Array, dy: Array, y: Array) -> None:
    """dx = y * (dy - sum(dy * y)) along each row."""
    _launch_rows(device, "softmax_backward", (dx, dy, y), arrays_kept=2)


def log_softmax(device: Device, y: Array, x: Array) -> None:
    """y = x - max - log(sum(exp(x - max))) along each row."""
    _launch_rows(device, "log_softmax", (y, x), arrays_kept=1)


def log_softmax_backward(device: Device, dx: Array, dy: Array, y: Array) -> None:
    """dx = dy - exp(y) * sum(dy) along each row."""
    _launch_rows(device, "log_softmax_backward", (dx, dy, y), arrays_kept=1)


def sparsemax(device: Device, y: Array, x: Array) -> None:
    """y = max(x - t, 0) along each row, where t is such that the row adds up to 1."""
    _launch_rows(device, "sparsemax", (y, x), arrays_kept=1)


def sparsemax_backward(device: Device, dx: Array, dy: Array, y: Array) -> None:
    """dx = dy - the mean of dy over the places of the row where y > 0; 0 at the other places."""
    _launch_rows(device, "sparsemax_backward", (dx, dy, y), arrays_kept=2)


def glu(device: Device, y: Array, x: Array) -> None:
    """y = a * sigmoid(b), where each row of x is the columns of a, then those of b."""
    if y.size:
        _launch_columns(device, "glu", (y, x), y.shape, (y, x))


def glu_backward(device: Device, dx: Array, dy: Array, x: Array) -> None:
    """da = dy * sigmoid(b), db = dy * a * sigmoid(b) (1 - sigmoid(b)); dx is (da, db)."""
    if dy.size:
        _launch_columns(device, "glu_backward", (dx, dy, x), dy.shape, (dx, dy, x))


def prelu(device: Device, y: Array, x: Array, alpha: Array) -> None:
    """y = x where x > 0, else alpha * x."""
    if y.size:
        _launch_columns(device, "prelu", (y, x, alpha), y.shape, (y, x, alpha))


def prelu_backward(
    device: Device,
    dx: Array,
    dalpha: Array,
    dy: Array,
    x: Array,
    alpha: Array,
    *,
    accumulate: bool = False,
) -> None:
    """dx = dy where x > 0, else alpha * dy; dalpha = sum of dy * min(x, 0) over rows."""
    arrays = (dx, dalpha, dy, x, alpha)
    _launch_with_sums(device, "prelu_backward", arrays, (), (dx, dy, x, alpha), accumulate)


def _launch_columns(
    device: Device,
    symbol: str,
    args: tuple[Any, ...],
    shape: tuple[int, int],
    packed: tuple[Array | None, ...],
) -> None:
    """Launch a kernel whose threads keep their columns while they walk down the rows."""
    rows, columns = shape
    width = packed_width(columns, *packed)
    grid, block = rectangle(device, rows, columns // width)
    args = (*args, np.int64(rows), np.int32(columns), np.int32(width > 1))
    device.launch("activations", symbol, args[0], grid, block, args)


def _launch_with_sums(
    device: Device,
    symbol: str,
    arrays: tuple[Array | None, ...],
    flags: tuple[Any, ...],
    packed: tuple[Array | None, ...],
    accumulate: bool,
) -> None:
    """Launch a kernel (dx, sums, dy, ...) that writes dx and adds up columns."""
    sums, dy = arrays[1:3]
    if dy is None or dy.size == 0:
        if sums is not None and not accumulate:
            fill(device, sums, value=0.0)
        return
    rows, columns = dy.shape
    width = packed_width(columns, *packed)
    units = columns // width
    grid, block = rectangle(
        device, rows, units, widest=min(WARP, STRIP // width), rows_per_thread=2
    )
    sizes = (np.int64(rows), np.int32(columns), np.int32(width > 1))
    args = (*arrays, *flags, np.int32(accumulate), *sizes, device.partials, device.tickets)
    device.launch("activations", symbol, dy, grid, block, args)


def _launch_rows(device: Device, symbol: str, arrays: tuple[Array, ...], arrays_kept: int) -> None:
    rows, columns = arrays[0].shape
    if rows * columns == 0:
        return
    kept = arrays_kept * arrays[0].dtype.itemsize
    plan = row_launch(device, rows, columns, packed_width(columns, *arrays), kept)
    args = (*arrays, np.int64(rows), np.int32(columns), *plan.args)
    device.launch("softmax", symbol, arrays[0], plan.grid, (THREADS,), args, plan.shared)
