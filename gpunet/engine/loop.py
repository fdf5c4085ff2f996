"""The loop over epochs and mini-batches, with callbacks; what fit and evaluate have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.arguments import check_flag
from gpunet.callbacks import CallbackList
from gpunet.engine.meters import Meters
from gpunet.engine.samples import Samples
from gpunet.engine.stepper import Stepper
from gpunet.engine.steps import TEST, TRAIN
from gpunet.errors import UsageError

if TYPE_CHECKING:
    from gpunet.engine.trainer import Trainer

Order = np.ndarray[Any, Any]


class LazyLogs(Mapping[str, Any]):
    """Metric values, sorted by name as Keras does, read from the device when looked up.

    Between two steps they are read once, whatever is looked up.
    """

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._values: dict[str, Any] | None = None

    def forget(self) -> None:
        """A step has changed the values."""
        self._values = None

    def __getitem__(self, name: str) -> Any:
        if self._values is None:
            self._values = self._meters.read()
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._meters.names))

    def __len__(self) -> int:
        return len(self._meters.names)


class Interrupt:
    """Turns the first Ctrl-C into a wish to stop after the step; a second one interrupts.

    Outside of the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._previous: Any = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)


class Loop:
    """Runs epochs of training with callbacks and validation.

    Args:
        trainer: the compiled model.
        calls: the callbacks.
        samples: the data to train on, in parts from one of which each batch comes.
        batch_size: samples a step.
        shuffle: whether each epoch takes the samples in a new order.
        validation: the data to validate on, or None.
        validation_size: samples a step in validation.
    """

    def __init__(
        self,
        trainer: Trainer,
        calls: CallbackList,
        samples: Sequence[Samples],
        batch_size: int,
        shuffle: bool,
        validation: Sequence[Samples] | None,
        validation_size: int,
    ) -> None:
        self._trainer = trainer
        self._calls = calls
        self._samples = samples
        self._batch_size = batch_size
        self._shuffle = check_flag("fit", "shuffle", shuffle)
        self._validation = validation
        self._validation_size = validation_size

    def run(self, epochs: range) -> None:
        """Train; Ctrl-C and `stop_training` end it after the step at hand."""
        trainer, calls = self._trainer, self._calls
        steppers = [Stepper(trainer, TRAIN, part, self._batch_size) for part in self._samples]
        logs: dict[str, Any] = {}
        try:
            with Interrupt() as interrupt:
                calls.on_train_begin()
                for epoch in epochs:
                    logs = self._epoch(steppers, epoch, interrupt)
                    if trainer.stop_training or interrupt.wanted:
                        break
                if epochs:
                    trainer.optimizer.finalize_variable_values(trainer.parameters)
                calls.on_train_end(logs)
        finally:
            for stepper in steppers:
                stepper.close()

    def _epoch(
        self, steppers: Sequence[Stepper], epoch: int, interrupt: Interrupt
    ) -> dict[str, Any]:
        trainer, calls = self._trainer, self._calls
        calls.on_epoch_begin(epoch)
        batches = begin(steppers, self._batch_size, self._shuffle)

        def stop() -> bool:
            return interrupt.wanted or trainer.stop_training

        logs = run_batches(trainer, TRAIN, batches, calls, stop)
        if self._validation is not None and not interrupt.wanted:
            results = evaluate(trainer, self._validation, self._validation_size, calls)
            logs.update({f"val_{name}": value for name, value in results.items()})
        calls.on_epoch_end(epoch, logs)
        return logs


Batch = tuple[Stepper, int]
"""What makes a step on a batch, and its samples."""


def count_steps(samples: Sequence[Samples], batch_size: int) -> int:
    """How many batches the parts of a data set have."""
    return sum(-(-part.count // batch_size) for part in samples)


def begin(steppers: Sequence[Stepper], batch_size: int, shuffle: bool = False) -> list[Batch]:
    """Start an epoch; returns its batches. Shuffling is of samples in a part and of batches."""
    stream = random.next_stream() if shuffle else None
    batches: list[Batch] = []
    for stepper in steppers:
        count = stepper.samples.count
        order: Order = np.arange(count, dtype=np.int32)
        if stream is not None:  # a third faster than permuting the int32 array, the same result
            order = stream.permutation(count).astype(np.int32)
        stepper.begin(order)
        full, rest = divmod(count, batch_size)
        batches += [(stepper, batch_size)] * full + [(stepper, rest)] * bool(rest)
    if stream is not None and len(steppers) > 1:
        batches = [batches[i] for i in stream.permutation(len(batches))]
    return batches


def run_batches(
    trainer: Trainer,
    mode: str,
    batches: Sequence[Batch],
    calls: CallbackList,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Make these steps in order; returns loss and metrics over all of them."""
    meters = trainer.meters.get(mode)
    if meters is None:
        raise UsageError(
            f"{trainer.name} was compiled or moved by a callback while it runs; do that before or "
            "after."
        )
    meters.reset()
    logs = LazyLogs(meters)
    if mode == TRAIN:
        hooked, on_begin, on_end = (
            calls.has_train_batch_hooks,
            calls.on_train_batch_begin,
            calls.on_train_batch_end,
        )
    else:
        hooked, on_begin, on_end = (
            calls.has_test_batch_hooks,
            calls.on_test_batch_begin,
            calls.on_test_batch_end,
        )
    number, at_once = 0, trainer.steps_per_execution
    while number < len(batches):
        stepper, rows = batches[number]
        steps = 1
        if at_once > 1:
            steps = _alike(batches[number : number + at_once])
        if hooked:
            on_begin(number, {})
        stepper.step(rows, steps)
        number += steps
        logs.forget()
        if hooked:
            on_end(number - 1, logs)
        if stop():
            break
    return dict(logs)


def _alike(batches: Sequence[Batch]) -> int:
    """How many of the first batches are of one size and one part."""
    return next((i for i, batch in enumerate(batches) if batch != batches[0]), len(batches))


def evaluate(
    trainer: Trainer, samples: Sequence[Samples], batch_size: int, calls: CallbackList
) -> dict[str, Any]:
    """Loss and metrics on a data set, without training."""
    calls.on_test_begin()
    steppers = [Stepper(trainer, TEST, part, batch_size) for part in samples]
    try:
        results = run_batches(trainer, TEST, begin(steppers, batch_size), calls)
    finally:
        for stepper in steppers:
            stepper.close()
    calls.on_test_end(results)
    return results
