"""Device memory: blocks with red zones, poisoned until somebody writes."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator import build, queues

#: What `empty` memory holds: NaN as floating point, -1 as signed integer.
POISON = 0xFF
#: What it holds in the checked build: a NaN, too, but one by which it knows memory that nobody has
#: written to (runtime/memory_map.h has the same word).
CHECKED_POISON = np.array([0xFFF9FFE7], "<u4").view(np.uint8)
_GUARD_SIZE = 256
_GUARD = b"\xcb" * _GUARD_SIZE
_ALIGNMENT = 256

Bytes = npt.NDArray[np.uint8]


class MemoryPool:
    """Counts what is allocated; nothing is pooled."""

    def __init__(self) -> None:
        self._used = 0
        self._lock = threading.Lock()

    def add(self, size: int) -> None:
        """Count ``size`` more bytes (less if negative)."""
        with self._lock:
            self._used += size

    def used_bytes(self) -> int:
        """Return how many bytes live arrays hold."""
        return self._used

    def free_bytes(self) -> int:
        """Return 0: what is not in use is not held."""
        return 0

    def total_bytes(self) -> int:
        """Return the same as `used_bytes`."""
        return self._used

    def free_all_blocks(self, stream: Any = None) -> None:
        """Do nothing: memory goes back to the system with its array."""


_pool = MemoryPool()
_live: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()
# Arrays that the checked build keeps after their end, so that nobody else gets their addresses.
_freed: deque[tuple[int, int, Bytes]] = deque(maxlen=64)


def allocations() -> dict[int, int]:
    """Return the size of every live allocation by its address."""
    return {memory.ptr: memory.size for memory in tuple(_live.values())}


def freed() -> dict[int, int]:
    """Return the same of the last that are no more."""
    return {ptr: size for ptr, size, _ in tuple(_freed)}


class Memory:
    """One allocation: 256-byte aligned bytes between two red zones.

    Args:
        size: Number of bytes.
        zeroed: Whether to fill with zeros instead of poison.
        borrowed: Memory that somebody else owns, and that therefore has no red zones.

    Attributes:
        bytes: The usable bytes.
        size: How many there are.
        ptr: Address of the first one.
    """

    def __init__(self, size: int, *, zeroed: bool = False, borrowed: Bytes | None = None) -> None:
        # At the interpreter's end the module's own names are gone.
        self._pool, self._freed = _pool, _freed
        self._raw: Bytes | None = None
        self._made_on = queues.current().ptr  # the stream on which it was allocated
        if borrowed is not None:
            self.bytes = borrowed
        else:
            queues.check_unsafe_call()  # cudaMalloc: nothing is pooled here
            # np.zeros gets zeroed pages from the system, which costs nothing until they are used.
            self._raw = np.zeros(size + 2 * _GUARD_SIZE + _ALIGNMENT, np.uint8)
            address = self._raw.ctypes.data + _GUARD_SIZE
            self._start = _GUARD_SIZE + -address % _ALIGNMENT
            self.bytes = self._raw[self._start : self._start + size]
            self._checked = build.profile().checks
            if not zeroed and self._checked:
                self.bytes[:] = np.resize(CHECKED_POISON, size)  # from a multiple of 4
            elif not zeroed:
                self.bytes[:] = POISON
            self._before[:] = self._after[:] = np.frombuffer(_GUARD, np.uint8)
            self._pool.add(size)
        self.size = self.bytes.size
        self.ptr: int = self.bytes.ctypes.data
        _live[self.ptr] = self

    @property
    def _before(self) -> Bytes:
        if self._raw is None:
            return np.empty(0, np.uint8)
        return self._raw[self._start - _GUARD_SIZE : self._start]

    @property
    def _after(self) -> Bytes:
        if self._raw is None:
            return np.empty(0, np.uint8)
        end = self._start + self.bytes.size
        return self._raw[end : end + _GUARD_SIZE]

    def damage(self) -> str | None:
        """Say where a red zone was overwritten, or return None; a damaged zone is repaired."""
        if self._raw is None:
            return None
        for zone, is_before in ((self._before, True), (self._after, False)):
            if zone.tobytes() == _GUARD:
                continue
            changed = np.flatnonzero(zone != _GUARD[0])
            zone[:] = np.frombuffer(_GUARD, np.uint8)
            if is_before:
                return f"{_GUARD_SIZE - int(changed[-1])} bytes before its start"
            return f"{int(changed[0])} bytes past its end"
        return None

    def __del__(self) -> None:
        if self._raw is None:
            return
        self._pool.add(-self.bytes.size)
        if self._checked:
            self._freed.append((self.ptr, self.size, self._raw))


def find(address: int, size: int) -> Memory | None:
    """Return the live allocation that holds so many bytes from an address, or None."""
    for memory in tuple(_live.values()):
        if memory.ptr <= address and address + size <= memory.ptr + memory.size:
            return memory
    return None


def get_default_memory_pool() -> MemoryPool:
    """Return the pool that counts every allocation."""
    return _pool
