"""Constraints under Keras' names: what is done to a weight after each optimizer step.

Example:
    >>> from gpunet import layers
    >>> layers.Dense(10, kernel_constraint="non_neg").kernel_constraint
    NonNeg()
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from gpunet.arguments import AT_LEAST_0, shown
from gpunet.engine.data import as_numbers
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.identifiers import lookup
from gpunet.saving.configs import describe, from_description

Self = TypeVar("Self", bound="Constraint")
Axes = int | Sequence[int] | None


class Constraint:
    """Base class: a subclass writes ``record``, which changes a weight in place.

    Example:
        >>> class Halved(Constraint):
        ...     def record(self, op, weight):
        ...         op.scale_shift(weight, weight, scale=0.5, offset=0.0)
        >>> Halved()([2.0])
        array([1.])
    """

    def record(self, op: Recorder, weight: Buffer) -> None:
        """Record the ops that change the weight."""
        raise NotImplementedError(f"{type(self).__name__} needs a method record(op, weight).")

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise an error if weights of this shape cannot be constrained."""

    def __call__(self, weight: Any) -> np.ndarray[Any, Any]:
        """A constrained copy of an array."""
        from gpunet.backend import backend_named

        values = as_numbers(weight, f"what {type(self).__name__} is called on")
        dtype = "float64" if values.dtype == np.float64 else "float32"
        copied = np.array(values, dtype, order="C")
        self.check(copied.shape)
        op: Any = SimpleNamespace(**backend_named("numpy").ops)  # the real ops: all is run
        self.record(op, copied)  # type: ignore[arg-type]
        return copied

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {}

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """The constraint that ``get_config`` described."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


class NonNeg(Constraint):
    """w = max(w, 0).

    Example:
        >>> NonNeg()([-1.0, 2.0])
        array([0., 2.])
    """

    def record(self, op: Recorder, weight: Buffer) -> None:
        """A relu in place."""
        row = weight.reshape(1, -1)
        op.bias_act(row, row, None, activation="relu")


class _Norm(Constraint):
    """Lengths along an axis, brought within bounds."""

    bounds: tuple[float, float]
    rate = 1.0

    def __init__(self, axis: Axes = 0) -> None:
        self.axis = list(axis) if isinstance(axis, list | tuple) else axis
        axes = self.axis if isinstance(self.axis, list) else [self.axis]
        if axis is not None and not (axes and all(type(a) is int for a in axes)):
            raise ArgumentError(
                f"{type(self).__name__} takes an integer or a list of integers for axis, got "
                f"{axis!r}."
            )

    def record(self, op: Recorder, weight: Buffer) -> None:
        """One launch."""
        low, high = self.bounds
        vectors = weight.reshape(*self._view(weight.shape))
        op.norm_constraint(vectors, min_value=low, max_value=high, rate=self.rate)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ShapeError if this shape has no such axes, or these are not neighbours."""
        self._view(shape)

    def _view(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """(outer, reduced, inner): the axes before, those along which a vector lies, and after."""
        if self.axis is None:
            return 1, prod(shape), 1
        given = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        axes = sorted({axis % len(shape) for axis in given if -len(shape) <= axis < len(shape)})
        if len(axes) != len(given) or axes != list(range(axes[0], axes[0] + len(axes))):
            raise ShapeError(
                f"{type(self).__name__} takes neighbouring axes of the weight, whose shape is "
                f"{shape}, got axis={self.axis!r}."
            )
        return prod(shape[: axes[0]]), prod(shape[i] for i in axes), prod(shape[axes[-1] + 1 :])


class MaxNorm(_Norm):
    """Vectors longer than max_value are shortened to it (Srivastava et al., 2014).

    w *= min(norm, max_value) / (1e-7 + norm), norm = sqrt(sum of w^2 along axis).

    Args:
        max_value: the greatest length.
        axis: along which axis (or axes) a vector lies; 0 for what leads into one unit of a Dense.

    Raises:
        ArgumentError: max_value is no number of at least 0, or axis is no integer.

    Example:
        >>> MaxNorm(1.0)([[3.0], [4.0]]).round(3).tolist()
        [[0.6], [0.8]]
    """

    def __init__(self, max_value: float = 2, axis: Axes = 0) -> None:
        super().__init__(axis)
        self.max_value = AT_LEAST_0.check(self, "max_value", max_value)
        self.bounds = (0.0, float(max_value))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(_Norm):
    """Each vector is scaled to length 1: w /= 1e-7 + norm.

    Args:
        axis: along which axis (or axes) a vector lies.

    Raises:
        ArgumentError: axis is no integer.
    """

    bounds = (1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"axis": self.axis}


class MinMaxNorm(_Norm):
    """Lengths are moved towards the interval from min_value to max_value.

    w *= (rate * clip(norm, min_value, max_value) + (1 - rate) * norm) / (1e-7 + norm).

    Args:
        min_value: the least length.
        max_value: the greatest length.
        rate: the share of the way that is gone in one step; 1 goes all of it.
        axis: along which axis (or axes) a vector lies.

    Raises:
        ArgumentError: bounds or rate that make no sense, or axis is no integer.
    """

    def __init__(
        self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0
    ) -> None:
        super().__init__(axis)
        self.min_value = AT_LEAST_0.check(self, "min_value", min_value)
        self.max_value = AT_LEAST_0.check(self, "max_value", max_value)
        self.rate = AT_LEAST_0.check(self, "rate", rate)
        if min_value > max_value:
            raise ArgumentError(
                f"MinMaxNorm needs min_value up to max_value, got {min_value!r} and {max_value!r}."
            )
        if rate > 1:
            raise ArgumentError(f"MinMaxNorm takes a rate from 0 to 1, got {rate!r}.")
        self.bounds = (float(min_value), float(max_value))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


def max_norm(max_value: float = 2, axis: Axes = 0) -> MaxNorm:
    """A `MaxNorm`."""
    return MaxNorm(max_value, axis)


def min_max_norm(
    min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axes = 0
) -> MinMaxNorm:
    """A `MinMaxNorm`."""
    return MinMaxNorm(min_value, max_value, rate, axis)


def non_neg() -> NonNeg:
    """A `NonNeg`."""
    return NonNeg()


def unit_norm(axis: Axes = 0) -> UnitNorm:
    """A `UnitNorm`."""
    return UnitNorm(axis)


_CLASSES: dict[str, type[Constraint]] = {
    "MaxNorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "NonNeg": NonNeg,
    "UnitNorm": UnitNorm,
}


def serialize(constraint: Constraint) -> dict[str, Any]:
    """A dict of plain values from which `deserialize` makes the constraint again."""
    return describe(constraint)


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Constraint]] | None = None
) -> Constraint:
    """The constraint of a dict from `serialize`.

    Args:
        config: the dict, with class_name and config.
        custom_objects: constraints of your own by their classes' names.

    Raises:
        ArgumentError: an unknown class, or arguments that it does not take.

    Example:
        >>> deserialize(serialize(MaxNorm(3)))
        MaxNorm(max_value=3.0, axis=0)
    """
    made: Constraint = from_description(config, _CLASSES, "constraint", custom_objects)
    return made


def get(identifier: Any) -> Constraint | None:
    """The constraint of a name ("max_norm"), class, config or object; None is none.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.
    """
    if identifier is None or isinstance(identifier, Constraint):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Constraint):
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, _CLASSES, "constraint")()
    if isinstance(identifier, Mapping):
        constraint: Constraint = from_description(identifier, _CLASSES, "constraint")
        return constraint
    raise ArgumentError(
        f"a constraint must be a name such as 'max_norm' or an object of gpunet.constraints, got "
        f"{shown(identifier)}; for one of your own subclass Constraint."
    )
