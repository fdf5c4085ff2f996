"""What launches did with memory, counted from the emulator's record of every load and store.

The accesses that a warp's lanes make at one place in the code, for the n-th time each, are one
instruction. On a GPU an instruction on global memory moves whole sectors of 32 bytes, as many as
its addresses lie in; one on shared memory takes as many passes (wavefronts) as the most words that
lie in one of the 32 banks. Caches are not modelled: what is read twice counts twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator.trace import IN_PARTS, READS, WRITES, Trace

_WARP = 32
_SECTOR = 32  # bytes
_BANKS = 32
_WORD = 4  # bytes of a bank
_WIDE = 16  # bytes: the most that a lane moves in one instruction

_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Sums over launches.

    Attributes:
        touched: bytes of global memory that were read, plus those that were written, each once.
        moved: bytes that the instructions asked for; what several lanes read counts once.
        sectors: 32-byte sectors that the instructions moved.
        least_sectors: how many these would be if each instruction's bytes lay side by side.
        wide: those of the bytes ``moved`` that went in accesses of 16 bytes.
        wavefronts: passes that the instructions on shared memory took.
        least_wavefronts: how many these would be without bank conflicts.
    """

    touched: int = 0
    moved: int = 0
    sectors: int = 0
    least_sectors: int = 0
    wide: int = 0
    wavefronts: int = 0
    least_wavefronts: int = 0

    @property
    def coalescing(self) -> float:
        """The share of the sectors moved that had to be; 1 is the best."""
        return self.least_sectors / self.sectors if self.sectors else 1.0

    @property
    def wide_share(self) -> float:
        """The share of the bytes that went in accesses of 16 bytes."""
        return self.wide / self.moved if self.moved else 1.0

    @property
    def bank_conflicts(self) -> float:
        """Passes over shared memory for each that was needed; 1 is the best."""
        return self.wavefronts / self.least_wavefronts if self.least_wavefronts else 1.0


def count(traces: Sequence[Trace]) -> Counts:
    """Count what the recorded launches did.

    Example:
        >>> import numpy as np
        >>> from gpunet import ops
        >>> from gpunet.emulator import cupy as cp, record_accesses
        >>> x = cp.zeros((64, 64), np.float32)
        >>> with record_accesses() as traces:
        ...     y = ops.bias_act(x, None, activation="relu")
        >>> counts = count(traces[-1:])  # the first use of a backend launches a kernel of its own
        >>> counts.touched == 2 * x.nbytes, counts.sectors * 32 == 2 * x.nbytes
        (True, True)
    """
    parts = [_count_launch(trace) for trace in traces]
    names = [field.name for field in fields(Counts)]
    return Counts(**{name: sum(getattr(part, name) for part in parts) for name in names})


