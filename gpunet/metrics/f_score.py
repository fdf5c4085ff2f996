"""F-scores: the harmonic mean of precision and recall, with a weight."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.metrics.base import State
from gpunet.metrics.confusion import FN, FP, TP, ThresholdMetric

EPSILON = 1e-7
AVERAGES = (None, "micro", "macro", "weighted")


class FBetaScore(ThresholdMetric):
    """(1 + beta^2) precision recall / (beta^2 precision + recall), of each column.

    Args:
        average: None for an array with one number a column, "micro" for all columns counted
            together, "macro" for the mean, "weighted" for the mean by the columns' positive labels.
        beta: how much more recall counts than precision.
        threshold: what a positive output exceeds; None for the largest outputs of each row.
        name: the name to show.
        dtype: kept for `get_config`.

    Raises:
        ArgumentError: a value that cannot be used.

    Example:
        >>> metric = FBetaScore(average="macro", beta=2.0, threshold=0.5)
        >>> round(metric([[1, 0], [0, 1]], [[0.9, 0.8], [0.2, 0.7]]), 4)
        0.9167
    """

    name = "fbeta_score"

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        kind = type(self).__name__
        if average not in AVERAGES:
            raise ArgumentError(
                f"{kind} knows the averages None, micro, macro and weighted, got {average!r}."
            )
        if not isinstance(beta, float) or beta <= 0:
            raise ArgumentError(f"{kind} needs a positive float beta, got {beta!r}.")
        if threshold is not None and not (isinstance(threshold, float) and 0 < threshold <= 1):
            raise ArgumentError(
                f"{kind} needs a float above 0 and up to 1 as threshold, or None for the largest "
                f"outputs, got {threshold!r}."
            )
        # Of the largest outputs those within 1e-9 of 0 do not count: all above -1e9 (what
        # top_k_filter keeps), less those above -1e-9, and those above 1e-9 again.
        thresholds = [-1e9, -1e-9, 1e-9] if threshold is None else [threshold]
        super().__init__(thresholds, name, dtype, by_column=average != "micro")
        self.average, self.beta, self.threshold = average, beta, threshold

    def record(self, op: Any, state: Any, x: Any, labels: Any, sample_weight: Any) -> None:
        """One launch, and one that keeps the largest outputs of each row."""
        if self.threshold is None:
            largest = op.scratch(x.shape, name=f"{self.name}.largest")
            op.top_k_filter(largest, x, k=1, ties=True)
            x = largest
        super().record(op, state, x, labels, sample_weight)

    def value(self, state: State) -> Any:
        """A number, or an array with one for each column."""
        positive = state[TP, :, 0] + state[FN, :, 0]
        hits, false = (self._predicted(state[kind]) for kind in (TP, FP))
        precision = hits / (hits + false + EPSILON)
        recall = hits / (positive + EPSILON)
        square = self.beta**2
        scores = (1 + square) * precision * recall / (square * precision + recall + EPSILON)
        if self.average is None:
            return scores
        if self.average == "weighted":
            return float(scores @ (positive / (positive.sum() + EPSILON)))
        return float(np.mean(scores))

    def _predicted(self, counts: State) -> State:
        """How many of the outputs with these counts above the thresholds count as positive."""
        if self.threshold is not None:
            return np.asarray(counts[:, 0])
        return np.asarray(counts @ [1.0, -1.0, 1.0])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"average": self.average, "beta": self.beta, "threshold": self.threshold}
        return {**super().get_config(), **own}


class F1Score(FBetaScore):
    """2 precision recall / (precision + recall), of each column.

    Args:
        average: as in `FBetaScore`.
        threshold: as in `FBetaScore`.
        name: the name to show.
        dtype: kept for `get_config`.

    Example:
        >>> F1Score(threshold=0.5)([[1, 1], [1, 0]], [[0.2, 0.6], [0.6, 0.4]]).round(4)
        array([0.6667, 1.    ])
    """

    name = "f1_score"

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(average, 1.0, threshold, name, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["beta"]
        return config
