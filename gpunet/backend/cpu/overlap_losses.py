"""Losses of how well two masks overlap: sums over each group, then the gradient, in pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.spec import Array


def tversky(
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    beta: float,
    epsilon: float,
) -> None:
    """loss = 1 - I / D, I = sum(x y), D = I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + epsilon.

    dx = (I / D (beta + (1 - alpha - beta) y) - y) / D.
    """
    if not x.size:
        return
    outer, reduced, inner = x.shape
    several = max(1, BLOCK // (reduced * inner))  # whole groups at a time, if they fit a block
    total = 0.0
    for start in range(0, outer, several):
        groups = slice(start, start + several)
        both, of_x, of_y = _sums(x[groups], labels[groups])  # float64: (groups, inner)
        divisor = both + alpha * (of_y - both) + beta * (of_x - both) + epsilon
        share = both / divisor
        weight = 1.0 if sample_weight is None else sample_weight[groups]
        loss[groups] = weight * (1.0 - share)
        total += loss[groups].sum(dtype=np.float64)
        if dx is not None:
            factor = scale * weight / divisor
            constant = (factor * share * beta).astype(x.dtype)[:, None]
            of_label = (factor * (share * (1.0 - alpha - beta) - 1.0)).astype(x.dtype)[:, None]
            for piece in _pieces(x[groups].shape):
                d = dx[groups][:, piece]
                np.multiply(labels[groups][:, piece], of_label, out=d)
                np.add(d, constant, out=d)
    totals[0] += total * (scale * x.size)
    totals[1] += x.size


def _sums(x: Array, y: Array) -> tuple[Array, Array, Array]:
    """sum(x y), sum(x) and sum(y) of each group, in float64."""
    sums = np.zeros((3, x.shape[0], x.shape[2]))
    for piece in _pieces(x.shape):
        x_, y_ = x[:, piece], y[:, piece]
        sums[0] += (x_ * y_).sum(axis=1, dtype=np.float64)
        sums[1] += x_.sum(axis=1, dtype=np.float64)
        sums[2] += y_.sum(axis=1, dtype=np.float64)
    return sums[0], sums[1], sums[2]


def _pieces(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of the reduced axis, each of at most a block of elements if that is possible."""
    outer, reduced, inner = shape
    length = max(1, BLOCK // (outer * inner))
    return (slice(start, start + length) for start in range(0, reduced, length))
