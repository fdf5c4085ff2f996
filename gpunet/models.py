"""Models: `Model` for any graph of layers, `Sequential` for a stack of them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import backend as backends
from gpunet.backend.base import Backend
from gpunet.backend.spec import REAL, Array
from gpunet.engine.data import as_numbers, model_inputs
from gpunet.engine.eager import infer_eagerly
from gpunet.engine.graph import Graph, Input, Tensor
from gpunet.engine.infer import InferPlan
from gpunet.engine.parameters import Block, Parameter, Span, spans_of
from gpunet.engine.penalties import record_constraints, record_weight_penalties
from gpunet.engine.plan import Call, Plan
from gpunet.engine.recorder import Recorder
from gpunet.engine.run import ArenaPool, GradientPlan, Run, feed_dtype, single
from gpunet.engine.steps import TRAIN, Samples, StepCalls, StepPlan, bind_step
from gpunet.engine.summary import print_summary
from gpunet.engine.trainer import Trainer
from gpunet.errors import ArgumentError, GpunetError, ShapeError, UsageError
from gpunet.identifiers import lookup
from gpunet.layers.base import Layer, block_of, read_parameter, write_parameters
from gpunet.layers.serialization import deserialize, serialize
from gpunet.optimizers import Optimizer
from gpunet.saving.compiled import compile_config, compile_from_config
from gpunet.saving.configs import CustomObjects, parts_of
from gpunet.saving.model_configs import (
    graph_config,
    graph_from_config,
    read_json,
    stack_config,
    stack_from_config,
)
from gpunet.saving.weights import load_weights, save_weights

if TYPE_CHECKING:
    from gpunet.engine.profile import Profile


class Model(Trainer):
    """A graph of layers between inputs and outputs.

    Args:
        inputs: a symbolic input or a list of them.
        outputs: a symbolic output or a list of them.
        name: a name for messages and the summary.

    Raises:
        ArgumentError: an output depends on an input that is not given.

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((4,))
        >>> hidden = layers.Dense(4, "tanh")(x)
        >>> model = Model(x, layers.Add()([x, hidden]))
        >>> model.count_params()
        20
    """

    def __init__(
        self,
        inputs: Tensor | Sequence[Tensor],
        outputs: Tensor | Sequence[Tensor],
        name: str | None = None,
    ) -> None:
        for tensor in (tensors := [*_as_list(inputs), *_as_list(outputs)]):
            if not isinstance(tensor, Tensor):
                raise ArgumentError(
                    "Model takes symbolic inputs and outputs, as gpunet.Input and calls of layers "
                    f"return them, got {type(tensor).__name__}."
                )
        if len(tensors) < 2 or not _as_list(outputs):
            raise ArgumentError("Model takes at least one input and one output, got none.")
        self._start(name or "model")
        self._finish(Graph(_as_list(inputs), _as_list(outputs)))

    def _start(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.dtype = "float32"
        self._graph: Graph | None = None
        self._run: Run | None = None

    def _finish(self, graph: Graph) -> None:
        """Take a graph: weights that have no block yet get one, on today's backend."""
        blocks = [p.block for layer in graph.layers for p in layer.parameters if p.block]
        self.backend_at_build = backends.get_backend()
        self.backend: Backend = blocks[0].backend if blocks else self.backend_at_build
        self.dtype = blocks[0].dtype if blocks else "float32"
        self.arenas = ArenaPool(self.backend)
        fresh = [p for layer in graph.layers for p in layer.parameters if p.block is None]
        if fresh:
            Block(fresh, self.backend, self.dtype)
        graph.spans = spans_of(graph.parameters)
        self._graph = graph

    # -------------------------------------------------------------------- structure

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

    def ensure_built(self, x: Any) -> None:
        """A functional model is built from the start; its weights must be where it is.

        Raises:
            UsageError: another model that shares a layer has been moved.
        """
        for block in self.blocks:
            if block.backend is not self.backend or block.dtype != self.dtype:
                raise UsageError(
                    f"{self.name} runs on {self.backend.name} in {self.dtype}, but weights that it "
                    f"shares with another model were moved to {block.backend.name} in "
                    f"{block.dtype}; move it, too, with model.to(...)."
                )

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order in which they run."""
        return list(self.graph.layers)

    @property
    def last_layer(self) -> Layer | None:
        """The layer whose numbers come out, behind those that only pass them on.

        None if there are several outputs.
        """
        tensor, *others = self.graph.outputs
        while tensor.node is not None and tensor.node.layer.passes_through(training=False):
            tensor = tensor.node.inputs[0]
        return tensor.node.layer if tensor.node is not None and not others else None

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of this name or index.

        Raises:
            ArgumentError: there is none.
        """
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ArgumentError(f"{self.name} has {len(self.layers)} layers, got {index}.")
            return self.layers[index]
        for layer in self.layers:
            if name is not None and layer.name == name:
                return layer
        names = ", ".join(layer.label for layer in self.layers)
        raise ArgumentError(f"{self.name} has the layers {names}, got {name!r}.")

    @property
    def input_shape(self) -> Any:
        """The shape of the input with None for the batch (a list if there are several)."""
        return single([tensor.shape for tensor in self.graph.inputs])

    @property
    def output_shape(self) -> Any:
        """The shape of the output with None for the batch (a list if there are several)."""
        return single([tensor.shape for tensor in self.graph.outputs])

    # ---------------------------------------------------------------------- weights

    @property
    def parameters(self) -> list[Parameter]:
        """All weights, in the order of the layers."""
        return list(self.graph.parameters)

    @property
    def spans(self) -> list[Span]:
        """The stretches of flat buffers that hold the weights."""
        return self.graph.spans

    @property
    def blocks(self) -> list[Block]:
        """The blocks of those stretches."""
        return [span.block for span in self.spans]

    @property
    def weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of all weights as NumPy arrays."""
        return self.get_weights()

    @property
    def trainable_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the weights that the optimizer may change."""
        return [read_parameter(p) for p in self.parameters if p.is_trainable]

    def get_weights(self) -> list[np.ndarray[Any, Any]]:
        """Copies of all weights as NumPy arrays, in the order of the layers."""
        return [read_parameter(parameter) for parameter in self.parameters]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set all weights; nothing changes if one of them does not fit.

        Raises:
            ShapeError: a wrong number or shape.
        """
        write_parameters(self.name, self.parameters, weights)

    @property
    def losses(self) -> list[float]:
        """The penalty of each trainable weight that has a regularizer, as the weights are now."""
        return [
            p.regularizer(read_parameter(p))
            for p in self.parameters
            if p.regularizer is not None and p.is_trainable
        ]

    def get_gradients(self) -> list[np.ndarray[Any, Any]]:
        """Copies of the gradients of all weights, as the last backward left them."""
        blocks = [(block_of(parameter), parameter) for parameter in self.parameters]
        return [block.backend.to_numpy(block.gradient(p)) for block, p in blocks]

    def count_params(self) -> int:
        """The number of elements of all weights."""
        return sum(parameter.size for parameter in self.parameters)

    def save_weights(self, path: Any, overwrite: bool = True) -> None:
        """Save all weights in an .npz file, complete or not at all; see `gpunet.saving`."""
        save_weights(self, path, overwrite)

    def load_weights(self, path: Any) -> None:
        """Load weights from `save_weights`; nothing changes if they do not fit."""
        load_weights(self, path)

    def to(self, backend: str | Backend | None = None, dtype: str | None = None) -> Model:
        """Move the model to another backend.

        Args:
            backend: "numpy", "cupy", "emulator" or "auto".
            dtype: "float32", or "float64" for gradient checks with NumPy.

        Returns:
            The model.

        Raises:
            BackendUnavailable: the backend cannot be used here; the model stays where it is.
            ArgumentError: no such backend, or it does not compute in this dtype.
        """
        parameters = [p for layer in self.graph.layers for p in layer.parameters]
        new = backend if isinstance(backend, Backend) else self.backend
        if backend is not None and not isinstance(backend, Backend):
            new = backends.backend_named(backend)
        dtype = dtype or self.dtype
        if dtype not in REAL:
            raise ArgumentError(f"models compute in {' or '.join(REAL)}, got {dtype!r}.")
        if dtype != "float32" and new.name != "numpy":
            raise ArgumentError(
                f"{new.name} computes in float32, got {dtype}; pass dtype='float32', too."
            )
        for block in {block_of(parameter) for parameter in parameters}:
            block.move(new, dtype)
        self.backend, self.dtype = new, dtype
        self.backend_at_build = backends.get_backend()
        self.arenas = ArenaPool(new)
        self.forget_plans()
        if self.is_compiled:
            self.optimizer.attach(new, self.spans)
        return self

    # ------------------------------------------------------------------------ plans

    def step_plan(self, mode: str, rows: int, samples: Samples) -> StepPlan:
        """The plan of a training or evaluation step, made once."""
        key = (mode, rows, samples.signature, self.weights_key())
        return self.plans.get(key, lambda: StepPlan(self, mode, rows, samples))

    def training_plan(self, batch_size: int) -> Plan:
        """The plan of a training step on float32 data with one batch of this size."""
        self.prepare(None)
        x = [np.zeros(t.batch_shape(batch_size), t.dtype) for t in self.graph.inputs]
        y = np.zeros(self.graph.outputs[0].batch_shape(batch_size), np.float32)
        samples = self.samples(single(x), y[..., 0] if self.loss.sparse else y)
        return self.step_plan(TRAIN, batch_size, samples).plan

    def inference_plan(self, batch_size: int) -> Plan:
        """The plan of inference on one batch of this size."""
        dtypes = tuple(self.dtype for _ in self.graph.inputs)
        key = ("infer", batch_size, dtypes, self.places_key())
        return self.plans.get(key, lambda: InferPlan(self, batch_size, dtypes)).plan

    def _dtypes(self, arrays: Sequence[Array]) -> tuple[str, ...]:
        pairs = zip(arrays, self.graph.inputs, strict=True)
        return tuple(feed_dtype(array, tensor.dtype, self.dtype) for array, tensor in pairs)

    def forward_batch(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """The outputs for one batch in inference, as NumPy arrays."""
        if self.run_eagerly:
            return infer_eagerly(self, arrays)
        rows, dtypes = len(arrays[0]), self._dtypes(arrays)
        key = ("infer", rows, dtypes, self.places_key())
        plan = self.plans.get(key, lambda: InferPlan(self, rows, dtypes))
        lease = self.arenas.lease(plan.plan.nbytes)
        try:
            return plan.run(lease, arrays)
        finally:
            self.arenas.release(lease)

    # ----------------------------------------------------------- hand-written loops

    def __call__(self, x: Any, training: bool = False) -> Any:
        """The outputs for one batch, as NumPy arrays on every device."""
        if not training:
            return self.predict_on_batch(x)
        outputs = self.run(x, training=True).y
        return single([self.backend.to_numpy(y) for y in _as_list(outputs)])

    def run(self, x: Any, training: bool = False) -> Run:
        """One pass in flight, for loops of your own.

        Args:
            x: one batch (a list where there are several inputs).
            training: whether layers such as Dropout act.

        Returns:
            A `Run` with outputs ``y`` and ``backward(dy)``.

        Example:
            >>> import numpy as np
            >>> from gpunet import Sequential, layers, optimizers
            >>> model = Sequential([layers.Dense(1, input_dim=2)])
            >>> x, target = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
            >>> run = model.run(x, training=True)
            >>> dx = run.backward(2 * (run.y - target) / 4)
            >>> optimizers.SGD(0.1).step(model)
        """
        self.ensure_built(x)
        arrays = model_inputs(self.graph.inputs, x, self.backend, self.name)
        rows, dtypes = len(arrays[0]), self._dtypes(arrays)
        key = ("gradient", rows, dtypes, training, self.weights_key())
        plan = self.plans.get(key, lambda: GradientPlan(self, rows, dtypes, training))
        if training:
            self.passes += 1
        return Run(self, plan, arrays, self.passes)

    def forward(self, x: Any, training: bool = True) -> Any:
        """The outputs of one batch; `backward` must follow before the next forward.

        Raises:
            UsageError: the backward of the last forward has not been called.
        """
        if self._run is not None:
            raise UsageError(
                "forward was called twice without backward; use model.run for several passes at "
                "once, or model(x) for outputs alone."
            )
        self._run = self.run(x, training)
        return self._run.y

    def backward(self, dy: Any) -> Any:
        """The gradients of the last `forward`: those of the weights are kept, that of x returned.

        Raises:
            UsageError: forward was not called before.
        """
        if self._run is None:
            raise UsageError("backward was called without a forward before it.")
        run, self._run = self._run, None
        return run.backward(dy)

    def add_gradients(self, calls: Sequence[Call], weights: bool) -> None:
        """Run a backward: gradients since the last step add up, older ones are overwritten."""
        waiting = [p for p in self.parameters if p.has_gradient and p.is_trainable and weights]
        copy, add = self.backend.ops["copy"], self.backend.ops["add"]
        saved = []
        for parameter in waiting:
            gradient = block_of(parameter).gradient(parameter)
            before = self.backend.empty(tuple(gradient.shape), gradient.dtype)
            copy(before, gradient)
            saved.append((gradient, before))
        for call in calls:
            call()
        for gradient, before in saved:
            add(gradient, gradient, before)
        if weights:
            for parameter in self.parameters:
                parameter.has_gradient = parameter.is_trainable

    def apply_gradients(self, optimizer: Optimizer) -> None:
        """One optimizer step from the gradients of `Run.backward`; see `Optimizer.step`."""
        if not any(parameter.has_gradient for parameter in self.parameters):
            raise UsageError("there are no gradients to step with: call run.backward(dy) first.")
        optimizer.attach(self.backend, self.spans)
        optimizer.send_hyper()
        for parameter in self.parameters:
            if parameter.is_trainable and not parameter.has_gradient:  # nothing old may stay
                self.backend.ops["fill"](block_of(parameter).gradient(parameter), value=0.0)
        key = ("update", optimizer, self.weights_key())
        calls = self.plans.get(key, lambda: self._update_calls(optimizer))
        for call in calls.all if optimizer.updates_next else calls.without_update:
            call()
        optimizer.count_step()
        for parameter in self.parameters:
            parameter.has_gradient = False

    def _update_calls(self, optimizer: Optimizer) -> StepCalls:
        op = Recorder(self.dtype)
        record_weight_penalties(op, self.spans, None, count=1, gradients=True)
        optimizer.record(op, self.spans)
        record_constraints(op, self.spans)
        plan = Plan(op.records, ())
        return bind_step(plan, self.backend, self.backend.empty((plan.nbytes,), "uint8"))

    # ---------------------------------------------------------------------- configs

    def get_config(self) -> dict[str, Any]:
        """The layers and how they are connected, in Keras' form; without weights."""
        return graph_config(self.name, self.graph)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None
    ) -> Model:
        """A new model, with fresh weights, from `get_config`.

        Args:
            config: what get_config returned, here or in Keras.
            custom_objects: classes of your own by name; no other class is ever looked up.

        Raises:
            ArgumentError: the config describes no model, or names an unknown class.
            ShapeError: its layers do not fit together.
        """
        inputs, outputs, name = graph_from_config(config, custom_objects)
        return cls(inputs, outputs, name)

    def to_json(self, **kwargs: Any) -> str:
        """The config, and how the model was compiled, as JSON that `model_from_json` reads.

        Args:
            **kwargs: for json.dumps: ``indent=2``.
        """
        is_stack = isinstance(self, Sequential)
        description = {
            "module": "keras" if is_stack else "keras.src.models.functional",
            "class_name": "Sequential" if is_stack else "Functional",
            "config": self.get_config(),
            "registered_name": None,
            "compile_config": compile_config(self) if self.is_compiled else {},
        }
        return json.dumps(description, **kwargs)

    # ---------------------------------------------------------------------- summary

    def summary(self, batch_size: int = 32, print_fn: Callable[[str], Any] = print) -> None:
        """Print layers, shapes, weights, memory, FLOPs, what is fused and what runs where.

        Args:
            batch_size: the batch size that memory and FLOPs are given for.
            print_fn: what prints a line.
        """
        print_summary(self, batch_size, print_fn)

    def profile(self, x: Any, y: Any, steps: int = 10) -> Profile:
        """Time each op of a training step on one batch; weights and counters stay as they are.

        Args:
            x: one batch.
            y: its targets.
            steps: how many steps to average over, after two to warm up.

        Returns:
            A table, slowest op first, with calls, milliseconds, share, FLOPs and least bytes of
            one step; print it.

        Raises:
            UsageError: the model is not compiled.
            ArgumentError: steps is not a positive integer.
        """
        from gpunet.engine.profile import profile

        return profile(self, x, y, steps)

    def export_step(
        self,
        path: str | os.PathLike[str],
        batch_size: int | tuple[Any, Any] = 32,
        overwrite: bool = True,
    ) -> None:
        """Write a training step as a commented NumPy script that needs no gpunet.

        The script has the arrays of this model by name, one section for each layer's forward and
        backward, and the source of the ops. From the same weights and data it comes to the same
        weights as `train_on_batch` on the CPU, bit for bit, with an optimizer that starts anew.

        Args:
            path: the file, ending in .py; written completely or not at all.
            batch_size: samples a step; or one batch (x, y), whose dtypes the script then takes.
            overwrite: whether an existing file may be replaced.

        Raises:
            UsageError: the model is not compiled, or a layer runs Python code of its own.
            ArgumentError: another ending, a batch size that is none, or a file that exists and may
                not be replaced.
        """
        from gpunet.export import export_step  # it needs the CPU's ops on every device

        export_step(self, path, batch_size, overwrite)

    def __repr__(self) -> str:
        where = f"on {self.backend.name}" if self._graph is not None else "not built"
        return f"<{type(self).__name__} {self.name} {where}>"


