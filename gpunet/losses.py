"""Losses under Keras' names: as a string, as a function, or as an object for ``compile``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.data import as_numbers, check_lengths, dense_labels, row_weights, sparse_labels
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup


@dataclass(frozen=True)
class LossBuffers:
    """What a loss op works on: the recorder's buffers, or real arrays.

    Attributes:
        dx: where the gradient with respect to the predictions goes, or None in evaluation.
        loss: where the loss of each row goes.
        totals: the running (sum of losses, number of rows).
        x: the predictions, (rows, columns).
        labels: the targets.
        sample_weight: one weight a row, or None.
        scale: the factor of the gradient: 1 / rows for the mean over a batch.
    """

    dx: Any
    loss: Any
    totals: Any
    x: Any
    labels: Any
    sample_weight: Any
    scale: float


class Loss(ABC):
    """Base class of losses; the batch's loss is the mean over its rows ("sum_over_batch_size").

    Args:
        name: the name to show.
    """

    name = "loss"
    sparse = False
    """Whether labels are class numbers instead of arrays of the outputs' shape."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.name

    @abstractmethod
    def record(self, op: Recorder, b: LossBuffers) -> None:
        """Record the op that computes losses, totals and the gradient."""

    def labels(self, y: Any, shape: tuple[int, ...], backend: Backend) -> Array:
        """The targets in the form that the op takes, for predictions of this shape."""
        where = f"y for the loss {self.name!r}"
        if self.sparse:
            return sparse_labels(y, shape, where)
        return dense_labels(y, shape, where, backend)

    def rows(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> np.ndarray[Any, Any]:
        """The loss of each row, on the host: shape (samples, ...) without the last axis."""
        from gpunet.backend import backend_named

        predictions = as_numbers(y_pred, "y_pred")
        dtype = "float64" if predictions.dtype == np.float64 else "float32"
        backend = backend_named("numpy")
        labels = self.labels(y_true, predictions.shape, backend)
        if predictions.ndim > 1:
            check_lengths({"y_true": labels, "y_pred": predictions}, f"the loss {self.name!r}")
        x = np.ascontiguousarray(predictions, dtype).reshape(-1, predictions.shape[-1])
        y = labels.reshape(-1) if self.sparse else labels.astype(dtype).reshape(x.shape)
        weights = None
        if sample_weight is not None:
            weights = row_weights(sample_weight, predictions.shape, "sample_weight")
            weights = weights.astype(dtype).reshape(-1)
        loss = np.empty(len(x), dtype)
        op: Any = SimpleNamespace(**backend.ops)  # the real ops: nothing is recorded, all is run
        self.record(op, LossBuffers(None, loss, np.zeros(2), x, y, weights, scale=1.0))
        rows: np.ndarray[Any, Any] = loss.reshape(predictions.shape[:-1])
        return rows

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        """The mean loss over all rows.

        Args:
            y_true: targets.
            y_pred: predictions, (samples, ..., outputs).
            sample_weight: one weight a sample, or None.
        """
        return float(np.mean(self.rows(y_true, y_pred, sample_weight)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Loss:
        """A new loss from `get_config`."""
        return cls(**config)


class _FromLogits(Loss):
    """A loss on probabilities, or with from_logits on what comes before softmax or sigmoid."""

    on_probabilities = ""
    on_logits = ""

    def __init__(self, from_logits: bool = False, name: str | None = None) -> None:
        super().__init__(name)
        self.from_logits = from_logits

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        loss = getattr(op, self.on_logits if self.from_logits else self.on_probabilities)
        weight = b.sample_weight
        loss(b.dx, b.loss, None, b.totals, None, b.x, b.labels, weight, scale=b.scale)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "from_logits": self.from_logits}


class CategoricalCrossentropy(_FromLogits):
    """-sum_j y_j log(p_j), for one-hot (or any probability) rows y.

    After a final softmax it is computed from the logits, which is exact where log(softmax) is not.

    Args:
        from_logits: whether the model's outputs are logits rather than probabilities.
        name: the name to show.

    Example:
        >>> round(CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]]), 4)
        0.6931
    """

    name = "categorical_crossentropy"
    on_probabilities = "cross_entropy"
    on_logits = "softmax_cross_entropy"


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """-log(p[y]), for class numbers y. Arguments as `CategoricalCrossentropy`."""

    name = "sparse_categorical_crossentropy"
    sparse = True


class BinaryCrossentropy(_FromLogits):
    """-mean_j(y_j log(p_j) + (1 - y_j) log(1 - p_j)), for y between 0 and 1.

    After a final sigmoid it is computed from the logits.

    Args:
        from_logits: whether the model's outputs are logits rather than probabilities.
        name: the name to show.
    """

    name = "binary_crossentropy"
    on_probabilities = "binary_cross_entropy"
    on_logits = "sigmoid_cross_entropy"


class MeanSquaredError(Loss):
    """mean_j (x_j - y_j)^2.

    Args:
        name: the name to show.

    Example:
        >>> MeanSquaredError()([[0.0, 0.0]], [[1.0, 3.0]])
        5.0
    """

    name = "mean_squared_error"

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        op.mean_squared_error(b.dx, b.loss, b.totals, b.x, b.labels, b.sample_weight, scale=b.scale)


def categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False
) -> np.ndarray[Any, Any]:
    """The categorical cross-entropy of each row; see `CategoricalCrossentropy`."""
    return CategoricalCrossentropy(from_logits).rows(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False
) -> np.ndarray[Any, Any]:
    """The cross-entropy of each row for class numbers; see `SparseCategoricalCrossentropy`."""
    return SparseCategoricalCrossentropy(from_logits).rows(y_true, y_pred)


def binary_crossentropy(
    y_true: Any, y_pred: Any, from_logits: bool = False
) -> np.ndarray[Any, Any]:
    """The binary cross-entropy of each row; see `BinaryCrossentropy`."""
    return BinaryCrossentropy(from_logits).rows(y_true, y_pred)


def mean_squared_error(y_true: Any, y_pred: Any) -> np.ndarray[Any, Any]:
    """The mean squared error of each row."""
    return MeanSquaredError().rows(y_true, y_pred)


_CLASSES: dict[str, type[Loss]] = {
    "categorical_crossentropy": CategoricalCrossentropy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
}
_FUNCTIONS: dict[Callable[..., Any], type[Loss]] = {
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    binary_crossentropy: BinaryCrossentropy,
    mean_squared_error: MeanSquaredError,
}


def get(identifier: Any) -> Loss:
    """The loss of a name, function, class or object.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.

    Example:
        >>> get("mse").name
        'mean_squared_error'
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, _CLASSES, "loss")()
    if callable(identifier) and identifier in _FUNCTIONS:
        return _FUNCTIONS[identifier]()
    raise ArgumentError(
        f"loss must be a name such as 'mse', a function of gpunet.losses or a Loss, got "
        f"{identifier!r}; for one of your own subclass gpunet.losses.Loss, because gpunet has no "
        "automatic differentiation."
    )
