"""Normalization of channels: batch norm, group norm and instance norm.

Sums are products with a vector of ones; vectors of channels are repeated to whole blocks, so that
a ufunc sees arrays of one shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from gpunet.backend.cpu.activations import add_column_sum
from gpunet.backend.cpu.blocks import (
    BLOCK,
    ONE,
    ZERO,
    block_rows,
    block_scratch,
    each_block,
    ones,
    repeated,
    sum_blocks,
)
from gpunet.backend.spec import COUNT_EPSILON, Array

SAMPLE = 128
"""Of so many rows a first mean is taken."""


def channel_moments(
    mean: Array,
    variance: Array,
    count: Array | None,
    moving_mean: Array | None,
    moving_variance: Array | None,
    x: Array,
    mask: Array | None,
    *,
    momentum: float = 0.99,
) -> None:
    """Mean and variance of each channel over the rows of each segment."""
    segments, rows, _ = x.shape
    if mask is not None and count is not None:
        for segment in range(segments):
            of_segment = mean[segment], variance[segment], x[segment], mask[segment]
            count[segment] = _masked_moments(*of_segment)
    elif rows == 0:
        mean[...] = variance[...] = 0.0
    elif _fit_together(x):
        each_block(_moments_of_segments, x, mean, variance)
    else:
        for segment in range(segments):
            _moments_of_segment(mean[segment], variance[segment], x[segment])
    if mask is None and count is not None:
        count.fill(rows)
    for moving, moments in ((moving_mean, mean), (moving_variance, variance)):
        if moving is not None:
            np.multiply(moving, momentum, out=moving)
            np.add(moving, (1.0 - momentum) * moments[0], out=moving)


def _moments_of_segments(number: int, x: Array, mean: Array, variance: Array) -> None:
    """The moments of a block of whole segments."""
    rows = x.shape[1]
    np.divide(_row_sums(x), rows, out=mean)
    centered = np.subtract(x, mean[:, None], out=block_scratch(x.shape, x.dtype))
    np.divide(_row_sums(np.square(centered, out=centered)), rows, out=variance)


def _moments_of_segment(mean: Array, variance: Array, x: Array) -> None:
    """Sums around the mean of some rows, so that x is read once and little cancels."""
    rows = len(x)
    shift = x[:: -(-rows // SAMPLE)].mean(axis=0)
    shifts = repeated(shift, x[: block_rows(x)], 1)

    def of_block(sum_: Array, square_: Array, x_: Array) -> None:
        centered = np.subtract(x_, shifts[: len(x_)], out=block_scratch(x_.shape, x_.dtype))
        _row_sums(centered, sum_)
        _row_sums(np.square(centered, out=centered), square_)

    sum_blocks(of_block, (mean, variance), x)
    np.divide(mean, rows, out=mean)
    np.divide(variance, rows, out=variance)
    variance -= np.square(mean)
    np.maximum(variance, ZERO, out=variance)
    mean += shift


def _masked_moments(mean: Array, variance: Array, x: Array, mask: Array) -> float:
    """Sums around the first row that is there, of the rows that are; by what they are divided."""
    rows = np.count_nonzero(mask)
    count = rows + COUNT_EPSILON
    shift = x[mask.argmax()].copy() if rows else np.zeros_like(mean)
    shifts = repeated(shift, x[: block_rows(x)], 1)

    def of_block(sum_: Array, square_: Array, x_: Array, mask_: Array) -> None:
        centered = np.subtract(x_, shifts[: len(x_)], out=block_scratch(x_.shape, x_.dtype))
        centered[mask_ == 0] = 0.0  # 0 times NaN would stay
        _row_sums(centered, sum_)
        _row_sums(np.square(centered, out=centered), square_)

    sum_blocks(of_block, (mean, variance), x, mask)
    step = mean / count - shift * (COUNT_EPSILON / count)  # from the shift to the mean
    variance -= step * (2.0 * mean - rows * step)
    np.divide(variance, count, out=variance)
    np.maximum(variance, ZERO, out=variance)
    np.add(shift, step, out=mean)
    return count


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

    def of_block(y_: Array, x_: Array, mean_: Array, scale_: Array, shift_: Array | None) -> None:
        np.subtract(x_, mean_, out=y_)
        np.multiply(y_, scale_, out=y_)
        if shift_ is not None:
            np.add(y_, shift_, out=y_)

    _each_piece(of_block, (y, x), (mean, scale, shift))


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

    def of_block(s: Array, t: Array, dy_: Array, x_: Array, mean_: Array) -> None:
        products = np.subtract(x_, mean_, out=block_scratch(x_.shape, x_.dtype))
        np.multiply(products, dy_, out=products)
        _row_sums(dy_, s)
        _row_sums(products, t)

    _each_piece(of_block, (dy, x), (mean,), (sums[0], sums[1]))
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
    mask: Array | None,
    mean: Array | None,
    variance: Array,
    count: Array | None,
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
        _each_piece(lambda dx_, dy_, scale_: np.multiply(dy_, scale_, out=dx_), (dx, dy), (scale,))
        return
    rstd = _scale(variance, None, epsilon)
    divisor = max(dx.shape[1], 1) if mask is None or count is None else count[:, None]
    offset, slope = sums * ((rstd if grouped else scale) / divisor)
    np.multiply(slope, rstd, out=slope)

    def of_block(dx_: Array, dy_: Array, x_: Array, *others: Array) -> None:
        mean_, scale_, slope_, offset_ = others[-4:]
        v = np.subtract(x_, mean_, out=block_scratch(x_.shape, x_.dtype))
        np.multiply(v, slope_, out=v)
        np.add(v, offset_, out=v)
        for mask_ in others[:-4]:  # (..., rows), if there is one
            v[mask_ == 0] = 0.0
        np.multiply(dy_, scale_, out=dx_)
        np.subtract(dx_, v, out=dx_)

    arrays = [dx, dy, x]
    if mask is not None:
        arrays.append(mask)
        mean = mean * (1.0 + COUNT_EPSILON / divisor)
    _each_piece(of_block, arrays, (mean, scale, slope, offset))


def _fit_together(x: Array) -> bool:
    """Whether several segments, (segments, rows, channels), fit one block."""
    return len(x) > 1 and x[0].size <= BLOCK // 2


def _each_piece(
    work: Callable[..., object],
    arrays: Sequence[Array],
    vectors: Sequence[Array | None],
    sums: Sequence[Array] = (),
) -> None:
    """Call work(*sums, *blocks, *vectors) for all blocks of arrays (segments, rows, channels).

    A block is either whole segments, with vectors (segments, 1, channels); or rows (rows, channels)
    of one segment, with vectors repeated to that shape.

    Args:
        work: writes the sums over the rows of a block into arrays without the axis of rows.
        arrays: what blocks are cut from.
        vectors: (segments, channels), or None.
        sums: (segments, channels), the sums over all rows of each segment.
    """
    if _fit_together(arrays[0]):
        columns = [None if v is None else v[:, None] for v in vectors]
        each_block(lambda number, *blocks: work(*blocks), *sums, *arrays, *columns)
        return
    for segment in range(len(arrays[0])):
        of_segment = [array[segment] for array in arrays]
        first = of_segment[0][: block_rows(of_segment[0])]
        copies = [
            None if v is None else repeated(v[segment], first, number)
            for number, v in enumerate(vectors, start=1)
        ]
        totals = [total[segment] for total in sums]
        _each_rows(work, totals, of_segment, copies)


def _each_rows(
    work: Callable[..., object],
    totals: Sequence[Array],
    arrays: Sequence[Array],
    copies: Sequence[Array | None],
) -> None:
    """`_each_piece` of one segment, with vectors in the shape of a block."""

    def of_block(*sums_and_blocks: Array) -> None:
        rows = len(sums_and_blocks[-1])
        work(*sums_and_blocks, *[None if copy is None else copy[:rows] for copy in copies])

    sum_blocks(of_block, totals, *arrays)


def _row_sums(x: Array, out: Array | None = None) -> Array:
    """The sums over rows: (channels,) of (rows, channels), (segments, channels) of three axes."""
    rows = ones(x.shape[-2], x)
    sums: Array = np.dot(rows, x, out) if x.ndim == 2 else np.matmul(rows, x, out=out)
    return sums
