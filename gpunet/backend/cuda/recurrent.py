"""Recurrent layers: launches of kernels/recurrent.cu, one for each step."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid
from gpunet.backend.spec import Array

_UNITS = 32  # of a block, which has as many rows of the batch as there are warps
_ROWS = THREADS // _UNITS


def lstm(
    device: Device,
    y: Array,
    cells: Array,
    gates: Array,
    h: Array | None,
    c: Array | None,
    z: Array,
    recurrent_kernel: Array,
    h0: Array | None,
    c0: Array | None,
    mask: Array | None,
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> None:
    """All steps of an LSTM, from z = x kernel + bias."""
    args = (y, cells, gates, h, c, z, recurrent_kernel, h0, c0, mask, scratch)
    for step in range(y.shape[1]):
        _launch_step(device, "lstm", y, args, step, reverse)


def lstm_backward(
    device: Device,
    dz: Array,
    dh0: Array | None,
    dc0: Array | None,
    dy: Array | None,
    dh: Array | None,
    dc: Array | None,
    gates: Array,
    cells: Array,
    recurrent_kernel: Array,
    c0: Array | None,
    mask: Array | None,
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> None:
    """The gradients of z and of the first state, from those of y and of the last state."""
    args = (dz, dh0, dc0, dy, dh, dc, gates, cells, recurrent_kernel, c0, mask, scratch)
    # The state before the first step is one step further back.
    end = -1 if dh0 is None and dc0 is None else -2
    for step in range(cells.shape[1] - 1, end, -1):
        _launch_step(device, "lstm_backward", cells, args, step, reverse)


def gru(
    device: Device,
    y: Array,
    memories: Array,
    gates: Array,
    h: Array | None,
    x: Array,
    recurrent_kernel: Array,
    recurrent_bias: Array | None,
    h0: Array | None,
    mask: Array | None,
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> None:
    """All steps of a GRU, from x = inputs kernel + bias."""
    args = (y, memories, gates, h, x, recurrent_kernel, recurrent_bias, h0, mask, scratch)
    for step in range(y.shape[1]):
        _launch_step(device, "gru", y, args, step, reverse)


def gru_backward(
    device: Device,
    dx: Array,
    dm: Array,
    dh0: Array | None,
    dy: Array | None,
    dh: Array | None,
    gates: Array,
    memories: Array,
    y: Array,
    recurrent_kernel: Array,
    h0: Array | None,
    mask: Array | None,
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> None:
    """The gradients of x, of m and of the first state, from those of y and of the last state."""
    args = (dx, dm, dh0, dy, dh, gates, memories, y, recurrent_kernel, h0, mask, scratch)
    end = -1 if dh0 is None else -2
    for step in range(y.shape[1] - 1, end, -1):
        _launch_step(device, "gru_backward", y, args, step, reverse)


def previous_steps(
    device: Device, y: Array, x: Array, first: Array | None, *, reverse: bool = False
) -> None:
    """The state before each step, in the order of the inputs."""
    batch, steps, units = y.shape
    if y.size > 0:
        sizes = (np.int32(reverse), np.int64(batch), np.int32(steps), np.int32(units))
        grid = flat_grid(device, y.size)
        device.launch("recurrent", "previous_steps", y, grid, (THREADS,), (y, x, first, *sizes))


def reverse_steps(device: Device, y: Array, x: Array) -> None:
    """y_t = x_(steps - 1 - t)."""
    batch, steps, units = y.shape
    if y.size > 0:
        sizes = (np.int64(batch), np.int32(steps), np.int32(units))
        grid = flat_grid(device, y.size)
        device.launch("recurrent", "reverse_steps", y, grid, (THREADS,), (y, x, *sizes))


def masked_steps(
    device: Device,
    y: Array,
    a: Array | None,
    b: Array | None,
    mask: Array,
    *,
    first: int = 0,
    reverse: bool = False,
    lasting: bool = False,
) -> None:
    """y_t = a_t where the mask has 1, else b_t; None is zero."""
    batch, steps, units = y.shape
    if y.size > 0:
        flags = (np.int32(first), np.int32(reverse), np.int32(lasting))
        sizes = (np.int64(batch), np.int32(steps), np.int32(units), np.int32(mask.shape[1]))
        args = (y, a, b, mask, *flags, *sizes)
        grid = flat_grid(device, y.size)
        device.launch("recurrent", "masked_steps", y, grid, (THREADS,), args)


def _launch_step(
    device: Device, symbol: str, sequence: Array, args: tuple[object, ...], step: int, reverse: bool
) -> None:
    batch, steps, units = sequence.shape
    if sequence.size > 0:
        grid = (ceil_div(batch, _ROWS), ceil_div(units, _UNITS))
        sizes = (np.int32(reverse), np.int32(batch), np.int32(steps), np.int32(units))
        device.launch(
            "recurrent", symbol, sequence, grid, (_UNITS, _ROWS), (*args, np.int32(step), *sizes)
        )
