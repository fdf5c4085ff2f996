"""Op cases: attention. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Values


def attention_scores(q: Array, k: Array, scale: float = 1.0) -> Values:
    """Products of queries and keys."""
    return {"scores": scale * np.einsum("blhs,bkhs->bhlk", q, k)}


def attention_weights(q: Array, k: Array, scale: float = 1.0, causal: bool = False) -> Values:
    """Their softmax along the keys, query by query."""
    scores = attention_scores(q, k, scale)["scores"]
    weights = np.zeros_like(scores)
    for i in range(scores.shape[2]):
        seen = slice(i + 1 if causal else None)
        row = scores[:, :, i, seen]
        powers = np.exp(row - row.max(axis=-1, keepdims=True))
        weights[:, :, i, seen] = powers / powers.sum(axis=-1, keepdims=True)
    return {"weights": weights}


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
        _of_queries_and_keys(({}, {"causal": True}, {"scale": 3.0, "causal": True})),
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
