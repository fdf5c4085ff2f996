"""Normalization of channels: batch norm, group norm and instance norm.

Sums are products with a vector of ones; vectors of channels are repeated to whole blocks, so that
a ufunc sees arrays of one shape.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.backend.cpu.activations import add_column_sum
from gpunet.backend.cpu.blocks import BLOCK, ONE, ZERO, ones, repeated, row_blocks
from gpunet.backend.spec import Array


def channel_moments(
    mean: Array,
    variance: Array,
    moving_mean: Array | None,
    moving_variance: Array | None,
    x: Array,
    *,
    momentum: float = 0.99,
) -> None:
    """Mean and variance of each channel over the rows of each segment."""
    segments, rows, _ = x.shape
    if rows == 0:
        mean[...] = variance[...] = 0.0
    elif _fit_together(x):
        for x_, mean_, variance_ in row_blocks(x, mean, variance):
            np.divide(_row_sums(x_), rows, out=mean_)
            centered = np.subtract(x_, mean_[:, None])
            np.divide(_row_sums(np.square(centered, out=centered)), rows, out=variance_)
    else:
        for segment in range(segments):
            _moments_of_segment(mean[segment], variance[segment], x[segment])
    for moving, moments in ((moving_mean, mean), (moving_variance, variance)):
        if moving is not None:
            np.multiply(moving, momentum, out=moving)
            np.add(moving, (1.0 - momentum) * moments[0], out=moving)


def _moments_of_segment(mean: Array, variance: Array, x: Array) -> None:
    """Sums around the mean of the first block, so that x is read once and little cancels."""
    rows = len(x)
    first = x[: max(1, BLOCK // x.shape[1])]
    shift = _row_sums(first) / len(first)
    shifts = repeated(shift, rows)
    mean[...] = variance[...] = 0.0
    for (x_,) in row_blocks(x):
        centered = np.subtract(x_, shifts[: len(x_)])
        mean += _row_sums(centered)
        variance += _row_sums(np.square(centered, out=centered))
    np.divide(mean, rows, out=mean)
    np.divide(variance, rows, out=variance)
    variance -= np.square(mean)
    np.maximum(variance, ZERO, out=variance)
    mean += shift


def group_moments(mean: Array, variance: Array, *, groups: int) -> None:
    """Replace each channel's mean and variance by those of all numbers of its group."""
    size = mean.shape[1] // groups
    means, variances = (a.reshape(len(a), groups, size) for a in (mean, variance))
    of_group = means.mean(axis=2, keepdims=True)
    variances += np.square(means - of_group)
    variances[...] = variances.mean(axis=2, keepdims=True)
    means[...] = of_group


def channel_norm(
    y: Array,
    x: Array,
    mean: Array,
    variance: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    epsilon: float,
) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""
    scale = _scale(variance, gamma, epsilon)
    shift = None if beta is None else np.broadcast_to(beta, mean.shape)
    for _, (y_, x_), (mean_, scale_, shift_) in _pieces((y, x), (mean, scale, shift)):
        np.subtract(x_, mean_, out=y_)
        np.multiply(y_, scale_, out=y_)
        if beta is not None:
            np.add(y_, shift_, out=y_)


def _scale(variance: Array, gamma: Array | None, epsilon: float) -> Array:
    """gamma / sqrt(variance + epsilon), (segments, channels)."""
    root = np.sqrt(variance + epsilon)
    scale: Array = np.divide(ONE if gamma is None else gamma, root, out=root)
    return scale


def channel_norm_sums(
    sums: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float,
    accumulate: bool = False,
) -> None:
    """Sums of dy and of dy * (x - mean) / sqrt(variance + epsilon) over rows."""
    sums[...] = 0.0
    for where, (dy_, x_), (mean_,) in _pieces((dy, x), (mean,)):
        products = np.subtract(x_, mean_)
        np.multiply(products, dy_, out=products)
        sums[0, where] += _row_sums(dy_)
        sums[1, where] += _row_sums(products)
    np.multiply(sums[1], _scale(variance, None, epsilon), out=sums[1])
    for total, parts in ((dbeta, sums[0]), (dgamma, sums[1])):
        if total is not None:
            add_column_sum(total, parts, accumulate)


def group_sums(sums: Array, gamma: Array | None, *, groups: int) -> None:
    """sums = mean over the channels of a group of gamma * sums, for all channels of the group."""
    if gamma is not None:
        np.multiply(sums, gamma, out=sums)
    of_group = sums.reshape(*sums.shape[:2], groups, sums.shape[2] // groups)
    of_group[...] = of_group.mean(axis=3, keepdims=True)


def channel_norm_backward(
    dx: Array,
    dy: Array,
    x: Array | None,
    mean: Array | None,
    variance: Array,
    gamma: Array | None,
    sums: Array | None,
    *,
    epsilon: float,
    grouped: bool = False,
) -> None:
    """dx = (gamma * dy - (s + v * t) / rows) / sqrt(variance + epsilon), the gradient of x.

    It is linear in dy and x: dx = scale * dy - slope * (x - mean) - offset.
    """
    scale = _scale(variance, gamma, epsilon)
    if x is None or mean is None or sums is None:
        for _, (dx_, dy_), (scale_,) in _pieces((dx, dy), (scale,)):
            np.multiply(dy_, scale_, out=dx_)
        return
    rstd = _scale(variance, None, epsilon)
    offset, slope = sums * ((rstd if grouped else scale) / max(dx.shape[1], 1))
    np.multiply(slope, rstd, out=slope)
    vectors = (mean, scale, slope, offset)
    # Half a block: together these six take less of the cache than three arrays of a whole one.
    pieces = _pieces((dx, dy, x), vectors, BLOCK // 2)
    for _, (dx_, dy_, x_), (mean_, scale_, slope_, offset_) in pieces:
        v = np.subtract(x_, mean_)
        np.multiply(v, slope_, out=v)
        np.add(v, offset_, out=v)
        np.multiply(dy_, scale_, out=dx_)
        np.subtract(dx_, v, out=dx_)


def _fit_together(x: Array) -> bool:
    """Whether several segments, (segments, rows, channels), fit one block."""
    return len(x) > 1 and x[0].size <= BLOCK // 2


def _pieces(
    arrays: tuple[Array, ...], vectors: tuple[Array | None, ...], size: int = BLOCK
) -> Iterator[tuple[slice | int, Sequence[Array], Sequence[Any]]]:
    """Blocks of arrays (segments, rows, channels) with vectors (segments, channels) beside them.

    Either whole segments with vectors (segments, 1, channels), or rows (rows, channels) of one
    segment with vectors repeated to that shape. Comes with the numbers of the segments.
    """
    first = arrays[0]
    if _fit_together(first):
        segments = BLOCK // max(first[0].size, 1)
        for start in range(0, len(first), segments):
            where = slice(start, start + segments)
            own = [None if v is None else v[where, None] for v in vectors]
            yield where, [a[where] for a in arrays], own
        return
    for segment, rows in enumerate(first):
        copies = [None if v is None else repeated(v[segment], len(rows), size) for v in vectors]
        for block in row_blocks(*[a[segment] for a in arrays], size=size):
            own = [None if c is None else c[: len(block[0])] for c in copies]
            yield segment, block, own


def _row_sums(x: Array) -> Array:
    """The sums over rows: (channels,) of (rows, channels), (segments, channels) of three axes."""
    rows = ones(x.shape[-2], x)
    sums: Array = np.dot(rows, x) if x.ndim == 2 else np.matmul(rows, x)
    return sums
