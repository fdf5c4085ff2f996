"""Vectors for integers: words, characters, users."""

from __future__ import annotations

from typing import Any

from gpunet import constraints, initializers, regularizers
from gpunet.arguments import check_count, check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, DtypeError
from gpunet.layers.base import Context, Layer
from gpunet.saving.configs import described


class Embedding(Layer):
    """A vector for each integer: y = embeddings[x].

    As the first layer of a `Sequential` it makes the model's input one of integers; in a functional
    model write ``Input(shape, dtype="int32")``.

    Args:
        input_dim: how many integers there are: 0 to input_dim - 1.
        output_dim: the length of the vectors.
        embeddings_initializer: first values of the table, (input_dim, output_dim).
        embeddings_regularizer: a penalty on it.
        embeddings_constraint: what is done to it after each step.
        mask_zero: whether 0 stands for nothing, so that the steps that hold it are masked.
        lora_rank: low-rank adaptation, which gpunet does not have: None.
        lora_alpha: the same.
        **kwargs: name, trainable, input_shape; see `Layer`.

    Raises:
        ArgumentError: a size that is not a positive integer; a lora_rank.
        DtypeError: inputs that are not integers.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential, layers
        >>> model = Sequential([layers.Embedding(1000, 8), layers.Flatten(), layers.Dense(1)])
        >>> model.predict(np.array([[4, 999, 0]]), verbose=0).shape
        (1, 1)
    """

    input_dtype = "int32"
    by_position = True

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: object = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        lora_rank: None = None,
        lora_alpha: None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if lora_rank is not None or lora_alpha is not None:
            raise ArgumentError(
                "Embedding has no low-rank adaptation, got lora_rank or lora_alpha: leave them out."
            )
        self.input_dim = self.integers = check_count(self, "input_dim", input_dim)
        self.output_dim = check_count(self, "output_dim", output_dim)
        self.supports_masking = self.mask_zero = check_flag(self, "mask_zero", mask_zero)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)

    def build(self, input_shape: Shape) -> None:
        """Make the table (input_dim, output_dim)."""
        self.add_weight(
            "embeddings",
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )

    def check_same_features(self, shape: Any) -> None:
        """Integers of any shape fit."""

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, ..., output_dim)."""
        return (*input_shape, self.output_dim)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """With mask_zero the steps that do not hold 0."""
        return inputs.shape if self.mask_zero else None

    def forward(self, op: Recorder, c: Context) -> None:
        """y = embeddings[x]."""
        if c.x.dtype != "int32":
            raise DtypeError(
                f"Embedding {self.label!r} takes integers, got numbers of {c.x.dtype}; let it read "
                "an Input(shape, dtype='int32')."
            )
        op.embedding(c.y.rows, c.embeddings, c.x.reshape(-1))
        if self.mask_zero:
            c.new_mask = c.scratch(c.x.shape, "mask", "uint8")
            op.row_mask(c.new_mask.reshape(-1), c.x.reshape(-1, 1))

    def backward(self, op: Recorder, c: Context) -> None:
        """dembeddings[k] = the sum of dy where x is k; integers have no gradient."""
        op.embedding_backward(c.dembeddings, c.dy.rows, c.x.reshape(-1))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "input_dim": self.input_dim,
            "output_dim": self.output_dim,
            "embeddings_initializer": initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": described(self.embeddings_regularizer),
            "embeddings_constraint": described(self.embeddings_constraint),
            "mask_zero": self.mask_zero,
        }
