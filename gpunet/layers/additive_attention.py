"""Attention whose scores are sums of tanh."""

from __future__ import annotations

from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.attention import (
    Attention,
    Masks,
    gradients_of,
    one_head,
    outputs_of,
    with_key,
)
from gpunet.layers.base import Context


class AdditiveAttention(Attention):
    """y = softmax(scores) value, scores[i, j] = sum(scale * tanh(query[i] + key[j])).

    Called on [query, value] or [query, value, key], with the shapes, masks and options of
    `Attention`. The sum goes over the features, each of which has a scale of its own. It needs
    memory for (batch, length, keys, features) numbers.

    Args:
        use_scale: whether there is a scale, which is learned.
        dropout: the share of the softmax' numbers that are dropped in training, in [0, 1).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense; inputs that are no list
            of two or three tensors.
        ShapeError: inputs of shapes that do not fit each other.

    Source: Bahdanau, Cho and Bengio, 2015, arXiv:1409.0473.

    Example:
        >>> from gpunet import Input, Model
        >>> query, value = Input((5, 8)), Input((7, 8))
        >>> Model([query, value], AdditiveAttention()([query, value])).output_shape
        (None, 5, 8)
    """

    def __init__(self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: tuple[Shape, ...]) -> None:
        """Make the scale of each feature, if there is one."""
        self.compute_output_shape(input_shape)
        if self.use_scale:
            self.add_weight("scale", (input_shape[0][2] or 0,), "glorot_uniform")

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the query has other features than that of the first call."""
        super(Attention, self).check_same_features(shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = dropout(softmax(sum(scale * tanh(query + key)))) value."""
        query, value, key = with_key(c.x)
        y, weights = outputs_of(c)
        batch, length, keys = query.shape[0], query.shape[1], key.shape[1]
        sums = c.scratch((batch, length, keys, query.shape[2]), "sums")
        of_keys = c.scratch(sums.shape, "of_keys")
        _repeat(op, sums, query, of_rows=True)
        _repeat(op, of_keys, key, of_rows=False)
        op.add(sums, sums, of_keys)
        op.bias_act(sums.rows, sums.rows, None, activation="tanh")
        scores = c.scratch((batch, 1, length, keys), "scores")
        op.gemm(scores.reshape(-1, 1), sums.rows, self._scale(op, c, query))
        weights = c.scratch(scores.shape, "weights") if weights is None else weights
        weights = weights.reshape(*scores.shape)
        causal = c.options.get("use_causal_mask", False)
        op.softmax_of_seen(weights, scores, *Masks(None, c.mask[1]), causal=causal)
        kept = weights
        if c.training and self.dropout > 0:
            kept = c.scratch(weights.shape, "kept")
            op.dropout(kept, weights, c.random, rate=self.dropout, node=c.node)
        taken = y if c.mask[0] is None else c.scratch(y.shape, "taken")
        op.attention_values(one_head(taken), kept, one_head(value))
        if taken is not y:
            op.masked_rows(y.rows, taken.rows, c.mask[0].reshape(-1))
        c.saved, c.hidden = (weights, kept), sums

    def backward(self, op: Recorder, c: Context) -> None:
        """Through the weights, the softmax and tanh."""
        query, value, _ = with_key(c.x)
        dquery, dvalue, dkey = with_key(c.dx)
        (weights, kept), sums = c.saved, c.hidden
        dy, dscores = gradients_of(op, c)
        if c.mask[0] is not None:
            dtaken = c.scratch(dy.shape, "dtaken")
            op.masked_rows(dtaken.rows, dy.rows, c.mask[0].reshape(-1))
            dy = dtaken
        op.attention_values_backward(one_head(dvalue), kept, one_head(dy))
        dweights, dz = (c.scratch(weights.shape, name) for name in ("dweights", "dscores"))
        op.attention_scores(dweights, one_head(dy), one_head(value))
        if kept is not weights:
            dkept, dweights = dweights, c.scratch(weights.shape, "dweights")
            op.dropout(dweights, dkept, c.random, rate=self.dropout, node=c.node)
        if dscores is not None:
            op.add(dweights, dweights, dscores.reshape(*dweights.shape))
        op.softmax_backward(dz, dweights, weights)
        if self.use_scale:
            op.gemm(c.dscale.reshape(-1, 1), sums.rows, dz.reshape(-1, 1), ta=True)
        dsums = c.scratch(sums.shape, "dsums")
        op.gemm(dsums.rows, dz.reshape(-1, 1), self._scale(op, c, query), tb=True)
        dtanh = c.scratch(sums.shape, "dtanh")
        op.bias_act_backward(dtanh.rows, None, dsums.rows, sums.rows, activation="tanh")
        _repeat_backward(op, dquery, dtanh, of_rows=True)
        _repeat_backward(op, dkey, dtanh, of_rows=False)

    def _scale(self, op: Recorder, c: Context, query: Buffer) -> Buffer:
        """The scale, or ones, as a column."""
        if self.use_scale:
            scale: Buffer = c.scale.reshape(-1, 1)
            return scale
        ones = c.scratch((query.shape[2], 1), "ones")
        op.fill(ones, value=1.0)
        return ones

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["score_mode"]
        return config


def _repeat(op: Recorder, sums: Buffer, x: Buffer, *, of_rows: bool) -> None:
    """sums[b, i, j] = x[b, i] (of_rows) or x[b, j]."""
    large, small, times = _axes(sums, x, of_rows)
    op.repeat(large, small, times=times)


def _repeat_backward(op: Recorder, dx: Buffer, dsums: Buffer, *, of_rows: bool) -> None:
    """dx[b, i] = sum over j of dsums[b, i, j] (of_rows), or the sum over i."""
    large, small, times = _axes(dsums, dx, of_rows)
    op.repeat_backward(small, large, times=times)


def _axes(sums: Buffer, x: Buffer, of_rows: bool) -> tuple[Buffer, Buffer, tuple[int, int, int]]:
    batch, length, keys, features = sums.shape
    if of_rows:  # each query stands in as many neighbouring places as there are keys
        large = sums.reshape(batch, length, keys, 1, features)
        return large, x.reshape(batch, length, 1, 1, features), (1, keys, 1)
    # All keys of a sample are one row of numbers, which stands there once for each query.
    large = sums.reshape(batch, length, 1, 1, keys * features)
    return large, x.reshape(batch, 1, 1, 1, keys * features), (length, 1, 1)
