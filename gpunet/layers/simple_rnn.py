"""The simplest recurrent layer."""

from __future__ import annotations

from typing import Any

from gpunet.engine.recorder import Recorder
from gpunet.layers.cells import Activated, RecurrentCell, add_bias, bias_gradient, total
from gpunet.layers.gated import Gated
from gpunet.layers.unrolled import StepContext


class SimpleRNNCell(RecurrentCell):
    """One step of a `SimpleRNN`, for `RNN`.

    Args:
        units: how many numbers the state has.
        activation: as in `SimpleRNN`, like all that follow.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, units).
        recurrent_initializer: those of the recurrent kernel, (units, units).
        bias_initializer: those of the bias, (units,).
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
        >>> layers.RNN(SimpleRNNCell(8))(Input((5, 3))).shape
        (None, 8)
    """

    gates = 1

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
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
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)

    def forward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """h = activation(x kernel + h recurrent_kernel + bias)."""
        of_inputs, of_state = self.product_of_inputs(c), self.product_of_state(c)
        a = total(op, c, of_inputs.forward(op, c.x), of_state.forward(op, c.states[0]))
        a = add_bias(op, c, a, c.bias if self.use_bias else None)
        activated = Activated(c, self.activation)
        activated.forward(op, a, c.y)
        c.new_states = (c.y,)
        c.saved = activated, of_inputs, of_state

    def backward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """Through the activation, then through the products."""
        activated, of_inputs, of_state = c.saved
        da = activated.backward(op, c.dy)
        if self.use_bias:
            bias_gradient(op, c, c.dbias, da)
        of_inputs.backward(op, c.dx, c.dkernel, da)
        of_state.backward(op, c.dstates[0], c.drecurrent_kernel, da)


class SimpleRNN(Gated):
    """h_t = activation(x_t kernel + h_(t-1) recurrent_kernel + bias): the state is the output.

    Args:
        units: how many numbers the state has.
        activation: a name such as "tanh", or what else `gpunet.activations.get` takes.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (features, units).
        recurrent_initializer: first values of the recurrent kernel, (units, units).
        bias_initializer: first values of the bias, (units,).
        kernel_regularizer: a penalty on the kernel, "l2" for example.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of features that are dropped in training, the same in all steps.
        recurrent_dropout: the same of h, before it is multiplied by the recurrent kernel.
        return_sequences: as in `LSTM`, like all that follow.
        return_state: whether to return the last state besides: [output, h].
        go_backwards: whether to go from the last step to the first.
        stateful: whether a batch starts from the states in which the one before ended.
        unroll: accepted as in Keras.
        seed: layers with the same seed drop the same; None for random numbers of its own.
        zero_output_for_mask: whether the output of masked steps is zero.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs that are not (batch, steps, features).

    Source: Elman, 1990.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([SimpleRNN(8, input_shape=(5, 3))]).count_params()
        96
    """

    cell_type = SimpleRNNCell

    def __init__(
        self,
        units: int,
        activation: object = "tanh",
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
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals(), kwargs)

    def runs_at_once(self, training: bool) -> bool:
        """A step is a product and an activation, which are ops already."""
        return False
