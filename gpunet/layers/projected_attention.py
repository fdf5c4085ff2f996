"""Attention of several heads on projections of their inputs: what such layers share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import BELOW_1, check_count, check_flag
from gpunet.engine.graph import Option, Shape, Tensor
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.attention import (
    Masks,
    attend,
    attend_backward,
    checked_shapes,
    gradients_of,
    outputs_of,
    with_key,
)
from gpunet.layers.base import Context, Layer
from gpunet.layers.caching import attention_can_step
from gpunet.saving.configs import described

MASKS = ("query_mask", "value_mask", "key_mask", "attention_mask")


class ProjectedAttention(Layer):
    """q, k, v = query Wq + bq, key Wk + bk, value Wv + bv for each head; y = attention Wo + bo.

    Args:
        heads: how many heads of queries.
        key_heads: how many of keys and values, of which each serves as many of queries.
        key_dim: the size of a head's queries and keys.
        value_dim: the size of a head's values.
        dropout: the share of the softmax' numbers that are dropped in training.
        use_bias: whether the projections have biases.
        features: the shape of what stands in the place of the query's features in y; None for the
            query's own.
        sliding_window: if given, query i sees keys j with |i - j| < sliding_window alone.
        use_gate: whether what heads take is multiplied by sigmoid(query Wg + bg).
        options: initializers, regularizers and constraints of kernels and biases, by Keras' names.
        **kwargs: name and so on; see `Layer`.
    """

    inputs = None
    takes_arguments = True
    supports_masking = True
    call_options = ("use_causal_mask", "return_attention_scores")
    call_tensors = MASKS

    def __init__(
        self,
        heads: int,
        key_heads: int,
        key_dim: int,
        value_dim: int,
        dropout: float,
        use_bias: bool,
        features: tuple[int, ...] | None,
        sliding_window: int | None,
        use_gate: bool,
        options: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name in ("flash_attention", "seed", "attention_axes"):
            if options.get(name) is not None and options[name] is not False:
                raise ArgumentError(
                    f"{type(self).__name__} has no {name}, got {options[name]!r}: leave it out."
                )
        if sliding_window is not None:
            check_count(self, "sliding_window", sliding_window)
        self.heads = heads
        self.heads_of = {"query": heads, "key": key_heads, "value": key_heads, "gate": heads}
        self.sizes = {"query": key_dim, "key": key_dim, "value": value_dim, "gate": value_dim}
        self.dropout = BELOW_1.check(self, "dropout", dropout)
        self.use_bias = check_flag(self, "use_bias", use_bias)
        self.features = features
        self.sliding_window = sliding_window
        self.use_gate = check_flag(self, "use_gate", use_gate)
        self.kernel_initializer = initializers.get(options["kernel_initializer"])
        self.bias_initializer = initializers.get(options["bias_initializer"])
        self.kernel_regularizer = regularizers.get(options["kernel_regularizer"])
        self.bias_regularizer = regularizers.get(options["bias_regularizer"])
        self.kernel_constraint = constraints.get(options["kernel_constraint"])
        self.bias_constraint = constraints.get(options["bias_constraint"])

    def __call__(  # type: ignore[override]  # Keras' arguments
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Call the layer on symbolic tensors; masks are of dtype bool.

        Args:
            query: (batch, length, features).
            value: (batch, keys, features).
            key: (batch, keys, features); the value if None.
            query_mask: (batch, length), which queries are there: the others take nothing; that of
                the query if None.
            value_mask: (batch, keys), which values are there: the others are taken by none; that of
                the value if None.
            key_mask: the same of the key.
            attention_mask: (batch, length, keys), which query takes which value.
            return_attention_scores: whether to return the softmax, too.
            training: see `Layer`.
            use_causal_mask: whether query i sees the keys up to i alone.

        Returns:
            y; or [y, scores] with scores (batch, heads, length, keys), before dropout.

        Raises:
            ArgumentError: something else than symbolic tensors.
            ShapeError: shapes that do not fit each other.
        """
        given = (query, value, key)
        tensors = given if key is not None else given[: 1 if value is None else 2]
        masks = dict(zip(MASKS, (query_mask, value_mask, key_mask, attention_mask), strict=True))
        options: dict[str, Any] = {n: mask for n, mask in masks.items() if mask is not None}
        self._check_masks(tensors, options)
        if use_causal_mask:
            options["use_causal_mask"] = use_causal_mask
        if return_attention_scores:
            options["return_attention_scores"] = return_attention_scores
        return super().__call__(*tensors, training=training, **options)

    def _check_masks(self, tensors: tuple[Any, ...], masks: Mapping[str, Any]) -> None:
        """Check given masks, as far as they and what they are of are tensors."""
        if len(tensors) < 2 or not all(isinstance(tensor, Tensor) for tensor in tensors):
            return  # which the call itself will say
        query, keys = (tensor.shape[:2] for tensor in tensors[:2])
        shapes = dict.fromkeys(("value_mask", "key_mask"), keys)
        shapes |= {"query_mask": query, "attention_mask": (*query, keys[1])}
        for name, mask in masks.items():
            if not isinstance(mask, Tensor) or mask.dtype != "bool":
                raise ArgumentError(
                    f"{type(self).__name__} {self.label!r} takes a symbolic tensor of dtype bool "
                    f"as {name}, got {mask!r}; make it an Input(shape, dtype='bool')."
                )
            if mask.shape != shapes[name]:
                raise ShapeError(
                    f"{type(self).__name__} {self.label!r} takes a {name} of shape {shapes[name]}, "
                    f"got {mask.shape}."
                )

    def build(self, input_shape: tuple[Shape, ...]) -> None:
        """Make the kernels and biases of query, key, value and output, in Keras' order."""
        query, value, key = checked_shapes(self, input_shape)
        sources = {"query": query, "key": key, "gate": query, "value": value}
        for name, shape in sources.items():
            if name != "gate" or self.use_gate:
                outer = (self.heads_of[name], self.sizes[name])
                self._add_projection(name, (shape[2] or 0,), outer)
        self._add_projection("output", (self.heads, self.sizes["value"]), self._features(query))

    def _add_projection(self, name: str, inner: tuple[int, ...], outer: tuple[int, ...]) -> None:
        self.add_weight(
            f"{name}_kernel",
            (*inner, *outer),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.add_weight(
                f"{name}_bias",
                outer,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the inputs have other features than those of the first call."""
        built = [of[-1] for of in with_key(self.built_for)]
        given = [of[-1] for of in checked_shapes(self, shape)]
        if built != given:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} was built for a query, a value and a key "
                f"with {built} features, got {given}; make another layer for other features."
            )

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, length, *output_shape)."""
        query, *_ = checked_shapes(self, input_shape)
        return (*query[:2], *self._features(query))

    def output_shapes(
        self, input_shape: tuple[Shape, ...], options: Mapping[str, Option]
    ) -> list[Shape]:
        """That of y, and if they are wanted that of the scores."""
        shapes = super().output_shapes(input_shape, options)
        query, value, *_ = input_shape
        scores = (query[0], self.heads, query[1], value[1])
        return [*shapes, scores] if options.get("return_attention_scores") else shapes

    def _features(self, query: Shape) -> tuple[int, ...]:
        return self.features or (query[2] or 0,)

    def can_step(self, moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
        """With a causal mask, or keys that are there from the start."""
        sees_all = self.sliding_window is None or moving[1]
        return sees_all and attention_can_step(moving, options)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = (softmax(q k^T / sqrt(key_dim)) v) Wo + bo."""
        query, value, key = with_key(c.x)
        y, scores = outputs_of(c)
        q = self._project(op, c, "query", query)  # (batch, length, heads, key_dim)
        k = self._project(op, c, "key", key)
        v = self._project(op, c, "value", value)
        taken = c.scratch((*q.shape[:3], self.sizes["value"]), "taken")
        attend(
            op,
            c,
            taken,
            q,
            k,
            v,
            scale=self._scale,
            rate=self.dropout,
            masks=self._masks(op, c),
            sliding_window=self.sliding_window,
            scores=scores,
        )
        c.hidden = (taken, None, taken)
        if self.use_gate:
            gate = self._project(op, c, "gate", query, "sigmoid")
            gated = c.scratch(taken.shape, "gated")
            op.multiply(gated, taken, gate)
            c.hidden = (taken, gate, gated)
        self._times(op, c, "output", y, c.hidden[2])

    def backward(self, op: Recorder, c: Context) -> None:
        """The gradients of the output's projection, of attention, and of the others."""
        query, value, key = with_key(c.x)
        dquery, dvalue, dkey = with_key(c.dx)
        taken, gate, gated = c.hidden
        dy, dscores = gradients_of(op, c)
        dtaken = c.scratch(taken.shape, "dtaken")
        self._times_backward(op, c, "output", dtaken, dy, gated)
        if gate is not None:
            dgate, dgated = c.scratch(gate.shape, "dgate"), dtaken
            op.multiply(dgate, dgated, taken)
            dtaken = c.scratch(taken.shape, "dtaken")
            op.multiply(dtaken, dgated, gate)
            dz = c.scratch(gate.shape, "dz")
            op.bias_act_backward(dz, None, dgate, gate, activation="sigmoid")
            self._times_backward(op, c, "gate", dquery, dz, query)
        scale, rate = self._scale, self.dropout
        dq, dk, dv = (
            c.scratch((*x.shape[:2], self.heads_of[name], self.sizes[name]), f"d{name}")
            for name, x in (("query", query), ("key", key), ("value", value))
        )
        attend_backward(op, c, dtaken, dq, dk, dv, scale=scale, rate=rate, dscores=dscores)
        self._times_backward(op, c, "value", dvalue, dv, value)
        self._times_backward(op, c, "key", dkey, dk, key)
        self._times_backward(op, c, "query", dquery, dq, query)

    def _masks(self, op: Recorder, c: Context) -> Masks:
        """The masks that were given, or those of the inputs."""
        queries, values, *keys = c.mask
        queries = queries if c.query_mask is None else c.query_mask
        found = [values if c.value_mask is None else c.value_mask]
        found.append(c.key_mask or (keys[0] if keys else None))
        different = list(dict.fromkeys(mask for mask in found if mask is not None))
        both = different[0] if different else None
        if len(different) > 1:
            both = c.scratch(different[0].shape, "seen", "uint8")
            op.both_mask(both, *different)
        return Masks(queries, both, c.attention_mask)

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.sizes["query"])

    def _project(
        self, op: Recorder, c: Context, name: str, x: Buffer, activation: str = "linear"
    ) -> Buffer:
        """activation(x kernel + bias) for each head."""
        y = c.scratch((*x.shape[:2], *getattr(c, f"{name}_kernel").shape[1:]), name)
        self._times(op, c, name, y, x, activation)
        return y

    def _times(
        self,
        op: Recorder,
        c: Context,
        name: str,
        y: Buffer,
        x: Buffer,
        activation: str = "linear",
    ) -> None:
        """y = activation(x kernel + bias), all of them as matrices."""
        rows = math.prod(x.shape[:2])
        x, y = x.reshape(rows, -1), y.reshape(rows, -1)
        bias = getattr(c, f"{name}_bias").reshape(-1) if self.use_bias else None
        kernel = getattr(c, f"{name}_kernel").reshape(x.shape[1], y.shape[1])
        op.gemm_bias_act(y, x, kernel, bias, activation=activation)

    def _times_backward(
        self, op: Recorder, c: Context, name: str, dx: Buffer, dy: Buffer, x: Buffer
    ) -> None:
        """dkernel = x^T dy, dbias = column sums of dy, dx = dy kernel^T."""
        rows = math.prod(x.shape[:2])
        x, dx, dy = (array.reshape(rows, -1) for array in (x, dx, dy))
        kernel, dkernel = (
            getattr(c, key).reshape(x.shape[1], dy.shape[1])
            for key in (f"{name}_kernel", f"d{name}_kernel")
        )
        if self.use_bias:
            dbias = getattr(c, f"d{name}_bias").reshape(-1)
            op.gemm_column_sum(dkernel, dbias, x, dy, ta=True)
        else:
            op.gemm(dkernel, x, dy, ta=True)
        op.gemm(dx, dy, kernel, tb=True)

    def get_config(self) -> dict[str, Any]:
        """What the constructors have in common."""
        return {
            **super().get_config(),
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "sliding_window": self.sliding_window,
            "use_gate": self.use_gate,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": described(self.kernel_regularizer),
            "bias_regularizer": described(self.bias_regularizer),
            "kernel_constraint": described(self.kernel_constraint),
            "bias_constraint": described(self.bias_constraint),
            "seed": None,
        }
