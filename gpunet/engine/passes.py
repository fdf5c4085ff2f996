"""One pass of a graph on the recorder: forward in order, backward in reverse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpunet.engine.graph import Graph, Node, Tensor
from gpunet.engine.parameters import Parameter
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.base import Context, Layer, block_of


class Pass:
    """Records forward and backward of one graph for one batch size.

    Args:
        graph: the graph.
        op: the recorder.
        rows: the batch size.
        training: whether layers such as Dropout act.
        random: the device array (seed, pass) for random ops; one in the arena if None.

    Attributes:
        values: the buffer of each symbolic tensor.
    """

    def __init__(
        self, graph: Graph, op: Recorder, rows: int, training: bool, random: Buffer | None = None
    ) -> None:
        self.graph = graph
        self.paths = graph.paths
        self.op = op
        self.rows = rows
        self.training = training
        self.random = random or op.scratch((2,), "uint64", name="random")
        self.values: dict[Tensor, Buffer] = {}
        self._contexts: list[Context | None] = []
        self._weights: dict[Parameter, Buffer] = {}
        self._gradients: dict[Parameter, Buffer] = {}

    def forward(
        self, inputs: Sequence[Buffer], totals: Buffer | None = None, count: int = 1
    ) -> list[Buffer]:
        """Record each layer's forward; returns the buffers of the graph's outputs.

        Args:
            inputs: the buffers of the graph's inputs.
            totals: running totals that ``count`` times the penalties of activity regularizers are
                added to, or None.
            count: how many rows the batch's loss is the mean of.
        """
        self.values.update(zip(self.graph.inputs, inputs, strict=True))
        self.op.direction = "forward"
        for number, node in enumerate(self.graph.nodes):
            layer = node.layer
            shape = node.output.batch_shape(self.rows)
            xs = tuple(self.value(tensor) for tensor in node.inputs)
            self.op.layer = self.paths[layer]
            if layer.passes_through(self.training):
                self.values[node.output] = xs[0].reshape(*shape)
                self._contexts.append(None)
                self._penalize(node, None, totals, count)
                continue
            context = Context(self.op, self.training, number, self.random, node.options)
            context.x = xs[0] if layer.inputs == 1 else xs
            context.y = self.op.scratch(shape, name=f"{self.paths[layer]}.y")
            self._lend_weights(layer, context)
            with _named(self.paths[layer], "forward"):
                layer.forward(self.op, context)
            self.values[node.output] = context.y
            self._contexts.append(context)
            self._penalize(node, None, totals, count)
        return [self.value(tensor) for tensor in self.graph.outputs]

    def value(self, tensor: Tensor) -> Buffer:
        """The buffer of a symbolic tensor, also of what a layer made of layers returned."""
        return self.values[self.graph.origin(tensor)]

    def backward(self, totals: Buffer | None = None, count: int = 1) -> None:
        """Record each layer's backward in reverse order; totals and count as in `forward`.

        The gradients of the outputs have been written by then (`Recorder.gradient_of`).
        """
        op = self.op
        op.direction = "backward"
        pairs = list(zip(self.graph.nodes, self._contexts, strict=True))
        for node, context in reversed(pairs):
            dy = op.gradient_of(self.values[node.output])
            self._penalize(node, dy, totals, count)
            if context is None or not op.is_written(dy):
                continue  # the memory is that of dx, or nothing that is wanted depends on y
            op.layer = self.paths[node.layer]
            context.dy = dy
            dxs = tuple(op.gradient_of(self.value(tensor)) for tensor in node.inputs)
            context.dx = dxs[0] if node.layer.inputs == 1 else dxs
            with _named(self.paths[node.layer], "backward"):
                node.layer.backward(op, context)
        for parameter in self.graph.parameters:
            if parameter.is_trainable:
                if parameter not in self._gradients:  # of a layer whose output nobody wants
                    self._gradients[parameter] = self._gradient(parameter.layer, parameter)
                if not op.is_written(self._gradients[parameter]):
                    op.fill(self._gradients[parameter], value=0.0)

    def _penalize(self, node: Node, dy: Buffer | None, totals: Buffer | None, count: int) -> None:
        """Record the penalty on a layer's output, which is divided by the batch size."""
        regularizer = node.layer.activity_regularizer
        if regularizer is None or (dy is None and totals is None):
            return
        self.op.layer = self.paths[node.layer]
        y, share = self.values[node.output], 1.0 / self.rows
        with _named(self.paths[node.layer], "regularizer"):
            regularizer.record(self.op, dy, totals, y, share=share, count=count)

    def _lend_weights(self, layer: Layer, context: Context) -> None:
        """Put weights and their gradients on the context under their names."""
        for parameter in layer.parameters:
            if parameter not in self._weights:
                self._weights[parameter] = self._external(layer, parameter)
                self._gradients[parameter] = self._gradient(layer, parameter)
            setattr(context, parameter.name, self._weights[parameter])
            setattr(context, f"d{parameter.name}", self._gradients[parameter])

    def _external(self, layer: Layer, parameter: Parameter) -> Buffer:
        def value() -> Any:
            return block_of(parameter).value(parameter)

        name = f"{self.paths[layer]}.{parameter.name}"
        return self.op.external(name, parameter.shape, self.op.dtype, value)

    def _gradient(self, layer: Layer, parameter: Parameter) -> Buffer:
        """The gradient in its block; a frozen weight's goes where nobody reads it."""
        name = f"{self.paths.get(layer, layer.label)}.d{parameter.name}"
        if not parameter.is_trainable:
            buffer = self.op.scratch(parameter.shape, name=name)
        else:

            def value() -> Any:
                return block_of(parameter).gradient(parameter)

            buffer = self.op.external(name, parameter.shape, self.op.dtype, value)
        buffer.storage.gradient = True
        return buffer

    @property
    def weight_gradients(self) -> list[Buffer]:
        """The gradients of the trainable weights."""
        return [b for b in self._gradients.values() if b.storage.resolve is not None]


@contextmanager
def _named(layer: str, direction: str) -> Iterator[None]:
    """Say in whose code an error arose; its type and its traceback stay."""
    try:
        yield
    except Exception as error:
        error.args = (f"layer {layer!r}, {direction}: {error}",)
        raise
