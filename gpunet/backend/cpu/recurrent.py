"""Recurrent layers: a step is one product and some ufuncs on views that are made once.

sigmoid(a) = tanh(a / 2) / 2 + 1/2, so one tanh does for all gates of a step. A step is computed in
contiguous scratch, and copied: rows of a sequence often lie a power of two apart, where a few of
them fill what ways the caches have for their addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from gpunet.backend.cpu.blocks import HALF, ONE
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.cpu.small_products import bind_product
from gpunet.backend.spec import Array


@prepared
def lstm(
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
) -> Call:
    """All steps of an LSTM, from z = x kernel + bias."""
    batch, _, units = y.shape
    of_gates, state = (batch, 4 * units), (batch, units)
    a, scale, shift, h_, c_, product, h_before, c_before, memory = scratch_parts(
        scratch, *[of_gates] * 3, *[state] * 5, recurrent_kernel.shape
    )
    i, f, g, o = _gates(a)
    sequences = [_steps(part, reverse) for part in (z, gates)] + [_steps(y), _steps(cells)]
    find_stays, stays = _stays(mask, y.shape[1], reverse)

    copy_kernel, multiply = bind_product(a, h_, recurrent_kernel, memory)

    def run() -> None:
        find_stays()
        copy_kernel()
        # Arrays of the gates' shape: one ufunc over all columns takes less time than over some.
        scale.fill(0.5)
        shift.fill(0.5)
        _gates(scale)[2].fill(1.0)
        _gates(shift)[2].fill(0.0)
        np.copyto(h_, 0.0 if h0 is None else h0)
        np.copyto(c_, 0.0 if c0 is None else c0)
        for z_t, gates_t, y_t, cells_t, stays_t in zip(*sequences, stays, strict=True):
            if stays_t is not None:
                np.copyto(h_before, h_)
                np.copyto(c_before, c_)
            multiply()
            np.add(a, z_t, out=a)
            np.multiply(a, scale, out=a)
            np.tanh(a, out=a)
            np.multiply(a, scale, out=a)
            np.add(a, shift, out=a)
            np.copyto(gates_t, a)
            np.multiply(c_, f, out=c_)
            np.multiply(i, g, out=product)
            np.add(c_, product, out=c_)
            np.tanh(c_, out=product)
            np.multiply(o, product, out=h_)
            if stays_t is not None:
                np.copyto(h_, h_before, where=stays_t)
                np.copyto(c_, c_before, where=stays_t)
            np.copyto(cells_t, c_)
            np.copyto(y_t, h_)
        for last, value in ((h, h_), (c, c_)):
            if last is not None:
                np.copyto(last, value)

    return run


@prepared
def lstm_backward(
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
) -> Call:
    """The gradients of z and of the first state, from those of y and of the last state."""
    batch, steps, units = cells.shape
    of_gates, state = (batch, 4 * units), (batch, units)
    a, da, dh_, dc_, tanh_c, product, dh_after, dc_after, memory = scratch_parts(
        scratch, of_gates, of_gates, *[state] * 6, recurrent_kernel.shape
    )
    (i, f, g, o), (da_i, da_f, da_g, da_o) = _gates(a), _gates(da)
    sigmoids = (a[:, : 2 * units], da[:, : 2 * units]), (o, da_o)
    before = [0.0 if c0 is None else c0, *_steps(cells)][:steps]
    dys = [None] * steps if dy is None else _steps(dy)
    find_stays, stays = _stays(mask, steps, reverse)
    sequences = [_steps(part, reverse) for part in (dz, gates)] + [dys, _steps(cells), before]
    backwards = list(reversed(list(zip(*sequences, stays, strict=True))))

    copy_kernel, multiply = bind_product(dh_, da, recurrent_kernel, memory, tb=True)

    def run() -> None:
        find_stays()
        copy_kernel()
        np.copyto(dh_, 0.0 if dh is None else dh)
        np.copyto(dc_, 0.0 if dc is None else dc)
        for dz_t, gates_t, dy_t, cells_t, c_before, stays_t in backwards:
            if dy_t is not None:
                np.add(dh_, dy_t, out=dh_)
            if stays_t is not None:
                np.copyto(dh_after, dh_)
                np.copyto(dc_after, dc_)
            np.copyto(a, gates_t)
            np.tanh(cells_t, out=tanh_c)
            np.multiply(tanh_c, tanh_c, out=product)  # dc += dh o (1 - tanh(c)^2)
            np.subtract(ONE, product, out=product)
            np.multiply(product, o, out=product)
            np.multiply(product, dh_, out=product)
            np.add(dc_, product, out=dc_)
            np.multiply(a, a, out=da)  # the derivatives: y - y^2 of sigmoid, 1 - y^2 of tanh
            for gate, slope in sigmoids:
                np.subtract(gate, slope, out=slope)
            np.subtract(ONE, da_g, out=da_g)
            for slope, factor in ((da_i, g), (da_f, c_before), (da_g, i)):
                np.multiply(slope, factor, out=slope)
                np.multiply(slope, dc_, out=slope)
            np.multiply(tanh_c, dh_, out=product)
            np.multiply(da_o, product, out=da_o)
            if stays_t is not None:
                np.copyto(da, 0.0, where=stays_t)
            np.copyto(dz_t, da)
            np.multiply(dc_, f, out=dc_)
            multiply()
            if stays_t is not None:
                np.copyto(dh_, dh_after, where=stays_t)
                np.copyto(dc_, dc_after, where=stays_t)
        for first, gradient in ((dh0, dh_), (dc0, dc_)):
            if first is not None:
                np.copyto(first, gradient)

    return run


@prepared
def gru(
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
) -> Call:
    """All steps of a GRU, from x = inputs kernel + bias."""
    batch, _, units = y.shape
    of_gates, state = (batch, 3 * units), (batch, units)
    a, m, h_, product, h_before, memory = scratch_parts(
        scratch, of_gates, of_gates, *[state] * 3, recurrent_kernel.shape
    )
    (z, r, g), m_g = _gates(a, 3), m[:, 2 * units :]
    sigmoids, of_sigmoids = a[:, : 2 * units], m[:, : 2 * units]
    sequences = [_steps(part, reverse) for part in (x, gates)] + [_steps(y), _steps(memories)]
    find_stays, stays = _stays(mask, y.shape[1], reverse)

    copy_kernel, multiply = bind_product(m, h_, recurrent_kernel, memory)

    def run() -> None:
        find_stays()
        copy_kernel()
        np.copyto(h_, 0.0 if h0 is None else h0)
        for x_t, gates_t, y_t, memories_t, stays_t in zip(*sequences, stays, strict=True):
            if stays_t is not None:
                np.copyto(h_before, h_)
            multiply()
            if recurrent_bias is not None:
                np.add(m, recurrent_bias, out=m)
            np.copyto(a, x_t)
            np.add(sigmoids, of_sigmoids, out=sigmoids)
            np.multiply(sigmoids, HALF, out=sigmoids)
            np.tanh(sigmoids, out=sigmoids)
            np.multiply(sigmoids, HALF, out=sigmoids)
            np.add(sigmoids, HALF, out=sigmoids)
            np.copyto(memories_t, m_g)
            np.multiply(r, m_g, out=product)
            np.add(g, product, out=g)
            np.tanh(g, out=g)
            np.copyto(gates_t, a)
            np.subtract(h_, g, out=h_)  # z h + (1 - z) g = z (h - g) + g
            np.multiply(h_, z, out=h_)
            np.add(h_, g, out=h_)
            if stays_t is not None:
                np.copyto(h_, h_before, where=stays_t)
            np.copyto(y_t, h_)
        if h is not None:
            np.copyto(h, h_)

    return run


@prepared
def gru_backward(
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
) -> Call:
    """The gradients of x, of m and of the first state, from those of y and of the last state."""
    batch, steps, units = y.shape
    of_gates, state = (batch, 3 * units), (batch, units)
    a, da, dm_, dh_, product, dh_after, memory = scratch_parts(
        scratch, *[of_gates] * 3, *[state] * 3, recurrent_kernel.shape
    )
    (z, r, g), (da_z, da_r, da_g) = _gates(a, 3), _gates(da, 3)
    sigmoids, slopes, dm_g = a[:, : 2 * units], da[:, : 2 * units], dm_[:, 2 * units :]
    before = [0.0 if h0 is None else h0, *_steps(y)][:steps]
    dys = [None] * steps if dy is None else _steps(dy)
    find_stays, stays = _stays(mask, steps, reverse)
    sequences = [_steps(part, reverse) for part in (dx, dm, gates)]
    sequences += [dys, _steps(memories), before, stays]
    backwards = list(reversed(list(zip(*sequences, strict=True))))

    copy_kernel, multiply = bind_product(product, dm_, recurrent_kernel, memory, tb=True)

    def run() -> None:
        find_stays()
        copy_kernel()
        np.copyto(dh_, 0.0 if dh is None else dh)
        for dx_t, dm_t, gates_t, dy_t, m_g, h_before, stays_t in backwards:
            if dy_t is not None:
                np.add(dh_, dy_t, out=dh_)
            if stays_t is not None:
                np.copyto(dh_after, dh_)
            np.copyto(a, gates_t)
            np.multiply(a, a, out=da)  # the derivatives: y - y^2 of sigmoid, 1 - y^2 of tanh
            np.subtract(sigmoids, slopes, out=slopes)
            np.subtract(ONE, da_g, out=da_g)
            np.subtract(h_before, g, out=product)
            np.multiply(product, dh_, out=product)
            np.multiply(da_z, product, out=da_z)
            np.subtract(ONE, z, out=product)
            np.multiply(product, dh_, out=product)
            np.multiply(da_g, product, out=da_g)
            np.multiply(da_r, da_g, out=da_r)
            np.multiply(da_r, m_g, out=da_r)
            if stays_t is not None:
                np.copyto(da, 0.0, where=stays_t)
            np.copyto(dx_t, da)
            np.copyto(dm_, da)
            np.multiply(dm_g, r, out=dm_g)
            np.copyto(dm_t, dm_)
            np.multiply(dh_, z, out=dh_)
            multiply()
            np.add(dh_, product, out=dh_)
            if stays_t is not None:
                np.copyto(dh_, dh_after, where=stays_t)
        if dh0 is not None:
            np.copyto(dh0, dh_)

    return run


def _gates(array: Array, count: int = 4) -> list[Array]:
    """The columns of each gate."""
    return list(np.split(array, count, axis=1))


def _steps(sequence: Array, reverse: bool = False) -> list[Array]:
    """What a sequence holds at each step, in the order in which the steps are taken."""
    return list(sequence.swapaxes(0, 1)[:: -1 if reverse else 1])


def _stays(
    mask: Array | None, steps: int, reverse: bool
) -> tuple[Callable[[], object], list[Array | None]]:
    """A call that finds where the state stays as it is, and that for each step, (batch, 1)."""
    if mask is None:
        return (lambda: None), [None] * steps
    stays = np.empty((steps, len(mask), 1), np.bool_)
    return partial(np.equal, mask.T[:, :, None], 0, stays), _steps(stays.swapaxes(0, 1), reverse)


@prepared
def masked_steps(
    y: Array,
    a: Array | None,
    b: Array | None,
    mask: Array,
    *,
    first: int = 0,
    reverse: bool = False,
    lasting: bool = False,
) -> Call:
    """y_t = a_t where the mask has 1, else b_t; None is zero."""
    ordered = mask[:, ::-1] if reverse else mask
    last = first + y.shape[1]

    def run() -> None:
        there = ordered[:, :last] != 0  # (batch, steps) bytes
        if lasting:
            there = np.logical_or.accumulate(there, axis=1)
        np.copyto(y, 0.0 if b is None else b)
        np.copyto(y, 0.0 if a is None else a, where=there[:, first:, None])

    return run


def reverse_steps(y: Array, x: Array) -> None:
    """y_t = x_(steps - 1 - t)."""
    np.copyto(y, x[:, ::-1])


def previous_steps(y: Array, x: Array, first: Array | None, *, reverse: bool = False) -> None:
    """The state before each step, in the order of the inputs."""
    ordered = y[:, ::-1] if reverse else y
    np.copyto(ordered[:, 1:], x[:, :-1])
    np.copyto(ordered[:, :1], 0.0 if first is None else first[:, None])


def scratch_parts(scratch: Array, *shapes: tuple[int, int]) -> Iterator[Array]:
    """Matrices one after another in scratch memory."""
    start = 0
    for rows, columns in shapes:
        yield scratch[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
