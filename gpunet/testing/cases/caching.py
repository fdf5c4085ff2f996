"""Op cases: attention step by step. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Values, given, integers


def insert_rows(cache: Array, x: Array, positions: Array) -> Values:
    """One row after another."""
    after = cache.copy()
    for i, position in enumerate(positions):
        if 0 <= position < cache.shape[1]:
            after[:, position] = x[:, i]
    return {"cache": after}


def cached_attention(
    q: Array,
    keys: Array,
    values: Array,
    positions: Array,
    mask: Array | None = None,
    scale: float = 1.0,
    sliding_window: int | None = None,
) -> Values:
    """One query after another."""
    batch, length, heads, _ = q.shape
    group = heads // keys.shape[2]
    rows = np.arange(keys.shape[1])
    y = np.zeros((batch, length, heads, values.shape[3]))
    for b, i, h in np.ndindex(batch, length, heads):
        seen = rows <= positions[i]
        if sliding_window is not None:
            seen &= positions[i] - rows < sliding_window
        if mask is not None:
            seen &= mask[b] != 0
        if seen.any():
            scores = scale * keys[b, seen, h // group] @ q[b, i, h]
            powers = np.exp(scores - scores.max())
            y[b, i, h] = powers @ values[b, seen, h // group] / powers.sum()
    return {"y": y}


# ---------------------------------------------------------------------------------- the rows


def _attention(batch: int, heads: int, key_heads: int, capacity: int, size: int) -> Values:
    """A call for the last two positions of which there are at least two."""
    return {
        "q": (batch, 2, heads, size),
        "keys": (batch, capacity, key_heads, size),
        "values": (batch, capacity, key_heads, size),
        "positions": given([capacity - 2, capacity - 1], "int32", "last"),
    }


_MASK = integers(3, 70, high=2, dtype="uint8")
_FIRST = given([0], "int32", "first")

CASES = (
    Case(
        "insert_rows",
        insert_rows,
        (
            {
                "cache": (2, 9, 31),
                "x": (2, 3, 31),
                "positions": given([4, 5, 6], "int32", "middle"),
            },
            {
                "cache": (3, 4, 1024),
                "x": (3, 2, 1024),
                "positions": given([3, 4], "int32", "over"),
            },
            {
                "cache": integers(2, 5, 1, high=2, dtype="uint8"),
                "x": integers(2, 2, 1, high=2, dtype="uint8"),
                "positions": given([-1, 2], "int32", "under"),
            },
            {"cache": (0, 4, 8), "x": (0, 1, 8), "positions": _FIRST},
        ),
    ),
    Case(
        "cached_attention",
        cached_attention,
        (
            *(
                _attention(*sizes)
                for sizes in (
                    (1, 1, 1, 2, 1),
                    (2, 3, 3, 33, 17),
                    (3, 4, 2, 70, 64),
                    (0, 2, 1, 5, 4),
                )
            ),
            _attention(2, 2, 1, 600, 136) | {"scale": 0.25},
            _attention(3, 4, 2, 70, 20) | {"mask": _MASK},
            _attention(3, 4, 1, 70, 8) | {"mask": _MASK, "sliding_window": 9},
            _attention(2, 2, 2, 9, 4) | {"positions": given([0, 3], "int32"), "scale": 0.5},
            {
                "q": (2, 1, 2, 5),
                "keys": (2, 3, 2, 5),
                "values": (2, 3, 2, 2500),
                "positions": given([5], "int32", "behind"),
            },
            {
                "q": (2, 1, 3, 64),
                "keys": (2, 40, 3, 64),
                "values": (2, 40, 3, 64),
                "positions": given([39], "int32", "one"),
            },
            {
                "q": (2, 1, 2, 8),
                "keys": (2, 3, 2, 8),
                "values": (2, 3, 2, 8),
                "positions": given([-1], "int32", "nothing"),
            },
        ),
        float32=2e-5,
    ),
)
