"""Regularizers under Keras' names: penalties on weights or outputs that are added to the loss.

A weight's penalty (``kernel_regularizer=``) counts once a step; an output's
(``activity_regularizer=``) is divided by the batch size. What fit and evaluate report as the loss
includes both. In a loop of your own `Run.backward` adds the gradients of the outputs' penalties,
`Optimizer.step` those of the weights'.

Example:
    >>> from gpunet import layers
    >>> layers.Dense(10, kernel_regularizer="l2").kernel_regularizer
    L2(l2=0.01)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from gpunet.engine.data import as_numbers
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.saving.configs import from_description

Self = TypeVar("Self", bound="Regularizer")


class Regularizer:
    """Base class: penalty = l1 sum |x| + l2 sum x^2.

    Attributes:
        l1: the factor of the absolute values; their gradient is l1 sign(x), 0 at 0.
        l2: the factor of the squares; their gradient is 2 l2 x.
    """

    l1 = 0.0
    l2 = 0.0

    def __call__(self, x: Any) -> float:
        """The penalty of an array.

        Args:
            x: an array of any shape.
        """
        from gpunet.backend import backend_named

        values = as_numbers(x, f"what {type(self).__name__} is called on")
        dtype = "float64" if values.dtype == np.float64 else "float32"
        totals = np.zeros(2)
        backend_named("numpy").ops["activity_penalty"](
            None, totals, np.ascontiguousarray(values, dtype), l1=self.l1, l2=self.l2, count=1
        )
        return float(totals[0])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """The regularizer that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class L1(Regularizer):
    """penalty = l1 sum |x|: pushes small weights to exactly 0.

    Args:
        l1: the factor, at least 0.

    Raises:
        ArgumentError: a factor that is no number of at least 0.

    Example:
        >>> L1(0.5)([[1.0, -3.0]])
        2.0
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("L1", "l1", l1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1}


class L2(Regularizer):
    """penalty = l2 sum x^2: keeps weights small.

    Args:
        l2: the factor, at least 0.

    Raises:
        ArgumentError: a factor that is no number of at least 0.

    Example:
        >>> L2(0.5)([[1.0, -3.0]])
        5.0
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("L2", "l2", l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l2": self.l2}


class L1L2(Regularizer):
    """penalty = l1 sum |x| + l2 sum x^2 (Zou and Hastie, 2005).

    Args:
        l1: the factor of the absolute values, at least 0.
        l2: the factor of the squares, at least 0.

    Raises:
        ArgumentError: a factor that is no number of at least 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _factor("L1L2", "l1", l1)
        self.l2 = _factor("L1L2", "l2", l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


def l1(l1: float = 0.01) -> L1:
    """An `L1` regularizer."""
    return L1(l1)


def l2(l2: float = 0.01) -> L2:
    """An `L2` regularizer."""
    return L2(l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """An `L1L2` regularizer; by default, and as the string "l1_l2", with both factors 0.01."""
    return L1L2(l1, l2)


def OrthogonalRegularizer(factor: float = 0.01, mode: str = "rows") -> NoReturn:  # noqa: N802
    """Keras has it; gpunet has not, because it is a matrix product and no sum over elements.

    Raises:
        ArgumentError: always.
    """
    raise ArgumentError(
        "gpunet has no OrthogonalRegularizer, only penalties that are sums over elements; use "
        "'l1', 'l2' or 'l1_l2', or start orthogonal with kernel_initializer='orthogonal'."
    )


_CLASSES: dict[str, type[Regularizer]] = {"L1": L1, "L2": L2, "L1L2": L1L2}
_NAMES = {"l1": l1, "l2": l2, "l1_l2": l1_l2, "orthogonal_regularizer": OrthogonalRegularizer}


def get(identifier: Any) -> Regularizer | None:
    """The regularizer of a name ("l1", "l2", "l1_l2"), class, config or object; None is none.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.
    """
    if identifier is None or isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Regularizer):
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, _NAMES, "regularizer")()
    if isinstance(identifier, Mapping):
        regularizer: Regularizer = from_description(identifier, _CLASSES, "regularizer")
        return regularizer
    raise ArgumentError(
        f"a regularizer must be a name such as 'l2' or an object of gpunet.regularizers, got "
        f"{identifier!r}; gpunet has no automatic differentiation for functions of your own."
    )


def _factor(where: str, name: str, value: Any) -> float:
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 <= value < np.inf:
        raise ArgumentError(f"{where} takes a number of at least 0 for {name}, got {value!r}.")
    return float(value)
