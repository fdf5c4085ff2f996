"""The look-alike of ``cupy.cuda``: one device, streams that finish at once, events, errors."""

from __future__ import annotations

import platform
import threading
import time
from types import SimpleNamespace
from typing import Any

from gpunet.emulator import faults, launch, memory
from gpunet.emulator.memory import Memory as Memory
from gpunet.emulator.memory import MemoryPointer as MemoryPointer
from gpunet.emulator.memory import MemoryPool as MemoryPool

_ATTRIBUTES = {
    "ComputeCapabilityMajor": 8,
    "ComputeCapabilityMinor": 0,
    "CooperativeLaunch": 0,
    "MaxBlockDimX": 1024,
    "MaxBlockDimY": 1024,
    "MaxBlockDimZ": 64,
    "MaxGridDimX": 2**31 - 1,
    "MaxGridDimY": 65535,
    "MaxGridDimZ": 65535,
    "MaxSharedMemoryPerBlock": launch.SHARED_MEMORY,
    "MaxSharedMemoryPerBlockOptin": launch.SHARED_MEMORY_OPTIN,
    "MaxSharedMemoryPerMultiprocessor": launch.SHARED_MEMORY_OPTIN + 1024,
    "MaxThreadsPerBlock": launch.MAX_THREADS_PER_BLOCK,
    "MaxThreadsPerMultiProcessor": 2048,
    # Few, so that grids sized from the device stay small.
    "MultiProcessorCount": 4,
    "WarpSize": 32,
}


class Device:
    """The emulated device; a look-alike of ``cupy.cuda.Device``.

    Args:
        device: Its number, which can only be 0.
    """

    def __init__(self, device: int | Device = 0) -> None:
        self.id: int = device.id if isinstance(device, Device) else int(device)
        if self.id != 0:
            raise faults.CUDARuntimeError("cudaErrorInvalidDevice: invalid device ordinal")

    @property
    def attributes(self) -> dict[str, int]:
        """The device's properties by CuPy's names, in the size of an sm_80 device."""
        return dict(_ATTRIBUTES)

    @property
    def compute_capability(self) -> str:
        """Always ``"80"``: what ``__CUDA_ARCH__`` says, too."""
        return "80"

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes of memory free and in total, as a device of 16 GiB would have them."""
        total = 16 << 30
        return total - memory.get_default_memory_pool().used_bytes(), total

    def use(self) -> Device:
        """Make this the current device, which it is."""
        return self

    def synchronize(self) -> None:
        """Return at once: a launch returns when it has finished."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"


class Stream:
    """A queue of work, always empty; a look-alike of ``cupy.cuda.Stream``.

    Args:
        null: Whether to make another handle of the null stream.
        non_blocking: Whether it does not wait for the null stream.
        ptds: Not supported.
    """

    null: Stream
    _count = 0

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.non_blocking = non_blocking
        if not null:
            Stream._count += 1
        self.ptr = 0 if null else 0x5EED0000 + Stream._count
        self.device_id = 0

    def use(self) -> Stream:
        """Make this the current stream."""
        _current_streams()[-1] = self
        return self

    def synchronize(self) -> None:
        """Return at once: a launch returns when it has finished."""

    @property
    def done(self) -> bool:
        """Whether all work is finished, which it is."""
        return True

    def record(self, event: Event | None = None) -> Event:
        """Record an event (a new one without argument) and return it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Return at once: what was recorded is finished."""

    def __enter__(self) -> Stream:
        _current_streams().append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _current_streams().pop()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return hash(self.ptr)

    def __repr__(self) -> str:
        return f"<Stream {self.ptr:#x} (device 0)>"


Stream.null = Stream(null=True)
_thread = threading.local()


def _current_streams() -> list[Stream]:
    """Return this Python thread's current stream, behind those it will go back to."""
    if not hasattr(_thread, "streams"):
        _thread.streams = [Stream.null]
    streams: list[Stream] = _thread.streams
    return streams


def get_current_stream(device_id: int | None = None) -> Stream:
    """Return the stream that launches go to."""
    return _current_streams()[-1]


class Event:
    """A point in time; a look-alike of ``cupy.cuda.Event``.

    Args:
        block: No effect, like the others.
        disable_timing: Whether the event holds no time.
        interprocess: No effect.
    """

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        self._disable_timing = disable_timing
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Take the time."""
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Return at once: what was recorded is finished."""

    @property
    def done(self) -> bool:
        """Whether the event has happened, which it has."""
        return True


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the milliseconds between two recorded events."""
    if start_event._time is None or end_event._time is None:
        raise faults.CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    if start_event._disable_timing or end_event._disable_timing:
        raise faults.CUDARuntimeError("cudaErrorInvalidResourceHandle: invalid resource handle")
    return (end_event._time - start_event._time) * 1000.0


def is_available() -> bool:
    """Return True: there is always a CPU."""
    return True


def _get_device_properties(device: int) -> dict[str, Any]:
    Device(device)
    return {
        "name": f"gpunet emulator on {platform.machine()}".encode(),
        "major": 8,
        "minor": 0,
        "multiProcessorCount": _ATTRIBUTES["MultiProcessorCount"],
        "maxThreadsPerBlock": _ATTRIBUTES["MaxThreadsPerBlock"],
        "maxThreadsPerMultiProcessor": _ATTRIBUTES["MaxThreadsPerMultiProcessor"],
        "sharedMemPerBlock": _ATTRIBUTES["MaxSharedMemoryPerBlock"],
        "sharedMemPerBlockOptin": _ATTRIBUTES["MaxSharedMemoryPerBlockOptin"],
        "warpSize": _ATTRIBUTES["WarpSize"],
        "totalGlobalMem": 16 << 30,
    }


#: The look-alike of ``cupy.cuda.runtime``.
runtime = SimpleNamespace(
    CUDARuntimeError=faults.CUDARuntimeError,
    getDevice=lambda: 0,
    getDeviceCount=lambda: 1,
    getDeviceProperties=_get_device_properties,
    runtimeGetVersion=lambda: 12090,
    driverGetVersion=lambda: 12090,
    deviceSynchronize=lambda: None,
    setDevice=lambda device: Device(device) and None,
    is_hip=False,
)
#: The look-alike of ``cupy.cuda.driver``.
driver = SimpleNamespace(CUDADriverError=faults.CUDADriverError)
#: The look-alike of ``cupy.cuda.compiler``.
compiler = SimpleNamespace(CompileException=faults.CompileException)
