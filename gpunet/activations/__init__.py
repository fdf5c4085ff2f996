"""Activations under Keras' names: for layers, by name, and as functions of arrays.

Each is a function of an array that also stands for itself where a layer takes an activation:
``Dense(10, activations.relu)`` is ``Dense(10, "relu")``. One with other arguments than its
defaults is ``activations.get("elu", alpha=0.5)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from gpunet.activations import functions
from gpunet.activations.functions import (
    celu,
    elu,
    exponential,
    gelu,
    glu,
    hard_shrink,
    hard_sigmoid,
    hard_silu,
    hard_swish,
    hard_tanh,
    leaky_relu,
    linear,
    log_sigmoid,
    log_softmax,
    mish,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    soft_shrink,
    softmax,
    softplus,
    softsign,
    sparse_plus,
    sparse_sigmoid,
    sparsemax,
    squareplus,
    swish,
    tanh,
    tanh_shrink,
    threshold,
)
from gpunet.activations.objects import GLU, Activation, ElementWise, LogSoftmax, Softmax, Sparsemax
from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup

__all__ = [
    "Activation",
    "celu",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]

_NAMES = tuple(name for name in __all__ if hasattr(functions, name))
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {name: getattr(functions, name) for name in _NAMES}
_ALONG_ROWS = {
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
    "sparsemax": Sparsemax,
    "glu": GLU,
}


def get(identifier: object, **arguments: Any) -> Activation:
    """The activation that a layer's argument stands for; None means linear.

    Args:
        identifier: a name ("relu"), a function of this module, an Activation, or what `serialize`
            returned.
        **arguments: with a name or a function: its arguments but for x.

    Raises:
        ArgumentError: no activation has this name (the message suggests one), it is something
            else, or it does not take these arguments.

    Example:
        >>> get("relu"), get(gelu), get("elu", alpha=0.5)
        (<activation relu>, <activation gelu>, <activation elu(0.5,)>)
    """
    if isinstance(identifier, Activation) and not arguments:
        return identifier
    if isinstance(identifier, Mapping) and isinstance(identifier.get("config"), Mapping):
        return get(identifier.get("class_name"), **identifier["config"], **arguments)
    name = "linear" if identifier is None else getattr(identifier, "__name__", "")
    if isinstance(identifier, str):
        function = lookup(identifier, _FUNCTIONS, "activation")
    elif identifier is None or _FUNCTIONS.get(name) is identifier:
        function = _FUNCTIONS[name]
    else:
        raise ArgumentError(
            "an activation is a name such as 'relu', a function of gpunet.activations or an "
            f"Activation, got {shown(identifier)}; for one of your own write a layer with forward "
            "and backward."
        )
    name, signature = function.__name__, inspect.signature(function)
    try:
        call = signature.bind(None, **arguments)
    except TypeError as error:
        known = ", ".join(list(signature.parameters)[1:]) or "nothing"
        raise ArgumentError(f"activation {name!r} takes {known}: {error}.") from None
    call.apply_defaults()
    del call.arguments["x"]
    return _ALONG_ROWS.get(name, ElementWise)(name, **call.arguments)


def serialize(activation: Activation) -> str | dict[str, Any]:
    """An activation's name, or, if it has arguments, its name and these; `get` takes either.

    Raises:
        ArgumentError: it is none of this module's.

    Example:
        >>> serialize(get("relu"))
        'relu'
        >>> serialize(get("elu", alpha=0.5))
        {'class_name': 'elu', 'config': {'alpha': 0.5}}
    """
    if activation.name not in _FUNCTIONS:
        raise ArgumentError(
            f"an activation of your own cannot be put into a config, got {activation!r}: write a "
            "layer with a get_config."
        )
    defaults = inspect.signature(_FUNCTIONS[activation.name]).parameters
    config = {k: v for k, v in activation.arguments.items() if v != defaults[k].default}
    return {"class_name": activation.name, "config": config} if config else activation.name
