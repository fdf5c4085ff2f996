"""Parameters and their blocks: one flat buffer of weights, one of gradients.

What one build of a layer stack creates is a block. Layers see views of it, an optimizer sees the
flat buffers and a table of segments, so that one launch updates everything. A model holds spans
of blocks (usually one span), so that models can share layers without moving weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import is_integer
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from gpunet.constraints import Constraint
    from gpunet.layers.base import Layer
    from gpunet.regularizers import Regularizer

ALIGNMENT = 64
"""Each parameter starts at a multiple of this many elements: 256 bytes of float32."""


class Parameter:
    """One weight of one layer.

    Attributes:
        name: the weight's name within its layer, "kernel" for example.
        shape: its shape.
        initializer: called with the shape for the first values, on the host.
        trainable: whether an optimizer may change it if its layer is trainable.
        regularizer: its penalty in the loss, or None.
        constraint: what is done to it after each step, or None.
        layer: the layer that made it.
        is_state: whether it is what a layer keeps from batch to batch, and no weight.
        block: the block that holds it, once a model has been made of its layer.
        has_gradient: whether a backward has left a gradient that no step has used yet.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Callable[[tuple[int, ...]], np.ndarray[Any, Any]],
        layer: Layer,
        trainable: bool = True,
        regularizer: Regularizer | None = None,
        constraint: Constraint | None = None,
    ) -> None:
        if not all(is_integer(size) and size >= 0 for size in shape):
            raise ArgumentError(
                f"weight {name!r} of layer {layer.label!r} takes a shape of integers of at least "
                f"0, got {shape!r}."
            )
        self.name = name
        self.layer = layer
        self.shape = tuple(map(int, shape))
        self.initializer = initializer
        self.trainable = trainable
        self.regularizer = regularizer
        self.constraint = constraint
        self.is_state = False
        self.block: Block | None = None
        self.offset = 0
        self.has_gradient = False

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def is_trainable(self) -> bool:
        """Whether an optimizer may change it now."""
        return self.trainable and self.layer.trainable

    def __repr__(self) -> str:
        return f"<Parameter {self.name} shape={self.shape}>"


class Block:
    """The flat buffers that hold some parameters on one backend.

    Args:
        parameters: parameters that have no block yet.
        backend: where the buffers live.
        dtype: "float32", or "float64" in gradient checks.

    Attributes:
        generation: how often the buffers have been replaced; plans are bound to one generation.
    """

    def __init__(self, parameters: Sequence[Parameter], backend: Backend, dtype: str) -> None:
        self.parameters = list(parameters)
        self.backend = backend
        self.dtype = dtype
        self.generation = 0
        self.size = 0
        for parameter in self.parameters:
            parameter.offset = self.size
            self.size += -(-parameter.size // ALIGNMENT) * ALIGNMENT
        host = self._zeros()
        for parameter in self.parameters:
            values = _first_values(parameter)
            host[parameter.offset : parameter.offset + parameter.size] = values.reshape(-1)
        self._upload(host)
        for parameter in self.parameters:  # last, so that what failed can be tried again
            parameter.block = self

    def _zeros(self) -> np.ndarray[Any, Any]:
        try:
            return np.zeros(self.size, self.dtype)
        except MemoryError:
            largest = max(self.parameters, key=lambda parameter: parameter.size)
            raise ArgumentError(
                f"there is no memory for {self.size:,} weights, most of them in {largest.name!r} "
                f"of layer {largest.layer.label!r} with the shape {largest.shape}; make that "
                "smaller."
            ) from None

    def _upload(self, host: np.ndarray[Any, Any]) -> None:
        self.weights = self.backend.empty((self.size,), self.dtype)
        self.backend.write(self.weights, host)
        self.gradients = self.backend.zeros((self.size,), self.dtype)

    def move(self, backend: Backend, dtype: str) -> None:
        """Move the weights to another backend or dtype; gradients start at zero there."""
        if (backend, dtype) == (self.backend, self.dtype):
            return
        self.generation += 1
        host = self.backend.to_numpy(self.weights).astype(dtype)
        self.backend, self.dtype = backend, dtype
        self._upload(host)

    def value(self, parameter: Parameter) -> Array:
        """The view of the flat weights that is this parameter."""
        return self._view(self.weights, parameter)

    def gradient(self, parameter: Parameter) -> Array:
        """The view of the flat gradients that belongs to this parameter."""
        return self._view(self.gradients, parameter)

    def _view(self, flat: Array, parameter: Parameter) -> Array:
        start = parameter.offset
        return flat[start : start + parameter.size].reshape(parameter.shape)


def _first_values(parameter: Parameter) -> np.ndarray[Any, Any]:
    """What its initializer, perhaps a user's function, makes of a parameter's shape."""
    values = np.asarray(parameter.initializer(parameter.shape))
    if values.shape != parameter.shape:
        raise ShapeError(
            f"the initializer of {parameter.name!r} of layer {parameter.layer.label!r} was called "
            f"with the shape {parameter.shape}, but returned an array of shape {values.shape}."
        )
    return values


@dataclass(frozen=True)
class Span:
    """Neighbouring parameters of one block that belong to a model.

    Attributes:
        block: the block.
        start: the first element of the flat buffers.
        stop: one past the last.
        parameters: the parameters within, in order of offset.
    """

    block: Block
    start: int
    stop: int
    parameters: tuple[Parameter, ...]

    @property
    def weights(self) -> Array:
        """The flat weights of this span."""
        return self.block.weights[self.start : self.stop]

    @property
    def gradients(self) -> Array:
        """The flat gradients of this span."""
        return self.block.gradients[self.start : self.stop]

    def segments(self) -> np.ndarray[Any, Any]:
        """The segment table of `gpunet.backend.spec.SEGMENT_COLUMNS`, one row a parameter.

        An optimizer changes the columns decay and clip_group as it needs.
        """
        rows = [
            (
                p.offset - self.start,
                p.size,
                1.0,
                p.layer.learning_rate_factor,
                float(p.is_trainable),
                0.0,
            )
            for p in self.parameters
        ]
        return np.array(rows, np.float64).reshape(-1, 6)

    def penalties(self) -> np.ndarray[Any, Any]:
        """The table of `gpunet.backend.spec.PENALTY_COLUMNS`: as in Keras, of trainable weights."""
        rows = [
            (p.offset - self.start, p.size, p.regularizer.l1, p.regularizer.l2)
            for p in self.parameters
            if p.regularizer is not None and p.regularizer.elementwise and p.is_trainable
        ]
        return np.array(rows, np.float64).reshape(-1, 4)


def spans_of(parameters: Sequence[Parameter]) -> list[Span]:
    """The spans that hold these parameters and nothing else, in order of first appearance."""
    by_block: dict[Block, list[Parameter]] = {}
    for parameter in parameters:
        if parameter.block is not None:
            by_block.setdefault(parameter.block, []).append(parameter)
    spans = []
    for block, members in by_block.items():
        wanted = set(members)
        run: list[Parameter] = []
        ends = [p.offset for p in block.parameters[1:]] + [block.size]
        for parameter, end in zip(block.parameters, ends, strict=True):
            if parameter in wanted:
                run.append(parameter)
            if run and (parameter not in wanted or end == block.size):
                stop = end if parameter in wanted else parameter.offset
                spans.append(Span(block, run[0].offset, stop, tuple(run)))
                run = []
    return spans
