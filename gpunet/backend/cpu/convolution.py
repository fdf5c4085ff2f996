"""Convolutions: slabs of patches, a matrix product each, and what follows it in the cache.

The patches of a slab of outputs are copied into a matrix that stays in the cache; it times the
kernel is the slab. A transposed convolution is, for each residue of its outputs modulo the strides,
a convolution with those elements of the kernel that reach them: no sums are scattered. Where each
group has one channel, whole rows are multiplied and added instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from math import prod

import numpy as np

from gpunet.backend.cpu.depthwise import row_products, sum_row_products
from gpunet.backend.cpu.epilogue import Epilogue, bind_finish, bind_result, repeated
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.cpu.slabs import Slab, SumTask, Task, bind_slabs, bind_sum, counts_of
from gpunet.backend.cpu.windows import (
    Axis,
    axes_of,
    bind_region,
    region_size,
    split,
    windows,
)
from gpunet.backend.cpu.winograd import (
    fits_winograd,
    sum_winograd,
    winograd,
)
from gpunet.backend.spec import Array

PATCHES = 256 * 1024
"""Elements of scratch for a slab: 1 MiB of float32 stays in the L2 cache, and is enough for matrix
products to run at full speed."""
FEW_CHANNELS = 8
"""With fewer, patches are copied a row of one element of the window at a time, as such a row is
longer than what neighbouring elements of a window have in common."""


@prepared
def convolution(
    y: Array,
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    scratch: Array = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
) -> Call:
    """y = activation(x * kernel + bias)."""
    axes = axes_of(kernel.shape, strides, padding, dilation)
    matrix, epilogue = kernel.reshape(-1, y.shape[4]), Epilogue(bias, activation, parameters)
    epilogue, scratch, repeat = repeated(epilogue, scratch)
    task, scratch = _convolution(y, x, matrix, axes, groups, epilogue, scratch)
    return bind_slabs([task], scratch, repeat)


@prepared
def transposed_convolution(
    y: Array,
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    scratch: Array = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
) -> Call:
    """y = activation(x *^T kernel + bias)."""
    epilogue, tasks = Epilogue(bias, activation, parameters), []
    epilogue, scratch, repeat = repeated(epilogue, scratch)
    along = zip(y.shape[1:4], kernel.shape, strides, dilation, padding, strict=False)
    for phases in product(*(_phases(*axis) for axis in along)):
        places, taps, axes = zip(*phases, strict=True)
        turned, scratch, turn = _turned(kernel[taps], groups, scratch)
        seen = y[(slice(None), *places)]
        task, scratch = _convolution(seen, x, turned, axes, groups, epilogue, scratch)
        tasks += [task._replace(before=_both(turn, task.before))]
    return bind_slabs(tasks, scratch, repeat)


def _both(first: Call, then: Call | None) -> Call:
    def run() -> None:
        first()
        if then is not None:
            then()

    return run


@prepared
def convolution_kernel_gradient(
    dkernel: Array,
    x: Array,
    dy: Array,
    scratch: Array = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    accumulate: bool = False,
) -> Call:
    """dkernel[w] = sum of x[i] dy[o] over batch and outputs."""
    axes = axes_of(dkernel.shape, strides, padding, dilation)
    total = dkernel.reshape(-1, dkernel.shape[4])

    def store(result: Array) -> None:
        if accumulate:
            np.add(total, result, out=total)
        else:
            np.copyto(total, result)

    if groups > 1 and dkernel.shape[3] == 1:
        return sum_row_products(store, x, dy, axes, scratch)
    if fits_winograd(dy, x, axes, groups):
        return sum_winograd(store, x, dy, axes, scratch)

    def multiply(part: Array, slab: Slab, scratch: Array) -> Call:
        dy_ = dy[slab].reshape(-1, dy.shape[4])
        inputs, rest, copy_inputs = bind_region(x, slab, dy.shape[3], axes, scratch)
        views = windows(inputs, counts_of(slab), dy.shape[3], axes)
        of_groups = [
            (*_patches(views[..., channels], rest), dy_[:, filters], part[:, filters])
            for channels, filters in _groups(x.shape[4], dy.shape[4], groups)
        ]

        def run() -> None:
            copy_inputs()
            for patches, copy_patches, gradients, sums in of_groups:
                copy_patches()
                np.matmul(patches.T, gradients, out=sums)

        return run

    cost = _cost(dy, x, len(total), axes)
    task = SumTask(dy.shape, cost, PATCHES, multiply, lambda sums, _: partial(store, sums))
    return bind_sum(total.shape, task, scratch)


def _convolution(
    y: Array,
    x: Array,
    matrix: Array,
    axes: Sequence[Axis],
    groups: int,
    epilogue: Epilogue,
    scratch: Array,
) -> tuple[Task, Array]:
    """y[o] = epilogue(sum over t of x[first + o * stride + t * step] matrix[t]).

    Args:
        y: (batch, depth, height, width, outputs), maybe every second element or so of an array.
        x: (batch, depth, height, width, inputs).
        matrix: (taps * inputs / groups, outputs).
        axes: how the elements of y and x belong together.
        groups: how many groups of inputs each meet their group of outputs.
        epilogue: what is done to complete outputs.
        scratch: memory to work in.

    Returns:
        What does this, and the memory that is left for its slabs.
    """
    if groups > 1 and (x.shape[4] == groups or y.shape[4] == groups):
        return row_products(y, x, matrix, axes, groups, epilogue, scratch)
    if fits_winograd(y, x, axes, groups):
        return winograd(y, x, matrix, axes, epilogue, scratch)
    width, filters = y.shape[3:]

    def multiply(slab: Slab, scratch: Array) -> Call:
        result, rest, copy_result = bind_result(y[slab], scratch)  # (positions, outputs)
        inputs, rest, copy_inputs = bind_region(x, slab, width, axes, rest)
        views = windows(inputs, counts_of(slab), width, axes)
        finish = bind_finish(result, epilogue)
        of_groups = [
            (*_patches(views[..., channels], rest), matrix[:, of_group], result[:, of_group])
            for channels, of_group in _groups(x.shape[4], filters, groups)
        ]

        def run() -> None:
            copy_inputs()
            for patches, copy_patches, weights, outputs in of_groups:
                copy_patches()
                np.matmul(patches, weights, out=outputs)
            finish()
            copy_result()

        return run

    cost = _cost(y, x, len(matrix), axes)
    return Task(y.shape, cost, PATCHES, multiply), scratch


def _cost(y: Array, x: Array, patch: int, axes: Sequence[Axis]) -> Callable[[int, int, int], int]:
    """The elements of scratch that so many images, planes and rows of y need."""

    def cost(*counts: int) -> int:
        positions = prod(counts) * y.shape[3]
        size = region_size(counts, y.shape[3], axes, x.shape[4])
        return int(positions * (patch + y.shape[4]) + size)

    return cost


def _patches(views: Array, scratch: Array) -> tuple[Array, Call]:
    """Windows (images, planes, rows, width, *taps, channels) as (positions, taps * channels), and
    the call that copies them there."""  # noqa: D205, D209
    positions, patch = prod(views.shape[:4]), prod(views.shape[4:])
    if views.flags.c_contiguous:
        return views.reshape(positions, patch), lambda: None
    if views.shape[7] < FEW_CHANNELS:
        by_tap, _ = split(scratch, *views.shape[4:], *views.shape[:4])
        turned = views.transpose(4, 5, 6, 7, 0, 1, 2, 3)
        return by_tap.reshape(patch, positions).T, lambda: np.copyto(by_tap, turned)
    copied, _ = split(scratch, *views.shape)
    return copied.reshape(positions, patch), lambda: np.copyto(copied, views)


def _groups(channels: int, filters: int, groups: int) -> Iterator[tuple[slice, slice]]:
    """Which channels and filters belong to each group."""
    inputs, outputs = channels // groups, filters // groups
    for group in range(groups):
        yield (
            slice(group * inputs, (group + 1) * inputs),
            slice(group * outputs, (group + 1) * outputs),
        )


def _phases(
    size: int, taps: int, stride: int, dilation: int, padding: int
) -> Iterator[tuple[slice, slice, Axis]]:
    """One axis of a transposed convolution as convolutions, one for each residue of its outputs.

    The output at residue + j * stride sees input j + (residue + padding - t * dilation) / stride
    through each element t of the kernel for which that is an integer.

    Yields:
        These outputs, the elements t of the kernel, the last first, and the convolution's axis.
    """
    for residue in range(min(stride, size)):
        reach = residue + padding
        seen = [t for t in reversed(range(taps)) if (reach - t * dilation) % stride == 0]
        last = seen[0] if seen else 0
        apart = last - seen[1] if len(seen) > 1 else taps
        axis = Axis((reach - last * dilation) // stride, 1, apart * dilation // stride, len(seen))
        backwards = slice(last, None, -apart) if seen else slice(0, 0)
        yield slice(residue, None, stride), backwards, axis


def _turned(kernel: Array, groups: int, scratch: Array) -> tuple[Array, Array, Call]:
    """A kernel with channels and filters of each group exchanged, (taps * filters, channels), the
    rest of the scratch memory, and the call that copies it there."""  # noqa: D205, D209
    *taps, channels, filters = kernel.shape
    turned, rest = split(scratch, *taps, filters // groups, groups, channels)
    by_group = kernel.reshape(*taps, channels, groups, filters // groups)
    exchanged = by_group.transpose(0, 1, 2, 5, 4, 3)
    matrix = turned.reshape(prod(taps) * (filters // groups), groups * channels)
    return matrix, rest, lambda: np.copyto(turned, exchanged)
