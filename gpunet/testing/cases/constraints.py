"""Op cases: constraints. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Values


def norm_constraint(
    weights: Array, min_value: float, max_value: float, rate: float = 1.0
) -> Values:
    """As Keras' MinMaxNorm."""
    norms = np.sqrt((weights**2).sum(axis=1, keepdims=True))
    wanted = rate * np.clip(norms, min_value, max_value) + (1 - rate) * norms
    return {"weights": weights * wanted / (1e-7 + norms)}


# ---------------------------------------------------------------------------------- the rows

_SHAPES = ((1, 1, 1), (1, 33, 31), (1, 700, 12), (5, 1023, 1), (3, 7, 100), (2, 0, 4), (1, 3, 3300))
_BOUNDS = (
    {"min_value": 0.0, "max_value": 2.0},
    {"min_value": 1.0, "max_value": 1.0},
    {"min_value": 4.0, "max_value": 6.0, "rate": 0.25},
)

CASES = (
    Case(
        "norm_constraint",
        norm_constraint,
        tuple({"weights": shape, **bounds} for shape in _SHAPES for bounds in _BOUNDS),
    ),
)
