"""Attention: what a query takes of the values is weighted by how it fits their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from gpunet.arguments import BELOW_1, check_flag
from gpunet.engine.graph import Option, Shape
from gpunet.engine.recorder import LARGEST_HEAD, Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.caching import attend_to_cache, attends_to_cache, attention_can_step


class Attention(Layer):
    """y = softmax(query key^T) value, for each sample; called on [query, value] or with a key.

    Shapes: query (batch, length, features), value (batch, keys, outputs), key (batch, keys,
    features), y (batch, length, outputs). The value is also the key where there is none. A masked
    query takes nothing, a masked value is taken by none; see `Layer` for masks. With
    ``use_causal_mask=True`` in the call, query i sees the keys up to i alone; with
    ``return_attention_scores=True`` it also returns the softmax (batch, length, keys).

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
    call_options = ("use_causal_mask", "return_attention_scores")
    supports_masking = True

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
        self.use_scale = check_flag(self, "use_scale", use_scale)
        self.score_mode = score_mode
        self.dropout = BELOW_1.check(self, "dropout", dropout)

    def build(self, input_shape: tuple[Shape, ...]) -> None:
        """Make the number that scores are multiplied by, if there is one."""
        self.compute_output_shape(input_shape)
        if self.use_scale:
            self.add_weight("scale", (), "ones")

    def check_same_features(self, shape: Any) -> None:
        """One number fits inputs of any shape."""

    def __call__(self, *inputs: Any, mask: Any = None, **options: Any) -> Any:
        """Call the layer on a list of symbolic tensors, [query, value] or [query, value, key].

        Args:
            inputs: the list.
            mask: [query_mask, value_mask], tensors of dtype bool or None.
            options: use_causal_mask=True: query i sees the keys up to i alone;
                return_attention_scores=True: the softmax is returned, too.

        Returns:
            y, or [y, scores] with scores (batch, length, keys).

        Raises:
            ArgumentError: something else than such tensors; an unknown option.
            ShapeError: shapes that do not fit each other.
        """
        if isinstance(mask, list) and len(mask) == 2 and len(inputs[0]) == 3:
            mask = [*mask, None]
        return super().__call__(*inputs, mask=mask, **options)

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, length, outputs)."""
        query, value, key = checked_shapes(self, input_shape)
        if query[2] != key[2]:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} takes a query and a key of the same "
                f"features, got {query} and {key}; give one of them a Dense layer."
            )
        return (*query[:2], value[2])

    def can_step(self, moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
        """With a causal mask, or keys that are there from the start."""
        return attention_can_step(moving, options)

    def output_shapes(
        self, input_shape: tuple[Shape, ...], options: Mapping[str, Option]
    ) -> list[Shape]:
        """That of y, and if they are wanted that of the scores."""
        shapes = super().output_shapes(input_shape, options)
        query, value, *_ = input_shape
        scores = (*query[:2], value[1])
        return [*shapes, scores] if options.get("return_attention_scores") else shapes

    def forward(self, op: Recorder, c: Context) -> None:
        """y = softmax(scale query key^T) value; 0 for queries that are masked."""
        query, value, key = with_key(c.x)
        if self.use_scale:
            scaled = c.scratch(query.shape, "scaled")
            op.gemm(scaled.reshape(-1, 1), query.reshape(-1, 1), c.scale.reshape(1, 1))
            query = scaled
        q, k, v = (one_head(array) for array in (query, key, value))
        (y, scores), masks = outputs_of(c), Masks(*c.mask[:2])
        taken = y
        if scores is not None:  # of masked queries, too
            scores = scores.reshape(scores.shape[0], 1, *scores.shape[1:])
            masks = Masks(None, masks.keys)
            taken = y if c.mask[0] is None else c.scratch(y.shape, "taken")
        y_, rate = one_head(taken), self.dropout
        attend(op, c, y_, q, k, v, scale=1.0, rate=rate, masks=masks, scores=scores)
        if taken is not y:
            op.masked_rows(y.rows, taken.rows, c.mask[0].reshape(-1))

    def backward(self, op: Recorder, c: Context) -> None:
        """dvalue directly, dquery and dkey through the softmax."""
        dquery, dvalue, dkey = with_key(c.dx)
        dy, dscores = gradients_of(op, c)
        if isinstance(c.y, tuple) and c.mask[0] is not None:
            dtaken = c.scratch(dy.shape, "dtaken")
            op.masked_rows(dtaken.rows, dy.rows, c.mask[0].reshape(-1))
            dy = dtaken
        if dscores is not None:
            dscores = dscores.reshape(dscores.shape[0], 1, *dscores.shape[1:])
        dq = c.scratch(dquery.shape, "dscaled") if self.use_scale else dquery
        dqkv = (one_head(dq), one_head(dkey), one_head(dvalue))
        dy_, rate = one_head(dy), self.dropout
        attend_backward(op, c, dy_, *dqkv, scale=1.0, rate=rate, dscores=dscores)
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


class Masks(NamedTuple):
    """Which keys queries see, uint8: 1 where one does, 0 where not; None where all do.

    Attributes:
        queries: (batch, length).
        keys: (batch, keys).
        pairs: (batch, length, keys).
    """

    queries: Buffer | None = None
    keys: Buffer | None = None
    pairs: Buffer | None = None


NO_MASKS = Masks()


class _Attended(NamedTuple):
    """What forward leaves for backward: logsumexp, or the weights before and after dropout."""

    q: Buffer
    k: Buffer
    v: Buffer
    y: Buffer
    masks: Masks
    options: dict[str, Any]
    logsumexp: Buffer | None = None
    weights: Buffer | None = None
    kept: Buffer | None = None


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
    masks: Masks = NO_MASKS,
    sliding_window: int | None = None,
    scores: Buffer | None = None,
) -> None:
    """y = dropout(softmax(scale q k^T)) v, for arrays (batch, length or keys, heads, size).

    Where k and v have fewer heads, several heads of q in a row share one of theirs.

    Args:
        op: the recorder.
        c: the context.
        y: what the queries take of the values.
        q: queries.
        k: keys.
        v: values.
        scale: of the products.
        rate: the share of the weights that is dropped in training.
        masks: which keys queries see.
        sliding_window: if given, query i sees keys j with |i - j| < sliding_window alone.
        scores: where to write the weights before dropout, (batch, heads, length, keys). Then, and
            if heads are larger than `LARGEST_HEAD`, the weights are stored; else they never exist
            as a whole.
    """
    if attends_to_cache(c):
        seen = {"query_mask": masks.queries, "key_mask": masks.keys}
        window = sliding_window
        attend_to_cache(op, c, y, q, k, v, scale=scale, **seen, sliding_window=window)
        return
    batch, length, heads, size = q.shape
    causal = c.options.get("use_causal_mask", False)
    options = {"scale": scale, "causal": causal, "sliding_window": sliding_window}
    dropped = c.training and rate > 0
    if scores is None and max(size, v.shape[3]) <= LARGEST_HEAD:
        logsumexp = c.scratch((batch, heads, length), "logsumexp")
        if dropped:
            options |= {"rate": rate, "node": c.node}
        random = c.random if dropped else None
        op.fused_attention(y, logsumexp, q, k, v, *masks, random, **options)
        c.saved = _Attended(q, k, v, y, masks, options, logsumexp)
        return
    k_, v_ = (_for_each_head(op, c, array, heads) for array in (k, v))
    weights = scores or c.scratch((batch, heads, length, k.shape[1]), "weights")
    op.attention_weights(weights, q, k_, *masks, **options)
    kept = weights
    if dropped:
        kept = c.scratch(weights.shape, "kept")
        op.dropout(kept, weights, c.random, rate=rate, node=c.node)
    op.attention_values(y, kept, v_)
    c.saved = _Attended(q, k_, v_, y, masks, options, None, weights, kept)


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
    dscores: Buffer | None = None,
) -> None:
    """The gradients of q, k and v from that of y and, where they were wanted, of the scores."""
    q, k, v, y, masks, options, logsumexp, weights, kept = c.saved
    if logsumexp is not None:
        random = c.random if "rate" in options else None
        op.fused_attention_backward(
            dq, dk, dv, dy, y, logsumexp, q, k, v, *masks, random, **options
        )
        return
    with _each_head_backward(op, c, dv, v) as dv_:
        op.attention_values_backward(dv_, kept, dy)
    dweights, dproducts = (c.scratch(weights.shape, name) for name in ("dweights", "dproducts"))
    op.attention_scores(dweights, dy, v)
    if kept is not weights:
        dkept, dweights = dweights, c.scratch(weights.shape, "dweights")
        op.dropout(dweights, dkept, c.random, rate=rate, node=c.node)
    if dscores is not None:
        op.add(dweights, dweights, dscores)
    op.softmax_backward(dproducts, dweights, weights)
    op.attention_values(dq, dproducts, k, scale=scale)
    with _each_head_backward(op, c, dk, k) as dk_:
        op.attention_values_backward(dk_, dproducts, q, scale=scale)


def _for_each_head(op: Recorder, c: Context, array: Buffer, heads: int) -> Buffer:
    """Keys or values with a head for each of the queries'."""
    batch, keys, key_heads, size = array.shape
    if key_heads == heads:
        return array
    repeated = c.scratch((batch, keys, heads, size), "repeated")
    shapes = ((batch, keys, count, 1, size) for count in (heads, key_heads))
    large, small = (x.reshape(*shape) for x, shape in zip((repeated, array), shapes, strict=True))
    op.repeat(large, small, times=(1, heads // key_heads, 1))
    return repeated


@contextmanager
def _each_head_backward(
    op: Recorder, c: Context, gradient: Buffer, repeated: Buffer
) -> Iterator[Buffer]:
    """A gradient with a head for each of the queries', which is then added up to the given one."""
    batch, keys, key_heads, size = gradient.shape
    heads = repeated.shape[2]
    if key_heads == heads:
        yield gradient
        return
    large = c.scratch(repeated.shape, "drepeated")
    yield large
    dx = gradient.reshape(batch, keys, key_heads, 1, size)
    dy = large.reshape(batch, keys, heads, 1, size)
    op.repeat_backward(dx, dy, times=(1, heads // key_heads, 1))


def outputs_of(c: Context) -> tuple[Buffer, Buffer | None]:
    """y, and the scores if the call wants them."""
    return c.y if isinstance(c.y, tuple) else (c.y, None)


def gradients_of(op: Recorder, c: Context) -> tuple[Buffer, Buffer | None]:
    """dy and perhaps dscores; a dy of zeros if nothing but the scores was used."""
    if not isinstance(c.y, tuple):
        return c.dy, None
    dy, dscores = c.dy
    if dy is None:
        dy = c.scratch(c.y[0].shape, "dy")
        op.fill(dy, value=0.0)
    return dy, dscores


def with_key(things: Any) -> tuple[Any, Any, Any]:
    """Of query, value and perhaps key: query, value, key."""
    query, value, *key = things
    return query, value, key[0] if key else value


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


def one_head(array: Buffer) -> Buffer:
    """(batch, steps, features) as (batch, steps, 1, features)."""
    batch, length, size = array.shape
    return array.reshape(batch, length, 1, size)
