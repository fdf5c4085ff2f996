"""Optimizers under Keras' names and with Keras' formulas; the maths is one op on flat buffers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.optimizers import schedules
from gpunet.optimizers.adam import Adam, Adamax, AdamW, Nadam
from gpunet.optimizers.adaptive import Adadelta, Adagrad, RMSprop
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.momentum import SGD, Lion

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]

_OPTIMIZERS: dict[str, type[Optimizer]] = {
    kind.__name__.lower(): kind
    for kind in (SGD, Adam, AdamW, RMSprop, Nadam, Adamax, Adagrad, Adadelta, Lion)
}


def get(identifier: Any) -> Optimizer:
    """The optimizer of a name, class, saved dict or object.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.

    Example:
        >>> get("adam").learning_rate
        0.001
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):
        return identifier.from_config({})
    if isinstance(identifier, str):
        return lookup(identifier, _OPTIMIZERS, "optimizer").from_config({})
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    raise ArgumentError(f"an optimizer must be a name such as 'adam', got {shown(identifier)}.")


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """A dict of plain numbers and strings from which `deserialize` makes the optimizer again.

    Example:
        >>> serialize(SGD(0.1))["class_name"]
        'SGD'
    """
    return {"class_name": type(optimizer).__name__, "config": optimizer.get_config()}


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> Optimizer:
    """The optimizer of a dict from `serialize`, without state.

    Args:
        config: {"class_name": ..., "config": ...}.
        custom_objects: optimizers and schedules of one's own: class name -> class.

    Raises:
        ArgumentError: an unknown class, or arguments that it does not take.

    Example:
        >>> deserialize(serialize(SGD(0.1))).learning_rate
        0.1
    """
    if not {"class_name", "config"} <= set(config):
        raise ArgumentError(f"an optimizer is saved as a class_name and a config, got {config!r}.")
    table: dict[str, type[Optimizer]] = {**_OPTIMIZERS, **(custom_objects or {})}
    kind = lookup(config["class_name"], table, "optimizer")
    return kind.from_config(config["config"], custom_objects)
