"""Embeddings that also lead back: from vectors to a number for each of the integers."""

from __future__ import annotations

from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import ABOVE_0, check_flag
from gpunet.engine.graph import Shape, Tensor
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Context, Layer
from gpunet.layers.embedding import Embedding
from gpunet.layers.merge import Add
from gpunet.layers.positions import PositionEmbedding
from gpunet.saving.configs import described


class ReversibleEmbedding(Layer):
    """An `Embedding` that also leads back: called with reverse=True, logits = x embeddings^T.

    Args:
        input_dim: how many integers there are: 0 to input_dim - 1.
        output_dim: the length of the vectors.
        tie_weights: whether the way back has the same weights; else reverse_embeddings (output_dim,
            input_dim) of its own.
        embeddings_initializer: first values of the table, (input_dim, output_dim).
        embeddings_regularizer: a penalty on it.
        embeddings_constraint: what is done to it after each step.
        mask_zero: whether 0 stands for what is not there; see `Embedding`.
        reverse_dtype: None.
        logit_soft_cap: c in c tanh(logits / c), which keeps logits between -c and c; None for none.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: called in reverse on vectors of another length.

    Source: Press and Wolf, 2017, arXiv:1608.05859.

    Example:
        >>> from gpunet import Input, Model
        >>> tokens, embedding = Input((5,), dtype="int32"), ReversibleEmbedding(100, 8)
        >>> model = Model(tokens, embedding(embedding(tokens), reverse=True))
        >>> model.output_shape, model.count_params()
        ((None, 5, 100), 800)
    """

    input_dtype = "int32"
    call_options = ("reverse",)

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: object = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: None = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reverse_dtype is not None:
            raise ArgumentError(
                f"ReversibleEmbedding has no reverse_dtype, got {reverse_dtype!r}: leave it out."
            )
        if logit_soft_cap is not None:
            logit_soft_cap = ABOVE_0.check(self, "logit_soft_cap", logit_soft_cap)
        self.input_dim = input_dim
        self.output_dim = output_dim
        self.tie_weights = check_flag(self, "tie_weights", tie_weights)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = mask_zero
        self.logit_soft_cap = logit_soft_cap
        self._make_layers()  # which checks the other arguments

    def _make_layers(self) -> None:
        self.table = Embedding(
            self.input_dim,
            self.output_dim,
            self.embeddings_initializer,
            self.embeddings_regularizer,
            self.embeddings_constraint,
            self.mask_zero,
            name="embedding",
        )
        self.way_back = _WayBack(self.table, self.tie_weights, self.logit_soft_cap)

    def build(self, input_shape: Shape) -> None:
        """Make the table, and the way back if it has weights of its own."""
        self._make_layers()
        self.table.ensure_built((None, None))
        self.way_back.ensure_built((None, self.output_dim))
        self.sublayers = [self.table, self.way_back]  # whichever is called first
        self.trainable = self.trainable
        self.learning_rate_factor = self.learning_rate_factor

    def call(self, x: Tensor, reverse: bool = False) -> Tensor:
        """Vectors of integers, or logits of vectors."""
        result: Tensor = self.way_back(x) if reverse else self.table(x)
        return result

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "tie_weights": self.tie_weights,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": described(self.embeddings_regularizer),
            "embeddings_constraint": described(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
            "reverse_dtype": None,
            "logit_soft_cap": self.logit_soft_cap,
        }


