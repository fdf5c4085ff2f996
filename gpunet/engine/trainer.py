"""The trainer: compile, fit, evaluate, predict and their single-batch forms, as in Keras."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet import losses, optimizers, random
from gpunet.backend import get_backend
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.callbacks import CallbackList, History
from gpunet.engine import checks
from gpunet.engine.data import (
    as_batch,
    check_lengths,
    class_weights,
    model_inputs,
    positive,
    split_for_validation,
    validation_tuple,
)
from gpunet.engine.graph import Graph
from gpunet.engine.loop import Loop, evaluate
from gpunet.engine.meters import Meter, Meters, compiled_meters
from gpunet.engine.parameters import Block, Parameter, Span
from gpunet.engine.plan import PlanCache
from gpunet.engine.run import ArenaPool
from gpunet.engine.steps import TEST, TRAIN, Samples, Stepper, StepPlan
from gpunet.errors import ArgumentError, UsageError
from gpunet.metrics import Metric


class Trainer(ABC):
    """What a compiled model can do. `gpunet.models.Model` adds the graph and the weights."""

    loss: losses.Loss
    optimizer: optimizers.Optimizer
    compiled: list[Meter]
    dtype: str
    backend: Backend
    arenas: ArenaPool
    backend_at_build: Backend  # the backend of the process when the model got its place
    name: str
    compile_arguments: dict[str, Any]
    is_compiled = False
    run_eagerly = False
    passes = 0

    def __init__(self) -> None:
        self.stop_training = False
        self.history: History | None = None
        self.meters: dict[str, Meters] = {}
        self.plans = PlanCache()
        self._batch_steppers: dict[Any, Stepper] = {}

    # --------------------------------------------------- what the model supplies

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The model's graph."""

    @property
    @abstractmethod
    def spans(self) -> list[Span]:
        """The stretches of flat buffers that hold the weights."""

    @property
    @abstractmethod
    def parameters(self) -> list[Parameter]:
        """The model's weights."""

    @property
    @abstractmethod
    def blocks(self) -> list[Block]:
        """The blocks that hold them."""

    @property
    @abstractmethod
    def last_layer(self) -> Any:
        """The layer that the output comes from; None if there is none, or not one alone."""

    @abstractmethod
    def ensure_built(self, x: Any) -> None:
        """Build a model whose input shape is only known from the data."""

    @abstractmethod
    def step_plan(self, mode: str, rows: int, samples: Samples) -> StepPlan:
        """The plan of a step, made once."""

    @abstractmethod
    def forward_batch(self, arrays: Sequence[Array]) -> list[np.ndarray[Any, Any]]:
        """The outputs for one batch, on the host."""

    # ------------------------------------------------------------------- compile

    def compile(
        self,
        optimizer: Any = "sgd",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        run_eagerly: bool = False,
    ) -> None:
        """Say how to train.

        Args:
            optimizer: a name of gpunet.optimizers ("sgd", "adam") or an Optimizer.
            loss: a name ("mse"), a function of gpunet.losses or a Loss.
            metrics: a list of names ("accuracy"), classes or objects of gpunet.metrics, or losses.
            weighted_metrics: a list of metrics in which sample and class weights count.
            run_eagerly: whether each layer's forward and backward run at every step, and each op as
                they call it, unfused and on fresh memory: slow, but breakpoints in a layer stop at
                every step, and ``print(c.x.numpy())`` prints an activation.

        Raises:
            ArgumentError: one of them is unknown or missing; a loss that cannot work.
            GpunetWarning: a last layer that does not give what the loss takes.
        """
        if loss is None:
            raise ArgumentError(
                "compile needs a loss, for example loss='sparse_categorical_crossentropy'."
            )
        compiled = compiled_meters(metrics, weighted_metrics)
        new_loss = losses.get(loss)
        new_loss.check_model(self.last_layer)
        self.optimizer, self.loss = optimizers.get(optimizer), new_loss
        self.compiled = compiled
        self.run_eagerly = bool(run_eagerly)
        checks.check_optimizer(self.optimizer)
        given = {"loss": loss, "metrics": metrics, "weighted_metrics": weighted_metrics}
        self.compile_arguments = given  # for configs
        self.is_compiled = True
        self.forget_plans()

    def forget_plans(self) -> None:
        """Drop what depends on how the model was compiled or where it lives."""
        self.plans.clear()
        self._batch_steppers.clear()
        self.meters = {}

    @property
    def metric_names(self) -> list[str]:
        """The names in History: the loss first."""
        return [meter.name for meter in self.compiled]

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, without the loss."""
        return [meter.metric for meter in self.compiled[1:]]

    def prepare(self, x: Any) -> None:
        """Build, and make the arrays that live as long as the compilation."""
        if not self.is_compiled:
            raise UsageError(
                f"{self.name} has not been compiled: call model.compile(optimizer=..., loss=...) "
                "first."
            )
        self.ensure_built(x)
        if len(self.graph.outputs) != 1:
            raise UsageError("fit and evaluate take models with one output; use run and backward.")
        self.optimizer.attach(self.backend, self.spans)
        for mode in (TRAIN, TEST):
            if mode not in self.meters:
                shape = self.graph.outputs[0].shape
                self.meters[mode] = Meters(self.backend, self.compiled, shape)

    def next_pass(self) -> np.ndarray[Any, Any]:
        """(seed, pass) for the random ops of the next pass."""
        self.passes += 1
        return np.array([random.seed(), self.passes], np.uint64)

    # ---------------------------------------------------------------------- data

    def samples(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
    ) -> Samples:
        """Check a data set and put it on the device as matrices with one row a sample."""
        inputs = model_inputs(self.graph.inputs, x, self.backend, self.name)
        if y is None:
            raise ArgumentError(f"{self.name} needs targets y beside x, got None.")
        count = len(inputs[0])
        outputs = tuple(dim or 0 for dim in self.graph.outputs[0].shape[1:])
        labels = self.loss.labels(y, (count, *outputs), self.backend)
        check_lengths({"x": inputs[0], "y": labels}, self.name)
        weights = None
        if class_weight:
            weights = class_weights(y, class_weight, outputs[-1])
        if sample_weight is not None:
            rows = self.loss.weights(sample_weight, (count, *outputs), "sample_weight")
            scale = 1.0 if weights is None else weights.reshape((-1,) + (1,) * (rows.ndim - 1))
            weights = rows * scale
        elif weights is not None:
            weights = self.loss.weights(weights, (count, *outputs), "class_weight")
        on_device = [self._matrix(array) for array in (*inputs, labels)]
        return Samples(
            tuple(on_device[:-1]),
            on_device[-1],
            None if weights is None else self._matrix(weights),
        )

    def _matrix(self, array: Array) -> Array:
        matrix = array.reshape(len(array), -1)
        return (
            matrix
            if self.backend.owns(matrix) and matrix.flags.c_contiguous
            else (self.backend.from_numpy(np.ascontiguousarray(matrix)))
        )

    # ----------------------------------------------------------------------- fit

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        validation_batch_size: int | None = None,
    ) -> History:
        """Train for a number of epochs.

        Args:
            x: inputs: an array (samples, ...), or a list or dict of them.
            y: targets: an array with one entry a sample.
            batch_size: samples a step, 32 if None.
            epochs: the epoch to stop at.
            verbose: 0 silent, 1 a bar, 2 a line an epoch, "auto" a bar in a terminal, else lines.
            callbacks: a list of callbacks.
            validation_split: the share of the data, taken from its end, to validate on.
            validation_data: (x, y) or (x, y, sample_weight) to validate on.
            shuffle: whether each epoch takes the samples in a new order.
            class_weight: class number -> weight of its samples.
            sample_weight: one weight a sample.
            initial_epoch: the epoch to start at, to go on with an earlier training.
            validation_batch_size: samples a step in validation, batch_size if None.

        Returns:
            The history: ``history.history["loss"]`` is a list with one number an epoch. Ctrl-C ends
            the training after the step at hand, with the history so far.

        Raises:
            UsageError: the model is not compiled.
            ArgumentError, ShapeError, DtypeError: data or arguments that do not fit; no weight has
                changed then.
        """
        batch_size = positive("batch_size", batch_size, 32)
        for name, epoch in (("epochs", epochs), ("initial_epoch", initial_epoch)):
            if not isinstance(epoch, int | np.integer) or epoch < 0:
                raise ArgumentError(f"{name} must be an integer of at least 0, got {epoch!r}.")
        self.prepare(x)
        checks.check_backend(self.name, self.backend, self.backend_at_build, get_backend())
        x = model_inputs(self.graph.inputs, x, self.backend, self.name)
        is_split = validation_data is None
        x, y, sample_weight, validation_data = split_for_validation(
            x if len(x) > 1 else x[0],
            y,
            sample_weight,
            validation_data,
            validation_split,
            self.backend,
        )
        samples = self.samples(x, y, sample_weight, class_weight)
        self._check_data("", x, y, sample_weight)
        validation = None
        if validation_data is not None:
            parts = validation_tuple(validation_data)
            validation = self.samples(*parts)
            self._check_data("validation ", *parts)
            if is_split:
                checks.check_split(self.loss, y, parts[1])
        calls = CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=-(-samples.count // batch_size),
        )
        self.stop_training = False
        validation_size = positive("validation_batch_size", validation_batch_size, batch_size)
        loop = Loop(self, calls, samples, batch_size, shuffle, validation, validation_size)
        loop.run(range(initial_epoch, epochs))
        return calls.history if calls.history is not None else History()

    def _check_data(self, where: str, x: Any, y: Any, sample_weight: Any = None) -> None:
        inputs = model_inputs(self.graph.inputs, x, self.backend, self.name)
        labels = as_batch(y, f"{where}y", self.backend)
        checks.check_data(where, inputs, labels, sample_weight, self.graph)

    # ------------------------------------------------------------------ evaluate

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        callbacks: Any = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and the metrics on a data set.

        Args:
            x: inputs as in `fit`.
            y: targets.
            batch_size: samples a step, 32 if None.
            verbose: as in `fit`.
            sample_weight: one weight a sample.
            callbacks: a list of callbacks.
            return_dict: whether to return a dict by name.

        Returns:
            The loss; with metrics a list with the loss first; or a dict.
        """
        batch_size = positive("batch_size", batch_size, 32)
        self.prepare(x)
        samples = self.samples(x, y, sample_weight)
        calls = CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=1,
            steps=-(-samples.count // batch_size),
        )
        return self._result(evaluate(self, samples, batch_size, calls), return_dict)

    def _result(self, results: dict[str, Any], return_dict: bool) -> Any:
        if return_dict:
            return results
        values = [results[name] for name in self.metric_names]
        return values[0] if len(values) == 1 else values

    # ------------------------------------------------------------- single batches

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One step on one batch; returns its loss and metrics as `evaluate` does."""
        return self._on_batch(TRAIN, x, y, sample_weight, class_weight, return_dict)

    def test_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """The loss and the metrics of one batch."""
        return self._on_batch(TEST, x, y, sample_weight, None, return_dict)

    def _on_batch(
        self, mode: str, x: Any, y: Any, sample_weight: Any, class_weight: Any, return_dict: bool
    ) -> Any:
        self.prepare(x)
        samples = self.samples(x, y, sample_weight, class_weight)
        stepper = self._batch_stepper(mode, samples)
        self.meters[mode].reset()
        stepper.step(np.arange(samples.count, dtype=np.int32))
        return self._result(self.meters[mode].read(), return_dict)

    def _batch_stepper(self, mode: str, samples: Samples) -> Stepper:
        """A stepper with memory of its own, so that a loop over batches allocates nothing."""
        key = (mode, samples.signature, self.weights_key())
        stepper = self._batch_steppers.get(key)
        if stepper is None:
            while len(self._batch_steppers) >= 8:
                self._batch_steppers.pop(next(iter(self._batch_steppers))).close()
            own = [self.backend.empty(tuple(a.shape), a.dtype) for a in samples.arrays]
            n = len(samples.inputs)
            weights = own[n + 1] if samples.weights is not None else None
            stepper = Stepper(self, mode, Samples(tuple(own[:n]), own[n], weights))
            self._batch_steppers[key] = stepper
        for target, source in zip(stepper.samples.arrays, samples.arrays, strict=True):
            self.backend.ops["copy"](target, source)
        return stepper

    def places_key(self) -> tuple[int, ...]:
        """Where the weights are: what every plan depends on."""
        return tuple([block.generation for block in self.blocks])

    def weights_key(self) -> tuple[Any, ...]:
        """Where the weights are and how they are trained: what a plan with gradients depends on."""
        return self.places_key(), tuple(
            [(p.is_trainable, p.layer.learning_rate_factor) for p in self.parameters]
        )

    # ------------------------------------------------------------------- predict

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        callbacks: Any = None,
    ) -> Any:
        """The outputs for all samples, as NumPy arrays on every device.

        Args:
            x: inputs as in `fit`.
            batch_size: samples a step, 32 if None.
            verbose: as in `fit`.
            callbacks: a list of callbacks.

        Returns:
            An array (samples, ...), or a list of arrays if the model has several outputs.
        """
        batch_size = positive("batch_size", batch_size, 32)
        self.ensure_built(x)
        arrays = model_inputs(self.graph.inputs, x, self.backend, self.name)
        count = len(arrays[0])
        steps = -(-count // batch_size)
        calls = CallbackList(
            callbacks, add_progbar=verbose != 0, model=self, verbose=verbose, epochs=1, steps=steps
        )
        calls.on_predict_begin()
        results: list[np.ndarray[Any, Any]] = []
        for step in range(steps):
            calls.on_predict_batch_begin(step)
            part = slice(step * batch_size, (step + 1) * batch_size)
            outputs = self.forward_batch([array[part] for array in arrays])
            if not results:
                results = [np.empty((count, *out.shape[1:]), out.dtype) for out in outputs]
            for result, out in zip(results, outputs, strict=True):
                result[part] = out
            calls.on_predict_batch_end(step, {"outputs": outputs})
        calls.on_predict_end()
        return results[0] if len(results) == 1 else results

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        self.ensure_built(x)
        arrays = model_inputs(self.graph.inputs, x, self.backend, self.name)
        outputs = self.forward_batch(arrays)
        return outputs[0] if len(outputs) == 1 else outputs
