"""Learning-rate schedules: the learning rate as a function of the number of steps done, as Keras.

A schedule is handed to an optimizer as its learning rate. It is evaluated on the host before each
step, in float64, and its value written to the device: a schedule may be any Python.

Example:
    >>> schedule = ExponentialDecay(0.1, decay_steps=100, decay_rate=0.5)
    >>> [round(schedule(step), 4) for step in (0, 50, 100)]
    [0.1, 0.0707, 0.05]
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.arguments import ABOVE_0, AT_LEAST_0
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup


class LearningRateSchedule:
    """Base class: ``schedule(step)`` returns the learning rate after so many steps.

    A subclass writes ``__call__``, and ``get_config`` if it is to be saved.

    Example:
        >>> class Harmonic(LearningRateSchedule):
        ...     def __init__(self, first):
        ...         self.first = first
        ...
        ...     def __call__(self, step):
        ...         return self.first / (step + 1)
        >>> Harmonic(0.1)(1)
        0.05
    """

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        raise NotImplementedError(f"{type(self).__name__} must define __call__(step).")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        raise NotImplementedError(
            f"{type(self).__name__} must define get_config() to be saved or copied."
        )

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> LearningRateSchedule:
        """A new schedule from `get_config`."""
        return cls(**config)


class ExponentialDecay(LearningRateSchedule):
    """initial_learning_rate * decay_rate^(step / decay_steps).

    Args:
        initial_learning_rate: the first learning rate.
        decay_steps: after so many steps it has been multiplied by decay_rate.
        decay_rate: the factor.
        staircase: whether to multiply only after every decay_steps steps.
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = AT_LEAST_0.check(
            self, "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = ABOVE_0.check(self, "decay_steps", decay_steps)
        self.decay_rate = AT_LEAST_0.check(self, "decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        power = step / self.decay_steps
        return float(
            self.initial_learning_rate
            * self.decay_rate ** (math.floor(power) if self.staircase else power)
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "decay_rate": self.decay_rate,
            "staircase": self.staircase,
            "name": self.name,
        }


class InverseTimeDecay(ExponentialDecay):
    """initial_learning_rate / (1 + decay_rate * step / decay_steps).

    Args:
        initial_learning_rate: the first learning rate.
        decay_steps: the steps in which the divisor grows by decay_rate.
        decay_rate: how much the divisor grows.
        staircase: whether it grows only after every decay_steps steps.
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.

    Example:
        >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
        0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        share = step / self.decay_steps
        share = math.floor(share) if self.staircase else share
        return self.initial_learning_rate / (1.0 + self.decay_rate * share)


class PiecewiseConstantDecay(LearningRateSchedule):
    """values[0] up to and including step boundaries[0], then values[1], ...

    Args:
        boundaries: steps in increasing order.
        values: one learning rate more than there are boundaries.
        name: the name to show.

    Raises:
        ArgumentError: a wrong number of values; boundaries that do not increase.

    Example:
        >>> schedule = PiecewiseConstantDecay([100, 200], [1.0, 0.5, 0.1])
        >>> [schedule(step) for step in (100, 101, 1000)]
        [1.0, 0.5, 0.1]
    """

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        if len(values) != len(boundaries) + 1:
            raise ArgumentError(
                "PiecewiseConstantDecay takes one value more than boundaries, got "
                f"{len(values)} values for {len(boundaries)} boundaries."
            )
        self.boundaries = [
            AT_LEAST_0.check(self, "boundaries", boundary) for boundary in boundaries
        ]
        self.values = [AT_LEAST_0.check(self, "values", value) for value in values]
        self.name = name
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ArgumentError(
                f"PiecewiseConstantDecay takes increasing boundaries, got {self.boundaries}."
            )

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        return self.values[sum(step > boundary for boundary in self.boundaries)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"boundaries": self.boundaries, "values": self.values, "name": self.name}


class PolynomialDecay(LearningRateSchedule):
    """(initial_learning_rate - end_learning_rate) * (1 - step / decay_steps)^power + end.

    Args:
        initial_learning_rate: the first learning rate.
        decay_steps: the steps to the end.
        end_learning_rate: the last learning rate, which stays.
        power: 1 for a straight line.
        cycle: whether to go on after the end with decay_steps twice, three times, ... as long.
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.

    Example:
        >>> PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.5)(5)
        0.75
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = AT_LEAST_0.check(
            self, "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = ABOVE_0.check(self, "decay_steps", decay_steps)
        self.end_learning_rate = AT_LEAST_0.check(self, "end_learning_rate", end_learning_rate)
        self.power = AT_LEAST_0.check(self, "power", power)
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        steps = self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(step / steps))
        left = 1.0 - min(step, steps) / steps
        start, end = self.initial_learning_rate, self.end_learning_rate
        return float((start - end) * left**self.power + end)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "end_learning_rate": self.end_learning_rate,
            "power": self.power,
            "cycle": self.cycle,
            "name": self.name,
        }


