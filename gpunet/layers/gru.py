"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

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
from gpunet.layers.unrolled import StepContext, zeros


class GRUCell(RecurrentCell):
    """One step of a `GRU`, for `RNN`.

    Args:
        units: how many numbers the state has.
        activation: as in `GRU`, like all that follow.
        recurrent_activation: the function of the gates z and r.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 3 * units).
        recurrent_initializer: those of the recurrent kernel, (units, 3 * units).
        bias_initializer: those of the bias.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: one on the recurrent kernel.
        bias_regularizer: one on the bias.
        kernel_constraint: what the kernel must keep to.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of the inputs that is dropped in training.
        recurrent_dropout: that of the state.
        reset_after: whether r acts behind the product with the recurrent kernel.
        seed: what is dropped; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.RNN(GRUCell(8))(Input((5, 3))).shape
        (None, 8)
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)
        self.reset_after = self.flag("reset_after", reset_after)

    def bias_shape(self) -> tuple[int, ...]:
        """The bias of the inputs, and with reset_after that of the state."""
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def biases(self, op: Recorder, c: Context) -> tuple[Buffer | None, Buffer | None]:
        """The bias of the inputs, and that of the state."""
        if not self.use_bias:
            return None, None
        if not self.reset_after:
            return c.bias, None
        size = 3 * self.units
        of_inputs, of_state = columns(op, c, c.bias.reshape(1, 2 * size), size, size)
        return of_inputs.reshape(-1), of_state.reshape(-1)

    def forward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """The gates z and r, then what they let through."""
        (h,), units = c.states, self.units
        of_inputs, of_state = self.product_of_inputs(c), self.product_of_state(c)
        of_reset = self.product_of_state(c)
        bias, bias_of_state = self.biases(op, c)
        x = add_bias(op, c, of_inputs.forward(op, c.x), bias)
        m = add_bias(op, c, of_state.forward(op, h), bias_of_state)
        x_gates, x_g = columns(op, c, x, 2 * units, units)
        m_gates, m_g = columns(op, c, m, 2 * units, units)
        gates = Activated(c, self.recurrent_activation)
        renewed = Activated(c, self.activation)
        z, r = columns(op, c, gates.forward(op, total(op, c, x_gates, m_gates)), units, units)
        if self.reset_after:
            through = product(op, c, r, m_g)
        else:
            n = of_reset.forward(op, product(op, c, r, h))
            _, through = columns(op, c, n, 2 * units, units)
        g = renewed.forward(op, total(op, c, x_g, through))
        op.subtract(change := c.scratch(h.shape, "change"), h, g)
        op.add(c.y, product(op, c, z, change), g)  # z h + (1 - z) g
        c.new_states = (c.y,)
        c.saved = z, r, change, m_g, (gates, renewed), (of_inputs, of_state, of_reset)

    def backward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """Through both gates and what they let through, then through the products."""
        (h,), (dh,) = c.states, c.dstates
        z, r, change, m_g, (gates, renewed), (of_inputs, of_state, of_reset) = c.saved
        dchange = product(op, c, c.dy, z)
        op.copy(dh, dchange)
        op.subtract(dg := c.scratch(h.shape, "dg"), c.dy, dchange)  # dy (1 - z)
        dx_g = renewed.backward(op, dg)
        if self.reset_after:
            dr, dm_g = product(op, c, dx_g, m_g), product(op, c, dx_g, r)
        else:
            none = zeros(op, c, (h.shape[0], 2 * self.units))
            dreset = c.scratch(h.shape, "dreset")
            of_reset.backward(op, dreset, c.drecurrent_kernel, joined(op, c, none, dx_g))
            op.multiply(dh, dreset, r)
            dr, dm_g = product(op, c, dreset, h), zeros(op, c, h.shape)
        dgates = joined(op, c, product(op, c, c.dy, change), dr)
        dgates = gates.backward(op, dgates)
        dx, dm = joined(op, c, dgates, dx_g), joined(op, c, dgates, dm_g)
        if self.use_bias:
            self.add_bias_gradients(op, c, dx, dm)
        of_inputs.backward(op, c.dx, c.dkernel, dx)
        of_state.backward(op, dh, c.drecurrent_kernel, dm)

    def add_bias_gradients(self, op: Recorder, c: Context, dx: Buffer, dm: Buffer) -> None:
        """dbias: sums of dx, and with reset_after of dm."""
        if not self.reset_after:
            bias_gradient(op, c, c.dbias, dx)
            return
        both = [c.scratch((1, 3 * self.units), "dbias") for _ in range(2)]
        for sums, gradient in zip(both, (dx, dm), strict=True):
            bias_gradient(op, c, sums.reshape(-1), gradient)
        op.concatenate(c.dbias.reshape(1, -1), *both, None, None)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "reset_after": self.reset_after}


class GRU(Gated):
    """Gated recurrent unit: a state h that gates keep and renew at each step.

    With a = x_t kernel + bias[0] and m = h_(t-1) recurrent_kernel + bias[1], whose units stand in
    the order z r h: z, r = sigmoid(a + m); g = tanh(a_h + r m_h); h_t = z h_(t-1) + (1 - z) g.
    Without reset_after there is one bias, and r m_h is (r h_(t-1)) recurrent_kernel.

    At a step that is masked for a sample h stays as it is, and the output is that of the step
    before (zero where there was none).

    Args:
        units: how many numbers the state has.
        activation: the function in the place of tanh; None for none.
        recurrent_activation: the function in the place of sigmoid. With others than tanh and
            sigmoid, or without reset_after, the steps are recorded one by one: that takes longer.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 3 * units).
        recurrent_initializer: first values of the recurrent kernel, (units, 3 * units).
        bias_initializer: first values of the bias, (2, 3 * units), or (3 * units,).
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of features that are dropped in training, the same in all steps.
        recurrent_dropout: as in `LSTM`, like all that follow.
        seed: layers with the same seed drop the same; None for random numbers of its own.
        return_sequences: whether to return h of every step, (batch, steps, units), or the last.
        return_state: whether to return the last state besides: [output, h].
        go_backwards: whether to go from the last step to the first; h of every step then stands in
            this order, too.
        stateful: whether a batch starts from the states in which the one before ended.
        unroll: accepted as in Keras.
        reset_after: whether r acts behind the product with the recurrent kernel.
        use_cudnn: accepted as in Keras: kernels are always gpunet's own.
        zero_output_for_mask: whether the output of masked steps is zero.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs that are not (batch, steps, features).

    Source: Cho et al., 2014, arXiv:1406.1078; with reset_after as in cuDNN.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([GRU(8, input_shape=(5, 3))]).count_params()
        312
    """

    cell_type = GRUCell

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
        recurrent_activation: object = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        recurrent_initializer: object = "orthogonal",
        bias_initializer: object = "zeros",
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
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)

    def runs_at_once(self, training: bool) -> bool:
        """Whether there is an op for all steps."""
        return self.cell.reset_after and super().runs_at_once(training)

    def steps_forward(
        self, op: Recorder, c: Context, out: Buffer, first: list[Buffer | None]
    ) -> list[Buffer]:
        """x kernel + bias for all steps at once, then the steps."""
        (h0,) = first
        of_inputs, of_state = self.cell.biases(op, c)
        x = self.inputs_product(op, c, of_inputs)
        gates, memories = c.scratch(x.shape, "gates"), self.sequence(c, "memories")
        y, h = self.targets(c, out, h0)
        arrays = (x, c.recurrent_kernel, of_state, h0, c.mask)
        op.gru(y, memories, gates, h, *arrays, reverse=self.go_backwards)
        self.finish(op, c, out, y, h, h0)
        c.saved = y, memories, gates, h0
        return [h]

    def steps_backward(
        self, op: Recorder, c: Context, dout: Buffer | None, dlast: Gradients
    ) -> None:
        """The gates' gradients of all steps, and from them all others, each at once."""
        y, memories, gates, h0 = c.saved
        dx, dm = c.scratch(gates.shape, "dgates"), c.scratch(gates.shape, "dm")
        before = c.scratch(y.shape, "before")
        dy, dh = self.state_gradients(op, c, dout, dlast[0], h0)
        dfirst, saved = self.first_gradients(c), (gates, memories, y, c.recurrent_kernel)
        op.gru_backward(dx, dm, *dfirst, dy, dh, *saved, h0, c.mask, reverse=self.go_backwards)
        self.add_first_gradients(op, c, dfirst)
        op.previous_steps(before, y, h0, reverse=self.go_backwards)
        if not self.cell.use_bias:
            op.gemm(c.drecurrent_kernel, before, dm, ta=True)
            self.inputs_backward(op, c, dx, None)
            return
        size = 3 * self.units
        of_inputs, of_state = c.scratch((size,), "dbias"), c.scratch((size,), "dbias")
        op.gemm_column_sum(c.drecurrent_kernel, of_state, before, dm, ta=True)
        self.inputs_backward(op, c, dx, of_inputs)
        parts = of_inputs.reshape(1, -1), of_state.reshape(1, -1)
        op.concatenate(c.dbias.reshape(1, -1), *parts, None, None)
