"""A layer of two functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer


class FunctionLayer(Layer):
    """y = forward(x), dx = backward(dy, x, y): for what no op does.

    The functions get arrays of the model's device (NumPy's, or CuPy's on a GPU), with the batch
    first, and return one. They are never saved: write a subclass whose constructor names them to
    have one that is.

    Args:
        forward: function of x.
        backward: function of dy, x and y that returns dx; None if nothing before it is trained.
        output_shape: the shape of one sample of y; by default that of x.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: something that is no function, or no shape.
        ShapeError: while running, a function that returns another shape.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential
        >>> sine = FunctionLayer(np.sin, lambda dy, x, y: dy * np.cos(x), input_shape=(3,))
        >>> Sequential([sine]).predict(np.zeros((2, 3)), verbose=0).shape
        (2, 3)
    """

    def __init__(
        self,
        forward: Callable[[Any], Any],
        backward: Callable[[Any, Any, Any], Any] | None = None,
        output_shape: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(forward) or not (backward is None or callable(backward)):
            raise ArgumentError(
                f"FunctionLayer takes two functions, got {forward!r} and {backward!r}."
            )
        shape = output_shape if isinstance(output_shape, list | tuple | None) else (output_shape,)
        if shape is not None and not all(isinstance(dim, int) and dim > 0 for dim in shape):
            raise ArgumentError(
                "FunctionLayer takes the shape of one sample in positive integers for "
                f"output_shape, got {output_shape!r}."
            )
        self._functions = forward, backward
        self._sample = None if shape is None else tuple(shape)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """As the constructor was told."""
        if self._sample is None:
            return tuple(input_shape)
        return (input_shape[0], *[int(dim) for dim in self._sample if dim is not None])

    def forward(self, op: Recorder, c: Context) -> None:
        """y is what the forward function makes of x."""
        function = self._functions[0]

        def run(y: Any, x: Any) -> None:
            self._store(y, function(x), "forward")

        op.python(run, [c.y], [c.x])

    def backward(self, op: Recorder, c: Context) -> None:
        """dx is what the backward function makes of dy, x and y."""
        function = self._functions[1]
        if function is None:
            raise ArgumentError(
                "FunctionLayer has no backward function, which layers before it and gradients of "
                "inputs need; pass backward=, a function of dy, x and y."
            )

        def run(dx: Any, dy: Any, x: Any, y: Any) -> None:
            self._store(dx, function(dy, x, y), "backward")

        op.python(run, [c.dx], [c.dy, c.x, c.y])

    def _store(self, target: Any, values: Any, name: str) -> None:
        if tuple(values.shape) != tuple(target.shape):
            raise ShapeError(
                f"the {name} function of {self.label!r} must return an array of shape "
                f"{tuple(target.shape)}, got {tuple(values.shape)}."
            )
        target[...] = values

    def get_config(self) -> dict[str, Any]:
        """Functions are code, which is never saved.

        Raises:
            ArgumentError: always; a subclass whose constructor names its functions overrides it.
        """
        raise ArgumentError(
            f"FunctionLayer {self.label!r} holds functions, which are never put into a config; "
            "write a subclass of Layer, or of FunctionLayer with a get_config of its own."
        )
