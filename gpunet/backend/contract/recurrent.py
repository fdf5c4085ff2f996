"""Recurrent layers: all steps of a sequence in one op, and what goes with them.

What does not depend on the step before is left to ordinary products over all steps: z = x kernel +
bias before these ops, and behind them the gradients of x, kernel and recurrent kernel. Sequences
are (batch, steps, numbers).

With ``reverse`` the steps are taken from the last to the first. What belongs to an input (z or x,
gates and their gradients) stands in the order of the inputs, what belongs to a state (y, cells,
memories, dy) in the order in which the steps are taken, as Keras returns it.

A mask is 1 for inputs that are there and 0 for those that are not, in the order of the inputs: at
a step that is masked the state stays as it was, for this sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, Out, Scratch, Shapes, op
from gpunet.errors import ShapeError

LSTM_GATES = 4
GRU_GATES = 3


def _fits(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    count = LSTM_GATES if name.startswith("lstm") else GRU_GATES
    units, gate_units = shapes["recurrent_kernel"]
    steps = shapes["gates"][1]
    if gate_units != count * units or steps < 1:
        raise ShapeError(
            f"op {name} takes at least one step and a recurrent_kernel (units, {count} * units), "
            f"got {steps} steps and {(units, gate_units)}."
        )


def _fits_mask(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    first, steps, inputs = attributes.get("first", 0), shapes["y"][1], shapes["mask"][1]
    if not 0 <= first <= inputs - steps:
        raise ShapeError(
            f"op {name} takes steps that the mask has, got {steps} from number {first} on, and a "
            f"mask of {inputs}."
        )


def _of_lstm(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates with the constants of their formulas, its states, the recurrent kernel."""
    batch, _, units = shapes["cells"]
    return (3 * LSTM_GATES + 5) * batch * units + LSTM_GATES * units * units


def _of_lstm_backward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates and their gradients, its states, and the recurrent kernel transposed."""
    batch, _, units = shapes["cells"]
    return (2 * LSTM_GATES + 6) * batch * units + LSTM_GATES * units * units


def _of_gru(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates and what the last state adds to them, its state, the recurrent kernel."""
    batch, _, units = shapes["y"]
    return (2 * GRU_GATES + 3) * batch * units + GRU_GATES * units * units


def _of_gru_backward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """A step's gates and both gradients of them, its state, and the recurrent kernel transposed."""
    batch, _, units = shapes["y"]
    return (3 * GRU_GATES + 3) * batch * units + GRU_GATES * units * units


