"""Operators between symbolic tensors, ``x + y`` or ``x[:, -1]``, as calls of layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from gpunet.arguments import is_number, shown
from gpunet.engine.graph import Tensor
from gpunet.errors import ArgumentError
from gpunet.layers.activations import Activation
from gpunet.layers.base import Layer
from gpunet.layers.getting import GetItem
from gpunet.layers.joining import Dot
from gpunet.layers.merge import Add, Multiply, Subtract
from gpunet.layers.preprocessing import Rescaling


def add(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a + b: `Add`, or `Rescaling` with a number."""
    if _are_tensors(a, b):
        return _called(Add(name=name), [a, b])
    x, number = _with_number("+", a, b)
    return _called(Rescaling(1.0, number, name=name), x)


def subtract(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a - b: `Subtract`, or `Rescaling` with a number."""
    if _are_tensors(a, b):
        return _called(Subtract(name=name), [a, b])
    x, number = _with_number("-", a, b)
    if x is a:
        return _called(Rescaling(1.0, -number, name=name), x)
    return _called(Rescaling(-1.0, number, name=name), x)


def multiply(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a * b: `Multiply`, or `Rescaling` with a number."""
    if _are_tensors(a, b):
        return _called(Multiply(name=name), [a, b])
    x, number = _with_number("*", a, b)
    return _called(Rescaling(number, name=name), x)


def true_divide(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a / b for a number b: `Rescaling`."""
    if isinstance(b, Tensor):
        raise ArgumentError(
            f"{shown(a)} / {shown(b)}: symbolic tensors are divided by numbers alone; write a "
            "layer with forward and backward, or layers.UnitNormalization for vectors of length 1."
        )
    x, number = _with_number("/", a, b)
    if number == 0:
        raise ArgumentError(f"{x!r} / 0: symbolic tensors are divided by numbers other than 0.")
    return _called(Rescaling(1.0 / number, name=name), x)


def negative(a: Tensor, name: str | None = None) -> Tensor:
    """-a: `Rescaling`."""
    return _called(Rescaling(-1.0, name=name), a)


def power(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a ** b for a few whole numbers b: `Multiply` of a with itself."""
    if not (isinstance(a, Tensor) and is_number(b) and b in range(2, 9)):
        raise ArgumentError(
            f"{shown(a)} ** {shown(b)}: powers of symbolic tensors are whole numbers from 2 to 8; "
            "write a layer with forward and backward; layers.Activation('exponential') is e ** x."
        )
    return _called(Multiply(name=name), [a] * int(b))


def matmul(a: Any, b: Any, name: str | None = None) -> Tensor:
    """a @ b of matrices (batch, rows, columns): `Dot`."""
    if not _are_tensors(a, b) or len(a.shape) != 3 or len(b.shape) != 3:
        raise ArgumentError(
            f"{shown(a)} @ {shown(b)}: both must be symbolic tensors (batch, rows, columns); "
            "layers.Dot sums along other axes, and layers.Dense multiplies with a weight."
        )
    return _called(Dot((2, 1), name=name), [a, b])


def get_item(a: Tensor, key: Any, name: str | None = None) -> Tensor:
    """a[key]: `GetItem`."""
    return _called(GetItem(key, name=name), a)


def activation(a: Tensor, function: Any, name: str | None = None) -> Tensor:
    """function(a) for one of gpunet.activations: `Activation`."""
    return _called(Activation(function, name=name), a)


OPERATORS: Mapping[str, Callable[..., Tensor]] = {
    "add": add,
    "subtract": subtract,
    "multiply": multiply,
    "true_divide": true_divide,
    "negative": negative,
    "power": power,
    "matmul": matmul,
    "get_item": get_item,
    "activation": activation,
}
"""The operators by the names that Keras gives them."""


def _are_tensors(a: Any, b: Any) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor)


def _with_number(sign: str, a: Any, b: Any) -> tuple[Tensor, float]:
    """The tensor and the number among two operands.

    Raises:
        ArgumentError: something else.
    """
    x, number = (a, b) if isinstance(a, Tensor) else (b, a)
    array = np.asarray(number)
    is_one = array.shape == () and array.dtype.kind in "iuf" and np.isfinite(array)
    if not is_one:
        raise ArgumentError(
            f"{x!r} {sign} ...: the other side must be a symbolic tensor or a finite number, got "
            f"{type(number).__name__} {shown(number)}; layers.Normalization(mean=..., "
            "variance=...) takes an array for each feature."
        )
    return x, float(array)


def _called(layer: Layer, inputs: Any) -> Tensor:
    result: Tensor = layer(inputs)
    return result