class CosineDecay(LearningRateSchedule):
    """A straight warm-up if wanted, then half a cosine down to alpha times where it began.

    start * ((1 - alpha) * (1 + cos(pi * step / decay_steps)) / 2 + alpha), where start is
    initial_learning_rate, or after a warm-up warmup_target and step counts from its end.

    Args:
        initial_learning_rate: the first learning rate.
        decay_steps: the steps of the cosine, without those of the warm-up.
        alpha: the last learning rate as a share of that at the cosine's begin.
        name: the name to show.
        warmup_target: the learning rate at the end of the warm-up; None for none.
        warmup_steps: the steps of the warm-up.

    Raises:
        ArgumentError: a number that makes no sense.

    Source: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983.

    Example:
        >>> schedule = CosineDecay(0.0, decay_steps=100, warmup_target=0.1, warmup_steps=10)
        >>> [round(schedule(step), 4) for step in (0, 5, 10, 60, 110)]
        [0.0, 0.05, 0.1, 0.05, 0.0]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = AT_LEAST_0.check(
            self, "initial_learning_rate", initial_learning_rate
        )
        self.decay_steps = ABOVE_0.check(self, "decay_steps", decay_steps)
        self.alpha = AT_LEAST_0.check(self, "alpha", alpha)
        self.name = name
        self.warmup_target = warmup_target
        if warmup_target is not None:
            AT_LEAST_0.check(self, "warmup_target", warmup_target)
        self.warmup_steps = AT_LEAST_0.check(self, "warmup_steps", warmup_steps)

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        start, after = self.initial_learning_rate, float(step)
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return float(start + (self.warmup_target - start) * step / self.warmup_steps)
            start, after = self.warmup_target, step - self.warmup_steps
        return start * _half_cosine(min(after / self.decay_steps, 1.0), self.alpha)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "decay_steps": self.decay_steps,
            "alpha": self.alpha,
            "name": self.name,
            "warmup_target": self.warmup_target,
            "warmup_steps": self.warmup_steps,
        }


class CosineDecayRestarts(LearningRateSchedule):
    """Half cosines one after another, each t_mul times as long and m_mul times as high.

    Args:
        initial_learning_rate: the first learning rate.
        first_decay_steps: the steps of the first half cosine.
        t_mul: how much longer each is than the one before, at least 1.
        m_mul: how much higher each begins than the one before.
        alpha: the learning rate below which it never falls, as a share of the first.
        name: the name to show.

    Raises:
        ArgumentError: a number that makes no sense.

    Source: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983.

    Example:
        >>> schedule = CosineDecayRestarts(1.0, first_decay_steps=10, m_mul=0.5)
        >>> [round(schedule(step), 4) for step in (0, 5, 10, 20, 30)]
        [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = AT_LEAST_0.check(
            self, "initial_learning_rate", initial_learning_rate
        )
        self.first_decay_steps = ABOVE_0.check(self, "first_decay_steps", first_decay_steps)
        self.t_mul = AT_LEAST_0.check(self, "t_mul", t_mul)
        self.m_mul = AT_LEAST_0.check(self, "m_mul", m_mul)
        self.alpha = AT_LEAST_0.check(self, "alpha", alpha)
        self.name = name
        if self.t_mul < 1:
            raise ArgumentError(f"CosineDecayRestarts takes t_mul of at least 1, got {t_mul!r}.")

    def __call__(self, step: int) -> float:
        """The learning rate of the step that follows ``step`` others."""
        begin, length, restarts = 0.0, float(self.first_decay_steps), 0
        if self.t_mul == 1.0:
            restarts = int(step // length)
            begin = restarts * length
        while begin + length <= step:
            begin, length, restarts = begin + length, length * self.t_mul, restarts + 1
        share = (step - begin) / length
        height = self.m_mul**restarts
        cosine = height * _half_cosine(share, 0.0)
        return float(self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            "initial_learning_rate": self.initial_learning_rate,
            "first_decay_steps": self.first_decay_steps,
            "t_mul": self.t_mul,
            "m_mul": self.m_mul,
            "alpha": self.alpha,
            "name": self.name,
        }


def serialize(schedule: LearningRateSchedule) -> dict[str, Any]:
    """A dict of plain numbers and strings from which `deserialize` makes the schedule again.

    Example:
        >>> serialize(PiecewiseConstantDecay([10], [0.1, 0.01]))["class_name"]
        'PiecewiseConstantDecay'
    """
    return {"class_name": type(schedule).__name__, "config": schedule.get_config()}


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> LearningRateSchedule:
    """The schedule of a dict from `serialize`.

    Args:
        config: {"class_name": ..., "config": ...}.
        custom_objects: schedules of one's own: class name -> class.

    Raises:
        ArgumentError: an unknown class, or arguments that it does not take.

    Example:
        >>> deserialize(serialize(ExponentialDecay(0.1, 10, 0.5)))(10)
        0.05
    """
    if not isinstance(config, Mapping) or not {"class_name", "config"} <= set(config):
        raise ArgumentError(
            f"a learning-rate schedule is saved as a class_name and a config, got {config!r}."
        )
    table = {**_SCHEDULES, **(custom_objects or {})}
    schedule: Any = lookup(config["class_name"], table, "learning-rate schedule")
    try:
        made: LearningRateSchedule = schedule.from_config(config["config"])
    except TypeError as error:
        raise ArgumentError(
            f"the config of {config['class_name']} does not fit: {error}."
        ) from None
    return made


_SCHEDULES: dict[str, type[LearningRateSchedule]] = {
    schedule.__name__: schedule
    for schedule in (
        CosineDecay,
        CosineDecayRestarts,
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
    )
}


def _half_cosine(share: float, alpha: float) -> float:
    """From 1 at share 0 down to alpha at share 1."""
    return (1.0 - alpha) * 0.5 * (1.0 + math.cos(math.pi * share)) + alpha
