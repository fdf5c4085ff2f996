"""Copies from the host that run beside the computation, for data that do not fit on a device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.spec import Array

if TYPE_CHECKING:
    from gpunet.backend.base import Backend

WINDOWS = 2
"""While the device computes on one window of the data, the next one travels."""


class Uploads:
    """Copies into windows of device memory; here each is finished when it returns."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def copy(self, window: int, pairs: Iterable[tuple[Array, np.ndarray[Any, Any]]]) -> None:
        """Start copying host arrays into arrays of a window, after what still reads those."""
        for target, source in pairs:
            self._backend.write(target, source)

    def before_use(self, window: int) -> None:
        """Let what is launched from now on wait for the copies into a window."""

    def after_use(self, window: int) -> None:
        """Let the next copies into a window wait for what has been launched so far."""

    def settle(self, window: int) -> None:
        """Wait on the host until the copies have left the host's arrays."""
