"""The plans of training and evaluation: gather, forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gpunet.backend.spec import Array
from gpunet.engine.feed import Feed, StreamedFeed
from gpunet.engine.heads import Head
from gpunet.engine.inputs import device_dtype
from gpunet.engine.passes import Pass
from gpunet.engine.penalties import record_constraints, record_weight_penalties
from gpunet.engine.plan import Call, Plan
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.engine.run import Lease
from gpunet.engine.samples import Samples
from gpunet.losses.base import masked_weights

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

TRAIN, TEST = "train", "test"


class Slot:
    """A place for an array of a feed, which is another one at each binding.

    Attributes:
        array: the array.
        buffer: what ops know it by.
    """

    array: Array = None
    buffer: Buffer


class RecordedStep:
    """One step on a mini-batch, given to a recorder.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        rows: the size of the mini-batch.
        samples: the data set.
        op: the recorder, which writes the ops down or runs them.
        feed: the arrays of a feed for ops that run at once.

    Attributes:
        slots: where the ops find the arrays of a feed.
    """

    def __init__(
        self,
        trainer: Trainer,
        mode: str,
        rows: int,
        samples: Samples,
        op: Recorder,
        feed: Sequence[Array] = (),
    ) -> None:
        self._trainer = trainer
        self._mode = mode
        self._op = op
        self._rows = rows
        self._feed = iter(feed)
        self.slots: list[Slot] = []
        op.layer, op.direction = "feed", "feed"
        state = self._from_feed("state", (3,), "uint64")
        order = self._from_feed("order", (samples.count,), "int32")
        random = self._from_feed("random", (2,), "uint64")
        self._indices = op.scratch((rows,), "int32", name="indices")
        op.next_batch(self._indices, state, order)
        inputs = self._gather_inputs(samples)
        targets = self._gather_targets(samples)
        one_pass = Pass(trainer.graph, op, rows, mode == TRAIN, random)
        # The loss is a mean over this many rows; penalties count as if each row had them.
        first = trainer.heads[0]
        shapes = trainer.graph.output_shapes([x.shape for x in inputs])
        count = first.loss.rows_counted(shapes[first.output])
        totals = self._state("loss")
        ys = one_pass.forward(inputs, totals if mode == TEST else None, count)
        for head, (labels, weights) in zip(trainer.heads, targets, strict=True):
            mask = trainer.graph.outputs[head.output].mask
            present = None if mask is None else one_pass.value(mask)
            self._record_loss(head, ys[head.output], labels, weights, present)
        if mode == TRAIN:
            one_pass.backward(totals, count)
        record_weight_penalties(op, trainer.spans, totals, count, gradients=mode == TRAIN)
        if mode == TRAIN:
            trainer.optimizer.record(op, trainer.spans)
            record_constraints(op, trainer.spans)

    def _from_feed(self, name: str, shape: tuple[int, ...], dtype: str) -> Buffer:
        """An array of the feed; they are named in the order of `Feed.arrays`."""
        slot = Slot()
        slot.array = next(self._feed, None)
        self.slots.append(slot)
        slot.buffer = self._op.external(name, shape, dtype, lambda: slot.array)
        return slot.buffer

    def _gather(self, data: Array, dtype: str, name: str) -> Buffer:
        """Record the gather of one mini-batch (rows, columns) out of a data set."""
        source = self._from_feed(name, tuple(data.shape), np.dtype(data.dtype).name)
        batch = self._op.scratch((self._rows, data.shape[1]), dtype, name=f"{name}.batch")
        self._op.gather(batch, source, self._indices)
        return batch

    def _gather_inputs(self, samples: Samples) -> list[Buffer]:
        inputs = []
        tensors = self._trainer.graph.inputs
        for tensor, data, shape in zip(tensors, samples.inputs, samples.shapes, strict=True):
            dtype = device_dtype(tensor, self._op.dtype)
            if dtype == "uint8":  # of a mask, which a gather has as numbers
                numbers = self._gather(data, self._op.dtype, tensor.name)
                batch = self._op.scratch(numbers.shape, dtype, name=f"{tensor.name}.mask")
                self._op.row_mask(batch.reshape(-1), numbers.reshape(-1, 1))
            else:
                batch = self._gather(data, dtype, tensor.name)
            inputs.append(batch.reshape(self._rows, *shape))
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

    def _record_loss(
        self,
        head: Head,
        y: Buffer,
        labels: Buffer,
        weights: Buffer | None,
        mask: Buffer | None,
    ) -> None:
        """The loss of one head, which may also count an accuracy, and its metrics."""
        op, x = self._op, y.rows
        op.layer, op.direction = head.meter, "loss"
        learns = self._mode == TRAIN and head.weight != 0
        dx = op.gradient_of(y) if learns else None
        # A loss of weight 0 is recorded as it is: it is shown, and adds nothing.
        weight = head.weight if head.weight != 0 or head.meter == "loss" else 1.0
        state = self._state(head.meter)
        head.loss.record_batch(op, dx, state, y, labels, weights, weight, mask)
        for meter in head.meters:
            op.layer = meter.name
            meter.metric.check(x, labels)
            used = weights if meter.weighted else None
            if mask is not None:
                used = masked_weights(op, used, mask.reshape(-1))
            meter.metric.record(op, self._state(meter.name), x, labels, used)

    def _state(self, name: str) -> Buffer:
        meters = self._trainer.meters[self._mode]
        shape = meters.shape(name)
        return self._op.external(f"{name}.state", shape, "float64", lambda: meters.state(name))


class StepPlan:
    """The plan of one step on a mini-batch of a data set.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        rows: the size of the mini-batch.
        samples: the data set; the plan works for every one of the same signature.

    Attributes:
        plan: the plan.
    """

    def __init__(self, trainer: Trainer, mode: str, rows: int, samples: Samples) -> None:
        op = Recorder(trainer.dtype)
        self._slots = RecordedStep(trainer, mode, rows, samples, op).slots
        self.plan = Plan(op.records, kept=())
        places = {slot.buffer.storage for slot in self._slots}
        self._fed = [
            record
            for record in self.plan.records
            if any(buffer.storage in places for _, buffer in record.items())
        ]
        fed = set(self._fed)
        self._others = [record for record in self.plan.records if record not in fed]

    def bind(self, lease: Lease, feed: Feed | StreamedFeed) -> list[Call]:
        """The calls of one step that gathers from this feed; the other ops are bound once."""
        others = lease.bound(self.plan, "step", self._others).calls
        self.fill(feed.arrays)
        fed = self.plan.bind(lease.backend, lease.arena, self._fed)
        self.fill([None] * len(self._slots))  # the plan is kept, the data set need not be
        calls = dict(zip([*self._others, *self._fed], [*others, *fed], strict=True))
        return [calls[record] for record in self.plan.records]

    def fill(self, arrays: Sequence[Array]) -> None:
        """Say which arrays `Plan.array` finds behind the buffers of the feed."""
        for slot, array in zip(self._slots, arrays, strict=True):
            slot.array = array
