"""Which random numbers a layer draws in training: those of its call, or those of a seed."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import is_integer, shown
from gpunet.errors import ArgumentError
from gpunet.layers.context import Context

_SEEDED = 2**32  # lanes from here on belong to seeds; below they are numbers of nodes


def check_seed(who: str, seed: Any) -> int | None:
    """A layer's seed: None or an integer.

    Raises:
        ArgumentError: something else.
    """
    if seed is None:
        return None
    if not is_integer(seed) or not 0 <= seed < _SEEDED:
        raise ArgumentError(
            f"{who} takes None or an integer from 0 to 2**32 - 1 for seed, got {shown(seed)}."
        )
    return int(seed)


def lane_of(c: Context, seed: int | None) -> int:
    """The lane of the counter that a call draws from: with a seed that of all with the same one."""
    return c.node if seed is None else _SEEDED + seed
