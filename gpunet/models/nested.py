"""A model as a layer of another model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpunet.engine.graph import Graph, Tensor
from gpunet.errors import ArgumentError
from gpunet.layers.base import Layer
from gpunet.saving.configs import CustomObjects
from gpunet.structures import flatten

if TYPE_CHECKING:
    from gpunet.models.model import Model


class NestedModel(Layer):
    """What a model is to the graph of another one: a layer that calls the model's layers.

    Args:
        model: the model; weights are shared with it.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(name=model.name)
        self.named_by_model = not model.named_by_user
        self.model = model
        self.inputs = model.input_count

    @property
    def base_name(self) -> str:
        """The model's name."""
        return self.model.name

    def call(self, *inputs: Any) -> Any:
        """Call each layer of the model as the model does."""
        results = self.model.replay(flatten(inputs))  # which may build it
        return self.model.output_form.packed(results)

    def _adopt(self, body: Graph) -> None:
        """Layers and weights are those of the model, in its order."""
        super()._adopt(body)
        self.sublayers = list(self.model.graph.layers)
        self.parameters = list(self.model.graph.parameters)

    def description(self) -> dict[str, Any]:
        """That of the model, under the name that it has here."""
        described = self.model.description()
        described["config"] = {**described["config"], "name": self.label}
        return described

    def copy(self) -> NestedModel:
        """The same of a copy of the model with fresh weights."""
        from gpunet.models.configs import clone_model

        return clone_model(self.model).as_layer()


def layer_from_description(
    description: Mapping[str, Any], custom_objects: CustomObjects | None
) -> Layer | None:
    """The layer that stands for a model, if a description is that of one."""
    from gpunet.models.configs import model_classes

    classes = model_classes()
    name = description.get("class_name")
    if not isinstance(name, str) or name not in classes or name in (custom_objects or {}):
        return None
    config = description.get("config")
    if not isinstance(config, Mapping):
        raise ArgumentError(f"the config of a nested {name} must be a dict, got {config!r}.")
    return classes[name].from_config(config, custom_objects).as_layer()


def as_layer(thing: Any) -> Any:
    """A model as a layer; anything else as it is."""
    return thing.as_layer() if hasattr(thing, "as_layer") else thing


def unwrapped(layer: Layer) -> Any:
    """The model that a layer stands for, or the layer itself."""
    return layer.model if isinstance(layer, NestedModel) else layer


def symbolic(inputs: Any) -> list[Tensor] | None:
    """The tensors of an argument that consists of symbolic tensors, None for anything else."""
    flat = flatten(inputs)
    return flat if flat and all(isinstance(item, Tensor) for item in flat) else None
