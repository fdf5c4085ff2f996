"""Long short-term memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet import initializers
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.base import Context
from gpunet.layers.cells import (
    Activated,
    RecurrentCell,
    add_bias,
    bias_gradient,
    columns,
    joined,
    product,
    total,
)
from gpunet.layers.gated import Gated
from gpunet.layers.recurrent import Gradients
from gpunet.layers.unrolled import StepContext


class LSTMCell(RecurrentCell):
    """One step of an `LSTM`, for `RNN`.

    Args:
        units: how many numbers h and c have.
        activation: as in `LSTM`, like all that follow.
        recurrent_activation: the function of the gates i, f and o.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 4 * units).
        recurrent_initializer: those of the recurrent kernel, (units, 4 * units).
        bias_initializer: those of the bias, (4 * units,).
        unit_forget_bias: whether the bias of f starts at 1.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: one on the recurrent kernel.
        bias_regularizer: one on the bias.
        kernel_constraint: what the kernel must keep to.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of the inputs that is dropped in training.
        recurrent_dropout: that of the state.
        seed: what is dropped; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.RNN(LSTMCell(8))(Input((5, 3))).shape
        (None, 8)
    """

    gates = 4

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)
        self.unit_forget_bias = self.flag("unit_forget_bias", unit_forget_bias)

    @property
    def state_size(self) -> list[int]:
        """h and c."""
        return [self.units, self.units]

    def first_bias(self) -> Any:
        """The initializer of the bias."""
        return ForgetBias(self.bias_initializer) if self.unit_forget_bias else super().first_bias()

    def forward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """a = x kernel + h recurrent_kernel + bias, then the gates."""
        h, cell = c.states
        of_inputs, of_state = self.product_of_inputs(c), self.product_of_state(c)
        a = total(op, c, of_inputs.forward(op, c.x), of_state.forward(op, h))
        a = add_bias(op, c, a, c.bias if self.use_bias else None)
        gates = LSTMGates(c, self)
        gates.forward(op, c.y, c.new_states[1], a, cell)
        c.new_states = (c.y, c.new_states[1])
        c.saved = gates, of_inputs, of_state

    def backward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """Through the gates, then through the products."""
        dh, dcell = c.dstates
        gates, of_inputs, of_state = c.saved
        da = gates.backward(op, dcell, c.dy, c.dnew_states[1])
        if self.use_bias:
            bias_gradient(op, c, c.dbias, da)
        of_inputs.backward(op, c.dx, c.dkernel, da)
        of_state.backward(op, dh, c.drecurrent_kernel, da)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "unit_forget_bias": self.unit_forget_bias}


class LSTMGates:
    """i, f, o = s(a_i, a_f, a_o); c' = f c + i t(a_c); h = o t(c'), with any activations s and t.

    Arrays are matrices: (rows, 4 * units) of a, whose columns stand in the order i f c o, and
    (rows, units) of h and c.
    """

    def __init__(self, c: StepContext, cell: Any) -> None:
        self.c = c
        recurrent, activation = cell.recurrent_activation, cell.activation
        order = (recurrent, recurrent, activation, recurrent, activation)
        self.activated = [Activated(c, function) for function in order]
        self.values: list[Buffer]

    def forward(self, op: Recorder, h: Buffer, new: Buffer, a: Buffer, cell: Buffer) -> None:
        """Write h and the new cells, from a and the cells before."""
        parts = columns(op, self.c, a, *[h.shape[1]] * 4)
        pairs = zip(self.activated[:4], parts, strict=True)
        i, f, g, o = (activated.forward(op, part) for activated, part in pairs)
        kept, written = product(op, self.c, f, cell), product(op, self.c, i, g)
        op.add(new, kept, written)
        y = self.activated[4].forward(op, new)
        op.multiply(h, o, y)
        self.values = [i, f, g, o, y, cell]

    def backward(self, op: Recorder, dcell: Buffer, dh: Buffer, dnew: Buffer) -> Buffer:
        """Write the gradient of the cells before; returns that of a."""
        c = self.c
        i, f, g, o, y, cell = self.values
        through = self.activated[4].backward(op, product(op, c, dh, o))
        dc = total(op, c, dnew, through)
        slopes = (
            product(op, c, dc, g),
            product(op, c, dc, cell),
            product(op, c, dc, i),
            product(op, c, dh, y),
        )
        op.multiply(dcell, dc, f)
        pairs = zip(self.activated[:4], slopes, strict=True)
        return joined(op, c, *(activated.backward(op, slope) for activated, slope in pairs))


class LSTM(Gated):
    """Long short-term memory: a state h and cells c that gates read, keep and write at each step.

    With a = x_t kernel + h_(t-1) recurrent_kernel + bias, whose units stand in the order i f c o:
    i, f, o = sigmoid(a_i, a_f, a_o); c_t = f c_(t-1) + i tanh(a_c); h_t = o tanh(c_t).

    At a step that is masked for a sample h and c stay as they are, and the output is that of the
    step before (zero where there was none).

    Args:
        units: how many numbers h and c have.
        activation: the function in the place of tanh; None for none.
        recurrent_activation: the function in the place of sigmoid. With others than tanh and
            sigmoid the steps are recorded one by one, which takes longer.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 4 * units).
        recurrent_initializer: first values of the recurrent kernel, (units, 4 * units).
        bias_initializer: first values of the bias, (4 * units,).
        unit_forget_bias: whether the bias of f starts at 1, so that cells are kept at first.
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of features that are dropped in training, the same in all steps.
        recurrent_dropout: the share of h that is dropped in training before it is multiplied by the
            recurrent kernel, the same in all steps, for each gate another one (then features, too,
            are dropped for each gate apart). The steps of training are then recorded one by one.
        seed: layers with the same seed drop the same; None for random numbers of its own.
        return_sequences: whether to return h of every step, (batch, steps, units), or the last.
        return_state: whether to return the last h and c besides: [output, h, c].
        go_backwards: whether to go from the last step to the first; h of every step then stands in
            this order, too.
        stateful: whether a batch starts from the states in which the one before ended, sample by
            sample, until ``reset_state()``. The Input must say the batch size. `Model.save_weights`
            saves the states, too; models of another batch size leave them out.
        unroll: accepted as in Keras: no step needs unrolling.
        use_cudnn: accepted as in Keras: kernels are always gpunet's own.
        zero_output_for_mask: whether the output of masked steps is zero.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs that are not (batch, steps, features).

    Source: Hochreiter and Schmidhuber, 1997; Gers et al., 2000 (forget gates).

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([LSTM(8, input_shape=(5, 3))]).count_params()
        384
    """

    cell_type = LSTMCell

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)

    def steps_forward(
        self, op: Recorder, c: Context, out: Buffer, first: list[Buffer | None]
    ) -> list[Buffer]:
        """z = x kernel + bias for all steps at once, then the steps."""
        h0, c0 = first
        z = self.inputs_product(op, c, c.bias if self.cell.use_bias else None)
        gates, cells = c.scratch(z.shape, "gates"), self.sequence(c, "cells")
        y, h = self.targets(c, out, h0)
        last = self.state(c, "last_cells")
        kernel, backwards = c.recurrent_kernel, self.go_backwards
        op.lstm(y, cells, gates, h, last, z, kernel, h0, c0, c.mask, reverse=backwards)
        self.finish(op, c, out, y, h, h0)
        c.saved = y, cells, gates, h0, c0
        return [h, last]

    def steps_backward(
        self, op: Recorder, c: Context, dout: Buffer | None, dlast: Gradients
    ) -> None:
        """dz of all steps, and from it the gradients of the weights and of x, each at once."""
        y, cells, gates, h0, c0 = c.saved
        dz, before = c.scratch(gates.shape, "dz"), c.scratch(y.shape, "before")
        dy, dh = self.state_gradients(op, c, dout, dlast[0], h0)
        dfirst, saved = self.first_gradients(c), (gates, cells, c.recurrent_kernel, c0, c.mask)
        op.lstm_backward(dz, *dfirst, dy, dh, dlast[1], *saved, reverse=self.go_backwards)
        self.add_first_gradients(op, c, dfirst)
        op.previous_steps(before, y, h0, reverse=self.go_backwards)
        op.gemm(c.drecurrent_kernel, before, dz, ta=True)
        self.inputs_backward(op, c, dz, c.dbias if self.cell.use_bias else None)


class ForgetBias(initializers.Initializer):
    """Ones for f, and another initializer's values for i and for c and o."""

    def __init__(self, others: initializers.Initializer) -> None:
        self.others = others

    def __call__(self, shape: Any, dtype: Any = "float32") -> Any:
        """The bias of all four gates."""
        (size,) = shape
        units = size // 4
        parts = (
            self.others((units,), dtype),
            np.ones(units, dtype),
            self.others((2 * units,), dtype),
        )
        return np.concatenate(parts)