class Sequential(Model):
    """A stack of layers, each reading the output of the one before.

    Args:
        layers: layers, the first perhaps an `Input`; or none, to be added later.
        name: a name for messages and the summary.

    Example:
        >>> from gpunet import Sequential, layers
        >>> model = Sequential()
        >>> model.add(layers.Dense(units=64, activation="relu", input_dim=100))
        >>> model.add(layers.Dense(units=10, activation="softmax"))
        >>> model.output_shape
        (None, 10)
    """

    def __init__(self, layers: Iterable[Layer | Tensor] = (), name: str | None = None) -> None:
        self._start(name or "sequential")
        self._stack: list[Layer] = []
        self._input: Tensor | None = None
        if not isinstance(layers, Iterable):
            raise ArgumentError(f"Sequential takes a list of layers, got {layers!r}: write [...].")
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Tensor) -> None:
        """Put a layer (or first of all an Input) on top.

        Raises:
            ArgumentError: not a layer; a name that is taken; a layer with several inputs.
            UsageError: the model is built already.
        """
        if self._graph is not None:
            raise UsageError(f"{self.name} is built already; add layers before its first use.")
        if isinstance(layer, Tensor):
            if self._stack or self._input is not None:
                raise ArgumentError("an Input can only come first.")
            self._input = layer
            return
        if not isinstance(layer, Layer):
            hint = ": put () behind the class" if isinstance(layer, type) else ""
            raise ArgumentError(f"{self.name} takes layers, got {layer!r}{hint}.")
        if layer.inputs != 1:
            raise ArgumentError(f"layer {layer.label!r} has several inputs; use gpunet.Model.")
        if any(layer is other for other in self._stack):
            raise ArgumentError(
                f"layer {layer.label!r} is in {self.name} already; use gpunet.Model to share it."
            )
        if not self._stack and self._input is None and layer.sample_shape is not None:
            self._input = Input(layer.sample_shape)
        self._stack.append(layer)

    def pop(self) -> Layer:
        """Take the last layer off."""
        if self._graph is not None or not self._stack:
            raise UsageError(f"{self.name} has no layer that could be taken off any more.")
        return self._stack.pop()

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

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Make the weights for inputs of this shape, with the batch size (or None) first."""
        if self._graph is None:
            self._connect(Input([dim or 0 for dim in input_shape[1:]]))

    def ensure_built(self, x: Any) -> None:
        """Build from the data if the layers do not say their input shape."""
        if self._graph is None and self._input is None:
            array = as_numbers(x[0] if isinstance(x, list | tuple) else x, f"x of {self.name}")
            if array.ndim < 2:
                raise ShapeError(
                    f"{self.name} expects an array (batch, features), got {array.shape}."
                )
            self._connect(Input(array.shape[1:]))
        elif self._graph is None and self._input is not None:
            self._connect(self._input)
        super().ensure_built(x)

    def _connect(self, tensor: Tensor) -> None:
        if not self._stack:
            raise UsageError(f"{self.name} has no layers; add some with model.add(...).")
        first = tensor
        fresh = [layer for layer in self._stack if layer.built_for is None]
        try:
            for layer in self._stack:
                tensor = layer(tensor)
            self._finish(Graph([first], [tensor]))
        except GpunetError:
            for layer in fresh:  # so that other data may still build the model
                layer.built_for = None
                layer.parameters.clear()
            raise
        self._input = first

    def get_config(self) -> dict[str, Any]:
        """The layers in Keras' form; without weights."""
        return stack_config(self.name, self._input, self._stack)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], custom_objects: CustomObjects | None = None
    ) -> Sequential:
        """A new model, with fresh weights, from `get_config`; arguments as `Model.from_config`."""
        return cls(*stack_from_config(config, custom_objects))

    @property
    def layers(self) -> list[Layer]:
        """The layers, whether the model is built or not."""
        return list(self._stack)

    @property
    def last_layer(self) -> Layer | None:
        """The layer whose numbers come out, whether the model is built or not."""
        stack = reversed(self._stack)
        return next((layer for layer in stack if not layer.passes_through(training=False)), None)


