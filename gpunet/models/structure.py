"""The structure of a model: its layers, inputs and outputs, and the model as a layer of another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.engine.graph import Graph, Shape, Tensor, copied_calls
from gpunet.engine.inputs import fits, named_values
from gpunet.engine.run import single
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.layers.base import Layer
from gpunet.layers.input_layer import InputLayer, input_like
from gpunet.models.loops import Loops
from gpunet.models.nested import NestedModel, symbolic, unwrapped
from gpunet.structures import Form, flatten, packed


class Structure(Loops):
    """What a model knows of its layers."""

    _graph: Graph | None = None
    _forms: tuple[Form, Form]
    named_by_user = False

    @property
    def graph(self) -> Graph:
        """The model's graph.

        Raises:
            UsageError: the input shape is not known yet.
        """
        if self._graph is None:
            raise UsageError(
                f"{self.name} is not built: give the first layer input_shape=, or call the model, "
                "fit or build first."
            )
        return self._graph

    @property
    def built(self) -> bool:
        """Whether the weights exist."""
        return self._graph is not None

    @property
    def layers(self) -> list[Any]:
        """The layers, and models that were called as such, in Keras' order, inputs first.

        An InputLayer stands before the layers that read it, a branch's later than others.
        """
        return [unwrapped(layer) for layer in self._listed]

    @property
    def lists_inputs(self) -> bool:
        """Whether its InputLayers are among its layers."""
        return True

    @property
    def _listed(self) -> list[Layer]:
        return self.graph.layers_and_inputs if self.lists_inputs else self.graph.layers

    def last_layer(self, output: int = 0) -> Layer | None:
        """The layer whose numbers come out, behind those that only pass them on."""
        tensor = self.graph.origin(self.graph.outputs[output])
        while tensor.node is not None and tensor.node.layer.passes_through(training=False):
            tensor = self.graph.origin(tensor.node.inputs[0])
        return tensor.node.layer if tensor.node is not None else None

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """The layer, or nested model, of this name or index.

        Raises:
            ArgumentError: there is none.
        """
        layers = self._listed
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ArgumentError(f"{self.name} has {len(layers)} layers, got {index}.")
            return unwrapped(layers[index])
        for layer in layers:
            if name is not None and layer.name == name:
                return unwrapped(layer)
        names = ", ".join(layer.label for layer in layers)
        raise ArgumentError(f"{self.name} has the layers {names}, got {name!r}.")

    @property
    def inputs(self) -> list[Tensor]:
        """The symbolic inputs."""
        return list(self.graph.inputs)

    @property
    def outputs(self) -> list[Tensor]:
        """The symbolic outputs: ``Model(model.inputs, model.get_layer("hidden").output)``."""
        return list(self.graph.outputs)

    @property
    def input(self) -> Any:
        """The symbolic input (a list or dict as the model got them if there are several)."""
        return self.input_form.packed(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic output (a list or dict as the model got them if there are several)."""
        return self.output_form.packed(self.outputs)

    @property
    def input_form(self) -> Form:
        """How the model was given its inputs."""
        self.graph  # noqa: B018 - which makes it if the inputs are known
        return self._forms[0]

    @property
    def output_form(self) -> Form:
        """How the model was given its outputs."""
        self.graph  # noqa: B018
        return self._forms[1]

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called in a dict of arrays."""
        return self.input_form.names

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called in dicts of losses and targets: as their layers."""
        return self.output_form.names

    # ------------------------------------------------------------- as a layer of another

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The outputs for one batch, as NumPy arrays; or of symbolic tensors, symbolic ones.

        Args:
            x: a batch (a list or dict if there are several inputs), or symbolic tensors.
            training: whether layers such as Dropout act; for symbolic tensors None, as in the pass
                that they are part of, False, never, or True, always. (So Keras' guides have it; in
                functional models Keras 3.15 itself lets the pass decide whatever was said.)
        """
        if symbolic(x) is None:
            return super().__call__(x, bool(training))
        if not isinstance(x, Tensor):
            form = self.input_form
            given = form.flat(x, f"the argument of {self.name}")
            is_dict = isinstance(given, Mapping)
            tensors = named_values(given, form.names, self.name) if is_dict else flatten(given)
            x = packed(form.structure, tensors) if len(tensors) == len(form.names) else tensors
        results = flatten(self.as_layer()(x, training=training))  # which may build it
        return self.output_form.packed(results)

    @abstractmethod
    def as_layer(self) -> NestedModel:
        """What stands for the model in the graph of another one."""

    @property
    def input_count(self) -> int:
        """How many inputs it has."""
        return len(self.graph.inputs)

    @property
    def first_shape(self) -> Shape | None:
        """The shape of one sample of the input; None if it is not known, or there are several."""
        inputs = self.graph.inputs
        return inputs[0].shape[1:] if len(inputs) == 1 else None

    def replay(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the model's layers on other tensors.

        Raises:
            ArgumentError: a wrong number of tensors.
            ShapeError: tensors of another shape.
        """
        if len(tensors) != len(self.graph.inputs):
            raise ArgumentError(
                f"{self.name} takes {len(self.graph.inputs)} input(s), got {len(tensors)}."
            )
        for own, given in zip(self.graph.inputs, tensors, strict=True):
            if not fits(given.shape[1:], own.shape[1:]):
                raise ShapeError(
                    f"input {own.name!r} of {self.name} expects samples of shape {own.shape[1:]}, "
                    f"got {given.shape[1:]}."
                )
        return copied_calls(self.graph, tensors, lambda layer: layer)

    @property
    def trainable(self) -> bool:
        """Whether any of its layers may change; setting it sets it for all layers."""
        return any(layer.trainable for layer in self.graph.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.graph.layers:
            layer.trainable = value

    @property
    def input_shape(self) -> Any:
        """The shape of the input with None for the batch (a list if there are several)."""
        return single([tensor.shape for tensor in self.graph.inputs])

    @property
    def output_shape(self) -> Any:
        """The shape of the output with None for the batch (a list if there are several)."""
        return single([tensor.shape for tensor in self.graph.outputs])


def with_inputs(
    inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Inputs and outputs where what a layer returned among the inputs has become an Input.

    The layers between both are called once more, so that they belong to this model, too.
    """
    if all(tensor.node is None for tensor in inputs):
        return inputs, outputs
    between = Graph(inputs, outputs, is_body=True)
    fresh = [tensor if tensor.node is None else input_like(tensor) for tensor in inputs]
    return fresh, copied_calls(between, fresh, lambda layer: layer)


def take_dtypes(graph: Graph) -> None:
    """Inputs whose dtype nobody said are integers if a layer, such as Embedding, reads integers."""
    for node in graph.nodes:
        for tensor in node.inputs:
            source = graph.origin(tensor)
            said = not isinstance(source.layer, InputLayer) or source.layer.says_dtype
            if node.layer.input_dtype != "float32" and not said:
                source.dtype = node.layer.input_dtype
