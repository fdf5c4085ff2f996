"""Models from JSON, and copies of models."""

from __future__ import annotations

from collections.abc import Callable

from gpunet.engine.graph import Input, Tensor
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.layers.base import Layer
from gpunet.layers.serialization import deserialize, serialize
from gpunet.models.model import Model
from gpunet.models.sequential import Sequential
from gpunet.saving.compiled import compile_from_config
from gpunet.saving.configs import CustomObjects, parts_of
from gpunet.saving.model_configs import (
    read_json,
)


def model_from_json(text: str, custom_objects: CustomObjects | None = None) -> Model:
    """A model, with fresh weights, from `Model.to_json`, or from Keras' to_json.

    If the model was compiled, so is the new one. Nothing that the text names is imported or run:
    classes come from gpunet's own tables and from custom_objects.

    Args:
        text: the JSON.
        custom_objects: classes of your own by name.

    Raises:
        ArgumentError: no JSON, no model, or an unknown class.

    Example:
        >>> from gpunet import Sequential, layers
        >>> model_from_json(Sequential([layers.Dense(2, input_dim=3)]).to_json()).count_params()
        8
    """
    description = read_json(text)
    name, config = parts_of(description, "model")
    classes: dict[str, type[Model]] = {
        "Sequential": Sequential,
        "Functional": Model,
        "Model": Model,
    }
    model = lookup(name, classes, "model").from_config(config, custom_objects)
    compiled = description.get("compile_config")
    if compiled:
        compile_from_config(model, compiled, custom_objects)
    return model


def clone_model(model: Model, clone_function: Callable[[Layer], Layer] | None = None) -> Model:
    """The same architecture with layers of its own and fresh weights; not compiled.

    Args:
        model: the model.
        clone_function: makes the copy of a layer; by default from its config.

    Raises:
        ArgumentError: no model, or a layer whose config does not make another one.
    """
    if not isinstance(model, Model):
        raise ArgumentError(f"clone_model takes a model, got {type(model).__name__}.")
    copies = {layer: (clone_function or _clone)(layer) for layer in model.layers}
    if isinstance(model, Sequential):
        first = [] if model._input is None else [_fresh(model._input)]
        return Sequential([*first, *copies.values()], model.name)
    graph = model.graph
    tensors = {tensor: _fresh(tensor) for tensor in graph.inputs}
    for node in graph.nodes:
        sources = [tensors[tensor] for tensor in node.inputs]
        copy = copies[node.layer]
        tensors[node.output] = copy(sources[0] if copy.inputs == 1 else sources)
    inputs, outputs = ([tensors[t] for t in end] for end in (graph.inputs, graph.outputs))
    return Model(inputs, outputs, model.name)


def _fresh(tensor: Tensor) -> Tensor:
    return Input(tensor.batch_shape(1)[1:], dtype=tensor.dtype, name=tensor.name)


def _clone(layer: Layer) -> Layer:
    """A copy by config; the classes of its own parts are known, whoever wrote them."""
    own = [type(value) for value in (layer, *vars(layer).values()) if hasattr(value, "get_config")]
    clone: Layer = deserialize(serialize(layer), {cls.__name__: cls for cls in own})
    return clone
