"""Attention in one op: launches of kernels/fused_attention.cu and fused_attention_backward.cu."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.cuda.attention import seen_distance
from gpunet.backend.cuda.device import Device
from gpunet.backend.cuda.grids import MAX_GRID_Y, ceil_div
from gpunet.backend.spec import Array

_THREADS = 128
_PADDING = 4  # floats behind each row in shared memory
_CHUNK = 32  # weights of a row that are exchanged at a time


class _Tile(NamedTuple):
    """How many rows of a tile of weights stay, and how many columns it has."""

    rows: int
    columns: int

    def shared(self, size: int, *, rows_kept: int, columns_kept: int) -> int:
        """Bytes of shared memory: arrays of both for heads of a size, and the exchanged weights."""
        floats = (rows_kept * self.rows + columns_kept * self.columns) * (size + _PADDING)
        return 4 * (floats + self.rows * (min(self.columns, _CHUNK) + _PADDING))


# By the size of heads that a kernel is compiled for: its tiles forward and backward.
_TILES = {
    32: (_Tile(64, 64), _Tile(64, 32)),
    64: (_Tile(64, 64), _Tile(64, 32)),
    128: (_Tile(64, 32), _Tile(32, 16)),
}


def fused_attention(
    device: Device,
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    random: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """y = dropout(weights) v, where weights = softmax(scale q k^T) over the keys that are seen."""
    masks = (query_mask, key_mask, attention_mask, random)
    flags = _flags(q, k, scale, rate, node, causal, sliding_window)
    size = _compiled_size(q, v)
    tile = _TILES[size][0]
    shared = tile.shared(size, rows_kept=1, columns_kept=1)
    args = (y, logsumexp, q, k, v, *masks, *flags, *_sizes(q, v))
    rows = (q.shape[1], tile.rows, q.shape[0] * q.shape[2])
    _launch(device, "fused_attention", f"fused_attention_size{size}", y, rows, args, shared)


def fused_attention_backward(
    device: Device,
    dq: Array,
    dk: Array,
    dv: Array,
    dy: Array,
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    random: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """The gradients of q, k and v; the weights are exp(scale q k^T - logsumexp)."""
    masks = (query_mask, key_mask, attention_mask, random)
    flags = (*_flags(q, k, scale, rate, node, causal, sliding_window), *_sizes(q, v))
    size = _compiled_size(q, v)
    tile = _TILES[size][1]
    shared = tile.shared(size, rows_kept=2, columns_kept=2)
    source = "fused_attention_backward"
    # The sums of dy y, which the second kernel needs, lie in the scratch memory.
    args = (dq, scratch, dy, y, logsumexp, q, k, v, *masks, *flags)
    rows = (q.shape[1], tile.rows, q.shape[0] * q.shape[2])
    _launch(device, source, f"{source}_queries_size{size}", dq, rows, args, shared)
    args = (dk, dv, scratch, dy, logsumexp, q, k, v, *masks, *flags)
    rows = (k.shape[1], tile.rows, k.shape[0] * k.shape[2])
    _launch(device, source, f"{source}_keys_size{size}", dk, rows, args, shared)


def _compiled_size(q: Array, v: Array) -> int:
    return next(size for size in _TILES if size >= max(q.shape[3], v.shape[3]))


def _flags(
    q: Array,
    k: Array,
    scale: float,
    rate: float,
    node: int,
    causal: bool,
    sliding_window: int | None,
) -> tuple[Any, ...]:
    window = seen_distance(q.shape[1], k.shape[1], sliding_window)
    numbers = (np.float32(scale), np.float32(rate), np.uint64(node))
    return (*numbers, np.int32(causal), np.int32(window))


def _sizes(q: Array, v: Array) -> tuple[np.int32, ...]:
    batch, length, heads, size = q.shape
    keys, key_heads, value_size = v.shape[1:]
    sizes = (batch, heads, key_heads, length, keys, size, value_size)
    return tuple(map(np.int32, sizes))


def _launch(
    device: Device,
    source: str,
    symbol: str,
    real: Array,
    rows: tuple[int, int, int],
    args: tuple[Any, ...],
    shared: int,
) -> None:
    """Launch a block for each tile of so many rows, in so many heads."""
    count, of_tile, heads = rows
    if count * heads > 0:
        grid = (ceil_div(count, of_tile), min(heads, MAX_GRID_Y))
        device.launch(source, symbol, real, grid, (_THREADS,), args, shared)
