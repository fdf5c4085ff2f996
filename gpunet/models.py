"""Models: `Model` for any graph of layers, `Sequential` for a stack of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from gpunet import backend as backends
from gpunet.backend.base import Backend
from gpunet.backend.spec import REAL, Array
from gpunet.engine.data import as_numbers, model_inputs
from gpunet.engine.graph import Graph, Input, Tensor
from gpunet.engine.infer import InferPlan
from gpunet.engine.parameters import Block, Parameter, Span, spans_of
from gpunet.engine.plan import Call, Plan
from gpunet.engine.recorder import Recorder
from gpunet.engine.run import ArenaPool, GradientPlan, Run, feed_dtype, single
from gpunet.engine.steps import TRAIN, Samples, StepCalls, StepPlan, bind_step
from gpunet.engine.summary import print_summary
from gpunet.engine.trainer import Trainer
from gpunet.errors import ArgumentError, GpunetError, ShapeError, UsageError
from gpunet.layers.base import Layer, block_of, read_parameter, write_parameters
from gpunet.optimizers import Optimizer
from gpunet.saving.weights import load_weights, save_weights


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
        self.backend: Backend = blocks[0].backend if blocks else backends.get_backend()
        self.dtype = blocks[0].dtype if blocks else "float32"
        self.arenas = ArenaPool(self.backend)
        fresh = [p for layer in graph.layers for p in layer.parameters if p.block is None]
        if fresh:
            Block(fresh, self.backend, self.dtype)
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
        for block in {block_of(parameter) for parameter in self.parameters}:
            if (block.backend, block.dtype) != (self.backend, self.dtype):
                raise UsageError(
                    f"{self.name} runs on {self.backend.name} in {self.dtype}, but weights that it "
                    f"shares with another model were moved to {block.backend.name} in "
                    f"{block.dtype}; move it, too, with model.to(...)."
                )

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order in which they run."""
        return list(self.graph.layers)

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
            if layer.name == name:
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
        return [parameter for layer in self.graph.layers for parameter in layer.parameters]

    @property
    def spans(self) -> list[Span]:
        """The stretches of flat buffers that hold the weights."""
        return spans_of(self.parameters)

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
        """
        parameters = [p for layer in self.graph.layers for p in layer.parameters]
        new = backend if isinstance(backend, Backend) else self.backend
        if isinstance(backend, str):
            new = backends.backend_named(backend)
        dtype = dtype or self.dtype
        if dtype not in REAL:
            raise ArgumentError(f"models compute in {' or '.join(REAL)}, got {dtype!r}.")
        for block in {block_of(parameter) for parameter in parameters}:
            block.move(new, dtype)
        self.backend, self.dtype = new, dtype
        self.arenas = ArenaPool(new)
        self.forget_plans()
        if self.is_compiled:
            self.optimizer.attach(new, self.spans)
        return self

    # ------------------------------------------------------------------------ plans

    def step_plan(self, mode: str, rows: int, samples: Samples) -> StepPlan:
        """The plan of a training or evaluation step, made once."""
        key = (mode, rows, samples.signature)
        return self.plan(key, lambda: StepPlan(self, mode, rows, samples))

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
        key = ("infer", batch_size, dtypes)
        return self.plan(key, lambda: InferPlan(self, batch_size, dtypes)).plan

    def _dtypes(self, arrays: Sequence[Array]) -> tuple[str, ...]:
        pairs = zip(arrays, self.graph.inputs, strict=True)
        return tuple(feed_dtype(array, tensor.dtype, self.dtype) for array, tensor in pairs)

    def forward_batch(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """The outputs for one batch in inference, as NumPy arrays."""
        rows, dtypes = len(arrays[0]), self._dtypes(arrays)
        plan = self.plan(("infer", rows, dtypes), lambda: InferPlan(self, rows, dtypes))
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
        key = ("gradient", rows, dtypes, training)
        plan = self.plan(key, lambda: GradientPlan(self, rows, dtypes, training))
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
                parameter.has_gradient = True

    def apply_gradients(self, optimizer: Optimizer) -> None:
        """One optimizer step from the gradients of `Run.backward`; see `Optimizer.step`."""
        if not any(parameter.has_gradient for parameter in self.parameters):
            raise UsageError("there are no gradients to step with: call run.backward(dy) first.")
        optimizer.attach(self.backend, self.spans)
        optimizer.send_hyper()
        calls = self.plan(("update", optimizer), lambda: self._update_calls(optimizer))
        for call in calls.all if optimizer.updates_next else calls.without_update:
            call()
        optimizer.count_step()
        for parameter in self.parameters:
            parameter.has_gradient = False

    def _update_calls(self, optimizer: Optimizer) -> StepCalls:
        op = Recorder(self.dtype)
        optimizer.record(op, self.spans)
        plan = Plan(op.records, ())
        return bind_step(plan, self.backend, self.backend.empty((plan.nbytes,), "uint8"))

    # ---------------------------------------------------------------------- summary

    def summary(self, batch_size: int = 32, print_fn: Callable[[str], Any] = print) -> None:
        """Print layers, shapes, weights, memory, FLOPs, what is fused and what runs where.

        Args:
            batch_size: the batch size that memory and FLOPs are given for.
            print_fn: what prints a line.
        """
        print_summary(self, batch_size, print_fn)

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

    @property
    def layers(self) -> list[Layer]:
        """The layers, whether the model is built or not."""
        return list(self._stack)


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
