"""What a launch may touch, and what its arrays are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator import memory
from gpunet.emulator.array import ndarray
from gpunet.emulator.module import Kernel, Parameter
from gpunet.emulator.pointers import MemoryPointer

#: A stretch of memory in the layout of Region (runtime/memory_map.h).
REGION = np.dtype(
    [("begin", np.uint64), ("end", np.uint64), ("writable", np.uint32), ("shared", np.uint32)]
)


@dataclass(frozen=True)
class Stretch:
    """Memory that belongs to one array.

    Attributes:
        name: What the source calls it, with quotes; "" for what no array is.
        begin: Its first address.
        end: The address behind its last byte.
        dtype: Its elements, where they are known.
        writable: Whether the kernel may write to it.
        shared: Whether it is shared memory.
    """

    name: str
    begin: int
    end: int
    dtype: np.dtype[Any] | None = None
    writable: bool = True
    shared: bool = False

    def place(self, address: int) -> str:
        """Describe an address inside: ``'x'[3]``, or ``byte 12 of 'x'``."""
        offset = address - self.begin
        if self.dtype is not None and offset % self.dtype.itemsize == 0:
            return f"{self.name}[{offset // self.dtype.itemsize}]"
        return f"byte {offset} of {self.name}"


@dataclass(frozen=True)
class Given:
    """What is known of a pointer that a kernel was given; it keeps no memory.

    Attributes:
        name: The parameter's name, with quotes.
        begin: The address.
        end: The address behind the last byte; 0 if that is unknown.
        dtype: What the array holds, if it is one.
        writable: Whether the kernel may write there.
    """

    name: str
    begin: int
    end: int
    dtype: np.dtype[Any] | None
    writable: bool


def given(parameters: Sequence[Parameter], arguments: Sequence[Any]) -> tuple[Given, ...]:
    """Describe the arguments that are pointers."""
    found = []
    for number, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        if not parameter.is_pointer or argument is None:
            continue
        name = f"'{parameter.name}'" if parameter.name else f"argument {number}"
        begin, end, dtype = 0, 0, None
        if isinstance(argument, ndarray):
            begin, end = _extent(argument)
            dtype = argument.dtype
        else:
            begin = argument.ptr if isinstance(argument, MemoryPointer) else int(argument)
        found.append(Given(name, begin, end, dtype, not parameter.is_const))
    return tuple(found)


class Regions:
    """All that one launch may touch.

    An array of which the kernel gets a view may be touched within the view only. A kernel may find
    pointers in memory, too: if an argument can hold some, every allocation is allowed.

    Args:
        kernel: The kernel.
        known: Its arguments that are pointers.
        shared_mem: Bytes of dynamic shared memory.
    """

    def __init__(self, kernel: Kernel, known: Sequence[Given], shared_mem: int) -> None:
        self.allocations = memory.allocations()
        stretches = [stretch for one in known for stretch in self._of_argument(one)]
        self.arguments = _merged(stretches)
        if any(p.is_pointer and p.dtype == "" for p in kernel.parameters):
            self.arguments = _with_others(self.arguments, self.allocations)
        info = kernel.module.info
        self.dynamic_begin: int = info.dynamic_shared
        self.shared = [
            Stretch(f"shared '{name}'", begin, end, shared=True)
            for name, begin, end in kernel.module.shared_variables
        ]
        dynamic_end = info.dynamic_shared + shared_mem
        self.shared.append(
            Stretch("dynamic shared memory", info.dynamic_shared, dynamic_end, shared=True)
        )
        # The rest of the module: tables in constant memory, __device__ variables.
        holes = sorted([(info.shared_begin, info.shared_end), (info.dynamic_shared, 0)])
        begin, image = info.image_begin, []
        for first, end in holes:
            image.append(Stretch("", begin, first))
            begin = end or first + _DYNAMIC_SHARED
        image.append(Stretch("", begin, info.image_end))
        everything = [s for s in self.arguments + self.shared + image if s.end > s.begin]
        rows = [(s.begin, s.end, s.writable, s.shared) for s in everything]
        self.table: npt.NDArray[Any] = np.array(sorted(rows), REGION)

    def _of_argument(self, one: Given) -> list[Stretch]:
        if one.end > one.begin:
            return [Stretch(one.name, one.begin, one.end, one.dtype, one.writable)]
        for begin, size in self.allocations.items():
            if one.end == 0 and begin <= one.begin < begin + size:
                return [Stretch(one.name, begin, begin + size, None, one.writable)]
        return []

    def find(self, address: int) -> Stretch | None:
        """Return the array that holds an address."""
        for stretch in self.arguments + self.shared:
            if stretch.begin <= address < stretch.end:
                return stretch
        return None

    def place(self, address: int) -> str:
        """Describe an address that may be touched."""
        stretch = self.find(address)
        return f"{address:#x}" if stretch is None else stretch.place(address)

    def surroundings(self, address: int, size: int) -> str:
        """Describe where an address lies that is in no array, or not with all its bytes."""
        if address < 4096:
            return "at a null pointer" + (f" + {address} bytes" if address else "")
        in_shared = self.dynamic_begin <= address < self.dynamic_begin + _DYNAMIC_SHARED
        if in_shared or any(abs(address - s.begin) < 1 << 16 for s in self.shared):
            candidates = self.shared
        else:
            candidates = self.arguments
        where = [_distance(s, address, size) for s in candidates if s.end > s.begin]
        distance, text = min(where, default=(1 << 63, ""))
        for begin, length in memory.freed().items():
            if begin <= address < begin + length:
                return f"inside of an array of {length} bytes that has been freed"
        for begin, length in self.allocations.items():
            if begin <= address < begin + length:
                if any(begin <= s.begin < begin + length for s in self.arguments):
                    return f"{text}, inside of the array that it is a view of"
                return "inside of an array that is no argument"
        if distance < 1 << 32:
            return text
        return f"at the address {address:#x}, where no array is"


_DYNAMIC_SHARED = 232448 + 256  # include/emulator/abi.h


def _extent(array: ndarray) -> tuple[int, int]:
    """Return the lowest address of an array's elements, and the one behind the highest."""
    begin = array.data.ptr
    if array.size == 0:
        return begin, begin
    reach = [(n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True)]
    low, high = sum(r for r in reach if r < 0), sum(r for r in reach if r > 0)
    return begin + low, begin + high + array.itemsize


