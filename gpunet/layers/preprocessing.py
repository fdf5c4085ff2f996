"""Layers that prepare the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Context, Layer


class Rescaling(Layer):
    """y = scale * x + offset. As a first layer it is folded into the gather of the mini-batch.

    Args:
        scale: the factor; 1/255 turns uint8 pixels into numbers between 0 and 1.
        offset: what is added afterwards.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: scale or offset is no number.
    """

    def __init__(self, scale: float, offset: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for argument, value in (("scale", scale), ("offset", offset)):
            if not isinstance(value, int | float | np.number):
                raise ArgumentError(f"Rescaling takes a number for {argument}, got {value!r}.")
        self.scale = float(scale)
        self.offset = float(offset)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = scale * x + offset."""
        op.scale_shift(c.y, c.x, scale=self.scale, offset=self.offset)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = scale * dy."""
        op.scale_shift(c.dx, c.dy, scale=self.scale, offset=0.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}
