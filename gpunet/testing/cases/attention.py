"""Op cases: attention. Each reference is the textbook formula in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values, integers


def attention_scores(q: Array, k: Array, scale: float = 1.0) -> Values:
    """Products of queries and keys."""
    return {"scores": scale * np.einsum("blhs,bkhs->bhlk", q, k)}


def seen(
    shape: tuple[int, ...],
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Array:
    """Which keys each query sees, for weights of this shape: (batch, heads, length, keys)."""
    i, j = np.arange(shape[2])[:, None], np.arange(shape[3])
    found = np.ones(shape, bool)
    found &= (j <= i) | (not causal)
    found &= np.abs(i - j) < (sliding_window or max(shape) + 1)
    if query_mask is not None:
        found &= query_mask[:, None, :, None] != 0
    if key_mask is not None:
        found &= key_mask[:, None, None, :] != 0
    if attention_mask is not None:
        found &= attention_mask[:, None] != 0
    return found


def softmax_of_seen(scores: Array, is_seen: Array) -> tuple[Array, Array]:
    """The softmax of scores over the keys that are seen, and its logsumexp."""
    scores = np.where(is_seen, scores, -np.inf)
    largest = np.max(scores, axis=-1, keepdims=True, initial=-1e300)
    powers = np.exp(scores - largest)
    total = powers.sum(axis=-1, keepdims=True)
    weights = np.divide(powers, total, out=np.zeros_like(powers), where=total > 0)
    with np.errstate(divide="ignore"):
        return weights, (largest + np.log(total))[..., 0]


def attention_weights(q: Array, k: Array, scale: float = 1.0, **of_seen: Any) -> Values:
    """Their softmax along the keys."""
    scores = attention_scores(q, k, scale)["scores"]
    return {"weights": softmax_of_seen(scores, seen(scores.shape, **of_seen))[0]}


def softmax_of_scores(scores: Array, **of_seen: Any) -> Values:
    """The softmax alone."""
    return {"weights": softmax_of_seen(scores, seen(scores.shape, **of_seen))[0]}


def attention_values(weights: Array, v: Array, scale: float = 1.0) -> Values:
    """Sums of values by weights."""
    return {"y": scale * np.einsum("bhlk,bkhs->blhs", weights, v)}


def attention_values_backward(weights: Array, dy: Array, scale: float = 1.0) -> Values:
    """What of each query's gradient goes to each key's value."""
    return {"dv": scale * np.einsum("bhlk,blhs->bkhs", weights, dy)}


# ---------------------------------------------------------------------------------- the rows

# batch, heads, length, keys, size
_SIZES = (
    (1, 1, 1, 1, 1),
    (2, 3, 5, 7, 4),
    (3, 2, 33, 31, 17),
    (2, 1, 70, 132, 20),
    (1, 2, 130, 65, 8),
    (0, 2, 3, 4, 5),
    (5, 4, 64, 64, 16),
)
_SCALES: tuple[Values, ...] = ({}, {"scale": 0.25})


def _of_queries_and_keys(more: tuple[Values, ...]) -> tuple[Values, ...]:
    return tuple(
        {"q": (batch, length, heads, size), "k": (batch, keys, heads, size), **flags}
        for flags in more
        for batch, heads, length, keys, size in _SIZES
    )


def mask(*shape: int) -> Maker:
    """Zeros and ones."""
    return integers(*shape, high=2, dtype="uint8")


def _with_masks(flags: Values, *names: str) -> tuple[Values, ...]:
    calls = []
    for batch, heads, length, keys, size in _SIZES[1:5]:
        shapes = {"query_mask": (length,), "key_mask": (keys,), "attention_mask": (length, keys)}
        masks = {name: mask(batch, *shapes[name]) for name in names}
        q, k = (batch, length, heads, size), (batch, keys, heads, size)
        calls.append({"q": q, "k": k, **masks, **flags})
    return tuple(calls)


def _of_weights(other: str, more: tuple[Values, ...]) -> tuple[Values, ...]:
    """Calls with weights, and v (for each key) or dy (for each query)."""
    return tuple(
        {
            "weights": (batch, heads, length, keys),
            other: (batch, keys if other == "v" else length, heads, size),
            **flags,
        }
        for flags in more
        for batch, heads, length, keys, size in _SIZES
    )


CASES = (
    Case(
        "attention_scores",
        attention_scores,
        _of_queries_and_keys(_SCALES),
        (
            Gradient("attention_values", "scores", {"y": "q"}, {"weights": "dy", "v": "k"}),
            Gradient(
                "attention_values_backward", "scores", {"dv": "k"}, {"weights": "dy", "dy": "q"}
            ),
        ),
    ),
    Case(
        "attention_weights",
        attention_weights,
        (
            *_of_queries_and_keys(({}, {"causal": True}, {"scale": 3.0, "causal": True})),
            *_with_masks({"sliding_window": 5}),
            *_with_masks({"causal": True}, "key_mask"),
            *_with_masks({"scale": 0.5}, "query_mask", "attention_mask"),
            *_with_masks({"causal": True}, "query_mask", "key_mask", "attention_mask"),
        ),
        float32=2e-5,
    ),
    Case(
        "softmax_of_seen",
        softmax_of_scores,
        tuple(
            {
                "scores": (call["q"][0], call["q"][2], call["q"][1], call["k"][1]),
                **{name: value for name, value in call.items() if name not in ("q", "k", "scale")},
            }
            for call in (
                *_with_masks({}),
                *_with_masks({"sliding_window": 5}, "query_mask"),
                *_with_masks({"causal": True}, "key_mask", "attention_mask"),
            )
        ),
        float32=2e-5,
    ),
    Case(
        "attention_values",
        attention_values,
        _of_weights("v", _SCALES),
        (
            Gradient("attention_scores", "y", {"scores": "weights"}, {"q": "dy", "k": "v"}),
            Gradient(
                "attention_values_backward", "y", {"dv": "v"}, {"weights": "weights", "dy": "dy"}
            ),
        ),
    ),
    Case(
        "attention_values_backward",
        attention_values_backward,
        _of_weights("dy", _SCALES),
    ),
)
