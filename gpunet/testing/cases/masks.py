"""Op cases: masks. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import SHAPES, Array, Case, Gradient, Values, given, integers


def row_mask(x: Array, value: float = 0.0) -> Values:
    """Rows in which something differs from the value."""
    return {"mask": (x != value).any(axis=1)}


def either_mask(a: Array, b: Array) -> Values:
    """Where one of both is 1."""
    return {"y": np.maximum(a, b)}


def both_mask(a: Array, b: Array) -> Values:
    """Where both are 1."""
    return {"y": np.minimum(a, b)}


def masked_rows(x: Array, mask: Array) -> Values:
    """Nothing in rows that are not there."""
    return {"y": np.where(mask[:, None] == 1, x, 0.0)}


def mask_shares(mask: Array) -> Values:
    """Equal weights for what is there."""
    count = mask.astype(float).sum(axis=1, keepdims=True)
    return {"shares": mask / np.where(count == 0, 1.0, count)}


# ---------------------------------------------------------------------------------- the rows


def _bits(*shape: int) -> object:
    return integers(*shape, high=2, dtype="uint8")


CASES = (
    Case(
        "row_mask",
        row_mask,
        (
            *({"x": integers(*shape, high=3)} for shape in ((40, 1), (33, 2), (7, 300), (0, 3))),
            {"x": integers(9, 2, low=-2, high=1), "value": -1.0},
            {"x": given([[0.0, 0.0], [0.0, np.nan], [0.5, 0.0], [0.0, -0.0]], label="numbers")},
            {"x": given(np.repeat([[0.5], [1.0], [0.5]], 1500, axis=1)), "value": 0.5},
        ),
    ),
    Case(
        "either_mask",
        either_mask,
        tuple({"a": _bits(*shape), "b": _bits(*shape)} for shape in ((5, 7), (0, 3), (3000,))),
    ),
    Case(
        "both_mask",
        both_mask,
        tuple({"a": _bits(*shape), "b": _bits(*shape)} for shape in ((5, 7), (0, 3), (3000,))),
    ),
    Case(
        "masked_rows",
        masked_rows,
        tuple({"x": shape, "mask": _bits(shape[0])} for shape in SHAPES),
        (Gradient("masked_rows", "y", {"y": "x"}, {"x": "dy", "mask": "mask"}),),
    ),
    Case(
        "mask_shares",
        mask_shares,
        (
            *({"mask": _bits(*shape)} for shape in SHAPES),
            {"mask": given([[0, 0, 0], [1, 0, 1]], "uint8", "nothing")},
        ),
    ),
)
