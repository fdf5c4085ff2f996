"""Attention: what a query takes of the values is weighted by how it fits their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.caching import attend_to_cache, attends_to_cache, attention_can_step


class Attention(Layer):
    """y = softmax(query key^T) value, for each sample; called on [query, value] or with a key.

    Shapes: query (batch, length, features), value (batch, keys, outputs), key (batch, keys,
    features), y (batch, length, outputs). The value is also the key where there is none. With
    ``use_causal_mask=True`` in the call, query i sees the keys up to i alone.

    Args:
        use_scale: whether query key^T is multiplied by a number that is learned.
        score_mode: "dot", the only one here.
        dropout: the share of the softmax' numbers that are dropped in training, in [0, 1).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense; inputs that are no list
            of two or three tensors.
        ShapeError: inputs of shapes that do not fit each other.

    Source: Luong, Pham and Manning, 2015, arXiv:1508.04025.

    Example:
        >>> from gpunet import Input, Model
        >>> query, value = Input((5, 8)), Input((7, 8))
        >>> Model([query, value], Attention()([query, value])).output_shape
        (None, 5, 8)
    """

    inputs = None
    call_options = ("use_causal_mask",)

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if score_mode != "dot":
            raise ArgumentError(
                f'Attention {self.label!r} takes score_mode="dot", got {score_mode!r}.'
            )
        self.use_scale = use_scale
        self.score_mode = score_mode
        self.dropout = checked_rate(self, dropout)

    def build(self, input_shape: tuple[Shape, ...]) -> None:
        """Make the number that scores are multiplied by, if there is one."""
        self.compute_output_shape(input_shape)
        if self.use_scale:
            self.add_weight("scale", (), "ones")

    def check_same_features(self, shape: Any) -> None:
        """One number fits inputs of any shape."""

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, length, outputs)."""
        query, value, key = checked_shapes(self, input_shape)
        if query[2] != key[2]:
            raise ShapeError(
                f"Attention {self.label!r} takes a query and a key of the same features, got "
                f"{query} and {key}; give one of them a Dense layer."
            )
        return (*query[:2], value[2])

    def can_step(self, moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
        """With a causal mask, or keys that are there from the start."""
        return attention_can_step(moving, options)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = softmax(scale query key^T) value."""
        query, value, key = with_key(c.x)
        if self.use_scale:
            scaled = c.scratch(query.shape, "scaled")
            op.gemm(scaled.reshape(-1, 1), query.reshape(-1, 1), c.scale.reshape(1, 1))
            query = scaled
        q, k, v = (_one_head(array) for array in (query, key, value))
        attend(op, c, _one_head(c.y), q, k, v, scale=1.0, rate=self.dropout)

    def backward(self, op: Recorder, c: Context) -> None:
        """dvalue directly, dquery and dkey through the softmax."""
        dquery, dvalue, dkey = with_key(c.dx)
        dq = c.scratch(dquery.shape, "dscaled") if self.use_scale else dquery
        dqkv = (_one_head(dq), _one_head(dkey), _one_head(dvalue))
        attend_backward(op, c, _one_head(c.dy), *dqkv, scale=1.0, rate=self.dropout)
        if self.use_scale:
            dscaled, query, scale = dq.reshape(-1, 1), c.x[0].reshape(-1, 1), c.scale.reshape(1, 1)
            op.gemm(c.dscale.reshape(1, 1), query, dscaled, ta=True)
            op.gemm(dquery.reshape(-1, 1), dscaled, scale)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "use_scale": self.use_scale,
            "score_mode": self.score_mode,
            "dropout": self.dropout,
        }


# ------------------------------------------------------------ what attention layers share


def attend(
    op: Recorder,
    c: Context,
    y: Buffer,
    q: Buffer,
    k: Buffer,
    v: Buffer,
    *,
    scale: float,
    rate: float,
) -> None:
    """y = dropout(softmax(scale q k^T)) v, for arrays (batch, length or keys, heads, size)."""
    if attends_to_cache(c):
        attend_to_cache(op, c, y, q, k, v, scale=scale)
        return
    batch, length, heads, _ = q.shape
    weights = c.scratch((batch, heads, length, k.shape[1]), "weights")
    causal = c.options.get("use_causal_mask", False)
    op.attention_weights(weights, q, k, scale=scale, causal=causal)
    kept = weights
    if c.training and rate > 0:
        kept = c.scratch(weights.shape, "kept")
        op.dropout(kept, weights, c.random, rate=rate, node=c.node)
    op.attention_values(y, kept, v)
    c.saved = (q, k, v, weights, kept)


def attend_backward(
    op: Recorder,
    c: Context,
    dy: Buffer,
    dq: Buffer,
    dk: Buffer,
    dv: Buffer,
    *,
    scale: float,
    rate: float,
) -> None:
    """dv = weights^T dy; dq and dk are products with the gradient of the scores."""
    q, k, v, weights, kept = c.saved
    op.attention_values_backward(dv, kept, dy)
    dweights, dscores = (c.scratch(weights.shape, name) for name in ("dweights", "dscores"))
    op.attention_scores(dweights, dy, v)
    if kept is not weights:
        dkept, dweights = dweights, c.scratch(weights.shape, "dweights")
        op.dropout(dweights, dkept, c.random, rate=rate, node=c.node)
    op.softmax_backward(dscores, dweights, weights)
    op.attention_values(dq, dscores, k, scale=scale)
    op.attention_values_backward(dk, dscores, q, scale=scale)


def with_key(things: Any) -> tuple[Any, Any, Any]:
    """Of query, value and perhaps key: query, value, key."""
    query, value, *key = things
    return query, value, key[0] if key else value


def checked_rate(layer: Layer, rate: Any) -> float:
    """A share to drop.

    Raises:
        ArgumentError: it does not lie in [0, 1).
    """
    if not isinstance(rate, int | float | np.number) or not 0 <= rate < 1:
        raise ArgumentError(
            f"{type(layer).__name__} {layer.label!r} takes a dropout of at least 0 and below 1, "
            f"got {rate!r}."
        )
    return float(rate)


def checked_shapes(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Shape, Shape, Shape]:
    """The shapes of query, value and key.

    Raises:
        ArgumentError: there are not two or three.
        ShapeError: they are no sequences, or there is not a value for each key.
    """
    if len(shapes) not in (2, 3):
        raise ArgumentError(
            f"{type(layer).__name__} {layer.label!r} takes two or three inputs, a query, a value "
            f"and perhaps a key, got {len(shapes)}."
        )
    query, value, key = with_key(shapes)
    if any(len(shape) != 3 for shape in (query, value, key)):
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} expects inputs (batch, length, features), got "
            f"a query {query}, a value {value} and a key {key}; reshape them."
        )
    if key[1] != value[1]:
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} takes a value for each key, got a value "
            f"{value} and a key {key}; give them the same length."
        )
    return query, value, key


def _one_head(array: Buffer) -> Buffer:
    batch, length, size = array.shape
    return array.reshape(batch, length, 1, size)
