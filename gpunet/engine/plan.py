"""The plan: where each buffer lies in the arena, and the list of calls that runs a pass.

Lifetimes are found by looking at the records: a storage lives from its first write to its last
read. Storages whose lifetimes do not overlap share memory, and an op writes over its input where
the contract allows that and nobody reads the input later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.fusion import drop_dead, fuse
from gpunet.engine.recorder import Buffer, Record, Storage

ALIGNMENT = 256
"""Each storage starts at a multiple of this many bytes, as CUDA's own allocations do."""

PLANS_KEPT = 32

Call = Callable[[], object]
_Made = TypeVar("_Made")


class Plan:
    """Recorded ops with memory: what a model runs, for one batch size and one mode.

    Args:
        records: the ops as recorded.
        kept: buffers that somebody outside writes before the pass or reads after it; they live
            through all of it.
        fused: whether to merge neighbouring ops (`gpunet.engine.fusion`).

    Attributes:
        needed: the ops after fusion.
        records: what is launched: the same without copies from a place to itself.
        recorded: the ops before it.
        offsets: where each storage of the arena starts, in bytes.
        nbytes: the size of the arena.
    """

    def __init__(
        self, records: Sequence[Record], kept: Iterable[Buffer], fused: bool = True
    ) -> None:
        self.kept = {buffer.storage for buffer in kept}
        self.recorded = list(records)
        self.needed = fuse(records, self.kept) if fused else drop_dead(records, self.kept)
        self.offsets, self.nbytes = _allocate(self.needed, self.kept)
        self.records = [record for record in self.needed if not self._is_free(record)]

    def without(self, unwanted: Iterable[Buffer]) -> list[Record]:
        """What is launched if some of the results are not wanted."""
        storages = {buffer.storage for buffer in unwanted}
        alive = drop_dead(self.needed, self.kept - storages, storages)
        return [record for record in alive if not self._is_free(record)]

    def array(self, buffer: Buffer, backend: Backend, arena: Array) -> Array:
        """The real array behind a handle."""
        storage = buffer.storage
        if storage.resolve is not None:
            return storage.resolve().reshape(buffer.shape)
        return backend.view(arena, self.offsets[storage], buffer.shape, buffer.dtype)

    def bind(
        self, backend: Backend, arena: Array, records: Sequence[Record] | None = None
    ) -> list[Call]:
        """The calls of these records (or all) over this arena, in order."""
        calls: list[Call] = []
        for record in self.records if records is None else records:
            arrays = [
                None if buffer is None else self.array(buffer, backend, arena)
                for buffer in record.arrays
            ]
            given = record.given()
            if record.function is None:
                calls.append(backend.bind(record.op.name, *arrays, **given))
            else:
                calls.append(partial(record.function, *arrays, **given))
        return calls

    def _is_free(self, record: Record) -> bool:
        """Whether this is a copy whose two sides are the same memory."""
        if record.op.name != "copy":
            return False
        y, x = (self.offsets.get(buffer.storage) for _, buffer in record.items())
        return y is not None and y == x


class PlanCache:
    """The last few plans of a model, by what they depend on; threads may share it."""

    def __init__(self) -> None:
        self._plans: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], _Made]) -> _Made:
        """The plan of this key, made if it is not there."""
        with self._lock:
            plan: _Made = self._plans.pop(key) if key in self._plans else make()
            self._plans[key] = plan  # the newest stands last
            while len(self._plans) > PLANS_KEPT:
                self._plans.pop(next(iter(self._plans)))
        return plan

    def clear(self) -> None:
        """Drop all plans."""
        self._plans.clear()

    def __len__(self) -> int:
        return len(self._plans)


def _allocate(records: Sequence[Record], kept: set[Storage]) -> tuple[dict[Storage, int], int]:
    """Offsets in an arena for all its storages, and the arena's size."""
    lifetimes = _lifetimes(records, kept)
    home = _share_in_place(records, lifetimes, kept)
    groups: dict[Storage, tuple[int, int, int]] = {}  # home -> (first, last, bytes)
    for storage, (first, last) in lifetimes.items():
        place = home[storage]
        start, end, nbytes = groups.get(place, (first, last, 0))
        groups[place] = (min(start, first), max(end, last), max(nbytes, storage.nbytes))
    offsets: dict[Storage, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last)
    total = 0
    # Large ones first: small ones then fill the gaps.
    for place, (first, last, nbytes) in sorted(groups.items(), key=lambda item: -item[1][2]):
        size = max(-(-nbytes // ALIGNMENT) * ALIGNMENT, ALIGNMENT)
        offset = 0
        for start, end, other_first, other_last in sorted(placed):
            overlaps_in_time = first <= other_last and other_first <= last
            if overlaps_in_time and start < offset + size and offset < end:
                offset = end
        placed.append((offset, offset + size, first, last))
        offsets[place] = offset
        total = max(total, offset + size)
    return {storage: offsets[home[storage]] for storage in lifetimes}, total


def _lifetimes(records: Sequence[Record], kept: set[Storage]) -> dict[Storage, tuple[int, int]]:
    """First and last record that touches each storage of the arena."""
    lifetimes: dict[Storage, tuple[int, int]] = {}
    for i, record in enumerate(records):
        for _, buffer in record.items():
            storage = buffer.storage
            if storage.resolve is None:
                lifetimes[storage] = (lifetimes.get(storage, (i, i))[0], i)
    for storage in kept:
        if storage.resolve is None:
            lifetimes[storage] = (-1, len(records))
    return lifetimes


def _share_in_place(
    records: Sequence[Record], lifetimes: dict[Storage, tuple[int, int]], kept: set[Storage]
) -> dict[Storage, Storage]:
    """For each storage the one whose memory it takes: an op's output over its dying input."""
    home = {storage: storage for storage in lifetimes}
    ends = {storage: last for storage, (_, last) in lifetimes.items()}  # of everyone at a home
    for i, record in enumerate(records):
        for output, source in record.op.in_place:
            y, x = record[output], record[source]
            if y is None or x is None or y.storage not in home or x.storage not in home:
                continue
            target = home[x.storage]
            if (
                y.storage not in kept
                and lifetimes[y.storage][0] == i
                and home[y.storage] is y.storage
                and ends[target] == i
                and target is not y.storage
                and y.dtype == x.dtype
                and y.size == x.size
                and y.storage.nbytes <= target.nbytes
                and not _read_elsewhere(record, x.storage, source, home)
            ):
                home[y.storage] = target
                ends[target] = lifetimes[y.storage][1]
                break
    return home


def _read_elsewhere(
    record: Record, storage: Storage, source: str, home: dict[Storage, Storage]
) -> bool:
    """Whether the op also reads this memory through another argument."""
    return any(
        parameter.name != source and home.get(buffer.storage) is home[storage]
        for parameter, buffer in record.items()
    )
