"""Losses of how well two masks overlap, for segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpunet.engine.moves import permute
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.losses.base import MEAN, Loss, LossBuffers, Values, axes_of, number

_EPSILON = 1e-7  # Keras'


class _Overlap(Loss):
    """1 - I / (I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + epsilon), I = sum(x y).

    The sums go over ``axis``, all axes by default: then there is one loss for the whole batch.
    """

    alpha = 0.5
    beta = 0.5
    epsilon = _EPSILON

    def __init__(
        self, axis: Any, reduction: str | None, name: str | None, dtype: str | None
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.axis = list(axis) if isinstance(axis, tuple) else axis

    def loss_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The axes that are not summed over."""
        axes = axes_of(self.axis, len(shape), self.name)
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)

    def op_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """(outer, reduced, inner)."""
        axes = axes_of(self.axis, len(shape), self.name)
        if not _are_neighbours(axes):
            return prod(self.loss_shape(shape)), prod(shape[axis] for axis in axes), 1
        first, behind = axes[0], axes[-1] + 1
        return prod(shape[:first]), prod(shape[first:behind]), prod(shape[behind:])

    def moved(self, op: Recorder, x: Any) -> Any:
        """Axes that are no neighbours are brought to the end."""
        order = self._order(len(x.shape))
        if order == sorted(order):
            return x
        y = op.scratch(tuple(x.shape[axis] for axis in order), name="moved")
        permute(op, y, x, order)
        return y

    def gradient_target(self, op: Recorder, dx: Any) -> Any:
        """A buffer with the axes at the end, if that is where they are brought."""
        order = self._order(len(dx.shape))
        if order == sorted(order):
            return dx
        return op.scratch(tuple(dx.shape[axis] for axis in order), name="moved")

    def move_back(self, op: Recorder, dx: Any, target: Any) -> None:
        """And back to their places."""
        order = self._order(len(dx.shape))
        permute(op, dx, target, [order.index(axis) for axis in range(len(order))])

    def _order(self, rank: int) -> list[int]:
        """The order of the axes in which the op takes an array of this rank."""
        axes = list(axes_of(self.axis, rank, self.name))
        if _are_neighbours(axes):
            return list(range(rank))
        return [axis for axis in range(rank) if axis not in axes] + axes

    def rows_counted(self, shape: tuple[int, ...]) -> int:
        """All elements: a batch may be a single group."""
        return prod(shape)

    def weights(self, sample_weight: Any, shape: tuple[int, ...], where: str) -> Values:
        """One weight for each loss.

        Raises:
            ArgumentError: the samples of a batch have one loss together.
        """
        if axes_of(self.axis, len(shape), self.name)[0] == 0:
            raise ArgumentError(
                f"the loss {self.name!r} with axis={self.axis!r} is one for all samples of a "
                f"batch, which cannot weigh differently ({where}); sum over the other axes alone, "
                "axis=-1 for example."
            )
        return super().weights(sample_weight, shape, where)

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One or two launches: losses, totals and gradient."""
        outer, _, inner = b.x.shape
        weight = b.sample_weight
        op.tversky(
            b.dx,
            b.loss.reshape(outer, inner),
            b.totals,
            b.x,
            b.labels,
            None if weight is None else weight.reshape(outer, inner),
            scale=b.scale,
            alpha=self.alpha,
            beta=self.beta,
            epsilon=self.epsilon,
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


class Dice(_Overlap):
    """1 - 2 sum(x y) / (sum(x) + sum(y) + 1e-7).

    Args:
        reduction: see `Loss`.
        name: the name to show.
        axis: the axes to sum over: an integer, several, or None for all of them.
        dtype: see `Loss`.

    Example:
        >>> round(Dice()([[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 0.0, 0.0]]), 4)
        0.3333
    """

    name = "dice"
    epsilon = _EPSILON / 2  # the formula has half of Dice's numbers above and below

    def __init__(
        self,
        reduction: str | None = MEAN,
        name: str | None = None,
        axis: Any = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)


class Tversky(_Overlap):
    """1 - I / (I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + 1e-7), I = sum(x y).

    Salehi et al., Tversky loss function for image segmentation (2017).

    Args:
        alpha: the factor of what the predictions miss.
        beta: the factor of what they have too much.
        reduction: see `Loss`.
        name: the name to show.
        axis: the axes to sum over: an integer, several, or None for all of them.
        dtype: see `Loss`.
    """

    name = "tversky"

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = MEAN,
        name: str | None = None,
        axis: Any = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(axis, reduction, name, dtype)
        self.alpha = number("alpha", alpha, loss=self.name)
        self.beta = number("beta", beta, loss=self.name)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha, "beta": self.beta}


def _are_neighbours(axes: Sequence[int]) -> bool:
    return axes[-1] - axes[0] == len(axes) - 1


def dice(y_true: Any, y_pred: Any, axis: Any = None) -> Values:
    """The loss of each group of elements that axis spans; see `Dice`."""
    return Dice(axis=axis).rows(y_true, y_pred)


def tversky(
    y_true: Any, y_pred: Any, alpha: float = 0.5, beta: float = 0.5, axis: Any = None
) -> Values:
    """The loss of each group of elements that axis spans; see `Tversky`."""
    return Tversky(alpha, beta, axis=axis).rows(y_true, y_pred)
