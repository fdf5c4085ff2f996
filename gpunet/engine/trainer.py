"""The trainer: compile, fit, evaluate, predict and their single-batch forms, as in Keras."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet import losses, optimizers, random
from gpunet.arguments import check_flag
from gpunet.backend import get_backend
from gpunet.backend.base import Backend
from gpunet.backend.precision import get_matmul_precision
from gpunet.backend.spec import Array
from gpunet.callbacks import CallbackList, History
from gpunet.engine import checks
from gpunet.engine.data import at_least_0, positive, validation_tuple
from gpunet.engine.graph import Graph
from gpunet.engine.heads import Head, compile_heads
from gpunet.engine.inputs import model_inputs
from gpunet.engine.loop import Loop, count_steps, evaluate
from gpunet.engine.meters import Meter, Meters
from gpunet.engine.parameters import Block, Parameter, Span
from gpunet.engine.plan import PlanCache
from gpunet.engine.predict import predict
from gpunet.engine.run import ArenaPool
from gpunet.engine.samples import Samples, checked_on_device, given, in_buckets, on_device, split
from gpunet.engine.sequences import Sequences
from gpunet.engine.stepper import Stepper
from gpunet.engine.steps import TEST, TRAIN, StepPlan
from gpunet.errors import UsageError
from gpunet.metrics import Metric
from gpunet.structures import Form


class Trainer(ABC):
    """What a compiled model can do. `gpunet.models.Model` adds the graph and the weights."""

    optimizer: optimizers.Optimizer
    heads: list[Head]
    compiled: list[Meter]
    dtype: str
    backend: Backend
    backend_at_build: Backend  # the backend of the process when the model got its place
    name: str
    compile_arguments: dict[str, Any]
    is_compiled = False
    run_eagerly = False
    steps_per_execution = 1
    passes = 0

    def __init__(self) -> None:
        self.stop_training = False
        self.history: History | None = None
        self.meters: dict[str, Meters] = {}
        self.plans = PlanCache()
        self.arenas = ArenaPool()
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
    def input_form(self) -> Form:
        """How it was given its inputs, and their names."""

    @property
    @abstractmethod
    def output_form(self) -> Form:
        """How it was given its outputs, and their names."""

    @abstractmethod
    def last_layer(self, output: int = 0) -> Any:
        """The layer that an output comes from; None if there is none."""

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
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
    ) -> None:
        """Say how to train.

        Where there are several outputs, loss, loss_weights, metrics and weighted_metrics are lists
        with one entry for each of them, or dicts by the outputs' names (those of their layers). An
        output without a loss is not trained.

        Args:
            optimizer: a name of gpunet.optimizers ("sgd", "adam") or an Optimizer.
            loss: a name ("mse"), a function of gpunet.losses or a Loss; one for all outputs.
            loss_weights: what each loss is multiplied by; 1 if None. "loss" in History is the sum.
            metrics: a list of names ("accuracy"), classes or objects of gpunet.metrics, or losses.
            weighted_metrics: a list of metrics in which sample and class weights count.
            run_eagerly: whether each layer's forward and backward run at every step, and each op as
                they call it, unfused and on fresh memory: slow, but breakpoints in a layer stop at
                every step, and ``print(c.x.numpy())`` prints an activation.
            steps_per_execution: how many steps to launch at once, where the device can do that and
                nothing that the host decides (a schedule's learning rate) changes between them;
                callbacks see the last of them. The results are the same.

        Raises:
            ArgumentError: one of them is unknown or missing; a loss that cannot work.
            GpunetWarning: a last layer that does not give what the loss takes.
        """
        at_once = positive("steps_per_execution", steps_per_execution, 1)
        eagerly = check_flag("compile", "run_eagerly", run_eagerly)
        heads, compiled = compile_heads(
            self.output_form, loss, loss_weights, metrics, weighted_metrics
        )
        for head in heads:
            head.loss.check_model(self.last_layer(head.output))
        self.optimizer = optimizers.get(optimizer)
        self.heads, self.compiled = heads, compiled
        self.run_eagerly = eagerly
        self.steps_per_execution = at_once
        checks.check_optimizer(self.optimizer)
        self.compile_arguments = {  # for configs
            "loss": loss,
            "loss_weights": loss_weights,
            "metrics": metrics,
            "weighted_metrics": weighted_metrics,
        }
        self.is_compiled = True
        self.forget_plans()

    @property
    def loss(self) -> losses.Loss:
        """The loss; of several outputs the first one's."""
        return self.heads[0].loss

    def next_random_state(self) -> np.ndarray[Any, Any]:
        """What random ops of one more pass read: uint64 (seed, pass)."""
        self.passes += 1
        return np.array([random.seed(), self.passes], np.uint64)

    def forget_plans(self) -> None:
        """Drop what depends on how the model was compiled or where it lives."""
        self.plans.clear()
        self.arenas.clear()
        self._batch_steppers.clear()
        self.meters = {}

    @property
    def metric_names(self) -> list[str]:
        """The names in History: the loss first."""
        return [meter.name for meter in self.compiled]

    @property
    def metrics_names(self) -> list[str]:
        """The same under Keras' name: what `evaluate` returns, in this order."""
        return self.metric_names

    @property
    def metrics(self) -> list[Metric]:
        """The metrics, without the losses."""
        return [meter.metric for head in self.heads for meter in head.meters]

    def prepare(self, x: Any) -> None:
        """Build, and make the arrays that live as long as the compilation."""
        if not self.is_compiled:
            raise UsageError(
                f"{self.name} has not been compiled: call model.compile(optimizer=..., loss=...) "
                "first."
            )
        self.ensure_built(x)
        self.optimizer.attach(self.backend, self.spans)
        for mode in (TRAIN, TEST):
            if mode not in self.meters:
                shapes = [tensor.shape for tensor in self.graph.outputs]
                self.meters[mode] = Meters(self.backend, self.compiled, shapes)

    # ---------------------------------------------------------------------- data

    def inputs_of(self, x: Any) -> list[Any]:
        """One array, or `Sequences`, for each input, checked against its shape."""
        return model_inputs(self.graph.inputs, self.input_form, x, self.backend, self.name)

    def feed(self, x: Any) -> list[Array]:
        """One array for each input: what `inputs_of` returns, sequences filled up with zeros."""
        arrays = self.inputs_of(x)
        return [a.padded() if isinstance(a, Sequences) else a for a in arrays]

    def samples(
        self, x: Any, y: Any, sample_weight: Any = None, class_weight: Any = None
    ) -> Samples:
        """Check a data set and put it on the device as matrices with one row a sample."""
        (whole,) = in_buckets(self, given(self, x, y, sample_weight), most=1)
        return on_device(self, whole, class_weight)

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
            x: inputs: an array (samples, ...), or a list or dict of them. For an input with an
                unknown number of steps also a list of arrays of different lengths: each batch is
                then of samples of like lengths, filled up with zeros.
            y: targets: an array with one entry a sample, or a list or dict of them by output; a
                list of arrays for targets of each step of such samples.
            batch_size: samples a step, 32 if None.
            epochs: the epoch to stop at.
            verbose: 0 silent, 1 a bar, 2 a line an epoch, "auto" a bar in a terminal, else lines.
            callbacks: a list of callbacks.
            validation_split: the share of the data, taken from its end, to validate on.
            validation_data: (x, y) or (x, y, sample_weight) to validate on.
            shuffle: whether each epoch takes the samples in a new order.
            class_weight: class number -> weight of its samples.
            sample_weight: one weight a sample; a list or dict for outputs that weigh differently.
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
            at_least_0(name, epoch)
        self.prepare(x)
        checks.check_backend(self.name, self.backend, self.backend_at_build, get_backend())
        data = given(self, x, y, sample_weight)
        later = None
        if validation_data is None:
            data, later = split(self, data, validation_split)
        samples = checked_on_device(self, "", data, class_weight)
        if validation_data is not None:
            later = given(self, *validation_tuple(validation_data))
        validation = None
        if later is not None:
            validation = checked_on_device(self, "validation ", later)
            if validation_data is None:
                for head, own, others in zip(self.heads, data.targets, later.targets, strict=True):
                    checks.check_split(head.loss, own, others)
        calls = CallbackList(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=epochs,
            steps=count_steps(samples, batch_size),
        )
        self.stop_training = False
        validation_size = positive("validation_batch_size", validation_batch_size, batch_size)
        loop = Loop(self, calls, samples, batch_size, shuffle, validation, validation_size)
        loop.run(range(initial_epoch, epochs))
        return calls.history if calls.history is not None else History()

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
        data = given(self, x, y, sample_weight)
        checks.check_indices(data.inputs, self.graph)
        samples = [on_device(self, part) for part in in_buckets(self, data)]
        calls = CallbackList(
            callbacks,
            add_progbar=verbose != 0,
            model=self,
            verbose=verbose,
            epochs=1,
            steps=count_steps(samples, batch_size),
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
        stepper.begin()
        stepper.step(samples.count)
        return self._result(self.meters[mode].read(), return_dict)

    def _batch_stepper(self, mode: str, samples: Samples) -> Stepper:
        """A stepper with memory of its own, so that a loop over batches allocates nothing."""
        key = (mode, samples.signature, self.weights_key())
        stepper = self._batch_steppers.get(key)
        if stepper is None:
            while len(self._batch_steppers) >= 8:
                self._batch_steppers.pop(next(iter(self._batch_steppers))).close()
            own = samples.map(lambda a: self.backend.empty(tuple(a.shape), a.dtype))
            stepper = Stepper(self, mode, own, own.count)
            self._batch_steppers[key] = stepper
        for target, source in zip(stepper.samples.arrays, samples.arrays, strict=True):
            self.backend.ops["copy"](target, source)
        return stepper

    def places_key(self) -> tuple[Any, ...]:
        """Where the weights are, and what captured launches keep: what every plan depends on."""
        return get_matmul_precision(), *[block.generation for block in self.blocks]

    def weights_key(self) -> tuple[Any, ...]:
        """Where the weights are and how they are trained: what a plan with gradients depends on."""
        return self.places_key(), tuple(
            [
                (p.trainable, p.layer.trainable, p.layer.learning_rate_factor)
                for p in self.parameters
            ]
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
            An array (samples, ...), or a list or dict of arrays if there are several outputs. Of
            samples of different lengths an output with steps is a list of arrays.
        """
        batch_size = positive("batch_size", batch_size, 32)
        self.ensure_built(x)
        arrays = self.inputs_of(x)
        return self.output_form.packed(predict(self, arrays, batch_size, verbose, callbacks))

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        self.ensure_built(x)
        return self.output_form.packed(self.forward_batch(self.feed(x)))
