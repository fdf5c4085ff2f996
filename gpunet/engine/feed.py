"""The feed: a data set on the device, and which of its samples come next."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.samples import Samples


class Feed:
    """What the ops at the start of a step read. The device itself moves on from batch to batch.

    Args:
        backend: where the data are.
        samples: the data set.

    Attributes:
        samples: the data set.
        order: (samples,) int32, the numbers of the samples in the order in which they come.
        state: uint64 (position, seed, pass), see op `next_batch`.
    """

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

    def before_steps(self, random: tuple[int, int] | None) -> None:
        """Tell the device what it cannot know: that somebody started anew or drew in between.

        Args:
            random: the seed and the number of the last pass; None if the steps draw nothing.
        """
        wanted = (self._position, *(random or self._on_device[1:]))
        if wanted != self._on_device:
            self._backend.write(self.state, np.array(wanted, np.uint64))
            self._on_device = wanted

    def after_steps(self, rows: int, steps: int) -> None:
        """Follow what the device has done."""
        _, seed, number = self._on_device
        self._position += rows * steps
        self._on_device = (self._position, seed, number + steps)
