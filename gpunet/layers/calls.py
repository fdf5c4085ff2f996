"""What a call of a layer is given: tensors, their masks, and options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from gpunet.engine.graph import Graph, Option, Tensor
from gpunet.errors import ArgumentError, ShapeError, UsageError, warn
from gpunet.structures import flatten

if TYPE_CHECKING:
    from gpunet.layers.base import Layer


def check_started(layer: Layer) -> None:
    """Raise a UsageError if a subclass of Layer has forgotten to call Layer's constructor."""
    if "nodes" not in vars(layer):
        raise UsageError(
            f"{type(layer).__name__}.__init__ must call super().__init__(**kwargs), first of all."
        )


def flat_inputs(label: str, inputs: Sequence[Any], nested: bool) -> list[Tensor]:
    """The tensors that a layer was called on.

    Args:
        label: the layer's name.
        inputs: the arguments of the call.
        nested: whether it takes lists and dicts of tensors, nested in any way, as its ``call`` is
            written; else it takes one tensor, one list of tensors, or several tensors.

    Raises:
        ArgumentError: something else than symbolic tensors, or another structure.
    """
    flat = flatten(inputs)
    strangers = [tensor for tensor in flat if not isinstance(tensor, Tensor)]
    if strangers:
        raise ArgumentError(
            f"layer {label!r} is called on symbolic tensors, got an object of type "
            f"{type(strangers[0]).__name__}; start from gpunet.Input, and call a model on arrays."
        )
    items = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], list | tuple) else inputs
    if not flat or not (nested or all(isinstance(item, Tensor) for item in items)):
        kinds = ", ".join(type(item).__name__ for item in inputs)
        raise ArgumentError(
            f"layer {label!r} is called on one tensor, one list of tensors, or several tensors, got"
            f" {kinds or 'nothing'}."
        )
    return flat


def checked_options(
    label: str, flags: Sequence[str], tensors: Sequence[str], given: Mapping[str, Any]
) -> dict[str, Option]:
    """What a call of a layer says besides its inputs, without what says nothing.

    Args:
        label: the layer's name.
        flags: the options that are True or False; ``training`` is one of every layer.
        tensors: those that are a tensor or a list of them; ``mask`` is one of every layer.
        given: what was given by name.

    Raises:
        ArgumentError: an option that the layer does not know, or of another type.
    """
    said: dict[str, Option] = {}
    for name, value in given.items():
        if value is None and name in (*flags, *tensors, "mask", "training"):
            continue
        is_flag = name in (*flags, "training") and isinstance(value, bool)
        if not is_flag and not (name in (*tensors, "mask") and _are_tensors(value)):
            known = "".join(f", {flag}=True" for flag in flags)
            raise ArgumentError(
                f"a call of layer {label!r} takes tensors{known} and symbolic tensors as "
                f"{', '.join((*tensors, 'mask'))}=, got {name}={value!r}."
            )
        said[name] = list(value) if isinstance(value, list | tuple) else value
    return said


def _are_tensors(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return all(isinstance(item, Tensor | None) for item in items)


def masks_of(layer: Layer, inputs: Sequence[Tensor], mask: Any) -> tuple[Tensor | None, ...]:
    """The mask of each input: the given one, or the one that it has.

    Args:
        layer: the layer that is called.
        inputs: what it is called on.
        mask: a mask, a list of them, or None.

    Raises:
        ArgumentError: a wrong number of masks, a mask of numbers, a mask in place of numbers.
        ShapeError: a mask that is none of its input.
        GpunetWarning: the layer knows no masks, so that the one of its input ends here.
    """
    if mask is None:
        masks: list[Tensor | None] = [tensor.mask for tensor in inputs]
    else:
        masks = list(mask) if isinstance(mask, list) else [mask]
    if len(masks) != len(inputs):
        raise ArgumentError(
            f"layer {layer.label!r} takes one mask for each of its {len(inputs)} inputs (None where"
            f" there is none), got {len(masks)}."
        )
    for tensor, own in zip(inputs, masks, strict=True):
        if own is not None and own.dtype != "bool":
            raise ArgumentError(
                f"layer {layer.label!r} takes masks of dtype bool, got {own.dtype}; make it an "
                "Input(shape, dtype='bool')."
            )
        if own is not None and own.shape != tensor.shape[: len(own.shape)]:
            raise ShapeError(
                f"layer {layer.label!r} got a mask {own.shape} for an input {tensor.shape}; a mask "
                "says of each step of each sample whether it is there, (batch, steps)."
            )
        if tensor.dtype == "bool" and not layer.is_composite:
            raise ArgumentError(
                f"layer {layer.label!r} takes numbers, got a tensor of dtype bool, which is for "
                "masks: mask=...; make it an Input(shape) for numbers."
            )
    ends = not layer.is_composite and not layer.supports_masking
    if ends and any(own is not None for own in masks):
        warn(
            f"layer {layer.label!r} ({type(layer).__name__}) knows no masks: it takes masked steps "
            "for numbers like all others, and layers behind it see no mask."
        )
    return tuple(masks)


def attributes_of(owner: Any) -> list[Any]:
    """The layers and models that are attributes of an object, or in lists or dicts of it."""
    found: dict[int, Any] = {}
    for value in vars(owner).values():
        items = value.values() if isinstance(value, Mapping) else value
        if not isinstance(value, Mapping | list | tuple):
            items = [value]
        found |= {id(item): item for item in items if hasattr(item, "count_params")}
    return list(found.values())


def in_order_of_attributes(owner: Any, layers: Sequence[Layer]) -> list[Layer]:
    """Layers in the order in which their owner got them, which is that of weights in Keras.

    Layers that are none of its attributes stand behind them.
    """
    places = {id(item): place for place, item in enumerate(attributes_of(owner))}

    def place(layer: Layer) -> int:
        return places.get(id(getattr(layer, "model", layer)), len(places))

    return sorted(layers, key=place)


def call_of(owner: Any, inputs: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Let a layer or model with ``call`` call its layers.

    Args:
        owner: the layer or model.
        inputs: the arguments.
        options: what is said by name; training only if ``call`` has an argument of this name.
    """
    given = {name: value for name, value in options.items() if name != "training"}
    if "training" in signature(owner.call).parameters:
        given["training"] = options.get("training")
    return owner.call(*inputs, **given)


def say_training(body: Graph, options: Mapping[str, Any]) -> None:
    """What a call of a layer of layers says of training holds for those that say nothing."""
    if "training" in options:
        for node in body.nodes:
            node.options.setdefault("training", options["training"])


def operator(name: str, *operands: Any) -> Tensor:
    """What an operator makes of symbolic tensors and numbers; see `gpunet.layers.operators`."""
    from gpunet.layers.operators import OPERATORS  # which knows the layers

    return OPERATORS[name](*operands)
