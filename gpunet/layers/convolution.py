"""Convolutions over one, two and three dimensions, and transposed ones."""

from __future__ import annotations

from typing import Any

from gpunet import activations, constraints, initializers, regularizers
from gpunet.arguments import check_count, check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.geometry import Geometry, check_padding, of_windows, sizes
from gpunet.layers.base import Context
from gpunet.layers.channels import check_data_format
from gpunet.layers.windows import Windowed
from gpunet.saving.configs import described


class BaseConv(Windowed):
    """What all convolutions share: windows, and a bias and an activation behind them."""

    causal = False  # whether padding may be "causal"

    def __init__(
        self,
        kernel_size: Any,
        strides: Any,
        padding: Any,
        data_format: Any,
        dilation_rate: Any,
        activation: object,
        use_bias: bool,
        bias_initializer: object,
        bias_regularizer: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.kernel_size = sizes(name, "kernel_size", kernel_size, self.rank)
        self.strides = sizes(name, "strides", strides, self.rank)
        self.dilation_rate = sizes(name, "dilation_rate", dilation_rate, self.rank)
        self.padding = check_padding(name, padding, self.causal)
        self.data_format = check_data_format(name, data_format)
        self.activation = activations.get(activation)
        self.use_bias = check_flag(self, "use_bias", use_bias)
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)

    def geometry(self, input_sizes: tuple[int, ...]) -> Geometry:
        """Sizes and options for inputs of these sizes."""
        return of_windows(
            self.where,
            input_sizes,
            self.kernel_size,
            self.strides,
            self.dilation_rate,
            self.padding,
        )

    def add_bias(self, channels: int) -> None:
        """Make the bias, one number an output channel."""
        if self.activation.output_shape((None, 2)) != (None, 2):
            raise ArgumentError(
                f"{self.where} has {channels} output channels, but {self.activation.name} halves "
                f"their number; put layers.Activation({self.activation.name!r}) behind it."
            )
        if self.use_bias:
            self.add_weight(
                "bias",
                (channels,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def finish(self, op: Recorder, c: Context, z: Buffer) -> None:
        """y = activation(z + bias)."""
        c.saved = self.activation.forward(op, c.y, z, c.bias if self.use_bias else None)

    def finish_backward(self, op: Recorder, c: Context) -> Buffer:
        """dz, and dbias = sums of dz."""
        dz = c.scratch(c.y.shape, "dz")
        self.activation.backward(op, dz, c.dy, c.saved, c.dbias if self.use_bias else None)
        return dz

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "bias_regularizer": described(self.bias_regularizer),
            "bias_constraint": described(self.bias_constraint),
        }


class Conv(BaseConv):
    """y = activation(x * kernel + bias): a kernel of ``kernel_size`` slides over the inputs."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        groups: int = 1,
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
        self.groups = check_count(name, "groups", groups)
        if filters % groups:
            raise ArgumentError(
                f"{name} takes as many filters as can be dealt to its {groups} groups, got "
                f"{filters}."
            )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (*kernel_size, channels / groups, filters) and the bias (filters,)."""
        _, channels = self.check_inputs(input_shape)
        if channels % self.groups:
            raise ShapeError(
                f"{self.where} has {self.groups} groups, got inputs {input_shape} with {channels} "
                "channels, which cannot be dealt to them."
            )
        self.add_weight(
            "kernel",
            (*self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., filters)."""
        input_sizes, _ = self.check_inputs(input_shape)
        outputs = self.outputs(self.geometry(input_sizes).coarse)
        return self.shape(input_shape[0], outputs, self.filters)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = activation(x * kernel + bias)."""
        geometry = self.geometry(c.x.shape[1:-1])
        z = c.scratch(c.y.shape, "z")
        op.convolution(
            self.volume(z, geometry.coarse),
            self.volume(c.x, geometry.fine),
            self._volume_of_kernel(c.kernel, geometry),
            groups=self.groups,
            **geometry.of_convolution,
        )
        self.finish(op, c, z)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dkernel = sum of x dz; dx = dz *^T kernel."""
        geometry = self.geometry(c.x.shape[1:-1])
        dz = self.volume(self.finish_backward(op, c), geometry.coarse)
        flags = {"groups": self.groups, **geometry.of_convolution}
        op.convolution_kernel_gradient(
            self._volume_of_kernel(c.dkernel, geometry),
            self.volume(c.x, geometry.fine),
            dz,
            **flags,
        )
        op.transposed_convolution(
            self.volume(c.dx, geometry.fine),
            dz,
            self._volume_of_kernel(c.kernel, geometry),
            **flags,
        )

    def _volume_of_kernel(self, kernel: Buffer, geometry: Geometry) -> Buffer:
        return kernel.reshape(*geometry.window, *kernel.shape[-2:])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": described(self.kernel_regularizer),
            "kernel_constraint": described(self.kernel_constraint),
        }


class Conv1D(Conv):
    """A convolution over (batch, width, channels): y = activation(x * kernel + bias).

    Args:
        filters: the number of output channels.
        kernel_size: how many neighbours an output sees.
        strides: how far apart outputs are.
        padding: "valid": windows lie inside; "same": as many outputs as inputs / strides; "causal":
            the same, and no output sees later inputs.
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        dilation_rate: how far apart the elements of a window are.
        groups: each group of the filters sees a group of the channels.
        activation: a name such as "relu", None for none.
        use_bias: whether there is a bias.
        kernel_initializer: first values of the kernel, (kernel_size, channels / groups, filters).
        bias_initializer: first values of the bias, (filters,).
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what is done to the kernel after each step.
        bias_constraint: what is done to the bias after each step.
        **kwargs: name, trainable, input_shape; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs of another rank, with other channels than at first, or smaller than the
            window.

    Example:
        >>> from gpunet import Sequential, layers
        >>> causal = layers.Conv1D(8, 3, padding="causal", dilation_rate=2, input_shape=(20, 4))
        >>> Sequential([causal]).output_shape
        (None, 20, 8)
    """

    rank = 1
    causal = True


class Conv2D(Conv):
    """A convolution over (batch, height, width, channels): y = activation(x * kernel + bias).

    The arguments are those of `Conv1D`, with one integer for both dimensions or one for each;
    there is no causal padding.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Conv2D(32, 3, strides=2, input_shape=(28, 28, 1))]).output_shape
        (None, 13, 13, 32)
    """

    rank = 2


class Conv3D(Conv):
    """A convolution over (batch, depth, height, width, channels), with the arguments of `Conv2D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Conv3D(4, (1, 3, 3), input_shape=(6, 8, 8, 2))]).output_shape
        (None, 6, 6, 6, 4)
    """

    rank = 3
