"""Op cases: regularizers. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import SHAPES, Array, Case, Maker, Values, given


def weight_penalty(
    weights: Array,
    penalties: Array,
    count: int,
    gradients: Array | None = None,
    totals: Array | None = None,
) -> Values:
    """Weight by weight."""
    slopes, penalty = np.zeros_like(weights), 0.0
    for offset, size, l1, l2 in penalties:
        part = slice(int(offset), int(offset + size))
        w = weights[part]
        penalty += l1 * np.abs(w).sum() + l2 * (w**2).sum()
        slopes[part] = l1 * np.sign(w) + 2 * l2 * w
    values = {}
    if gradients is not None:
        values["gradients"] = gradients + slopes
    if totals is not None:
        values["totals"] = totals + np.array([count * penalty, 0])
    return values


def activity_penalty(
    x: Array, l1: float, l2: float, count: int, totals: Array | None = None
) -> Values:
    """Element by element."""
    values: Values = {"dx": l1 * np.sign(x) + 2 * l2 * x}
    if totals is not None:
        penalty = l1 * np.abs(x).sum() + l2 * (x**2).sum()
        values["totals"] = totals + np.array([count * penalty, 0])
    return values


def orthogonality_penalty(
    gram: Array,
    factor: float,
    count: int,
    slopes: Array | None = None,
    totals: Array | None = None,
) -> Values:
    """From the cosines of all pairs of vectors."""
    r = np.minimum(1 / np.sqrt(np.maximum(gram.diagonal(), 1e-300)), 1e12)
    off_diagonal = 1 - np.eye(len(gram))
    cosines = np.abs(gram) * np.outer(r, r) * off_diagonal
    factor /= max(len(gram) * (len(gram) - 1), 1)
    values: Values = {}
    if slopes is not None:
        own = np.where(r < 1e12, r**2 * cosines.sum(axis=1), 0)
        values["slopes"] = 2 * factor * (np.sign(gram) * np.outer(r, r) * off_diagonal)
        values["slopes"] -= 2 * factor * np.diag(own)
    if totals is not None:
        values["totals"] = totals + np.array([count * factor * cosines.sum(), 0])
    return values


# ---------------------------------------------------------------------------------- the rows

_TOTALS = given([3.0, 4.0], label="totals")


def _table(*rows: tuple[int, int, float, float]) -> Maker:
    return given(np.reshape(rows, (-1, 4)), label=f"{len(rows)}penalties")


_TABLES: tuple[tuple[int, Maker], ...] = (
    (70001, _table((0, 70001, 0.001, 0.002))),
    (7113, _table((0, 6400, 0.0, 0.01), (6464, 640, 0.01, 0.0), (7104, 9, 0.1, 0.2))),
    (300, _table((128, 10, 0.5, 1.0))),
    (64, _table()),
)


def _gram(vectors: int, length: int, zeros: int = 0) -> Maker:
    """The products of random vectors, the first ``zeros`` of which are 0."""

    def make(random: np.random.Generator) -> Array:
        w = random.standard_normal((vectors, length))
        w[:zeros] = 0
        return np.asarray(w @ w.T)

    return Maker(f"{vectors}vectors" + (f"_{zeros}zero" if zeros else ""), make)


CASES = (
    Case(
        "orthogonality_penalty",
        orthogonality_penalty,
        tuple(
            {"gram": gram, "factor": 0.5, "count": 3, **options}
            for gram in (
                *(_gram(n, 7) for n in (1, 2, 33, 64, 300)),
                _gram(20, 5, zeros=2),
                _gram(260, 300),
            )
            for options in (
                {"totals": _TOTALS},
                {"totals": None},
                {"slopes": None, "totals": _TOTALS},
            )
        ),
    ),
    Case(
        "weight_penalty",
        weight_penalty,
        tuple(
            {"weights": (n,), "penalties": table, "count": 3, **options}
            for n, table in _TABLES
            for options in (
                {"gradients": (n,), "totals": _TOTALS},
                {"gradients": (n,), "totals": None},
                {"gradients": None, "totals": _TOTALS},
            )
        ),
    ),
    Case(
        "activity_penalty",
        activity_penalty,
        tuple(
            {"x": shape, "count": 5, **options}
            for shape in (*SHAPES, (7, 3, 5), (300,), (3, 33000))
            for options in (
                {"l1": 0.01, "l2": 0.02, "totals": _TOTALS},
                {"l1": 0.0, "l2": 0.01, "totals": _TOTALS, "dx": None},
                {"l1": 0.1, "l2": 0.0, "totals": None},
            )
        ),
    ),
)
