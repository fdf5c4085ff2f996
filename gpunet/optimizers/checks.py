"""Which hyper-parameters make sense, and what is said of those that do not."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.errors import ArgumentError

if TYPE_CHECKING:
    from gpunet.optimizers.base import Optimizer


@dataclass(frozen=True)
class Range:
    """The numbers from low to high that a hyper-parameter may be.

    Attributes:
        text: the range in words, for messages.
        low: the lower bound.
        high: the upper bound.
        closed: which of the bounds belong to it: "low", "both" or "none".
    """

    text: str
    low: float
    high: float
    closed: str = "low"

    def __contains__(self, value: float) -> bool:
        above = value > self.low or (value == self.low and self.closed != "none")
        return above and (value < self.high or (value == self.high and self.closed == "both"))

    def check(self, owner: object, name: str, value: Any, alternatives: str = "") -> None:
        """Raise an ArgumentError if this is no number of the range."""
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or float(value) not in self:
            raise ArgumentError(
                f"{type(owner).__name__} takes a number {self.text}{alternatives} for {name}, got "
                f"{value!r}."
            )


AT_LEAST_0 = Range("of at least 0", 0.0, inf)
ABOVE_0 = Range("above 0", 0.0, inf, closed="none")
BELOW_1 = Range("of at least 0 and below 1", 0.0, 1.0)
BETWEEN_0_AND_1 = Range("above 0 and below 1", 0.0, 1.0, closed="none")
FROM_0_TO_1 = Range("from 0 to 1", 0.0, 1.0, closed="both")


def check_names(kind: type[Optimizer], unknown: Mapping[str, Any]) -> None:
    """Raise an ArgumentError that suggests what a misspelt argument may have meant."""
    if not unknown:
        return
    name = next(iter(unknown))
    known = [
        parameter.name
        for base in kind.__mro__
        if "__init__" in vars(base) and base is not object
        for parameter in list(inspect.signature(base.__init__).parameters.values())[1:]  # type: ignore[misc]
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    known = list(dict.fromkeys(known))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}; " if close else ""
    raise ArgumentError(
        f"{kind.__name__} has no argument {name!r}: {hint}it takes {', '.join(known)}."
    )


def check_common(optimizer: Optimizer) -> None:
    """Raise an ArgumentError if an argument that all optimizers have makes no sense."""
    kind = type(optimizer).__name__
    given = [n for n in ("clipnorm", "clipvalue", "global_clipnorm") if _value(optimizer, n)]
    if len(given) > 1:
        raise ArgumentError(f"{kind} takes only one of {' and '.join(given)}, got both.")
    for name in given:
        ABOVE_0.check(optimizer, name, getattr(optimizer, name), " or None")
    if optimizer.weight_decay is not None:
        AT_LEAST_0.check(optimizer, "weight_decay", optimizer.weight_decay, " or None")
    FROM_0_TO_1.check(optimizer, "ema_momentum", optimizer.ema_momentum)
    if optimizer.loss_scale_factor is not None:
        raise ArgumentError(
            f"{kind} takes no loss_scale_factor, got {optimizer.loss_scale_factor!r}: gradients "
            "are float32 and need none; leave it out."
        )
    for name, least in (("ema_overwrite_frequency", 1), ("gradient_accumulation_steps", 2)):
        value = getattr(optimizer, name)
        if value is not None and (
            not isinstance(value, int | np.integer) or isinstance(value, bool) or value < least
        ):
            raise ArgumentError(
                f"{kind} takes an integer of at least {least} or None for {name}, got {value!r}."
            )


def _value(optimizer: Optimizer, name: str) -> bool:
    return getattr(optimizer, name) is not None
