"""Attention step by step: keys and values of earlier positions wait in a cache."""

from __future__ import annotations

import numpy as np

from gpunet.backend.spec import Array


def insert_rows(cache: Array, x: Array, positions: Array) -> None:
    """cache[b, positions[i]] = x[b, i]."""
    for i, position in enumerate(positions.tolist()):
        if 0 <= position < cache.shape[1]:
            cache[:, position] = x[:, i]


def cached_attention(
    y: Array,
    q: Array,
    keys: Array,
    values: Array,
    positions: Array,
    mask: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    sliding_window: int | None = None,
) -> None:
    """y = softmax(scale q keys^T) values over the rows that a query sees, for each head."""
    batch, length, heads, size = q.shape
    key_heads = keys.shape[2]
    seen = max(0, min(int(positions.max(initial=-1)) + 1, keys.shape[1]))
    if y.size == 0 or seen == 0:
        y.fill(0.0)
        return
    groups = (batch, length, key_heads, heads // key_heads)
    # (batch, key_heads, group, length, ...); keys and values are the same for a whole group
    queries = q.reshape(*groups, size).transpose(0, 2, 3, 1, 4)
    columns = keys[:, :seen, :, None].transpose(0, 2, 3, 4, 1)
    rows = values[:, :seen, :, None].transpose(0, 2, 3, 1, 4)
    weights = scratch[: batch * heads * length * seen]
    weights = weights.reshape(batch, key_heads, heads // key_heads, length, seen)
    np.matmul(queries, columns, out=weights)
    np.multiply(weights, scale, out=weights)
    hidden = _hidden(positions, seen, sliding_window)
    if hidden.any():
        np.copyto(weights, -np.inf, where=hidden)
    if mask is not None:
        np.copyto(weights, -np.inf, where=mask[:, None, None, None, :seen] == 0)
    largest = weights.max(axis=-1, keepdims=True)
    np.copyto(largest, 0.0, where=np.isneginf(largest))  # a query that sees nothing
    np.subtract(weights, largest, out=weights)
    np.exp(weights, out=weights)
    total = weights.sum(axis=-1, keepdims=True)
    np.copyto(total, 1.0, where=total == 0.0)
    np.divide(weights, total, out=weights)
    np.matmul(weights, rows, out=y.reshape(*groups, -1).transpose(0, 2, 3, 1, 4))


def _hidden(positions: Array, seen: int, sliding_window: int | None) -> Array:
    """Which of the first rows a query does not see: (length, seen)."""
    distance = positions[:, None] - np.arange(seen)
    hidden: Array = distance < 0
    if sliding_window is not None:
        hidden |= distance >= sliding_window
    return hidden
