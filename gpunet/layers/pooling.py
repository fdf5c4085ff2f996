"""Pooling: the largest or the mean of windows, or of all places."""

from __future__ import annotations

from math import prod
from typing import Any

from gpunet.arguments import check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.geometry import Geometry, check_padding, of_windows, sizes
from gpunet.layers.base import Context
from gpunet.layers.channels import check_data_format
from gpunet.layers.windows import Windowed

_BYTE = 256  # places in windows of so many elements are bytes


class BasePooling(Windowed):
    """What pooling layers share; ``geometry`` says which windows."""

    def geometry(self, input_sizes: tuple[int, ...]) -> Geometry:
        """Sizes and options for inputs of these sizes."""
        raise NotImplementedError

    def _sides(self, fine: Buffer, coarse: Buffer) -> tuple[Geometry, Buffer, Buffer]:
        geometry = self.geometry(fine.shape[1:-1])
        shape = (coarse.shape[0], *geometry.coarse, fine.shape[-1])
        return geometry, self.volume(fine, geometry.fine), coarse.reshape(*shape)


class MaxOfWindows(BasePooling):
    """Pooling by the largest number, the first of equals."""

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = the largest of each window; its place is kept."""
        geometry, x, y = self._sides(c.x, c.y)
        dtype = "uint8" if prod(geometry.window) <= _BYTE else "int32"
        c.saved = op.scratch(y.shape, dtype, "places")
        op.max_pool(y, c.saved, x, **geometry.of_pooling)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = dy where the largest stood."""
        geometry, dx, dy = self._sides(c.dx, c.dy)
        op.max_pool_backward(dx, dy, c.saved, **geometry.of_pooling)


class MeanOfWindows(BasePooling):
    """Pooling by the mean of what of a window lies inside."""

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = the mean of each window."""
        geometry, x, y = self._sides(c.x, c.y)
        op.average_pool(y, x, **geometry.of_pooling)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = dy / n, summed over the windows that x lies in."""
        geometry, dx, dy = self._sides(c.dx, c.dy)
        op.average_pool_backward(dx, dy, **geometry.of_pooling)


