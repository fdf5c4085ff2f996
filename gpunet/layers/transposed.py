"""Transposed convolutions over one, two and three dimensions."""

from __future__ import annotations

from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import check_count
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.geometry import Geometry, of_transposed, sizes
from gpunet.layers.base import Context
from gpunet.layers.convolution import BaseConv
from gpunet.saving.configs import described


class ConvTranspose(BaseConv):
    """y = activation(x *^T kernel + bias): each input is spread over a window of outputs."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        output_padding: Any = None,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: object = None,
        use_bias: bool = True,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            bias_initializer,
            bias_regularizer,
            bias_constraint,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        name = type(self).__name__
        self.filters = check_count(name, "filters", filters)
        self.output_padding = None
        if output_padding is not None:
            self.output_padding = sizes(name, "output_padding", output_padding, self.rank, 0)
            if any(a >= b for a, b in zip(self.output_padding, self.strides, strict=True)):
                raise ArgumentError(
                    f"{name} takes an output_padding smaller than its strides {self.strides}, got "
                    f"{output_padding!r}."
                )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def geometry(self, input_sizes: tuple[int, ...]) -> Geometry:
        """Sizes and options for inputs of these sizes; they are the coarse side."""
        return of_transposed(
            input_sizes,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            self.padding,
            self.output_padding,
        )

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (*kernel_size, filters, channels) and the bias (filters,)."""
        _, channels = self.check_inputs(input_shape)
        self.add_weight(
            "kernel",
            (*self.kernel_size, self.filters, channels),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., filters)."""
        input_sizes, _ = self.check_inputs(input_shape)
        outputs = self.outputs(self.geometry(input_sizes).fine)
        return self.shape(input_shape[0], outputs, self.filters)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = activation(x *^T kernel + bias)."""
        geometry = self.geometry(c.x.shape[1:-1])
        z = c.scratch(c.y.shape, "z")
        op.transposed_convolution(
            self.volume(z, geometry.fine),
            self.volume(c.x, geometry.coarse),
            c.kernel.reshape(*geometry.window, *c.kernel.shape[-2:]),
            **geometry.of_convolution,
        )
        self.finish(op, c, z)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dkernel = sum of dz x; dx = dz * kernel."""
        geometry = self.geometry(c.x.shape[1:-1])
        dz = self.volume(self.finish_backward(op, c), geometry.fine)
        kernel_shape = (*geometry.window, *c.kernel.shape[-2:])
        op.convolution_kernel_gradient(
            c.dkernel.reshape(*kernel_shape),
            dz,
            self.volume(c.x, geometry.coarse),
            **geometry.of_convolution,
        )
        op.convolution(
            self.volume(c.dx, geometry.coarse),
            dz,
            c.kernel.reshape(*kernel_shape),
            **geometry.of_convolution,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        padding = None if self.output_padding is None else list(self.output_padding)
        return {
            **super().get_config(),
            "filters": self.filters,
            "output_padding": padding,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": described(self.kernel_regularizer),
            "kernel_constraint": described(self.kernel_constraint),
        }


class Conv1DTranspose(ConvTranspose):
    """A transposed convolution over (batch, width, channels): the way back of a `Conv1D`.

    Args:
        filters: the number of output channels.
        kernel_size: over how many outputs an input is spread.
        strides: how far apart the windows of neighbouring inputs are: how much larger outputs are.
        padding: "valid": all that the windows cover; "same": inputs * strides outputs.
        output_padding: how many outputs there are beyond the smallest number, less than strides;
            None for the number that ``padding`` says.
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        dilation_rate: how far apart the elements of a window are.
        activation: a name such as "relu", None for none.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (kernel_size, filters, channels).
        bias_initializer: first values of the bias, (filters,).
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what is done to the kernel after each step.
        bias_constraint: what is done to the bias after each step.
        **kwargs: name, trainable, input_shape; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs of another rank or with other channels than at first.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Conv1DTranspose(8, 4, strides=2, input_shape=(5, 3))]).output_shape
        (None, 12, 8)
    """

    rank = 1


class Conv2DTranspose(ConvTranspose):
    """A transposed convolution over images, with the arguments of `Conv1DTranspose`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> up = layers.Conv2DTranspose(8, 3, strides=2, padding="same", input_shape=(7, 7, 16))
        >>> Sequential([up]).output_shape
        (None, 14, 14, 8)
    """

    rank = 2


class Conv3DTranspose(ConvTranspose):
    """A transposed convolution over three dimensions, with the arguments of `Conv1DTranspose`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> up = layers.Conv3DTranspose(2, 2, strides=2, input_shape=(2, 3, 4, 1))
        >>> Sequential([up]).output_shape
        (None, 4, 6, 8, 2)
    """

    rank = 3
