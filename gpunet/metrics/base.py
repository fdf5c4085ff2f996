"""What a metric is: a state on the device, an op that adds a batch to it, a value made of it.

In ``compile(metrics=[...])`` the engine owns the states and reads them once per progress refresh.
Used alone, as in Keras, a metric keeps a state of its own and runs the same ops on NumPy arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from gpunet.backend.contract import OPS
from gpunet.backend.spec import Array
from gpunet.engine.data import as_numbers, check_lengths, dense_labels, row_weights, sparse_labels
from gpunet.errors import ArgumentError, ShapeError

State = np.ndarray[Any, Any]
_Self = TypeVar("_Self", bound="Metric")


class Metric(ABC):
    """Base class of metrics.

    A metric of one's own gives `state_shape`, `record` and `value`; `MeanOfRows` has the first and
    the last for means over rows.

    Args:
        name: the name in History and in the progress bar.
        dtype: kept for `get_config`; states are float64 on every device.

    Example:
        >>> from gpunet.metrics import Precision
        >>> metric = Precision()
        >>> metric.update_state([0, 1, 1], [0.3, 0.9, 0.4])
        >>> metric.update_state([0, 1], [0.8, 0.7])
        >>> round(metric.result(), 4)
        0.6667
        >>> metric.reset_state()
    """

    name = "metric"
    takes = "either"
    """The labels: "classes" are class numbers, "numbers" have the outputs' shape."""

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        self.name = name or self.name
        self.dtype = dtype
        self._state: State | None = None

    @abstractmethod
    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """The shape of the float64 state, for outputs of this shape (its first entry is rows)."""

    def initial_state(self, output_shape: Sequence[int | None]) -> State:
        """The state before the first batch: zeros, unless it also holds constants."""
        return np.zeros(self.state_shape(output_shape))

    @abstractmethod
    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """Record the ops that add a batch to the state.

        Args:
            op: the recorder.
            state: the state's buffer.
            x: predictions (rows, columns).
            labels: class numbers (rows,) of int32, or numbers (rows, columns).
            sample_weight: (rows,), or None.
        """

    @abstractmethod
    def value(self, state: State) -> Any:
        """The metric of a state: a number, or an array."""

    def check(self, x: Any, labels: Any) -> None:
        """Say so in one sentence if the metric cannot take these predictions and labels."""
        if self.takes == "numbers" and len(labels.shape) == 1:
            raise ArgumentError(
                f"the metric {self.name!r} takes labels of the outputs' shape, got class numbers; "
                "make one-hot rows of them with gpunet.utils.to_categorical."
            )
        if self.takes == "classes" and len(labels.shape) == 2:
            raise ArgumentError(
                f"the metric {self.name!r} takes class numbers, but the labels have the outputs' "
                f"shape, (rows, {x.shape[1]}); take the metric for one-hot rows, or the numbers."
            )

    # ------------------------------------------------------------------ without a model

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch.

        Args:
            y_true: labels: of the shape of y_pred, or class numbers without its last axis.
            y_pred: predictions (samples, ..., outputs), or (samples,) if there is one output.
            sample_weight: one weight a sample, or None.

        Raises:
            ShapeError, DtypeError, ArgumentError: arrays that do not fit.
        """
        x, labels, weights = self._arrays(y_true, y_pred, sample_weight)
        self.check(x, labels)
        if self._state is None:
            self._state = self.initial_state(x.shape)
        self.record(Now(x.dtype.name), self._state, x, labels, weights)

    def result(self) -> Any:
        """The metric over all batches since the last `reset_state`."""
        return self.value(self.initial_state((None, 1)) if self._state is None else self._state)

    def reset_state(self) -> None:
        """Start anew."""
        self._state = None

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """`update_state`, then `result`."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()

    def _arrays(
        self, y_true: Any, y_pred: Any, sample_weight: Any
    ) -> tuple[Array, Array, Array | None]:
        """Predictions (rows, columns), labels and weights, of one floating-point type."""
        x, dtype = predictions_of(y_pred)
        labels = self._labels(as_numbers(y_true, f"y_true for {self.name!r}"), x.shape)
        check_lengths({"y_true": labels, "y_pred": x}, f"the metric {self.name!r}")
        labels = labels.reshape(-1) if labels.dtype == np.int32 else matrix_of(labels, dtype)
        return matrix_of(x, dtype), labels, weights_of(sample_weight, x.shape, dtype)

    def _labels(self, y: State, shape: tuple[int, ...]) -> State:
        """Class numbers as int32, or other numbers as floats, for predictions of this shape."""
        where = f"y_true for the metric {self.name!r}"
        looks_sparse = shape[-1] > 1 and (y.ndim < len(shape) or y.shape[-1] == 1)
        if self.takes == "classes" or (self.takes == "either" and looks_sparse):
            return sparse_labels(y, shape, where)
        from gpunet.backend import backend_named

        numbers: State = dense_labels(y, shape, where, backend_named("numpy"))
        return numbers.astype(np.float64)

    # ------------------------------------------------------------------------- saving

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    def from_config(cls: type[_Self], config: dict[str, Any]) -> _Self:
        """A new metric from `get_config`."""
        return cls(**config)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


