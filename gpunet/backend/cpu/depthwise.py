"""Convolutions whose groups have one channel on one side: rows of an image times rows of weights.

The weights of one element of the window, one a channel, are repeated along a row of the image, so
that each ufunc's inner loop is a whole row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from gpunet.backend.cpu.blocks import ones
from gpunet.backend.cpu.epilogue import Epilogue, finish, matrix_of, repeated
from gpunet.backend.cpu.windows import (
    Axis,
    Slab,
    counts_of,
    region,
    region_size,
    slabs,
    split,
    windows,
)
from gpunet.backend.spec import Array

ROWS = 48 * 1024
"""Elements of scratch for a slab."""


def multiply_rows(
    y: Array,
    x: Array,
    matrix: Array,
    axes: Sequence[Axis],
    groups: int,
    epilogue: Epilogue,
    scratch: Array,
) -> None:
    """y = epilogue(sum over t of x[first + o * stride + t * step] matrix[t]), group by group.

    A group has one input and ``many`` outputs, or the reverse. The arguments are those of
    `_convolve`; matrix is (taps * inputs of a group, outputs).
    """
    width, channels = y.shape[3:]
    many = (x.shape[4] // groups, channels // groups)  # inputs and outputs of a group
    epilogue, scratch = repeated(epilogue, width, scratch)
    rows, scratch = split(scratch, len(matrix), width, channels)
    rows[:] = matrix[:, None, :]
    rows = rows.reshape(len(matrix), width, groups, many[1])

    def cost(*counts: int) -> int:
        size = region_size(counts, width, axes, x.shape[4])
        return int(2 * prod(counts) * width * channels + size)

    for slab in slabs(y.shape, cost, min(ROWS, scratch.size)):
        y_ = y[slab]
        result, rest = matrix_of(y_, scratch)
        inputs, rest = region(x, slab, width, axes, rest)
        total = result.reshape(*y_.shape[:4], groups, many[1])
        product, _ = split(rest, *total.shape)
        target = total
        for x_, weights in zip(_inputs(inputs, slab, width, axes, many[0]), rows, strict=True):
            np.multiply(x_, weights, out=target)
            if target is product:
                np.add(total, product, out=total)
            target = product
        if target is total:
            total.fill(0.0)  # no element of the kernel reaches these outputs
        finish(result, epilogue)
        if not y_.flags.c_contiguous:
            np.copyto(y_, result.reshape(y_.shape))


def add_row_products(
    total: Array, x: Array, dy: Array, axes: Sequence[Axis], scratch: Array
) -> None:
    """total[t] (taps, filters) += the sum of x[first + o * stride + t * step] dy[o] over all o."""
    width, filters = dy.shape[3:]

    def cost(*counts: int) -> int:
        size = region_size(counts, width, axes, x.shape[4])
        return int(prod(counts) * width * filters + size)

    for slab in slabs(dy.shape, cost, min(ROWS, scratch.size)):
        dy_ = dy[slab].reshape(*dy[slab].shape[:4], x.shape[4], -1)
        inputs, rest = region(x, slab, width, axes, scratch)
        product, _ = split(rest, *dy_.shape)
        one = ones(product.size // filters, product)
        for x_, row in zip(_inputs(inputs, slab, width, axes, 1), total, strict=True):
            np.multiply(x_, dy_, out=product)
            np.add(row, np.dot(one, product.reshape(-1, filters)), out=row)


def _inputs(
    inputs: Array, slab: Slab, width: int, axes: Sequence[Axis], many: int
) -> Iterator[Array]:
    """Each input of a group at each element of the window: (images, planes, rows, width, groups, 1)
    in the order of the matrix' rows."""  # noqa: D205, D209
    views = windows(inputs, counts_of(slab), width, axes)
    for place in np.ndindex(*views.shape[4:7]):
        at_place = views[(slice(None),) * 4 + place]
        by_group = at_place.reshape(*at_place.shape[:4], -1, many)
        for member in range(many):
            yield by_group[..., member, None]
