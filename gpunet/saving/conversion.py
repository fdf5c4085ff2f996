"""Weights from and for PyTorch and ONNX, as plain arrays: nothing of either is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import shown
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.layers.weights import weights_of
from gpunet.saving.layouts import ONNX, TORCH, Array, Row, Table

if TYPE_CHECKING:
    from gpunet.layers.base import Layer
    from gpunet.models import Model

_COUNTERS = ("num_batches_tracked",)  # what says nothing about the numbers


def from_torch(target: Model | Layer, state: Mapping[str, Any]) -> list[Array]:
    """The weights of a layer or a model from those of a PyTorch module that does the same.

    Modules belong to layers of the same name if all names agree, as `to_torch` makes them, else to
    layers in order: the n-th module with weights to the n-th layer with weights. A SeparableConv
    has two modules, one with as many groups as channels and one with windows of 1; a
    MultiHeadAttention has out_proj as a second one. Each layer and each direction of a recurrent
    module counts as a module: LSTM(num_layers=2, bidirectional=True) is two Bidirectional layers.

    Behind a Flatten (or Reshape) of images PyTorch's features stand channel by channel. Where the
    layers before it are channels last, the weights that meet these features are put into their
    order here; with data_format="channels_first" they stay as they are.

    What else has to agree: epsilon (PyTorch's norms have 1e-5, Keras' 1e-3), PyTorch's momentum,
    which is 1 - momentum here, activations, and the padding of strided convolutions, which
    padding="same" puts elsewhere (use "valid", behind a ZeroPadding where there is some).

    Args:
        target: a built model, or a layer of one.
        state: arrays by name, ``{k: v.numpy() for k, v in module.state_dict().items()}``.

    Returns:
        Arrays for ``target.set_weights``.

    Raises:
        ArgumentError: a layer that is not in the table, or modules or arrays that are missing or
            that no layer takes.
        ShapeError: an array of another shape.
        UsageError: the layer or model is not built.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential, layers
        >>> from gpunet.saving import from_torch
        >>> model = Sequential([layers.Conv2D(8, 3, input_shape=(28, 28, 1))])
        >>> state = {"conv.weight": np.ones((8, 1, 3, 3)), "conv.bias": np.zeros(8)}
        >>> model.set_weights(from_torch(model, state))
    """
    return _from(target, state, TORCH, "from_torch")


def to_torch(target: Model | Layer, weights: Sequence[Any] | None = None) -> dict[str, Array]:
    """The arrays of PyTorch modules that do what a layer or a model does.

    Args:
        target: a built model, or a layer of one.
        weights: its weights, or arrays of their shapes such as gradients; those that it has if
            None.

    Returns:
        Arrays by name, "conv2d.weight" for example, of a layer "weight". The other way of
        `from_torch`, which says how modules and layers belong together.

    Raises:
        ArgumentError: a layer that is not in the table.
        ShapeError: weights of another number or shape.
        UsageError: the layer or model is not built.

    Example:
        >>> from gpunet import Sequential, layers
        >>> from gpunet.saving import to_torch
        >>> model = Sequential([layers.Conv2D(8, 3, input_shape=(28, 28, 1))])
        >>> {name: array.shape for name, array in to_torch(model).items()}
        {'conv2d.weight': (8, 1, 3, 3), 'conv2d.bias': (8,)}
    """
    return _to(target, weights, TORCH)


def from_onnx(target: Model | Layer, state: Mapping[str, Any]) -> list[Array]:
    """The weights of a layer or a model from the inputs of ONNX operators that do the same.

    Names are those of the operators' specification, "W" and "B" of Conv for example; a Dense is a
    Gemm without transB, a GRU has linear_before_reset=1 (0 with reset_after=False), each direction
    is an operator. The rest is as in `from_torch`.

    Args:
        target: a built model, or a layer of one.
        state: arrays by "operator.input".

    Returns:
        Arrays for ``target.set_weights``.

    Raises:
        ArgumentError: a layer that is not in the table, or arrays that are missing or too many.
        ShapeError: an array of another shape.
        UsageError: the layer or model is not built.
    """
    return _from(target, state, ONNX, "from_onnx")


def to_onnx(target: Model | Layer, weights: Sequence[Any] | None = None) -> dict[str, Array]:
    """The inputs of ONNX operators that do what a layer or a model does; see `from_onnx`.

    Args:
        target: a built model, or a layer of one.
        weights: its weights, or arrays of their shapes; those that it has if None.

    Returns:
        Arrays by name, "conv2d.W" for example, of a layer "W".

    Raises:
        ArgumentError: a layer that is not in the table.
        ShapeError: weights of another number or shape.
        UsageError: the layer or model is not built.
    """
    return _to(target, weights, ONNX)


# ------------------------------------------------------------------------------- both ways


def _from(target: Any, state: Mapping[str, Any], table: Table, where: str) -> list[Array]:
    if not isinstance(state, Mapping):
        raise ArgumentError(f"{where} takes a dict of arrays by name, got {shown(state)}.")
    layers = _layers(target, table)
    modules = _by_module(state)
    names = [_joined(path, part) for path, _, rows in layers for part in _parts(rows)]
    if set(names) == set(modules):
        found = [modules[name] for name in names]
    elif len(names) == len(modules):
        found = list(modules.values())
    else:
        raise ArgumentError(
            f"{where} needs a module for each of {', '.join(map(repr, names)) or 'no layers'}, got "
            f"{len(modules)}: {', '.join(map(repr, modules))}; pass the state of the same layers."
        )
    given = iter(found)
    weights: dict[Any, Array] = {}
    for path, layer, rows in layers:
        arrays: dict[str, Any] = {}
        for part in _parts(rows):
            module = next(given)
            arrays |= {_joined(part, key): value for key, value in module.items()}
        own = {p.name: p for p in weights_of(target.parameters) if p.layer is layer}
        values = _ours(where, f"layer {path or layer.label!r}", rows, arrays, own)
        order = _feature_order(target, layer)
        for key, value in values.items():
            if order is not None and _meets_features(own, key):
                value = value[order]
            weights[own[key]] = np.ascontiguousarray(value)
    return [weights[parameter] for parameter in weights_of(target.parameters)]


def _ours(
    where: str,
    layer: str,
    rows: Sequence[Row],
    arrays: Mapping[str, Any],
    own: Mapping[str, Any],
) -> dict[str, Array]:
    """A layer's weights by name."""
    wanted = [name for row in rows for name in row.theirs]
    if set(wanted) != set(arrays):
        raise ArgumentError(
            f"{where} makes the weights of {layer} from {', '.join(wanted)}, got "
            f"{', '.join(arrays)}; pass the state of a module with the same options."
        )
    values: dict[str, Array] = {}
    for row in rows:
        shapes = [own[name].shape for name in row.ours]
        for name, like in zip(row.theirs, row.there(*map(np.empty, shapes)), strict=True):
            if np.shape(arrays[name]) != like.shape:
                raise ShapeError(
                    f"{where} expects {name} of {layer} to have the shape {like.shape}, got "
                    f"{np.shape(arrays[name])}; pass the state of a module of the same sizes."
                )
        found = row.back(*(np.asarray(arrays[name]) for name in row.theirs), shapes)
        values.update(zip(row.ours, found, strict=True))
    return values


