"""Convolutions whose groups have one channel on one side: no products of matrices.

`numpy.einsum` multiplies and adds in one pass along what is contiguous in all of its arrays. Where
neighbouring outputs see neighbouring inputs, that is a whole row of the image, if the weights of
each element of the window are repeated along such a row: 64 images of 32x32x64 take 6 ms, not 14.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np

from gpunet.backend.cpu.epilogue import Epilogue, bind_finish, bind_result
from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.slabs import Cost, Slab, SumTask, Task, bind_sum, counts_of
from gpunet.backend.cpu.windows import Axis, bind_region, region_size, split, windows
from gpunet.backend.spec import Array

ROWS = 160 * 1024
"""Elements of scratch for a slab."""

# Images n, planes d, rows h; the window's i, j, k; a row's numbers x, or its width w, groups g, and
# inputs r and outputs q of a group.
_ROWS, _ROWS_BACK = "ndhijkx,ijkx->ndhx", "ndhijkx,ndhx->ijkx"
_GROUPS, _GROUPS_BACK = "ndhwijkgr,ijkrgq->ndhwgq", "ndhwijkgr,ndhwgq->ijkrgq"


def row_products(
    y: Array,
    x: Array,
    matrix: Array,
    axes: Sequence[Axis],
    groups: int,
    epilogue: Epilogue,
    scratch: Array,
) -> tuple[Task, Array]:
    """y = epilogue(sum over t of x[first + o * stride + t * step] matrix[t]), group by group.

    A group has one input or one output. The arguments are those of a convolution's task; matrix is
    (taps * inputs of a group, outputs).
    """
    width, channels = y.shape[3:]
    by_row = _has_rows(y, x, axes)
    before = None
    if by_row:
        rows, scratch = split(scratch, len(matrix), width, channels)
        before = partial(np.copyto, rows, matrix[:, None, :])
        weights = rows.reshape(*_taps(axes), width * channels)
    else:
        weights = matrix.reshape(*_taps(axes), -1, groups, channels // groups)

    def multiply(slab: Slab, scratch: Array) -> Call:
        y_ = y[slab]
        result, rest, copy_result = bind_result(y_, scratch)
        inputs, _, copy_inputs = bind_region(x, slab, width, axes, rest)
        finish = bind_finish(result, epilogue)
        if by_row:
            views, outputs = _rows(inputs, slab, width, axes), result.reshape(*y_.shape[:3], -1)
        else:
            views = _by_group(inputs, slab, width, axes, groups)
            outputs = result.reshape(*y_.shape[:4], groups, -1)

        def run() -> None:
            copy_inputs()
            np.einsum(_ROWS if by_row else _GROUPS, views, weights, out=outputs)
            finish()
            copy_result()

        return run

    return Task(y.shape, _cost(y, x, axes), ROWS, multiply, before), scratch


def sum_row_products(
    store: Callable[[Array], None], x: Array, dy: Array, axes: Sequence[Axis], scratch: Array
) -> Call:
    """The call that stores t (taps, filters): the sum of x[first + o * stride + t * step] dy[o]."""
    width, filters = dy.shape[3:]
    groups, taps = x.shape[4], _taps(axes)
    by_row = _has_rows(dy, x, axes)
    one = np.ones(width, dy.dtype)

    def multiply(part: Array, slab: Slab, scratch: Array) -> Call:
        dy_ = dy[slab]
        inputs, _, copy_inputs = bind_region(x, slab, width, axes, scratch)
        if by_row:
            views, outputs = _rows(inputs, slab, width, axes), part.reshape(*taps, -1)
            gradients = dy_.reshape(*dy_.shape[:3], -1)
        else:
            views = _by_group(inputs, slab, width, axes, groups)
            outputs = part.reshape(*taps, 1, groups, -1)
            gradients = dy_.reshape(*dy_.shape[:4], groups, -1)

        def run() -> None:
            copy_inputs()
            np.einsum(_ROWS_BACK if by_row else _GROUPS_BACK, views, gradients, out=outputs)

        return run

    def bind_store(rows: Array, scratch: Array) -> Call:
        total, _ = split(scratch, prod(taps), filters)

        def run() -> None:
            for sum_of_row, row in zip(total, rows, strict=True):
                np.dot(one[: len(row)], row, sum_of_row)
            store(total)

        return run

    shape = (prod(taps), width if by_row else 1, filters)
    task = SumTask(dy.shape, _cost(dy, x, axes), ROWS, multiply, bind_store)
    return bind_sum(shape, task, scratch)


def _has_rows(y: Array, x: Array, axes: Sequence[Axis]) -> bool:
    """Whether neighbours in a row of y see neighbours in x, channel by channel."""
    return y.shape[4] == x.shape[4] and axes[2].stride == 1


def _taps(axes: Sequence[Axis]) -> tuple[int, ...]:
    return tuple(axis.taps for axis in axes)


def _cost(y: Array, x: Array, axes: Sequence[Axis]) -> Cost:
    """The elements of scratch that so many images, planes and rows need."""

    def cost(*counts: int) -> int:
        outputs = prod(counts) * y.shape[3] * y.shape[4]
        return int(outputs + region_size(counts, y.shape[3], axes, x.shape[4]))

    return cost


def _rows(inputs: Array, slab: Slab, width: int, axes: Sequence[Axis]) -> Array:
    """(images, planes, rows, *taps, width * channels): what each element of the window sees."""
    batch, *along, channel = inputs.strides
    outer = [axis.stride * stride for axis, stride in zip(axes[:2], along[:2], strict=True)]
    inner = [axis.step * stride for axis, stride in zip(axes, along, strict=True)]
    shape = (*counts_of(slab), *_taps(axes), width * inputs.shape[4])
    strides = (batch, *outer, *inner, channel)
    return np.lib.stride_tricks.as_strided(inputs, shape, strides)


def _by_group(inputs: Array, slab: Slab, width: int, axes: Sequence[Axis], groups: int) -> Array:
    """(images, planes, rows, width, *taps, groups, inputs of a group)."""
    views = windows(inputs, counts_of(slab), width, axes)
    return views.reshape(*views.shape[:7], groups, -1)
