"""What layers that normalize share: gamma and beta, and the axes that they work along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import ABOVE_0, check_flag
from gpunet.engine.graph import Shape
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Layer
from gpunet.saving.configs import described


class Affine(Layer):
    """What the layers below share: a factor gamma and an offset beta, which are learned.

    Args:
        epsilon: what is added to the variance.
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        others: the initializers, regularizers and constraints of both, by Keras' names.
        kwargs: name and so on; see `Layer`.
    """

    supports_masking = True

    def __init__(
        self,
        epsilon: float,
        center: bool,
        scale: bool,
        others: dict[str, Any],
        kwargs: dict[str, Any],
    ) -> None:
        super().__init__(**kwargs)
        self.epsilon = ABOVE_0.check(self, "epsilon", epsilon)
        self.center = check_flag(self, "center", center)
        self.scale = check_flag(self, "scale", scale)
        for name in ("beta", "gamma"):
            setattr(self, f"{name}_initializer", initializers.get(others[f"{name}_initializer"]))
            setattr(self, f"{name}_regularizer", regularizers.get(others[f"{name}_regularizer"]))
            setattr(self, f"{name}_constraint", constraints.get(others[f"{name}_constraint"]))

    def add_affine(self, name: str, shape: Sequence[int]) -> None:
        """Make gamma or beta."""
        self.add_weight(
            name,
            shape,
            getattr(self, f"{name}_initializer"),
            regularizer=getattr(self, f"{name}_regularizer"),
            constraint=getattr(self, f"{name}_constraint"),
        )

    def affine_config(self) -> dict[str, Any]:
        """The arguments that the constructor here takes."""
        config: dict[str, Any] = {
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }
        for name in ("beta", "gamma"):
            initializer = getattr(self, f"{name}_initializer")
            config[f"{name}_initializer"] = initializers.serialize(initializer)
            for kind in ("regularizer", "constraint"):
                config[f"{name}_{kind}"] = described(getattr(self, f"{name}_{kind}"))
        return config


def trailing_shape(layer: Layer, input_shape: Shape, axis: Any) -> tuple[int, ...]:
    """The sizes of a layer's axes, which must be the last ones.

    Raises:
        ArgumentError: axis is no integer and no list of integers.
        ShapeError: it names other axes than the last ones, or axes of unknown size.
    """
    axes = [axis] if isinstance(axis, int) else axis
    if not isinstance(axes, list | tuple) or not axes or not all(isinstance(i, int) for i in axes):
        raise ArgumentError(
            f"{type(layer).__name__} takes an integer or a list of integers for axis, got {axis!r}."
        )
    rank = len(input_shape)
    last = list(range(max(rank - len(axes), 1), rank))
    if sorted(i + rank if i < 0 else i for i in axes) != last:
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} normalizes the last axes, for inputs of shape "
            f"{input_shape} {last}, got axis={axis!r}; put a Permute in front of it."
        )
    sizes = tuple(size or 0 for size in input_shape[-len(axes) :])
    if 0 in sizes:
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} expects inputs with last axes of known size, "
            f"got {input_shape}."
        )
    return sizes
