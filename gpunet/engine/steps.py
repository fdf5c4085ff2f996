"""The plans of training and evaluation: gather, forward, loss, backward, update."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.passes import Pass
from gpunet.engine.plan import Call, Plan
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.losses import LossBuffers

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

TRAIN, TEST = "train", "test"


class Slot:
    """A place for an array of a data set, filled before the plan is bound."""

    def __init__(self) -> None:
        self.array: Array = None


@dataclass(frozen=True)
class Samples:
    """The arrays of a data set on the device, each as a matrix with one row a sample.

    Attributes:
        inputs: one matrix for each input of the model.
        labels: the targets.
        weights: one row of weights a sample, or None.
    """

    inputs: tuple[Array, ...]
    labels: Array
    weights: Array | None

    @property
    def arrays(self) -> list[Array]:
        """All arrays that are there."""
        return [*self.inputs, self.labels] + ([] if self.weights is None else [self.weights])

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.labels)

    @property
    def signature(self) -> tuple[Any, ...]:
        """What a plan depends on: shapes and dtypes."""
        return tuple((tuple(a.shape), np.dtype(a.dtype).name) for a in self.arrays)


class StepPlan:
    """The plan of one step on a mini-batch of a data set.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        rows: the size of the mini-batch.
        samples: the data set; the plan works for every one of the same signature.

    Attributes:
        plan: the plan.
        indices: the buffer of the samples' numbers, written before each step.
        random: the buffer of (seed, pass).
    """

    def __init__(self, trainer: Trainer, mode: str, rows: int, samples: Samples) -> None:
        self._trainer = trainer
        self._mode = mode
        self._rows = rows
        self._slots: list[Slot] = []
        op = self._op = Recorder(trainer.dtype)
        self.indices = op.scratch((rows,), "int32", name="indices")
        op.layer, op.direction = "feed", "feed"
        inputs = self._gather_inputs(samples)
        shape = trainer.graph.outputs[0].batch_shape(rows)
        labels, weights = self._gather_labels(samples, shape)
        one_pass = Pass(trainer.graph, op, rows, training=mode == TRAIN)
        self.random = one_pass.random
        (y,) = one_pass.forward(inputs)
        self._record_loss(y, labels, weights)
        if mode == TRAIN:
            one_pass.backward()
            trainer.optimizer.record(op, trainer.spans)
        self.plan = Plan(op.records, kept=[self.indices, self.random])

    def _gather(self, data: Array, dtype: str, name: str) -> Buffer:
        """Record the gather of one mini-batch (rows, columns) out of a data set."""
        slot = Slot()
        self._slots.append(slot)
        source = self._op.external(
            name, tuple(data.shape), np.dtype(data.dtype).name, lambda: slot.array
        )
        batch = self._op.scratch((self._rows, data.shape[1]), dtype, name=f"{name}.batch")
        self._op.gather(batch, source, self.indices)
        return batch

    def _gather_inputs(self, samples: Samples) -> list[Buffer]:
        inputs = []
        for tensor, data in zip(self._trainer.graph.inputs, samples.inputs, strict=True):
            dtype = "int32" if tensor.dtype.startswith("int") else self._op.dtype
            batch = self._gather(data, dtype, tensor.name)
            inputs.append(batch.reshape(*tensor.batch_shape(self._rows)))
        return inputs

    def _gather_labels(
        self, samples: Samples, shape: tuple[int, ...]
    ) -> tuple[Buffer, Buffer | None]:
        if self._trainer.loss.sparse:
            labels = self._gather(samples.labels, "int32", "labels").reshape(-1)
        else:
            labels = self._gather(samples.labels, self._op.dtype, "labels")
            labels = labels.reshape(-1, shape[-1])
        weights = None
        if samples.weights is not None:
            weights = self._gather(samples.weights, self._op.dtype, "sample_weight").reshape(-1)
        return labels, weights

    def _record_loss(self, y: Buffer, labels: Buffer, weights: Buffer | None) -> None:
        op, trainer, x = self._op, self._trainer, y.rows
        op.layer, op.direction = "loss", "loss"
        rows = x.shape[0]
        totals = [self._totals(name) for name in trainer.metric_names]
        dx = op.gradient_of(x) if self._mode == TRAIN else None
        loss = op.scratch((rows,), name="loss")
        scale = 1.0 / rows
        trainer.loss.record(op, LossBuffers(dx, loss, totals[0], x, labels, weights, scale))
        for metric, total in zip(trainer.metrics, totals[1:], strict=True):
            metric.record(op, total, x, labels)

    def _totals(self, name: str) -> Buffer:
        totals = self._trainer.totals[self._mode]
        return self._op.external(f"{name}.totals", (2,), "float64", lambda: totals[name])

    def fill(self, samples: Samples) -> None:
        """Say which arrays the plan gathers from when it is bound next."""
        for slot, array in zip(self._slots, samples.arrays, strict=True):
            slot.array = array


class StepCalls(NamedTuple):
    """The bound calls of a training step.

    Attributes:
        all: those of a step that updates the weights.
        without_update: those of a step that only adds up gradients for a later one.
    """

    all: list[Call]
    without_update: list[Call]


def bind_step(plan: Plan, backend: Backend, arena: Array) -> StepCalls:
    """Bind a step's plan to an arena."""
    early = [record for record in plan.records if record.direction != "update"]
    return StepCalls(plan.bind(backend, arena), plan.bind(backend, arena, early))


class Stepper:
    """Steps over one data set: plans bound to one arena and to the data.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        samples: the data set.
    """

    def __init__(self, trainer: Trainer, mode: str, samples: Samples) -> None:
        self._trainer = trainer
        self._mode = mode
        self._backend = trainer.backend
        self.samples = samples
        self._lease = trainer.arenas.lease()
        self._parameters = [p for span in trainer.spans for p in span.parameters]
        self._programs: dict[int, tuple[StepCalls, Array, Array | None]] = {}

    def step(self, order: np.ndarray[Any, Any]) -> None:
        """One step on the samples of these numbers (int32)."""
        program = self._programs.get(len(order))
        if program is None:
            program = self._bind(len(order))
        step_calls, indices, random = program
        calls = step_calls.all
        optimizer = self._trainer.optimizer
        if self._mode == TRAIN:
            optimizer.send_hyper()
            calls = calls if optimizer.updates_next else step_calls.without_update
            for parameter in self._parameters:
                parameter.has_gradient = False  # the step overwrites what a run left
        self._backend.write(indices, order)
        if random is not None:
            self._backend.write(random, self._trainer.next_pass())
        for call in calls:
            call()
        if self._mode == TRAIN:
            optimizer.count_step()

    def _bind(self, rows: int) -> tuple[StepCalls, Array, Array | None]:
        step_plan = self._trainer.step_plan(self._mode, rows, self.samples)
        plan = step_plan.plan
        if self._lease.arena.size < plan.nbytes:
            self._programs.clear()
            self._lease.grow(plan.nbytes)
        step_plan.fill(self.samples)
        calls = bind_step(plan, self._backend, self._lease.arena)
        needs_random = any(step_plan.random.storage in r.reads() for r in plan.records)
        random = self._lease.array(plan, step_plan.random) if needs_random else None
        program = (calls, self._lease.array(plan, step_plan.indices), random)
        self._programs[rows] = program
        return program

    def close(self) -> None:
        """Give the arena back."""
        self._trainer.arenas.release(self._lease)
