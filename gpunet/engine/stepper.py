"""Steps over a data set: bound plans, from their third use on one launch each where that works."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.engine.eager import EagerRecorder
from gpunet.engine.feed import feed_of
from gpunet.engine.program import Program
from gpunet.engine.samples import Samples
from gpunet.engine.steps import TRAIN, RecordedStep

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer


class Stepper:
    """Steps over one data set: plans bound to one arena and to the data.

    Args:
        trainer: the compiled model.
        mode: TRAIN or TEST.
        samples: the data set.
        batch_size: how many samples a step takes, but perhaps the last.
    """

    def __init__(self, trainer: Trainer, mode: str, samples: Samples, batch_size: int) -> None:
        self._trainer = trainer
        self._mode = mode
        self._backend = trainer.backend
        self.samples = samples
        self._feed = feed_of(self._backend, samples, batch_size)
        self._lease = trainer.arenas.lease(trainer.backend)
        self._lease.keep_for(trainer.weights_key())
        self._parameters = [p for span in trainer.spans for p in span.parameters]
        self._programs: dict[tuple[int, int, int, bool], Program] = {}

    def begin(self, order: np.ndarray[Any, Any] | None = None) -> None:
        """Start at the first sample, of a new order (int32) if one is given."""
        self._feed.begin(order)

    def step(self, rows: int, steps: int = 1) -> None:
        """Steps on the next so many samples each."""
        trainer, optimizer = self._trainer, self._trainer.optimizer
        if steps > 1 and not (self._feed.can_give(rows * steps) and self._are_alike(steps)):
            for _ in range(steps):
                self.step(rows)
            return
        is_training = self._mode == TRAIN
        updates = True
        if is_training:
            optimizer.send_hyper()
            updates = optimizer.updates_next
            for parameter in self._parameters:
                parameter.has_gradient = False  # the step overwrites what a run left
        drawn = (random.seed(), trainer.passes) if is_training else None
        self._feed.before_steps(rows * steps, drawn)
        if trainer.run_eagerly:
            self._step_eagerly(rows, updates)
        else:
            key = (self._feed.window, rows, steps, updates)
            (self._programs.get(key) or self._bind(*key)).run()
        self._feed.after_steps(rows * steps, steps)
        if is_training:
            trainer.passes += steps
            for _ in range(steps):
                optimizer.count_step()

    def _are_alike(self, steps: int) -> bool:
        """Whether these steps do the same with the same numbers, so that one launch may do all."""
        if self._trainer.run_eagerly:
            return False
        return self._mode != TRAIN or self._trainer.optimizer.next_are_alike(steps)

    def _step_eagerly(self, rows: int, updates: bool) -> None:
        """The same step by layers that run at every step and ops that run as they come."""
        trainer = self._trainer
        op = EagerRecorder(trainer.dtype, self._backend, skips_update=not updates)
        RecordedStep(trainer, self._mode, rows, self._feed.samples, op, self._feed.arrays)

    def _bind(self, window: int, rows: int, steps: int, updates: bool) -> Program:
        step_plan = self._trainer.step_plan(self._mode, rows, self._feed.samples)
        plan = step_plan.plan
        if self._lease.arena.size < plan.nbytes:
            self._programs.clear()
            self._lease.grow(plan.nbytes)
        calls = step_plan.bind(self._lease, self._feed)
        ops = zip(plan.records, calls, strict=True)
        wanted = [op for op in ops if updates or op[0].direction != "update"]
        program = Program(self._backend, wanted, steps)
        self._programs[window, rows, steps, updates] = program
        return program

    def close(self) -> None:
        """Give the arena back."""
        self._trainer.arenas.release(self._lease)
