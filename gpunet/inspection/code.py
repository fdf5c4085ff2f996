"""What a kernel compiled to: the assembler's report and the instructions that touch memory."""

from __future__ import annotations

import functools
import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from gpunet.backend.cuda.kernels import element_type_options, find_kernels, flattened
from gpunet.inspection.occupancy import occupancy
from gpunet.inspection.toolkit import Toolkit

_ENTRY = re.compile(r"Compiling entry function '(\w+)'")
_STACK = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_SECTION = re.compile(r"\.section\s+\.text\.(\w+)")
_MEMORY = re.compile(r"\*/\s+(?:@!?\w+ )?((?:LD|ST)[GLS]?)((?:\.\w+)*) ")


class MachineCode:
    """What a file compiled to; its instructions are read when they are asked for."""

    def __init__(self, toolkit: Toolkit, cubin: bytes) -> None:
        self._toolkit = toolkit
        self._cubin = cubin

    @functools.cached_property
    def accesses(self) -> dict[str, Counter[tuple[str, int]]]:
        """The memory instructions of each kernel; the disassembler takes a quarter of a second."""
        return memory_accesses(self._toolkit.disassemble(self._cubin))


@dataclass(frozen=True)
class KernelCode:
    """One kernel, compiled for one architecture and element type.

    Attributes:
        name: the kernel's symbol.
        source: the file in kernels/, without ending.
        element_type: what ``real`` is, by its name in NumPy.
        architecture: the compute capability times ten.
        registers: a thread's.
        shared: bytes of shared memory whose size is fixed in the source.
        stack: bytes of stack a thread.
        spills: bytes that go to local memory and back, because registers ran out.
        code: the instructions of its file.
    """

    name: str
    source: str
    element_type: str
    architecture: int
    registers: int
    shared: int
    stack: int
    spills: int
    code: MachineCode = field(repr=False)

    @property
    def accesses(self) -> Counter[tuple[str, int]]:
        """How often each memory instruction stands in the code, by its name and width in bits.

        ("LDG", 128) loads 16 bytes from global memory, LDS from shared, LDL from local memory, LD
        from one of them; ST... stores.
        """
        return self.code.accesses[self.name]

    @property
    def local_accesses(self) -> int:
        """Instructions that touch local memory, which is global memory, one stretch a thread."""
        return sum(count for (name, _), count in self.accesses.items() if name in ("LDL", "STL"))

    def wide(self, name: str) -> int:
        """How many instructions of this name move 16 bytes or more."""
        return sum(count for (n, bits), count in self.accesses.items() if n == name and bits >= 128)

    def occupancy(self, threads: int, dynamic_shared: int = 0) -> float:
        """The share of a multiprocessor's warps that blocks of this kernel can fill."""
        return occupancy(self.architecture, threads, self.registers, self.shared + dynamic_shared)

    def faults(self) -> list[str]:
        """What no kernel may do, in words.

        Local memory is a thread's stack: where there is none, no instruction is looked at.
        """
        found = []
        if self.spills:
            found.append(f"spills {self.spills} bytes")
        if self.stack:
            found.append(f"has a stack of {self.stack} bytes a thread")
        if self.stack and self.local_accesses:
            found.append(f"touches local memory in {self.local_accesses} instructions")
        where = f"{self.name} of {self.source}.cu, {self.element_type}, sm_{self.architecture}"
        return [f"{where} {fault}" for fault in found]


def inspect_source(
    toolkit: Toolkit,
    source: str,
    element_type: str,
    architecture: int,
    text: str | None = None,
) -> list[KernelCode]:
    """Compile a file of kernels and say what became of each.

    Args:
        toolkit: the compiler.
        source: the file in kernels/, without ending.
        element_type: what ``real`` is to be, a key of `gpunet.backend.cuda.kernels.ELEMENT_TYPES`.
        architecture: the compute capability times ten.
        text: the source itself, if it is not one of kernels/.

    Returns:
        One entry a kernel, by name.

    Raises:
        KernelError: it does not compile, for instance because a name is unknown to NVRTC.
    """
    code = flattened(source) if text is None else text
    options = element_type_options(element_type)
    cubin, log = toolkit.compile(code, f"{source}.cu", options, architecture)
    machine_code = MachineCode(toolkit, cubin)
    return [
        KernelCode(
            name=name,
            source=source,
            element_type=element_type,
            architecture=architecture,
            registers=_number(_REGISTERS, report),
            shared=_number(_SHARED, report),
            stack=sum(int(stack) for stack, _, _ in _STACK.findall(report)),
            spills=sum(int(out) + int(back) for _, out, back in _STACK.findall(report)),
            code=machine_code,
        )
        for name, report in sorted(_reports(log))
    ]


def inspect_kernels(toolkit: Toolkit, element_type: str, architecture: int) -> list[KernelCode]:
    """Compile all files in kernels/, the longest first, as many at a time as there are processors.

    Raises:
        KernelError: one of them does not compile.
    """
    sources = [path.stem for path in find_kernels().glob("*.cu")]
    sources.sort(key=lambda source: len(flattened(source)), reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        files = pool.map(
            lambda source: inspect_source(toolkit, source, element_type, architecture), sources
        )
        return [kernel for file in files for kernel in file]


def _reports(log: str) -> Iterator[tuple[str, str]]:
    """Each kernel's name and its part of the assembler's report.

    Functions that a kernel calls, and does not contain, are reported behind it.
    """
    parts = _ENTRY.split(log)
    return zip(parts[1::2], parts[2::2], strict=True)


def _number(pattern: re.Pattern[str], text: str) -> int:
    match = pattern.search(text)
    return int(match[1]) if match else 0


def memory_accesses(listing: str) -> dict[str, Counter[tuple[str, int]]]:
    """Count the loads and stores in nvdisasm's listing, by function, instruction and width."""
    counts: dict[str, Counter[tuple[str, int]]] = {}
    current: Counter[tuple[str, int]] = Counter()
    for line in listing.splitlines():
        if section := _SECTION.search(line):
            current = counts[section[1]] = Counter()
        elif access := _MEMORY.search(line):
            current[access[1], _width(access[2])] += 1
    return counts


def _width(modifiers: str) -> int:
    """The bits of an access: 32, if the instruction does not say otherwise."""
    for modifier in modifiers.split("."):
        bits = modifier.lstrip("US")
        if bits in ("8", "16", "64", "128", "256"):
            return int(bits)
    return 32
