"""Recurrent layers: a step is one product and some ufuncs on views that are made once.

sigmoid(a) = tanh(a / 2) / 2 + 1/2, so one tanh does for all gates of a step. A step is computed in
contiguous scratch, and copied: rows of a sequence often lie a power of two apart, where a few of
them fill what ways the caches have for their addresses.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunet.backend.cpu.blocks import ONE
from gpunet.backend.cpu.prepared import Call, prepared
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
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> Call:
    """All steps of an LSTM, from z = x kernel + bias."""
    batch, _, units = y.shape
    of_gates, state = (batch, 4 * units), (batch, units)
    a, scale, shift, h_, c_, product = _parts(scratch, *[of_gates] * 3, *[state] * 3)
    i, f, g, o = _gates(a)
    sequences = [_steps(part, reverse) for part in (z, gates)] + [_steps(y), _steps(cells)]

    def run() -> None:
        # Arrays of the gates' shape: one ufunc over all columns takes less time than over some.
        scale.fill(0.5)
        shift.fill(0.5)
        _gates(scale)[2].fill(1.0)
        _gates(shift)[2].fill(0.0)
        np.copyto(h_, 0.0 if h0 is None else h0)
        np.copyto(c_, 0.0 if c0 is None else c0)
        for z_t, gates_t, y_t, cells_t in zip(*sequences, strict=True):
            np.dot(h_, recurrent_kernel, a)
            np.add(a, z_t, out=a)
            np.multiply(a, scale, out=a)
            np.tanh(a, out=a)
            np.multiply(a, scale, out=a)
            np.add(a, shift, out=a)
            np.copyto(gates_t, a)
            np.multiply(c_, f, out=c_)
            np.multiply(i, g, out=product)
            np.add(c_, product, out=c_)
            np.copyto(cells_t, c_)
            np.tanh(c_, out=product)
            np.multiply(o, product, out=h_)
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
    scratch: Array = None,
    *,
    reverse: bool = False,
) -> Call:
    """The gradients of z and of the first state, from those of y and of the last state."""
    batch, steps, units = cells.shape
    of_gates, state = (batch, 4 * units), (batch, units)
    a, da, dh_, dc_, tanh_c, product, transposed = _parts(
        scratch, of_gates, of_gates, *[state] * 4, (4 * units, units)
    )
    (i, f, g, o), (da_i, da_f, da_g, da_o) = _gates(a), _gates(da)
    sigmoids = (a[:, : 2 * units], da[:, : 2 * units]), (o, da_o)
    before = [0.0 if c0 is None else c0, *_steps(cells)][:steps]
    dys = [None] * steps if dy is None else _steps(dy)
    sequences = [_steps(part, reverse) for part in (dz, gates)] + [dys, _steps(cells), before]
    backwards = list(reversed(list(zip(*sequences, strict=True))))

    def run() -> None:
        np.copyto(transposed, recurrent_kernel.T)
        np.copyto(dh_, 0.0 if dh is None else dh)
        np.copyto(dc_, 0.0 if dc is None else dc)
        for dz_t, gates_t, dy_t, cells_t, c_before in backwards:
            if dy_t is not None:
                np.add(dh_, dy_t, out=dh_)
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
            np.copyto(dz_t, da)
            np.multiply(dc_, f, out=dc_)
            np.dot(da, transposed, dh_)
        for first, gradient in ((dh0, dh_), (dc0, dc_)):
            if first is not None:
                np.copyto(first, gradient)

    return run


def _gates(array: Array) -> list[Array]:
    """The columns of each of four gates."""
    return list(np.split(array, 4, axis=1))


def _steps(sequence: Array, reverse: bool = False) -> list[Array]:
    """What a sequence holds at each step, in the order in which the steps are taken."""
    return list(sequence.swapaxes(0, 1)[:: -1 if reverse else 1])


def previous_steps(y: Array, x: Array, first: Array | None, *, reverse: bool = False) -> None:
    """The state before each step, in the order of the inputs."""
    ordered = y[:, ::-1] if reverse else y
    np.copyto(ordered[:, 1:], x[:, :-1])
    np.copyto(ordered[:, :1], 0.0 if first is None else first[:, None])


def _parts(scratch: Array, *shapes: tuple[int, int]) -> Iterator[Array]:
    """Matrices one after another in scratch memory."""
    start = 0
    for rows, columns in shapes:
        yield scratch[start : start + rows * columns].reshape(rows, columns)
        start += rows * columns
