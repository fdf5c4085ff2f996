"""exp of float32 as a few products and sums, which fit vector registers as a call does not.

What imports this keeps its machine code until its own file changes: after an edit here, delete
``__pycache__``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

LOWEST, HIGHEST = np.float32(-104.0), np.float32(89.0)  # beyond, exp(x) is 0 or infinite
LOG2_E = np.float32(1.4426950408889634)
LN_2, LN_2_REST = np.float32(0.693359375), np.float32(-2.12194440e-4)  # ln(2) in two parts
ROUND = np.float32(1.5 * 2**23)  # the sum of a small number and this has no fraction
ROUND_BITS = ROUND.view(np.int32)
ONE = np.float32(1.0)
# exp(r) = 1 + r + r^2 p(r) for |r| <= ln(2) / 2, p of degree 5 (the Cephes library, S. Moshier).
P0, P1, P2, P3, P4, P5 = (
    np.float32(value)
    for value in (
        1.9875691500e-4,
        1.3981999507e-3,
        8.3334519073e-3,
        4.1665795894e-2,
        1.6666665459e-1,
        5.0000001201e-1,
    )
)


def exponential(x: float) -> float:
    """exp(x) in the precision of x; in float32 within one unit in the last place."""
    return math.exp(x)


# Without "reassoc": then x + ROUND - ROUND would be x.
@overload(exponential, jit_options={"fastmath": {"contract"}})  # type: ignore[untyped-decorator]
def _exponential(x: Any) -> Callable[[Any], Any]:
    return _exp_of_float32 if x == types.float32 else _exp_of_float64


def _exp_of_float64(x: Any) -> Any:
    return math.exp(x)


def _exp_of_float32(x: Any) -> Any:
    """2^k exp(r), where x = k ln(2) + r; NaN stays NaN."""
    if x < LOWEST:
        x = LOWEST
    if x > HIGHEST:
        x = HIGHEST
    shifted = x * LOG2_E + ROUND
    n = shifted - ROUND
    r = (x - n * LN_2) - n * LN_2_REST
    p = ((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5
    p = p * (r * r) + r + ONE
    k = np.int32(np.float32(shifted).view(np.int32) - ROUND_BITS)
    half = k >> np.int32(1)  # 2^k in two factors: of the smallest and largest it is out of range
    first = np.int32((half + np.int32(127)) << np.int32(23)).view(np.float32)
    second = np.int32((k - half + np.int32(127)) << np.int32(23)).view(np.float32)
    return p * first * second