def _count_launch(trace: Trace) -> Counts:
    on_device = _Accesses.of(trace, trace.is_global())
    shared = _Accesses.of(trace, trace.is_shared())
    moved, least_sectors, wide = _bytes_by_instruction(on_device)
    wavefronts, least_wavefronts = _wavefronts(shared)
    return Counts(
        touched=sum(_covered(on_device, kind) for kind in (READS, WRITES)),
        moved=moved,
        sectors=len(_distinct(on_device.instruction, on_device.address // _SECTOR)[0]),
        least_sectors=least_sectors,
        wide=wide,
        wavefronts=wavefronts,
        least_wavefronts=least_wavefronts,
    )


@dataclass(frozen=True)
class _Accesses:
    """Accesses of lanes, one row each: by which instruction, which lane, and to where."""

    instruction: _Integers
    lane: _Integers
    address: _Integers
    size: _Integers
    kind: _Integers

    @staticmethod
    def of(trace: Trace, chosen: npt.NDArray[np.bool_]) -> _Accesses:
        records = _whole_words(trace.records[chosen])
        block = records["block"].astype(np.int64)
        thread = records["thread"].astype(np.int64)
        place = np.unique(records["code"], return_inverse=True)[1].astype(np.int64)
        warp = block * _WARP + thread // _WARP  # a block has at most 32 warps
        places = int(place.max(initial=0)) + 1
        by_warp = warp * places + place
        time = _times_before(by_warp * _WARP + thread % _WARP)
        times = int(time.max(initial=0)) + 1
        return _Accesses(
            instruction=by_warp * times + time,
            lane=thread % _WARP,
            address=records["address"].astype(np.int64),
            size=records["size"].astype(np.int64),
            kind=records["kind"].astype(np.int64),
        )


def _whole_words(records: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The records with what no single instruction moves split into words, moved one by one."""
    split = (records["kind"] & IN_PARTS).astype(bool)
    if not split.any():
        return records
    words = np.where(split, -(-records["size"].astype(np.int64) // _WORD), 1)
    parts, split = np.repeat(records, words), np.repeat(split, words)
    # The words of one access are made one after the other, each by all lanes together.
    number = _times_before(np.repeat(np.arange(len(records)), words))
    parts["address"][split] += (number * _WORD).astype(np.uint64)[split]
    parts["size"][split] = _WORD
    return parts


def _times_before(key: _Integers) -> _Integers:
    """How often each entry's value stands in front of it."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    place = np.arange(len(key))
    starts = np.ones(len(key), bool)
    starts[1:] = ordered[1:] != ordered[:-1]
    times = np.empty(len(key), np.int64)
    times[order] = place - np.maximum.accumulate(np.where(starts, place, 0))
    return times


def _distinct(*columns: _Integers) -> tuple[_Integers, ...]:
    """The different rows of a table of these columns, ordered by the first, then the second ..."""
    order = np.lexsort(columns[::-1])
    ordered = [column[order] for column in columns]
    different = np.ones(len(order), bool)
    different[1:] = np.any([column[1:] != column[:-1] for column in ordered], axis=0)
    return tuple(column[different] for column in ordered)


def _bytes_by_instruction(accesses: _Accesses) -> tuple[int, int, int]:
    """Bytes asked for, the fewest sectors that hold each instruction's, bytes in wide accesses."""
    instruction, _, size = _distinct(accesses.instruction, accesses.address, accesses.size)
    starts = np.flatnonzero(np.diff(instruction, prepend=-1))
    of_each = np.add.reduceat(size, starts) if len(size) else size
    return int(size.sum()), int((-(-of_each // _SECTOR)).sum()), int(size[size >= _WIDE].sum())


def _covered(accesses: _Accesses, kind: int) -> int:
    """How many bytes were accessed in this way at all."""
    chosen = (accesses.kind & kind).astype(bool)
    begin, size = _distinct(accesses.address[chosen], accesses.size[chosen])
    end = np.maximum.accumulate(begin + size)
    before = np.concatenate([begin[:1], end[:-1]])
    return int(np.maximum(end - np.maximum(begin, before), 0).sum())


def _wavefronts(accesses: _Accesses) -> tuple[int, int]:
    """Passes over the banks, and how many there would be without conflicts.

    Accesses of 8 and 16 bytes are served to half a warp and a quarter of a warp at a time.
    """
    words = np.maximum(accesses.size // _WORD, 1)
    group = accesses.lane // (_WARP // words)
    rows = np.repeat(np.arange(len(words)), words)
    word = accesses.address[rows] // _WORD + _times_before(rows)
    batch = accesses.instruction * _WARP + group  # a group is at most 3
    batch, bank, _ = _distinct(batch[rows], word % _BANKS, word)
    starts = np.flatnonzero(np.diff(batch * _BANKS + bank, prepend=-1))
    in_bank = np.diff(np.append(starts, len(batch)))
    batch = batch[starts]
    if not len(batch):
        return 0, 0
    begins = np.flatnonzero(np.diff(batch, prepend=-1))
    return int(np.maximum.reduceat(in_bank, begins).sum()), len(begins)
