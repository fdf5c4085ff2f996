"""Where in a sequence something stands, as numbers that a network can use."""

from __future__ import annotations

from math import prod
from typing import Any

from gpunet import initializers
from gpunet.arguments import ABOVE_0, check_count
from gpunet.engine.graph import Shape
from gpunet.engine.moves import permute
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer


class PositionEmbedding(Layer):
    """A learned vector for each position, the same for all samples: y[b, i] = embeddings[i].

    What comes in only says the shape; add the result to it:
    ``Add()([x, PositionEmbedding(50)(x)])``. Shapes: x and y (batch, length, features),
    with a length of sequence_length at most.

    Args:
        sequence_length: how many positions there are.
        initializer: first values of the vectors, (sequence_length, features).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: sequence_length is no positive integer.
        ShapeError: inputs that are no sequences, longer ones, or of other features than at first.

    Source: Devlin et al., 2019, arXiv:1810.04805; as in KerasHub.

    Example:
        >>> from gpunet import Input, Model
        >>> x = Input((10, 16))
        >>> Model(x, PositionEmbedding(50)(x)).count_params()
        800
    """

    supports_masking = True
    by_position = True

    def __init__(
        self, sequence_length: int, initializer: object = "glorot_uniform", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sequence_length = check_count(self, "sequence_length", sequence_length)
        self.initializer = initializers.get(initializer)

    def build(self, input_shape: Shape) -> None:
        """Make the vectors (sequence_length, features)."""
        length, features = _checked_sequence(self, input_shape)
        self._check_length(length or 0)
        self.add_weight("embeddings", (self.sequence_length, features), self.initializer)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        _checked_sequence(self, input_shape)
        return input_shape

    def _check_length(self, length: int) -> None:
        """Raise a ShapeError if there are more positions than the layer has."""
        if length > self.sequence_length:
            raise ShapeError(
                f"PositionEmbedding {self.label!r} has {self.sequence_length} positions, got "
                f"inputs of {length}; make it with a larger sequence_length, or cut them."
            )

    def forward(self, op: Recorder, c: Context) -> None:
        """y[b, i] = embeddings[i]."""
        y = _sequences(c.y)
        self._check_length(y.shape[1])
        op.position_rows(y, c.embeddings, c.positions)

    def backward(self, op: Recorder, c: Context) -> None:
        """dembeddings[i] = the sum of dy[b, i]; x has no part in y."""
        op.position_rows_backward(c.dembeddings, _sequences(c.dy))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "sequence_length": self.sequence_length,
            "initializer": initializers.serialize(self.initializer),
        }


