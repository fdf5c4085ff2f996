"""Activations as layers of their own."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpunet import activations, constraints, initializers, regularizers
from gpunet.engine.graph import Shape
from gpunet.engine.moves import permute
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.saving.configs import described


class Activation(Layer):
    """An activation as a layer of its own: y = activation(x).

    Args:
        activation: a name such as "relu", or what else `gpunet.activations.get` takes.
        **kwargs: name and so on; see `Layer`.

    Example:
        >>> from gpunet import activations
        >>> Activation(activations.get("elu", alpha=0.5)).get_config()["activation"]
        {'class_name': 'elu', 'config': {'alpha': 0.5}}
    """

    supports_masking = True
    by_position = True

    def __init__(self, activation: object, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def passes_through(self, training: bool) -> bool:
        """The linear activation does nothing."""
        return self.activation.name == "linear"

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input; glu halves the last axis."""
        return self.activation.output_shape(input_shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = activation(x)."""
        c.saved = self.activation.forward(op, c.y, c.x)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy * activation'."""
        self.activation.backward(op, c.dx, c.dy, c.saved)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class _Named(Activation):
    """An activation layer whose class says which one it is; its arguments are in the config."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**Layer.get_config(self), **self.activation.arguments}


class ReLU(_Named):
    """y = min(x, max_value) where x > threshold, else negative_slope (x - threshold): max(x, 0).

    Args:
        max_value: the largest y, >= 0; None for no bound.
        negative_slope: the slope below the threshold, >= 0.
        threshold: where the slope changes, >= 0.
        **kwargs: name and so on; see `Layer`.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        bends = {"negative_slope": negative_slope, "max_value": max_value, "threshold": threshold}
        super().__init__(activations.get("relu", **bends), **kwargs)


class LeakyReLU(_Named):
    """y = x where x > 0, else negative_slope x.

    Args:
        negative_slope: the slope below 0, >= 0. As in Keras 0.3, where the function
            `gpunet.activations.leaky_relu` has 0.2.
        **kwargs: name and so on; see `Layer`.
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(activations.get("leaky_relu", negative_slope=negative_slope), **kwargs)


class ELU(_Named):
    """y = x where x > 0, else alpha (exp(x) - 1).

    Args:
        alpha: y tends to -alpha on the left, >= 0.
        **kwargs: name and so on; see `Layer`.
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(activations.get("elu", alpha=alpha), **kwargs)


class Softmax(_Named):
    """y = exp(x) / sum(exp(x)) along an axis.

    Args:
        axis: the axis, or a list of axes along which all together add up to 1.
        **kwargs: name and so on; see `Layer`.
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(activations.get("softmax", axis=axis), **kwargs)
        self.by_position = axis == -1

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input, which must have the axes."""
        self.activation.output_shape(input_shape)
        return tuple(input_shape)


class PReLU(Layer):
    """y = x where x > 0, else alpha x, where alpha is learned: one an element of a sample.

    Args:
        alpha_initializer: first values of alpha.
        alpha_regularizer: a penalty on alpha, such as "l2".
        alpha_constraint: what alpha must keep to after each step, such as "non_neg".
        shared_axes: the axes along which one alpha serves, counted from 1: [1, 2] for images
            (batch, height, width, channels) leaves one a channel.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: shared_axes are no axes of a sample.
        ShapeError: a sample's size is not known.

    Source: He et al., 2015, arXiv:1502.01852.

    Example:
        >>> from gpunet import Sequential
        >>> layer = PReLU(shared_axes=[1, 2], input_shape=(8, 8, 3))
        >>> Sequential([layer]).get_weights()[0].shape
        (1, 1, 3)
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: object = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        axes = [shared_axes] if isinstance(shared_axes, int) else list(shared_axes or [])
        if len(set(axes)) < len(axes) or not all(isinstance(a, int) and a > 0 for a in axes):
            raise ArgumentError(
                f"PReLU takes axes of a sample, counted from 1, for shared_axes, got {shared_axes}."
            )
        self.shared_axes = sorted(axes)

    def build(self, input_shape: Shape) -> None:
        """Make alpha, of a sample's shape with 1 for each shared axis."""
        sizes = [size or 0 for size in input_shape[1:]]
        if any(axis > len(sizes) for axis in self.shared_axes):
            sizes = [0]
        else:
            for axis in self.shared_axes:
                sizes[axis - 1] = 1
        if 0 in sizes:
            raise ShapeError(
                f"PReLU {self.label!r} expects inputs (batch, ...) of known sizes and with the "
                f"axes {self.shared_axes}, got {input_shape}."
            )
        self.add_weight(
            "alpha",
            sizes,
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the axes that are not shared differ from those of build."""
        own = self._own_axes(len(shape))
        built = self.built_for
        if built is not None and (
            len(built) != len(shape) or any(shape[axis] != built[axis] for axis in own)
        ):
            raise ShapeError(
                f"PReLU {self.label!r} was built for inputs {self.built_for}, got {shape}; make "
                "another layer for other features."
            )

    def _own_axes(self, rank: int) -> list[int]:
        """The axes whose elements have an alpha each."""
        return [axis for axis in range(1, rank) if axis not in self.shared_axes]

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x where x > 0, else alpha x."""
        x = c.rows = self._moved(op, c.x)  # type: ignore[attr-defined]
        y = self._target(op, c.y)
        op.prelu(y, x, c.alpha.reshape(-1))
        self._move_back(op, c.y, y)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy where x > 0, else alpha dy; dalpha = sum of dy min(x, 0)."""
        dy, dx = self._moved(op, c.dy), self._target(op, c.dx)
        op.prelu_backward(dx, c.dalpha.reshape(-1), dy, c.rows, c.alpha.reshape(-1))
        self._move_back(op, c.dx, dx)

    # Rows with a column for each alpha: where shared axes lie behind others they are moved forward.

    def _order(self, buffer: Buffer) -> list[int]:
        return [0, *self.shared_axes, *self._own_axes(len(buffer.shape))]

    def _rows(self, buffer: Buffer) -> Buffer:
        return buffer.reshape(-1, prod(self.parameters[0].shape))

    def _moved(self, op: Recorder, buffer: Buffer) -> Buffer:
        order = self._order(buffer)
        if order == sorted(order):
            return self._rows(buffer)
        moved = op.scratch(tuple(buffer.shape[axis] for axis in order))
        permute(op, moved, buffer, order)
        return self._rows(moved)

    def _target(self, op: Recorder, buffer: Buffer) -> Buffer:
        order = self._order(buffer)
        return self._rows(buffer if order == sorted(order) else op.scratch(buffer.shape))

    def _move_back(self, op: Recorder, buffer: Buffer, rows: Buffer) -> None:
        order = self._order(buffer)
        if order != sorted(order):
            moved = rows.reshape(*(buffer.shape[axis] for axis in order))
            permute(op, buffer, moved, [order.index(axis) for axis in range(len(order))])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": described(self.alpha_regularizer),
            "alpha_constraint": described(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }
