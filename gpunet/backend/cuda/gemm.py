"""Matrix products: launches of kernels/gemm.cu, or cuBLAS and then what follows the product."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda import activations
from gpunet.backend.cuda.activations import activation_args
from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import MAX_GRID_Y, ceil_div
from gpunet.backend.precision import factor_precision
from gpunet.backend.spec import Array

TILES = (128, 64, 32)  # the sizes that kernels/gemm.cu is compiled for


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
    if _by_cublas(device, "gemm", c, a, b, ta, tb, accumulate):
        return
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
    """c = activation(op(a) op(b) + bias): a dense layer's forward."""
    is_product = bias is None and activation == "linear"
    if (is_product or _is_exact(c)) and _by_cublas(device, "gemm_bias_act", c, a, b, ta, tb):
        if not is_product:
            activations.bias_act(device, c, c, bias, activation=activation, parameters=parameters)
        return
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
    is_product = activation == "linear"
    if (is_product or _is_exact(c)) and _by_cublas(device, "gemm_act_backward", c, a, b, ta, tb):
        if not is_product:
            activations.bias_act_backward(
                device, c, None, c, saved, activation=activation, parameters=parameters
            )
        return
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
    if _by_cublas(device, "gemm_column_sum", c, a, b, ta, False, accumulate):
        activations.column_sum(device, column_sum, b, accumulate)
        return
    args = (c, column_sum, a, b, np.int32(ta), np.int32(accumulate))
    _launch(device, "gemm_column_sum", c, b.shape[0], args)


def _is_exact(c: Array) -> bool:
    """Whether c can hold a product on its way: with 16 bits a result would be rounded twice."""
    return int(c.dtype.itemsize) >= np.dtype(np.float32).itemsize


def _by_cublas(
    device: Device,
    op: str,
    c: Array,
    a: Array,
    b: Array,
    ta: bool,
    tb: bool,
    accumulate: bool = False,
) -> bool:
    """Let cuBLAS compute the product of an op, if it is its turn; return whether it was."""
    device.check_current()
    m, n = c.shape
    cublas = device.products.cublas_for(op, a.dtype, m, n, a.shape[0 if ta else 1])
    if cublas is None:
        return False
    precision = factor_precision()
    cublas.product(c, a, b, ta=ta, tb=tb, accumulate=accumulate, precision=precision)
    return True


def batched_gemm(
    device: Device,
    c: Array,
    a: Array,
    b: Array,
    *,
    ta: bool = False,
    tb: bool = False,
    accumulate: bool = False,
) -> None:
    """`gemm` of each pair of matrices: c[i] = op(a[i]) op(b[i])."""
    batch, m, n = c.shape
    if c.size == 0:
        return
    # The smallest tile that holds a whole product, else one that fills the device.
    enough = [t for t in TILES if _tiles(m, n, t) * batch >= device.multiprocessors]
    whole = [t for t in TILES if t >= max(m, n)]
    tile = whole[-1] if whole else [*enough, TILES[-1]][0]
    sizes = [np.int32(size) for size in (batch, m, n, a.shape[1 if ta else 2])]
    args = (c, a, b, np.int32(ta), np.int32(tb), np.int32(accumulate), *sizes)
    down = min(batch, MAX_GRID_Y)
    grid = (_tiles(m, n, tile), down, ceil_div(batch, down))
    device.launch("gemm", f"batched_gemm_tile{tile}", c, grid, (THREADS,), args)


def _launch(device: Device, symbol: str, c: Array, k: int, args: tuple[Any, ...]) -> None:
    m, n = c.shape
    if n == 0:
        return
    tile = next((t for t in TILES if _tiles(m, n, t) >= device.multiprocessors), TILES[-1])
    args = (*args, np.int32(m), np.int32(n), np.int32(k))
    device.launch("gemm", f"{symbol}_tile{tile}", c, (_tiles(m, n, tile),), (THREADS,), args)


def _tiles(m: int, n: int, tile: int) -> int:
    # At least one row of tiles: with m = 0 it still adds up the columns of b.
    return max(1, ceil_div(m, tile)) * ceil_div(n, tile)