def model_from_json(text: str, custom_objects: CustomObjects | None = None) -> Model:
    """A model, with fresh weights, from `Model.to_json`, or from Keras' to_json.

    If the model was compiled, so is the new one. Nothing that the text names is imported or run:
    classes come from gpunet's own tables and from custom_objects.

    Args:
        text: the JSON.
        custom_objects: classes of your own by name.

    Raises:
        ArgumentError: no JSON, no model, or an unknown class.

    Example:
        >>> from gpunet import Sequential, layers
        >>> model_from_json(Sequential([layers.Dense(2, input_dim=3)]).to_json()).count_params()
        8
    """
    description = read_json(text)
    name, config = parts_of(description, "model")
    classes: dict[str, type[Model]] = {
        "Sequential": Sequential,
        "Functional": Model,
        "Model": Model,
    }
    model = lookup(name, classes, "model").from_config(config, custom_objects)
    compiled = description.get("compile_config")
    if compiled:
        compile_from_config(model, compiled, custom_objects)
    return model


def clone_model(model: Model, clone_function: Callable[[Layer], Layer] | None = None) -> Model:
    """The same architecture with layers of its own and fresh weights; not compiled.

    Args:
        model: the model.
        clone_function: makes the copy of a layer; by default from its config.

    Raises:
        ArgumentError: no model, or a layer whose config does not make another one.
    """
    if not isinstance(model, Model):
        raise ArgumentError(f"clone_model takes a model, got {type(model).__name__}.")
    copies = {layer: (clone_function or _clone)(layer) for layer in model.layers}
    if isinstance(model, Sequential):
        first = [] if model._input is None else [_fresh(model._input)]
        return Sequential([*first, *copies.values()], model.name)
    graph = model.graph
    tensors = {tensor: _fresh(tensor) for tensor in graph.inputs}
    for node in graph.nodes:
        sources = [tensors[tensor] for tensor in node.inputs]
        copy = copies[node.layer]
        tensors[node.output] = copy(sources[0] if copy.inputs == 1 else sources)
    inputs, outputs = ([tensors[t] for t in end] for end in (graph.inputs, graph.outputs))
    return Model(inputs, outputs, model.name)


def _fresh(tensor: Tensor) -> Tensor:
    return Input(tensor.batch_shape(1)[1:], dtype=tensor.dtype, name=tensor.name)


def _clone(layer: Layer) -> Layer:
    """A copy by config; the classes of its own parts are known, whoever wrote them."""
    own = [type(value) for value in (layer, *vars(layer).values()) if hasattr(value, "get_config")]
    clone: Layer = deserialize(serialize(layer), {cls.__name__: cls for cls in own})
    return clone


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
