"""Op cases: normalization of channels. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.cases.row_norms import EPSILON, far_from_zero
from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values, given, uniform


def channel_moments(
    x: Array,
    momentum: float = 0.99,
    moving_mean: Array | None = None,
    moving_variance: Array | None = None,
    mask: Array | None = None,
) -> Values:
    """Keras' formulas; without a mask NumPy's own mean and var."""
    if mask is not None:
        count = mask.sum(axis=1) + 1e-7
        there = mask[:, :, None] == 1
        mean = np.where(there, x, 0.0).sum(axis=1) / count[:, None]
        squares = np.where(there, (x - mean[:, None]) ** 2, 0.0)
        variance = squares.sum(axis=1) / count[:, None]
    else:
        empty = x.shape[1] == 0
        mean = np.zeros((len(x), x.shape[2])) if empty else x.mean(axis=1)
        variance = mean if empty else x.var(axis=1)
        count = np.full(len(x), x.shape[1])
    values = {"mean": mean, "variance": variance, "count": count}
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
    mask: Array | None = None,
    count: Array | None = None,
) -> Values:
    """The chain rule, with or without the paths through mean and variance."""
    rstd = 1.0 / np.sqrt(variance[:, None] + epsilon)
    dx = dy * gamma * rstd
    if sums is not None and x is not None and mean is not None:
        s, t = (sums if grouped else sums * gamma)[:, :, None]
        v = (x - mean[:, None]) * rstd
        if mask is None or count is None:
            dx = dx - rstd * (s + v * t) / max(x.shape[1], 1)
        else:  # the sum of (x - mean) is not 0, but 1e-7 * mean
            divisor = count[:, None, None]
            through = rstd * (s + (v - 1e-7 * mean[:, None] * rstd / divisor) * t) / divisor
            dx = dx - np.where(mask[:, :, None] == 1, through, 0.0)
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


HIDDEN = ("some", "first", "last", "all", "others")


def rows_there(segments: int, rows: int, hidden: str) -> Array:
    """A mask: some, the first, the last, all or all other rows than one are hidden."""
    if hidden == "some":
        there = np.random.default_rng(0).integers(0, 2, (segments, rows))
    else:
        row, half = np.arange(rows), rows // 2
        is_there = {"first": row >= half, "last": row < half, "all": row < 0, "others": row == half}
        there = np.tile(is_there[hidden], (segments, 1))
    return there.astype(np.uint8)


def masked(shape: tuple[int, int, int], hidden: str, x: Maker | None = None) -> Values:
    """x and a mask of its rows; what is hidden is NaN, as it must not matter."""
    mask = rows_there(*shape[:2], hidden)

    def make(random: np.random.Generator) -> Array:
        values = random.standard_normal(shape) if x is None else x.make(random)
        return np.where(mask[:, :, None] == 1, values, np.nan)

    label = "x".join(map(str, shape)) if x is None else x.label
    return {"x": Maker(label, make), "mask": given(mask, "uint8", f"{hidden}_hidden")}


def masked_backward(shape: tuple[int, int, int], hidden: str) -> Values:
    """The arguments of channel_norm_backward, with a mask."""
    segments, _, channels = shape
    arrays = masked(shape, hidden)
    count = rows_there(*shape[:2], hidden).sum(axis=1) + 1e-7
    sums = (2, segments, channels)
    more = {"count": given(count, label=""), "dy": shape, "gamma": (channels,), "sums": sums}
    return channels_of(shape, **arrays, **more)


CASES = (
    Case(
        "channel_moments",
        channel_moments,
        (
            *({"x": s, "moving_mean": (s[2],), "moving_variance": (s[2],)} for s in SEGMENTS[:7]),
            *({"x": s, "moving_mean": None, "moving_variance": None} for s in SEGMENTS[7:]),
            {"x": (1, 33, 31), "moving_mean": (31,), "moving_variance": (31,), "momentum": 0.5},
            {"x": far_from_zero(1, 3000, 12), "moving_mean": None, "moving_variance": None},
            {"x": (2, 9, 8), "count": None, "moving_mean": None, "moving_variance": None},
            *(
                {**masked(s, hidden), "moving_mean": (s[2],), "moving_variance": (s[2],)}
                for s, hidden in zip(SEGMENTS, HIDDEN * 3, strict=False)
            ),
            *(
                {**masked(s, hidden), "moving_mean": None, "moving_variance": None}
                for s in ((1, 33, 31), (3, 700, 16))
                for hidden in HIDDEN
            ),
            {
                **masked((1, 3000, 12), "first", far_from_zero(1, 3000, 12)),
                "moving_mean": None,
                "moving_variance": None,
            },
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
            *(masked_backward(s, hidden) for s, hidden in zip(SEGMENTS, HIDDEN * 3, strict=False)),
            *(masked_backward((3, 700, 16), hidden) for hidden in HIDDEN),
            masked_backward((2, 33, 31), "some") | {"grouped": True, "gamma": None},
        ),
        float32=2e-5,
    ),
)
