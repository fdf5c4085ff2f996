"""Models that are subclasses with a method ``call``: connected once their inputs are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet import optimizers
from gpunet.engine.data import as_numbers
from gpunet.engine.graph import Graph, Shape, Tensor
from gpunet.errors import ArgumentError, GpunetError, UsageError
from gpunet.layers.calls import attributes_of, call_of, in_order_of_attributes
from gpunet.layers.input_layer import Input, input_like
from gpunet.models.nested import as_layer, symbolic
from gpunet.models.structure import Structure
from gpunet.structures import flatten, mapped


class Subclassed(Structure):
    """What a model with ``call`` does until that has run, once, on symbolic tensors.

    Its layers are attributes, or lists or dicts of them; their order is that of its weights.
    """

    _compile_later: dict[str, Any] | None = None

    @property
    def waits(self) -> bool:
        """Whether it has a ``call`` that has not run yet."""
        if "plans" not in vars(self):
            raise UsageError(
                f"{type(self).__name__}.__init__ must call super().__init__(), first of all."
            )
        return self._graph is None and hasattr(self, "call")

    def _finish(self, graph: Graph, inputs: Any, outputs: Any) -> None:
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of this shape, or a list or dict of shapes, batch first."""
        if self.waits:
            self._connect_call(_inputs_of_shapes(input_shape))

    def ensure_built(self, x: Any) -> None:
        """Build from the data."""
        if self.waits and x is not None:
            self._connect_call(self._inputs_for(x))

    def _inputs_for(self, x: Any) -> Any:
        """Inputs for an array, or for lists and dicts of arrays."""
        if isinstance(x, Mapping):
            return {key: self._inputs_for(item) for key, item in x.items()}
        if isinstance(x, list | tuple) and _holds_arrays(x):
            return [self._inputs_for(item) for item in x]
        array = x if hasattr(x, "shape") else as_numbers(x, f"x of {self.name}")
        return Input(tuple(array.shape[1:]))

    def _connect_call(self, inputs: Any) -> None:
        """Run ``call`` on symbolic inputs and take what it returns for the outputs."""
        held = [as_layer(item) for item in attributes_of(self)]
        fresh = [layer for layer in held if getattr(layer, "built_for", 0) is None]
        try:
            outputs = call_of(self, [inputs], {})
            if symbolic(outputs) is None:
                raise ArgumentError(
                    f"call() of {self.name} must return a symbolic tensor, or a list or dict of "
                    f"them, got {outputs!r}."
                )
            graph = Graph(flatten(inputs), flatten(outputs))
        except GpunetError:
            for layer in fresh:  # so that other data may still build the model
                layer.forget_build()
            raise
        graph.set_layers(in_order_of_attributes(self, graph.layers))
        self._finish(graph, inputs, outputs)
        if self._compile_later is not None:
            self.is_compiled = False  # if it cannot be
            self.compile(**self._compile_later)

    def compile(
        self,
        optimizer: Any = "sgd",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how to train; see `Trainer.compile`. Before it is built, outputs are not known, and
        losses and metrics are checked when they are."""  # noqa: D205, D209
        given = {
            "optimizer": optimizers.get(optimizer),
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
        }
        if self.waits:
            self._compile_later, self.is_compiled = given, True
            self.optimizer = given["optimizer"]
        else:
            super().compile(**given)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """The outputs for one batch; or of symbolic tensors, symbolic ones."""
        if self.waits and symbolic(x) is not None:
            self._connect_like(x)
        return super().__call__(x, training)

    def replay(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Call the layers on other tensors; a model that is not built is built for their shapes."""
        if self.waits:
            self._connect_like(tensors[0] if len(tensors) == 1 else tensors)
        return super().replay(tensors)

    def _connect_like(self, x: Any) -> None:
        self._connect_call(mapped(input_like, x))

    @property
    def input_count(self) -> int:
        """How many inputs it has; one as long as that is not known."""
        return 1 if self.waits else super().input_count

    @property
    def first_shape(self) -> Shape | None:
        """The shape of one sample of the input; None if it is not known, or there are several."""
        return None if self.waits else super().first_shape

    @property
    def layers(self) -> list[Any]:
        """The layers, and models that were called as such; before it is built its attributes."""
        return attributes_of(self) if self.waits else super().layers

    @property
    def lists_inputs(self) -> bool:
        """Whether its InputLayers are among its layers: not those that were made for ``call``."""
        return not hasattr(self, "call")

    @property
    def trainable(self) -> bool:
        """Whether any of its layers may change; setting it sets it for all layers."""
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value


def _inputs_of_shapes(shape: Any) -> Any:
    """Inputs of a shape, or of lists and dicts of shapes."""
    if isinstance(shape, Mapping):
        return {key: _inputs_of_shapes(item) for key, item in shape.items()}
    if len(shape) > 0 and isinstance(shape[0], list | tuple | Mapping):
        return [_inputs_of_shapes(item) for item in shape]
    return Input(tuple(shape[1:]))


def _holds_arrays(items: Sequence[Any]) -> bool:
    """Whether a list is one of arrays, or of lists and dicts of arrays, and not of numbers."""
    return all(
        hasattr(item, "shape")
        or isinstance(item, Mapping)
        or (isinstance(item, list | tuple) and len(item) > 0 and _holds_arrays(item))
        for item in items
    )
