"""What all losses have in common: labels, weights, reductions, and how a batch is recorded."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.backend.base import Backend
from gpunet.backend.contract import OPS
from gpunet.backend.spec import FULL, Array
from gpunet.engine.data import as_numbers, check_lengths, dense_labels, row_weights, sparse_labels
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError

Values = np.ndarray[Any, Any]
MEAN = "sum_over_batch_size"
REDUCTIONS = (MEAN, "sum", "mean", "mean_with_sample_weight", "none", None)


@dataclass(frozen=True)
class LossBuffers:
    """What a loss op works on: the recorder's buffers, or real arrays.

    Attributes:
        dx: where the gradient with respect to the predictions goes, or None in evaluation.
        loss: where the loss of each row goes.
        totals: the running (rows * scale * sum of losses, rows).
        x: the predictions, (rows, columns).
        labels: the targets.
        sample_weight: one weight a row, or None.
        scale: the factor of the gradient: 1 / rows for the mean over a batch, 1 for the sum.
    """

    dx: Any
    loss: Any
    totals: Any
    x: Any
    labels: Any
    sample_weight: Any
    scale: float


class Loss(ABC):
    """Base class of losses: `record` writes down the op that computes one.

    Args:
        name: the name to show.
        reduction: how the losses of a batch become one number: "sum_over_batch_size" or "mean"
            (the sum divided by their number, weights or not), "sum", "mean_with_sample_weight"
            (divided by the sum of the weights), "none" or None (not at all; for calls alone).
        dtype: the type that a call computes in; by default that of the predictions. A compiled
            model computes in its own.

    Raises:
        ArgumentError: an unknown reduction or dtype.
    """

    name = "loss"
    sparse = False
    """Whether labels are class numbers instead of arrays of the outputs' shape."""
    ignore_class: int | None = None
    """The class number whose rows count for nothing."""

    def __init__(
        self, name: str | None = None, reduction: str | None = MEAN, dtype: str | None = None
    ) -> None:
        self.name = name or self.name
        if reduction not in REDUCTIONS:
            raise ArgumentError(
                f"the loss {self.name!r} knows the reductions "
                f"{', '.join(map(repr, REDUCTIONS))}, got {reduction!r}."
            )
        if dtype not in (None, *FULL):
            raise ArgumentError(
                f"the loss {self.name!r} computes in {' or '.join(FULL)}, got {dtype!r}."
            )
        self.reduction = reduction
        self.dtype = dtype

    @abstractmethod
    def record(self, op: Recorder, b: LossBuffers) -> None:
        """Record the op that computes losses, totals and the gradient."""

    # ---------------------------------------------------------------- labels and shapes

    def labels(self, y: Any, shape: tuple[int, ...], backend: Backend) -> Array:
        """The targets in the form that the op takes, for predictions of this shape."""
        where = f"y for the loss {self.name!r}"
        if self.sparse:
            return sparse_labels(y, shape, where, self.ignore_class)
        return dense_labels(y, shape, where, backend)

    def loss_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the losses of predictions of this shape: all axes but the last."""
        return shape[:-1]

    def op_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape under which the op takes predictions of this shape."""
        return prod(shape[:-1]), shape[-1]

    def rows_counted(self, shape: tuple[int, ...]) -> int:
        """What `totals` counts for predictions of this shape."""
        return prod(shape[:-1])

    def weights(self, sample_weight: Any, shape: tuple[int, ...], where: str) -> Values:
        """One weight for each loss of predictions of this shape."""
        return row_weights(sample_weight, (*self.loss_shape(shape), 1), where)

    def check_model(self, layer: Any) -> None:
        """Say what cannot work in a model that ends with this layer (None: not known yet).

        Raises:
            ArgumentError: a reduction that gives no single number; a softmax over one unit.
        """
        if self.reduction in ("none", None):
            raise ArgumentError(
                f"the loss {self.name!r} with reduction={self.reduction!r} gives no single number "
                "to train on; compile it with reduction='sum_over_batch_size' or 'sum'."
            )
        if final_activation(layer) == "softmax" and getattr(layer, "units", 0) == 1:
            raise ArgumentError(
                f"{layer.label} applies softmax to one unit, which is always 1; take "
                "activation='sigmoid' and the loss 'binary_crossentropy', or one unit a class."
            )

    # --------------------------------------------------------------------- one batch

    def record_batch(
        self,
        op: Recorder,
        dx: Any,
        totals: Any,
        y: Any,
        labels: Any,
        sample_weight: Any,
        weight: float = 1.0,
        mask: Any = None,
    ) -> Any:
        """Record the loss of one batch, reduced; `record` does the work.

        Args:
            op: the recorder.
            dx: the gradient with respect to y, of its shape, or None in evaluation.
            totals: the running (rows * loss of the batch, rows).
            y: the predictions, (batch, ..., columns).
            labels: the targets of the same shape, or class numbers (rows,).
            sample_weight: one weight a loss, or None.
            weight: what the loss and its gradient are multiplied by.
            mask: which of the losses count, uint8; None for all. The mean is over those alone.

        Returns:
            The buffer of the losses.
        """
        shape, count = self.op_shape(y.shape), prod(self.loss_shape(y.shape))
        scale = weight if self.reduction == "sum" else weight / count
        if mask is not None:
            mask = self._mask_of_losses(mask, y.shape)
        if mask is not None and self.reduction == "sum":
            sample_weight = masked_weights(op, sample_weight, mask)
        elif mask is not None or self._divisor_varies(sample_weight is not None):
            divided = op.scratch((count,), name="weights")
            by_count = self.reduction != "mean_with_sample_weight"
            ignore = self.ignore_class
            valid = None if ignore is None else labels
            op.normalized_weights(
                divided, sample_weight, valid, mask, by_count=by_count, ignore_class=ignore
            )
            sample_weight, scale = divided, weight
        loss = op.scratch((count,), name="loss")
        if not self.sparse:
            labels = self.moved(op, labels.reshape(*y.shape)).reshape(*shape)
        x = self.moved(op, y).reshape(*shape)
        target = None if dx is None else self.gradient_target(op, dx)
        rows = None if target is None else target.reshape(*shape)
        self.record(op, LossBuffers(rows, loss, totals, x, labels, sample_weight, scale))
        if target is not None and target is not dx:
            self.move_back(op, dx, target)
        return loss

    def _mask_of_losses(self, mask: Any, shape: tuple[int, ...]) -> Any:
        """A mask of the predictions as one entry a loss."""
        losses = self.loss_shape(shape)
        if mask.shape != losses:
            raise ArgumentError(
                f"the loss {self.name!r} has losses of shape {losses}, but the predictions have a "
                f"mask {mask.shape}; a mask must say of each loss whether it counts."
            )
        return mask.reshape(-1)

    # What a loss does whose op does not take predictions with their axes in the order they have.

    def moved(self, op: Recorder, x: Any) -> Any:
        """Predictions or labels with their axes in the order that the op takes."""
        del op
        return x

    def gradient_target(self, op: Recorder, dx: Any) -> Any:
        """Where the op writes the gradient: dx itself, or a buffer for `move_back`."""
        del op
        return dx

    def move_back(self, op: Recorder, dx: Any, target: Any) -> None:
        """Record dx = the gradient with its axes as those of the predictions."""
        raise NotImplementedError

    def _divisor_varies(self, weighted: bool) -> bool:
        """Whether what the sum of losses is divided by changes from batch to batch."""
        if self.reduction == "sum":
            return False
        by_weight = weighted and self.reduction == "mean_with_sample_weight"
        return by_weight or self.ignore_class is not None

    # ------------------------------------------------------------------------- calls

    def rows(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Values:
        """The losses before they are reduced, on the host: the predictions without their last axis.

        Args:
            y_true: targets.
            y_pred: predictions, (samples, ..., outputs).
            sample_weight: one weight a sample, or None.
        """
        x, y, weights = self._on_host(y_true, y_pred, sample_weight)
        op: Any = _RunAtOnce(str(x.dtype))
        shape = self.op_shape(x.shape)
        loss = np.empty(prod(self.loss_shape(x.shape)), x.dtype)
        labels = y if self.sparse else self.moved(op, y.reshape(x.shape)).reshape(shape)
        rows = self.moved(op, x).reshape(shape)
        buffers = LossBuffers(None, loss, np.zeros(2), rows, labels, weights, 1.0)
        self.record(op, buffers)
        return loss.reshape(self.loss_shape(x.shape))

    def gradient(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Values:
        """The gradient of the loss with respect to the predictions, for loops of your own.

        Example:
            >>> from gpunet.losses import MeanSquaredError
            >>> MeanSquaredError().gradient([[0.0, 0.0]], [[1.0, 3.0]])
            array([[1., 3.]])
        """
        self.check_model(None)
        x, y, weights = self._on_host(y_true, y_pred, sample_weight)
        dx = np.empty_like(x)
        op: Any = _RunAtOnce(str(x.dtype))
        self.record_batch(op, dx, np.zeros(2), x, y, weights)
        return dx

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss, reduced: a number, or without a reduction an array.

        Args:
            y_true: targets.
            y_pred: predictions, (samples, ..., outputs).
            sample_weight: one weight a sample, or None.
        """
        values = self.rows(y_true, y_pred, sample_weight)
        if self.reduction in ("none", None):
            return values
        total = float(values.sum(dtype=np.float64))
        if self.reduction == "sum":
            return total
        count: float = values.size
        if self._divisor_varies(sample_weight is not None):
            count = self._divisor(y_true, np.shape(y_pred), sample_weight)
        return total / count if count else 0.0

    def _divisor(self, y_true: Any, shape: tuple[int, ...], sample_weight: Any) -> float:
        """The sum of the weights of the rows that count, or their number."""
        weights = np.ones(self.loss_shape(shape))
        if sample_weight is not None and self.reduction == "mean_with_sample_weight":
            weights = self.weights(sample_weight, shape, "sample_weight")
        if self.ignore_class is not None:
            labels = np.asarray(y_true).reshape(weights.shape)
            weights = np.where(labels == self.ignore_class, 0.0, weights)
        return float(weights.sum(dtype=np.float64))

    def _on_host(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[Values, Values, Values | None]:
        """Predictions, labels and flat weights as the op takes them."""
        from gpunet.backend import backend_named

        predictions = as_numbers(y_pred, "y_pred")
        if predictions.ndim == 0:
            raise ArgumentError(f"the loss {self.name!r} needs an array y_pred, got one number.")
        dtype = self.dtype or ("float64" if predictions.dtype == np.float64 else "float32")
        labels = self.labels(y_true, predictions.shape, backend_named("numpy"))
        if labels.ndim:
            check_lengths({"y_true": labels, "y_pred": predictions}, f"the loss {self.name!r}")
        y = labels.reshape(-1) if self.sparse else np.ascontiguousarray(labels, dtype)
        weights = None
        if sample_weight is not None:
            weights = self.weights(sample_weight, predictions.shape, "sample_weight")
            weights = weights.astype(dtype).reshape(-1)
        return np.ascontiguousarray(predictions, dtype), y, weights

    # ------------------------------------------------------------------------ config

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """A new loss from `get_config`."""
        return cls(**config)


def masked_weights(op: Recorder, sample_weight: Any, mask: Any) -> Any:
    """Record weights that are 0 where the mask is; both have one entry a row.

    Args:
        op: the recorder.
        sample_weight: one weight a row, or None for 1.
        mask: uint8.
    """
    weights = op.scratch(mask.shape, name="masked_weights")
    op.scale_shift(weights, mask, scale=1.0, offset=0.0)
    if sample_weight is not None:
        op.multiply(weights, sample_weight, weights)
    return weights


class _RunAtOnce:
    """A recorder's ops and scratch on NumPy arrays: nothing is recorded, all is run."""

    def __init__(self, dtype: str) -> None:
        from gpunet.backend import backend_named

        self._ops = backend_named("numpy").ops
        self._dtype = dtype

    def __getattr__(self, name: str) -> Any:
        return self._ops[name] if OPS[name].scratch is None else partial(self._with_scratch, name)

    def _with_scratch(self, name: str, *arrays: Any, **attributes: Any) -> None:
        size = OPS[name].scratch_shape(arrays, attributes)
        self._ops[name](*arrays[:-1], self.scratch(size), **attributes)

    def scratch(self, shape: tuple[int, ...], name: str = "") -> Values:
        """A new array."""
        return np.empty(shape, self._dtype)


def final_activation(layer: Any) -> str | None:
    """The name of the activation that a layer ends with; None if it is not known."""
    name = getattr(getattr(layer, "activation", None), "name", None)
    return name if isinstance(name, str) else None


def last_axis(axis: Any, loss: str) -> int:
    """The axis of a loss that works along rows.

    Raises:
        ArgumentError: any axis but the last.
    """
    if isinstance(axis, bool) or axis != -1:
        raise ArgumentError(
            f"the loss {loss!r} works along the last axis, axis=-1, got {axis!r}; move that axis "
            "to the end with a Permute layer or np.moveaxis."
        )
    return -1


def number(
    name: str, value: Any, low: float = -np.inf, high: float = np.inf, *, loss: str
) -> float:
    """A loss' argument as a number between two bounds.

    Raises:
        ArgumentError: no number, or outside of the bounds.
    """
    if not is_number(value) or not low <= value <= high:
        bounds = "" if (low, high) == (-np.inf, np.inf) else f" from {low:g} to {high:g}"
        raise ArgumentError(f"the loss {loss!r} takes a number{bounds} for {name}, got {value!r}.")
    return float(value)


def axes_of(axis: Any, rank: int, loss: str) -> Sequence[int]:
    """The reduced axes of predictions of a rank, in order; None means all.

    Raises:
        ArgumentError: an axis that does not exist.
    """
    if axis is None:
        return range(rank)
    given = axis if isinstance(axis, list | tuple) else [axis]
    axes = sorted({a + rank if isinstance(a, int) and a < 0 else a for a in given})
    if not axes or not all(a in range(rank) for a in axes):
        raise ArgumentError(
            f"the loss {loss!r} got axis={axis!r}, but the predictions have the axes 0 to "
            f"{rank - 1}."
        )
    return axes
