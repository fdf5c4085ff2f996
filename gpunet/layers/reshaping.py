"""Layers that change the shape, or the order of the axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunet.arguments import check_count, is_integer
from gpunet.engine.graph import Shape
from gpunet.engine.moves import permute
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.channels import ChannelLayer, check_data_format


class Flatten(ChannelLayer):
    """(batch, ...) -> (batch, features): all axes but the first become one.

    Args:
        data_format: "channels_last": nothing is run; or "channels_first": the channels, axis 1,
            are moved to the end, so that the features are in the order of channels last.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: another data_format.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Flatten(input_shape=(8, 8))]).output_shape
        (None, 64)
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format("Flatten", data_format)

    def passes_through(self, training: bool) -> bool:
        """The memory stays as it is."""
        return self.data_format == "channels_last"

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, features)."""
        return (input_shape[0], _features(input_shape))

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = x."""
        op.copy(c.y, c.x.reshape(*c.y.shape))

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = dy."""
        op.copy(c.dx, c.dy.reshape(*c.dx.shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class Reshape(Layer):
    """(batch, ...) -> (batch, *target_shape).

    Args:
        target_shape: the shape of one sample; one entry may be -1.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: target_shape is no shape.
        ShapeError: when called on inputs that do not hold that many elements.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        shape = tuple(target_shape) if isinstance(target_shape, list | tuple) else (target_shape,)
        if not all(is_integer(dim) and (dim >= 1 or dim == -1) for dim in shape):
            raise ArgumentError(
                "Reshape takes the shape of one sample in positive integers and at most one -1, "
                f"got {target_shape!r}."
            )
        self.target_shape = tuple(map(int, shape))

    def passes_through(self, training: bool) -> bool:
        """The memory stays as it is."""
        return True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, *target_shape)."""
        features = _features(input_shape)
        known = math.prod(dim for dim in self.target_shape if dim != -1)
        free = self.target_shape.count(-1)
        fits = features % known == 0 if free == 1 and known > 0 else free == 0 and known == features
        if not fits:
            raise ShapeError(
                f"Reshape {self.label!r} cannot turn samples of shape {input_shape[1:]} "
                f"({features} elements) into {self.target_shape}."
            )
        return (
            input_shape[0],
            *(features // known if dim == -1 else dim for dim in self.target_shape),
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Permute(Layer):
    """The axes of each sample in another order.

    Args:
        dims: the axes, counted from 1, in the order in which they shall be: (2, 1).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: dims are not the numbers from 1 on.
        ShapeError: when called on inputs with another number of axes.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.Permute((2, 1))(Input((10, 64))).shape
        (None, 64, 10)
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims) if isinstance(dims, list | tuple) else (dims,)
        whole = all(isinstance(dim, int) for dim in self.dims)
        if not whole or sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ArgumentError(
                f"Permute takes the axes of a sample, 1, 2, ..., in another order, got {dims!r}."
            )

    def passes_through(self, training: bool) -> bool:
        """Whether the axes stay where they are."""
        return list(self.dims) == sorted(self.dims)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, the sizes in the new order)."""
        if len(input_shape) != len(self.dims) + 1:
            raise ShapeError(
                f"Permute {self.label!r} with dims={self.dims} expects inputs of "
                f"{len(self.dims) + 1} axes, got {input_shape}."
            )
        return (input_shape[0], *(input_shape[dim] for dim in self.dims))

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x with its axes in the new order."""
        permute(op, c.y, c.x, (0, *self.dims))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy with its axes in the old order."""
        order = (0, *self.dims)
        permute(op, c.dx, c.dy, [order.index(axis) for axis in range(len(order))])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "dims": list(self.dims)}


class RepeatVector(Layer):
    """(batch, features) -> (batch, n, features): each sample n times.

    Args:
        n: how often.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: n is no positive integer.
        ShapeError: when called on inputs of another rank.
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = check_count(self, "n", n)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, n, features)."""
        if len(input_shape) != 2:
            raise ShapeError(
                f"RepeatVector {self.label!r} expects inputs (batch, features), got {input_shape}."
            )
        return (input_shape[0], self.n, input_shape[1])

    def forward(self, op: Recorder, c: Context) -> None:
        """y[:, i] = x."""
        op.repeat(*self._forms(c.y, c.x), times=(1, 1, self.n))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = sum over i of dy[:, i]."""
        dy, dx = self._forms(c.dy, c.dx)
        op.repeat_backward(dx, dy, times=(1, 1, self.n))

    def _forms(self, large: Buffer, small: Buffer) -> tuple[Buffer, Buffer]:
        batch, features = small.shape
        return large.reshape(batch, 1, 1, self.n, features), small.reshape(batch, 1, 1, 1, features)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "n": self.n}


def _features(input_shape: Shape) -> int:
    return math.prod(dim for dim in input_shape[1:] if dim is not None)
