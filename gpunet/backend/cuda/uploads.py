"""Copies on a stream of their own, ordered by events with the stream that computes."""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.spec import Array
from gpunet.backend.uploads import WINDOWS, Uploads

if TYPE_CHECKING:
    from gpunet.backend.cuda import CudaBackend


class StreamUploads(Uploads):
    """Copies from pinned memory, which the device fetches while it computes."""

    def __init__(self, backend: CudaBackend) -> None:
        super().__init__(backend)
        cuda = self._cuda = backend.cp.cuda
        self._stream = cuda.Stream(non_blocking=True)
        self._copied = [cuda.Event(disable_timing=True) for _ in range(WINDOWS)]
        self._used = [cuda.Event(disable_timing=True) for _ in range(WINDOWS)]
        # CuPy gives memory that nobody holds to the next array at once, a copy on this stream
        # notwithstanding. What is under way is held; whoever drops all of it waits for the copies.
        self._pairs: list[list[tuple[Array, np.ndarray[Any, Any]]]] = [[] for _ in range(WINDOWS)]
        weakref.finalize(self, self._stream.synchronize).atexit = False

    def copy(self, window: int, pairs: Iterable[tuple[Array, np.ndarray[Any, Any]]]) -> None:
        """Start copying pinned host arrays into arrays of a window, after what still reads it."""
        self._stream.wait_event(self._used[window])
        self._pairs[window] = list(pairs)
        for target, source in self._pairs[window]:
            target.set(source, stream=self._stream)
        self._copied[window].record(self._stream)

    def before_use(self, window: int) -> None:
        """Let what is launched from now on wait for the copies into a window."""
        self._cuda.get_current_stream().wait_event(self._copied[window])

    def after_use(self, window: int) -> None:
        """Let the next copies into a window wait for what has been launched so far."""
        self._used[window].record(self._cuda.get_current_stream())

    def settle(self, window: int) -> None:
        """Wait on the host until the copies have left the host's arrays; mostly they have."""
        if not self._copied[window].done:
            self._copied[window].synchronize()
