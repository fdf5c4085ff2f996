"""Plain functions: attention in one op."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def fused_attention(
    q: Any,
    k: Any,
    v: Any,
    query_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    random: Any = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> tuple[Array, Array]:
    """softmax(scale q k^T) v without storing the weights, and the logsumexp of each row of scores.

    Args:
        q: queries (batch, length, heads, size).
        k: keys (batch, keys, key_heads, size); key_heads divides heads.
        v: values (batch, keys, key_heads, value_size).
        query_mask: uint8 (batch, length), 0 where a query sees nothing: its y is 0.
        key_mask: uint8 (batch, keys), 0 where a key is seen by nobody.
        attention_mask: uint8 (batch, length, keys), 0 where a query does not see a key.
        random: (seed, pass) as uint64, if weights are dropped.
        scale: the factor; 1 / sqrt(size) as a rule.
        rate: the share of the weights that are dropped.
        node: which of several streams of random numbers.
        causal: whether query i sees the keys up to i alone.
        sliding_window: if given, query i sees the keys j with |i - j| < sliding_window alone.

    Returns:
        y (batch, length, heads, value_size) and logsumexp (batch, heads, length).

    >>> y, logsumexp = fused_attention([[[[1.0]]]], [[[[2.0]], [[2.0]]]], [[[[3.0]], [[5.0]]]])
    >>> y.ravel(), logsumexp.ravel().round(3)
    (array([4.], dtype=float32), array([2.693], dtype=float32))
    """
    arrays = {"q": q, "k": k, "v": v, "random": random}
    arrays |= {"query_mask": query_mask, "key_mask": key_mask, "attention_mask": attention_mask}
    flags: dict[str, Any] = {"scale": scale, "rate": rate, "node": node}
    flags |= {"causal": causal, "sliding_window": sliding_window}
    found = run_op("fused_attention", arrays, **flags)
    return found["y"], found["logsumexp"]


def fused_attention_backward(
    dy: Any,
    y: Any,
    logsumexp: Any,
    q: Any,
    k: Any,
    v: Any,
    query_mask: Any = None,
    key_mask: Any = None,
    attention_mask: Any = None,
    random: Any = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> tuple[Array, Array, Array]:
    """The gradients of q, k and v from that of y; the other arguments are those of forward.

    >>> q, k, v = [[[[1.0]]]], [[[[2.0]], [[2.0]]]], [[[[3.0]], [[5.0]]]]
    >>> y, logsumexp = fused_attention(q, k, v)
    >>> dq, dk, dv = fused_attention_backward([[[[1.0]]]], y, logsumexp, q, k, v)
    >>> dk.ravel().round(3), dv.ravel().round(3)
    (array([-0.5,  0.5], dtype=float32), array([0.5, 0.5], dtype=float32))
    """
    arrays = {"dy": dy, "y": y, "logsumexp": logsumexp, "q": q, "k": k, "v": v, "random": random}
    arrays |= {"query_mask": query_mask, "key_mask": key_mask, "attention_mask": attention_mask}
    flags: dict[str, Any] = {"scale": scale, "rate": rate, "node": node}
    flags |= {"causal": causal, "sliding_window": sliding_window}
    found = run_op("fused_attention_backward", arrays, **flags)
    return found["dq"], found["dk"], found["dv"]
