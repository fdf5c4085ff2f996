"""What the host did to the device: launches and waits, for tests that count them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class LaunchRecord:
    """One launch.

    Attributes:
        name: The kernel's name; "graph" for a captured graph, which is one launch.
        grid: Blocks along x, y and z; of a graph, its number of nodes.
        block: Threads along x, y and z.
        shared_mem: Bytes of dynamic shared memory.
        arguments: The bytes that the kernel got. A capture freezes them: whatever differs between
            two steps would keep its first value in every replay.
    """

    name: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_mem: int
    arguments: bytes = field(default=b"", repr=False)


class _Recorders:
    """Lists that are being filled."""

    def __init__(self) -> None:
        self.launches: list[list[LaunchRecord]] = []
        self.waits: list[list[str]] = []


_recorders = _Recorders()


def launched(record: LaunchRecord) -> None:
    """Tell everybody who counts launches."""
    for records in _recorders.launches:
        records.append(record)


def waited(call: str) -> None:
    """Tell everybody who counts waits."""
    for calls in _recorders.waits:
        calls.append(call)


@contextlib.contextmanager
def record_launches() -> Iterator[list[LaunchRecord]]:
    """Collect the launches made inside of the ``with`` block in the list that it yields.

    Launches that a capture records are none; launching the graph is one.

    Example:
        >>> from gpunet.emulator import record_launches
        >>> with record_launches() as launches:
        ...     pass
        >>> len(launches)
        0
    """
    records: list[LaunchRecord] = []
    with _listening(_recorders.launches, records):
        yield records


@contextlib.contextmanager
def record_synchronizations() -> Iterator[list[str]]:
    """Collect the calls inside of the ``with`` block for which the host waits for the device.

    Those are synchronize() of streams, events and devices, copies to the host (``get`` and all
    that calls it: ``float(x)``, ``if x:``, ``print(x)``), blocking copies, and copies of more than
    64 KB from pageable host memory, which the driver stages in pieces.

    Example:
        >>> from gpunet.emulator import cupy as cp, record_synchronizations
        >>> x = cp.ones(3)
        >>> with record_synchronizations() as waits:
        ...     total = float(x.sum())
        >>> waits
        ['ndarray.get']
    """
    calls: list[str] = []
    with _listening(_recorders.waits, calls):
        yield calls


@contextlib.contextmanager
def _listening(listeners: list[list[T]], records: list[T]) -> Iterator[None]:
    listeners.append(records)
    try:
        yield
    finally:
        # By identity: two empty lists are equal.
        listeners[:] = [other for other in listeners if other is not records]
