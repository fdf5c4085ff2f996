"""What a kernel did with memory, access by access: the raw material of counters."""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator import build

READS, WRITES, ATOMIC, VOLATILE, IN_PARTS = 1, 2, 4, 8, 16

#: One access, in the layout of TraceRecord (runtime/trace.h).
RECORD = np.dtype(
    [
        ("address", np.uint64),
        ("code", np.uint64),
        ("block", np.uint32),
        ("size", np.uint32),
        ("thread", np.uint16),
        ("kind", np.uint8),
    ],
    align=True,
)


@dataclass(frozen=True)
class Trace:
    """The accesses of one launch, in the order in which they happened.

    Attributes:
        name: The kernel's name.
        grid: Blocks along x, y and z.
        block: Threads along x, y and z.
        records: An array with the fields of `RECORD`: ``address``, ``size`` in bytes, ``kind`` (a
            sum of `READS`, `WRITES`, ...), ``block`` and ``thread`` by number, x fastest, and
            ``code``, which is the same wherever it is the same place in the compiled kernel.
        source_line: Function that returns ``file:line`` of a ``code``.
        shared: Where its shared memory lies, as ranges of addresses (begin, end): what the source
            declares with a size, and what the launch gave.
        image: Where the compiled kernel itself lies, with its constants.
    """

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    records: npt.NDArray[Any]
    source_line: Callable[[int], str]
    shared: tuple[tuple[int, int], tuple[int, int]]
    image: tuple[int, int]

    def is_shared(self) -> npt.NDArray[np.bool_]:
        """Return which records are accesses to shared memory."""
        fixed, dynamic = self.shared
        return self._within(*fixed) | self._within(*dynamic)

    def is_global(self) -> npt.NDArray[np.bool_]:
        """Return which records are accesses to global memory."""
        return ~(self.is_shared() | self._within(*self.image))

    def dynamic_shared(self) -> int:
        """Return how many bytes of shared memory the launch gave to each block."""
        begin, end = self.shared[1]
        return end - begin

    def _within(self, begin: int, end: int) -> npt.NDArray[np.bool_]:
        address = self.records["address"]
        return np.asarray((begin <= address) & (address < end))


_traces: ContextVar[list[Trace] | None] = ContextVar("_traces", default=None)


@contextlib.contextmanager
def record_accesses() -> Iterator[list[Trace]]:
    """Collect every access of the kernels launched inside of the ``with`` block.

    They are compiled with the checked profile. An access takes 32 bytes here, and is not recorded
    if it goes to the thread's own local variables.

    Example:
        >>> from gpunet.emulator import cupy as cp, record_accesses
        >>> twice = cp.RawKernel(
        ...     'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }', "twice"
        ... )
        >>> x = cp.arange(3, dtype=cp.float32)
        >>> with record_accesses() as traces:
        ...     twice((1,), (3,), (x,))
        >>> (traces[0].records["address"] - x.data.ptr).tolist()
        [0, 0, 4, 4, 8, 8]
        >>> traces[0].records["kind"].tolist()
        [1, 2, 1, 2, 1, 2]
    """
    traces: list[Trace] = []
    before = _traces.set(traces)
    try:
        with build.use_profile("checked"):
            yield traces
    finally:
        _traces.reset(before)


def current() -> list[Trace] | None:
    """Return the list that launches are to add to, if any."""
    return _traces.get()


def read(runtime: ctypes.CDLL) -> npt.NDArray[Any]:
    """Return a copy of what the runtime recorded in its last launch."""
    count = ctypes.c_uint64()
    runtime.gpunet_emulator_trace.restype = ctypes.c_void_p
    address = runtime.gpunet_emulator_trace(ctypes.byref(count))
    if not count.value:
        return np.empty(0, RECORD)
    raw = ctypes.string_at(address, count.value * RECORD.itemsize)
    return np.frombuffer(raw, RECORD)
