"""The loop over epochs and mini-batches, with callbacks; what fit and evaluate have in common."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.callbacks import CallbackList
from gpunet.engine.meters import Meters
from gpunet.engine.samples import Samples
from gpunet.engine.stepper import Stepper
from gpunet.engine.steps import TEST, TRAIN

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
        samples: the data to train on.
        batch_size: samples a step.
        shuffle: whether each epoch takes the samples in a new order.
        validation: the data to validate on, or None.
        validation_size: samples a step in validation.
    """

    def __init__(
        self,
        trainer: Trainer,
        calls: CallbackList,
        samples: Samples,
        batch_size: int,
        shuffle: bool,
        validation: Samples | None,
        validation_size: int,
    ) -> None:
        self._trainer = trainer
        self._calls = calls
        self._samples = samples
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._validation = validation
        self._validation_size = validation_size

    def run(self, epochs: range) -> None:
        """Train; Ctrl-C and `stop_training` end it after the step at hand."""
        trainer, calls = self._trainer, self._calls
        stepper = Stepper(trainer, TRAIN, self._samples, self._batch_size)
        logs: dict[str, Any] = {}
        try:
            with Interrupt() as interrupt:
                calls.on_train_begin()
                for epoch in epochs:
                    logs = self._epoch(stepper, epoch, interrupt)
                    if trainer.stop_training or interrupt.wanted:
                        break
                if epochs:
                    trainer.optimizer.finalize_variable_values(trainer.parameters)
                calls.on_train_end(logs)
        finally:
            stepper.close()

    def _epoch(self, stepper: Stepper, epoch: int, interrupt: Interrupt) -> dict[str, Any]:
        trainer, calls, count = self._trainer, self._calls, self._samples.count
        calls.on_epoch_begin(epoch)
        order: Order = np.arange(count, dtype=np.int32)
        if self._shuffle:  # a third faster than permuting the int32 array, with the same result
            order = random.next_stream().permutation(count).astype(np.int32)

        def stop() -> bool:
            return interrupt.wanted or trainer.stop_training

        logs = run_batches(trainer, stepper, TRAIN, order, self._batch_size, calls, stop)
        if self._validation is not None and not interrupt.wanted:
            results = evaluate(trainer, self._validation, self._validation_size, calls)
            logs.update({f"val_{name}": value for name, value in results.items()})
        calls.on_epoch_end(epoch, logs)
        return logs


def run_batches(
    trainer: Trainer,
    stepper: Stepper,
    mode: str,
    order: Order,
    batch_size: int,
    calls: CallbackList,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Step through the samples in this order; returns loss and metrics over all of them."""
    meters = trainer.meters[mode]
    meters.reset()
    logs = LazyLogs(meters)
    if mode == TRAIN:
        hooked, begin, end = (
            calls.has_train_batch_hooks,
            calls.on_train_batch_begin,
            calls.on_train_batch_end,
        )
    else:
        hooked, begin, end = (
            calls.has_test_batch_hooks,
            calls.on_test_batch_begin,
            calls.on_test_batch_end,
        )
    stepper.begin(order)
    full, rest = divmod(len(order), batch_size)
    number = 0
    while number < full + bool(rest):
        steps = max(1, min(trainer.steps_per_execution, full - number))
        if hooked:
            begin(number, {})
        stepper.step(batch_size if number < full else rest, steps)
        number += steps
        logs.forget()
        if hooked:
            end(number - 1, logs)
        if stop():
            break
    return dict(logs)


def evaluate(
    trainer: Trainer, samples: Samples, batch_size: int, calls: CallbackList
) -> dict[str, Any]:
    """Loss and metrics on a data set, without training."""
    calls.on_test_begin()
    stepper = Stepper(trainer, TEST, samples, batch_size)
    order = np.arange(samples.count, dtype=np.int32)
    try:
        results = run_batches(trainer, stepper, TEST, order, batch_size, calls)
    finally:
        stepper.close()
    calls.on_test_end(results)
    return results
