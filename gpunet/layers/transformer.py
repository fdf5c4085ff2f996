"""Blocks of transformers: attention, then a small network for each position, around both a sum.

They are made of layers that stand on their own, `MultiHeadAttention`, `Dense`,
`LayerNormalization`, `Dropout` and `Add`, and have no maths of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpunet import activations, initializers
from gpunet.arguments import ABOVE_0, BELOW_1, check_count, check_flag
from gpunet.engine.graph import Shape, Tensor
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Layer
from gpunet.layers.core import Dense
from gpunet.layers.merge import Add
from gpunet.layers.multi_head_attention import MultiHeadAttention
from gpunet.layers.regularization import Dropout
from gpunet.layers.row_normalization import LayerNormalization


class _Block(Layer):
    """What both blocks are made of: steps x + f(x) with a normalization before or after each."""

    def __init__(
        self,
        intermediate_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        activation: object = "relu",
        layer_norm_epsilon: float = 1e-5,
        kernel_initializer: object = "glorot_uniform",
        bias_initializer: object = "zeros",
        normalize_first: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.intermediate_dim = check_count(self, "intermediate_dim", intermediate_dim)
        self.num_heads = check_count(self, "num_heads", num_heads)
        self.dropout = BELOW_1.check(self, "dropout", dropout)
        self.activation = activations.get(activation)
        self.layer_norm_epsilon = ABOVE_0.check(self, "layer_norm_epsilon", layer_norm_epsilon)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.normalize_first = check_flag(self, "normalize_first", normalize_first)
        self.parts: dict[str, Any] = {}  # the layers by name, in KerasHub's order

    def _features(self, shape: Shape) -> int:
        """How many features the sequences have.

        Raises:
            ShapeError: these are no sequences, or there are more heads than features.
        """
        features = shape[-1] if len(shape) == 3 else None
        if features is None or features < self.num_heads:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects inputs (batch, length, features) "
                f"with at least one feature for each of its {self.num_heads} heads, got {shape}."
            )
        return features

    def _attention(self, name: str, features: int) -> list[Layer]:
        """An attention whose heads share the features, and what stands around it."""
        attention = MultiHeadAttention(
            self.num_heads,
            features // self.num_heads,
            dropout=self.dropout,
            kernel_initializer=self.kernel_initializer,
            bias_initializer=self.bias_initializer,
            name=name,
        )
        return [attention, *self._around(name)]

    def _around(self, name: str) -> list[Layer]:
        """What makes a step x + f(x) of a function."""
        return [
            LayerNormalization(epsilon=self.layer_norm_epsilon, name=f"{name}_layer_norm"),
            Dropout(self.dropout, name=f"{name}_dropout"),
            Add(name=f"{name}_sum"),
        ]

    def _feedforward(self, features: int) -> list[Layer]:
        """The network of two layers that sees one position at a time."""
        shared = (True, self.kernel_initializer, self.bias_initializer)
        name = "feedforward_intermediate_dense"
        return [
            Dense(self.intermediate_dim, self.activation, *shared, name=name),
            Dense(features, None, *shared, name="feedforward_output_dense"),
        ]

    def _step(self, name: str, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """x + dropout(f(norm(x))), or norm(x + dropout(f(x)))."""
        norm, dropout, add = (self.parts[f"{name}_{p}"] for p in ("layer_norm", "dropout", "sum"))
        y = function(norm(x) if self.normalize_first else x)
        y = add([dropout(y), x])
        result: Tensor = y if self.normalize_first else norm(y)
        return result

    def _feedforward_step(self, x: Tensor) -> Tensor:
        dense = self.parts["feedforward_intermediate_dense"]
        output = self.parts["feedforward_output_dense"]
        return self._step("feedforward", x, lambda x: output(dense(x)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "intermediate_dim": self.intermediate_dim,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "activation": activations.serialize(self.activation),
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "normalize_first": self.normalize_first,
        }


class TransformerEncoder(_Block):
    """Self-attention, then a network of two layers for each position, as x + f(x) both.

    With f = attention(x, x) and then f = output(activation(intermediate(x))), each followed by
    dropout: x = norm(x + f(x)), or x = x + f(norm(x)) if normalize_first. Shapes: x and y (batch,
    length, features).

    Called as ``layer(x, padding_mask=m)`` nobody sees the positions where m (batch, length) is
    False; without it that is the mask which x has, from Embedding(mask_zero=True) for example.
    ``attention_mask`` (batch, length, length) says which positions each one sees.

    Args:
        intermediate_dim: how many units the network has between its two layers.
        num_heads: the heads of attention, which share the features.
        dropout: the share of numbers that are dropped in training, in [0, 1).
        activation: that of the units.
        layer_norm_epsilon: what is added to variances.
        kernel_initializer: first values of all kernels.
        bias_initializer: first values of all biases.
        normalize_first: whether normalization comes before f (GPT-2) or after the sum (BERT).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs that are no sequences, or have fewer features than there are heads.

    Source: Vaswani et al., 2017, arXiv:1706.03762; as in KerasHub.

    Example:
        >>> from gpunet import Input, Model
        >>> x = Input((10, 64))
        >>> Model(x, TransformerEncoder(intermediate_dim=128, num_heads=4)(x)).count_params()
        33472
    """

    call_tensors = ("padding_mask", "attention_mask")

    def build(self, input_shape: Shape) -> None:
        """Make the layers."""
        features = self._features(input_shape)
        attention, feedforward = self._attention("self_attention", features), "feedforward"
        layers = [*attention, *self._around(feedforward), *self._feedforward(features)]
        self.parts = {layer.label: layer for layer in layers}

    def call(
        self, x: Tensor, padding_mask: Tensor | None = None, attention_mask: Tensor | None = None
    ) -> Tensor:
        """Attention, then the network."""
        attention = self.parts["self_attention"]
        masks = {"value_mask": padding_mask, "attention_mask": attention_mask}
        x = self._step("self_attention", x, lambda x: attention(x, x, **masks))
        return self._feedforward_step(x)


class TransformerDecoder(_Block):
    """Self-attention to what came before, attention to an encoder if there is one, and a network.

    Called as ``layer(x)`` it is a block of a decoder alone, as in GPT-2; called as ``layer(x,
    encoder_sequence)`` it has a step of attention from x to that sequence between the two others.
    Each step is x = norm(x + f(x)), or x = x + f(norm(x)) if normalize_first, with dropout behind
    f. Shapes: x and y (batch, length, features), encoder_sequence (batch, keys, any features).

    Masks hide positions of x, decoder_padding_mask (batch, length), and of the encoder's sequence,
    encoder_padding_mask (batch, keys); without them those are hidden that the masks of x and of the
    sequence hide, from Embedding(mask_zero=True) for example. What each position sees say
    decoder_attention_mask (batch, length, length) and encoder_attention_mask (batch, length, keys).

    Args:
        intermediate_dim: how many units the network has between its two layers.
        num_heads: the heads of each attention, which share the features.
        dropout: the share of numbers that are dropped in training, in [0, 1).
        activation: that of the units.
        layer_norm_epsilon: what is added to variances.
        kernel_initializer: first values of all kernels.
        bias_initializer: first values of all biases.
        normalize_first: whether normalization comes before f (GPT-2) or after the sum.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense; a call with an encoder's
            sequence after one without, or the reverse.
        ShapeError: inputs that are no sequences, or have fewer features than there are heads.

    Source: Vaswani et al., 2017, arXiv:1706.03762; as in KerasHub.

    Example:
        >>> from gpunet import Input, Model
        >>> x, encoded = Input((10, 64)), Input((7, 32))
        >>> y = TransformerDecoder(intermediate_dim=128, num_heads=4)(x, encoded)
        >>> Model([x, encoded], y).count_params()
        46144
    """

    call_tensors = (
        "decoder_padding_mask",
        "decoder_attention_mask",
        "encoder_padding_mask",
        "encoder_attention_mask",
    )

    def __call__(  # type: ignore[override]  # Keras' arguments
        self,
        decoder_sequence: Any,
        encoder_sequence: Any = None,
        decoder_padding_mask: Tensor | None = None,
        decoder_attention_mask: Tensor | None = None,
        encoder_padding_mask: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        use_causal_mask: bool = True,
        training: bool | None = None,
    ) -> Any:
        """Call the layer on symbolic tensors.

        Args:
            decoder_sequence: (batch, length, features).
            encoder_sequence: (batch, keys, features of its own), or None.
            decoder_padding_mask: bool (batch, length): False for positions that nobody sees.
            decoder_attention_mask: bool (batch, length, length): which positions each one sees.
            encoder_padding_mask: bool (batch, keys), of the encoder's sequence.
            encoder_attention_mask: bool (batch, length, keys), of the encoder's sequence.
            use_causal_mask: True, as a decoder sees nothing that comes after.
            training: see `Layer`.

        Returns:
            A tensor (batch, length, features).

        Raises:
            ArgumentError: something else than symbolic tensors; an encoder's sequence in one call
                and not in another.
            ShapeError: shapes that do not fit.
        """
        if use_causal_mask is not True:
            raise ArgumentError(
                f"TransformerDecoder {self.label!r} has a causal mask, got use_causal_mask="
                f"{use_causal_mask!r}; take TransformerEncoder where all may be seen."
            )
        given = [decoder_sequence] + ([] if encoder_sequence is None else [encoder_sequence])
        built = self.built_for
        if built is not None and isinstance(built[0], tuple) != (len(given) == 2):
            raise ArgumentError(
                f"TransformerDecoder {self.label!r} is called on an encoder's sequence always or "
                "never; make another layer for the other use."
            )
        said = locals()
        masks = {name: said[name] for name in self.call_tensors}
        return super().__call__(*given, training=training, **masks)

    def build(self, input_shape: Any) -> None:
        """Make the layers."""
        has_encoder = isinstance(input_shape[0], tuple)
        features = self._features(input_shape[0] if has_encoder else input_shape)
        names = ("self_attention", "cross_attention") if has_encoder else ("self_attention",)
        attentions = [layer for name in names for layer in self._attention(name, features)]
        layers = [*attentions, *self._feedforward(features), *self._around("feedforward")]
        self.parts = {layer.label: layer for layer in layers}

    def call(self, x: Tensor, encoded: Tensor | None = None, **masks: Tensor) -> Tensor:
        """Attention to itself, to what was encoded, then the network."""
        attention, to_encoder = self.parts["self_attention"], self.parts.get("cross_attention")
        own, others = (_masks(masks, whose) for whose in ("decoder", "encoder"))
        x = self._step("self_attention", x, lambda x: attention(x, x, use_causal_mask=True, **own))
        if to_encoder is not None:
            x = self._step("cross_attention", x, lambda x: to_encoder(x, encoded, **others))
        return self._feedforward_step(x)


def _masks(masks: Mapping[str, Tensor], whose: str) -> dict[str, Tensor | None]:
    """The masks of one of the sequences as `MultiHeadAttention` calls them."""
    return {
        "value_mask": masks.get(f"{whose}_padding_mask"),
        "attention_mask": masks.get(f"{whose}_attention_mask"),
    }
