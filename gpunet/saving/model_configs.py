"""Models as configs, in the form that Keras 3 writes: a stack of layers, or a graph with its calls.

A call of a layer stands in its ``inbound_nodes``: for each input where it comes from, as (layer,
which call of it, which output). Layers that are called more than once are shared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from functools import partial
from typing import Any

from gpunet.arguments import shown
from gpunet.engine.graph import Graph, Tensor, tensors_of, with_tensors
from gpunet.errors import ArgumentError
from gpunet.identifiers import snake_case
from gpunet.layers.base import Layer
from gpunet.layers.calls import checked_options
from gpunet.layers.getting import GetItem
from gpunet.layers.input_layer import InputLayer
from gpunet.layers.operators import OPERATORS
from gpunet.layers.serialization import deserialize, serialize
from gpunet.saving.configs import CustomObjects
from gpunet.structures import Form, flatten, mapped, packed


@dataclass(frozen=True)
class Place:
    """Where a tensor comes from: a layer, which call of it, which output; inputs have call 0."""

    layer: str
    call: int
    output: int


Calls = dict[Place, Tensor]
_MASK_OPS = ("NotEqual", "Any")
"""With these Keras writes the masks of Embedding and Masking into a model, as layers."""
Nested = Callable[[Mapping[str, Any], CustomObjects | None], Layer | None]
"""Makes the layer that stands for a nested model; None if a description is not that of a model."""


# ------------------------------------------------------------------------------- writing


def graph_config(name: str, graph: Graph, inputs: Form, outputs: Form) -> dict[str, Any]:
    """The config of a functional model.

    Args:
        name: the model's name.
        graph: its graph.
        inputs: how the model was given its inputs.
        outputs: how the model was given its outputs.
    """
    places = {tensor: Place(tensor.name, 0, 0) for tensor in graph.inputs}
    calls: dict[Layer, list[dict[str, Any]]] = {layer: [] for layer in graph.layers_and_inputs}
    for node in graph.calls:
        arguments = [_tensor_config(tensor, places[tensor]) for tensor in node.inputs]
        arguments = [*packed(node.arguments, arguments), *_operands(node.layer)]
        for tensor in node.outputs:
            places[tensor] = Place(node.layer.label, len(calls[node.layer]), tensor.index)
        strange = [tensor for tensor in tensors_of(node.options) if tensor not in places]
        if strange:
            raise ArgumentError(
                f"layer {node.layer.label!r} was given the mask of another tensor, which a config "
                "cannot name; give it a mask that is an Input, or the tensor with that mask."
            )
        said = with_tensors(node.options, lambda tensor: _tensor_config(tensor, places[tensor]))
        call = {"args": arguments, "kwargs": said}
        if "training" in said:
            call["training"] = said["training"]
        calls[node.layer].append(call)
    entries = [
        {**_described(layer), "name": layer.label, "inbound_nodes": nodes}
        for layer, nodes in calls.items()
    ]
    shift = _shifted(entries)
    ends = [
        [[p.layer, p.call + (p.layer in shift), p.output] for p in (places[t] for t in end)]
        for end in (graph.inputs, graph.outputs)
    ]
    return {
        "name": name,
        "trainable": True,
        "layers": entries,
        "input_layers": inputs.packed(ends[0]),
        "output_layers": outputs.packed(ends[1]),
    }


def _described(layer: Layer) -> dict[str, Any]:
    """A layer's description; a slice ``x[:, 1:]`` is no layer in Keras, but an op."""
    if not isinstance(layer, GetItem):
        return serialize(layer)
    module, config = "keras.src.ops.numpy", {"name": layer.label}
    return {"module": module, "class_name": "GetItem", "config": config, "registered_name": None}


def _operands(layer: Layer) -> list[Any]:
    """What Keras gives an op beside tensors: the slices of `GetItem`."""
    return [layer.get_config()["key"]] if isinstance(layer, GetItem) else []


def _shifted(entries: Sequence[Mapping[str, Any]]) -> set[Any]:
    """The names of nested functional models, whose first call Keras' ends count as call 1."""
    return {
        entry["name"]
        for entry in entries
        if entry.get("class_name") == "Functional" and isinstance(entry.get("name"), str)
    }