def _to(target: Any, weights: Sequence[Any] | None, table: Table) -> dict[str, Array]:
    arrays = target.get_weights() if weights is None else list(weights)
    parameters = weights_of(target.parameters)
    shapes = [np.shape(array) for array in arrays]
    if shapes != [parameter.shape for parameter in parameters]:
        raise ShapeError(
            f"the weights have the shapes {[p.shape for p in parameters]}, got {shapes}."
        )
    values = dict(zip(parameters, map(np.asarray, arrays), strict=True))
    state: dict[str, Array] = {}
    for path, layer, rows in _layers(target, table):
        own = {p.name: values[p] for p in parameters if p.layer is layer}
        order = _feature_order(target, layer)
        if order is not None:
            back = np.argsort(order)
            own = {k: v[back] if _meets_features(own, k) else v for k, v in own.items()}
        for row in rows:
            found = row.there(*(own[name] for name in row.ours))
            for name, array in zip(row.theirs, found, strict=True):
                state[_joined(path, name)] = np.ascontiguousarray(array)
    return state


def _layers(target: Any, table: Table) -> list[tuple[str, Layer, list[Row]]]:
    """The layers with weights: their names ("" for a single layer), and their rows of the table.

    Raises:
        ArgumentError: a layer that is not in the table, or that is only there in part.
    """
    paths = target.graph.paths if hasattr(target, "graph") else {target: ""}
    if getattr(target, "built_for", ()) is None:
        raise UsageError(
            f"layer {target.label!r} has no weights yet; make a model of it, and build that, first."
        )
    found = []
    for layer in dict.fromkeys(parameter.layer for parameter in weights_of(target.parameters)):
        names = {p.name for p in weights_of(layer.parameters) if p.layer is layer}
        rows = [row for row in table.get(_kind(layer, table), ()) if names.issuperset(row.ours)]
        cell = getattr(layer, "cell", layer)
        if table is TORCH and not getattr(cell, "reset_after", True):
            rows = []  # PyTorch's GRU resets behind the product alone
        if names != {name for row in rows for name in row.ours}:
            raise ArgumentError(
                f"there is no layout for the weights of layer {layer.label!r} of type "
                f"{type(layer).__name__}; convert them by hand, and those of other layers one by "
                f"one: there are layouts of {', '.join(table)}."
            )
        found.append((paths.get(layer, layer.label).replace("/", "."), layer, rows))
    return found


