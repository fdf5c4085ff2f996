"""One training step op by op, for tools that look at what each op does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from gpunet import random
from gpunet.backend.spec import Array
from gpunet.engine.feed import Feed
from gpunet.engine.recorder import Buffer
from gpunet.engine.run import Lease
from gpunet.engine.steps import TRAIN, StepPlan
from gpunet.errors import UsageError

if TYPE_CHECKING:
    from gpunet.models import Model


class Replay:
    """The plan of one training step, bound, with its batch and random numbers in place.

    Args:
        model: a compiled model; running the calls changes its weights.
        x: one batch.
        y: its targets.

    Attributes:
        records: the ops.
        calls: what runs each of them.
        backend: where they run.
    """

    def __init__(self, model: Model, x: Any, y: Any) -> None:
        model.prepare(x)
        model.meters[TRAIN].reset()
        samples = model.samples(x, y)
        step_plan = StepPlan(model, TRAIN, samples.count, samples)
        self._plan, self.backend = step_plan.plan, model.backend
        self._lease = Lease(self.backend)
        feed = Feed(self.backend, samples)
        feed.before_steps(samples.count, (random.seed(), model.passes))
        self.records = self._plan.records
        self.calls = step_plan.bind(self._lease, feed)
        step_plan.fill(feed.arrays)
        model.optimizer.send_hyper()

    def array(self, buffer: Buffer) -> Array:
        """The real array behind a handle."""
        return self._plan.array(buffer, self.backend, self._lease.arena)


@contextmanager
def unchanged(model: Model, what: str) -> Iterator[Callable[[], None]]:
    """Lend a compiled model: device, weights, optimizer and counters are as before afterwards.

    Args:
        model: the model.
        what: who asks, for the message.

    Yields:
        A function that goes back to the start: those weights and counters, and a fresh optimizer
        with the same hyper-parameters.

    Raises:
        UsageError: the model is not compiled.
    """
    if not model.is_compiled:
        raise UsageError(f"{what} replays a training step: call model.compile first.")
    home, weights, optimizer, passes = (
        model.backend,
        model.get_weights(),
        model.optimizer,
        model.passes,
    )

    def restart() -> None:
        model.optimizer = optimizer.without_state()
        model.set_weights(weights)
        model.passes = passes

    try:
        restart()
        yield restart
    finally:
        if model.backend is not home:
            model.to(home)
        model.set_weights(weights)
        model.optimizer, model.passes = optimizer, passes
