"""Convolutions: slabs of patches, a matrix product each, and what follows it in the cache.

The patches of a slab of outputs are copied into a matrix that stays in the cache; it times the
kernel is the slab. A transposed convolution is, for each residue of its outputs modulo the strides,
a convolution with those elements of the kernel that reach them: no sums are scattered. Where each
group has one channel, whole rows are multiplied and added instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from gpunet.backend.cpu.depthwise import add_row_products, multiply_rows
from gpunet.backend.cpu.epilogue import Epilogue, finish, matrix_of, repeated
from gpunet.backend.cpu.threads import add_sums, each_slab
from gpunet.backend.cpu.windows import (
    Axis,
    Slab,
    axes_of,
    counts_of,
    region,
    region_size,
    split,
    windows,
)
from gpunet.backend.cpu.winograd import (
    convolve_winograd,
    fits_winograd,
    winograd_kernel_gradient,
)
from gpunet.backend.spec import Array

PATCHES = 256 * 1024
"""Elements of scratch for a slab: 1 MiB of float32 stays in the L2 cache, and is enough for matrix
products to run at full speed."""
FEW_CHANNELS = 8
"""With fewer, patches are copied a row of one element of the window at a time, as such a row is
longer than what neighbouring elements of a window have in common."""


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
) -> None:
    """y = activation(x * kernel + bias)."""
    axes = axes_of(kernel.shape, strides, padding, dilation)
    epilogue = (bias, activation, parameters)
    _convolve(y, x, kernel.reshape(-1, y.shape[4]), axes, groups, epilogue, scratch)


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
) -> None:
    """y = activation(x *^T kernel + bias)."""
    epilogue = (bias, activation, parameters)
    along = zip(y.shape[1:4], kernel.shape, strides, dilation, padding, strict=False)
    for phases in product(*(_phases(*axis) for axis in along)):
        places, taps, axes = zip(*phases, strict=True)
        turned, rest = _turned(kernel[taps], groups, scratch)
        _convolve(y[(slice(None), *places)], x, turned, axes, groups, epilogue, rest)


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
) -> None:
    """dkernel[w] = sum of x[i] dy[o] over batch and outputs."""
    axes = axes_of(dkernel.shape, strides, padding, dilation)
    total = dkernel.reshape(-1, dkernel.shape[4])
    if not accumulate:
        total.fill(0.0)
    if groups > 1 and dkernel.shape[3] == 1:
        add_row_products(total, x, dy, axes, scratch)
        return
    if fits_winograd(dy, x, axes, groups):
        winograd_kernel_gradient(total, x, dy, axes, scratch)
        return
    cost = _cost(dy, x, len(total), axes)

    def add_products(share: list[Slab], scratch: Array) -> None:
        sums, scratch = split(scratch, *total.shape)
        part, scratch = split(scratch, len(total), total.shape[1] // groups)
        sums.fill(0.0)
        for slab in share:
            dy_ = dy[slab].reshape(-1, dy.shape[4])
            inputs, rest = region(x, slab, dy.shape[3], axes, scratch)
            views = windows(inputs, counts_of(slab), dy.shape[3], axes)
            for channels, filters in _groups(x.shape[4], dy.shape[4], groups):
                patches = _patches(views[..., channels], rest)  # (positions, taps * channels)
                np.matmul(patches.T, dy_[:, filters], out=part)
                np.add(sums[:, filters], part, out=sums[:, filters])

    reserved = 2 * total.size
    shares = each_slab(add_products, dy.shape, cost, PATCHES, scratch, reserved)
    add_sums(total, shares)


def _convolve(
    y: Array,
    x: Array,
    matrix: Array,
    axes: Sequence[Axis],
    groups: int,
    epilogue: Epilogue,
    scratch: Array,
) -> None:
    """y[o] = epilogue(sum over t of x[first + o * stride + t * step] matrix[t]).

    Args:
        y: (batch, depth, height, width, outputs), maybe every second element or so of an array.
        x: (batch, depth, height, width, inputs).
        matrix: (taps * inputs / groups, outputs).
        axes: how the elements of y and x belong together.
        groups: how many groups of inputs each meet their group of outputs.
        epilogue: what is done to complete outputs.
        scratch: memory to work in.
    """
    if groups > 1 and (x.shape[4] == groups or y.shape[4] == groups):
        multiply_rows(y, x, matrix, axes, groups, epilogue, scratch)
        return
    if fits_winograd(y, x, axes, groups):
        convolve_winograd(y, x, matrix, axes, epilogue, scratch)
        return
    width, filters = y.shape[3:]
    epilogue, scratch = repeated(epilogue, width, scratch)
    cost = _cost(y, x, len(matrix), axes)

    def multiply(share: list[Slab], scratch: Array) -> None:
        for slab in share:
            y_ = y[slab]
            result, rest = matrix_of(y_, scratch)  # (positions, outputs)
            inputs, rest = region(x, slab, width, axes, rest)
            views = windows(inputs, counts_of(slab), width, axes)
            for channels, of_group in _groups(x.shape[4], filters, groups):
                patches = _patches(views[..., channels], rest)  # (positions, taps * channels)
                np.matmul(patches, matrix[:, of_group], out=result[:, of_group])
            finish(result, epilogue)
            if not y_.flags.c_contiguous:
                np.copyto(y_, result.reshape(y_.shape))

    each_slab(multiply, y.shape, cost, PATCHES, scratch)


def _cost(y: Array, x: Array, patch: int, axes: Sequence[Axis]) -> Callable[[int, int, int], int]:
    """The elements of scratch that so many images, planes and rows of y need."""

    def cost(*counts: int) -> int:
        positions = prod(counts) * y.shape[3]
        size = region_size(counts, y.shape[3], axes, x.shape[4])
        return int(positions * (patch + y.shape[4]) + size)

    return cost


def _patches(views: Array, scratch: Array) -> Array:
    """Windows (images, planes, rows, width, *taps, channels) as (positions, taps * channels)."""
    positions, patch = prod(views.shape[:4]), prod(views.shape[4:])
    if views.flags.c_contiguous:
        return views.reshape(positions, patch)
    if views.shape[7] < FEW_CHANNELS:
        by_tap, _ = split(scratch, *views.shape[4:], *views.shape[:4])
        np.copyto(by_tap, views.transpose(4, 5, 6, 7, 0, 1, 2, 3))
        return by_tap.reshape(patch, positions).T
    copied, _ = split(scratch, *views.shape)
    np.copyto(copied, views)
    return copied.reshape(positions, patch)


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


def _turned(kernel: Array, groups: int, scratch: Array) -> tuple[Array, Array]:
    """A kernel with channels and filters of each group exchanged, (taps * filters, channels), and
    the rest of the scratch memory."""  # noqa: D205, D209
    *taps, channels, filters = kernel.shape
    turned, rest = split(scratch, *taps, filters // groups, groups, channels)
    by_group = kernel.reshape(*taps, channels, groups, filters // groups)
    np.copyto(turned, by_group.transpose(0, 1, 2, 5, 4, 3))
    return turned.reshape(prod(taps) * (filters // groups), groups * channels), rest
