"""Attention: batched products on views, some samples at a time, whose scores stay in the cache.

``np.matmul`` hands a matrix to BLAS as it lies if its columns are neighbours: the heads of a
(batch, length, heads, size) array are never copied apart.
"""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.activations import softmax
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
    weights: Array, q: Array, k: Array, *, scale: float = 1.0, causal: bool = False
) -> Call:
    """weights = softmax(scale * q k^T) along the keys, for each sample and head."""
    length, keys = weights.shape[2:]
    behind = ~np.tri(length, keys, dtype=bool) if causal else None

    @prepared
    def of_samples(weights_: Array, q_: Array, k_: Array) -> Call:
        product = bind(attention_scores, weights_, q_, k_, scale=scale)
        rows = weights_.reshape(weights_.size // max(keys, 1), keys)
        along_rows = bind(softmax, rows, rows)

        def run() -> None:
            product()
            if behind is not None:
                np.copyto(weights_, -np.inf, where=behind)
            along_rows()

        return run

    return bind_blocks(of_samples, weights, q, k)


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
