"""Recurrent layers: all steps of a sequence in one op, and what goes with them.

What does not depend on the step before is left to ordinary products over all steps: z = x kernel +
bias before these ops, and behind them the gradients of x, kernel and recurrent kernel. Sequences
are (batch, steps, numbers).

With ``reverse`` the steps are taken from the last to the first. What belongs to an input (z, gates
and their gradients) stands in the order of the inputs, what belongs to a state (y, cells, dy) in
the order in which the steps are taken, as Keras returns it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, Out, Scratch, Shapes, op
from gpunet.errors import ShapeError

LSTM_GATES = 4


def _is_lstm(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    units, gate_units = shapes["recurrent_kernel"]
    steps = shapes["cells"][1]
    if gate_units != LSTM_GATES * units or steps < 1:
        raise ShapeError(
            f"op {name} takes at least one step and a recurrent_kernel (units, 4 * units), got "
            f"{steps} steps and {(units, gate_units)}."
        )


def _of_forward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates with the constants of their formulas, and its states."""
    batch, _, units = shapes["cells"]
    return 3 * (LSTM_GATES + 1) * batch * units


def _of_backward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates and their gradients, its states, and the recurrent kernel transposed."""
    batch, _, units = shapes["cells"]
    return (2 * LSTM_GATES + 4) * batch * units + LSTM_GATES * units * units


@op(
    _is_lstm,
    _of_forward,
    y="batch steps units",
    cells="batch steps units",
    gates="batch steps gate_units",
    h="batch units",
    c="batch units",
    z="batch steps gate_units",
    recurrent_kernel="units gate_units",
    h0="batch units",
    c0="batch units",
    scratch="full: scratch_size",
    in_place="gates=z",
)
def lstm(
    y: Out,
    cells: Out,
    gates: Out,
    h: Out | None,
    c: Out | None,
    z: In,
    recurrent_kernel: In,
    h0: In | None,
    c0: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """All steps of an LSTM, from z = x kernel + bias; the gates stand in Keras' order i f g o.

    a = z_t + h_(t-1) recurrent_kernel; i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g);
    c_t = f c_(t-1) + i g; h_t = o tanh(c_t). y has every h_t, cells every c_t, gates i f g o of
    every step; h and c are the last ones. The first step starts from h0 and c0; None is zero.
    """


@op(
    _is_lstm,
    _of_backward,
    dz="batch steps gate_units",
    dh0="batch units",
    dc0="batch units",
    dy="batch steps units",
    dh="batch units",
    dc="batch units",
    gates="batch steps gate_units",
    cells="batch steps units",
    recurrent_kernel="units gate_units",
    c0="batch units",
    scratch="full: scratch_size",
)
def lstm_backward(
    dz: Out,
    dh0: Out | None,
    dc0: Out | None,
    dy: In | None,
    dh: In | None,
    dc: In | None,
    gates: In,
    cells: In,
    recurrent_kernel: In,
    c0: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """The gradients of z and of the first state, from those of y and of the last state.

    Backwards in time, with dh_t = dy_t + dz_(t+1) recurrent_kernel^T and
    dc_t = dc_(t+1) f_(t+1) + dh_t o (1 - tanh(c_t)^2):

    dz_i = dc g i (1 - i); dz_f = dc c_(t-1) f (1 - f); dz_g = dc i (1 - g^2);
    dz_o = dh tanh(c_t) o (1 - o).

    The recurrent kernel's gradient is one product of `previous_steps` of y and dz.
    """


@op(y="batch steps units", x="batch steps units", first="batch units")
def previous_steps(y: Out, x: In, first: In | None, *, reverse: bool = False) -> None:
    """The state before each step, in the order of the inputs: y_t = x_(t-1), at first ``first``.

    With ``reverse`` x is in the order in which steps are taken and y in the reverse of it. None as
    ``first`` is zero.
    """