def _kind(layer: Layer, table: Table) -> str:
    """The entry of a layer, of the one that it takes to each step, or of its cell; "" if none."""
    for thing in (layer, getattr(layer, "layer", None)):
        for cls in type(thing).__mro__:
            if cls.__name__ in table:
                return cls.__name__
    name = type(getattr(layer, "cell", None)).__name__.removesuffix("Cell")
    return name if name in table else ""


def _by_module(state: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arrays by their last name, by what stands before it, in order.

    Further layers and directions of a recurrent module are modules of their own: what is
    "lstm.bias_ih_l1_reverse" there is "bias_ih_l0" of "lstm.l1_reverse" here.
    """
    modules: dict[str, dict[str, Any]] = {}
    for name, array in state.items():
        module, _, last = name.rpartition(".")
        further = re.fullmatch(r"(\w+)_(l\d+(?:_reverse)?)", last)
        if further is not None and further[2] != "l0":
            module, last = _joined(module, further[2]), f"{further[1]}_l0"
        if last not in _COUNTERS:
            modules.setdefault(module, {})[last] = array
    return modules


def _parts(rows: Sequence[Row]) -> list[str]:
    """The modules that make a layer: [""] for one."""
    return list(dict.fromkeys(name.rpartition(".")[0] for row in rows for name in row.theirs))


def _joined(*names: str) -> str:
    return ".".join(name for name in names if name)


# ----------------------------------------------------------------------- features of images


def _meets_features(own: Mapping[str, Any], weight: str) -> bool:
    """Whether a weight's first axis is that of the inputs: of a product the kernel's alone."""
    return weight == "kernel" or "kernel" not in own


def _feature_order(target: Any, layer: Layer) -> Array | None:
    """For each feature that a layer reads its place channel by channel; None if it is the same."""
    if not hasattr(target, "graph"):
        return None
    node = next((node for node in target.graph.nodes if node.layer is layer), None)
    return None if node is None else _order(target.graph, node.inputs[0])


def _order(graph: Any, tensor: Any) -> Array | None:
    tensor = graph.origin(tensor)
    node = tensor.node
    if node is None:
        return None
    kind = type(node.layer).__name__
    if kind in ("Flatten", "Reshape") and len(node.inputs[0].shape) > 2:
        return _flattened_order(graph, node) if len(tensor.shape) == 2 else None
    if any(len(parameter.shape) > 1 for parameter in node.layer.parameters):
        return None  # whose outputs are features of its own
    orders = [_order(graph, source) for source in node.inputs]
    if all(order is None for order in orders):
        return None
    sizes = [source.shape[1] for source in node.inputs]
    if kind == "Concatenate":
        starts = np.cumsum([0, *sizes[:-1]])
        parts = zip(orders, sizes, starts, strict=True)
        return np.concatenate([(np.arange(n) if o is None else o) + at for o, n, at in parts])
    if any(source.shape != tensor.shape for source in node.inputs):
        raise _moved(node)
    return next(order for order in orders if order is not None)


def _moved(node: Any) -> ArgumentError:
    return ArgumentError(
        f"layer {node.layer.label!r} moves flattened features, whose order differs between "
        "frameworks; convert the weights behind it by hand, layer by layer."
    )


def _flattened_order(graph: Any, flatten: Any) -> Array | None:
    tensor = graph.origin(flatten.inputs[0])
    shape = tensor.shape[1:]
    if len(shape) < 2:
        return None
    node = tensor.node
    while node is not None and getattr(node.layer, "data_format", None) is None:
        source = graph.origin(node.inputs[0])
        if len(source.shape) == 2 and _order(graph, source) is not None:
            raise _moved(node)
        node = source.node
    moved = getattr(flatten.layer, "data_format", "channels_last") == "channels_first"
    if node is None or (node.layer.data_format == "channels_first") != moved:
        return None
    if moved:
        shape = (*shape[1:], shape[0])
    *sizes, channels = shape
    places = np.arange(prod(shape)).reshape(channels, *sizes)
    return np.moveaxis(places, 0, -1).reshape(-1)
