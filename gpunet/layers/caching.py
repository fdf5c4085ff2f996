"""Attention of a few positions at a time to what earlier ones left in a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.context import Context


def attention_can_step(moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
    """Whether attention with these inputs (query, value and perhaps key) works step by step.

    It does if queries see nothing that comes after them, or if all keys are there from the start,
    perhaps with a mask; and if nothing is dropped and no scores are wanted.
    """
    query, *others = moving
    said = {name for name, value in options.items() if value is not None and value is not False}
    to_itself = all(others) and said == {"use_causal_mask"}
    to_others = not any(others) and said <= {"value_mask", "key_mask"}
    return query and (to_itself or to_others)


def attends_to_cache(c: Context) -> bool:
    """Whether this is a step, and its keys are cached: not those of an encoder."""
    return c.positions is not None and c.moving[1]


def attend_to_cache(
    op: Recorder,
    c: Context,
    y: Buffer,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    *,
    scale: float,
    query_mask: Buffer | None = None,
    key_mask: Buffer | None = None,
    sliding_window: int | None = None,
) -> None:
    """Insert k and v at c.positions, then y = softmax(scale q keys^T) values up to there.

    Args:
        op: the recorder.
        c: the context of a step.
        y: (batch, length, heads, value_size).
        q: (batch, length, heads, size).
        k: (batch, length, key_heads, size).
        v: (batch, length, key_heads, value_size).
        scale: of the products.
        query_mask: which of the new positions are there, uint8 (batch, length): others take 0; None
            for all.
        key_mask: which of the new positions may be seen, now and later, uint8 (batch, length).
        sliding_window: how far back queries see.
    """
    keys, values = _cached(op, c, k, "keys"), _cached(op, c, v, "values")
    mask = None if key_mask is None else _cached(op, c, key_mask, "mask")
    taken = y if query_mask is None else c.scratch(y.shape, "taken")
    options = {"scale": scale, "sliding_window": sliding_window}
    op.cached_attention(taken, q, keys, values, c.positions, mask, **options)
    if query_mask is not None:
        rows = query_mask.size
        y, taken = y.reshape(rows, -1), taken.reshape(rows, -1)
        op.masked_rows(y, taken, query_mask.reshape(-1))


def _cached(op: Recorder, c: Context, x: Buffer, name: str) -> Buffer:
    """The cache (batch, capacity, ...) with x at c.positions."""
    cache = c.cache(x.shape[2:], name, x.dtype)
    columns = prod(x.shape[2:])
    flat, new = (array.reshape(*array.shape[:2], columns) for array in (cache, x))
    op.insert_rows(flat, new, c.positions)
    return cache
