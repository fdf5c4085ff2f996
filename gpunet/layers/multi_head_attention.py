"""Several attentions beside each other, each on projections of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.attention import attend, attend_backward, checked_rate, checked_shapes, with_key
from gpunet.layers.base import Context, Layer
from gpunet.layers.caching import attention_can_step
from gpunet.saving.configs import described


class MultiHeadAttention(Layer):
    """Several attentions beside each other, each on projections of its own; called on tensors.

    q, k, v = query Wq + bq, key Wk + bk, value Wv + bv for each head, then
    y = sum over heads of (softmax(q k^T / sqrt(key_dim)) v) Wo + bo.

    It is called as ``layer(query, value)``, where the value is also the key, or ``layer(query,
    value, key)``; ``layer(x, x)`` is self-attention. With ``use_causal_mask=True`` in the call,
    query i sees the keys up to i alone. Shapes: query (batch, length, features), value and key
    (batch, keys, features), each with features of its own, y (batch, length, features of query).

    Args:
        num_heads: how many heads.
        key_dim: the size of a head's queries and keys.
        value_dim: the size of a head's values; key_dim if None.
        dropout: the share of the softmax' numbers that are dropped in training, in [0, 1).
        use_bias: whether the projections have biases.
        output_shape: the number of y's features, or the shape of what stands in their place; those
            of the query if None.
        attention_axes: None: attention goes along axis 1.
        sliding_window: None: every key may be seen.
        flash_attention: None, which is for Keras alone.
        kernel_initializer: first values of the kernels (features, num_heads, key_dim or value_dim)
            and (num_heads, value_dim, *output_shape).
        bias_initializer: first values of the biases.
        kernel_regularizer: a penalty on each kernel.
        bias_regularizer: a penalty on each bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what is done to the kernels after each step.
        bias_constraint: what is done to the biases after each step.
        use_gate: False: heads are not multiplied by a gate.
        seed: None: random numbers follow `gpunet.random.set_seed`.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or one that gpunet does
            not have; a call with masks, or for the scores.
        ShapeError: inputs of shapes that do not fit each other, or other features than at first.

    Source: Vaswani et al., 2017, arXiv:1706.03762.

    Example:
        >>> from gpunet import Input, Model
        >>> x = Input((10, 16))
        >>> y = MultiHeadAttention(num_heads=2, key_dim=8)(x, x, use_causal_mask=True)
        >>> Model(x, y).count_params()
        1088
    """

    inputs = None
    takes_arguments = True
    call_options = ("use_causal_mask",)

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: None = None,
        sliding_window: None = None,
        flash_attention: None = None,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        for name in ("attention_axes", "sliding_window", "flash_attention", "use_gate", "seed"):
            if locals()[name] is not None and locals()[name] is not False:
                raise ArgumentError(
                    f"MultiHeadAttention has no {name}, got {locals()[name]!r}: leave it out."
                )
        sizes = {"num_heads": num_heads, "key_dim": key_dim, "value_dim": value_dim or key_dim}
        shape = output_shape if isinstance(output_shape, list | tuple) else (output_shape or 1,)
        for name, size in (*sizes.items(), *(("output_shape", size) for size in shape)):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ArgumentError(
                    f"MultiHeadAttention takes a positive integer for {name}, got {size!r}."
                )
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.value_dim = value_dim or key_dim
        self.dropout = checked_rate(self, dropout)
        self.use_bias = use_bias
        self.features = tuple(shape) if output_shape else None
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def __call__(  # type: ignore[override]  # Keras' arguments
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: None = None,
        value_mask: None = None,
        key_mask: None = None,
        attention_mask: None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Call the layer on symbolic tensors.

        Args:
            query: (batch, length, features).
            value: (batch, keys, features).
            key: (batch, keys, features); the value if None.
            query_mask: None, as gpunet has no masks yet other than the causal one.
            value_mask: the same.
            key_mask: the same.
            attention_mask: the same.
            return_attention_scores: False.
            training: see `Layer`.
            use_causal_mask: whether query i sees the keys up to i alone.

        Returns:
            A tensor.

        Raises:
            ArgumentError: something else than symbolic tensors; a mask, or the scores are wanted.
            ShapeError: shapes that do not fit each other.
        """
        masks = (query_mask, value_mask, key_mask, attention_mask)
        if return_attention_scores or any(mask is not None for mask in masks):
            raise ArgumentError(
                f"MultiHeadAttention {self.label!r} takes use_causal_mask=True and no other masks, "
                "and returns no scores; leave masks and return_attention_scores out."
            )
        given = (query, value, key)
        tensors = given if key is not None else given[: 1 if value is None else 2]
        options = {"use_causal_mask": use_causal_mask} if use_causal_mask else {}
        return super().__call__(*tensors, training=training, **options)

    def build(self, input_shape: tuple[Shape, ...]) -> None:
        """Make the kernels and biases of query, key, value and output, in Keras' order."""
        query, value, key = checked_shapes(self, input_shape)
        heads, outputs = self.num_heads, self._features(query)
        self._add_projection("query", (query[2] or 0,), (heads, self.key_dim))
        self._add_projection("key", (key[2] or 0,), (heads, self.key_dim))
        self._add_projection("value", (value[2] or 0,), (heads, self.value_dim))
        self._add_projection("output", (heads, self.value_dim), outputs)

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
        given = [of[-1] for of in with_key(shape)]
        if built != given:
            raise ShapeError(
                f"MultiHeadAttention {self.label!r} was built for a query, a value and a key with "
                f"{built} features, got {given}; make another layer for other features."
            )

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, length, *output_shape)."""
        query, *_ = checked_shapes(self, input_shape)
        return (*query[:2], *self._features(query))

    def _features(self, query: Shape) -> tuple[int, ...]:
        return self.features or (query[2] or 0,)

    def can_step(self, moving: Sequence[bool], options: Mapping[str, Any]) -> bool:
        """With a causal mask, or keys that are there from the start."""
        return attention_can_step(moving, options)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = (softmax(q k^T / sqrt(key_dim)) v) Wo + bo."""
        query, value, key = with_key(c.x)
        q = self._project(op, c, "query", query)  # (batch, length, heads, key_dim)
        k = self._project(op, c, "key", key)
        v = self._project(op, c, "value", value)
        taken = c.scratch((*q.shape[:3], self.value_dim), "taken")
        attend(op, c, taken, q, k, v, scale=self._scale, rate=self.dropout)
        c.hidden = taken
        self._times(op, c, "output", c.y, taken)

    def backward(self, op: Recorder, c: Context) -> None:
        """The gradients of the output's projection, of attention, and of the three others."""
        query, value, key = with_key(c.x)
        dquery, dvalue, dkey = with_key(c.dx)
        q, k, v, *_ = c.saved
        dtaken = c.scratch(c.hidden.shape, "dtaken")
        self._times_backward(op, c, "output", dtaken, c.dy, c.hidden)
        dq, dk, dv = (c.scratch(x.shape, f"d{n}") for n, x in (("q", q), ("k", k), ("v", v)))
        attend_backward(op, c, dtaken, dq, dk, dv, scale=self._scale, rate=self.dropout)
        self._times_backward(op, c, "value", dvalue, dv, value)
        self._times_backward(op, c, "key", dkey, dk, key)
        self._times_backward(op, c, "query", dquery, dq, query)

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.key_dim)

    def _project(self, op: Recorder, c: Context, name: str, x: Buffer) -> Buffer:
        """x kernel + bias for each head."""
        y = c.scratch((*x.shape[:2], *getattr(c, f"{name}_kernel").shape[1:]), name)
        self._times(op, c, name, y, x)
        return y

    def _times(self, op: Recorder, c: Context, name: str, y: Buffer, x: Buffer) -> None:
        """y = x kernel + bias, all of them as matrices."""
        rows = math.prod(x.shape[:2])
        x, y = x.reshape(rows, -1), y.reshape(rows, -1)
        bias = getattr(c, f"{name}_bias").reshape(-1) if self.use_bias else None
        kernel = getattr(c, f"{name}_kernel").reshape(x.shape[1], y.shape[1])
        op.gemm_bias_act(y, x, kernel, bias, activation="linear")

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
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
            "output_shape": None if self.features is None else list(self.features),
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": described(self.kernel_regularizer),
            "bias_regularizer": described(self.bias_regularizer),
            "kernel_constraint": described(self.kernel_constraint),
            "bias_constraint": described(self.bias_constraint),
            "seed": None,
        }
