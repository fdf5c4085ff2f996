"""Ops run on the emulator while every access to memory is counted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpunet.backend.contract import OPS
from gpunet.backend.cuda import CudaBackend
from gpunet.emulator import record_accesses
from gpunet.inspection.counters import Counts, count
from gpunet.testing.enlarged import enlarged
from gpunet.testing.op_checks import Case, Values

ELEMENTS = 2**18  # of a matrix: on the emulator's 4 multiprocessors what 8.6 million are on 132
COLUMNS = 1024
PRODUCT = 256


@dataclass(frozen=True)
class Launch:
    """A kernel's symbol, and how many threads and bytes of dynamic shared memory a block had."""

    kernel: str
    threads: int
    shared: int


@dataclass(frozen=True)
class Measured:
    """What one call of an op did, against what its contract says that it must do.

    Attributes:
        launches: the kernels, in order.
        counts: what its launches did.
        least_bytes: those of the arrays that it reads, plus those of the arrays that it writes.
    """

    launches: tuple[Launch, ...]
    counts: Counts
    least_bytes: int

    @property
    def touched(self) -> float:
        """Bytes of memory that were touched at all, for each byte that had to be."""
        return self.counts.touched / self.least_bytes

    @property
    def moved(self) -> float:
        """Bytes that were asked for, repeated ones too, for each byte that had to be."""
        return self.counts.moved / self.least_bytes

    @property
    def sectors(self) -> float:
        """Bytes that travelled in whole sectors, for each byte that had to."""
        return self.counts.sectors * 32 / self.least_bytes


def measure(
    backend: CudaBackend,
    case: Case,
    call: Values,
    *,
    elements: int = ELEMENTS,
    columns: int = COLUMNS,
    product: int = PRODUCT,
    dtype: str = "float32",
) -> Measured:
    """Make a call of the table of op cases, with larger arrays, and count.

    Args:
        backend: the emulator.
        case: the op's row in the table.
        call: one of its calls.
        elements: of a matrix or a flat buffer.
        columns: of a matrix.
        product: rows and columns of the factors of a product.
        dtype: what the contract's ``real`` is.
    """
    op, attributes = OPS[case.op], case.attributes(call)
    arrays = enlarged(
        op,
        case.arrays(call, dtype),
        attributes,
        elements=elements,
        columns=columns,
        product=product,
    )
    on_device = [
        backend.from_numpy(arrays[p.name]) if p.name in arrays else None for p in op.parameters
    ]
    with record_accesses() as traces:
        backend.ops[case.op](*on_device, **attributes)
    launches = tuple(
        Launch(trace.name, math.prod(trace.block), trace.dynamic_shared()) for trace in traces
    )
    return Measured(launches, count(traces), op.least_bytes(on_device, attributes))


def variants(case: Case) -> list[Values]:
    """The first call of each set of arrays (by name, rank and dtype) that is tried on an op."""
    found: dict[tuple[object, ...], Values] = {}
    for call in case.calls:
        arrays = case.arrays(call, "float32")
        if all(array.size for array in arrays.values()):
            key = tuple((name, a.ndim, a.dtype.name) for name, a in sorted(arrays.items()))
            found.setdefault(key, call)
    return list(found.values())
