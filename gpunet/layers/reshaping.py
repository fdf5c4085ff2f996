"""Layers that only change the shape; they cost nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from gpunet.engine.graph import Shape
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Layer


class Flatten(Layer):
    """(batch, ...) -> (batch, features): all axes but the first become one.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.Flatten(input_shape=(8, 8))]).output_shape
        (None, 64)
    """

    def passes_through(self, training: bool) -> bool:
        """The memory stays as it is."""
        return True

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, features)."""
        return (input_shape[0], _features(input_shape))


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
        if not all(isinstance(dim, int) and (dim >= 1 or dim == -1) for dim in shape):
            raise ArgumentError(
                "Reshape takes the shape of one sample in positive integers and at most one -1, "
                f"got {target_shape!r}."
            )
        self.target_shape = shape

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


def _features(input_shape: Shape) -> int:
    return math.prod(dim for dim in input_shape[1:] if dim is not None)
