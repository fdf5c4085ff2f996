"""Configs: objects described by plain values, in Keras' form, and made from them again.

A description is {"module", "class_name", "config", "registered_name"}, as Keras 3 writes it.
Reading one never imports or runs what it names: ``class_name`` is looked up in a table of gpunet's
own classes and in the ``custom_objects`` that the caller gives; all else is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from gpunet.arguments import shown
from gpunet.errors import ArgumentError, GpunetError
from gpunet.identifiers import lookup

CustomObjects = Mapping[str, type]

# What Keras writes besides, with the values that say nothing: a class that does not have such an
# argument leaves it out. Any other value is an error, as the object would not be the same.
_KERAS_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "amsgrad": (False,),
    "axis": (-1,),
    "clipnorm": (None,),
    "clipvalue": (None,),
    "data_format": (None, "channels_last"),
    "ema_momentum": (0.99,),
    "ema_overwrite_frequency": (None,),
    "from_logits": (False,),
    "global_clipnorm": (None,),
    "gradient_accumulation_steps": (None,),
    "ignore_class": (None,),
    "input_axes": (None,),
    "label_smoothing": (0.0,),
    "lora_alpha": (None,),
    "lora_rank": (None,),
    "loss_scale_factor": (None,),
    "max_value": (None,),
    "negative_slope": (0.0,),
    "noise_shape": (None,),
    "output_axes": (None,),
    "quantization_config": (None,),
    "reduction": ("sum_over_batch_size",),
    "seed": (None,),
    "threshold": (0.0,),
    "use_ema": (False,),
    "weight_decay": (None,),
}


def described(thing: Any) -> dict[str, Any] | None:
    """The same of something that may be missing."""
    return None if thing is None else describe(thing)


def describe(thing: Any) -> dict[str, Any]:
    """The description of an object that has ``get_config``.

    Raises:
        ArgumentError: it has none.
    """
    cls = type(thing)
    if not hasattr(thing, "get_config"):
        raise ArgumentError(f"{thing!r} cannot be put into a config: it has no get_config().")
    package, _, module = cls.__module__.partition(".")
    # Keras' own module name, so that Keras reads what gpunet wrote.
    where = f"keras.{module.partition('.')[0]}" if package == "gpunet" else cls.__module__
    return {
        "module": where,
        "class_name": cls.__name__,
        "config": thing.get_config(),
        "registered_name": None,
    }


def public_classes(module: ModuleType, base: type) -> dict[str, type]:
    """A module's public subclasses of a class, by name."""
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and not name.startswith("_")
    }
    return {name: cls for name, cls in found.items() if not inspect.isabstract(cls)}


def from_description(
    description: Any,
    classes: Mapping[str, type],
    kind: str,
    custom_objects: CustomObjects | None = None,
) -> Any:
    """Make the object of a description.

    Args:
        description: a dict with "class_name" and "config".
        classes: the classes that may be named.
        kind: what they are, for messages: "layer".
        custom_objects: further classes by name; they come first.

    Raises:
        ArgumentError: an unknown class, or a config that does not fit it.
    """
    name, config = parts_of(description, kind)
    custom = check_custom_objects(custom_objects)
    if name in custom:
        cls = custom[name]
    else:
        try:
            cls = lookup(name, classes, kind)
        except ArgumentError as error:
            raise ArgumentError(
                f"{str(error).rstrip('.')}; pass custom_objects={{{name!r}: ...}} if it is yours."
            ) from None
    made = {key: _made(value, custom) for key, value in config.items()}
    return make(cls, made)


def parts_of(description: Any, kind: str) -> tuple[str, dict[str, Any]]:
    """The class name and the config of a description.

    Raises:
        ArgumentError: it is none.
    """
    is_dict = isinstance(description, Mapping)
    name = description.get("class_name") if is_dict else None
    config = description.get("config", {}) if is_dict else None
    if not isinstance(name, str) or not isinstance(config, Mapping):
        raise ArgumentError(
            f"the config of one {kind} needs 'class_name' and 'config', got {shown(description)}."
        )
    unknown = [key for key in config if not isinstance(key, str)]
    if unknown:
        raise ArgumentError(f"the config of {name} must have names as keys, got {unknown[0]!r}.")
    return name, dict(config)


def make(cls: type, config: Mapping[str, Any]) -> Any:
    """``cls.from_config(config)``, with one kind of error for all that can be wrong with it."""
    try:
        return cls.from_config(_fitting(cls, config))  # type: ignore[attr-defined]
    except GpunetError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError) as error:
        text = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise ArgumentError(f"the config of {cls.__name__} does not fit: {text}.") from None


def check_custom_objects(custom_objects: CustomObjects | None) -> dict[str, type]:
    """The custom objects as a dict of classes.

    Raises:
        ArgumentError: something else.
    """
    custom = {} if custom_objects is None else custom_objects
    if not isinstance(custom, Mapping) or not all(
        isinstance(cls, type) and hasattr(cls, "from_config") for cls in custom.values()
    ):
        raise ArgumentError(
            f"custom_objects must be a dict of name -> class with from_config, got {shown(custom)}."
        )
    return dict(custom)


def _made(value: Any, custom: Mapping[str, type]) -> Any:
    """A value of a config, in which descriptions of custom objects have become objects."""
    if isinstance(value, list):
        return [_made(item, custom) for item in value]
    if not isinstance(value, Mapping):
        return value
    name = value.get("class_name")
    if isinstance(name, str) and name in custom:
        _, config = parts_of(value, "object")
        inner = {key: _made(item, custom) for key, item in config.items()}
        return make(custom[name], inner)
    return {key: _made(item, custom) for key, item in value.items()}


def _fitting(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what Keras writes and this class does not have, if it says nothing."""
    known: set[str] = set()
    for base in cls.__mro__[:-1]:
        if "__init__" in vars(base):
            known.update(inspect.signature(base.__init__).parameters)  # type: ignore[misc]
    kept = {}
    for key, value in config.items():
        says_nothing = _is_float32(value) if key == "dtype" else _is_default(key, value)
        if key in known or not says_nothing:
            kept[key] = value
    return kept


def _is_default(key: str, value: Any) -> bool:
    simple = value is None or isinstance(value, bool | int | float | str)
    return simple and value in _KERAS_DEFAULTS.get(key, ())


def _is_float32(dtype: Any) -> bool:
    """Whether a dtype, or Keras' description of a dtype policy, is the usual one."""
    if isinstance(dtype, Mapping) and isinstance(dtype.get("config"), Mapping):
        dtype = dtype["config"].get("name")
    return dtype is None or dtype == "float32"
