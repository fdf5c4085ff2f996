"""One pass of a graph on the recorder: forward in order, backward in reverse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gpunet.engine.graph import Graph, Node, Tensor, with_tensors
from gpunet.engine.parameters import Parameter
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import UsageError
from gpunet.layers.base import Context, Layer
from gpunet.layers.weights import block_of


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
        shapes = self.shapes([x.shape for x in inputs])
        self.op.direction = "forward"
        for number, node in enumerate(self.graph.nodes):
            layer = node.layer
            self.op.layer = self.paths[layer]
            if layer.passes_through(self._trains(node)):
                x = self.value(node.inputs[0])
                self.values[node.output] = x.reshape(*shapes[node.output])
                self._contexts.append(None)
                self._penalize(node, totals, count)
                continue
            context = self._context(node, number)
            ys = [
                self.op.scratch(shapes[tensor], name=self._name_of(tensor))
                for tensor in node.outputs
            ]
            context.y = ys[0] if len(ys) == 1 else tuple(ys)
            with _named(self.paths[layer], "forward"):
                layer.forward(self.op, context)
                self._check_written(ys)
            self.values.update(zip(node.outputs, ys, strict=True))
            for mask in node.new_masks:
                self.values[mask] = context.new_mask
            self._contexts.append(context)
            self._penalize(node, totals, count)
        return [self.value(tensor) for tensor in self.graph.outputs]

    def _check_written(self, ys: Sequence[Buffer]) -> None:
        for y in ys:
            if not self.op.is_written(y):
                raise UsageError(
                    f"no op writes the output {y!r}, which would be whatever the memory holds; an "
                    "op writes its first arguments: op.copy(c.y, c.x)."
                )

    def shapes(self, inputs: Sequence[tuple[int, ...]]) -> dict[Tensor, tuple[int, ...]]:
        """The shapes of all tensors for inputs of these shapes."""
        return self.graph.batch_shapes(inputs)

    def _trains(self, node: Node) -> bool:
        """Whether a call is to act as in training: what it says itself goes before the pass."""
        return bool(node.options.get("training", self.training))

    def _context(self, node: Node, number: int) -> Context:
        """What forward finds: inputs, masks, options and weights."""
        layer, flags = node.layer, {n: v for n, v in node.options.items() if isinstance(v, bool)}
        context = Context(self.op, self._trains(node), number, self.random, flags)
        context.x = _single([self.value(tensor) for tensor in node.inputs], layer.inputs == 1)
        masks = [None if mask is None else self.value(mask) for mask in node.masks]
        context.mask = _single(masks, layer.inputs == 1)
        for name in layer.call_tensors:
            setattr(context, name, None)
        for name, value in with_tensors(node.options, self.value).items():
            if name in layer.call_tensors:
                setattr(context, name, tuple(value) if isinstance(value, list) else value)
        self._lend_weights(layer, context)
        return context

    def _name_of(self, tensor: Tensor) -> str:
        """What the buffer of a layer's output is called."""
        layer = tensor.name if tensor.node is None else self.paths[tensor.node.layer]
        return f"{layer}.y{tensor.index or ''}"

    @property
    def draws(self) -> bool:
        """Whether an op that was recorded draws random numbers."""
        return any(self.random.storage in record.reads() for record in self.op.records)

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
            self._penalize(node, totals, count, backward=True)
            dys = [self._gradient_if_written(tensor) for tensor in node.outputs]
            if context is None or not any(dys):
                continue  # the memory is that of dx, or nothing that is wanted depends on y
            op.layer = self.paths[node.layer]
            context.dy = _single(dys, len(dys) == 1)
            dxs = [op.gradient_of(self.value(tensor)) for tensor in node.inputs]
            context.dx = _single(dxs, node.layer.inputs == 1)
            for name in node.layer.call_tensors:
                given = getattr(context, name)
                setattr(context, f"d{name}", self._gradients_of(given))
            with _named(self.paths[node.layer], "backward"):
                node.layer.backward(op, context)
        for parameter in self.graph.parameters:
            if parameter.is_trainable:
                if parameter not in self._gradients:  # of a layer whose output nobody wants
                    self._gradients[parameter] = self._gradient(parameter.layer, parameter)
                if not op.is_written(self._gradients[parameter]):
                    op.fill(self._gradients[parameter], value=0.0)

    def _gradient_if_written(self, tensor: Tensor) -> Buffer | None:
        """The gradient of a tensor; None if nothing that is wanted depends on it."""
        dy = self.op.gradient_of(self.values[tensor])
        return dy if self.op.is_written(dy) else None

    def _gradients_of(self, given: Any) -> Any:
        """The gradients of what a call named besides its inputs."""
        if isinstance(given, tuple):
            return tuple(self._gradients_of(item) for item in given)
        return None if given is None else self.op.gradient_of(given)

    def _penalize(
        self, node: Node, totals: Buffer | None, count: int, backward: bool = False
    ) -> None:
        """Record the penalty on a layer's outputs, which is divided by the batch size."""
        regularizer = node.layer.activity_regularizer
        if regularizer is None or not (backward or totals is not None):
            return
        self.op.layer = self.paths[node.layer]
        share = 1.0 / self.rows
        with _named(self.paths[node.layer], "regularizer"):
            for y in (self.values[tensor] for tensor in node.outputs):
                dy = self.op.gradient_of(y) if backward else None
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


def _single(values: Sequence[Any], is_single: bool) -> Any:
    return values[0] if is_single else tuple(values)


@contextmanager
def _named(layer: str, direction: str) -> Iterator[None]:
    """Say in whose code an error arose; its type and its traceback stay."""
    try:
        yield
    except Exception as error:
        error.args = (f"layer {layer!r}, {direction}: {error}",)
        raise
