"""The shapes of samples, and of a layer's outputs where sizes differ from batch to batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpunet.arguments import is_integer
from gpunet.engine.graph import Option, Shape
from gpunet.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from gpunet.layers.base import Layer

TRIED = (240, 480)
"""Sizes in the place of an unknown one: large enough for windows, and with many divisors."""


def sample_shape_of(shape: Any) -> Shape:
    """The shape of one sample, as a tuple.

    Raises:
        ArgumentError: a dimension is neither a positive integer nor None.
    """
    dims = tuple(shape) if isinstance(shape, list | tuple) else (shape,)
    for dim in dims:
        if dim is not None and (not is_integer(dim) or dim < 1):
            raise ArgumentError(
                f"Input takes the shape of one sample in positive integers, got {shape!r}; leave "
                "the batch size out, and write None for a size that differs from batch to batch."
            )
    return tuple(None if dim is None else int(dim) for dim in dims)


def shapes_out(layer: Layer, shapes: Sequence[Shape], options: Mapping[str, Option]) -> list[Shape]:
    """The shapes of all outputs of a layer for inputs of these shapes (batch first, None).

    Layers compute with sizes, so one that is not known (None) is tried with two numbers: the sizes
    of the outputs that differ then are not known either.

    Raises:
        ShapeError: shapes that the layer does not take.
    """
    if all(None not in shape[1:] for shape in shapes):
        return _shapes(layer, shapes, options)
    tried = []
    for size in TRIED:
        sized = [(shape[0], *(dim or size for dim in shape[1:])) for shape in shapes]
        try:
            tried.append(_shapes(layer, sized, options))
        except ShapeError as error:
            error.args = (f"{error} ({size} stands for a size that differs from batch to batch)",)
            raise
    return [
        tuple(a if a == b else None for a, b in zip(*pair, strict=True))
        for pair in zip(*tried, strict=True)
    ]


def _shapes(layer: Layer, shapes: Sequence[Shape], options: Mapping[str, Option]) -> list[Shape]:
    return layer.output_shapes(shapes[0] if layer.inputs == 1 else tuple(shapes), options)
