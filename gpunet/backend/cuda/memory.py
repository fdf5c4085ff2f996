"""Filling, copying, adding, scaling, and mini-batches: launches of kernels/memory.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, pack_of, packed_width, rectangle
from gpunet.backend.spec import Array
from gpunet.errors import DtypeError

# The suffixes of kernels that there are for each number type. bool has the values of uint8.
_NUMBERS = {
    name: name
    for name in (
        *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
        *("float16", "bfloat16", "float32", "float64"),
    )
} | {"bool": "uint8"}


def fill(device: Device, y: Array, *, value: float) -> None:
    """y = value."""
    size = _itemsize("fill", y)
    bits = np.array(value).astype(y.dtype).view(f"u{size}")[()]
    _launch_flat(device, f"fill_bytes{size}", None, (y,), bits)


def copy(device: Device, y: Array, x: Array) -> None:
    """y = x, both of one dtype."""
    _launch_flat(device, f"copy_bytes{_itemsize('copy', y)}", None, (y, x))


def add(device: Device, y: Array, a: Array, b: Array) -> None:
    """y = a + b."""
    _launch_flat(device, "add", y, (y, a, b))


def scale_shift(device: Device, y: Array, x: Array, *, scale: float, offset: float) -> None:
    """y = scale * x + offset, where x may be of any number type."""
    symbol = f"scale_shift_{_suffix('scale_shift', x)}"
    _launch_flat(device, symbol, y, (y, x), np.float32(scale), np.float32(offset))


def next_batch(device: Device, indices: Array, state: Array, order: Array) -> None:
    """indices[i] = order[position + i], then position += batch and pass += 1."""
    # One block: all of it has read the position before one thread moves it on.
    args = (indices, state, order, np.int32(indices.size), np.int32(order.size))
    device.launch("memory", "next_batch", None, (1,), (THREADS,), args)


def gather(
    device: Device,
    y: Array,
    x: Array,
    indices: Array,
    *,
    scale: float = 1.0,
    offset: float = 0.0,
) -> None:
    """y[i] = scale * x[indices[i]] + offset: a mini-batch out of a data set."""
    if y.size == 0:
        return
    batch, columns = y.shape
    width = packed_width(columns, y, x)
    whole = y.dtype == np.int32  # labels are gathered in double, which holds every int32
    number = np.float64 if whole else np.float32
    symbol = f"gather_{'int32_' if whole else ''}{_suffix('gather', x)}"
    grid, block = rectangle(device, batch, columns // width)
    args = (y, x, indices, number(scale), number(offset))
    sizes = (np.int64(batch), np.int32(columns), np.int32(width > 1))
    device.launch("memory", symbol, None if whole else y, grid, block, args + sizes)


def _suffix(op: str, array: Array) -> str:
    try:
        return _NUMBERS[array.dtype.name]
    except KeyError:
        raise DtypeError(
            f"op {op} on the GPU takes arrays of {', '.join(_NUMBERS)}, got {array.dtype.name}; "
            "convert it on the host first."
        ) from None


def _itemsize(op: str, array: Array) -> int:
    _suffix(op, array)  # refuses what holds no numbers
    return int(array.dtype.itemsize)


def _launch_flat(
    device: Device, symbol: str, real: Array | None, arrays: tuple[Array, ...], *numbers: Any
) -> None:
    size = arrays[0].size
    if size > 0:
        grid = flat_grid(device, ceil_div(size, pack_of(*arrays)))
        args = (*arrays, *numbers, np.int64(size))
        device.launch("memory", symbol, real, grid, (THREADS,), args)