@op(
    _fits,
    _of_lstm,
    y="batch steps units",
    cells="batch steps units",
    gates="batch steps gate_units",
    h="batch units",
    c="batch units",
    z="batch steps gate_units",
    recurrent_kernel="units gate_units",
    h0="batch units",
    c0="batch units",
    mask="uint8: batch steps",
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
    mask: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """All steps of an LSTM, from z = x kernel + bias; the gates stand in Keras' order i f g o.

    a = z_t + h_(t-1) recurrent_kernel; i, f, o = sigmoid(a_i, a_f, a_o); g = tanh(a_g);
    c_t = f c_(t-1) + i g; h_t = o tanh(c_t). y has every h_t, cells every c_t, gates i f g o of
    every step; h and c are the last ones. The first step starts from h0 and c0; None is zero. At a
    masked step h_t = h_(t-1) and c_t = c_(t-1), and its gates are what nothing was made of.
    """


@op(
    _fits,
    _of_lstm_backward,
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
    mask="uint8: batch steps",
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
    mask: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """The gradients of z and of the first state, from those of y and of the last state.

    Backwards in time, with dh_t = dy_t + dz_(t+1) recurrent_kernel^T and
    dc_t = dc_(t+1) f_(t+1) + dh_t o (1 - tanh(c_t)^2):

    dz_i = dc g i (1 - i); dz_f = dc c_(t-1) f (1 - f); dz_g = dc i (1 - g^2);
    dz_o = dh tanh(c_t) o (1 - o).

    At a masked step dz is zero, and dh and dc go on to the step before as they are.
    The recurrent kernel's gradient is one product of `previous_steps` of y and dz.
    """


@op(
    _fits,
    _of_gru,
    y="batch steps units",
    memories="batch steps units",
    gates="batch steps gate_units",
    h="batch units",
    x="batch steps gate_units",
    recurrent_kernel="units gate_units",
    recurrent_bias="gate_units",
    h0="batch units",
    mask="uint8: batch steps",
    scratch="full: scratch_size",
    in_place="gates=x",
)
def gru(
    y: Out,
    memories: Out,
    gates: Out,
    h: Out | None,
    x: In,
    recurrent_kernel: In,
    recurrent_bias: In | None,
    h0: In | None,
    mask: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """All steps of a GRU, from x = inputs kernel + bias; the gates stand in Keras' order z r g.

    m = h_(t-1) recurrent_kernel + recurrent_bias; z, r = sigmoid(x_t + m);
    g = tanh(x_g + r m_g); h_t = z h_(t-1) + (1 - z) g. y has every h_t, memories every m_g, gates
    z r g of every step; h is the last state. The first step starts from h0; None is zero. At a
    masked step h_t = h_(t-1), and its gates are what nothing was made of.
    """


@op(
    _fits,
    _of_gru_backward,
    dx="batch steps gate_units",
    dm="batch steps gate_units",
    dh0="batch units",
    dy="batch steps units",
    dh="batch units",
    gates="batch steps gate_units",
    memories="batch steps units",
    y="batch steps units",
    recurrent_kernel="units gate_units",
    h0="batch units",
    mask="uint8: batch steps",
    scratch="full: scratch_size",
)
def gru_backward(
    dx: Out,
    dm: Out,
    dh0: Out | None,
    dy: In | None,
    dh: In | None,
    gates: In,
    memories: In,
    y: In,
    recurrent_kernel: In,
    h0: In | None,
    mask: In | None,
    scratch: Scratch = None,
    *,
    reverse: bool = False,
) -> None:
    """The gradients of x, of m and of the first state, from those of y and of the last state.

    Backwards in time, with dh_t = dy_t + dh_(t+1) z_(t+1) + dm_(t+1) recurrent_kernel^T:

    dx_z = dh (h_(t-1) - g) z (1 - z); dx_g = dh (1 - z) (1 - g^2); dx_r = dx_g m_g r (1 - r);
    dm = dx, but dm_g = dx_g r. Both are in the order of the inputs. Of dm, sums over all rows are
    the gradient of recurrent_bias, and a product with `previous_steps` of y that of the kernel. At
    a masked step dx and dm are zero, and dh goes on to the step before as it is.
    """


@op(y="batch steps units", x="batch steps units", first="batch units")
def previous_steps(y: Out, x: In, first: In | None, *, reverse: bool = False) -> None:
    """The state before each step, in the order of the inputs: y_t = x_(t-1), at first ``first``.

    With ``reverse`` x is in the order in which steps are taken and y in the reverse of it. None as
    ``first`` is zero.
    """


@op(
    _fits_mask,
    y="batch steps units",
    a="batch steps units",
    b="batch steps units",
    mask="uint8: batch inputs",
)
def masked_steps(
    y: Out,
    a: In | None,
    b: In | None,
    mask: In,
    *,
    first: int = 0,
    reverse: bool = False,
    lasting: bool = False,
) -> None:
    """y_t = a_t where the mask has 1, else b_t; None is zero.

    The steps of y are those from number ``first`` on, in the order in which they are taken. With
    ``lasting`` a 1 also counts for all steps after its own. The gradients of a and b are the same
    op: of dy and None, and of None and dy.
    """


@op(y="batch steps units", x="batch steps units")
def reverse_steps(y: Out, x: In) -> None:
    """y_t = x_(steps - 1 - t): the last step becomes the first. The gradient is the same op."""
