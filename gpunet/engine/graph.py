"""The graph: what calling layers on symbolic tensors records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

from gpunet.engine.order import layers_as_in_keras
from gpunet.errors import ArgumentError
from gpunet.structures import flatten, mapped, packed

if TYPE_CHECKING:
    from gpunet.engine.parameters import Span
    from gpunet.layers.base import Layer

DTYPES = (
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
)
"""The dtypes of data that travel to the device as they are."""

Shape = tuple[int | None, ...]
"""A shape whose first entry, the batch size, is None; others are where sizes differ by batch."""


NOMINAL_SIZE = 64
"""What a summary takes for a size that differs from batch to batch."""


class Tensor:
    """A symbolic tensor: the shape and dtype of a value that a model will compute.

    Attributes:
        shape: the shape with None for the batch size.
        dtype: the NumPy name of the dtype; inputs may be integers, all else is floating-point.
        layer: the layer that returned it; of an input the InputLayer.
        node: the call that computes it, or None for an input.
        index: its number among the outputs of the call.
        batch_size: of an input whose batches all have one size; else None.
        mask: which of its steps are there, a tensor (batch, steps); None where all are.
    """

    def __init__(
        self,
        shape: Shape,
        dtype: str,
        layer: Layer,
        node: Node | None = None,
        index: int = 0,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.layer = layer
        self.node = node
        self.index = index
        self.mask: Tensor | None = None
        self.batch_size: int | None = None

    @property
    def name(self) -> str:
        """The name of its layer."""
        return self.layer.label

    def batch_shape(self, rows: int) -> tuple[int, ...]:
        """The shape of a batch of this many samples."""
        return (rows, *(dim or 0 for dim in self.shape[1:]))

    def __repr__(self) -> str:
        return f"<Tensor {self.name} shape={self.shape} dtype={self.dtype}>"

    def __add__(self, other: Any) -> Tensor:
        return self._operator("add", self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._operator("add", other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._operator("subtract", self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._operator("subtract", other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._operator("multiply", self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._operator("multiply", other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._operator("true_divide", self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._operator("true_divide", other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._operator("matmul", self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._operator("matmul", other, self)

    def __pow__(self, other: Any) -> Tensor:
        return self._operator("power", self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return self._operator("power", other, self)

    def __neg__(self) -> Tensor:
        return self._operator("negative", self)

    def __getitem__(self, key: Any) -> Tensor:
        return self._operator("get_item", self, key)

    def _operator(self, name: str, *operands: Any) -> Tensor:
        result: Tensor = self.layer.operator(name, *operands)
        return result

    def _no_operator(self, *others: object) -> Any:
        raise ArgumentError(
            f"{self!r} can be added, subtracted, multiplied, divided by a number and sliced, but "
            "not compared, rounded and so on; write a layer with forward and backward for that."
        )

    def __eq__(self, other: object) -> bool:
        return self is other if other is None or isinstance(other, Tensor) else self._no_operator()

    __hash__ = object.__hash__
    __lt__ = __le__ = __gt__ = __ge__ = __mod__ = __rmod__ = __floordiv__ = _no_operator
    __rfloordiv__ = __abs__ = __round__ = __and__ = __or__ = __xor__ = __invert__ = _no_operator

    def _no_number(self, *arguments: object) -> Any:
        raise ArgumentError(
            f"{self!r} is symbolic: it has no numbers to loop over, to decide by or to convert; "
            "call the model on an array for numbers, or write a layer for a computation."
        )

    __bool__ = __int__ = __float__ = __index__ = __len__ = __iter__ = __array__ = _no_number
    __array_ufunc__ = None  # so that NumPy leaves its own numbers times a tensor to the tensor


Option: TypeAlias = "bool | Tensor | list[Tensor | None]"
"""What a call of a layer may say besides its inputs."""


class Node:
    """One call of one layer. A shared layer has several nodes.

    Args:
        layer: the layer that was called.
        arguments: what it was called on: symbolic tensors, and lists and dicts of them.
        shapes: the shapes of what it returns.
        form: the structure of what it returns; by default one tensor, or a list.
        body: for a layer that is made of layers: what it called, from inputs to outputs.
        options: what else the call said by name: ``use_causal_mask``, ``initial_state``, ``mask``.
        masks: for each input which of its steps are there, or None.
        mask_shapes: the shapes of the masks that it makes.

    Attributes:
        inputs: the tensors among the arguments.
        outputs: the tensors that it returned.
        result: the same in their structure.
        new_masks: the masks that it makes.
    """

    def __init__(
        self,
        layer: Layer,
        arguments: Sequence[Any],
        shapes: Sequence[Shape],
        form: Any = None,
        body: Graph | None = None,
        options: Mapping[str, Option] | None = None,
        masks: Sequence[Tensor | None] = (),
        mask_shapes: Sequence[Shape] = (),
    ) -> None:
        self.layer = layer
        self.inputs = tuple(flatten(arguments))
        self.arguments = packed(tuple(arguments), self.inputs)
        self.body = body
        self.options = dict(options or {})
        self.masks = tuple(masks)
        self.outputs = tuple(
            Tensor(shape, "float32", layer, self, i) for i, shape in enumerate(shapes)
        )
        if form is None:
            form = None if len(shapes) == 1 else [None] * len(shapes)
        self.result = packed(form, self.outputs)
        self.new_masks = tuple(Tensor(shape, "bool", layer, self) for shape in mask_shapes)
        layer.nodes.append(self)

    @property
    def output(self) -> Tensor:
        """The first of the outputs."""
        return self.outputs[0]

    @property
    def sources(self) -> list[Tensor]:
        """All tensors that it reads."""
        masks = [mask for mask in self.masks if mask is not None]
        return [*self.inputs, *tensors_of(self.options), *masks]


def tensors_of(options: Mapping[str, Option]) -> list[Tensor]:
    """The tensors among the options of a call."""
    listed = [value if isinstance(value, list) else [value] for value in options.values()]
    return [item for items in listed for item in items if isinstance(item, Tensor)]


def with_tensors(options: Mapping[str, Option], change: Callable[[Tensor], Any]) -> dict[str, Any]:
    """The options of a call with something else in the place of each tensor."""

    def changed(value: Option) -> Any:
        if isinstance(value, list):
            return [None if tensor is None else change(tensor) for tensor in value]
        return change(value) if isinstance(value, Tensor) else value

    return {name: changed(value) for name, value in options.items()}


class Graph:
    """The nodes between some inputs and outputs, in an order in which they can run.

    Args:
        inputs: symbolic inputs.
        outputs: symbolic outputs that depend on nothing but these inputs.
        is_body: whether this is what a layer that is made of layers called: then the inputs are
            tensors of the graph around it and keep their names.

    Attributes:
        calls: the calls of layers, in order.
        nodes: the same with the bodies of layers that are made of layers in their place.
        layers: the layers of the calls, in Keras' order (`gpunet.engine.order`).
        layers_and_inputs: the same with the InputLayers among them.
        paths: the names of the layers of the nodes: those in a body behind the name of the layer
            around them, "encoder/dense".
        parameters: their weights, in this order.
        spans: where the weights lie, once they have values.
        is_sized: whether samples have one shape, and not another one in each batch.

    Raises:
        ArgumentError: an output depends on an input that was not given.
    """

    def __init__(
        self, inputs: Sequence[Tensor], outputs: Sequence[Tensor], is_body: bool = False
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.calls = _sorted_nodes(self.inputs, self.outputs)
        called = {node.layer for node in self.calls}
        ordered = layers_as_in_keras(self.inputs, self.outputs, self.calls)
        self.layers_and_inputs = [x for x in ordered if x in called or not is_body]
        self.set_layers([layer for layer in ordered if layer in called])
        self.spans: list[Span] = []
        _name_layers(self, [] if is_body else self.inputs)
        self.nodes = [inner for node in self.calls for inner in _flat(node)]
        self._origins = dict(_origins(self.calls))
        self.is_sized = all(None not in tensor.shape[1:] for tensor in self.inputs)

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Set the order of the layers and of their weights."""
        self.layers = list(layers)
        self.parameters = list(dict.fromkeys(p for layer in layers for p in layer.parameters))

    @property
    def paths(self) -> dict[Layer, str]:
        """Each layer that has nodes, and its name, which is that of no other."""
        paths: dict[Layer, str] = {}
        for node in self.calls:
            if node.body is None:
                paths.setdefault(node.layer, node.layer.label)
            else:
                for layer, path in node.body.paths.items():
                    paths.setdefault(layer, f"{node.layer.label}/{path}")
        return paths

    def batch_shapes(self, inputs: Sequence[Sequence[int]]) -> dict[Tensor, tuple[int, ...]]:
        """The shapes of all inputs, of what the nodes return, and of the outputs.

        Args:
            inputs: the shape of a batch of each input.
        """
        rows = inputs[0][0]
        given = zip(self.inputs, inputs, strict=True)
        shapes = {tensor: (rows, *shape[1:]) for tensor, shape in given}
        for node in self.nodes:
            if self.is_sized:
                shapes.update((tensor, tensor.batch_shape(rows)) for tensor in node.outputs)
                continue
            sizes = [(None, *shapes[self.origin(tensor)][1:]) for tensor in node.inputs]
            found = node.layer.shapes_out(sizes, node.options)
            for tensor, shape in zip(node.outputs, found, strict=True):
                shapes[tensor] = (rows, *(dim or 0 for dim in shape[1:]))
        shapes.update((tensor, shapes[self.origin(tensor)]) for tensor in self.outputs)
        return shapes

    def output_shapes(self, inputs: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
        """The shapes of the outputs for inputs of these shapes, of a batch each."""
        if self.is_sized:
            return [tensor.batch_shape(inputs[0][0]) for tensor in self.outputs]
        shapes = self.batch_shapes(inputs)
        return [shapes[tensor] for tensor in self.outputs]

    def nominal_shapes(self, rows: int) -> list[tuple[int, ...]]:
        """Shapes of the inputs for tables: `NOMINAL_SIZE` for what differs by batch."""
        return [
            (rows, *(NOMINAL_SIZE if dim is None else dim for dim in tensor.shape[1:]))
            for tensor in self.inputs
        ]

    def origin(self, tensor: Tensor) -> Tensor:
        """The same value as an input, or as the output of one of the nodes."""
        while tensor in self._origins and tensor not in self.inputs:
            tensor = self._origins[tensor]
        return tensor


def copied_calls(
    graph: Graph, inputs: Sequence[Tensor], layer_for: Callable[[Layer], Layer]
) -> list[Tensor]:
    """Make all calls of a graph once more, from other inputs; returns its outputs.

    Args:
        graph: the graph.
        inputs: what to call the first layers on.
        layer_for: gives the layer to call in the place of one of the graph.
    """
    tensors = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.calls:
        arguments = mapped(tensors.__getitem__, node.arguments)
        options = with_tensors(node.options, tensors.__getitem__)
        results = flatten(layer_for(node.layer)(*arguments, **options))
        for own, result in zip(node.outputs, results, strict=True):
            tensors[own] = result
            if own.mask is not None and result.mask is not None:
                tensors[own.mask] = result.mask
    return [tensors[tensor] for tensor in graph.outputs]


def _flat(node: Node) -> Sequence[Node]:
    return (node,) if node.body is None else node.body.nodes


def _origins(calls: Sequence[Node]) -> Iterator[tuple[Tensor, Tensor]]:
    """What a layer that is made of layers returned, and which tensor of its body that is."""
    for node in calls:
        if node.body is not None:
            yield from zip((*node.outputs, *node.new_masks), node.body.outputs, strict=True)
            yield from _origins(node.body.calls)


def _sorted_nodes(inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]) -> list[Node]:
    """The needed nodes, each after the nodes that it reads from (iterative: depth is no limit)."""
    order: list[Node] = []
    done: set[Node] = set()
    stack: list[tuple[Tensor, bool]] = [(tensor, False) for tensor in reversed(outputs)]
    while stack:
        tensor, inputs_done = stack.pop()
        node = tensor.node
        if tensor in inputs or (node is not None and node in done):
            continue
        if node is None:
            raise ArgumentError(
                f"the model's outputs depend on the input {tensor.name!r} of shape "
                f"{tensor.shape}, which is not among its inputs; add it to inputs=."
            )
        if inputs_done:
            done.add(node)
            order.append(node)
        else:
            stack.append((tensor, True))
            stack.extend((source, False) for source in reversed(node.sources))
    return order


