"""Arguments as users pass them: what is accepted, and the one sentence that refuses the rest.

Each check returns the argument as a plain Python value, so that configs can be written as JSON.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError

LONGEST_SHOWN = 80


def is_integer(value: Any) -> bool:
    """Whether it is a whole number of Python or NumPy, and not True or False."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether it is a number of Python or NumPy, and not True or False."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


@dataclass(frozen=True)
class Range:
    """The numbers from low to high that an argument may be.

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

    def check(self, owner: object, name: str, value: Any, alternatives: str = "") -> float:
        """The number.

        Args:
            owner: whose argument it is, or what messages call that.
            name: the argument's name.
            value: what was passed.
            alternatives: what else would have been accepted, for the message: " or None".

        Raises:
            ArgumentError: it is no number of the range.
        """
        if not is_number(value) or float(value) not in self:
            raise ArgumentError(
                f"{_name_of(owner)} takes a number{self.text}{alternatives} for {name}, got "
                f"{shown(value)}."
            )
        return float(value)


FINITE = Range("", -inf, inf, closed="none")
AT_LEAST_0 = Range(" of at least 0", 0.0, inf)
ABOVE_0 = Range(" above 0", 0.0, inf, closed="none")
BELOW_1 = Range(" of at least 0 and below 1", 0.0, 1.0)
BETWEEN_0_AND_1 = Range(" above 0 and below 1", 0.0, 1.0, closed="none")
FROM_0_TO_1 = Range(" from 0 to 1", 0.0, 1.0, closed="both")


def check_count(owner: object, name: str, value: Any) -> int:
    """A positive integer.

    Raises:
        ArgumentError: it is none.
    """
    if not is_integer(value) or value < 1:
        raise ArgumentError(
            f"{_name_of(owner)} takes a positive integer for {name}, got {shown(value)}."
        )
    return int(value)


def check_flag(owner: object, name: str, value: Any) -> bool:
    """True or False.

    Raises:
        ArgumentError: it is neither.
    """
    if not isinstance(value, bool | np.bool_):
        raise ArgumentError(f"{_name_of(owner)} takes a bool for {name}, got {shown(value)}.")
    return bool(value)


def check_names(kind: type, unknown: Mapping[str, Any]) -> None:
    """Raise an ArgumentError that suggests what a misspelt argument of a class may have meant."""
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


def shown(value: Any) -> str:
    """How a message shows what was passed: an array, too, in part of a line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _name_of(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
