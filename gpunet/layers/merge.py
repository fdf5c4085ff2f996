"""Layers with several inputs."""

from __future__ import annotations

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer


class Add(Layer):
    """y = x_0 + x_1 + ...: the sum of inputs of one shape.

    Raises:
        ArgumentError: fewer than two inputs.
        ShapeError: inputs of different shapes.

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((4,))
        >>> residual = Model(x, layers.Add()([x, layers.Dense(4)(x)]))
    """

    inputs = None

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """The shape of each input."""
        if len(input_shape) < 2:
            raise ArgumentError(f"Add {self.label!r} takes a list of two or more inputs.")
        if len(set(input_shape)) > 1:
            shapes = ", ".join(str(shape) for shape in input_shape)
            raise ShapeError(f"Add {self.label!r} takes inputs of one shape, got {shapes}.")
        return input_shape[0]

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x_0 + x_1 + ..."""
        total = c.x[0]
        for i, x in enumerate(c.x[1:], start=2):
            y = c.y if i == len(c.x) else c.scratch(c.y.shape)
            op.add(y, total, x)
            total = y

    def backward(self, op: Recorder, c: Context) -> None:
        """dx_i = dy: copies, which the plan leaves out where dy is not needed any more."""
        for dx in c.dx:
            op.copy(dx, c.dy)
