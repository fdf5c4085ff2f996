"""What layers over one to three dimensions share: their arguments, and what the ops see."""

from __future__ import annotations

from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer
from gpunet.errors import ArgumentError, ShapeError
from gpunet.geometry import AXES, Triple
from gpunet.layers.base import Layer


class Windowed(Layer):
    """Base class of layers whose inputs are (batch, ..., channels) over ``rank`` dimensions."""

    rank: int = 2

    @property
    def where(self) -> str:
        """The class and the layer's name, for messages."""
        return f"{type(self).__name__} {self.label!r}"

    def check_inputs(self, input_shape: Shape) -> tuple[tuple[int, ...], int]:
        """The sizes and the channels of inputs of this shape.

        Raises:
            ShapeError: they have another rank.
        """
        if len(input_shape) != self.rank + 2:
            axes = ", ".join(AXES[-self.rank :])
            raise ShapeError(
                f"{self.where} expects inputs (batch, {axes}, channels), got {input_shape}; put a "
                "Reshape before it."
            )
        *sizes, channels = (dim or 0 for dim in input_shape[1:])
        return tuple(sizes), channels

    def volume(self, buffer: Buffer, sizes: Triple) -> Buffer:
        """A buffer (batch, ..., channels) as (batch, depth, height, width, channels)."""
        return buffer.reshape(buffer.shape[0], *sizes, buffer.shape[-1])

    def outputs(self, sizes: Triple) -> tuple[int, ...]:
        """Depth, height and width without the dimensions that this layer does not have."""
        return sizes[len(AXES) - self.rank :]


def check_data_format(layer: str, data_format: Any) -> str:
    """Keras' data_format, of which there is "channels_last".

    Raises:
        ArgumentError: another one.
    """
    if data_format not in (None, "channels_last"):
        raise ArgumentError(
            f"{layer} takes channels_last for data_format, got {data_format!r}; put "
            "layers.Permute before it to move the channels to the end."
        )
    return "channels_last"


def check_count(layer: str, name: str, value: Any) -> int:
    """A positive integer.

    Raises:
        ArgumentError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(f"{layer} takes a positive integer for {name}, got {value!r}.")
    return value