def _tensor_config(tensor: Tensor, place: Place) -> dict[str, Any]:
    history = {
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "keras_history": list(astuple(place)),
    }
    return {"class_name": "__keras_tensor__", "config": history}


def stack_config(name: str, first: Tensor | None, layers: Sequence[Layer]) -> dict[str, Any]:
    """The config of a Sequential, whose input may not be known yet."""
    start = [] if first is None else [first.layer]
    config = {"name": name, "trainable": True, "layers": [*map(serialize, [*start, *layers])]}
    if first is not None:
        config["build_input_shape"] = list(first.shape)
    return config


# ------------------------------------------------------------------------------- reading


def read_json(text: str) -> Any:
    """What JSON text holds.

    Raises:
        ArgumentError: it is no JSON.
    """
    if not isinstance(text, str | bytes):
        raise ArgumentError(f"a model's JSON must be a string, got {type(text).__name__}.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArgumentError(f"this is no JSON of a model: {error}.") from None


def stack_from_config(
    config: Mapping[str, Any], custom_objects: CustomObjects | None, nested: Nested
) -> tuple[list[Any], str | None]:
    """The layers and the name of a Sequential."""
    entries, name = _entries(config), config.get("name")
    return [_layer(entry, custom_objects, nested) for entry in entries], _checked_name(name)


def graph_from_config(
    config: Mapping[str, Any], custom_objects: CustomObjects | None, nested: Nested
) -> tuple[Any, Any, str | None]:
    """The inputs, the outputs (in their structures) and the name of a functional model.

    Raises:
        ArgumentError: the config does not describe one.
    """
    name = _checked_name(config.get("name"))
    tensors: Calls = {}
    waiting: list[tuple[str, int, Any, Any]] = []
    for entry in _entries(config):
        if entry.get("class_name") in _MASK_OPS:
            continue
        label = entry.get("name")
        made = _operator(entry) or _layer(entry, custom_objects, nested)
        calls = entry.get("inbound_nodes")
        if not isinstance(label, str) or not isinstance(calls, list):
            raise _malformed(f"a layer without 'name' and 'inbound_nodes': {shown(entry)}")
        if isinstance(made, InputLayer):
            tensors[Place(label, 0, 0)] = made.output
        else:
            waiting += [(label, i, made, call) for i, call in enumerate(calls)]
    _call_layers(waiting, tensors)
    shift = _shifted(_entries(config))
    counted = {replace(p, call=p.call + (p.layer in shift)): t for p, t in tensors.items()}
    ends = [_ends(config.get(key), key, counted) for key in ("input_layers", "output_layers")]
    return ends[0], ends[1], name


def _operator(entry: Mapping[str, Any]) -> Callable[..., Tensor] | None:
    """What makes the layer of an operator between tensors, ``x + 1``, which Keras writes as an op.

    Returns:
        A function of its operands; None if the entry is that of a layer.
    """
    module, kind = entry.get("module"), entry.get("class_name")
    is_op = isinstance(module, str) and module.startswith("keras.src.ops.")
    operator = OPERATORS.get(snake_case(kind)) if is_op and isinstance(kind, str) else None
    return None if operator is None else partial(operator, name=entry.get("name"))


def _layer(entry: dict[str, Any], custom_objects: CustomObjects | None, nested: Nested) -> Any:
    """The layer of one entry; what a layer wraps may be a model, too."""
    config = entry.get("config")
    if isinstance(config, Mapping):
        inner = {k: nested(v, custom_objects) for k, v in config.items() if isinstance(v, Mapping)}
        entry = {**entry, "config": {**config, **{k: v for k, v in inner.items() if v}}}
    return nested(entry, custom_objects) or deserialize(entry, custom_objects)


def _call_layers(waiting: list[tuple[str, int, Any, Any]], tensors: Calls) -> None:
    """Make all calls, each after those that it reads from and the earlier ones of its layer."""
    parsed = [(label, i, layer, _argument(call)) for label, i, layer, call in waiting]
    while parsed:
        later = []
        for label, i, layer, argument in parsed:
            arguments, options = argument
            needed = [leaf for leaf in flatten(argument) if isinstance(leaf, Place)]
            ready = all(place in tensors for place in needed)
            if not ready or (i > 0 and Place(label, i - 1, 0) not in tensors):
                later.append((label, i, layer, argument))
                continue
            if Place(label, i, 0) in tensors:
                raise _malformed(f"two layers named {label!r}")
            filled = mapped(lambda x: tensors[x] if isinstance(x, Place) else x, arguments)
            given = mapped(lambda x: tensors[x] if isinstance(x, Place) else x, options)
            if isinstance(layer, Layer):
                given = checked_options(label, layer.call_options, layer.call_tensors, given)
            results = flatten(layer(*filled, **given))
            tensors.update({Place(label, i, k): result for k, result in enumerate(results)})
        if len(later) == len(parsed):
            label, i, _, argument = later[0]
            places = [leaf for leaf in flatten(argument) if isinstance(leaf, Place)]
            raise _malformed(f"call {i} of {label!r}, which reads from {places}: these never come")
        parsed = later


def _argument(call: Any) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call and its options, with places for tensors."""
    args = call.get("args") if isinstance(call, Mapping) else None
    kwargs = (call.get("kwargs") if isinstance(call, Mapping) else None) or {}
    said = kwargs.items() if isinstance(kwargs, Mapping) else [("", kwargs)]
    options = {str(n): _parsed(value) for n, value in said if not _says_nothing(n, value)}
    if isinstance(call, Mapping) and isinstance(call.get("training"), bool):
        options["training"] = call["training"]
    if not isinstance(args, list) or not args or "" in options:
        raise _malformed(f"a call must have tensors as arguments, got {shown(call)}")
    return _parsed(args), options


def _parsed(value: Any) -> Any:
    """A value with the places of the tensors in it."""
    if isinstance(value, list):
        return [_parsed(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if value.get("class_name") == "__keras_tensor__":
        return _tensor_place(value)
    return {key: _parsed(item) for key, item in value.items()}


def _says_nothing(name: str, value: Any) -> bool:
    """Whether an option of a call is what it is anyway: the tensor has the mask that Keras made."""
    if name == "mask" and isinstance(value, Mapping):
        label = _tensor_place(value).layer
        return label.rstrip("_0123456789") in ("not_equal", "any")
    # Keras writes training=False for each call that says nothing; what was said stands beside args.
    return value is None or (name == "training" and value is False)


def _tensor_place(tensor: Any) -> Place:
    inner = tensor.get("config") if isinstance(tensor, Mapping) else None
    return _place(inner.get("keras_history") if isinstance(inner, Mapping) else None)


def _ends(listed: Any, key: str, tensors: Calls) -> Any:
    """The tensors of [layer, call, output], or of lists and dicts of these."""
    if isinstance(listed, Mapping) and listed:
        return {name: _ends(item, key, tensors) for name, item in listed.items()}
    if not isinstance(listed, list) or not listed:
        raise _malformed(f"{key} must list (layer, call, output), got {shown(listed)}")
    if isinstance(listed[0], list | Mapping):
        return [_ends(item, key, tensors) for item in listed]
    place = _place(listed)
    if place not in tensors:
        raise _malformed(f"{key} names {place}, which is no call of a layer")
    return tensors[place]


def _place(history: Any) -> Place:
    if not isinstance(history, list | tuple) or [type(part) for part in history] != [str, int, int]:
        raise _malformed(f"a tensor must say (layer, call, output), got {shown(history)}")
    return Place(*history)


def _entries(config: Any) -> list[dict[str, Any]]:
    entries = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _malformed(f"it needs a list 'layers', got {shown(config)}")
    return entries


def _checked_name(name: Any) -> str | None:
    if not isinstance(name, str | None):
        raise _malformed(f"the name must be a string, got {shown(name)}")
    return name


def _malformed(what: str) -> ArgumentError:
    return ArgumentError(f"this config describes no model: {what}.")
