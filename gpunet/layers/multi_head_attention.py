"""Several attentions beside each other, each on projections of its own."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import check_count
from gpunet.layers.projected_attention import ProjectedAttention


class MultiHeadAttention(ProjectedAttention):
    """Several attentions beside each other, each on projections of its own; called on tensors.

    q, k, v = query Wq + bq, key Wk + bk, value Wv + bv for each head, then
    y = sum over heads of (softmax(q k^T / sqrt(key_dim)) v) Wo + bo.

    It is called as ``layer(query, value)``, where the value is also the key, or ``layer(query,
    value, key)``; ``layer(x, x)`` is self-attention. With ``use_causal_mask=True`` in the call,
    query i sees the keys up to i alone; masks of the inputs or of the call hide others. A query
    that sees no key takes 0. With ``return_attention_scores=True`` the call also returns the
    softmax, (batch, num_heads, length, keys). Shapes: query (batch, length, features), value and
    key (batch, keys, features), each with features of its own, y (batch, length, features of
    query).

    Args:
        num_heads: how many heads.
        key_dim: the size of a head's queries and keys.
        value_dim: the size of a head's values; key_dim if None.
        dropout: the share of the softmax' numbers that are dropped in training, in [0, 1).
        use_bias: whether the projections have biases.
        output_shape: the number of y's features, or the shape of what stands in their place; those
            of the query if None.
        attention_axes: None: attention goes along axis 1.
        sliding_window: if given, query i sees keys j with |i - j| < sliding_window alone.
        flash_attention: None, which is for Keras alone: here it always is, except for scores.
        kernel_initializer: first values of the kernels (features, num_heads, key_dim or value_dim)
            and (num_heads, value_dim, *output_shape).
        bias_initializer: first values of the biases.
        kernel_regularizer: a penalty on each kernel.
        bias_regularizer: a penalty on each bias.
        activity_regularizer: a penalty on the output, divided by the batch size.
        kernel_constraint: what is done to the kernels after each step.
        bias_constraint: what is done to the biases after each step.
        use_gate: whether what heads take is multiplied by sigmoid(query Wg + bg).
        seed: None: random numbers follow `gpunet.random.set_seed`.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or one that gpunet does
            not have.
        ShapeError: inputs of shapes that do not fit each other, or other features than at first.

    Source: Vaswani et al., 2017, arXiv:1706.03762.

    Example:
        >>> from gpunet import Input, Model
        >>> x = Input((10, 16))
        >>> y = MultiHeadAttention(num_heads=2, key_dim=8)(x, x, use_causal_mask=True)
        >>> Model(x, y).count_params()
        1088
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: Any = None,
        attention_axes: None = None,
        sliding_window: int | None = None,
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
        shape = output_shape if isinstance(output_shape, list | tuple) else (output_shape or 1,)
        features = tuple(check_count(self, "output_shape", size) for size in shape)
        super().__init__(
            check_count(self, "num_heads", num_heads),
            num_heads,
            check_count(self, "key_dim", key_dim),
            check_count(self, "value_dim", value_dim or key_dim),
            dropout,
            use_bias,
            features if output_shape else None,
            sliding_window,
            use_gate,
            locals(),
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim or key_dim

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "output_shape": None if self.features is None else list(self.features),
        }
