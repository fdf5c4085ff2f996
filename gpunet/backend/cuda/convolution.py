"""Convolutions: launches of kernels/convolution.cu."""

from __future__ import annotations

import functools
from math import prod
from typing import Any

import numpy as np

from gpunet.backend.cuda.activations import activation_args
from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.gemm import TILES
from gpunet.backend.cuda.grids import ceil_div, flat_grid, packed_width, sample_grid
from gpunet.backend.cuda.memory import fill
from gpunet.backend.spec import Array

_STRIP = 32  # filters of a block of depthwise_kernel_gradient
_STEP = 64  # the kernel gradient's sums are dealt in multiples of the deepest step of a tile
_LEAST_SHARE = 4 * _STEP


def convolution(
    device: Device,
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
    geometry = _geometry(x.shape, y.shape, kernel.shape, strides, dilation, padding, groups)
    args = (y, x, kernel, bias, *activation_args(activation, parameters), *geometry)
    if y.size == 0:
        return
    if groups > 1 and kernel.shape[3] == 1:
        _launch_depthwise(device, "depthwise_convolution", y, x, kernel, args)
        return
    tile = _tile(device, prod(y.shape[:4]), y.shape[4] // groups, groups)
    grid = (_tiles(prod(y.shape[:4]), y.shape[4] // groups, tile), groups)
    device.launch("convolution", f"convolution_tile{tile}", y, grid, (THREADS,), args)


def transposed_convolution(
    device: Device,
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
    geometry = _geometry(y.shape, x.shape, kernel.shape, strides, dilation, padding, groups)
    args = (y, x, kernel, bias, *activation_args(activation, parameters), *geometry)
    if y.size == 0:
        return
    if groups > 1 and kernel.shape[3] == 1:
        _launch_depthwise(device, "depthwise_transposed_convolution", y, x, kernel, args)
        return
    phases = prod(strides)
    sizes = (ceil_div(n, stride) for n, stride in zip(y.shape[1:4], strides, strict=True))
    rows, columns = len(y) * prod(sizes), y.shape[4] // groups
    tile = _tile(device, rows, columns, groups * phases)
    grid = (_tiles(rows, columns, tile), groups, phases)
    device.launch("convolution", f"transposed_convolution_tile{tile}", y, grid, (THREADS,), args)


def convolution_kernel_gradient(
    device: Device,
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
    geometry = _geometry(x.shape, dy.shape, dkernel.shape, strides, dilation, padding, groups)
    positions, filters = prod(dy.shape[:4]), dy.shape[4]
    if positions == 0:
        if not accumulate:
            fill(device, dkernel, value=0.0)
        return
    rows = prod(dkernel.shape[:4])
    block: tuple[int, ...]
    if groups > 1 and dkernel.shape[3] == 1:
        source, symbol = "depthwise", "depthwise_kernel_gradient"
        block = (_STRIP, THREADS // _STRIP)
        grid = (ceil_div(filters, _STRIP), rows)
    else:
        shares = min(scratch.size // dkernel.size, max(1, positions // _LEAST_SHARE))
        tile = _tile(device, rows, filters // groups, groups * shares)
        source, symbol = "convolution", f"convolution_kernel_gradient_tile{tile}"
        block = (THREADS,)
        grid = (_tiles(rows, filters // groups, tile), groups)
    count, length = _shares(device, positions, prod(grid), scratch.size // dkernel.size)
    adds = np.int32(accumulate)
    args = (dkernel, scratch, x, dy, adds, np.int32(length), *geometry)
    device.launch(source, symbol, dkernel, (*grid, count), block, args)
    if count > 1:
        sizes = (np.int64(dkernel.size), np.int32(count), adds)
        args = (dkernel, scratch, *sizes)
        flat = flat_grid(device, dkernel.size)
        device.launch("convolution", "convolution_sum_of_parts", dkernel, flat, (THREADS,), args)


@functools.lru_cache(maxsize=256)
def _geometry(
    fine: tuple[int, ...],
    coarse: tuple[int, ...],
    kernel: tuple[int, ...],
    *attributes: Any,
) -> tuple[np.int32, ...]:
    """The sizes and attributes in the order in which the kernels take them."""
    *triples, groups = attributes
    numbers = (*fine, *coarse[1:], *kernel[:3], *(n for triple in triples for n in triple), groups)
    return tuple(np.int32(number) for number in numbers)


def _launch_depthwise(
    device: Device, symbol: str, y: Array, x: Array, kernel: Array, args: tuple[Any, ...]
) -> None:
    same = x.shape[4] == y.shape[4]
    width = packed_width(y.shape[4], y, x, kernel) if same else 1
    grid = sample_grid(device, len(y), y.size // (len(y) * width))
    name = f"{symbol}_packed" if width > 1 else symbol
    device.launch("depthwise", name, y, grid, (THREADS,), args)


def _tile(device: Device, rows: int, columns: int, times: int) -> int:
    """The largest tile that still gives every multiprocessor a block and is not mostly empty."""
    for tile in TILES[:-1]:
        if _tiles(rows, columns, tile) * times >= device.multiprocessors and 2 * columns > tile:
            return tile
    return TILES[-1]


def _tiles(rows: int, columns: int, tile: int) -> int:
    return ceil_div(rows, tile) * ceil_div(columns, tile)


def _shares(device: Device, positions: int, blocks: int, most: int) -> tuple[int, int]:
    """To how many blocks a sum is dealt, and how many outputs each sums over."""
    wanted = min(ceil_div(2 * device.multiprocessors, blocks), positions // _LEAST_SHARE, most)
    length = ceil_div(ceil_div(positions, max(wanted, 1)), _STEP) * _STEP
    return ceil_div(positions, length), length
