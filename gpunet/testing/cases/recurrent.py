"""Op cases: recurrent layers. Each reference is the textbook formula in float64, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.op_checks import (
    Array,
    Case,
    Gradient,
    Maker,
    Values,
    given,
    integers,
    uniform,
)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _inputs(steps: int, reverse: bool) -> list[int]:
    """The input of each step, in the order in which the steps are taken."""
    return list(reversed(range(steps))) if reverse else list(range(steps))


def _there(mask: Array | None, step: int) -> Array:
    """Whether the step is not masked, (batch, 1)."""
    return np.ones((1, 1), bool) if mask is None else mask[:, step, None] != 0


def lstm(
    z: Array,
    recurrent_kernel: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    mask: Array | None = None,
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
        there = _there(mask, t)
        c_new = f * c + i * g
        h, c = np.where(there, o * np.tanh(c_new), h), np.where(there, c_new, c)
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
    mask: Array | None = None,
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
        dc_new = dc + dh * o * (1 - tanh_c**2)
        of_gates = (
            dc_new * g * i * (1 - i),
            dc_new * before * f * (1 - f),
            dc_new * i * (1 - g**2),
            dh * tanh_c * o * (1 - o),
        )
        there = _there(mask, t)
        dz[:, t] = np.where(there, np.concatenate(of_gates, axis=1), 0)
        dh = np.where(there, dz[:, t] @ recurrent_kernel.T, dh)
        dc = np.where(there, dc_new * f, dc)
    return {"dz": dz, "dh0": dh, "dc0": dc}


def gru(
    x: Array,
    recurrent_kernel: Array,
    recurrent_bias: Array | None = None,
    h0: Array | None = None,
    mask: Array | None = None,
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
        h = np.where(_there(mask, t), z * h + (1 - z) * g, h)
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
    mask: Array | None = None,
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
        there = _there(mask, t)
        dx[:, t] = np.where(there, np.concatenate([d_z, d_r, d_g], axis=1), 0)
        dm[:, t] = np.where(there, np.concatenate([d_z, d_r, d_g * r], axis=1), 0)
        dh = np.where(there, dh * z + dm[:, t] @ recurrent_kernel.T, dh)
    return {"dx": dx, "dm": dm, "dh0": dh}


def previous_steps(x: Array, first: Array | None = None, reverse: bool = False) -> Values:
    """The state before each step."""
    zero = np.zeros_like(x[:, 0]) if first is None else first
    y = np.concatenate([zero[:, None], x[:, :-1]], axis=1)
    return {"y": y[:, ::-1] if reverse else y}


def reverse_steps(x: Array) -> Values:
    """The last step first."""
    return {"y": x[:, ::-1]}


def masked_steps(
    y: Array,
    mask: Array,
    a: Array | None = None,
    b: Array | None = None,
    first: int = 0,
    reverse: bool = False,
    lasting: bool = False,
) -> Values:
    """a where the mask is 1, else b."""
    there = (mask[:, ::-1] if reverse else mask) != 0
    if lasting:
        there = np.cumsum(there, axis=1) > 0
    zero = np.zeros_like(y)
    of_steps = there[:, first : first + y.shape[1], None]
    return {"y": np.where(of_steps, zero if a is None else a, zero if b is None else b)}


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


def _both(*shape: int) -> Values:
    return {"a": shape, "b": shape}


_INITIAL = {"dz": "z", "dh0": "h0", "dc0": "c0"}
_SAVED = {name: name for name in ("gates", "cells", "recurrent_kernel", "c0", "mask")}
_SAVED_BY_GRU = {
    name: name for name in ("gates", "memories", "y", "recurrent_kernel", "h0", "mask")
}
_MASK = integers(3, 4, high=2, dtype="uint8")
_ALL_MASKED = given(np.zeros((3, 4)), "uint8", "masked")

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
            *(
                _forward(3, 4, 5, mask=_MASK, reverse=reverse, **_state("h0", "c0"))
                for reverse in (False, True)
            ),
            _forward(3, 4, 5, mask=_ALL_MASKED, **_state("h0")),
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
            *(
                _backward(
                    *(3, 4, 5),
                    **_state("dh", "dc", "c0"),
                    dy=(3, 4, 5),
                    mask=mask,
                    reverse=reverse,
                )
                for reverse, mask in ((False, _MASK), (True, _MASK), (False, _ALL_MASKED))
            ),
        ),
        float32=2e-5,
    ),
    Case(
        "gru",
        gru,
        (
            *(_gru(*s, recurrent_bias=(3 * s[2],)) for s in SHAPES),
            *(_gru(3, 4, 5, reverse=reverse, **_state("h0")) for reverse in (False, True)),
            *(
                _gru(3, 4, 5, mask=_MASK, reverse=reverse, **_state("h0"))
                for reverse in (False, True)
            ),
            _gru(9, 3, 33, reverse=True, h=None, **_state("h0", batch=9, units=33)),
        ),
        tuple(
            Gradient(
                "gru_backward",
                output,
                {"dx": "x", "dh0": "h0"},
                {to: "dy", **_SAVED_BY_GRU},
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
            *(
                _gru_backward(
                    3, 4, 5, **_state("dh", "h0"), dy=(3, 4, 5), mask=_MASK, reverse=reverse
                )
                for reverse in (False, True)
            ),
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
    Case(
        "reverse_steps",
        reverse_steps,
        tuple({"x": s} for s in SHAPES),
        (Gradient("reverse_steps", "y", {"y": "x"}, {"x": "dy"}),),
    ),
    Case(
        "masked_steps",
        masked_steps,
        (
            {"y": (3, 4, 5), "a": (3, 4, 5), "b": (3, 4, 5), "mask": _MASK},
            {"y": (3, 2, 5), "a": (3, 2, 5), "mask": _MASK, "first": 1, "reverse": True},
            {"y": (3, 1, 5), "b": (3, 1, 5), "mask": _MASK, "first": 3},
            {"y": (3, 1, 5), "mask": _MASK},
            *(
                {**_both(3, 4, 33), "mask": _MASK, "lasting": True, "reverse": reverse}
                for reverse in (False, True)
            ),
            {"a": (0, 4, 5), "mask": (integers(0, 4, high=2, dtype="uint8"))},
            {**_both(70, 2, 8), "mask": integers(70, 2, high=2, dtype="uint8")},
        ),
        (
            Gradient("masked_steps", "y", {"y": "a"}, {"a": "dy", "mask": "mask"}),
            Gradient("masked_steps", "y", {"y": "b"}, {"b": "dy", "mask": "mask"}),
        ),
    ),
)