class _WayBack(Layer):
    """logits = x embeddings^T, or x reverse_embeddings, perhaps between -cap and cap.

    Args:
        table: the layer whose weights these are.
        tied: whether they are.
        cap: the cap.
    """

    supports_masking = True
    by_position = True

    def __init__(self, table: Embedding, tied: bool, cap: float | None) -> None:
        super().__init__(name="reverse")
        self.table = table
        self.tied = tied
        self.cap = cap

    def build(self, input_shape: Shape) -> None:
        """Take the table's weights, or make some."""
        if self.tied:
            self.parameters = list(self.table.parameters)
        else:
            shape = (self.table.output_dim, self.table.input_dim)
            self.add_weight("reverse_embeddings", shape, self.table.embeddings_initializer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., input_dim)."""
        return (*input_shape[:-1], self.table.input_dim)

    def forward(self, op: Recorder, c: Context) -> None:
        """Logits = x embeddings^T; cap tanh(logits / cap)."""
        logits = c.y if self.cap is None else c.scratch(c.y.shape, "logits")
        kernel = c.embeddings if self.tied else c.reverse_embeddings
        op.gemm(logits, c.x, kernel, tb=self.tied)
        if self.cap is not None:
            scaled, c.saved = c.scratch(c.y.shape, "scaled"), c.scratch(c.y.shape, "tanh")
            op.scale_shift(scaled, logits, scale=1 / self.cap, offset=0.0)
            op.bias_act(c.saved, scaled, None, activation="tanh")
            op.scale_shift(c.y, c.saved, scale=self.cap, offset=0.0)

    def backward(self, op: Recorder, c: Context) -> None:
        """Through the tanh, where the caps cancel; then dembeddings and dx."""
        dlogits = c.dy
        if self.cap is not None:
            dlogits = c.scratch(c.y.shape, "dlogits")
            op.bias_act_backward(dlogits, None, c.dy, c.saved, activation="tanh")
        if self.tied:
            op.gemm(c.dembeddings, dlogits, c.x, ta=True)
            op.gemm(c.dx, dlogits, c.embeddings)
        else:
            op.gemm(c.dreverse_embeddings, c.x, dlogits, ta=True)
            op.gemm(c.dx, dlogits, c.reverse_embeddings, tb=True)


class TokenAndPositionEmbedding(Layer):
    """y[b, i] = embeddings[x[b, i]] + position_embeddings[i]: what a word is, and where it stands.

    Called with reverse=True it leads back from vectors to logits of the tokens, as
    `ReversibleEmbedding` does.

    Args:
        vocabulary_size: how many tokens there are.
        sequence_length: how many positions.
        embedding_dim: the length of the vectors.
        tie_weights: whether the way back has the weights of the tokens.
        embeddings_initializer: first values of both tables.
        mask_zero: whether token 0 stands for what is not there; see `Embedding`.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: longer sequences.

    Source: KerasHub.

    Example:
        >>> from gpunet import Input, Model
        >>> tokens = Input((5,), dtype="int32")
        >>> Model(tokens, TokenAndPositionEmbedding(100, 5, 8)(tokens)).count_params()
        840
    """

    input_dtype = "int32"
    call_options = ("reverse",)

    def __init__(
        self,
        vocabulary_size: int,
        sequence_length: int,
        embedding_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: object = "uniform",
        mask_zero: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.sequence_length = sequence_length
        self.embedding_dim = embedding_dim
        self.tie_weights = check_flag(self, "tie_weights", tie_weights)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = mask_zero
        self._make_layers()  # which checks the arguments

    def _make_layers(self) -> None:
        initializer = self.embeddings_initializer
        self.token_embedding = ReversibleEmbedding(
            self.vocabulary_size,
            self.embedding_dim,
            self.tie_weights,
            initializer,
            mask_zero=self.mask_zero,
            name="token_embedding",
        )
        name = "position_embedding"
        self.position_embedding = PositionEmbedding(self.sequence_length, initializer, name=name)
        self.sum = Add(name="sum")

    def build(self, input_shape: Shape) -> None:
        """Make the layers."""
        self._make_layers()

    def call(self, x: Tensor, reverse: bool = False) -> Tensor:
        """The sum of both vectors, or logits of vectors."""
        if reverse:
            logits: Tensor = self.token_embedding(x, reverse=True)
            return logits
        vectors = self.token_embedding(x)
        result: Tensor = self.sum([vectors, self.position_embedding(vectors)])
        return result

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "sequence_length": self.sequence_length,
            "embedding_dim": self.embedding_dim,
            "tie_weights": self.tie_weights,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "mask_zero": self.mask_zero,
        }
