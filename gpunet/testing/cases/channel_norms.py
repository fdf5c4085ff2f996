"""Op cases: normalization of channels. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.cases.row_norms import EPSILON, far_from_zero
from gpunet.testing.op_checks import Array, Case, Gradient, Values, uniform


def channel_moments(
    x: Array,
    momentum: float = 0.99,
    moving_mean: Array | None = None,
    moving_variance: Array | None = None,
) -> Values:
    """NumPy's own mean and var."""
    empty = x.shape[1] == 0
    mean = np.zeros((len(x), x.shape[2])) if empty else x.mean(axis=1)
    variance = mean if empty else x.var(axis=1)
    values = {"mean": mean, "variance": variance}
    for name, before, now in (
        ("moving_mean", moving_mean, mean),
        ("moving_variance", moving_variance, variance),
    ):
        if before is not None:
            values[name] = momentum * before + (1.0 - momentum) * now[0]
    return values


def group_moments(mean: Array, variance: Array, groups: int) -> Values:
    """Of a mixture of equal parts."""
    size = mean.shape[1] // groups
    means, variances = (a.reshape(len(a), groups, size) for a in (mean, variance))
    squares = (variances + means**2).mean(axis=2) - means.mean(axis=2) ** 2
    return {
        "mean": np.repeat(means.mean(axis=2), size, axis=1),
        "variance": np.repeat(squares, size, axis=1),
    }


def channel_norm(
    x: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    gamma: Array | float = 1.0,
    beta: Array | float = 0.0,
) -> Values:
    """Each channel minus its mean, divided by its standard deviation."""
    v = (x - mean[:, None]) / np.sqrt(variance[:, None] + epsilon)
    return {"y": v * gamma + beta}


def channel_norm_sums(dy: Array, x: Array, mean: Array, variance: Array, epsilon: float) -> Values:
    """Sums over rows, and over segments."""
    v = (x - mean[:, None]) / np.sqrt(variance[:, None] + epsilon)
    sums = np.stack([dy.sum(axis=1), (dy * v).sum(axis=1)])
    return {"sums": sums, "dbeta": sums[0].sum(axis=0), "dgamma": sums[1].sum(axis=0)}


def group_sums(sums: Array, groups: int, gamma: Array | float = 1.0) -> Values:
    """The mean over each group, for each of its channels."""
    size = sums.shape[2] // groups
    weighted = (sums * gamma).reshape(*sums.shape[:2], groups, size)
    means = np.repeat(weighted.mean(axis=3), size, axis=2)
    return {"sums": means}


def channel_norm_backward(
    dy: Array,
    variance: Array,
    epsilon: float,
    x: Array | None = None,
    mean: Array | None = None,
    gamma: Array | float = 1.0,
    sums: Array | None = None,
    grouped: bool = False,
) -> Values:
    """The chain rule, with or without the paths through mean and variance."""
    rstd = 1.0 / np.sqrt(variance[:, None] + epsilon)
    dx = dy * gamma * rstd
    if sums is not None and x is not None and mean is not None:
        s, t = (sums if grouped else sums * gamma)[:, :, None]
        v = (x - mean[:, None]) * rstd
        dx = dx - rstd * (s + v * t) / max(x.shape[1], 1)
    return {"dx": dx}


# ---------------------------------------------------------------------------------- the rows

SEGMENTS = (
    (1, 1, 1),
    (1, 33, 31),
    (1, 300, 3),
    (1, 7, 1023),
    (1, 0, 5),
    (1, 3000, 12),
    (1, 2050, 64),
    (3, 5, 8),
    (5, 1, 7),
    (2, 900, 20),
    (70, 9, 33),
)
GROUPED = (((2, 6), 3), ((1, 6), 6), ((3, 130), 2), ((5, 64), 1), ((0, 4), 2))


def channels_of(shape: tuple[int, int, int], **more: Any) -> Values:
    """A call with x, and mean and variance that fit it."""
    segments, _, channels = shape
    return {
        "x": shape,
        "mean": (segments, channels),
        "variance": uniform(segments, channels),
        "epsilon": EPSILON,
        **more,
    }


CASES = (
    Case(
        "channel_moments",
        channel_moments,
        (
            *({"x": s, "moving_mean": (s[2],), "moving_variance": (s[2],)} for s in SEGMENTS[:7]),
            *({"x": s, "moving_mean": None, "moving_variance": None} for s in SEGMENTS[7:]),
            {"x": (1, 33, 31), "moving_mean": (31,), "moving_variance": (31,), "momentum": 0.5},
            {"x": far_from_zero(1, 3000, 12), "moving_mean": None, "moving_variance": None},
        ),
        float32=3e-5,
    ),
    Case(
        "group_moments",
        group_moments,
        tuple({"mean": s, "variance": uniform(*s), "groups": groups} for s, groups in GROUPED),
    ),
    Case(
        "channel_norm",
        channel_norm,
        (
            *(channels_of(s, gamma=(s[2],), beta=(s[2],)) for s in SEGMENTS),
            channels_of((1, 33, 31)),
            channels_of((2, 33, 31), gamma=(31,)),
        ),
        (
            Gradient(
                "channel_norm_backward",
                "y",
                {"dx": "x"},
                {"dy": "dy", "variance": "variance", "gamma": "gamma"},
            ),
            Gradient(
                "channel_norm_sums",
                "y",
                {"dgamma": "gamma", "dbeta": "beta"},
                {"dy": "dy", "x": "x", "mean": "mean", "variance": "variance"},
            ),
        ),
        float32=2e-5,
    ),
    Case(
        "channel_norm_sums",
        channel_norm_sums,
        (
            *(channels_of(s, dy=s) for s in SEGMENTS),
            channels_of((1, 900, 12), dy=(1, 900, 12), dgamma=None),
            channels_of((4, 33, 31), dy=(4, 33, 31), dgamma=None, dbeta=None),
        ),
        float32=1e-4,
    ),
    Case(
        "group_sums",
        group_sums,
        (
            *({"sums": (2, *s), "gamma": (s[1],), "groups": groups} for s, groups in GROUPED),
            {"sums": (2, 3, 12), "groups": 4},
        ),
    ),
    Case(
        "channel_norm_backward",
        channel_norm_backward,
        (
            *(channels_of(s, dy=s, gamma=(s[2],), sums=(2, s[0], s[2])) for s in SEGMENTS),
            channels_of((2, 33, 31), dy=(2, 33, 31), sums=(2, 2, 31), grouped=True),
            channels_of((2, 33, 31), dy=(2, 33, 31), x=None, mean=None),
            channels_of((1, 600, 40), dy=(1, 600, 40), x=None, mean=None, gamma=(40,)),
        ),
        float32=2e-5,
    ),
)
