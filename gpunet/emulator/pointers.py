"""Addresses in device memory, and copies between addresses."""

from __future__ import annotations

import ctypes
from typing import Any

from gpunet.emulator import memory, pinned, queues, records
from gpunet.emulator.faults import CUDARuntimeError
from gpunet.emulator.memory import Memory
from gpunet.emulator.queues import Work

HOST_TO_HOST, HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, DEFAULT = range(5)
#: From pageable memory, the driver takes so many bytes along with the call (CUDA programming
#: guide, "Concurrent execution between host and device"); it may wait before it stages more.
PAGEABLE_AT_ONCE = 64 * 1024


class MemoryPointer:
    """An address in a Memory; a look-alike of ``cupy.cuda.MemoryPointer``.

    Args:
        mem: The Memory.
        offset: Bytes between its start and the place.

    Attributes:
        mem: The Memory.
        ptr: The address.
    """

    def __init__(self, mem: Memory, offset: int) -> None:
        self.mem = mem
        self.ptr = mem.ptr + offset

    def __int__(self) -> int:
        return self.ptr

    def __add__(self, offset: int) -> MemoryPointer:
        return MemoryPointer(self.mem, self.ptr - self.mem.ptr + offset)

    def __sub__(self, offset: int) -> MemoryPointer:
        return self + -offset

    def copy_from_device(self, src: MemoryPointer, size: int) -> None:
        """Copy bytes from another place on the device, on the legacy stream."""
        _check_not_capturing(queues.current().ptr, "synchronous API calls")
        memcpy(self.ptr, src.ptr, size, DEVICE_TO_DEVICE)

    def copy_from_device_async(self, src: MemoryPointer, size: int, stream: Any = None) -> None:
        """Copy bytes from another place on the device, on the current stream or the given one."""
        memcpyAsync(self.ptr, src.ptr, size, DEVICE_TO_DEVICE, _pointer(stream))

    def copy_from_host(self, mem: Any, size: int) -> None:
        """Copy bytes from an address of the host, on the legacy stream, and wait."""
        _check_not_capturing(queues.current().ptr, "synchronous API calls")
        memcpy(self.ptr, _address(mem), size, HOST_TO_DEVICE)

    def copy_from_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        """Copy bytes from an address of the host, on the current stream or the given one."""
        _check_not_capturing(_pointer(stream), "H2D transfers")
        memcpyAsync(self.ptr, _address(mem), size, HOST_TO_DEVICE, _pointer(stream))

    def copy_to_host(self, mem: Any, size: int) -> None:
        """Copy bytes to an address of the host, on the legacy stream, and wait."""
        _check_not_capturing(queues.current().ptr, "synchronous API calls")
        memcpy(_address(mem), self.ptr, size, DEVICE_TO_HOST)

    def copy_to_host_async(self, mem: Any, size: int, stream: Any = None) -> None:
        """Copy bytes to an address of the host, on the current stream or the given one."""
        _check_not_capturing(_pointer(stream), "D2H transfers")
        memcpyAsync(_address(mem), self.ptr, size, DEVICE_TO_HOST, _pointer(stream))

    def memset(self, value: int, size: int) -> None:
        """Set so many bytes, on the legacy stream."""
        _check_not_capturing(queues.current().ptr, "synchronous API calls")
        memset(self.ptr, value, size)

    def memset_async(self, value: int, size: int, stream: Any = None) -> None:
        """Set so many bytes, on the current stream or the given one."""
        memsetAsync(self.ptr, value, size, _pointer(stream))


def memcpy(dst: int, src: int, size: int, kind: int) -> None:
    """Copy bytes on the legacy stream; the host waits, unless both ends are on the device."""
    if size == 0:
        return
    memories, host_ends = _ends(dst, src, size, kind)
    legacy = queues.queue_of(queues.LEGACY)
    legacy.check_not_capturing()
    legacy.submit(Work("memcpy", lambda: _move(dst, src, size), memories))
    if host_ends:
        legacy.wait("memcpy")


def memcpyAsync(dst: int, src: int, size: int, kind: int, stream: int) -> None:  # noqa: N802
    """Copy bytes on a stream, given by its pointer."""
    if size == 0:
        return
    memories, host_ends = _ends(dst, src, size, kind)
    queue = queues.queue_of(stream)
    pinned_ends = [pinned.find(address, size) for address in host_ends]
    pageable = None in pinned_ends
    kept = tuple(memory for memory in pinned_ends if memory is not None)
    if pageable:
        queue.check_not_capturing()
    if pageable and src in host_ends and not queue.is_plain:
        staged = ctypes.create_string_buffer(ctypes.string_at(src, size), size)
        run = lambda: _move(dst, ctypes.addressof(staged), size)  # noqa: E731
    else:
        run = lambda: _move(dst, src, size)  # noqa: E731
    queue.submit(Work("memcpyAsync", run, (*memories, *kept)))
    if pageable and dst in host_ends:
        queue.wait("memcpyAsync")
    elif pageable and size > PAGEABLE_AT_ONCE:
        records.waited("memcpyAsync")


def memset(ptr: int, value: int, size: int) -> None:
    """Set bytes on the legacy stream."""
    memsetAsync(ptr, value, size, queues.LEGACY)


def memsetAsync(ptr: int, value: int, size: int, stream: int) -> None:  # noqa: N802
    """Set bytes on a stream, given by its pointer."""
    if size == 0:
        return
    memories = (_device_end(ptr, size),)
    work = Work("memsetAsync", lambda: _set(ptr, value, size), memories)
    queues.queue_of(stream).submit(work)


def _ends(dst: int, src: int, size: int, kind: int) -> tuple[tuple[Memory, ...], list[int]]:
    """Return the allocations that a copy touches, and its ends in host memory."""
    memories, host_ends = [], []
    wanted = {
        HOST_TO_HOST: "hh",
        HOST_TO_DEVICE: "dh",
        DEVICE_TO_HOST: "hd",
        DEVICE_TO_DEVICE: "dd",
    }
    if kind not in (*wanted, DEFAULT):
        raise CUDARuntimeError(21)
    for address, place in zip((dst, src), wanted.get(kind, "??"), strict=True):
        found = memory.find(address, size) if place == "?" else None
        if place == "d":
            memories.append(_device_end(address, size))
        elif found is not None:
            memories.append(found)
        else:
            host_ends.append(address)
    return tuple(memories), host_ends


def _device_end(address: int, size: int) -> Memory:
    found = memory.find(address, size)
    if found is None:  # CUDA's answer to bytes that are not all in one allocation
        raise CUDARuntimeError(1)
    return found


def _check_not_capturing(stream: int, what: str) -> None:
    if queues.queue_of(stream).is_capturing():
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")


def _pointer(stream: Any) -> int:
    pointer: int = queues.current().ptr if stream is None else stream.ptr
    return pointer


def _address(mem: Any) -> int:
    address: int = mem if isinstance(mem, int) else mem.value
    return address


def _move(dst: int, src: int, size: int) -> None:
    ctypes.memmove(dst, src, size)


def _set(ptr: int, value: int, size: int) -> None:
    ctypes.memset(ptr, value, size)
