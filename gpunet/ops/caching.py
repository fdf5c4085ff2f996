"""Plain functions: attention step by step."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_updated, run_op
from gpunet.backend.spec import Array


def insert_rows(cache: Any, x: Any, positions: Any) -> None:
    """cache[b, positions[i]] = x[b, i]; positions that the cache does not have are left out.

    Args:
        cache: (batch, capacity, columns), updated where it is.
        x: (batch, length, columns), of the same dtype.
        positions: int32 (length,).

    >>> cache = np.zeros((1, 3, 2), np.float32)
    >>> insert_rows(cache, [[[1.0, 2.0]]], [2])
    >>> cache[0].tolist()
    [[0.0, 0.0], [0.0, 0.0], [1.0, 2.0]]
    """
    cache = as_updated("insert_rows", "cache", cache)
    run_op("insert_rows", {"cache": cache, "x": x, "positions": positions})


def cached_attention(
    q: Any,
    keys: Any,
    values: Any,
    positions: Any,
    mask: Any = None,
    scale: float = 1.0,
    sliding_window: int | None = None,
) -> Array:
    """softmax(scale q keys^T) values over the rows up to each query's position, for each head.

    Args:
        q: queries (batch, length, heads, size).
        keys: (batch, capacity, key_heads, size), with heads a multiple of key_heads.
        values: (batch, capacity, key_heads, value_size).
        positions: int32 (length,): where the queries stand.
        mask: uint8 (batch, capacity): 0 for rows that nobody sees.
        scale: the factor; 1 / sqrt(size) as a rule.
        sliding_window: how many rows a query sees at most, the last one its own; None for all.

    Returns:
        (batch, length, heads, value_size).

    >>> q, keys = [[[[1.0]]]], [[[[1.0]], [[1.0]], [[1.0]]]]
    >>> cached_attention(q, keys, values=[[[[1.0]], [[2.0]], [[9.0]]]], positions=[1])
    array([[[[1.5]]]], dtype=float32)
    """
    arrays = {"q": q, "keys": keys, "values": values, "positions": positions, "mask": mask}
    return run_op("cached_attention", arrays, scale=scale, sliding_window=sliding_window)["y"]
