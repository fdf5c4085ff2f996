"""Op cases: attention in one op. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.cases.attention import mask, seen, softmax_of_seen
from gpunet.testing.cases.random import uniform_numbers
from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values, given


def for_each_head(array: Array, heads: int) -> Array:
    """Keys or values (batch, keys, key_heads, size) as (batch, keys, heads, size)."""
    return np.repeat(array, heads // array.shape[2], axis=2)


def fused_attention(
    q: Array,
    k: Array,
    v: Array,
    random: Array | None = None,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    **of_seen: Any,
) -> Values:
    """Softmax of what is seen, query by query; the weights, some of them dropped, times values."""
    k, v = for_each_head(k, q.shape[2]), for_each_head(v, q.shape[2])
    scores = scale * np.einsum("blhs,bkhs->bhlk", q, k)
    weights, logsumexp = softmax_of_seen(scores, seen(scores.shape, **of_seen))
    weights = weights * _factors(weights.shape, random, rate, node)
    return {"y": np.einsum("bhlk,bkhs->blhs", weights, v), "logsumexp": logsumexp}


def _factors(shape: tuple[int, ...], random: Array | None, rate: float, node: int) -> Any:
    if random is None or rate == 0:
        return 1.0
    return (uniform_numbers(shape, random, node) >= np.float32(rate)) / (1 - rate)


def fused_attention_backward(
    dy: Array,
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    random: Array | None = None,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    **of_seen: Any,
) -> Values:
    """Through the weights, which are made of the scores and their logsumexp."""
    groups = (*k.shape[:3], q.shape[2] // k.shape[2])  # then sums over the heads that share one
    k, v = for_each_head(k, q.shape[2]), for_each_head(v, q.shape[2])
    scores = scale * np.einsum("blhs,bkhs->bhlk", q, k)
    is_seen = seen(scores.shape, **of_seen)
    exponents = np.subtract(scores, logsumexp[..., None], out=np.zeros_like(scores), where=is_seen)
    weights = np.exp(exponents) * is_seen
    factors = _factors(weights.shape, random, rate, node)
    dweights = np.einsum("blhs,bkhs->bhlk", dy, v) * factors
    dscores = weights * (dweights - np.einsum("blhs,blhs->bhl", dy, y)[..., None])
    dk = scale * np.einsum("bhlk,blhs->bkhs", dscores, q)
    dv = np.einsum("bhlk,blhs->bkhs", weights * factors, dy)
    return {
        "dq": scale * np.einsum("bhlk,bkhs->blhs", dscores, k),
        "dk": dk.reshape(*groups, k.shape[3]).sum(axis=3),
        "dv": dv.reshape(*groups, v.shape[3]).sum(axis=3),
    }


# ---------------------------------------------------------------------------------- the rows

_SIZES = (
    (1, 1, 1, 1, 1, 1, 1),
    (2, 5, 3, 4, 7, 3, 4),
    (3, 33, 2, 17, 31, 2, 5),
    (2, 70, 1, 20, 132, 1, 36),
    (1, 130, 2, 8, 65, 2, 8),
    (0, 3, 2, 5, 4, 2, 5),
    (2, 3, 2, 5, 0, 2, 5),
    (2, 64, 2, 64, 128, 2, 64),
    (1, 40, 1, 128, 50, 1, 100),
    (2, 9, 6, 4, 10, 2, 3),
    (2, 66, 4, 16, 40, 1, 32),
)
_PLAIN, _SMALL, _WIDE, _MIDDLE, _GROUPED = _SIZES[2], _SIZES[1], _SIZES[8], _SIZES[3], _SIZES[9]
_A_SEED = given([7, 3], "uint64", "random")


def arguments_of_both(sizes: tuple[int, ...], *masks: str, **flags: Any) -> Values:
    """The arrays that both ops read, with some masks.

    Sizes are batch, length, heads, size, keys, key_heads and value_size.
    """
    batch, length, heads, size, keys, key_heads, value_size = sizes
    shapes = {"query_mask": (length,), "key_mask": (keys,), "attention_mask": (length, keys)}
    return {
        "q": (batch, length, heads, size),
        "k": (batch, keys, key_heads, size),
        "v": (batch, keys, key_heads, value_size),
        **{name: mask(batch, *shapes[name]) for name in masks},
        "scale": round(size**-0.5, 3),
        **flags,
    }


_ALL = ("query_mask", "key_mask", "attention_mask")
DROPPED: Values = {"random": _A_SEED, "rate": 0.4, "node": 5}
_CALLS = (
    *(arguments_of_both(sizes) for sizes in _SIZES),
    *(arguments_of_both(sizes, causal=True) for sizes in (_PLAIN, _MIDDLE, _SIZES[4], _SIZES[10])),
    arguments_of_both(_PLAIN, sliding_window=4),
    arguments_of_both(_SIZES[4], causal=True, sliding_window=20),
    arguments_of_both(_MIDDLE, sliding_window=1),
    arguments_of_both(_PLAIN, "key_mask"),
    arguments_of_both(_PLAIN, "attention_mask", scale=0.1),
    arguments_of_both(_MIDDLE, "query_mask", "key_mask", causal=True),
    arguments_of_both(_WIDE, *_ALL),
    arguments_of_both(_GROUPED, *_ALL, causal=True),
    *(
        arguments_of_both(sizes, **DROPPED)
        for sizes in (_SMALL, _MIDDLE, _WIDE, _SIZES[5], _SIZES[9])
    ),
    arguments_of_both(_PLAIN, *_ALL, causal=True, sliding_window=9, **DROPPED),
    arguments_of_both(_SIZES[10], "key_mask", causal=True, **DROPPED),
)


def arguments_of_backward(call: Values) -> Values:
    """The arguments of backward: numbers for dy and y, and a logsumexp as large as it would be."""
    batch, length, heads, _ = call["q"]
    rows = (batch, heads, length)
    outputs = (batch, length, heads, call["v"][3])
    logsumexp = Maker("rows", lambda random: 6.0 + random.standard_normal(rows))
    return {"dy": outputs, "y": outputs, "logsumexp": logsumexp, **call}


CASES = (
    Case(
        "fused_attention",
        fused_attention,
        _CALLS,
        (
            Gradient(
                "fused_attention_backward",
                "y",
                {"dq": "q", "dk": "k", "dv": "v"},
                {name: name for name in ("dy", "y", "logsumexp", "q", "k", "v", *_ALL, "random")},
            ),
        ),
        float32=2e-5,
    ),
    Case(
        "fused_attention_backward",
        fused_attention_backward,
        tuple(arguments_of_backward(call) for call in _CALLS),
        float32=2e-5,
    ),
)
