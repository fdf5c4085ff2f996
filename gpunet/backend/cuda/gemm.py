"""Matrix products: launches of kernels/gemm.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.activations import activation_args
from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div
from gpunet.backend.spec import Array

_TILES = (128, 64, 32)  # the sizes that kernels/gemm.cu is compiled for


def gemm(
    device: Device,
    c: Array,
    a: Array,
    b: Array,
    *,
    ta: bool = False,
    tb: bool = False,
    accumulate: bool = False,
) -> None:
    """c = op(a) op(b), where op transposes if ta or tb."""
    args = (c, a, b, np.int32(ta), np.int32(tb), np.int32(accumulate))
    _launch(device, "gemm", c, a.shape[0 if ta else 1], args)


def gemm_bias_act(
    device: Device,
    c: Array,
    a: Array,
    b: Array,
    bias: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> None:
    """c = activation(op(a) op(b) + bias): a dense layer's forward in one launch."""
    act = activation_args(activation, parameters)
    args = (c, a, b, bias, *act, np.int32(ta), np.int32(tb))
    _launch(device, "gemm_bias_act", c, a.shape[0 if ta else 1], args)


def gemm_act_backward(
    device: Device,
    c: Array,
    a: Array,
    b: Array,
    saved: Array,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> None:
    """c = op(a) op(b) * activation'(saved): a product that passes back through an activation."""
    act = activation_args(activation, parameters)
    args = (c, a, b, saved, *act, np.int32(ta), np.int32(tb))
    _launch(device, "gemm_act_backward", c, a.shape[0 if ta else 1], args)


def gemm_column_sum(
    device: Device,
    c: Array,
    column_sum: Array,
    a: Array,
    b: Array,
    *,
    ta: bool = False,
    accumulate: bool = False,
) -> None:
    """c = op(a) b and column_sum = sum of b over its rows."""
    args = (c, column_sum, a, b, np.int32(ta), np.int32(accumulate))
    _launch(device, "gemm_column_sum", c, b.shape[0], args)


def _launch(device: Device, symbol: str, c: Array, k: int, args: tuple[Any, ...]) -> None:
    m, n = c.shape
    if n == 0:
        return
    tile = next((t for t in _TILES if _tiles(m, n, t) >= device.multiprocessors), _TILES[-1])
    args = (*args, np.int32(m), np.int32(n), np.int32(k))
    device.launch("gemm", f"{symbol}_tile{tile}", c, (_tiles(m, n, tile),), (THREADS,), args)


def _tiles(m: int, n: int, tile: int) -> int:
    # At least one row of tiles: with m = 0 it still adds up the columns of b.
    return max(1, ceil_div(m, tile)) * ceil_div(n, tile)
