"""Masks made from the numbers of sequences."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import FINITE
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ShapeError
from gpunet.layers.base import Context, Layer


class Masking(Layer):
    """Masks the steps of (batch, steps, features) whose features all have one value.

    The mask goes on through the layers behind it: recurrent layers and attention pass over masked
    steps, and losses and metrics do not count them. y = x, with 0 in masked steps.

    Args:
        mask_value: the value that stands for nothing.
        **kwargs: name, input_shape; see `Layer`.

    Raises:
        ArgumentError: a mask_value that is no number.
        ShapeError: inputs without steps.

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((5, 3))
        >>> Masking()(x).mask.shape
        (None, 5)
    """

    supports_masking = True
    by_position = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = FINITE.check(self, "mask_value", mask_value)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        if len(input_shape) < 3:
            raise ShapeError(
                f"Masking {self.label!r} expects inputs (batch, steps, features), got "
                f"{input_shape}; for integers take Embedding(..., mask_zero=True)."
            )
        return input_shape

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """A new mask: all axes but the last."""
        return inputs.shape[:-1]

    def forward(self, op: Recorder, c: Context) -> None:
        """mask = whether a feature differs from the value; y = x where the mask is 1, else 0."""
        c.new_mask = c.scratch(c.x.shape[:-1], "mask", "uint8")
        op.row_mask(c.new_mask.reshape(-1), c.x.rows, value=self.mask_value)
        op.masked_rows(c.y.rows, c.x.rows, c.new_mask.reshape(-1))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy where the mask is 1, else 0."""
        op.masked_rows(c.dx.rows, c.dy.rows, c.new_mask.reshape(-1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "mask_value": self.mask_value}
