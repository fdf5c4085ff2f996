"""Convolutions of each channel by itself, and with a mixing of the channels behind it."""

from __future__ import annotations

from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import check_count
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.geometry import Geometry
from gpunet.layers.base import Context
from gpunet.layers.convolution import BaseConv
from gpunet.saving.configs import described


class BaseDepthwise(BaseConv):
    """What convolutions of single channels share: an op with as many groups as channels."""

    depth_multiplier: int

    def _options(self, kernel: Buffer, geometry: Geometry) -> dict[str, Any]:
        return {"groups": kernel.shape[-2], **geometry.of_convolution}

    def _as_groups(self, kernel: Buffer, geometry: Geometry) -> Buffer:
        """(*kernel_size, channels, multiplier) as the op sees it, (*window, 1, filters)."""
        return kernel.reshape(*geometry.window, 1, -1)

    def convolve(self, op: Recorder, y: Buffer, x: Buffer, kernel: Buffer) -> None:
        """y = x * kernel, channel by channel."""
        geometry = self.geometry(x.shape[1:-1])
        op.convolution(
            self.volume(y, geometry.coarse),
            self.volume(x, geometry.fine),
            self._as_groups(kernel, geometry),
            **self._options(kernel, geometry),
        )

    def convolve_backward(
        self, op: Recorder, dx: Buffer, dkernel: Buffer, dy: Buffer, x: Buffer, kernel: Buffer
    ) -> None:
        """dkernel = sum of x dy; dx = dy *^T kernel."""
        geometry = self.geometry(x.shape[1:-1])
        dy = self.volume(dy, geometry.coarse)
        options = self._options(kernel, geometry)
        op.convolution_kernel_gradient(
            self._as_groups(dkernel, geometry), self.volume(x, geometry.fine), dy, **options
        )
        op.transposed_convolution(
            self.volume(dx, geometry.fine), dy, self._as_groups(kernel, geometry), **options
        )


class DepthwiseConv(BaseDepthwise):
    """y = activation(x * kernel + bias), where each channel has a kernel of its own."""

    def __init__(
        self,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        depth_multiplier: int = 1,
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: object = None,
        use_bias: bool = True,
        depthwise_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        depthwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
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
        self.depth_multiplier = check_count(
            type(self).__name__, "depth_multiplier", depth_multiplier
        )
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the kernel (*kernel_size, channels, depth_multiplier) and the bias."""
        _, channels = self.check_inputs(input_shape)
        self.add_weight(
            "kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )
        self.add_bias(channels * self.depth_multiplier)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., channels * depth_multiplier)."""
        input_sizes, channels = self.check_inputs(input_shape)
        outputs = self.outputs(self.geometry(input_sizes).coarse)
        return self.shape(input_shape[0], outputs, channels * self.depth_multiplier)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = activation(x * kernel + bias)."""
        z = c.scratch(c.y.shape, "z")
        self.convolve(op, z, c.x, c.kernel)
        self.finish(op, c, z)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dkernel = sum of x dz; dx = dz *^T kernel."""
        dz = self.finish_backward(op, c)
        self.convolve_backward(op, c.dx, c.dkernel, dz, c.x, c.kernel)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "depth_multiplier": self.depth_multiplier,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
            "depthwise_regularizer": described(self.depthwise_regularizer),
            "depthwise_constraint": described(self.depthwise_constraint),
        }


class DepthwiseConv1D(DepthwiseConv):
    """A convolution over (batch, width, channels) of each channel by itself.

    Args:
        kernel_size: how many neighbours an output sees.
        strides: how far apart outputs are.
        padding: "valid" or "same".
        depth_multiplier: how many output channels each channel has.
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        dilation_rate: how far apart the elements of a window are.
        activation: a name such as "relu", None for none.
        use_bias: whether there is a bias.
        depthwise_initializer: first values of the kernel, (kernel_size, channels,
            depth_multiplier).
        bias_initializer: first values of the bias, (channels * depth_multiplier,).
        depthwise_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        depthwise_constraint: what is done to the kernel after each step.
        bias_constraint: what is done to the bias after each step.
        **kwargs: name, trainable, input_shape; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs of another rank, with other channels than at first, or smaller than the
            window.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.DepthwiseConv1D(3, input_shape=(20, 4))]).count_params()
        16
    """

    rank = 1


