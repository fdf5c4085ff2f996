"""Means and sums: of values that one has, and of what a loss is on each row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import losses
from gpunet.engine.data import as_numbers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.losses import LossBuffers
from gpunet.metrics.base import MeanOfRows, Metric, State, divide


class Mean(Metric):
    """The (weighted) mean of values, for loops of one's own: sum(w v) / sum(w).

    Args:
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> mean = Mean()
        >>> mean([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
        2.0
    """

    name = "mean"

    def state_shape(self, output_shape: Sequence[int | None]) -> tuple[int, ...]:
        """(sum, sum of weights)."""
        return (2,)

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """Not of predictions and labels."""
        raise ArgumentError(
            f"the metric {self.name!r} takes values, not labels and predictions: call its "
            "update_state in a loop of your own."
        )

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add values, with one weight a value or a sample (its values are then averaged)."""
        numbers, weights = _weighted(values, sample_weight, np.mean)
        if self._state is None:
            self._state = self.initial_state(())
        self._state += (np.sum(numbers * weights), np.sum(weights))

    def __call__(self, values: Any, sample_weight: Any = None) -> Any:  # type: ignore[override]
        """`update_state`, then `result`."""
        self.update_state(values, sample_weight)
        return self.result()

    def value(self, state: State) -> float:
        """sum / sum of weights, 0 without any."""
        return float(divide(state[0], state[1]))


class Sum(Mean):
    """The (weighted) sum of values, for loops of one's own: sum(w v).

    Args:
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> Sum()([1, 3, 5, 7])
        16.0
    """

    name = "sum"

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        """Add values, with one weight a value or a sample (its values are then added up)."""
        numbers, weights = _weighted(values, sample_weight, np.sum)
        if self._state is None:
            self._state = self.initial_state(())
        self._state += (np.sum(numbers * weights), 0.0)

    def value(self, state: State) -> float:
        """The sum."""
        return float(state[0])


class MeanMetricWrapper(MeanOfRows):
    """The mean of a loss over all rows since the start, instead of over one batch.

    Args:
        fn: a Loss, or its name or function.
        name: the name to show, that of the loss if None.
        dtype: kept for `get_config`.

    Raises:
        ArgumentError: there is no such loss.

    Example:
        >>> MeanMetricWrapper("mse")([[0.0], [1.0]], [[1.0], [1.0]])
        0.5
    """

    totals_itself = True

    def __init__(self, fn: Any, name: str | None = None, dtype: str | None = None) -> None:
        self.loss = losses.get(fn)
        super().__init__(name or self.loss.name, dtype)
        self.takes = "classes" if self.loss.sparse else "numbers"

    def record_rows(self, op: Any, rows: Any, totals: Any, x: Any, labels: Any) -> None:
        """The loss without a gradient."""
        if totals is None:  # a loss always adds; here to what nobody reads
            totals = op.scratch((2,), "float64", name=f"{self.name}.unweighted")
            op.fill(totals, value=0.0)
        scale = 1.0 / max(x.shape[0], 1)
        self.loss.record(op, LossBuffers(None, rows, totals, x, labels, None, scale))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; the loss as its class and configuration."""
        loss = {"class_name": type(self.loss).__name__, "config": self.loss.get_config()}
        return {**super().get_config(), "fn": loss}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """A new metric from `get_config`."""
        fn = config.get("fn")
        if isinstance(fn, dict):
            loss = type(losses.get(fn["class_name"]))
            config = {**config, "fn": loss.from_config(fn["config"])}
        return cls(**config)


class LossMetric(MeanMetricWrapper):
    """Base class of the metrics that are the mean of the loss ``of``.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
    """

    of = ""

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(self.of, name or type(self).name, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}


def _weighted(values: Any, sample_weight: Any, reduce: Any) -> tuple[State, State]:
    """Values and their weights in one shape: axes that have no weights are reduced."""
    numbers = as_numbers(values, "values").astype(np.float64)
    if sample_weight is None:
        return numbers, np.ones(numbers.shape)
    weights = as_numbers(sample_weight, "sample_weight").astype(np.float64)
    if weights.ndim == numbers.ndim + 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if weights.shape != numbers.shape[: weights.ndim]:
        raise ShapeError(
            f"sample_weight must have the shape of the values' first axes, {numbers.shape}, "
            f"got {weights.shape}."
        )
    return reduce(numbers, axis=tuple(range(weights.ndim, numbers.ndim))), weights
