"""The look-alike of ``cupy.cuda``: one device, and the names of CuPy's submodules."""

from __future__ import annotations

from types import SimpleNamespace

from gpunet.emulator import cudart as runtime
from gpunet.emulator import faults, queues
from gpunet.emulator.graph import Graph
from gpunet.emulator.memory import Memory, MemoryPool
from gpunet.emulator.pinned import (
    PinnedMemory,
    PinnedMemoryPointer,
    PinnedMemoryPool,
    alloc_pinned_memory,
)
from gpunet.emulator.pointers import MemoryPointer
from gpunet.emulator.streams import Event, Stream, get_current_stream, get_elapsed_time

__all__ = [
    "Device",
    "Event",
    "Graph",
    "Memory",
    "MemoryPointer",
    "MemoryPool",
    "PinnedMemory",
    "PinnedMemoryPointer",
    "PinnedMemoryPool",
    "Stream",
    "alloc",
    "alloc_pinned_memory",
    "compiler",
    "driver",
    "get_current_stream",
    "get_elapsed_time",
    "is_available",
    "runtime",
]


class Device:
    """The emulated device; a look-alike of ``cupy.cuda.Device``.

    Args:
        device: Its number; only 0 can be used.
    """

    def __init__(self, device: int | Device | None = None) -> None:
        self.id = 0 if device is None else int(device)

    @property
    def attributes(self) -> dict[str, int]:
        """The device's properties by CuPy's names, in the size of an sm_80 device."""
        self.use()
        return dict(runtime.ATTRIBUTES)

    @property
    def compute_capability(self) -> str:
        """Always ``"80"``: what ``__CUDA_ARCH__`` says, too."""
        return "80"

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes of memory free and in total, as a device of 16 GiB would have them."""
        return runtime.memGetInfo()

    def use(self) -> Device:
        """Make this the current device, which it is.

        Raises:
            CUDARuntimeError: It is not number 0.
        """
        runtime.setDevice(self.id)
        return self

    def synchronize(self) -> None:
        """Let the host wait for all work on the device."""
        self.use()
        queues.wait_for_all("Device.synchronize")

    def __enter__(self) -> Device:
        return self.use()

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


def alloc(size: int) -> MemoryPointer:
    """Return new device memory, full of poison until it is written."""
    return MemoryPointer(Memory(size), 0)


def is_available() -> bool:
    """Return True: there is always a CPU."""
    return True


#: The look-alike of ``cupy.cuda.driver``.
driver = SimpleNamespace(CUDADriverError=faults.CUDADriverError)
#: The look-alike of ``cupy.cuda.compiler``.
compiler = SimpleNamespace(CompileException=faults.CompileException)
