"""The command ``kernels``: what each op's kernels do with memory and compile to, in one table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import Any

from gpunet.backend import backend_named
from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.device import THREADS
from gpunet.backend.cuda.kernels import ELEMENT_TYPES, source_of
from gpunet.errors import BackendUnavailable, MissingDependency
from gpunet.inspection.code import KernelCode, inspect_source
from gpunet.inspection.measure import COLUMNS, ELEMENTS, PRODUCT, Launch, Measured, measure
from gpunet.inspection.toolkit import ARCHITECTURES, Toolkit
from gpunet.testing.cases import CASES
from gpunet.testing.enlarged import largest_call

_DEFAULT_ARCHITECTURES = (80, 90, 100, 120)
_NOT_COUNTED = " " * 58
_DESCRIPTION = f"""
What the kernels do with memory, counted on the emulator, and what NVIDIA's compiler makes of them;
neither needs a GPU. Every op runs on matrices of {ELEMENTS} elements with {COLUMNS} columns, or
products of {PRODUCT} x {PRODUCT} matrices. touched, moved and sectors are bytes for each byte that
the op must read or write: those of memory touched at all, those asked for (repeated ones too), and
those that travel in sectors of 32 bytes. coal: the share of the sectors that had to be moved. wide:
the share of bytes in 16-byte accesses. banks: passes over shared memory for each that is needed.
regs: registers a thread. occ: the share of a multiprocessor's warps that its
blocks can fill. LDG and STG: loads and stores of 16 bytes in the code.
"""


def add_kernels(commands: Any) -> None:
    """Add the command to those of ``python -m gpunet``."""
    parser = commands.add_parser(
        "kernels",
        help="what each kernel does with memory and compiles to, without a GPU",
        description=_DESCRIPTION,
    )
    parser.add_argument("ops", nargs="*", metavar="OP", help="the ops; by default all")
    parser.add_argument(
        "--sm",
        type=int,
        nargs="+",
        choices=ARCHITECTURES,
        default=_DEFAULT_ARCHITECTURES,
        help="compute capabilities times ten to compile for",
    )
    parser.add_argument(
        "--type", choices=ELEMENT_TYPES, default="float32", help="the element type to compile for"
    )

    def run(chosen: argparse.Namespace) -> int:
        for name in chosen.ops:
            if name not in CASES:
                parser.error(f"there is no op {name!r}; there are {', '.join(CASES)}")
        return kernels(chosen.ops, tuple(chosen.sm), chosen.type)

    parser.set_defaults(run=run)


def kernels(
    names: Iterable[str] = (),
    architectures: tuple[int, ...] = _DEFAULT_ARCHITECTURES,
    element_type: str = "float32",
) -> int:
    """Print the table and return the exit status: 1 if half of it is missing, else 0.

    Args:
        names: the ops; all if there are none.
        architectures: what to compile for.
        element_type: of the compiled kernels.
    """
    missing: list[str] = []
    backend = _emulator(missing)
    compiled = _Compiled(_toolkit(missing), element_type, architectures)
    for line in (_heading(architectures), *_lines(list(names), backend, compiled)):
        print(line.rstrip(), flush=True)
    for sentence in missing:
        print(f"\n{sentence}")
    return 1 if missing else 0


def _emulator(missing: list[str]) -> CudaBackend | None:
    try:
        backend = backend_named("emulator")
    except BackendUnavailable as error:
        missing.append(str(error))
        return None
    return backend if isinstance(backend, CudaBackend) else None


def _toolkit(missing: list[str]) -> Toolkit | None:
    try:
        return Toolkit()
    except MissingDependency as error:
        missing.append(str(error))
        return None


class _Compiled:
    """Compiled kernels by symbol; each source is compiled when a kernel of it is asked for."""

    def __init__(
        self, toolkit: Toolkit | None, element_type: str, architectures: tuple[int, ...]
    ) -> None:
        self._toolkit = toolkit
        self._element_type = element_type
        self.architectures = architectures
        self._sources: dict[str, dict[str, list[KernelCode]]] = {}

    def of_source(self, source: str) -> dict[str, list[KernelCode]]:
        """The kernels of a file by symbol, one entry for each architecture."""
        if self._toolkit is None:
            return {}
        if source not in self._sources:
            found = self._sources[source] = {}
            for architecture in self.architectures:
                for kernel in inspect_source(
                    self._toolkit, source, self._element_type, architecture
                ):
                    found.setdefault(kernel.name, []).append(kernel)
        return self._sources[source]


def _heading(architectures: tuple[int, ...]) -> str:
    numbers = "".join(f"{architecture:>5}" for architecture in architectures)
    width = 5 * len(architectures)
    return (
        f"{'':<32}{'':>8}{'bytes for each that must be':>26}{'':>24}"
        f"{'regs':>{width}}{'occ %':>{width}}{'LDG.128':>{width + 2}}{'STG.128':>{width + 2}}\n"
        f"{'kernel':<32}{'launches':>8}{'touched':>9}{'moved':>8}{'sectors':>9}"
        f"{'coal %':>8}{'wide %':>8}{'banks':>8}"
        f"{numbers}{numbers}  {numbers}  {numbers}"
    )


def _lines(names: list[str], backend: CudaBackend | None, compiled: _Compiled) -> Iterator[str]:
    for case in CASES.values():
        if names and case.op not in names:
            continue
        if backend is None:
            counts, launches = _NOT_COUNTED, [Launch(case.op, THREADS, 0)]
        else:
            measured = measure(backend, case, largest_call(case))
            counts = _counts(measured)
            launches = list(dict.fromkeys(measured.launches))
        of_source = compiled.of_source(source_of(case.op))
        for number, launch in enumerate(launches):
            line = f"{launch.kernel:<32}{_NOT_COUNTED if number else counts}"
            yield line + _code(of_source.get(launch.kernel, []), launch)


def _counts(measured: Measured) -> str:
    counts = measured.counts
    return (
        f"{len(measured.launches):>8}{measured.touched:>9.2f}{measured.moved:>8.2f}"
        f"{measured.sectors:>9.2f}{counts.coalescing:>8.0%}{counts.wide_share:>8.0%}"
        f"{counts.bank_conflicts:>8.2f}"
    )


def _code(kernels: list[KernelCode], launch: Launch) -> str:
    columns = (
        "".join(f"{kernel.registers:>5}" for kernel in kernels),
        "".join(f"{k.occupancy(launch.threads, launch.shared):>5.0%}" for k in kernels),
        "  " + "".join(f"{kernel.wide('LDG'):>5}" for kernel in kernels),
        "  " + "".join(f"{kernel.wide('STG'):>5}" for kernel in kernels),
    )
    faults = [fault for kernel in kernels for fault in kernel.faults()]
    return "".join(columns) + "".join(f"\n    {fault}" for fault in faults)
