"""Op cases: losses of how well two masks overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.cases.losses import own_gradient
from gpunet.testing.op_checks import Array, Case, Maker, Values, given, uniform


def tversky(
    x: Array,
    labels: Array,
    scale: float,
    alpha: float,
    beta: float,
    epsilon: float,
    totals: Array,
    sample_weight: Array | None = None,
) -> Values:
    """1 - I / D over the middle axis."""
    weight = np.ones((x.shape[0], x.shape[2])) if sample_weight is None else sample_weight
    both = (x * labels).sum(axis=1)
    less, more = ((1 - x) * labels).sum(axis=1), (x * (1 - labels)).sum(axis=1)
    divisor = both + alpha * less + beta * more + epsilon
    loss = weight * (1 - both / divisor)
    d_divisor = labels - alpha * labels + beta * (1 - labels)
    slope = (labels * divisor[:, None] - both[:, None] * d_divisor) / divisor[:, None] ** 2
    return {
        "dx": -scale * weight[:, None] * slope,
        "loss": loss,
        "totals": totals + x.size * np.array([scale * loss.sum(), 1.0]),
    }


def _mask(*shape: int) -> Maker:
    return Maker("m" + "x".join(map(str, shape)), lambda r: r.integers(0, 2, shape).astype(float))


def _call(*shape: int, **more: Any) -> Values:
    """Dice's coefficient on a mask of this shape."""
    return {
        "x": uniform(*shape),
        "labels": _mask(*shape),
        "scale": 0.5,
        "alpha": 0.5,
        "beta": 0.5,
        "epsilon": 5e-8,
        "totals": given([3.0, 4.0], label="totals"),
    } | more


CASES = (
    Case(
        "tversky",
        tversky,
        (
            _call(1, 1, 1),
            _call(1, 33, 1),
            _call(0, 3, 1),
            _call(1, 40_003, 1),  # blocks share the group; more than one block of the cpu backend
            _call(3, 5001, 2),
            _call(1023, 7, 1),
            _call(37, 1025, 1),
            _call(5, 31, 3),
            _call(4, 9, 2, alpha=0.3, beta=0.8, epsilon=1e-7, sample_weight=uniform(4, 2)),
            _call(1, 5001, 2, alpha=0.3, beta=0.8, sample_weight=uniform(1, 2)),
            _call(4, 9, 1, dx=None),
            _call(1, 9001, 1, dx=None),
        ),
        own_gradient("tversky"),
    ),
)
