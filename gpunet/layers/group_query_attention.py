"""Several attentions beside each other, of which groups share keys and values."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import check_count
from gpunet.engine.graph import Shape
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.projected_attention import ProjectedAttention


class GroupQueryAttention(ProjectedAttention):
    """`MultiHeadAttention` with fewer heads of keys and values than of queries.

    num_query_heads / num_key_value_heads heads of queries in a row share the keys and values of
    one, which are not copied for them. With one head of keys it is multi-query attention, with as
    many as of queries multi-head attention. Calls, masks and shapes are those of
    `MultiHeadAttention`; query and value have the same features, which are also those of y.

    Args:
        head_dim: the size of a head's queries, keys and values.
        num_query_heads: how many heads of queries.
        num_key_value_heads: how many heads of keys and values, a divisor of num_query_heads.
        dropout: the share of the softmax' numbers that are dropped in training, in [0, 1).
        use_bias: whether the projections have biases.
        sliding_window: if given, query i sees keys j with |i - j| < sliding_window alone.
        flash_attention: None, which is for Keras alone: here it always is, except for scores.
        kernel_initializer: first values of the kernels (features, heads, head_dim) and
            (num_query_heads, head_dim, features).
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

    Source: Ainslie et al., 2023, arXiv:2305.13245.

    Example:
        >>> from gpunet import Input, Model
        >>> x = Input((10, 16))
        >>> y = GroupQueryAttention(head_dim=8, num_query_heads=4, num_key_value_heads=2)(x, x)
        >>> Model(x, y).count_params()
        1616
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
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
        size = check_count(self, "head_dim", head_dim)
        heads = check_count(self, "num_query_heads", num_query_heads)
        if heads % check_count(self, "num_key_value_heads", num_key_value_heads):
            raise ArgumentError(
                "GroupQueryAttention takes a num_key_value_heads that divides num_query_heads, got "
                f"{num_key_value_heads} and {heads}."
            )
        super().__init__(
            heads,
            num_key_value_heads,
            size,
            size,
            dropout,
            use_bias,
            None,
            sliding_window,
            use_gate,
            locals(),
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.head_dim = head_dim
        self.num_query_heads = num_query_heads
        self.num_key_value_heads = num_key_value_heads

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, length, features)."""
        query, value, *_ = input_shape
        if query[-1] != value[-1]:
            raise ShapeError(
                f"GroupQueryAttention {self.label!r} takes a query and a value of the same "
                f"features, got {query} and {value}; give one of them a Dense layer."
            )
        return super().compute_output_shape(input_shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "head_dim": self.head_dim,
            "num_query_heads": self.num_query_heads,
            "num_key_value_heads": self.num_key_value_heads,
        }
