"""The boundary to compiled code: `include/emulator/abi.h` in ctypes, loading and launching."""

from __future__ import annotations

import ctypes
import functools
import itertools
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunet.emulator import build
from gpunet.emulator.faults import KernelFault

# Observers of a launch; runtime.cpp has the same numbers.
WITH_TRACE = 1
#: A kernel's arguments lie at multiples of so many bytes.
SLOT = 8


class _Index(ctypes.Structure):
    _fields_ = (("x", ctypes.c_uint32), ("y", ctypes.c_uint32), ("z", ctypes.c_uint32))

    def __str__(self) -> str:
        return f"({self.x}, {self.y}, {self.z})"


class _ArgumentInfo(ctypes.Structure):
    _fields_ = (
        ("dtype", ctypes.c_char_p),
        ("size", ctypes.c_int),
        ("pointee_size", ctypes.c_int),
        ("is_pointer", ctypes.c_int),
    )


class _KernelInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(_ArgumentInfo)),
        ("argument_count", ctypes.c_int),
        ("max_threads", ctypes.c_int),
    )


class _ModuleInfo(ctypes.Structure):
    _fields_ = (
        ("api", ctypes.POINTER(ctypes.c_void_p)),
        *((name, ctypes.c_void_p) for name in ("thread", "block", "block_dim", "grid_dim")),
        *((name, ctypes.c_void_p) for name in ("shared_begin", "shared_end", "dynamic_shared")),
        *((name, ctypes.c_void_p) for name in ("image_begin", "image_end")),
        ("kernels", ctypes.POINTER(_KernelInfo)),
        ("kernel_count", ctypes.c_int),
    )


