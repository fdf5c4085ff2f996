"""How a model was compiled, as a config: optimizer, loss and metrics."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gpunet import losses, metrics, optimizers
from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.saving.configs import (
    CustomObjects,
    describe,
    from_description,
    public_classes,
)

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

_NOTHING: tuple[Any, ...] = (None, False, 1, "auto", [])
"""Values of further arguments in Keras' compile that say nothing."""


def compile_config(model: Trainer) -> dict[str, Any]:
    """How a model was compiled; the optimizer as it is now, names as they were given."""
    given = {key: _plain(value) for key, value in model.compile_arguments.items()}
    return {**given, "optimizer": describe(model.optimizer)}


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if inspect.isfunction(value):
        return value.__name__
    return describe(value() if isinstance(value, type) else value)


def compile_from_config(
    model: Trainer, config: Any, custom_objects: CustomObjects | None = None
) -> None:
    """Compile a model as `compile_config` says.

    Raises:
        ArgumentError: a config that says something else, or names an unknown class.
    """
    if not isinstance(config, Mapping):
        raise ArgumentError(f"a compile_config must be a dict, got {shown(config)}.")
    kinds = {
        "optimizer": public_classes(optimizers, optimizers.Optimizer),
        "loss": public_classes(losses, losses.Loss),
        "metrics": public_classes(metrics, metrics.Metric),
        "weighted_metrics": public_classes(metrics, metrics.Metric),
    }
    known = inspect.signature(model.compile).parameters
    arguments = {}
    for key, value in config.items():
        if key in known and value is not None:
            arguments[key] = _object(value, kinds.get(key, {}), key, custom_objects)
        elif value not in _NOTHING and key != "jit_compile":
            raise ArgumentError(f"gpunet's compile has no {key}, got {shown(value)}.")
    model.compile(**arguments)


def _object(
    value: Any, classes: Mapping[str, type], kind: str, custom_objects: CustomObjects | None
) -> Any:
    """What a description in a compile_config stands for; names stay names."""
    if isinstance(value, list):
        return [_object(item, classes, kind, custom_objects) for item in value]
    if isinstance(value, Mapping) and "class_name" in value:
        return from_description(value, classes, kind.rstrip("s"), custom_objects)
    if isinstance(value, Mapping):
        return {key: _object(item, classes, kind, custom_objects) for key, item in value.items()}
    return value