class DepthwiseConv2D(DepthwiseConv):
    """A convolution over images of each channel by itself; the arguments of `DepthwiseConv1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.DepthwiseConv2D(3, input_shape=(8, 8, 4))]).output_shape
        (None, 6, 6, 4)
    """

    rank = 2


class SeparableConv(BaseDepthwise):
    """y = activation((x * depthwise_kernel) pointwise_kernel + bias)."""

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        depth_multiplier: int = 1,
        activation: object = None,
        use_bias: bool = True,
        depthwise_initializer: object = "glorot_uniform",
        pointwise_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        depthwise_regularizer: Any = None,
        pointwise_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        depthwise_constraint: Any = None,
        pointwise_constraint: Any = None,
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
        self.depth_multiplier = check_count(name, "depth_multiplier", depth_multiplier)
        self.depthwise_initializer = initializers.get(depthwise_initializer)
        self.pointwise_initializer = initializers.get(pointwise_initializer)
        self.depthwise_regularizer = regularizers.get(depthwise_regularizer)
        self.pointwise_regularizer = regularizers.get(pointwise_regularizer)
        self.depthwise_constraint = constraints.get(depthwise_constraint)
        self.pointwise_constraint = constraints.get(pointwise_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make both kernels, (*kernel_size, channels, depth_multiplier) and (1, ..., channels *
        depth_multiplier, filters), and the bias (filters,)."""  # noqa: D205, D209
        _, channels = self.check_inputs(input_shape)
        self.add_weight(
            "depthwise_kernel",
            (*self.kernel_size, channels, self.depth_multiplier),
            self.depthwise_initializer,
            regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )
        self.add_weight(
            "pointwise_kernel",
            (*(1,) * self.rank, channels * self.depth_multiplier, self.filters),
            self.pointwise_initializer,
            regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
        )
        self.add_bias(self.filters)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., filters)."""
        input_sizes, _ = self.check_inputs(input_shape)
        outputs = self.outputs(self.geometry(input_sizes).coarse)
        return self.shape(input_shape[0], outputs, self.filters)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """h = x * depthwise_kernel; y = activation(h pointwise_kernel + bias)."""
        c.hidden = c.scratch((*c.y.shape[:-1], c.pointwise_kernel.shape[-2]), "hidden")
        self.convolve(op, c.hidden, c.x, c.depthwise_kernel)
        z = c.scratch(c.y.shape, "z")
        op.gemm(z, c.hidden, c.pointwise_kernel)
        self.finish(op, c, z)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dpointwise = h^T dz; dh = dz pointwise^T; then as a depthwise convolution."""
        dz = self.finish_backward(op, c)
        dhidden = c.scratch(c.hidden.shape, "dhidden")
        op.gemm(c.dpointwise_kernel, c.hidden, dz, ta=True)
        op.gemm(dhidden, dz, c.pointwise_kernel, tb=True)
        self.convolve_backward(op, c.dx, c.ddepthwise_kernel, dhidden, c.x, c.depthwise_kernel)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "filters": self.filters,
            "depth_multiplier": self.depth_multiplier,
            "depthwise_initializer": initializers.serialize(self.depthwise_initializer),
            "pointwise_initializer": initializers.serialize(self.pointwise_initializer),
            "depthwise_regularizer": described(self.depthwise_regularizer),
            "pointwise_regularizer": described(self.pointwise_regularizer),
            "depthwise_constraint": described(self.depthwise_constraint),
            "pointwise_constraint": described(self.pointwise_constraint),
        }


class SeparableConv1D(SeparableConv):
    """A `DepthwiseConv1D` and behind it a product that mixes the channels at each place.

    The arguments are those of `Conv1D`, without groups, and depth_multiplier of `DepthwiseConv1D`;
    ``depthwise_...`` concern the first kernel, ``pointwise_...`` the second.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.SeparableConv1D(6, 3, input_shape=(20, 4))]).count_params()
        42
    """

    rank = 1
    causal = True


class SeparableConv2D(SeparableConv):
    """A `DepthwiseConv2D` and behind it a product that mixes the channels at each place.

    The arguments are those of `SeparableConv1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.SeparableConv2D(6, 3, input_shape=(8, 8, 4))]).output_shape
        (None, 6, 6, 6)
    """

    rank = 2