class _Fault(ctypes.Structure):
    _fields_ = (
        ("message", ctypes.c_char * 2048),
        ("block", _Index),
        ("thread", _Index),
        ("has_thread", ctypes.c_int),
        ("address", ctypes.c_void_p),
        ("code", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Parameter:
    """What a kernel takes at one place.

    Attributes:
        dtype: NumPy's name of the scalar type or of what the pointer's elements consist of;
            ``"bfloat16"``, ``"void"``, or ``""`` for a type that is the user's own.
        size: Bytes of the argument itself.
        pointee_size: Bytes of what a pointer points to.
        is_pointer: Whether it is a pointer.
    """

    dtype: str
    size: int
    pointee_size: int
    is_pointer: bool

    def __str__(self) -> str:
        name = self.dtype or f"struct of {self.pointee_size or self.size} bytes"
        return f"pointer to {name}" if self.is_pointer else name


class Kernel:
    """A compiled kernel.

    Attributes:
        module: What it is part of.
        name: Its name, or the name expression it was compiled for.
        parameters: What it takes.
        max_threads: Its ``__launch_bounds__``, or 0.
    """

    def __init__(self, module: Module, info: _KernelInfo) -> None:
        self.module = module
        self._info = info
        self.name: str = info.name.decode()
        self.max_threads: int = info.max_threads
        self.parameters = tuple(
            Parameter(a.dtype.decode(), a.size, a.pointee_size, bool(a.is_pointer))
            for a in info.arguments[: info.argument_count]
        )
        slots = (-(-parameter.size // SLOT) * SLOT for parameter in self.parameters)
        self._offsets = (0, *itertools.accumulate(slots))[:-1]

    def run(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        arguments: bytes,
        shared_mem: int,
        *,
        observers: int = 0,
        seed: int = 0,
    ) -> Crash | None:
        """Run the whole grid.

        Args:
            grid: Blocks along x, y and z.
            block: Threads along x, y and z.
            arguments: The values, each at a multiple of `SLOT` bytes.
            shared_mem: Bytes of dynamic shared memory.
            observers: Who watches: a sum of ``WITH_...``.
            seed: Of the order of blocks and threads; 0 is one after another.

        Returns:
            None, or what stopped it.
        """
        values = ctypes.create_string_buffer(arguments, len(arguments) + SLOT)
        base = ctypes.addressof(values)
        pointers = (ctypes.c_void_p * (len(self.parameters) + 1))(
            *(base + offset for offset in self._offsets)
        )
        fault = _Fault()
        device = self.module.runtime
        # One device runs one grid at a time. ctypes lets other Python threads go on meanwhile.
        with _device_lock:
            failed = device.gpunet_emulator_launch(
                ctypes.byref(self.module.info),
                ctypes.byref(self._info),
                pointers,
                ctypes.byref(_Index(*grid)),
                ctypes.byref(_Index(*block)),
                ctypes.c_uint(shared_mem),
                ctypes.byref(fault),
                ctypes.c_uint(observers),
                ctypes.c_uint64(seed),
            )
            printed = device.gpunet_emulator_printed()
        if printed:
            sys.stdout.write(printed.decode(errors="replace"))
        return Crash(self.module, fault) if failed else None


class Crash:
    """What stopped a kernel.

    Attributes:
        message: What happened.
        address: The address of a bad memory access, or None.
    """

    def __init__(self, module: Module, fault: _Fault) -> None:
        self.message: str = fault.message.decode(errors="replace")
        self.address: int | None = fault.address
        if self.address is None and self.message.startswith("illegal memory"):
            self.address = 0  # ctypes reads a null pointer as None
        self._place = f"block {fault.block}"
        if fault.has_thread:
            self._place += f", thread {fault.thread}"
        line = module.source_line(fault.code) if fault.code else ""
        if line:
            self._place += f", {line}"

    def __str__(self) -> str:
        return f"{self.message} [{self._place}]"


class Module:
    """A compiled module, loaded.

    Args:
        library: The shared library that `build.compile_module` made.
    """

    def __init__(self, library: Path) -> None:
        self._path = library
        self._lines: dict[int, str] = {}
        self._library = ctypes.CDLL(str(library))
        describe = self._library.gpunet_emulator_module
        describe.restype = ctypes.POINTER(_ModuleInfo)
        self.info: _ModuleInfo = describe().contents
        self.runtime = runtime()
        self.info.api[0] = self.runtime.gpunet_emulator_api()
        described = self.info.kernels[: self.info.kernel_count]
        self.kernels = {kernel.name: kernel for kernel in (Kernel(self, k) for k in described)}

    def shared_memory(self, dynamic: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return where shared memory lies: what the source declares, and ``dynamic`` bytes."""
        begin = self.info.dynamic_shared or 0
        return (self.info.shared_begin or 0, self.info.shared_end or 0), (begin, begin + dynamic)

    def image(self) -> tuple[int, int]:
        """Return where the module lies, with its constants."""
        return self.info.image_begin or 0, self.info.image_end or 0

    def access_line(self, code: int) -> str:
        """Return ``file:line`` of an access, given the ``code`` that the runtime has of it."""
        return self.source_line(code - 1)  # the instruction before the return address

    def source_line(self, address: int) -> str:
        """Return ``file:line`` of an instruction, or "" where binutils are missing."""
        if address not in self._lines:
            self._lines[address] = self._find_line(address)
        return self._lines[address]

    def _find_line(self, address: int) -> str:
        tool = shutil.which("addr2line")
        start = _load_address(self._path)
        if tool is None or start is None:
            return ""
        command = [tool, "-e", str(self._path), "-i", hex(address - start)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        for line in result.stdout.splitlines():
            place = line.partition(" (")[0]
            if not place.startswith("?") and "/emulator/" not in place and not place.endswith("?"):
                return place.rpartition("/")[2]
        return ""


def _load_address(library: Path) -> int | None:
    """Return where a loaded library begins in memory."""
    try:
        maps = Path("/proc/self/maps").read_text()
    except OSError:
        return None
    regions = [line for line in maps.splitlines() if line.endswith(str(library))]
    return min((int(region.partition("-")[0], 16) for region in regions), default=None)


_device_lock = threading.Lock()


def runtime() -> ctypes.CDLL:
    """Return the runtime of the build profile in use."""
    return _runtime(build.profile().name)


@functools.cache
def _runtime(profile: str) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build.compile_runtime()))
    library.gpunet_emulator_api.restype = ctypes.c_void_p
    library.gpunet_emulator_printed.restype = ctypes.c_char_p
    return library


def load(
    code: str, options: tuple[str, ...] = (), name_expressions: tuple[str, ...] = ()
) -> Module:
    """Compile a source, if it is not in the cache, and load it."""
    library = build.compile_module(code, options, name_expressions)
    try:
        return Module(library)
    except OSError as error:
        raise KernelFault(
            f"the compiled module {library} cannot be loaded ({error}): delete it to build it anew."
        ) from error
