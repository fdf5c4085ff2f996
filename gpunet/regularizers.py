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

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from gpunet.arguments import AT_LEAST_0, shown
from gpunet.engine.data import as_numbers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.identifiers import lookup
from gpunet.saving.configs import describe, from_description

if TYPE_CHECKING:
    from gpunet.engine.recorder import Buffer, Recorder

Self = TypeVar("Self", bound="Regularizer")


class Regularizer:
    """Base class: penalty = l1 sum |x| + l2 sum x^2.

    Attributes:
        l1: the factor of the absolute values; their gradient is l1 sign(x), 0 at 0.
        l2: the factor of the squares; their gradient is 2 l2 x.
        elementwise: whether that is all. Then one launch does it for all weights of a model;
            a subclass that says False writes ``record``.
    """

    l1 = 0.0
    l2 = 0.0
    elementwise = True

    def record(
        self,
        op: Recorder,
        dx: Buffer | None,
        totals: Buffer | None,
        x: Buffer,
        *,
        share: float = 1.0,
        count: int = 1,
        accumulate: bool = False,
    ) -> None:
        """Record the penalty of x, times share, and its gradient.

        Args:
            op: the recorder.
            dx: where the gradient goes, of x's shape, or None.
            totals: running totals, which grow by count times the penalty, or None.
            x: a weight or a layer's output.
            share: what the penalty and its gradient are multiplied by.
            count: how many rows have the penalty in their loss.
            accumulate: whether the gradient is added to what dx holds.
        """
        l1, l2 = self.l1 * share, self.l2 * share
        op.activity_penalty(dx, totals, x, l1=l1, l2=l2, count=count, accumulate=accumulate)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise an error if nothing of this shape can be regularized."""

    def __call__(self, x: Any) -> float:
        """The penalty of an array.

        Args:
            x: an array of any shape.
        """
        from gpunet.backend import backend_named

        values = as_numbers(x, f"what {type(self).__name__} is called on")
        dtype = "float64" if values.dtype == np.float64 else "float32"
        self.check(values.shape)
        totals: Any = np.zeros(2)
        op: Any = SimpleNamespace(  # the real ops: all is run
            **backend_named("numpy").ops, scratch=lambda shape: np.empty(shape, dtype)
        )
        self.record(op, None, totals, np.ascontiguousarray(values, dtype))  # type: ignore[arg-type]
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
        self.l1 = AT_LEAST_0.check(self, "l1", l1)

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
        self.l2 = AT_LEAST_0.check(self, "l2", l2)

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
        self.l1 = AT_LEAST_0.check(self, "l1", l1)
        self.l2 = AT_LEAST_0.check(self, "l2", l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"l1": self.l1, "l2": self.l2}


class OrthogonalRegularizer(Regularizer):
    """penalty = factor * mean of |cosine| over all pairs of rows, or columns, of a matrix.

    A kernel (inputs, units) with mode "columns" has units that look at different things. Fewer
    than two vectors have no pairs and no penalty (Keras: NaN).

    Args:
        factor: the factor, at least 0.
        mode: "rows" or "columns", which of both are the vectors.

    Raises:
        ArgumentError: a factor that is no number of at least 0, or an unknown mode.

    Example:
        >>> round(OrthogonalRegularizer(1.0)([[3.0, 0.0], [4.0, 4.0]]), 4)
        0.7071
    """

    elementwise = False

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = AT_LEAST_0.check(self, "factor", factor)
        if mode not in ("rows", "columns"):
            raise ArgumentError(
                f"OrthogonalRegularizer takes 'rows' or 'columns' for mode, got {mode!r}."
            )
        self.mode = mode

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise a ShapeError if this is no shape of a matrix."""
        if len(shape) != 2:
            raise ShapeError(
                f"OrthogonalRegularizer compares the rows or columns of a matrix, got the shape "
                f"{shape}; use 'l1', 'l2' or 'l1_l2', or start with the initializer 'orthogonal'."
            )

    def record(
        self,
        op: Recorder,
        dx: Buffer | None,
        totals: Buffer | None,
        x: Buffer,
        *,
        share: float = 1.0,
        count: int = 1,
        accumulate: bool = False,
    ) -> None:
        """All products of two vectors, their penalty, and the way back."""
        self.check(x.shape)
        by_rows = self.mode == "rows"
        vectors = x.shape[0] if by_rows else x.shape[1]
        gram = op.scratch((vectors, vectors))
        op.gemm(gram, x, x, ta=not by_rows, tb=by_rows)
        slopes = None if dx is None else op.scratch((vectors, vectors))
        op.orthogonality_penalty(slopes, totals, gram, factor=self.factor * share, count=count)
        if dx is not None:
            factors = (slopes, x) if by_rows else (x, slopes)
            op.gemm(dx, *factors, accumulate=accumulate)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"factor": self.factor, "mode": self.mode}


def l1(l1: float = 0.01) -> L1:
    """An `L1` regularizer."""
    return L1(l1)


def l2(l2: float = 0.01) -> L2:
    """An `L2` regularizer."""
    return L2(l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """An `L1L2` regularizer; by default, and as the string "l1_l2", with both factors 0.01."""
    return L1L2(l1, l2)


def orthogonal_regularizer(factor: float = 0.01, mode: str = "rows") -> OrthogonalRegularizer:
    """An `OrthogonalRegularizer`."""
    return OrthogonalRegularizer(factor, mode)


_CLASSES: dict[str, type[Regularizer]] = {
    "L1": L1,
    "L2": L2,
    "L1L2": L1L2,
    "OrthogonalRegularizer": OrthogonalRegularizer,
}
_NAMES: dict[str, Callable[[], Regularizer]] = {
    "l1": l1,
    "l2": l2,
    "l1_l2": l1_l2,
    "orthogonal_regularizer": orthogonal_regularizer,
}


def serialize(regularizer: Regularizer) -> dict[str, Any]:
    """A dict of plain values from which `deserialize` makes the regularizer again."""
    return describe(regularizer)


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Regularizer]] | None = None
) -> Regularizer:
    """The regularizer of a dict from `serialize`.

    Args:
        config: the dict, with class_name and config.
        custom_objects: regularizers of your own by their classes' names.

    Raises:
        ArgumentError: an unknown class, or arguments that it does not take.

    Example:
        >>> deserialize(serialize(L2(0.5)))
        L2(l2=0.5)
    """
    made: Regularizer = from_description(config, _CLASSES, "regularizer", custom_objects)
    return made


def get(identifier: Any) -> Regularizer | None:
    """The regularizer of a name ("l2"), class, config or object; None is none.

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
        f"{shown(identifier)}; gpunet has no automatic differentiation for functions of your own."
    )
