"""Plain functions: attention."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def attention_scores(q: Any, k: Any, scale: float = 1.0) -> Array:
    """scale * q k^T for each sample and head: (batch, heads, length, keys).

    Args:
        q: queries (batch, length, heads, size).
        k: keys (batch, keys, heads, size).
        scale: the factor; 1 / sqrt(size) as a rule.

    >>> attention_scores([[[[1.0, 2.0]]]], [[[[3.0, 4.0]]]])
    array([[[[11.]]]], dtype=float32)
    """
    return run_op("attention_scores", {"q": q, "k": k}, scale=scale)["scores"]


def attention_weights(
    q: Any,
    k: Any,
    query_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Array:
    """The softmax of `attention_scores` along the keys: with which weights queries take values.

    Args:
        q: queries (batch, length, heads, size).
        k: keys (batch, keys, heads, size).
        query_mask: uint8 (batch, length), 0 where a query sees nothing: its weights are 0.
        key_mask: uint8 (batch, keys), 0 where a key is seen by nobody.
        attention_mask: uint8 (batch, length, keys), 0 where a query does not see a key.
        scale: the factor; 1 / sqrt(size) as a rule.
        causal: whether query i sees the keys up to i alone.
        sliding_window: if given, query i sees the keys j with |i - j| < sliding_window alone.

    >>> attention_weights([[[[1.0]], [[1.0]]]], [[[[3.0]], [[3.0]]]], causal=True)
    array([[[[1. , 0. ],
             [0.5, 0.5]]]], dtype=float32)
    """
    arrays = {"q": q, "k": k, "query_mask": query_mask, "key_mask": key_mask}
    flags: dict[str, Any] = {"causal": causal, "sliding_window": sliding_window}
    arrays["attention_mask"] = attention_mask
    return run_op("attention_weights", arrays, scale=scale, **flags)["weights"]


def softmax_of_seen(
    scores: Any,
    query_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    *,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Array:
    """The softmax of scores (batch, heads, length, keys) along the keys that are seen.

    The other arguments are those of `attention_weights`.

    >>> softmax_of_seen([[[[1.0, 5.0], [1.0, 1.0]]]], causal=True)
    array([[[[1. , 0. ],
             [0.5, 0.5]]]], dtype=float32)
    """
    arrays = {"scores": scores, "query_mask": query_mask, "key_mask": key_mask}
    arrays["attention_mask"] = attention_mask
    flags: dict[str, Any] = {"causal": causal, "sliding_window": sliding_window}
    return run_op("softmax_of_seen", arrays, **flags)["weights"]


def attention_values(weights: Any, v: Any, scale: float = 1.0) -> Array:
    """scale * weights v for each sample and head: (batch, length, heads, size).

    Args:
        weights: (batch, heads, length, keys).
        v: values (batch, keys, heads, size).
        scale: the factor.

    >>> attention_values([[[[0.5, 0.5]]]], [[[[3.0]], [[5.0]]]])
    array([[[[4.]]]], dtype=float32)
    """
    return run_op("attention_values", {"weights": weights, "v": v}, scale=scale)["y"]


def attention_values_backward(weights: Any, dy: Any, scale: float = 1.0) -> Array:
    """The gradient of `attention_values` with respect to v: scale * weights^T dy.

    >>> attention_values_backward([[[[0.5, 0.25]]]], [[[[4.0]]]]).ravel()
    array([2., 1.], dtype=float32)
    """
    arrays = {"weights": weights, "dy": dy}
    return run_op("attention_values_backward", arrays, scale=scale)["dv"]
