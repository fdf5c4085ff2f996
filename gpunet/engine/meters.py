"""Meters: the loss and the metrics of a model, and their states while it trains or evaluates.

All states of a mode are one array on the device, so that reading them waits for it only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError
from gpunet.metrics import Mean, Metric, get


@dataclass(frozen=True)
class Meter:
    """A metric under the name that it has in History.

    Attributes:
        name: the name.
        metric: the metric.
        weighted: whether sample weights count.
    """

    name: str
    metric: Metric
    weighted: bool = False


class Meters:
    """The states of some meters on one device.

    Args:
        backend: the device.
        meters: the meters.
        output_shape: the shape of the model's output.
    """

    def __init__(
        self, backend: Backend, meters: Sequence[Meter], output_shape: Sequence[int | None]
    ) -> None:
        self._backend = backend
        self._meters = {meter.name: meter.metric for meter in meters}
        self._initial = {
            name: metric.initial_state(output_shape) for name, metric in self._meters.items()
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
        return {name: metric.value(states[name]) for name, metric in self._meters.items()}

    def _split(self, array: Array) -> dict[str, Array]:
        """The parts of an array that holds all states."""
        parts, start = {}, 0
        for name, state in self._initial.items():
            parts[name] = array[start : start + state.size].reshape(state.shape)
            start += state.size
        return parts


def compiled_meters(metrics: Any, weighted_metrics: Any) -> list[Meter]:
    """The loss' mean and the metrics that `compile` got, named as in Keras.

    A second metric of a name gets a number behind it; one of weighted_metrics that is also among
    metrics gets "weighted_" before it.
    """
    meters = [Meter("loss", Mean("loss"))]
    for argument, identifiers in (("metrics", metrics), ("weighted_metrics", weighted_metrics)):
        if not isinstance(identifiers, list | tuple | None):
            raise ArgumentError(
                f"compile takes a list of {argument}, got {identifiers!r}: write [...]."
            )
        for identifier in identifiers or []:
            metric, weighted = get(identifier), argument == "weighted_metrics"
            taken = {meter.name for meter in meters}
            name = metric.name
            if weighted and name in taken:
                name = f"weighted_{name}"
            names = (name if k == 0 else f"{name}_{k}" for k in range(len(taken) + 1))
            meters.append(Meter(next(n for n in names if n not in taken), metric, weighted))
    return meters
