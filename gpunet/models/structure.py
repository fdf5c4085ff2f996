"""The structure of a model: its layers, inputs and outputs, and the model as a layer of another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.engine.graph import Graph, Shape, Tensor, copied_calls
from gpunet.engine.heads import check_names
from gpunet.engine.inputs import fits
from gpunet.engine.run import single
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.layers.base import Layer
from gpunet.layers.input_layer import input_like
from gpunet.models.loops import Loops, as_list
from gpunet.models.nested import NestedModel, symbolic, unwrapped


class Structure(Loops):
    """What a model knows of its layers."""

    _graph: Graph | None = None
    _input_keys: list[str] | None = None
    _output_keys: list[str] | None = None
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
        return self.as_inputs(self.inputs)

    @property
    def output(self) -> Any:
        """The symbolic output (a list or dict as the model got them if there are several)."""
        return self.as_outputs(self.outputs)

    @property
    def input_names(self) -> list[str]:
        """What the inputs are called in a dict of arrays."""
        return self._input_keys or [tensor.name for tensor in self.graph.inputs]

    @property
    def output_names(self) -> list[str]:
        """What the outputs are called in dicts of losses and targets: as their layers."""
        if self._output_keys is not None:
            return self._output_keys
        names: list[str] = []
        for tensor in self.graph.outputs:
            base = tensor.node.layer.label if tensor.node is not None else tensor.name
            numbered = (base if k == 0 else f"{base}_{k}" for k in range(len(names) + 1))
            names.append(next(name for name in numbered if name not in names))
        return names

    def as_inputs(self, values: Sequence[Any]) -> Any:
        """One value for each input in the form in which the model was given its inputs."""
        return _packed(values, self._input_keys)

    def as_outputs(self, values: Sequence[Any]) -> Any:
        """One value for each output in the form in which the model was given its outputs."""
        return _packed(values, self._output_keys)

    # ------------------------------------------------------------- as a layer of another

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The outputs for one batch, as NumPy arrays; or of symbolic tensors, symbolic ones.

        Args:
            x: a batch (a list or dict if there are several inputs), or symbolic tensors.
            training: whether layers such as Dropout act; for symbolic tensors None, as in the pass
                that they are part of, False, never, or True, always. (So Keras' guides have it; in
                functional models Keras 3.15 itself lets the pass decide whatever was said.)
        """
        tensors = symbolic(x)
        if tensors is None:
            return super().__call__(x, bool(training))
        if isinstance(x, Mapping):
            check_names(x, self.input_names, "the call of a model", "input")
            tensors = [x[name] for name in self.input_names]
        results = as_list(
            self.as_layer()(x if isinstance(x, Tensor) else tensors, training=training)
        )
        return self.as_outputs(results)

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


def _packed(values: Sequence[Any], keys: Sequence[str] | None) -> Any:
    """One value, a list, or a dict by these keys."""
    if keys is not None:
        return dict(zip(keys, values, strict=True))
    return single(list(values))
