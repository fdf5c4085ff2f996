"""The gated recurrent unit."""

from __future__ import annotations

from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.base import Context
from gpunet.layers.recurrent import Recurrent


class GRU(Recurrent):
    """Gated recurrent unit: a state h that gates keep and renew at each step.

    With a = x_t kernel + bias[0] and m = h_(t-1) recurrent_kernel + bias[1], whose units stand in
    the order z r h: z, r = sigmoid(a + m); g = tanh(a_h + r m_h); h_t = z h_(t-1) + (1 - z) g. The
    first state is zero.

    Args:
        units: how many numbers the state has.
        activation: "tanh".
        recurrent_activation: "sigmoid".
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, 3 * units).
        recurrent_initializer: first values of the recurrent kernel, (units, 3 * units).
        bias_initializer: first values of the bias, (2, 3 * units).
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of features that are dropped in training, the same in all steps.
        recurrent_dropout: not supported: 0.
        seed: not supported, as `gpunet.random.set_seed` sets all: None.
        return_sequences: whether to return h of every step, (batch, steps, units), or the last.
        return_state: not supported: False.
        go_backwards: whether to go from the last step to the first; h of every step then stands in
            this order, too.
        stateful: not supported: False.
        unroll: not supported, as steps need no unrolling: False.
        reset_after: whether r acts behind the product with the recurrent kernel: True.
        use_cudnn: accepted as in Keras: kernels are always gpunet's own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or that is not supported.
        ShapeError: inputs that are not (batch, steps, features).

    Source: Cho et al., 2014, arXiv:1406.1078; with reset_after as in cuDNN.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([GRU(8, input_shape=(5, 3))]).count_params()
        312
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
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: None = None,
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

    @property
    def defaults(self) -> dict[str, tuple[Any, ...]]:
        """Arguments that Keras has besides, and the values of them that are taken."""
        return {**super().defaults, "reset_after": (True,)}

    def bias_shape(self) -> tuple[int, ...]:
        """The bias of the inputs, and that of the state."""
        return (2, 3 * self.units)

    def forward(self, op: Recorder, c: Context) -> None:
        """x kernel + bias for all steps at once, then the steps."""
        of_inputs, of_state = self._biases(op, c)
        x = self.inputs_product(op, c, of_inputs)
        gates, memories = c.scratch(x.shape, "gates"), self.sequence(c, "memories")
        y, last = (c.y, None) if self.return_sequences else (self.sequence(c, "h"), c.y)
        op.gru(
            *(y, memories, gates, last, x, c.recurrent_kernel, of_state, None, None),
            reverse=self.go_backwards,
        )
        c.saved = y, memories, gates

    def backward(self, op: Recorder, c: Context) -> None:
        """The gates' gradients of all steps, and from them all others, each at once."""
        y, memories, gates = c.saved
        dx, dm = c.scratch(gates.shape, "dgates"), c.scratch(gates.shape, "dm")
        before = c.scratch(y.shape, "before")
        dy, dlast = (c.dy, None) if self.return_sequences else (None, c.dy)
        op.gru_backward(
            *(dx, dm, None, dy, dlast, gates, memories, y, c.recurrent_kernel, None, None),
            reverse=self.go_backwards,
        )
        op.previous_steps(before, y, None, reverse=self.go_backwards)
        if not self.use_bias:
            op.gemm(c.drecurrent_kernel, before, dm, ta=True)
            self.inputs_backward(op, c, dx, None)
            return
        columns = 3 * self.units
        of_inputs, of_state = c.scratch((columns,), "dbias"), c.scratch((columns,), "dbias")
        op.gemm_column_sum(c.drecurrent_kernel, of_state, before, dm, ta=True)
        self.inputs_backward(op, c, dx, of_inputs)
        parts = of_inputs.reshape(1, -1), of_state.reshape(1, -1)
        op.concatenate(c.dbias.reshape(1, -1), *parts, None, None)

    def _biases(self, op: Recorder, c: Context) -> tuple[Buffer | None, Buffer | None]:
        """The two rows of the bias."""
        if not self.use_bias:
            return None, None
        columns = 3 * self.units
        both = c.bias.reshape(1, 1, 1, -1)
        of_inputs, of_state = c.scratch((columns,), "bias"), c.scratch((columns,), "bias")
        ends = (0, 0, columns), (0, 0, 0)
        op.crop(of_inputs.reshape(1, 1, 1, -1), both, before=ends[1], after=ends[0])
        op.crop(of_state.reshape(1, 1, 1, -1), both, before=ends[0], after=ends[1])
        return of_inputs, of_state
