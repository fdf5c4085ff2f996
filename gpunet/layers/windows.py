"""What layers over one to three dimensions share: their arguments, and what the ops see."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer
from gpunet.errors import ShapeError
from gpunet.geometry import AXES, Triple
from gpunet.layers.channels import ChannelLayer, channels_from_end, channels_to_end


class Windowed(ChannelLayer):
    """Base class of layers whose inputs are (batch, ..., channels) over ``rank`` dimensions, or
    (batch, channels, ...)."""  # noqa: D205, D209

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
            names = channels_from_end(("batch", *AXES[-self.rank :], "channels"), self.data_format)
            raise ShapeError(
                f"{self.where} expects inputs ({', '.join(names)}), got {input_shape}; put a "
                "Reshape before it."
            )
        shape = channels_to_end(input_shape, self.channel_axis)
        *sizes, channels = (dim or 0 for dim in shape[1:])
        return tuple(sizes), channels

    def shape(self, batch: int | None, sizes: Sequence[int], channels: int) -> Shape:
        """(batch, *sizes, channels), or in the order of channels_first."""
        return channels_from_end((batch, *sizes, channels), self.data_format)

    def volume(self, buffer: Buffer, sizes: Triple) -> Buffer:
        """A buffer (batch, ..., channels) as (batch, depth, height, width, channels)."""
        return buffer.reshape(buffer.shape[0], *sizes, buffer.shape[-1])

    def outputs(self, sizes: Triple) -> tuple[int, ...]:
        """Depth, height and width without the dimensions that this layer does not have."""
        return sizes[len(AXES) - self.rank :]