class Pooling(BasePooling):
    """Windows of ``pool_size``, ``strides`` apart."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        self.pool_size = sizes(name, "pool_size", pool_size, self.rank)
        self.strides = self.pool_size
        if strides is not None:
            self.strides = sizes(name, "strides", strides, self.rank)
        self.padding = check_padding(name, padding)
        self.data_format = check_data_format(name, data_format)

    def geometry(self, input_sizes: tuple[int, ...]) -> Geometry:
        """Sizes and options for inputs of these sizes."""
        near = (1,) * self.rank
        return of_windows(self.where, input_sizes, self.pool_size, self.strides, near, self.padding)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., channels)."""
        input_sizes, channels = self.check_inputs(input_shape)
        outputs = self.outputs(self.geometry(input_sizes).coarse)
        return self.shape(input_shape[0], outputs, channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class GlobalPooling(BasePooling):
    """One window over all places."""

    def __init__(
        self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format(type(self).__name__, data_format)
        self.keepdims = check_flag(self, "keepdims", keepdims)

    def geometry(self, input_sizes: tuple[int, ...]) -> Geometry:
        """Sizes and options for inputs of these sizes."""
        near = (1,) * self.rank
        return of_windows(self.where, input_sizes, input_sizes, near, near, "valid")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, channels), or (batch, 1, ..., channels) with keepdims."""
        _, channels = self.check_inputs(input_shape)
        return self.shape(input_shape[0], (1,) * (self.rank * self.keepdims), channels)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "data_format": self.data_format,
            "keepdims": self.keepdims,
        }


class MaxPooling1D(MaxOfWindows, Pooling):
    """The largest number of each window over (batch, width, channels).

    Args:
        pool_size: the window's size, for all dimensions or for each.
        strides: how far apart windows are; None for pool_size.
        padding: "valid": windows lie inside; "same": as many outputs as inputs / strides. What
            hangs over the edge does not count.
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        **kwargs: name, input_shape; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs of another rank, or smaller than the window.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.MaxPooling1D(input_shape=(20, 4))]).output_shape
        (None, 10, 4)
    """

    rank = 1


class MaxPooling2D(MaxOfWindows, Pooling):
    """The largest number of each window over images (batch, height, width, channels).

    The arguments are those of `MaxPooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.MaxPooling2D(input_shape=(8, 6, 4))]).output_shape
        (None, 4, 3, 4)
    """

    rank = 2


class MaxPooling3D(MaxOfWindows, Pooling):
    """The largest number of each window over (batch, depth, height, width, channels).

    The arguments are those of `MaxPooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.MaxPooling3D(input_shape=(4, 8, 6, 2))]).output_shape
        (None, 2, 4, 3, 2)
    """

    rank = 3


class GlobalMaxPooling1D(MaxOfWindows, GlobalPooling):
    """The largest number of each channel over all of (batch, width, channels).

    Args:
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        keepdims: whether the dimensions stay, with size 1.
        **kwargs: name, input_shape; see `Layer`.

    Raises:
        ShapeError: inputs of another rank.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalMaxPooling1D(input_shape=(20, 4))]).output_shape
        (None, 4)
    """

    rank = 1


class GlobalMaxPooling2D(MaxOfWindows, GlobalPooling):
    """The largest number of each channel over all of (batch, height, width, channels).

    The arguments are those of `GlobalMaxPooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalMaxPooling2D(input_shape=(8, 6, 4))]).output_shape
        (None, 4)
    """

    rank = 2


class GlobalMaxPooling3D(MaxOfWindows, GlobalPooling):
    """The largest number of each channel over all of (batch, depth, height, width, channels).

    The arguments are those of `GlobalMaxPooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalMaxPooling3D(input_shape=(4, 8, 6, 2))]).output_shape
        (None, 2)
    """

    rank = 3


class AveragePooling1D(MeanOfWindows, Pooling):
    """The mean of each window over (batch, width, channels).

    Args:
        pool_size: the window's size, for all dimensions or for each.
        strides: how far apart windows are; None for pool_size.
        padding: "valid": windows lie inside; "same": as many outputs as inputs / strides. What
            hangs over the edge does not count.
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        **kwargs: name, input_shape; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs of another rank, or smaller than the window.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.AveragePooling1D(input_shape=(20, 4))]).output_shape
        (None, 10, 4)
    """

    rank = 1


class AveragePooling2D(MeanOfWindows, Pooling):
    """The mean of each window over images (batch, height, width, channels).

    The arguments are those of `AveragePooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.AveragePooling2D(input_shape=(8, 6, 4))]).output_shape
        (None, 4, 3, 4)
    """

    rank = 2


class AveragePooling3D(MeanOfWindows, Pooling):
    """The mean of each window over (batch, depth, height, width, channels).

    The arguments are those of `AveragePooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.AveragePooling3D(input_shape=(4, 8, 6, 2))]).output_shape
        (None, 2, 4, 3, 2)
    """

    rank = 3


class GlobalAveragePooling1D(MeanOfWindows, GlobalPooling):
    """The mean of each channel over all of (batch, width, channels), over what the mask leaves.

    Where the mask leaves nothing the mean is 0.

    Args:
        data_format: "channels_last", or None for it; or "channels_first": (batch, channels, width),
            whose channels the layer moves to the end and back, an extra pass over inputs and
            outputs each unless its neighbour does the same.
        keepdims: whether the dimensions stay, with size 1.
        **kwargs: name, input_shape; see `Layer`.

    Raises:
        ShapeError: inputs of another rank.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalAveragePooling1D(input_shape=(20, 4))]).output_shape
        (None, 4)
    """

    rank = 1
    supports_masking = True

    def compute_mask(self, inputs: Any, mask: Any) -> None:
        """None: the steps are gone."""

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """The mean, or with a mask the sum of what is there with equal shares."""
        if c.mask is None:
            super().forward_channels_last(op, c)
            return
        c.saved = c.scratch(c.mask.shape, "shares")
        op.mask_shares(c.saved, c.mask)
        op.batched_gemm(_one_row(c.y), _one_row(c.saved), self._present(op, c))

    def _present(self, op: Recorder, c: Context) -> Buffer:
        """x with 0 in the place of what is masked, which may be anything, NaN, too."""
        x = c.scratch(c.x.shape, "present")
        op.masked_rows(x.rows, c.x.rows, c.mask.reshape(-1))
        return x

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = share dy for each step."""
        if c.mask is None:
            super().backward_channels_last(op, c)
        else:
            op.batched_gemm(c.dx, _one_row(c.saved), _one_row(c.dy), ta=True)


def _one_row(x: Buffer) -> Buffer:
    return x.reshape(x.shape[0], 1, -1)


class GlobalAveragePooling2D(MeanOfWindows, GlobalPooling):
    """The mean of each channel over all of (batch, height, width, channels).

    The arguments are those of `GlobalAveragePooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalAveragePooling2D(input_shape=(8, 6, 4))]).output_shape
        (None, 4)
    """

    rank = 2


class GlobalAveragePooling3D(MeanOfWindows, GlobalPooling):
    """The mean of each channel over all of (batch, depth, height, width, channels).

    The arguments are those of `GlobalAveragePooling1D`.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.GlobalAveragePooling3D(input_shape=(4, 8, 6, 2))]).output_shape
        (None, 2)
    """

    rank = 3
