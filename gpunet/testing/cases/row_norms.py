"""Op cases: normalization of rows. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.spec import ROW_NORMS
from gpunet.testing.op_checks import SHAPES, Array, Case, Gradient, Maker, Values, given


def row_statistics(x: Array, norm: str, epsilon: float) -> tuple[Array, Array]:
    """What layer_norm subtracts for its variance, and what it multiplies by."""
    columns = x.shape[1]
    mean = x.mean(axis=1) if norm in ("layer", "variance") else np.zeros(len(x))
    squares = ((x - mean[:, None]) ** 2).sum(axis=1)
    if norm == "unit":
        return mean, 1.0 / np.maximum(np.sqrt(squares), epsilon)
    return mean, 1.0 / np.sqrt(squares / columns + epsilon)


def layer_norm(
    x: Array, norm: str, epsilon: float, gamma: Array | float = 1.0, beta: Array | float = 0.0
) -> Values:
    """Each row minus its mean, divided by its standard deviation."""
    mean, rstd = row_statistics(x, norm, epsilon)
    shifted = x - mean[:, None] if norm == "layer" else x
    return {"y": shifted * rstd[:, None] * gamma + beta, "mean": mean, "rstd": rstd}


def layer_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    norm: str,
    epsilon: float,
    gamma: Array | float = 1.0,
) -> Values:
    """The chain rule through mean and variance."""
    columns = x.shape[1]
    v = (x - mean[:, None]) * rstd[:, None]
    w = v if norm == "layer" else x * rstd[:, None]
    g = dy * gamma
    b = (g * w).sum(axis=1, keepdims=True)
    b = np.where(rstd[:, None] < 1.0 / epsilon, b, 0.0) if norm == "unit" else b / columns
    a = g.mean(axis=1, keepdims=True) if norm == "layer" else 0.0
    return {
        "dx": rstd[:, None] * (g - a - v * b),
        "dgamma": (dy * w).sum(axis=0),
        "dbeta": dy.sum(axis=0),
    }


def spectral_scale(
    kernel: Array, vector: Array, direction: Array, reciprocal: Array, epsilon: float
) -> Values:
    """A kernel of zeros stays."""
    if reciprocal[0] >= 1.0 / epsilon:
        return {"kernel": kernel, "vector": vector}
    return {"kernel": kernel * reciprocal, "vector": direction}


# ---------------------------------------------------------------------------------- the rows

EPSILON = 1e-3
NORMS: tuple[Values, ...] = tuple({"norm": norm, "epsilon": EPSILON} for norm in ROW_NORMS)
ROWS = (*SHAPES, (7, 8), (130, 12), (40, 64), (5, 132), (9, 512), (3, 2052), (3, 33000))
"""Rows for 1, 2, 4, ... lanes and for a block, in packs and not, in shared memory and not."""


def far_from_zero(*shape: int) -> Maker:
    """Normal random numbers around 100, where sums of squares would cancel."""
    text = f"far{'x'.join(map(str, shape))}"
    return Maker(text, lambda random: random.standard_normal(shape) + 100.0)


def tiny(*shape: int) -> Maker:
    """Normal random numbers, but every other row close to 0 and the first 0."""

    def make(random: np.random.Generator) -> np.ndarray[Any, Any]:
        values = random.standard_normal(shape)
        values[::2] *= 0.01
        values[0] = 0.0
        return values

    return Maker(f"tiny{'x'.join(map(str, shape))}", make)


def rows_with(flags: Values, x: Any, shape: tuple[int, int]) -> Values:
    """A call of layer_norm_backward with the statistics that layer_norm saves."""
    made: Maker = (
        x
        if isinstance(x, Maker)
        else Maker("x".join(map(str, shape)), lambda random: random.standard_normal(shape))
    )
    norm, epsilon = flags["norm"], flags["epsilon"]

    def statistic(number: int, name: str) -> Maker:
        # The same generator as that of x, which `Case.arrays` draws from in the order of the
        # contract, would have moved on: so x is made of a seed of its own.
        def make(random: np.random.Generator) -> np.ndarray[Any, Any]:
            values = made.make(np.random.default_rng(0))
            return row_statistics(values, norm, epsilon)[number]

        return Maker(name, make)

    fixed = Maker(made.label, lambda random: made.make(np.random.default_rng(0)))
    return {
        "dy": shape,
        "x": fixed,
        "mean": statistic(0, "mean"),
        "rstd": statistic(1, "rstd"),
        **flags,
    }


_GRADIENTS = (
    Gradient(
        "layer_norm_backward",
        "y",
        {"dx": "x", "dgamma": "gamma", "dbeta": "beta"},
        {"dy": "dy", "x": "x", "mean": "mean", "rstd": "rstd", "gamma": "gamma"},
    ),
)

CASES = (
    Case(
        "layer_norm",
        layer_norm,
        (
            *({"x": s, "gamma": (s[1],), "beta": (s[1],), **NORMS[0]} for s in ROWS),
            *({"x": (33, 31), "gamma": (31,), "beta": (31,), **flags} for flags in NORMS[1:]),
            *({"x": s, **flags} for s in ((4, 36), (2, 9000)) for flags in NORMS),
            {"x": (4, 36), "gamma": (36,), **NORMS[0]},
            {"x": far_from_zero(5, 1023), **NORMS[0]},
            {"x": far_from_zero(3, 12000), **NORMS[0]},
            {"x": tiny(5, 12), "norm": "unit", "epsilon": 0.5},
        ),
        _GRADIENTS,
        float32=2e-5,
    ),
    Case(
        "layer_norm_backward",
        layer_norm_backward,
        (
            *({**rows_with(NORMS[0], None, s), "gamma": (s[1],)} for s in ROWS),
            *({**rows_with(flags, None, (33, 31)), "gamma": (31,)} for flags in NORMS[1:]),
            *({**rows_with(flags, None, (600, 40)), "dbeta": None} for flags in NORMS),
            {**rows_with(NORMS[0], None, (3, 1028)), "dgamma": None, "dbeta": None},
            {**rows_with(NORMS[0], None, (2, 40000)), "dgamma": None, "gamma": (40000,)},
            rows_with({"norm": "unit", "epsilon": 0.5}, tiny(5, 12), (5, 12)),
        ),
        float32=1e-4,
    ),
    Case(
        "spectral_scale",
        spectral_scale,
        tuple(
            {
                "kernel": shape,
                "vector": (shape[-1],),
                "direction": (shape[-1],),
                "reciprocal": given([value], label=f"{value}"),
                "epsilon": 1e-7,
            }
            for shape in ((3, 5), (3, 3, 4, 8), (700, 33))
            for value in (0.25, 1e7)
        ),
    ),
)
