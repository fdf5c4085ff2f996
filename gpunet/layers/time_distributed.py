"""A layer at each step of a sequence."""

from __future__ import annotations

from typing import Any

from gpunet.engine.graph import Shape, copied_calls
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.input_layer import Input
from gpunet.structures import flatten, mapped, packed


class TimeDistributed(Layer):
    """The same layer at each step: y[:, t] = layer(x[:, t]).

    The steps of all samples are one large batch for the layer: BatchNormalization takes its
    moments over all of them, and Dropout drops others at each step. A layer that is made of layers,
    or a model, is taken apart: each of its layers then works at each step.

    Args:
        layer: the layer, or a model.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: something else than a layer.
        ShapeError: inputs that are no sequences, (batch, steps, ...).

    Example:
        >>> from gpunet import Input, layers
        >>> TimeDistributed(layers.Conv2D(8, 3))(Input((5, 28, 28, 1))).shape
        (None, 5, 26, 26, 8)
    """

    supports_masking = True

    def __init__(self, layer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        wrapped = layer.as_layer() if hasattr(layer, "as_layer") else layer
        if not isinstance(wrapped, Layer):
            raise ArgumentError(f"TimeDistributed takes a layer or a model, got {layer!r}.")
        self.layer: Layer = wrapped
        self.inputs = wrapped.inputs
        self.input_dtype = wrapped.input_dtype
        self._of: dict[Layer, Layer] = {}  # what does each layer's work at each step

    def call(self, *inputs: Any, mask: Any = None, **options: Any) -> Any:
        """The layer at each step."""
        if not self.layer.is_composite:
            return self._at_each_step(self.layer)(*inputs, mask=mask, **options)
        slices = mapped(lambda t: Input(_of_step(self, t.shape)[1:], dtype=t.dtype), inputs)
        results = self.layer(*slices, **options)
        body = flatten(results)[0].node.body
        return packed(results, copied_calls(body, flatten(inputs), self._at_each_step))

    def _at_each_step(self, layer: Layer) -> Layer:
        if layer not in self._of:
            make = TimeDistributed if layer.is_composite else AtEachStep
            self._of[layer] = make(layer, name=layer.label)
        return self._of[layer]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        from gpunet.layers.serialization import serialize  # which knows all layers

        return {**super().get_config(), "layer": serialize(self.layer)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TimeDistributed:
        """A new layer from `get_config`."""
        from gpunet.layers.serialization import as_layer

        config = dict(config)
        return cls(as_layer(config.pop("layer")), **config)


class AtEachStep(Layer):
    """A layer that is not made of layers, with all steps of all samples as one batch."""

    supports_masking = True

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=layer.activity_regularizer, **kwargs)
        self.layer = layer
        self.inputs = layer.inputs
        self.takes_arguments = layer.takes_arguments
        self.call_options = layer.call_options
        self.integers = layer.integers
        self.trainable = layer.trainable
        self.learning_rate_factor = layer.learning_rate_factor

    def build(self, input_shape: Any) -> None:
        """Build the layer, whose weights become those of this one."""
        self.layer.ensure_built(self._slices(input_shape))
        self.parameters = list(self.layer.parameters)
        for parameter in self.parameters:
            parameter.layer = self  # which is the layer that the model knows

    def forget_build(self) -> None:
        """Go back to before the first call."""
        super().forget_build()
        self.layer.forget_build()

    def check_same_features(self, shape: Any) -> None:
        """Leave it to the layer."""
        self.layer.check_same_features(self._slices(shape))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(batch, steps, ...)."""
        steps = (input_shape if self.inputs == 1 else input_shape[0])[1]
        shape = self.layer.compute_output_shape(self._slices(input_shape))
        if isinstance(shape, list):
            return [(one[0], steps, *one[1:]) for one in shape]
        return (shape[0], steps, *shape[1:])

    def _slices(self, shape: Any) -> Any:
        """The shape of the inputs of one step."""
        if self.inputs == 1:
            return _of_step(self, shape)
        return tuple(_of_step(self, one) for one in shape)

    def passes_through(self, training: bool) -> bool:
        """If the layer does."""
        return self.layer.passes_through(training)

    def forward(self, op: Recorder, c: Context) -> None:
        """The layer's forward for all steps at once."""
        c.saved = inner = Context(op, c.training, c.node, c.random, c.options)
        inner.x, inner.y = _rows(c.x), _rows(c.y)
        inner.mask = None if self.inputs == 1 else tuple(None for _ in c.x)
        for name in self.layer.call_tensors:
            setattr(inner, name, None)
        for parameter in self.parameters:
            for name in (parameter.name, f"d{parameter.name}"):
                setattr(inner, name, getattr(c, name))
        self.layer.forward(op, inner)

    def backward(self, op: Recorder, c: Context) -> None:
        """The layer's backward for all steps at once."""
        inner: Context = c.saved
        inner.dx, inner.dy = _rows(c.dx), _rows(c.dy)
        for name in self.layer.call_tensors:
            setattr(inner, f"d{name}", None)
        self.layer.backward(op, inner)


def _of_step(layer: Layer, shape: Shape) -> Shape:
    """The shape of one step of a sequence.

    Raises:
        ShapeError: it is none.
    """
    if len(shape) < 3:
        raise ShapeError(
            f"TimeDistributed {layer.label!r} expects sequences, (batch, steps, ...), got {shape}."
        )
    return (shape[0], *shape[2:])


def _rows(buffers: Any) -> Any:
    """All steps of all samples as one batch."""
    if isinstance(buffers, tuple):
        return tuple(_rows(buffer) for buffer in buffers)
    if not isinstance(buffers, Buffer):
        return buffers
    batch, steps, *rest = buffers.shape
    return buffers.reshape(batch * steps, *rest)
