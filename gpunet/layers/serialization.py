"""Layers as configs: Keras' ``layers.serialize`` and ``layers.deserialize``."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.layers.base import Layer
from gpunet.saving.configs import (
    CustomObjects,
    from_description,
    public_classes,
)


def serialize(layer: Layer) -> dict[str, Any]:
    """Describe a layer by plain values.

    Raises:
        ArgumentError: it is none.

    Example:
        >>> from gpunet import layers
        >>> layers.serialize(layers.Flatten(name="flat"))["config"]
        {'name': 'flat', 'trainable': True, 'data_format': 'channels_last'}
    """
    if not isinstance(layer, Layer):
        raise ArgumentError(f"serialize takes a layer, got {shown(layer)}.")
    return layer.description()


def deserialize(config: Any, custom_objects: CustomObjects | None = None) -> Any:
    """Make a layer from `serialize`, or from what Keras wrote.

    Args:
        config: the description.
        custom_objects: classes of your own by name.

    Raises:
        ArgumentError: an unknown class, or a config that does not fit it.

    Example:
        >>> from gpunet import layers
        >>> layers.deserialize(layers.serialize(layers.Dense(3))).units
        3
    """
    from gpunet import layers

    classes = public_classes(layers, Layer)
    classes.pop("Layer")
    made = from_description(config, classes, "layer", custom_objects)
    if not isinstance(made, Layer):
        raise ArgumentError(f"custom_objects gave {shown(made)} where a layer was expected.")
    return made


def as_layer(thing: Any) -> Any:
    """A part of a layer's config as a layer; one of a class of the user's has been made already."""
    return thing if isinstance(thing, Layer) else deserialize(thing)


def copy_of(layer: Layer, **changes: Any) -> Layer:
    """Another layer by the config of one, whose own classes are known, whoever wrote them.

    Args:
        layer: the layer.
        changes: what differs in its config.
    """
    description = serialize(layer)
    # The classes of models are not known here, but what stands for one is a layer with a copy().
    copies = {n: v.copy() for n, v in vars(layer).items() if hasattr(v, "model")}
    description["config"] = {**description["config"], **copies, **changes}
    made: Layer = deserialize(description, {cls.__name__: cls for cls in _classes(layer)})
    return made


def _classes(layer: Layer) -> list[type]:
    """The classes of a layer and of its parts, among them cells in cells."""
    values = [v if isinstance(v, list) else [v] for v in vars(layer).values()]
    parts = [part for items in values for part in items if hasattr(part, "get_config")]
    inner = [_classes(part) if isinstance(part, Layer) else [type(part)] for part in parts]
    return [type(layer), *(cls for classes in inner for cls in classes)]
