"""Layers that prepare the data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from gpunet.arguments import FINITE
from gpunet.engine.data import as_numbers
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.affine import trailing_shape
from gpunet.layers.base import Context, Layer
from gpunet.layers.weights import write_parameters


class Rescaling(Layer):
    """y = scale * x + offset. As a first layer it is folded into the gather of the mini-batch.

    Args:
        scale: the factor; 1/255 turns uint8 pixels into numbers between 0 and 1.
        offset: what is added afterwards.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: scale or offset is no number.
    """

    supports_masking = True
    by_position = True

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = FINITE.check(self, "scale", scale)
        self.offset = FINITE.check(self, "offset", offset)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = scale * x + offset."""
        op.scale_shift(c.y, c.x, scale=self.scale, offset=self.offset)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = scale * dy."""
        op.scale_shift(c.dx, c.dy, scale=self.scale, offset=0.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), where both are those of the data given to `adapt`.

    Args:
        axis: the axis whose elements have a mean and a variance each, or several: the last ones;
            None for one mean and one variance.
        mean: the mean, instead of adapt: a number or an array of the shape of these axes.
        variance: the variance, of the same shape.
        invert: y = x sqrt(variance) + mean.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: a mean without a variance, or values that are no numbers.
        ShapeError: other axes than the last ones, or a mean of another shape.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential
        >>> layer = Normalization()
        >>> layer.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
        >>> Sequential([layer])(np.array([[3.0, 20.0]]))
        array([[1., 0.]], dtype=float32)
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if (mean is None) != (variance is None):
            raise ArgumentError("Normalization takes both mean and variance, or neither.")
        self.axis = axis
        self.mean, self.variance, self.invert = mean, variance, invert
        self._moments: tuple[Any, Any] | None = None
        if mean is not None:
            names = ("mean of Normalization", "variance of Normalization")
            values = zip((mean, variance), names, strict=True)
            first, second = (as_numbers(v, name).astype(np.float64) for v, name in values)
            self._moments = first, second

    def build(self, input_shape: Shape) -> None:
        """Make mean and variance, of the shape of the axes, and a count that Keras has, too."""
        shape = self._shape(input_shape)
        self.add_weight("mean", shape, "zeros", trainable=False)
        self.add_weight("variance", shape, "ones", trainable=False)
        if self.mean is None:
            self.add_weight("count", (), "zeros", trainable=False)
        if self._moments is not None:
            self._take(*self._moments)

    def _shape(self, input_shape: Shape) -> tuple[int, ...]:
        """The shape of mean and variance."""
        if self.axis is None or self.axis == ():
            return ()
        return trailing_shape(self, input_shape, self.axis)

    def _take(self, mean: Any, variance: Any) -> None:
        """Let mean and variance be the weights, those that are there or those to come."""
        parameters = self.parameters[:2]
        for parameter, value in zip(parameters, (mean, variance), strict=True):
            try:
                whole = np.broadcast_to(value, parameter.shape)
            except ValueError:
                raise ShapeError(
                    f"Normalization {self.label!r} has mean and variance of shape "
                    f"{parameter.shape}, got {np.shape(value)}."
                ) from None
            if parameter.block is None:
                parameter.initializer = partial(np.broadcast_to, whole)
            else:
                write_parameters(f"layer {self.label!r}", [parameter], [whole])

    def adapt(self, data: Any) -> None:
        """Take mean and variance of data.

        Args:
            data: an array (samples, ...), or batches of them, one after another.

        Raises:
            ArgumentError: no numbers, or no data.
            ShapeError: other features than those that the layer was built for.
        """
        if self.mean is not None:
            raise ArgumentError("Normalization was given mean and variance: there is no adapt.")
        batches = [data] if hasattr(data, "shape") or not isinstance(data, Iterable) else data
        count, mean, squares = 0, np.float64(0.0), np.float64(0.0)
        for batch in batches:
            x = as_numbers(batch, "data of adapt").astype(np.float64)
            self.ensure_built((None, *x.shape[1:]))
            rows = x.reshape(-1, prod(self.parameters[0].shape))
            if len(rows) == 0:
                continue
            step = rows.mean(axis=0) - mean
            squares = squares + rows.var(axis=0) * len(rows)
            squares = squares + step**2 * (count * len(rows) / (count + len(rows)))
            count += len(rows)
            mean = mean + step * (len(rows) / count)
        if count == 0:
            raise ArgumentError("adapt needs at least one sample, got none.")
        shape = self.parameters[0].shape
        self._moments = mean.reshape(shape), (squares / count).reshape(shape)
        self._take(*self._moments)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = (x - mean) / sqrt(variance), or inverted: x / sqrt(variance) variance + mean."""
        mean, variance = c.mean.reshape(1, -1), c.variance.reshape(1, -1)
        if not self.invert:
            op.channel_norm(
                self._rows(c.y), self._rows(c.x), mean, variance, None, None, epsilon=_SQUARED
            )
            return
        zero = c.scratch(mean.shape, "zero")
        op.fill(zero, value=0.0)
        flat = (variance.reshape(-1), mean.reshape(-1))
        op.channel_norm(self._rows(c.y), self._rows(c.x), zero, variance, *flat, epsilon=_SQUARED)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy / sqrt(variance), or inverted dy sqrt(variance)."""
        dx, dy, variance = self._rows(c.dx), self._rows(c.dy), c.variance.reshape(1, -1)
        factor = c.variance.reshape(-1) if self.invert else None
        vectors = None, variance, None, factor, None
        op.channel_norm_backward(dx, dy, None, None, *vectors, epsilon=_SQUARED)

    def _rows(self, buffer: Buffer) -> Buffer:
        """A column for each mean."""
        return buffer.reshape(1, -1, prod(self.parameters[0].shape))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        axis = list(self.axis) if isinstance(self.axis, tuple) else self.axis
        given = {name: getattr(self, name) for name in ("mean", "variance")}
        plain = {k: None if v is None else np.asarray(v).tolist() for k, v in given.items()}
        return {**super().get_config(), "axis": axis, "invert": self.invert, **plain}


_SQUARED = 1e-14  # of 1e-7, the least standard deviation
