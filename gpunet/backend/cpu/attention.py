"""Attention: batched products on views, some samples at a time, whose scores stay in the cache.

``np.matmul`` hands a matrix to BLAS as it lies if its columns are neighbours: the heads of a
(batch, length, heads, size) array are never copied apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.backend.cpu.activations import row_max
from gpunet.backend.cpu.blocks import INFINITY, ONE, ZERO, ones
from gpunet.backend.cpu.prepared import Call, bind, bind_blocks, prepared
from gpunet.backend.spec import Array


@prepared
def attention_scores(scores: Array, q: Array, k: Array, *, scale: float = 1.0) -> Call:
    """scores = scale * q k^T for each sample and head."""

    @prepared
    def of_samples(scores_: Array, q_: Array, k_: Array) -> Call:
        queries, columns = q_.transpose(0, 2, 1, 3), k_.transpose(0, 2, 3, 1)

        def run() -> None:
            np.matmul(queries, columns, out=scores_)
            if scale != 1:
                np.multiply(scores_, scale, out=scores_)

        return run

    return bind_blocks(of_samples, scores, q, k)


@prepared
def attention_weights(
    weights: Array,
    q: Array,
    k: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    *,
    scale: float = 1.0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Call:
    """weights = softmax(scale * q k^T) along the keys that are seen, 0 for the others."""
    queries, keys = (slice(0, size) for size in weights.shape[2:])

    @prepared
    def of_samples(weights_: Array, q_: Array, k_: Array, *masks: Array | None) -> Call:
        product = bind(attention_scores, weights_, q_, k_, scale=scale)

        def run() -> None:
            if weights_.size:
                product()
                hide_unseen(weights_, queries, keys, masks, causal, sliding_window)
                _, totals = exponentiate(weights_)
                np.divide(weights_, totals[..., None], out=weights_)

        return run

    return bind_blocks(of_samples, weights, q, k, query_mask, key_mask, attention_mask)


@prepared
def softmax_of_seen(
    weights: Array,
    scores: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    *,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Call:
    """weights = softmax(scores) along the keys that are seen, 0 for the others."""
    queries, keys = (slice(0, size) for size in weights.shape[2:])

    def of_samples(weights_: Array, scores_: Array, *masks: Array | None) -> None:
        if weights_.size:
            np.copyto(weights_, scores_)
            hide_unseen(weights_, queries, keys, masks, causal, sliding_window)
            _, totals = exponentiate(weights_)
            np.divide(weights_, totals[..., None], out=weights_)

    return bind_blocks(of_samples, weights, scores, query_mask, key_mask, attention_mask)


def hide_unseen(
    scores: Array,
    queries: slice,
    keys: slice,
    masks: Sequence[Array | None],
    causal: bool,
    sliding_window: int | None,
) -> None:
    """scores (samples, ..., queries, keys) = -inf where a query does not see a key.

    The masks, of queries, keys and both, are of all queries and keys of the samples.
    """
    query_mask, key_mask, attention_mask = masks
    i = np.arange(queries.start, queries.stop)[:, None]
    j = np.arange(keys.start, keys.stop)
    between = (slice(None), *[None] * (scores.ndim - 3))  # samples, then heads
    hidden = []
    if causal and keys.stop - 1 > queries.start:
        hidden.append(j > i)
    if sliding_window is not None:
        hidden.append(np.abs(j - i) >= sliding_window)
    if query_mask is not None:
        hidden.append(query_mask[(*between, queries, None)] == 0)
    if key_mask is not None:
        hidden.append(key_mask[(*between, None, keys)] == 0)
    if attention_mask is not None:
        hidden.append(attention_mask[(*between, queries, keys)] == 0)
    for where in hidden:
        np.copyto(scores, -INFINITY, where=where)


def exponentiate(scores: Array) -> tuple[Array, Array]:
    """scores = exp(scores - largest) along the keys; returns largest and the sums of the result.

    Of scores that are all -inf it makes zeros, and a sum of 1: the largest has exp(0), if there is
    one.
    """
    keys = scores.shape[-1]
    largest = row_max(scores.reshape(-1, keys)).reshape(scores.shape[:-1])
    shift = np.where(np.isneginf(largest), ZERO, largest)
    np.subtract(scores, shift[..., None], out=scores)
    np.exp(scores, out=scores)
    totals = np.matmul(scores, ones(keys, scores))
    return largest, np.maximum(totals, ONE, out=totals)


@prepared
def attention_values(
    y: Array, weights: Array, v: Array, *, scale: float = 1.0, accumulate: bool = False
) -> Call:
    """y = scale * weights v for each sample and head."""
    return _product(y, weights, v, scale, accumulate)


@prepared
def attention_values_backward(
    dv: Array, weights: Array, dy: Array, *, scale: float = 1.0, accumulate: bool = False
) -> Call:
    """dv = scale * weights^T dy for each sample and head."""
    return _product(dv, weights.transpose(0, 1, 3, 2), dy, scale, accumulate)


def _product(y: Array, weights: Array, v: Array, scale: float, accumulate: bool) -> Call:
    """y = scale * weights v, or y += that."""

    @prepared
    def of_samples(y_: Array, weights_: Array, v_: Array) -> Call:
        heads, values = y_.transpose(0, 2, 1, 3), v_.transpose(0, 2, 1, 3)

        def run() -> None:
            np.matmul(weights_, values, out=heads)
            if scale != 1:
                np.multiply(y_, scale, out=y_)

        def add() -> None:
            product = np.matmul(weights_, values)
            if scale != 1:
                np.multiply(product, scale, out=product)
            np.add(heads, product, out=heads)

        return add if accumulate else run

    return bind_blocks(of_samples, y, weights, v)