class MeanOfRows(Metric):
    """Base class of (weighted) means over rows; the state is (sum, sum of the weights)."""

    totals_itself = False
    """Whether the recorded op adds (sum, rows) to totals in its own launch."""

    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """(sum, sum of weights)."""
        return (2,)

    @abstractmethod
    def record_rows(self, op: Any, rows: Any, totals: Any, x: Any, labels: Any) -> None:
        """Record the op that writes each row's number, and adds to totals if it can.

        Totals are None where the op cannot, or where the numbers are to be weighted first.
        """

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """Each row's number, and their sum."""
        rows = op.scratch((x.shape[0],), name=self.name)
        at_once = self.totals_itself and sample_weight is None
        self.record_rows(op, rows, state if at_once else None, x, labels)
        if not at_once:
            op.weighted_totals(state, rows, sample_weight)

    def value(self, state: State) -> float:
        """sum / sum of weights, 0 without any."""
        return float(divide(state[0], state[1]))


class Now:
    """Runs on NumPy arrays what a metric records: the ``op`` of a metric without a model.

    Args:
        dtype: the floating-point type of scratch arrays.
    """

    def __init__(self, dtype: str) -> None:
        from gpunet.backend import backend_named

        self._dtype = dtype
        self._ops = backend_named("numpy").ops

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Every op of the contract is a method, as on the recorder."""
        op, function = OPS[name], self._ops[name]

        def run(*args: Any, **kwargs: Any) -> None:
            call = op.signature.bind(*args, **kwargs)
            call.apply_defaults()
            arrays = [call.arguments.pop(parameter.name) for parameter in op.parameters]
            op.check(arrays, call.arguments)
            function(*arrays, **call.arguments)

        return run

    def scratch(
        self, shape: tuple[int, ...], dtype: str | None = None, name: str = "scratch"
    ) -> Array:
        """An array for what the next op needs."""
        return np.empty(shape, dtype or self._dtype)


def divide(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is 0, as Keras' divide_no_nan."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(a.shape, b.shape)), where=b != 0)


def scalar_or_array(values: State) -> Any:
    """The one number of an array, or the array."""
    return float(values[0]) if values.shape == (1,) else values


def predictions_of(y_pred: Any) -> tuple[State, str]:
    """Predictions with an axis of outputs, and the type to compute in."""
    x = as_numbers(y_pred, "y_pred")
    if x.ndim == 0:
        raise ShapeError(f"y_pred must hold one entry a sample, got the single number {y_pred!r}.")
    dtype = "float64" if x.dtype == np.float64 else "float32"
    return (x[:, None] if x.ndim == 1 else x), dtype


def matrix_of(array: State, dtype: str) -> State:
    """An array as the rows of its last axis, of this type."""
    return np.ascontiguousarray(array, dtype).reshape(-1, array.shape[-1])


def weights_of(sample_weight: Any, shape: tuple[int, ...], dtype: str) -> State | None:
    """One weight a row, or None."""
    if sample_weight is None:
        return None
    if np.ndim(sample_weight) == 0:
        sample_weight = np.full(shape[0], sample_weight)
    return row_weights(sample_weight, shape, "sample_weight").reshape(-1).astype(dtype)
