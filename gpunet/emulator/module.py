"""The boundary to compiled code: `include/emulator/abi.h` in ctypes, loading and launching."""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from gpunet.emulator import build
from gpunet.emulator.faults import KernelFault

# Observers of a launch; runtime.cpp has the same numbers.
WITH_TRACE, WITH_CHECKS = 1, 2
#: A kernel's arguments lie at multiples of so many bytes.
SLOT = 8

_SYMBOL = re.compile(r"(?P<address>[0-9a-f]+) (?P<size>[0-9a-f]+) \w (?P<name>.+)")


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
        ("is_const", ctypes.c_int),
    )


class _KernelInfo(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("call", ctypes.c_void_p),
        ("arguments", ctypes.POINTER(_ArgumentInfo)),
        ("argument_count", ctypes.c_int),
        ("argument_names", ctypes.c_char_p),
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
        ("kind", ctypes.c_int),
        ("access", ctypes.c_uint),
        ("size", ctypes.c_uint),
        ("other_code", ctypes.c_void_p),
        ("other_access", ctypes.c_uint),
        ("other_block", _Index),
        ("other_thread", _Index),
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
        is_const: Whether the kernel promises not to write through it.
        name: Its name in the source; ``""`` if it has none.
    """

    dtype: str
    size: int
    pointee_size: int
    is_pointer: bool
    is_const: bool = False
    name: str = ""

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
        names = info.argument_names.decode().split(",")
        self.parameters = tuple(
            Parameter(
                a.dtype.decode(), a.size, a.pointee_size, bool(a.is_pointer), bool(a.is_const), name
            )
            for a, name in zip(info.arguments[: info.argument_count], names, strict=False)
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
        regions: npt.NDArray[Any] | None = None,
    ) -> Crash | None:
        """Run the whole grid.

        Args:
            grid: Blocks along x, y and z.
            block: Threads along x, y and z.
            arguments: The values, each at a multiple of `SLOT` bytes.
            shared_mem: Bytes of dynamic shared memory.
            observers: Who watches: a sum of ``WITH_...``.
            seed: Of the order of blocks and threads; 0 is one after another.
            regions: What it may touch, in the layout of `regions.REGION`; for `WITH_CHECKS`.

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
            if regions is not None:
                device.gpunet_emulator_regions(ctypes.c_void_p(regions.ctypes.data), len(regions))
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


@dataclass(frozen=True)
class Actor:
    """Who did something, and where.

    Attributes:
        block: Its block.
        thread: Its thread; None if it was no single one.
        line: ``file:line``, or "" where binutils are missing.
        access: What it did to memory: a sum of `trace.READS` and the like.
    """

    block: str
    thread: str | None
    line: str
    access: int = 0

    def __str__(self) -> str:
        thread = [] if self.thread is None else [f"thread {self.thread}"]
        line = [self.line] if self.line else []
        return ", ".join([f"block {self.block}", *thread, *line])


class Crash:
    """What stopped a kernel.

    Attributes:
        message: What happened; "" if `kind` says it.
        kind: What the checks found (FaultKind in runtime/block.h), or 0.
        address: The address of a bad memory access, or None.
        size: How many bytes it was for.
        actor: Who did it.
        other: Of a race, who had done something there before.
    """

    def __init__(self, module: Module, fault: _Fault) -> None:
        self.message: str = fault.message.decode(errors="replace")
        self.kind: int = fault.kind
        self.size: int = fault.size
        self.address: int | None = fault.address
        if self.address is None and self.message.startswith("illegal memory"):
            self.address = 0  # ctypes reads a null pointer as None
        line = ""
        if fault.code:
            # The checks are called in front of the access: theirs is a return address.
            line = (module.access_line if self.kind else module.source_line)(fault.code)
        thread = str(fault.thread) if fault.has_thread else None
        self.actor = Actor(str(fault.block), thread, line, fault.access)
        self.other: Actor | None = None
        if fault.other_code:
            line = module.access_line(fault.other_code)
            place = (str(fault.other_block), str(fault.other_thread))
            self.other = Actor(*place, line, fault.other_access)

    def __str__(self) -> str:
        return f"{self.message} [{self.actor}]"


class Module:
    """A compiled module, loaded.

    Args:
        library: The shared library that `build.compile_module` made.

    Attributes:
        checks: Whether it is of the checked build.
        runtime: The library that runs it.
    """

    def __init__(self, library: Path) -> None:
        self._path = library
        self._lines: dict[int, str] = {}
        self._library = ctypes.CDLL(str(library))
        describe = self._library.gpunet_emulator_module
        describe.restype = ctypes.POINTER(_ModuleInfo)
        self.info: _ModuleInfo = describe().contents
        self.checks = build.profile().checks
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

    @functools.cached_property
    def shared_variables(self) -> tuple[tuple[str, int, int], ...]:
        """Name, address and end of each static ``__shared__`` variable; () without binutils."""
        tool, start = shutil.which("nm"), _load_address(self._path)
        if tool is None or start is None:
            return ()
        command = [tool, "-C", "-S", str(self._path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        found = []
        for line in result.stdout.splitlines():
            symbol = _SYMBOL.fullmatch(line)
            if symbol is None:
                continue
            address = start + int(symbol["address"], 16)
            if self.info.shared_begin <= address < self.info.shared_end:
                name = symbol["name"].rpartition("::")[2]
                found.append((name, address, address + int(symbol["size"], 16)))
        return tuple(sorted(found, key=lambda variable: variable[1]))

    def _find_line(self, address: int) -> str:
        tool = shutil.which("addr2line")
        start = _load_address(self._path)
        if tool is None or start is None:
            return ""
        command = [tool, "-e", str(self._path), "-i", hex(address - start)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        places = [line.partition(" (")[0] for line in result.stdout.splitlines()]
        # Innermost first: the function that the compiler inlined, where it was called, and so on.
        known = [p for p in places if "?" not in p and "/emulator/" not in p]
        lines = [place.rpartition("/")[2] for place in known]
        if not lines:
            return ""
        header = lines[0].partition(":")[0]
        callers = [line for line in lines if line.partition(":")[0] != header]
        if header.endswith((".cuh", ".h")) and callers:
            return f"{lines[0]} called at {callers[0]}"
        return lines[0]


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
