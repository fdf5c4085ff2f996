"""Models as configs, in the form that Keras 3 writes: a stack of layers, or a graph with its calls.

A call of a layer stands in its ``inbound_nodes``: for each input where it comes from, as (layer,
which call of it, 0). Layers that are called more than once are shared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.engine.graph import Graph, Tensor
from gpunet.errors import ArgumentError
from gpunet.layers.base import Layer
from gpunet.layers.serialization import deserialize, serialize
from gpunet.saving.configs import CustomObjects, shortened

Calls = dict[tuple[str, int], Tensor]
"""(layer, which call of it) -> what the call returned; inputs have the call 0."""


# ------------------------------------------------------------------------------- writing


def graph_config(name: str, graph: Graph) -> dict[str, Any]:
    """The config of a functional model."""
    places = {tensor: (tensor.name, 0) for tensor in graph.inputs}
    calls: dict[Layer, list[dict[str, Any]]] = {layer: [] for layer in graph.layers}
    for node in graph.nodes:
        sources = [_tensor_config(tensor, places[tensor]) for tensor in node.inputs]
        argument = sources[0] if node.layer.inputs == 1 else sources
        places[node.output] = (node.layer.label, len(calls[node.layer]))
        calls[node.layer].append({"args": [argument], "kwargs": {}})
    entries = [
        {**serialize(tensor), "name": tensor.name, "inbound_nodes": []} for tensor in graph.inputs
    ]
    for layer, nodes in calls.items():
        entries.append({**serialize(layer), "name": layer.label, "inbound_nodes": nodes})
    ends = [[[*places[tensor], 0] for tensor in end] for end in (graph.inputs, graph.outputs)]
    inputs, outputs = (end[0] if len(end) == 1 else end for end in ends)
    return {
        "name": name,
        "trainable": True,
        "layers": entries,
        "input_layers": inputs,
        "output_layers": outputs,
    }


def _tensor_config(tensor: Tensor, place: tuple[str, int]) -> dict[str, Any]:
    history = {"shape": list(tensor.shape), "dtype": tensor.dtype, "keras_history": [*place, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def stack_config(name: str, first: Tensor | None, layers: Sequence[Layer]) -> dict[str, Any]:
    """The config of a Sequential, whose input may not be known yet."""
    start = [] if first is None else [serialize(first)]
    config = {"name": name, "trainable": True, "layers": [*start, *map(serialize, layers)]}
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
    config: Mapping[str, Any], custom_objects: CustomObjects | None = None
) -> tuple[list[Any], str | None]:
    """The layers and the name of a Sequential."""
    entries, name = _entries(config), config.get("name")
    return [deserialize(entry, custom_objects) for entry in entries], _checked_name(name)


def graph_from_config(
    config: Mapping[str, Any], custom_objects: CustomObjects | None = None
) -> tuple[list[Tensor], list[Tensor], str | None]:
    """The inputs, the outputs and the name of a functional model.

    Raises:
        ArgumentError: the config does not describe one.
    """
    name = _checked_name(config.get("name"))
    tensors: Calls = {}
    waiting: list[tuple[str, int, Layer, Any]] = []
    for entry in _entries(config):
        made, label = deserialize(entry, custom_objects), entry.get("name")
        calls = entry.get("inbound_nodes")
        if not isinstance(label, str) or not isinstance(calls, list):
            raise _malformed(f"a layer without 'name' and 'inbound_nodes': {shortened(entry)}")
        if isinstance(made, Tensor):
            tensors[label, 0] = made
        else:
            waiting += [(label, i, made, call) for i, call in enumerate(calls)]
    _call_layers(waiting, tensors)
    ends = [_ends(config.get(key), key, tensors) for key in ("input_layers", "output_layers")]
    return ends[0], ends[1], name


def _call_layers(waiting: list[tuple[str, int, Layer, Any]], tensors: Calls) -> None:
    """Make all calls, each after those that it reads from and the earlier ones of its layer."""
    parsed = [(label, i, layer, _argument(call)) for label, i, layer, call in waiting]
    while parsed:
        later = []
        for label, i, layer, (places, is_list) in parsed:
            ready = all(place in tensors for place in places)
            if not ready or (i > 0 and (label, i - 1) not in tensors):
                later.append((label, i, layer, (places, is_list)))
                continue
            if (label, i) in tensors:
                raise _malformed(f"two layers named {label!r}")
            sources = [tensors[place] for place in places]
            tensors[label, i] = layer(sources if is_list else sources[0])
        if len(later) == len(parsed):
            label, i, _, (places, _) = later[0]
            raise _malformed(f"call {i} of {label!r}, which reads from {places}: these never come")
        parsed = later


def _argument(call: Any) -> tuple[list[tuple[str, int]], bool]:
    """Where the inputs of a call come from, and whether it takes a list of them."""
    args = call.get("args") if isinstance(call, Mapping) else None
    if not isinstance(args, list) or len(args) != 1 or call.get("kwargs"):
        raise _malformed(f"a call must have one argument, got {shortened(call)}")
    is_list = isinstance(args[0], list)
    places = []
    for tensor in args[0] if is_list else args:
        inner = tensor.get("config") if isinstance(tensor, Mapping) else None
        places.append(_place(inner.get("keras_history") if isinstance(inner, Mapping) else None))
    return places, is_list


def _ends(listed: Any, key: str, tensors: Calls) -> list[Tensor]:
    """The tensors of [layer, call, 0], or of a list of these."""
    if isinstance(listed, list) and listed and isinstance(listed[0], str):
        listed = [listed]
    if not isinstance(listed, list) or not listed:
        raise _malformed(f"{key} must list (layer, call, 0), got {shortened(listed)}")
    places = [_place(item) for item in listed]
    missing = [place for place in places if place not in tensors]
    if missing:
        raise _malformed(f"{key} names {missing[0]}, which is no call of a layer")
    return [tensors[place] for place in places]


def _place(history: Any) -> tuple[str, int]:
    if (
        not isinstance(history, list | tuple)
        or len(history) != 3
        or not isinstance(history[0], str)
        or type(history[1]) is not int
        or history[2] != 0
    ):
        raise _malformed(f"a tensor must say (layer, call, 0), got {shortened(history)}")
    return history[0], history[1]


def _entries(config: Any) -> list[dict[str, Any]]:
    entries = config.get("layers") if isinstance(config, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise _malformed(f"it needs a list 'layers', got {shortened(config)}")
    return entries


def _checked_name(name: Any) -> str | None:
    if not isinstance(name, str | None):
        raise _malformed(f"the name must be a string, got {shortened(name)}")
    return name


def _malformed(what: str) -> ArgumentError:
    return ArgumentError(f"this config describes no model: {what}.")