class SinePositionEncoding(Layer):
    """Sines and cosines of the position, the same for all samples, with nothing to learn.

    y[b, i, 2 j] = sin(angle) and y[b, i, 2 j + 1] = cos(angle) of the angle
    i max_wavelength^(-2 j / features). What comes in only says the shape; add the result to it:
    ``Add()([x, SinePositionEncoding()(x)])``. Shapes: x and y (batch, length, features).

    Args:
        max_wavelength: how many positions the longest wave has, but for a factor of 2 pi.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: max_wavelength is no positive number.
        ShapeError: inputs that are no sequences.

    Source: Vaswani et al., 2017, arXiv:1706.03762; as in KerasHub.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential
        >>> model = Sequential([SinePositionEncoding(input_shape=(2, 4))])
        >>> model.predict(np.zeros((1, 2, 4)), verbose=0).round(2)
        array([[[0.  , 1.  , 0.  , 1.  ],
                [0.84, 0.54, 0.01, 1.  ]]], dtype=float32)
    """

    supports_masking = True
    by_position = True

    def __init__(self, max_wavelength: float = 10000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_wavelength = ABOVE_0.check(self, "max_wavelength", max_wavelength)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        _checked_sequence(self, input_shape)
        return input_shape

    def forward(self, op: Recorder, c: Context) -> None:
        """y[b, i] = the waves of position i."""
        y = _sequences(c.y)
        table = c.scratch(y.shape[1:], "waves")
        op.waves(table, c.positions, max_wavelength=self.max_wavelength)
        op.position_rows(y, table, None)

    def backward(self, op: Recorder, c: Context) -> None:
        """Nothing: x has no part in y."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "max_wavelength": self.max_wavelength}


class RotaryEmbedding(Layer):
    """Pairs of features are turned by angles that grow with the position.

    Features j and size / 2 + j of position i are turned by the angle i / scaling_factor *
    max_wavelength^(-2 j / size): products of queries and keys then depend on how far apart the two
    are, and not on where they stand.

    Args:
        max_wavelength: how many positions the longest wave has, but for a factor of 2 pi.
        scaling_factor: what positions are divided by.
        sequence_axis: the axis that counts positions.
        feature_axis: the axis whose elements are turned, of an even size.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: inputs without these axes, or with an odd number of features.

    Source: Su et al., "RoFormer", 2021, arXiv:2104.09864; as in KerasHub.

    Example:
        >>> from gpunet import Input
        >>> RotaryEmbedding()(Input((10, 4, 16))).shape  # (batch, length, heads, features)
        (None, 10, 4, 16)
    """

    supports_masking = True

    def __init__(
        self,
        max_wavelength: float = 10000,
        scaling_factor: float = 1.0,
        sequence_axis: int = 1,
        feature_axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.max_wavelength = ABOVE_0.check(self, "max_wavelength", max_wavelength)
        self.scaling_factor = ABOVE_0.check(self, "scaling_factor", scaling_factor)
        for name, axis in (("sequence_axis", sequence_axis), ("feature_axis", feature_axis)):
            if not isinstance(axis, int) or isinstance(axis, bool) or axis == 0:
                raise ArgumentError(
                    f"RotaryEmbedding takes an axis behind the batch for {name}, got {axis!r}."
                )
        self.sequence_axis = sequence_axis
        self.by_position = sequence_axis == 1
        self.feature_axis = feature_axis

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        _, features = self._axes(input_shape)
        if (input_shape[features] or 0) % 2:
            raise ShapeError(
                f"RotaryEmbedding {self.label!r} turns pairs of features, got inputs {input_shape} "
                f"with an odd number of them along axis {self.feature_axis}."
            )
        return input_shape

    def _axes(self, shape: Shape) -> tuple[int, int]:
        """The numbers of the two axes, counted from the front.

        Raises:
            ShapeError: there are no such axes, or they are one.
        """
        rank = len(shape)
        axes = [a + rank if a < 0 else a for a in (self.sequence_axis, self.feature_axis)]
        if axes[0] == axes[1] or not all(0 < axis < rank for axis in axes):
            raise ShapeError(
                f"RotaryEmbedding {self.label!r} with sequence_axis={self.sequence_axis} and "
                f"feature_axis={self.feature_axis} got inputs {shape}, which have no such two axes."
            )
        return axes[0], axes[1]

    def forward(self, op: Recorder, c: Context) -> None:
        """(y1, y2) = (x1 cos - x2 sin, x2 cos + x1 sin) of the angles' waves."""
        sequence, features = self._axes(c.x.shape)
        table = c.saved = c.scratch((c.x.shape[sequence], c.x.shape[features]), "waves")
        scale = 1 / self.scaling_factor
        op.waves(table, c.positions, max_wavelength=self.max_wavelength, scale=scale)
        self._turn(op, c, c.y, c.x)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx is dy, turned back."""
        self._turn(op, c, c.dx, c.dy, inverse=True)

    def _turn(self, op: Recorder, c: Context, y: Buffer, x: Buffer, inverse: bool = False) -> None:
        """Turn x into y, with the features moved behind where they are not the last axis."""
        sequence, features = self._axes(x.shape)
        order = [axis for axis in range(len(x.shape)) if axis != features] + [features]
        if features == len(x.shape) - 1:
            op.rotary(self._heads(y, sequence), self._heads(x, sequence), c.saved, inverse=inverse)
            return
        turned = c.scratch([x.shape[axis] for axis in order], "turned")
        permute(op, turned, x, order)
        rows = self._heads(turned, order.index(sequence))
        op.rotary(rows, rows, c.saved, inverse=inverse)
        permute(op, y, turned, [order.index(axis) for axis in range(len(order))])

    @staticmethod
    def _heads(array: Buffer, sequence: int) -> Buffer:
        """As (batch, length, heads, size): the axes before and after the sequence are merged."""
        before, length = prod(array.shape[:sequence]), array.shape[sequence]
        return array.reshape(before, length, -1, array.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "max_wavelength": self.max_wavelength,
            "scaling_factor": self.scaling_factor,
            "sequence_axis": self.sequence_axis,
            "feature_axis": self.feature_axis,
        }


def _checked_sequence(layer: Layer, shape: Shape) -> tuple[int | None, int]:
    """The length and the features of sequences.

    Raises:
        ShapeError: these are none.
    """
    if len(shape) < 3 or shape[-1] is None:
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} expects inputs (batch, length, features), got "
            f"{shape}; put an Embedding or a Dense layer before it."
        )
    return shape[-2], shape[-1]


def _sequences(array: Buffer) -> Buffer:
    """As (batch, length, features), whatever stands before the length."""
    return array.reshape(-1, *array.shape[-2:])
