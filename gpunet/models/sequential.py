"""`Sequential`: a stack of layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.engine.data import as_numbers
from gpunet.engine.graph import Graph, Shape, Tensor
from gpunet.errors import ArgumentError, GpunetError, ShapeError, UsageError
from gpunet.layers.base import Layer
from gpunet.layers.calls import check_started
from gpunet.layers.input_layer import Input, InputLayer, input_like
from gpunet.models.model import Model
from gpunet.models.nested import as_layer, layer_from_description, unwrapped
from gpunet.saving.configs import CustomObjects
from gpunet.saving.model_configs import stack_config, stack_from_config
from gpunet.structures import Form


class Sequential(Model):
    """A stack of layers, each reading the output of the one before.

    Args:
        layers: layers, the first perhaps an `Input` or InputLayer; or none, to be added later.
        name: a name for messages and the summary.

    Example:
        >>> from gpunet import Sequential, layers
        >>> model = Sequential()
        >>> model.add(layers.Dense(units=64, activation="relu", input_dim=100))
        >>> model.add(layers.Dense(units=10, activation="softmax"))
        >>> model.output_shape
        (None, 10)
    """

    is_stack = True

    def __init__(
        self, layers: Iterable[Layer | Tensor | Model] = (), name: str | None = None
    ) -> None:
        self._start("sequential", name)
        self._stack: list[Layer] = []
        self._input: Tensor | None = None
        if not isinstance(layers, Iterable):
            raise ArgumentError(f"Sequential takes a list of layers, got {layers!r}: write [...].")
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Tensor | Model) -> None:
        """Put a layer (or a model, or first of all an Input) on top.

        Raises:
            ArgumentError: not a layer; a name that is taken; a layer with several inputs.
            UsageError: the model is built already.
        """
        if self._graph is not None:
            raise UsageError(f"{self.name} is built already; add layers before its first use.")
        if layer is self:
            raise ArgumentError(f"{self.name} cannot be a layer of itself.")
        layer = as_layer(layer)
        if isinstance(layer, InputLayer):
            layer = layer.output
        if isinstance(layer, Tensor):
            if self._stack or self._input is not None:
                raise ArgumentError("an Input can only come first.")
            if layer.node is not None:
                raise ArgumentError(
                    f"{self.name} starts with an Input, got {layer!r}; use gpunet.Model(inputs, "
                    "outputs) to start from the output of a layer."
                )
            self._input = layer
            return
        if not isinstance(layer, Layer):
            hint = ": put () behind the class" if isinstance(layer, type) else ""
            raise ArgumentError(f"{self.name} takes layers, got {layer!r}{hint}.")
        check_started(layer)
        if layer.inputs != 1:
            raise ArgumentError(f"layer {layer.label!r} has several inputs; use gpunet.Model.")
        if any(layer is other for other in self._stack):
            raise ArgumentError(
                f"layer {layer.label!r} is in {self.name} already; use gpunet.Model to share it."
            )
        if not self._stack and self._input is None and layer.sample_shape is not None:
            self._input = Input(layer.sample_shape, dtype=layer.input_dtype)
        self._stack.append(layer)

    def pop(self) -> Any:
        """Take the last layer off."""
        if self._graph is not None or not self._stack:
            raise UsageError(f"{self.name} has no layer that could be taken off any more.")
        return unwrapped(self._stack.pop())

    @property
    def graph(self) -> Graph:
        """The model's graph; made when it is first needed and the input shape is known."""
        if self._graph is None and self._input is not None:
            self._connect(self._input)
        return super().graph

    @property
    def built(self) -> bool:
        """Whether the weights exist or can be made."""
        return self._graph is not None or self._input is not None

    def build(self, input_shape: Sequence[int | None] | None = None) -> None:
        """Make the weights for inputs of this shape, with the batch size (or None) first.

        Args:
            input_shape: not needed where the first layer says it.
        """
        if self._graph is None and input_shape is not None:
            self._connect(self._input_of(input_shape[1:]))
        self.ensure_built(None)

    def ensure_built(self, x: Any) -> None:
        """Build from the data if the layers do not say their input shape."""
        if self._graph is None and self._input is None and x is not None:
            is_one = isinstance(x, list | tuple) and len(x) == 1 and np.ndim(x[0]) > 1
            array = as_numbers(x[0] if is_one else x, f"x of {self.name}")
            if array.ndim < 2:
                raise ShapeError(
                    f"{self.name} expects an array (batch, features), got {array.shape}."
                )
            self._connect(self._input_of(array.shape[1:]))
        elif self._graph is None and self._input is not None:
            self._connect(self._input)
        super().ensure_built(x)

    def _input_of(self, shape: Sequence[int | None]) -> Tensor:
        """An input of the dtype that the first layer takes."""
        return Input(shape, dtype=self._stack[0].input_dtype if self._stack else "float32")

    def _connect(self, tensor: Tensor) -> None:
        if not self._stack:
            raise UsageError(f"{self.name} has no layers; add some with model.add(...).")
        first = tensor
        fresh = [layer for layer in self._stack if layer.built_for is None]
        try:
            for layer in self._stack:
                tensor = self._single(layer, layer(tensor))
            self._finish(Graph([first], [tensor]), first, tensor)
        except GpunetError:
            for layer in fresh:  # so that other data may still build the model
                layer.forget_build()
            raise
        self._input = first

    def _single(self, layer: Layer, output: Any) -> Tensor:
        """The output of a layer, which is one in a stack."""
        if isinstance(output, list | tuple) and len(output) == 1:
            output = output[0]
        if not isinstance(output, Tensor):
            raise ArgumentError(
                f"layer {layer.label!r} returns {len(output)} tensors, but a layer of "
                f"{self.name} must return one; use gpunet.Model."
            )
        return output

    def get_config(self) -> dict[str, Any]:
        """The layers in Keras' form; without weights."""
        return stack_config(self.name, self._input, self._stack)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None
    ) -> Sequential:
        """A new model, with fresh weights, from `get_config`; arguments as `Model.from_config`."""
        return cls(*stack_from_config(config, custom_objects, layer_from_description))

    @property
    def layers(self) -> list[Any]:
        """The layers, whether the model is built or not."""
        return [unwrapped(layer) for layer in self._stack]

    @property
    def lists_inputs(self) -> bool:
        """As in Keras, the InputLayer of a stack is not one of its layers."""
        return False

    def last_layer(self, output: int = 0) -> Layer | None:
        """The layer whose numbers come out, whether the model is built or not."""
        if self._graph is not None:
            return super().last_layer(output)
        stack = reversed(self._stack)
        return next((layer for layer in stack if not layer.passes_through(training=False)), None)

    @property
    def input_form(self) -> Form:
        """One input, whether the model is built or not."""
        return Form(None, [InputLayer((1,))], "input") if not self.built else super().input_form

    @property
    def output_form(self) -> Form:
        """One output with the name of the last layer, whether the model is built or not."""
        if self._graph is None:
            return Form(None, self._stack[-1:] or [InputLayer((1,), name="output")], "output")
        return super().output_form

    # ------------------------------------------------------------- as a layer of another

    @property
    def input_count(self) -> int:
        """One."""
        return 1

    @property
    def first_shape(self) -> Shape | None:
        """The shape of one sample of the input; None if it is not known."""
        return None if self._input is None else self._input.shape[1:]

    def replay(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the layers on another tensor; a model that is not built is built for its shape."""
        if self._graph is None:
            (tensor,) = tensors
            self._connect(input_like(tensor) if self._input is None else self._input)
        return super().replay(tensors)

    @property
    def trainable(self) -> bool:
        """Whether any of its layers may change; setting it sets it for all layers."""
        return any(layer.trainable for layer in self._stack)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self._stack:
            layer.trainable = value
