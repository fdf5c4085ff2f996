"""Page-locked host memory: the look-alike of CuPy's pinned memory."""

from __future__ import annotations

import ctypes
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator import queues


class PinnedMemory:
    """One allocation; a look-alike of ``cupy.cuda.PinnedMemory``.

    Args:
        size: Number of bytes.
        flags: No effect.

    Attributes:
        size: How many bytes there are.
        ptr: Address of the first one.
    """

    _made_on = None  # it belongs to no stream

    def __init__(self, size: int, flags: int = 0) -> None:
        queues.check_unsafe_call()  # cudaHostAlloc
        self._bytes = np.full(size, 0xFF, np.uint8)  # poison: NaN as floating point
        self.size = size
        self.ptr: int = self._bytes.ctypes.data if size else 0
        _allocations[self.ptr] = self

    def __int__(self) -> int:
        return self.ptr


_allocations: weakref.WeakValueDictionary[int, PinnedMemory] = weakref.WeakValueDictionary()


class PinnedMemoryPointer:
    """An address in pinned memory; a look-alike of ``cupy.cuda.PinnedMemoryPointer``.

    It is a buffer of the bytes from there on: ``np.frombuffer(pointer, np.float32, count)`` makes
    an array of them.

    Args:
        mem: The allocation.
        offset: Bytes between its start and the place.

    Attributes:
        mem: The allocation.
        ptr: The address.
    """

    def __new__(cls, mem: PinnedMemory, offset: int) -> PinnedMemoryPointer:  # noqa: D102
        # ctypes arrays are the one buffer of given memory that can be made before Python 3.12.
        size = mem.size - offset
        kind: Any = type(cls.__name__, (cls, ctypes.c_byte * size), {})
        pointer: PinnedMemoryPointer = kind.from_address(mem.ptr + offset)
        return pointer

    def __init__(self, mem: PinnedMemory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset

    def size(self) -> int:
        """Return how many bytes there are from here on."""
        return self.mem.size - (self.ptr - self.mem.ptr)

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> PinnedMemoryPointer:
        return PinnedMemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __sub__(self, offset: int) -> PinnedMemoryPointer:
        return self + -offset


class PinnedMemoryPool:
    """Makes pinned memory; nothing is pooled."""

    def malloc(self, size: int) -> PinnedMemoryPointer:
        """Return new pinned memory."""
        return alloc_pinned_memory(size)

    def free_all_blocks(self) -> None:
        """Do nothing: memory goes back to the system with its last user."""

    def n_free_blocks(self) -> int:
        """Return 0."""
        return 0


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Return new pinned memory, full of poison until it is written.

    Its size is the next power of two from 512 on, as of CuPy's pool: say how many elements there
    are, ``np.frombuffer(pointer, dtype, count)``.
    """
    rounded = 1 << max(size - 1, 511).bit_length() if size else 0
    return PinnedMemoryPointer(PinnedMemory(rounded), 0)


def pinned(host: npt.NDArray[Any]) -> PinnedMemory | None:
    """Return the pinned memory that an array lies in, or None."""
    return find(host.ctypes.data, host.nbytes)


def find(address: int, size: int) -> PinnedMemory | None:
    """Return the pinned memory that holds so many bytes from an address, or None."""
    for memory in tuple(_allocations.values()):
        if memory.ptr <= address and address + size <= memory.ptr + memory.size:
            return memory
    return None


def without_owner(host: npt.NDArray[Any], memory: PinnedMemory) -> npt.NDArray[Any]:
    """Return the same array, which does not keep the pinned memory from being given back."""
    offset = host.ctypes.data - memory.ptr
    return np.ndarray(host.shape, host.dtype, memory._bytes.data, offset, host.strides)
