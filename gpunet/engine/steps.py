"""The plans of training and evaluation: gather, forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.eager import EagerRecorder
from gpunet.engine.heads import Head
from gpunet.engine.passes import Pass
from gpunet.engine.penalties import record_constraints, record_weight_penalties
from gpunet.engine.plan import Call, Plan
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.engine.samples import Samples

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

TRAIN, TEST = "train", "test"


class Slot:
    """A place for an array of a data set: that of the recording, later that of each binding."""

    def __init__(self, array: Array) -> None:
        self.array = array


class RecordedStep:
    """One step on a mini-batch, given to a recorder.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        samples: the data set.
        op: the recorder, which writes the ops down or runs them.
        indices: the numbers of the mini-batch's samples.
        random: (seed, pass).

    Attributes:
        slots: where the ops find the arrays of the data set.
    """

    def __init__(
        self,
        trainer: Trainer,
        mode: str,
        samples: Samples,
        op: Recorder,
        indices: Buffer,
        random: Buffer,
    ) -> None:
        self._trainer = trainer
        self._mode = mode
        self._op = op
        self._indices = indices
        self._rows = rows = indices.size
        self.slots: list[Slot] = []
        op.layer, op.direction = "feed", "feed"
        inputs = self._gather_inputs(samples)
        targets = self._gather_targets(samples)
        one_pass = Pass(trainer.graph, op, rows, mode == TRAIN, random)
        # The loss is a mean over this many rows; penalties count as if each row had them.
        first = trainer.heads[0]
        count = first.loss.rows_counted(trainer.graph.outputs[first.output].batch_shape(rows))
        totals = self._state("loss")
        ys = one_pass.forward(inputs, totals if mode == TEST else None, count)
        for head, (labels, weights) in zip(trainer.heads, targets, strict=True):
            self._record_loss(head, ys[head.output], labels, weights)
        if mode == TRAIN:
            one_pass.backward(totals, count)
        record_weight_penalties(op, trainer.spans, totals, count, gradients=mode == TRAIN)
        if mode == TRAIN:
            trainer.optimizer.record(op, trainer.spans)
            record_constraints(op, trainer.spans)

    def _gather(self, data: Array, dtype: str, name: str) -> Buffer:
        """Record the gather of one mini-batch (rows, columns) out of a data set."""
        slot = Slot(data)
        self.slots.append(slot)
        source = self._op.external(
            name, tuple(data.shape), np.dtype(data.dtype).name, lambda: slot.array
        )
        batch = self._op.scratch((self._rows, data.shape[1]), dtype, name=f"{name}.batch")
        self._op.gather(batch, source, self._indices)
        return batch

    def _gather_inputs(self, samples: Samples) -> list[Buffer]:
        inputs = []
        for tensor, data in zip(self._trainer.graph.inputs, samples.inputs, strict=True):
            dtype = "int32" if tensor.dtype.startswith("int") else self._op.dtype
            batch = self._gather(data, dtype, tensor.name)
            inputs.append(batch.reshape(*tensor.batch_shape(self._rows)))
        return inputs

    def _gather_targets(self, samples: Samples) -> list[tuple[Buffer, Buffer | None]]:
        """The labels and the weights of each head."""
        labels = [
            self._gather_labels(head, data)
            for head, data in zip(self._trainer.heads, samples.labels, strict=True)
        ]
        weights = [
            None if data is None else self._gather_weights(head, data)
            for head, data in zip(self._trainer.heads, samples.weights, strict=True)
        ]
        return list(zip(labels, weights, strict=True))

    def _gather_labels(self, head: Head, data: Array) -> Buffer:
        name = self._name(head, "labels")
        if head.loss.sparse:
            return self._gather(data, "int32", name).reshape(-1)
        columns = self._trainer.graph.outputs[head.output].shape[-1] or 0
        return self._gather(data, self._op.dtype, name).reshape(-1, columns)

    def _gather_weights(self, head: Head, data: Array) -> Buffer:
        return self._gather(data, self._op.dtype, self._name(head, "sample_weight")).reshape(-1)

    def _name(self, head: Head, what: str) -> str:
        return what if len(self._trainer.heads) == 1 else f"{head.name}.{what}"

    def _record_loss(self, head: Head, y: Buffer, labels: Buffer, weights: Buffer | None) -> None:
        """The loss of one head, which may also count an accuracy, and its metrics."""
        op, x = self._op, y.rows
        op.layer, op.direction = head.meter, "loss"
        learns = self._mode == TRAIN and head.weight != 0
        dx = op.gradient_of(y) if learns else None
        # A loss of weight 0 is recorded as it is: it is shown, and adds nothing.
        weight = head.weight if head.weight != 0 or head.meter == "loss" else 1.0
        head.loss.record_batch(op, dx, self._state(head.meter), y, labels, weights, weight)
        for meter in head.meters:
            op.layer = meter.name
            meter.metric.check(x, labels)
            used = weights if meter.weighted else None
            meter.metric.record(op, self._state(meter.name), x, labels, used)

    def _state(self, name: str) -> Buffer:
        meters = self._trainer.meters[self._mode]
        shape = meters.shape(name)
        return self._op.external(f"{name}.state", shape, "float64", lambda: meters.state(name))


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
    calls = plan.bind(backend, arena)
    pairs = zip(plan.records, calls, strict=True)
    return StepCalls(calls, [call for record, call in pairs if record.direction != "update"])


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
        op = Recorder(trainer.dtype)
        self.indices = op.scratch((rows,), "int32", name="indices")
        self.random = op.scratch((2,), "uint64", name="random")
        recorded = RecordedStep(trainer, mode, samples, op, self.indices, self.random)
        self._slots = recorded.slots
        self._fill([None] * len(self._slots))
        self.plan = Plan(op.records, kept=[self.indices, self.random])

    def _fill(self, arrays: Sequence[Array]) -> None:
        for slot, array in zip(self._slots, arrays, strict=True):
            slot.array = array

    def bind(self, backend: Backend, arena: Array, samples: Samples) -> StepCalls:
        """The calls of one step over this arena that gather from this data set."""
        self._fill(samples.arrays)
        calls = bind_step(self.plan, backend, arena)
        self._fill([None] * len(self._slots))  # the plan is kept, the data set need not be
        return calls


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
        optimizer = self._trainer.optimizer
        updates = True
        if self._mode == TRAIN:
            optimizer.send_hyper()
            updates = optimizer.updates_next
            for parameter in self._parameters:
                parameter.has_gradient = False  # the step overwrites what a run left
        if self._trainer.run_eagerly:
            self._step_eagerly(order, updates)
        else:
            program = self._programs.get(len(order)) or self._bind(len(order))
            step_calls, indices, random = program
            self._backend.write(indices, order)
            if random is not None:
                self._backend.write(random, self._trainer.next_pass())
            for call in step_calls.all if updates else step_calls.without_update:
                call()
        if self._mode == TRAIN:
            optimizer.count_step()

    def _step_eagerly(self, order: np.ndarray[Any, Any], updates: bool) -> None:
        """The same step by layers that run at every step and ops that run as they come."""
        trainer, backend = self._trainer, self._backend
        op = EagerRecorder(trainer.dtype, backend, skips_update=not updates)
        numbers = np.ascontiguousarray(order, np.int32)
        indices = op.given("indices", backend.from_numpy(numbers))
        random = op.external(
            "random", (2,), "uint64", lambda: backend.from_numpy(trainer.next_pass())
        )
        RecordedStep(trainer, self._mode, self.samples, op, indices, random)

    def _bind(self, rows: int) -> tuple[StepCalls, Array, Array | None]:
        step_plan = self._trainer.step_plan(self._mode, rows, self.samples)
        plan = step_plan.plan
        if self._lease.arena.size < plan.nbytes:
            self._programs.clear()
            self._lease.grow(plan.nbytes)
        arena = self._lease.arena
        calls = step_plan.bind(self._backend, arena, self.samples)
        needs_random = any(step_plan.random.storage in r.reads() for r in plan.records)
        random = plan.array(step_plan.random, self._backend, arena) if needs_random else None
        program = (calls, plan.array(step_plan.indices, self._backend, arena), random)
        self._programs[rows] = program
        return program

    def close(self) -> None:
        """Give the arena back."""
        self._trainer.arenas.release(self._lease)
