"""Meters: the loss and the metrics of a model, and their states while it trains or evaluates.

All states of a mode are one array on the device, so that reading them waits for it only once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.metrics import Metric, get
from gpunet.metrics.base import State, divide


@dataclass(frozen=True)
class Meter:
    """A metric under the name that it has in History.

    Attributes:
        name: the name.
        metric: the metric.
        weighted: whether sample weights count.
        output: the number of the model's output that it looks at.
    """

    name: str
    metric: Metric
    weighted: bool = False
    output: int = 0

    def read(self, states: Mapping[str, State]) -> Any:
        """Its value, from the states of all meters."""
        return self.metric.value(states[self.name])


@dataclass(frozen=True)
class LossMeter(Meter):
    """The loss of one of several outputs.

    Attributes:
        factor: the weight of the loss, with which its state was recorded; at 0 without it.
    """

    factor: float = 1.0

    def read(self, states: Mapping[str, State]) -> float:
        """The loss without its weight, as Keras shows it."""
        return float(self.metric.value(states[self.name])) / (self.factor or 1.0)


@dataclass(frozen=True)
class TotalMeter(Meter):
    """The weighted sum of several losses; its own state holds nothing but penalties.

    Attributes:
        parts: the losses.
    """

    parts: tuple[LossMeter, ...] = ()

    def read(self, states: Mapping[str, State]) -> float:
        """The sum; penalties count once for each row of the first loss."""
        values = [part.metric.value(states[part.name]) for part in self.parts if part.factor]
        rows = states[self.parts[0].name][1]
        return float(sum(values) + divide(states[self.name][0], rows))


class Meters:
    """The states of some meters on one device.

    Args:
        backend: the device.
        meters: the meters.
        output_shapes: the shapes of the model's outputs.
    """

    def __init__(
        self,
        backend: Backend,
        meters: Sequence[Meter],
        output_shapes: Sequence[Sequence[int | None]],
    ) -> None:
        self._backend = backend
        self._meters = {meter.name: meter for meter in meters}
        self._initial = {
            meter.name: meter.metric.initial_state(output_shapes[meter.output]) for meter in meters
        }
        self._values = np.concatenate([state.reshape(-1) for state in self._initial.values()])
        self._array = backend.empty(self._values.shape, "float64")
        self.reset()

    @property
    def names(self) -> list[str]:
        """The meters' names in order."""
        return list(self._meters)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of one state."""
        return tuple(self._initial[name].shape)

    def state(self, name: str) -> Array:
        """One state on the device."""
        return self._split(self._array)[name]

    def reset(self) -> None:
        """Start anew."""
        self._backend.write(self._array, self._values)

    def read(self) -> dict[str, Any]:
        """All values; waits for the device."""
        states = self._split(self._backend.to_numpy(self._array))
        return {name: meter.read(states) for name, meter in self._meters.items()}

    def _split(self, array: Array) -> dict[str, Array]:
        """The parts of an array that holds all states."""
        parts, start = {}, 0
        for name, state in self._initial.items():
            parts[name] = array[start : start + state.size].reshape(state.shape)
            start += state.size
        return parts


def metric_meters(
    metrics: Sequence[Any],
    weighted_metrics: Sequence[Any],
    taken: Sequence[str],
    prefix: str = "",
    output: int = 0,
) -> list[Meter]:
    """The metrics of one output, named as in Keras.

    A second metric of a name gets a number behind it; one of weighted_metrics that is also among
    metrics gets "weighted_" before it.

    Args:
        metrics: names, classes or objects of metrics.
        weighted_metrics: the same of those in which sample weights count.
        taken: names that others have.
        prefix: what each name begins with.
        output: the number of the model's output.
    """
    meters: list[Meter] = []
    for weighted, identifiers in ((False, metrics), (True, weighted_metrics)):
        for identifier in identifiers:
            metric = get(identifier)
            used = {*taken, *(meter.name for meter in meters)}
            name = f"{prefix}{metric.name}"
            if weighted and name in used:
                name = f"{prefix}weighted_{metric.name}"
            names = (name if k == 0 else f"{name}_{k}" for k in range(len(used) + 1))
            free = next(name for name in names if name not in used)
            meters.append(Meter(free, metric, weighted, output))
    return meters
