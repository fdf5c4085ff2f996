"""Attention: products of queries, keys and values, for every sample and head at once.

Queries are (batch, length, heads, size), keys and values (batch, keys, heads, size): the layout
that their projections have, so that nothing is transposed in memory. What stands between them has
a number for each query and key, (batch, heads, length, keys): scores, and their softmax along the
keys, the weights with which a query takes the values.

The gradients of `attention_scores` are an `attention_values` (of q) and an
`attention_values_backward` (of k) with the same scale, those of `attention_values` an
`attention_scores` (of weights) and an `attention_values_backward` (of v); `softmax_backward` lies
between the two.
"""

from __future__ import annotations

from gpunet.backend.spec import In, Out, Sum, op

_QUERIES = "batch length heads size"
_KEYS = "batch keys heads size"
_WEIGHTS = "batch heads length keys"


@op(scores=_WEIGHTS, q=_QUERIES, k=_KEYS)
def attention_scores(scores: Out, q: In, k: In, *, scale: float = 1.0) -> None:
    """scores = scale * q k^T for each sample and head."""


@op(
    weights=_WEIGHTS,
    q=_QUERIES,
    k=_KEYS,
    query_mask="uint8: batch length",
    key_mask="uint8: batch keys",
    attention_mask="uint8: batch length keys",
)
def attention_weights(
    weights: Out,
    q: In,
    k: In,
    query_mask: In | None = None,
    key_mask: In | None = None,
    attention_mask: In | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """weights = softmax(scale * q k^T) along the keys that are seen, 0 for the others.

    Which these are says the module `fused_attention`. A query that sees no key has weights of 0.
    """


@op(
    weights=_WEIGHTS,
    scores=_WEIGHTS,
    query_mask="uint8: batch length",
    key_mask="uint8: batch keys",
    attention_mask="uint8: batch length keys",
    in_place="weights=scores",
)
def softmax_of_seen(
    weights: Out,
    scores: In,
    query_mask: In | None = None,
    key_mask: In | None = None,
    attention_mask: In | None = None,
    *,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """weights = softmax(scores) along the keys that are seen, 0 for the others: `attention_weights`
    for scores of any kind."""  # noqa: D205, D209


@op(y=_QUERIES, weights=_WEIGHTS, v=_KEYS)
def attention_values(
    y: Sum, weights: In, v: In, *, scale: float = 1.0, accumulate: bool = False
) -> None:
    """y = scale * weights v for each sample and head."""


@op(dv=_KEYS, weights=_WEIGHTS, dy=_QUERIES)
def attention_values_backward(
    dv: Sum, weights: In, dy: In, *, scale: float = 1.0, accumulate: bool = False
) -> None:
    """dv = scale * weights^T dy for each sample and head."""
