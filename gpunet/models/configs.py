"""Models from JSON, and copies of models."""

from __future__ import annotations

from collections.abc import Callable

from gpunet.engine.graph import copied_calls
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.layers.base import Layer
from gpunet.layers.serialization import copy_of
from gpunet.models.model import Model
from gpunet.models.nested import NestedModel
from gpunet.models.sequential import Sequential
from gpunet.saving.compiled import compile_from_config
from gpunet.saving.configs import CustomObjects, parts_of
from gpunet.saving.model_configs import read_json


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
    try:
        model = lookup(name, model_classes(), "model").from_config(config, custom_objects)
    except RecursionError:
        raise ArgumentError("this config describes no model: it is nested too deeply.") from None
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
    if isinstance(model, Sequential):
        copies = [_copy(layer, clone_function) for layer in model._stack]
        first = [] if model._input is None else [copy_of(model._input.layer)]
        return Sequential([*first, *copies], model.name if model.named_by_user else None)
    graph = model.graph
    of = {layer: _copy(layer, clone_function) for layer in graph.layers}
    inputs = [copy_of(tensor.layer).output for tensor in graph.inputs]
    outputs = copied_calls(graph, inputs, of.__getitem__)
    name = model.name if model.named_by_user else None
    return Model(model.input_form.packed(inputs), model.output_form.packed(outputs), name)


def model_classes() -> dict[str, type[Model]]:
    """The classes of models by the names that Keras writes."""
    return {"Sequential": Sequential, "Functional": Model, "Model": Model}


def _copy(layer: Layer, clone_function: Callable[[Layer], Layer] | None) -> Layer:
    if isinstance(layer, NestedModel):
        return layer.copy()
    return (clone_function or copy_of)(layer)
