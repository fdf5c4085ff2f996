"""Op cases: recurrent layers. Each reference is the textbook formula in float64, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values, uniform


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _inputs(steps: int, reverse: bool) -> list[int]:
    """The input of each step, in the order in which the steps are taken."""
    return list(reversed(range(steps))) if reverse else list(range(steps))


def lstm(
    z: Array,
    recurrent_kernel: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    reverse: bool = False,
) -> Values:
    """An LSTM."""
    batch, steps, _ = z.shape
    shape = (batch, len(recurrent_kernel))
    h = np.zeros(shape) if h0 is None else h0
    c = np.zeros(shape) if c0 is None else c0
    y, cells = np.zeros((2, batch, steps, shape[1]))
    gates = np.zeros_like(z)
    for s, t in enumerate(_inputs(steps, reverse)):
        a_i, a_f, a_g, a_o = np.split(z[:, t] + h @ recurrent_kernel, 4, axis=1)
        i, f, g, o = _sigmoid(a_i), _sigmoid(a_f), np.tanh(a_g), _sigmoid(a_o)
        c = f * c + i * g
        h = o * np.tanh(c)
        y[:, s], cells[:, s], gates[:, t] = h, c, np.concatenate([i, f, g, o], axis=1)
    return {"y": y, "cells": cells, "gates": gates, "h": h, "c": c}


def lstm_backward(
    gates: Array,
    cells: Array,
    recurrent_kernel: Array,
    dy: Array | None = None,
    dh: Array | None = None,
    dc: Array | None = None,
    c0: Array | None = None,
    reverse: bool = False,
) -> Values:
    """The gradient of an LSTM."""
    batch, steps, units = cells.shape
    dh = np.zeros((batch, units)) if dh is None else dh
    dc = np.zeros((batch, units)) if dc is None else dc
    dz = np.zeros_like(gates)
    for s, t in reversed(list(enumerate(_inputs(steps, reverse)))):
        i, f, g, o = np.split(gates[:, t], 4, axis=1)
        before = cells[:, s - 1] if s else np.zeros((batch, units)) if c0 is None else c0
        tanh_c = np.tanh(cells[:, s])
        dh = dh if dy is None else dh + dy[:, s]
        dc = dc + dh * o * (1 - tanh_c**2)
        of_gates = (
            dc * g * i * (1 - i),
            dc * before * f * (1 - f),
            dc * i * (1 - g**2),
            dh * tanh_c * o * (1 - o),
        )
        dz[:, t] = np.concatenate(of_gates, axis=1)
        dh, dc = dz[:, t] @ recurrent_kernel.T, dc * f
    return {"dz": dz, "dh0": dh, "dc0": dc}


def gru(
    x: Array,
    recurrent_kernel: Array,
    recurrent_bias: Array | None = None,
    h0: Array | None = None,
    reverse: bool = False,
) -> Values:
    """A GRU."""
    batch, steps, _ = x.shape
    units = len(recurrent_kernel)
    h = np.zeros((batch, units)) if h0 is None else h0
    y, memories = np.zeros((2, batch, steps, units))
    gates = np.zeros_like(x)
    for s, t in enumerate(_inputs(steps, reverse)):
        m = h @ recurrent_kernel + (0 if recurrent_bias is None else recurrent_bias)
        (x_z, x_r, x_g), (m_z, m_r, m_g) = np.split(x[:, t], 3, axis=1), np.split(m, 3, axis=1)
        z, r = _sigmoid(x_z + m_z), _sigmoid(x_r + m_r)
        g = np.tanh(x_g + r * m_g)
        h = z * h + (1 - z) * g
        y[:, s], memories[:, s], gates[:, t] = h, m_g, np.concatenate([z, r, g], axis=1)
    return {"y": y, "memories": memories, "gates": gates, "h": h}


def gru_backward(
    gates: Array,
    memories: Array,
    y: Array,
    recurrent_kernel: Array,
    dy: Array | None = None,
    dh: Array | None = None,
    h0: Array | None = None,
    reverse: bool = False,
) -> Values:
    """The gradient of a GRU."""
    batch, steps, units = y.shape
    dh = np.zeros((batch, units)) if dh is None else dh
    dx, dm = np.zeros_like(gates), np.zeros_like(gates)
    for s, t in reversed(list(enumerate(_inputs(steps, reverse)))):
        z, r, g = np.split(gates[:, t], 3, axis=1)
        before = y[:, s - 1] if s else np.zeros((batch, units)) if h0 is None else h0
        dh = dh if dy is None else dh + dy[:, s]
        d_z = dh * (before - g) * z * (1 - z)
        d_g = dh * (1 - z) * (1 - g**2)
        d_r = d_g * memories[:, s] * r * (1 - r)
        dx[:, t] = np.concatenate([d_z, d_r, d_g], axis=1)
        dm[:, t] = np.concatenate([d_z, d_r, d_g * r], axis=1)
        dh = dh * z + dm[:, t] @ recurrent_kernel.T
    return {"dx": dx, "dm": dm, "dh0": dh}


def previous_steps(x: Array, first: Array | None = None, reverse: bool = False) -> Values:
    """The state before each step."""
    zero = np.zeros_like(x[:, 0]) if first is None else first
    y = np.concatenate([zero[:, None], x[:, :-1]], axis=1)
    return {"y": y[:, ::-1] if reverse else y}


# ---------------------------------------------------------------------------------- the rows

SHAPES = ((3, 4, 5), (1, 1, 1), (9, 3, 33), (2, 5, 64), (0, 3, 4), (70, 2, 8))


def _kernel(units: int, gates: int) -> Maker:
    """Of a size that keeps the states of large layers away from the limits of the gates."""
    shape = (units, gates * units)
    scale = 1 / np.sqrt(units)
    text = "x".join(map(str, shape))
    return Maker(text, lambda random: random.standard_normal(shape) * scale)


def _forward(batch: int, steps: int, units: int, **more: Any) -> Values:
    z = (batch, steps, 4 * units)
    return {"z": z, "recurrent_kernel": _kernel(units, 4), **more}


def _backward(batch: int, steps: int, units: int, **more: Any) -> Values:
    sequence = (batch, steps, units)
    gates, kernel = uniform(batch, steps, 4 * units), _kernel(units, 4)
    return {"gates": gates, "cells": sequence, "recurrent_kernel": kernel, **more}


def _state(*names: str, batch: int = 3, units: int = 5) -> Values:
    return dict.fromkeys(names, (batch, units))


def _gru(batch: int, steps: int, units: int, **more: Any) -> Values:
    return {"x": (batch, steps, 3 * units), "recurrent_kernel": _kernel(units, 3), **more}


def _gru_backward(batch: int, steps: int, units: int, **more: Any) -> Values:
    saved = {"gates": uniform(batch, steps, 3 * units), "recurrent_kernel": _kernel(units, 3)}
    return {**saved, "memories": (batch, steps, units), "y": (batch, steps, units), **more}


_INITIAL = {"dz": "z", "dh0": "h0", "dc0": "c0"}
_SAVED = {name: name for name in ("gates", "cells", "recurrent_kernel", "c0")}

CASES = (
    Case(
        "lstm",
        lstm,
        (
            *(_forward(*s) for s in SHAPES),
            *(
                _forward(3, 4, 5, reverse=reverse, **_state("h0", "c0"))
                for reverse in (False, True)
            ),
            _forward(9, 3, 33, reverse=True, h=None, **_state("h0", batch=9, units=33)),
            _forward(3, 4, 5, c=None, **_state("c0")),
        ),
        tuple(
            Gradient("lstm_backward", output, _INITIAL, {to: "dy", **_SAVED})
            for output, to in (("y", "dy"), ("h", "dh"), ("c", "dc"))
        ),
    ),
    Case(
        "lstm_backward",
        lstm_backward,
        (
            *(_backward(*s, dy=s) for s in SHAPES),
            *(
                _backward(3, 4, 5, reverse=reverse, dy=(3, 4, 5), **_state("dh", "dc", "c0"))
                for reverse in (False, True)
            ),
            _backward(3, 4, 5, dh0=None, dc0=None, **_state("dh")),
            _backward(9, 3, 33, dc0=None, reverse=True, **_state("dc", batch=9, units=33)),
        ),
        float32=2e-5,
    ),
    Case(
        "gru",
        gru,
        (
            *(_gru(*s, recurrent_bias=(3 * s[2],)) for s in SHAPES),
            *(_gru(3, 4, 5, reverse=reverse, **_state("h0")) for reverse in (False, True)),
            _gru(9, 3, 33, reverse=True, h=None, **_state("h0", batch=9, units=33)),
        ),
        tuple(
            Gradient(
                "gru_backward",
                output,
                {"dx": "x", "dh0": "h0"},
                {to: "dy", **{n: n for n in ("gates", "memories", "y", "recurrent_kernel", "h0")}},
            )
            for output, to in (("y", "dy"), ("h", "dh"))
        ),
    ),
    Case(
        "gru_backward",
        gru_backward,
        (
            *(_gru_backward(*s, dy=s) for s in SHAPES),
            *(
                _gru_backward(3, 4, 5, reverse=reverse, dy=(3, 4, 5), **_state("dh", "h0"))
                for reverse in (False, True)
            ),
            _gru_backward(9, 3, 33, dh0=None, **_state("dh", batch=9, units=33)),
        ),
        float32=2e-5,
    ),
    Case(
        "previous_steps",
        previous_steps,
        (
            *({"x": s} for s in SHAPES),
            *({"x": (3, 4, 5), "first": (3, 5), "reverse": r} for r in (False, True)),
            {"x": (9, 3, 33), "reverse": True},
        ),
    ),
)
