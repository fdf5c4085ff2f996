"""LSTM over sequences of images."""

from __future__ import annotations

from typing import Any

from gpunet.engine.graph import Shape
from gpunet.errors import ShapeError
from gpunet.geometry import AXES
from gpunet.layers.channels import channels_from_end
from gpunet.layers.conv_lstm_cell import ConvLSTMCell
from gpunet.layers.recurrent import Recurrent


class ConvLSTM(Recurrent):
    """An `LSTM` whose products with the kernels are convolutions, over ``rank`` dimensions."""

    rank: int

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
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
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        arguments = locals()
        super().__init__(ConvLSTMCell(self.rank, arguments), arguments, kwargs)

    def step_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs of one step.

        Raises:
            ShapeError: they are no sequences of images.
        """
        if len(input_shape) != self.rank + 3:
            inner = (None, *AXES[-self.rank :], "channels")
            names = channels_from_end(inner, self.cell.data_format)[1:]
            raise ShapeError(
                f"{self.where} expects inputs (batch, steps, {', '.join(names)}), got "
                f"{input_shape}; put a Reshape before it."
            )
        return (input_shape[0], *input_shape[2:])

    def state_shapes(self, input_shape: Shape) -> list[tuple[int, ...]]:
        """The shapes of the states without the batch."""
        return [self.cell.state_shape(self.step_shape(input_shape))] * 2

    def output_shape_of_step(self, input_shape: Shape) -> tuple[int, ...]:
        """The shape of the output of one step, without the batch."""
        return self.state_shapes(input_shape)[0]

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the inputs have other channels than at first."""
        axis = self.cell.channel_axis + 1
        if self.built_for is not None and shape[axis] != self.built_for[axis]:
            raise ShapeError(
                f"{self.where} was built for inputs with {self.built_for[axis]} channels, got "
                f"{shape}; make another layer for others."
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**self.cell.get_config(), **super().get_config()}


class ConvLSTM1D(ConvLSTM):
    """An LSTM over sequences of (width, channels), whose products are convolutions.

    With a = x_t * kernel + h_(t-1) * recurrent_kernel + bias, whose channels stand in the order
    i f c o: i, f, o = sigmoid(a_i, a_f, a_o); c_t = f c_(t-1) + i tanh(a_c); h_t = o tanh(c_t).
    The first convolution has the strides, padding and dilation_rate given, the second one keeps
    the size. Steps are recorded one by one.

    Args:
        filters: the number of output channels.
        kernel_size: the size of the windows of both convolutions.
        strides: how far apart outputs are.
        padding: "valid": windows lie inside; "same": as many outputs as inputs / strides.
        data_format: "channels_last", or None for it; or "channels_first": (batch, steps, channels,
            width), whose channels are moved to the end and back at each step.
        dilation_rate: how far apart the elements of a window are.
        activation: the function in the place of tanh.
        recurrent_activation: the function in the place of sigmoid.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (kernel_size, channels, 4 * filters).
        recurrent_initializer: those of the recurrent kernel, (kernel_size, filters, 4 * filters).
        bias_initializer: those of the bias, (4 * filters,).
        unit_forget_bias: whether the bias of f starts at 1.
        kernel_regularizer: a penalty on the kernel.
        recurrent_regularizer: a penalty on the recurrent kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what the kernel must keep to after each step of training.
        recurrent_constraint: what the recurrent kernel must keep to.
        bias_constraint: what the bias must keep to.
        dropout: the share of x that is dropped in training, the same in all steps, for each gate
            another one.
        recurrent_dropout: the same of h.
        seed: as in `LSTM`, like all that follow.
        return_sequences: whether to return h of every step, or of the last.
        return_state: whether to return the last h and c besides.
        go_backwards: whether to go from the last step to the first.
        stateful: whether a batch starts from the states in which the one before ended.
        unroll: accepted as in Keras.
        zero_output_for_mask: whether the output of masked steps is zero.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense; strides and a dilation.
        ShapeError: inputs of another rank, with other channels than at first, of sizes that are not
            known, or smaller than the window.

    Source: Shi et al., 2015, arXiv:1506.04214 (as in Keras, without its peepholes).

    Example:
        >>> from gpunet import Input, layers
        >>> layers.ConvLSTM1D(4, 3)(Input((5, 20, 2))).shape
        (None, 18, 4)
    """

    rank = 1


class ConvLSTM2D(ConvLSTM):
    """An LSTM over sequences of images (height, width, channels), whose products are convolutions.

    The arguments are those of `ConvLSTM1D`, with one integer for both dimensions or one for each.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.ConvLSTM2D(4, 3, padding="same")(Input((5, 8, 9, 1))).shape
        (None, 8, 9, 4)
    """

    rank = 2


class ConvLSTM3D(ConvLSTM):
    """An LSTM over sequences of volumes, (depth, height, width, channels).

    The arguments are those of `ConvLSTM1D`, with one integer for all dimensions or one for each.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.ConvLSTM3D(2, 3)(Input((5, 4, 5, 6, 1))).shape
        (None, 2, 3, 4, 2)
    """

    rank = 3
