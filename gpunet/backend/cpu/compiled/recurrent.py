"""Recurrent layers: a step is a product, NumPy's tanh, and a few loops over the batch.

``t`` is the place of a step in the sequence, ``step`` its number in the order in which the steps
are taken. NumPy's tanh takes 6 us for the gates of a step (32 x 1024), a third of a compiled one.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.compiled.kernel import kernel, zeros_or
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.cpu.recurrent import scratch_parts
from gpunet.backend.cpu.small_products import bind_product
from gpunet.backend.spec import Array

I, F, G, O = range(4)  # noqa: E741 - the names of an LSTM's gates
Z, R, N = range(3)
"""The gates of a GRU; N is the new state."""


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
    batch, steps, units = y.shape
    a, _, _, h_, c_, tanh_c, _, _, memory = scratch_parts(
        scratch, *[(batch, 4 * units)] * 3, *[(batch, units)] * 5, recurrent_kernel.shape
    )
    there = _there(mask, batch, steps)
    a_, z_, gates_ = _by_gate(a, 4), _by_gate(z, 4), _by_gate(gates, 4)

    copy_kernel, multiply = bind_product(a, h_, recurrent_kernel, memory)

    def run() -> None:
        copy_kernel()
        np.copyto(h_, 0.0 if h0 is None else h0)
        np.copyto(c_, 0.0 if c0 is None else c0)
        for step, t in enumerate(_order(steps, reverse)):
            multiply()
            _lstm_sums(a_, z_, t)
            np.tanh(a, a)
            _lstm_cells(gates_, cells, a_, c_, there, t, step)
            np.tanh(c_, tanh_c)
            _lstm_outputs(y, h_, a_, tanh_c, there, t, step)
        for last, value in ((h, h_), (c, c_)):
            if last is not None:
                np.copyto(last, value)

    return run


@kernel
def _lstm_sums(a: Array, z: Array, t: int) -> None:
    """a = a + z_t, of sigmoids the half: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2."""
    half, one = a.dtype.type(0.5), a.dtype.type(1)
    for i in range(len(a)):
        for gate in range(4):
            factor = one if gate == G else half
            for j in range(a.shape[2]):
                a[i, gate, j] = (a[i, gate, j] + z[i, t, gate, j]) * factor


@kernel
def _lstm_cells(
    gates: Array, cells: Array, a: Array, c: Array, there: Array, t: int, step: int
) -> None:
    """The gates from their tanh; c = f c + i g."""
    half = a.dtype.type(0.5)
    for i in range(len(a)):
        for gate in (I, F, O):
            for j in range(a.shape[2]):
                a[i, gate, j] = a[i, gate, j] * half + half
        for gate in range(4):
            for j in range(a.shape[2]):
                gates[i, t, gate, j] = a[i, gate, j]
        if there[i, t]:
            for j in range(a.shape[2]):
                c[i, j] = c[i, j] * a[i, F, j] + a[i, I, j] * a[i, G, j]
        for j in range(a.shape[2]):
            cells[i, step, j] = c[i, j]


@kernel
def _lstm_outputs(
    y: Array, h: Array, a: Array, tanh_c: Array, there: Array, t: int, step: int
) -> None:
    """h = o tanh(c)."""
    for i in range(len(a)):
        if there[i, t]:
            for j in range(a.shape[2]):
                h[i, j] = a[i, O, j] * tanh_c[i, j]
        for j in range(a.shape[2]):
            y[i, step, j] = h[i, j]


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
    _, da, dh_, dc_, tanh_c, past, *_, memory = scratch_parts(
        scratch, *[(batch, 4 * units)] * 2, *[(batch, units)] * 6, recurrent_kernel.shape
    )
    copy_kernel, multiply = bind_product(dh_, da, recurrent_kernel, memory, tb=True)
    there = _there(mask, batch, steps)
    first_c = np.zeros((batch, units), cells.dtype) if c0 is None else c0
    dy_ = np.empty((0, 0, 0), cells.dtype) if dy is None else dy
    written = _by_gate(dz, 4), _by_gate(da, 4), dh_, dc_, past
    backward = partial(_lstm_backward, *written, _by_gate(gates, 4), cells, first_c, tanh_c, dy_)
    order = list(enumerate(_order(steps, reverse)))[::-1]

    def run() -> None:
        copy_kernel()
        np.copyto(dh_, 0.0 if dh is None else dh)
        np.copyto(dc_, 0.0 if dc is None else dc)
        past.fill(0.0)
        for step, t in order:
            np.tanh(cells[:, step], tanh_c)
            backward(there, t, step)
            multiply()
        np.add(dh_, past, dh_)
        for first, gradient in ((dh0, dh_), (dc0, dc_)):
            if first is not None:
                np.copyto(first, gradient)

    return run


@kernel
def _lstm_backward(
    dz: Array,
    da: Array,
    dh: Array,
    dc: Array,
    past: Array,  # of dh, what reaches the state before other than by the product
    gates: Array,
    cells: Array,
    c0: Array,
    tanh_c: Array,
    dy: Array,
    there: Array,
    t: int,
    step: int,
) -> None:
    """One step; in loops of few arrays each, which compilers can tell apart."""
    zero, one = da.dtype.type(0), da.dtype.type(1)
    for i in range(len(da)):
        units = da.shape[2]
        for j in range(units):
            dh[i, j] += past[i, j]
        if len(dy):
            for j in range(units):
                dh[i, j] += dy[i, step, j]
        if not there[i, t]:
            past[i] = dh[i]
            da[i] = zero
            dz[i, t] = zero
            continue
        past[i] = zero
        before = cells[i, step - 1] if step else c0[i]
        y, slope = gates[i, t], da[i]
        for j in range(units):
            dc[i, j] += dh[i, j] * y[O, j] * (one - tanh_c[i, j] * tanh_c[i, j])
        for j in range(units):
            slope[I, j] = dc[i, j] * y[G, j] * y[I, j] * (one - y[I, j])
        for j in range(units):
            slope[F, j] = dc[i, j] * before[j] * y[F, j] * (one - y[F, j])
        for j in range(units):
            slope[G, j] = dc[i, j] * y[I, j] * (one - y[G, j] * y[G, j])
        for j in range(units):
            slope[O, j] = dh[i, j] * tanh_c[i, j] * y[O, j] * (one - y[O, j])
        for gate in range(4):
            for j in range(units):
                dz[i, t, gate, j] = slope[gate, j]
        for j in range(units):
            dc[i, j] *= y[F, j]


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
    batch, steps, units = y.shape
    a, m, h_, *_, memory = scratch_parts(
        scratch, *[(batch, 3 * units)] * 2, *[(batch, units)] * 3, recurrent_kernel.shape
    )
    copy_kernel, multiply = bind_product(m, h_, recurrent_kernel, memory)
    there, bias = _there(mask, batch, steps), zeros_or(recurrent_bias, 3 * units, y)
    a_, m_, x_, gates_ = _by_gate(a, 3), _by_gate(m, 3), _by_gate(x, 3), _by_gate(gates, 3)
    bias_, sigmoids, new = bias.reshape(3, units), a[:, : 2 * units], a[:, 2 * units :]

    def run() -> None:
        copy_kernel()
        np.copyto(h_, 0.0 if h0 is None else h0)
        for step, t in enumerate(_order(steps, reverse)):
            multiply()
            _gru_sums(memories, a_, m_, x_, bias_, t, step)
            np.tanh(sigmoids, sigmoids)
            _gru_new(a_, m_, x_, t)
            np.tanh(new, new)
            _gru_outputs(y, gates_, h_, a_, there, t, step)
        if h is not None:
            np.copyto(h, h_)

    return run


@kernel
def _gru_sums(
    memories: Array, a: Array, m: Array, x: Array, bias: Array, t: int, step: int
) -> None:
    """m = m + bias; a = (x_t + m) / 2 for the sigmoids."""
    half = a.dtype.type(0.5)
    for i in range(len(a)):
        for gate in (Z, R):
            for j in range(a.shape[2]):
                a[i, gate, j] = (m[i, gate, j] + bias[gate, j] + x[i, t, gate, j]) * half
        for j in range(a.shape[2]):
            m[i, N, j] += bias[N, j]
        for j in range(a.shape[2]):
            memories[i, step, j] = m[i, N, j]


@kernel
def _gru_new(a: Array, m: Array, x: Array, t: int) -> None:
    """The sigmoids from their tanh; what the new state is the tanh of."""
    half = a.dtype.type(0.5)
    for i in range(len(a)):
        for gate in (Z, R):
            for j in range(a.shape[2]):
                a[i, gate, j] = a[i, gate, j] * half + half
        for j in range(a.shape[2]):
            a[i, N, j] = x[i, t, N, j] + a[i, R, j] * m[i, N, j]


@kernel
def _gru_outputs(
    y: Array, gates: Array, h: Array, a: Array, there: Array, t: int, step: int
) -> None:
    """h = z h + (1 - z) n."""
    for i in range(len(a)):
        for gate in range(3):
            for j in range(a.shape[2]):
                gates[i, t, gate, j] = a[i, gate, j]
        if there[i, t]:
            for j in range(a.shape[2]):
                h[i, j] = a[i, Z, j] * (h[i, j] - a[i, N, j]) + a[i, N, j]
        for j in range(a.shape[2]):
            y[i, step, j] = h[i, j]


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
    _, _, dm_, dh_, past, _, memory = scratch_parts(
        scratch, *[(batch, 3 * units)] * 3, *[(batch, units)] * 3, recurrent_kernel.shape
    )
    copy_kernel, multiply = bind_product(dh_, dm_, recurrent_kernel, memory, tb=True)
    there = _there(mask, batch, steps)
    first_h = np.zeros((batch, units), y.dtype) if h0 is None else h0
    dy_ = np.empty((0, 0, 0), y.dtype) if dy is None else dy
    written = _by_gate(dx, 3), _by_gate(dm, 3), _by_gate(dm_, 3), dh_, past
    backward = partial(_gru_backward, *written, _by_gate(gates, 3), memories, y, first_h, dy_)
    order = list(enumerate(_order(steps, reverse)))[::-1]

    def run() -> None:
        copy_kernel()
        np.copyto(dh_, 0.0 if dh is None else dh)
        past.fill(0.0)
        for step, t in order:
            backward(there, t, step)
            multiply()
        if dh0 is not None:
            np.add(dh_, past, dh0)

    return run


@kernel
def _gru_backward(
    dx: Array,
    dm: Array,
    slopes: Array,  # dm of this step
    dh: Array,
    past: Array,  # of dh, what reaches the state before other than by the product
    gates: Array,
    memories: Array,
    y: Array,
    h0: Array,
    dy: Array,
    there: Array,
    t: int,
    step: int,
) -> None:
    """One step; in loops of few arrays each, which compilers can tell apart."""
    zero, one = dh.dtype.type(0), dh.dtype.type(1)
    for i in range(len(dh)):
        units = dh.shape[1]
        for j in range(units):
            dh[i, j] += past[i, j]
        if len(dy):
            for j in range(units):
                dh[i, j] += dy[i, step, j]
        if not there[i, t]:
            past[i] = dh[i]
            slopes[i] = zero
            dx[i, t] = zero
            dm[i, t] = zero
            continue
        before = y[i, step - 1] if step else h0[i]
        gate, slope, memory = gates[i, t], slopes[i], memories[i, step]
        for j in range(units):
            slope[Z, j] = dh[i, j] * (before[j] - gate[N, j]) * gate[Z, j] * (one - gate[Z, j])
        for j in range(units):
            slope[N, j] = dh[i, j] * (one - gate[Z, j]) * (one - gate[N, j] * gate[N, j])
        for j in range(units):
            slope[R, j] = slope[N, j] * memory[j] * gate[R, j] * (one - gate[R, j])
        dx[i, t] = slope
        for j in range(units):
            slope[N, j] *= gate[R, j]
        dm[i, t] = slope
        for j in range(units):
            past[i, j] = dh[i, j] * gate[Z, j]


def _by_gate(array: Array, count: int) -> Array:
    """The same array with an axis of gates before that of units."""
    return array.reshape(*array.shape[:-1], count, array.shape[-1] // count)


def _there(mask: Array | None, batch: int, steps: int) -> Array:
    return np.ones((batch, steps), np.uint8) if mask is None else mask


def _order(steps: int, reverse: bool) -> range:
    """Places in the order in which the steps are taken."""
    return range(steps - 1, -1, -1) if reverse else range(steps)
