"""Op cases: embedding. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Values, given, integers


def embedding(table: Array, indices: Array) -> Values:
    """A row of the table for each number, NaN for those that it lacks."""
    inside = (indices >= 0) & (indices < len(table))
    y = np.full((len(indices), table.shape[1]), np.nan)
    y[inside] = table[indices[inside]]
    return {"y": y}


def embedding_backward(dtable: Array, dy: Array, indices: Array) -> Values:
    """Each row of dy added to the row of its number."""
    inside = (indices >= 0) & (indices < len(dtable))
    sums = np.zeros(dtable.shape)
    np.add.at(sums, indices[inside], dy[inside])
    return {"dtable": sums}


# ---------------------------------------------------------------------------------- the rows

_SIZES = ((7, 31, 33), (50, 64, 1), (3, 5, 1023), (2000, 3, 1025), (11, 128, 2500), (9, 8, 0))
_OUTSIDE = given([0, 3, -1, 4, 2**31 - 1, 1], "int32", "outside")

CASES = (
    Case(
        "embedding",
        embedding,
        (
            *({"table": (r, c), "indices": integers(n, high=r)} for r, c, n in _SIZES),
            {"table": (4, 1001), "indices": _OUTSIDE},  # too large for differences of NaN
        ),
        (
            Gradient(
                "embedding_backward",
                "y",
                {"dtable": "table"},
                {"dtable": "table", "dy": "dy", "indices": "indices"},
            ),
        ),
    ),
    Case(
        "embedding_backward",
        embedding_backward,
        (
            *(
                {"dtable": (r, c), "dy": (n, c), "indices": integers(n, high=r)}
                for r, c, n in _SIZES
            ),
            {"dtable": (4, 8), "dy": (6, 8), "indices": _OUTSIDE},
        ),
    ),
)
