"""Attention: launches of kernels/attention.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import MAX_GRID_Y, ceil_div, row_launch
from gpunet.backend.spec import Array

TILES = (64, 32)  # the sizes that kernels/attention.cu is compiled for


def attention_scores(
    device: Device, scores: Array, q: Array, k: Array, *, scale: float = 1.0
) -> None:
    """scores = scale * q k^T for each sample and head."""
    tile = _tile(device, scores, *scores.shape[2:])
    blocks = ceil_div(scores.shape[2], tile) * ceil_div(scores.shape[3], tile)
    args = (scores, q, k, np.float32(scale))
    _launch(device, "attention_scores", tile, blocks, args, scores, q)


def attention_weights(
    device: Device,
    weights: Array,
    q: Array,
    k: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """weights = softmax(scale * q k^T) along the keys that are seen, 0 for the others."""
    tile = _tile(device, weights, weights.shape[2], 1)
    blocks = ceil_div(weights.shape[2], tile)
    window = np.int32(seen_distance(weights.shape[2], weights.shape[3], sliding_window))
    masks = (query_mask, key_mask, attention_mask)
    args = (weights, q, k, *masks, np.float32(scale), np.int32(causal), window)
    _launch(device, "attention_weights", tile, blocks, args, weights, q)


def softmax_of_seen(
    device: Device,
    weights: Array,
    scores: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    *,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """weights = softmax(scores) along the keys that are seen, 0 for the others."""
    batch, heads, length, keys = weights.shape
    if weights.size == 0:
        return
    rows = batch * heads * length
    plan = row_launch(device, rows, keys, width=1, kept=0)
    window = np.int32(seen_distance(length, keys, sliding_window))
    masks = (query_mask, key_mask, attention_mask)
    sizes = (np.int64(rows), np.int32(heads), np.int32(length), np.int32(keys))
    args = (weights, scores, *masks, np.int32(causal), window, *sizes, plan.args[1])
    device.launch("attention", "softmax_of_seen", weights, plan.grid, (THREADS,), args)


def attention_values(
    device: Device,
    y: Array,
    weights: Array,
    v: Array,
    *,
    scale: float = 1.0,
    accumulate: bool = False,
) -> None:
    """y = scale * weights v for each sample and head."""
    tile = _tile(device, weights, y.shape[1], y.shape[3])
    blocks = ceil_div(y.shape[1], tile) * ceil_div(y.shape[3], tile)
    args = (y, weights, v, np.float32(scale), np.int32(accumulate))
    _launch(device, "attention_values", tile, blocks, args, weights, y)


def attention_values_backward(
    device: Device,
    dv: Array,
    weights: Array,
    dy: Array,
    *,
    scale: float = 1.0,
    accumulate: bool = False,
) -> None:
    """dv = scale * weights^T dy for each sample and head."""
    tile = _tile(device, weights, dv.shape[1], dv.shape[3])
    blocks = ceil_div(dv.shape[1], tile) * ceil_div(dv.shape[3], tile)
    args = (dv, weights, dy, np.float32(scale), np.int32(accumulate))
    _launch(device, "attention_values_backward", tile, blocks, args, weights, dv)


def seen_distance(length: int, keys: int, sliding_window: int | None) -> int:
    """How near a key must be to be seen: without a window, nearer than none is far."""
    return min(sliding_window or length + keys, length + keys)


def _tile(device: Device, weights: Array, rows: int, columns: int) -> int:
    """The largest tile that still gives every multiprocessor a block."""
    pairs = weights.shape[0] * weights.shape[1]
    for tile in TILES[:-1]:
        blocks = ceil_div(rows, tile) * ceil_div(columns, tile) * pairs
        if rows > TILES[-1] and blocks >= device.multiprocessors:
            return tile
    return TILES[-1]


def _launch(
    device: Device,
    symbol: str,
    tile: int,
    blocks: int,
    args: tuple[Any, ...],
    weights: Array,
    of_heads: Array,
) -> None:
    """Launch ``blocks`` blocks for each sample and head."""
    batch, heads, length, keys = weights.shape
    if batch * heads * blocks == 0:
        return
    sizes = (batch * heads, heads, length, keys, of_heads.shape[3])
    args = (*args, *map(np.int32, sizes))
    grid = (blocks, min(batch * heads, MAX_GRID_Y))
    device.launch("attention", f"{symbol}_tile{tile}", weights, grid, (THREADS,), args)