def _merged(stretches: list[Stretch]) -> list[Stretch]:
    """Sort, and make one of those that share memory."""
    merged: list[Stretch] = []
    for s in sorted(stretches, key=lambda s: (s.begin, s.end)):
        if merged and s.begin < merged[-1].end:
            last = merged.pop()
            name = last.name if s.name in last.name.split(" = ") else f"{last.name} = {s.name}"
            dtype = last.dtype if last.dtype == s.dtype else None
            end, writable = max(last.end, s.end), last.writable or s.writable
            s = Stretch(name, last.begin, end, dtype, writable)
        merged.append(s)
    return merged


def _with_others(arguments: list[Stretch], allocations: dict[int, int]) -> list[Stretch]:
    """Add the allocations that no argument lies in."""
    others = [
        Stretch("an array", begin, begin + size)
        for begin, size in allocations.items()
        if not any(begin <= s.begin < begin + size for s in arguments)
    ]
    return sorted([*arguments, *others], key=lambda s: s.begin)


def _distance(stretch: Stretch, address: int, size: int) -> tuple[int, str]:
    length = stretch.end - stretch.begin
    of = f"{stretch.name} ({length} bytes)"
    if address < stretch.begin:
        before = stretch.begin - address
        return before, f"{before} bytes before the start of {of}"
    if address < stretch.end:
        return 0, f"{address + size - stretch.end} of them past the end of {of}"
    past = address - stretch.end
    return past, f"{past} bytes past the end of {of}"
