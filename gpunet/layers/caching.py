"""Attention of a few positions at a time to what earlier ones left in a cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.context import Context


def attention_can_step(moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
    """Whether attention with these inputs (query, value and perhaps key) works step by step.

    It does if queries see nothing that comes after them, or if all keys are there from the start;
    and if nothing is dropped, no scores are wanted and no masks are given.
    """
    query, *others = moving
    said = {name for name, value in options.items() if value is not None and value is not False}
    others_done = (all(others) and "use_causal_mask" in said) or not any(others)
    return query and said <= {"use_causal_mask"} and others_done


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
    mask: Buffer | None = None,
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
        mask: which of the new positions may be seen, uint8 (batch, length); None for all.
        sliding_window: how far back queries see.
    """
    keys, values = _cached(op, c, k, "keys"), _cached(op, c, v, "values")
    masks = None
    if mask is not None:
        masks = _cached(op, c, mask, "mask").reshape(mask.shape[0], -1)
    options = {"scale": scale, "sliding_window": sliding_window}
    op.cached_attention(y, q, keys, values, c.positions, masks, **options)


def _cached(op: Recorder, c: Context, x: Buffer, name: str) -> Buffer:
    """The cache (batch, capacity, ...) with x at c.positions."""
    cache = c.cache(x.shape[2:], name, x.dtype)
    columns = prod(x.shape[2:])
    flat, new = (array.reshape(*array.shape[:2], columns) for array in (cache, x))
    op.insert_rows(flat, new, c.positions)
    return cache