def _name_layers(graph: Graph, inputs: Sequence[Tensor]) -> None:
    """Give unnamed layers and inputs Keras' names (dense, dense_1, ...); no two share one.

    Layers of two models may meet in a third one under the same name: one that was named
    automatically then gets another name, which is free in all models that it belongs to.

    Raises:
        ArgumentError: two layers were given the same name.
    """
    taken: dict[str, Layer] = {}
    named = [*(tensor.layer for tensor in inputs), *(node.layer for node in graph.calls)]
    layers = list(dict.fromkeys(named))
    unnamed = [layer for layer in layers if layer.name is None]
    for layer in layers:
        if layer.name is None:
            continue
        other = taken.setdefault(layer.name, layer)
        if other is not layer:
            if not (layer.named_by_model or other.named_by_model):
                raise ArgumentError(
                    f"two layers of the model are named {layer.name!r}; give one another name."
                )
            taken[layer.name] = other if layer.named_by_model else layer
            unnamed.append(layer if layer.named_by_model else other)
    for layer in unnamed:
        base = layer.base_name
        models = layer.graphs
        used = taken.keys() | {x.name for model in models for x in model.layers_and_inputs}
        names = (base if k == 0 else f"{base}_{k}" for k in count())
        layer.name, layer.named_by_model = next(name for name in names if name not in used), True
        taken[layer.name] = layer
    for layer in layers:
        layer.graphs.add(graph)
