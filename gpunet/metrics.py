"""Metrics: sums that stay on the device and are read once per progress refresh."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup


class Metric(ABC):
    """Base class: a metric adds to totals = (sum, count) on the device; its value is sum / count.

    Args:
        name: the name in History and in the progress bar.
    """

    name = "metric"

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.name

    @abstractmethod
    def record(self, op: Recorder, totals: Buffer, x: Buffer, labels: Buffer) -> None:
        """Record the op that adds a batch of predictions x and labels to totals."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Metric:
        """A new metric from `get_config`."""
        return cls(**config)


class Accuracy(Metric):
    """The share of right predictions, of the kind that fits the shapes, as Keras picks it.

    One output: whether x > 0.5 equals y > 0.5. Several: whether the largest output is the label's,
    be it a class number or a one-hot row.

    Args:
        name: the name to show.
    """

    name = "accuracy"

    def record(self, op: Recorder, totals: Buffer, x: Buffer, labels: Buffer) -> None:
        """Part of the loss' launch where the loss can count."""
        correct = op.scratch((x.rows.shape[0],), name="correct")
        op.accuracy(correct, totals, x, labels)


_METRICS: dict[str, type[Metric]] = {"accuracy": Accuracy, "acc": Accuracy}


def get(identifier: Any) -> Metric:
    """The metric of a name, class or object; a name stays the name that is shown.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, _METRICS, "metric")(name=identifier)
    raise ArgumentError(f"a metric must be a name such as 'accuracy', got {identifier!r}.")
