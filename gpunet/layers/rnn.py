"""Recurrent layers of any cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Layer
from gpunet.layers.cells import not_called, sizes_of
from gpunet.layers.recurrent import Recurrent
from gpunet.layers.unrolled import StepContext


class RNN(Recurrent):
    """The steps of a cell over a sequence; the cell may be your own.

    A cell is a `Layer` with an attribute ``state_size``, the size of its state (a list of them
    where there are several), perhaps an ``output_size`` (that of the first state, if not), and a
    forward and a backward of one step; see the example. There ``c.x`` is the input of the step
    (batch, features), ``c.states`` are the states before it (batch, size). Forward writes the
    output ``c.y`` and ``c.new_states``; a state that is the output itself is written once and
    named: ``c.new_states = (c.y,)``. Backward writes ``c.dx``, ``c.dstates`` and the gradients of
    the weights from ``c.dy`` and ``c.dnew_states``; those of what is one array are one, too.

    Args:
        cell: the cell, or a list of cells, of which each gets what the one before returns.
        return_sequences: whether to return the output of every step, or that of the last.
        return_state: whether to return the last states besides, as a list behind the output.
        go_backwards: whether to go from the last step to the first.
        stateful: whether a batch starts from the states in which the one before ended.
        unroll: accepted as in Keras: steps are always recorded one by one.
        zero_output_for_mask: whether the output of masked steps is zero.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: something else than a cell; an argument of a type that makes no sense.
        ShapeError: inputs that are not (batch, steps, features).

    Example:
        >>> from gpunet import Input, layers
        >>> class Leaky(layers.Layer):  # y = x + 0.9 h
        ...     state_size = 3
        ...
        ...     def forward(self, op, c):
        ...         op.scale_shift(c.y, c.states[0], scale=0.9, offset=0.0)
        ...         op.add(c.y, c.y, c.x)
        ...         c.new_states = (c.y,)
        ...
        ...     def backward(self, op, c):
        ...         op.copy(c.dx, c.dy)
        ...         op.scale_shift(c.dstates[0], c.dy, scale=0.9, offset=0.0)
        >>> layers.RNN(Leaky(), return_sequences=True)(Input((5, 3))).shape
        (None, 5, 3)
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        check_cell("RNN", cell)
        arguments = {**locals(), **kwargs}
        kwargs.pop("activity_regularizer", None)
        super().__init__(cell, arguments, kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        from gpunet.layers.serialization import serialize  # which knows all layers

        return {**super().get_config(), "cell": serialize(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> RNN:
        """A new layer from `get_config`."""
        from gpunet.layers.serialization import as_layer

        config = dict(config)
        return cls(as_layer(config.pop("cell")), **config)


class StackedRNNCells(Layer):
    """Several cells as one: each gets the output of the one before. `RNN` makes one of a list.

    Args:
        cells: the cells.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: no cells, or something else among them.

    Example:
        >>> from gpunet import Input, layers
        >>> cells = StackedRNNCells([layers.LSTMCell(8), layers.GRUCell(4)])
        >>> layers.RNN(cells)(Input((5, 3))).shape
        (None, 4)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cells, list | tuple) or not cells:
            raise ArgumentError(f"StackedRNNCells takes a list of cells, got {cells!r}.")
        for cell in cells:
            check_cell("StackedRNNCells", cell)
        if len({id(cell) for cell in cells}) < len(cells):
            raise ArgumentError("StackedRNNCells takes each cell once; make another one.")
        self.cells = list(cells)
        self._names: list[dict[str, str]] = []  # of each cell's weights: own name -> name here

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Cells are one step of a layer, and not called themselves.

        Raises:
            ArgumentError: they are called.
        """
        raise not_called(self)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """That of the last cell."""
        return _output_size(self.cells[-1])

    def build(self, input_shape: Shape) -> None:
        """Build the cells, whose weights get the number of their cell as part of their names."""
        self._names = []
        for number, cell in enumerate(self.cells):
            cell.ensure_built(input_shape)
            names = {p.name: f"{p.name}_{number}" for p in cell.parameters}
            for parameter in cell.parameters:
                parameter.name = names[parameter.name]
                parameter.trainable = parameter.trainable and cell.trainable
            self._names.append(names)
            self.parameters += cell.parameters
            input_shape = (*input_shape[:-1], _output_size(cell))

    def forget_build(self) -> None:
        """Go back to before the first call."""
        super().forget_build()
        for cell in self.cells:
            cell.forget_build()

    def forward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """One cell after the other."""
        parts: list[StepContext] = []
        x, start, batch = c.x, 0, c.x.shape[0]
        new_states: list[Any] = []
        for cell, names in zip(self.cells, self._names, strict=True):
            part = StepContext(op, c, names)
            part.node = c.node + 2**24 * len(parts)  # each cell drops others
            part.x = x
            count = len(sizes_of(cell.state_size))
            part.states = c.states[start : start + count]
            part.new_states = c.new_states[start : start + count]
            is_last = cell is self.cells[-1]
            part.y = c.y if is_last else c.scratch((batch, _output_size(cell)), "y")
            cell.forward(op, part)
            parts.append(part)
            new_states += part.new_states
            x, start = part.y, start + count
        c.new_states = tuple(new_states)
        c.saved = parts

    def backward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """One cell after the other, from the last."""
        for cell, part in reversed(list(zip(self.cells, c.saved, strict=True))):
            part.find_gradients(op)
            cell.backward(op, part)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        from gpunet.layers.serialization import serialize

        return {**super().get_config(), "cells": [serialize(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StackedRNNCells:
        """New cells from `get_config`."""
        from gpunet.layers.serialization import as_layer

        config = dict(config)
        return cls([as_layer(cell) for cell in config.pop("cells")], **config)


def check_cell(who: str, cell: Any) -> None:
    """Check that something is a cell.

    Raises:
        ArgumentError: it is none.
    """
    size = getattr(cell, "state_size", None)
    if not isinstance(cell, Layer) or size is None:
        raise ArgumentError(
            f"{who} takes a cell, a Layer with a state_size, or a list of them, got {cell!r}."
        )
    for one in sizes_of(size):
        if not isinstance(one, int) or isinstance(one, bool) or one < 1:
            raise ArgumentError(
                f"{who} takes a cell whose state_size is a positive integer or a list of them, got "
                f"{size!r}."
            )


def _output_size(cell: Any) -> int:
    size = getattr(cell, "output_size", None)
    return int(sizes_of(cell.state_size)[0] if size is None else size)
