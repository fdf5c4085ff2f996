"""The feed: a data set on the device, and which of its samples come next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.backend.uploads import WINDOWS
from gpunet.engine.samples import Samples

WINDOW_BYTES = 64 * 2**20
"""The size of a window of a data set that does not fit on the device: some milliseconds of copying,
so that launching the copies costs nothing."""


class Feed:
    """What the ops at the start of a step read. The device itself moves on from batch to batch.

    Args:
        backend: where the data are.
        samples: the data set.

    Attributes:
        samples: the data set.
        order: (samples,) int32, the numbers of the samples in the order in which they come.
        state: uint64 (position, seed, pass), see op `next_batch`.
        window: which of several places in memory the samples come from.
    """

    window = 0

    def __init__(self, backend: Backend, samples: Samples) -> None:
        self.samples = samples
        self._backend = backend
        self.order = backend.from_numpy(np.arange(samples.count, dtype=np.int32))
        self.state = backend.from_numpy(np.zeros(3, np.uint64))
        self._position = 0
        self._on_device = (0, 0, 0)  # what the device has in `state`

    @property
    def arrays(self) -> list[Array]:
        """All arrays, in the order in which a step names them."""
        return [self.state, self.order, self.state[1:], *self.samples.arrays]

    def begin(self, order: np.ndarray[Any, Any] | None = None) -> None:
        """Start again from the first sample, of a new order (int32) if one is given."""
        if order is not None:
            self._backend.write(self.order, order)
        self._position = 0

    def can_give(self, rows: int) -> bool:
        """Whether so many samples follow each other in memory that a launch can go through."""
        return True

    def before_steps(self, rows: int, random: tuple[int, int] | None) -> None:
        """Get samples ready, and tell the device what it cannot know: a new start, a new pass.

        Args:
            rows: how many samples the steps take.
            random: the seed and the number of the last pass; None if the steps draw nothing.
        """
        wanted = (self._position, *(random or self._on_device[1:]))
        if wanted != self._on_device:
            self._backend.write(self.state, np.array(wanted, np.uint64))
            self._on_device = wanted

    def after_steps(self, rows: int, steps: int) -> None:
        """Follow what the device has done."""
        _, seed, number = self._on_device
        self._position += rows
        self._on_device = (self._position, seed, number + steps)


class StreamedFeed:
    """The same for a data set on the host, of which the device holds two windows.

    While the device computes on one window, each step also gathers the samples of one later step
    into pinned memory; when the next window is complete, it travels on a stream of its own.

    Args:
        backend: where to compute.
        samples: the data set, on the host; memory-mapped arrays are read as they are needed.
        batch_size: the samples of a step; a window holds whole batches.

    Attributes:
        window: the window that the samples come from.
    """

    def __init__(self, backend: Backend, samples: Samples, batch_size: int) -> None:
        self._arrays = samples.arrays
        sample_bytes = sum(array[:1].nbytes for array in self._arrays)
        batches = max(1, WINDOW_BYTES // max(sample_bytes * batch_size, 1))
        batches = min(batches, -(-samples.count // batch_size))
        self._size = size = batches * batch_size

        def window_of(array: Array) -> Array:
            return backend.empty((size, *array.shape[1:]), array.dtype)

        self._uploads = backend.uploads()
        self._feeds = [Feed(backend, samples.map(window_of)) for _ in range(WINDOWS)]
        self._staging = [
            [backend.staging((size, *a.shape[1:]), a.dtype) for a in self._arrays]
            for _ in range(WINDOWS)
        ]
        self._order = np.arange(samples.count, dtype=np.int32)
        self.window = 0
        self._taken = 0  # samples of the order that are in a window
        self._left = 0  # samples of the window in use that no step has had
        self._staged = 0  # samples of the next window

    @property
    def samples(self) -> Samples:
        """The window in use."""
        return self._feeds[self.window].samples

    @property
    def arrays(self) -> list[Array]:
        """All arrays, as `Feed.arrays`."""
        return self._feeds[self.window].arrays

    def begin(self, order: np.ndarray[Any, Any] | None = None) -> None:
        """Start again from the first sample, of a new order if one is given."""
        if order is not None:
            self._order = order
        self._taken = self._staged = self._left = 0
        self._uploads.after_use(self._next)
        self._stage(self._size)

    def can_give(self, rows: int) -> bool:
        """Whether so many samples are in one window."""
        return rows <= (self._left or self._staged)

    def before_steps(self, rows: int, random: tuple[int, int] | None) -> None:
        """Go on to the next window if this one is used up."""
        if not self._left:
            self._uploads.after_use(self.window)
            self.window = self._next
            self._uploads.before_use(self.window)
            self._feeds[self.window].begin()
            self._left, self._staged = self._staged, 0
        self._feeds[self.window].before_steps(rows, random)

    def after_steps(self, rows: int, steps: int) -> None:
        """Follow what the device has done, and gather as many samples for the next window."""
        self._feeds[self.window].after_steps(rows, steps)
        self._left -= rows
        self._stage(rows)

    @property
    def _next(self) -> int:
        return (self.window + 1) % WINDOWS

    def _stage(self, rows: int) -> None:
        """Gather further samples of the order for the next window; send it when it is full."""
        window, start = self._next, self._staged
        chosen = self._order[self._taken : self._taken + min(rows, self._size - start)]
        if not len(chosen):
            return
        if start == 0:
            self._uploads.settle(window)
        self._taken += len(chosen)
        self._staged = end = start + len(chosen)
        for array, staging in zip(self._arrays, self._staging[window], strict=True):
            array.take(chosen, 0, staging[start:end], "clip")
        if end == self._size or self._taken == len(self._order):
            targets: Sequence[Array] = self._feeds[window].samples.arrays
            pairs = zip(targets, self._staging[window], strict=True)
            self._uploads.copy(window, [(target[:end], host[:end]) for target, host in pairs])


def feed_of(backend: Backend, samples: Samples, batch_size: int) -> Feed | StreamedFeed:
    """The feed for a data set on the device, or on the host."""
    if all(backend.owns(array) for array in samples.arrays):
        return Feed(backend, samples)
    return StreamedFeed(backend, samples, batch_size)
