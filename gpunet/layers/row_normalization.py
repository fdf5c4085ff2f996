"""Normalization of each sample over its last axes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpunet.arguments import ABOVE_0
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ShapeError
from gpunet.layers.affine import Affine, trailing_shape
from gpunet.layers.base import Context, Layer


class LayerNormalization(Affine):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over the last axes of each sample.

    Args:
        axis: the axis that mean and variance are taken over, or several: the last ones.
        epsilon: what is added to the variance.
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        beta_initializer: first values of beta, of the shape of these axes.
        gamma_initializer: first values of gamma, of the same shape.
        beta_regularizer: a penalty on beta, such as "l2".
        gamma_regularizer: a penalty on gamma.
        beta_constraint: what beta must keep to after each step.
        gamma_constraint: what gamma must keep to.
        rms_scaling: y = gamma x / sqrt(variance + epsilon), without mean and beta, and always with
            gamma, as in Keras; see `RMSNormalization` for the root mean square.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.
        ShapeError: other axes than the last ones, or axes of unknown size.

    Source: Ba, Kiros and Hinton, 2016, arXiv:1607.06450.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([LayerNormalization(input_shape=(10, 4))]).count_params()
        8
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        rms_scaling: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, locals(), kwargs)
        self.axis = axis
        self.by_position = axis == -1
        self.rms_scaling = rms_scaling

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta, of the shape of the axes."""
        shape = trailing_shape(self, input_shape, self.axis)
        if self.scale or self.rms_scaling:
            self.add_affine("gamma", shape)
        if self.center and not self.rms_scaling:
            self.add_affine("beta", shape)

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the normalized axes differ from those of build."""
        check_axes(self, shape, self.parameters[0].shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = gamma (x - mean) / sqrt(variance + epsilon) + beta."""
        gamma, beta = (getattr(c, name, None) for name in ("gamma", "beta"))
        normalize_rows(op, c, self.axis, gamma, beta, self._norm, self.epsilon)

    def backward(self, op: Recorder, c: Context) -> None:
        """dgamma and dbeta; dx directly and through mean and variance."""
        gamma, dgamma, dbeta = (getattr(c, name, None) for name in ("gamma", "dgamma", "dbeta"))
        normalize_rows_backward(op, c, self.axis, gamma, dgamma, dbeta, self._norm, self.epsilon)

    @property
    def _norm(self) -> str:
        return "variance" if self.rms_scaling else "layer"

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"axis": self.axis, "rms_scaling": self.rms_scaling}
        return {**super().get_config(), **own, **self.affine_config()}


class RMSNormalization(Layer):
    """y = scale x / sqrt(mean of x^2 + epsilon), over the last axes of each sample.

    Args:
        axis: the axis that the mean is taken over, or several: the last ones.
        epsilon: what is added to the mean.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: epsilon is no positive number.
        ShapeError: other axes than the last ones, or axes of unknown size.

    Source: Zhang and Sennrich, 2019, arXiv:1910.07467.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RMSNormalization(input_shape=(10, 4))]).count_params()
        4
    """

    supports_masking = True

    def __init__(
        self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.by_position = axis == -1
        self.epsilon = ABOVE_0.check(self, "epsilon", epsilon)

    def build(self, input_shape: Shape) -> None:
        """Make scale, of the shape of the axes."""
        self.add_weight("scale", trailing_shape(self, input_shape, self.axis), "ones")

    def check_same_features(self, shape: Any) -> None:
        """Raise a ShapeError if the normalized axes differ from those of build."""
        check_axes(self, shape, self.parameters[0].shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = scale x / sqrt(mean of x^2 + epsilon)."""
        normalize_rows(op, c, self.axis, c.scale, None, "rms", self.epsilon)

    def backward(self, op: Recorder, c: Context) -> None:
        """dscale; dx directly and through the mean."""
        normalize_rows_backward(op, c, self.axis, c.scale, c.dscale, None, "rms", self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class UnitNormalization(Layer):
    """y = x / sqrt(sum of x^2), over the last axes of each sample; a sum of 0 gives 0.

    Args:
        axis: the axis that the sum is taken over, or several: the last ones.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ShapeError: other axes than the last ones, or axes of unknown size.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential
        >>> Sequential([UnitNormalization(input_shape=(2,))])(np.array([[3.0, 4.0]]))
        array([[0.6, 0.8]], dtype=float32)
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.by_position = axis == -1

    def build(self, input_shape: Shape) -> None:
        """Check the axes."""
        trailing_shape(self, input_shape, self.axis)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x / sqrt(sum of x^2)."""
        normalize_rows(op, c, self.axis, None, None, "unit", 1e-12)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = (dy - y sum of dy y) / sqrt(sum of x^2)."""
        normalize_rows_backward(op, c, self.axis, None, None, None, "unit", 1e-12)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


def normalize_rows(
    op: Recorder,
    c: Context,
    axis: int | Sequence[int],
    gamma: Buffer | None,
    beta: Buffer | None,
    norm: str,
    epsilon: float,
) -> None:
    """Record the normalization of c.x over its last axes; keeps the statistics on the context."""
    x, y = _as_rows(c.x, axis), _as_rows(c.y, axis)
    c.saved = c.scratch(x.shape[:1], "mean"), c.scratch(x.shape[:1], "rstd")
    flat = [None if v is None else v.reshape(-1) for v in (gamma, beta)]
    op.layer_norm(y, *c.saved, x, *flat, norm=norm, epsilon=epsilon)


def normalize_rows_backward(
    op: Recorder,
    c: Context,
    axis: int | Sequence[int],
    gamma: Buffer | None,
    dgamma: Buffer | None,
    dbeta: Buffer | None,
    norm: str,
    epsilon: float,
) -> None:
    """Record the gradients of `normalize_rows`."""
    dx, dy, x = (_as_rows(buffer, axis) for buffer in (c.dx, c.dy, c.x))
    sums = [None if v is None else v.reshape(-1) for v in (dgamma, dbeta)]
    weights = None if gamma is None else gamma.reshape(-1)
    op.layer_norm_backward(dx, *sums, dy, x, *c.saved, weights, norm=norm, epsilon=epsilon)


def _as_rows(buffer: Buffer, axis: int | Sequence[int]) -> Buffer:
    """The last axes as one."""
    axes = 1 if isinstance(axis, int) else len(axis)
    return buffer.reshape(prod(buffer.shape[:-axes]), prod(buffer.shape[-axes:]))


def check_axes(layer: Layer, shape: Shape, sizes: tuple[int, ...]) -> None:
    """Raise a ShapeError if the last axes of a shape have other sizes than those of build."""
    if tuple(shape[-len(sizes) :]) != sizes:
        raise ShapeError(
            f"{type(layer).__name__} {layer.label!r} was built for inputs with last axes {sizes}, "
            f"got {shape}; make another layer for other features."
        )
