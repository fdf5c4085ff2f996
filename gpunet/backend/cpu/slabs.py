"""Ops that work through their outputs slab by slab, each slab small enough to stay in the cache.

Which slabs there are, and in which order sums are added up, follows from shapes alone, so that the
number of threads changes no bit of the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.threads import blas, in_threads
from gpunet.backend.spec import Array

Slab = tuple[slice, slice, slice]
"""Which images, planes and rows of an array."""
Cost = Callable[[int, int, int], int]
"""The elements of scratch that so many images, planes and rows need."""

AREAS = 2
"""Any scratch memory has room for the slabs of so many threads."""
SHARES = 4
"""So many threads can add up sums, each its share of them, where there is room."""
PIECES = 8
"""The images are cut into so many slabs at least, so that no thread waits long for another."""
SMALL = 16 * 1024
"""Slabs of so few elements of scratch are not cut further: they take as long as a thread does to
start, 10 us."""
ALIGNMENT = 16  # elements: a cache line of float32
KEPT = 512
"""So many slabs' views are kept from one step to the next; they take some KiB each."""


class Task(NamedTuple):
    """A part of an op, in slabs of its outputs.

    Attributes:
        shape: of the outputs, (batch, depth, height, ...).
        cost: what a slab needs.
        limit: how much a slab may need, if it is more than one row.
        prepare: gives the call that computes a slab in scratch memory.
        before: what is to be done before all slabs.
    """

    shape: Sequence[int]
    cost: Cost
    limit: int
    prepare: Callable[[Slab, Array], Call]
    before: Call | None = None


class SumTask(NamedTuple):
    """A sum over slabs.

    Attributes:
        shape: of what the slabs are cut from, (batch, depth, height, ...).
        cost: what a slab needs.
        limit: how much a slab may need, if it is more than one row.
        prepare: gives the call that writes the summand of a slab into the first array, given
            scratch memory.
        finish: gives the call that makes use of the sum, given scratch memory.
    """

    shape: Sequence[int]
    cost: Cost
    limit: int
    prepare: Callable[[Array, Slab, Array], Call]
    finish: Callable[[Array, Array], Call]


def bind_slabs(tasks: Sequence[Task], scratch: Array, before: Call = lambda: None) -> Call:
    """The call that does tasks which do not wait for each other, all of their slabs in threads.

    Args:
        tasks: what is to be done.
        scratch: memory for slabs.
        before: what is to be done before all tasks.
    """
    room = _aligned(scratch.size // AREAS)
    cut = [slabs(task.shape, task.cost, min(task.limit, room)) for task in tasks]
    jobs = [(task, slab) for task, pieces in zip(tasks, cut, strict=True) for slab in pieces]
    jobs.sort(key=lambda job: job[1][0].start)  # what lies in the same images while it is cached
    areas = _areas(scratch, [task.cost(*counts_of(slab)) for task, slab in jobs])

    @lru_cache(maxsize=KEPT)
    def prepare(thread: int, number: int) -> Call:
        task, slab = jobs[number]
        return task.prepare(slab, areas[thread])

    def work(thread: int, numbers: Iterator[int]) -> None:
        for number in numbers:
            prepare(thread, number)()

    def run() -> None:
        with blas() as threads:
            before()
            for task in tasks:
                if task.before is not None:
                    task.before()
            in_threads(work, len(jobs), min(threads, len(areas)))

    return run


def bind_sum(shape: tuple[int, ...], task: SumTask, scratch: Array) -> Call:
    """The call that adds up arrays of this shape, one for each slab, and makes use of the sum.

    Each share of the slabs has a sum of its own, which one thread adds up in order.
    """
    size, row = prod(shape), task.cost(1, 1, 1) + ALIGNMENT
    shares = SHARES
    while shares > 1 and scratch.size < (shares + AREAS) * size + AREAS * row:
        shares //= 2
    sums = scratch[: shares * size].reshape(shares, *shape)
    scratch = scratch[shares * size :]
    room = _aligned(scratch.size // AREAS) - size
    pieces = slabs(task.shape, task.cost, min(task.limit, room))
    shares = min(shares, len(pieces))
    areas = _areas(scratch, [size + task.cost(*counts_of(slab)) for slab in pieces])
    first = [len(pieces) * share // max(shares, 1) for share in range(shares + 1)]

    @lru_cache(maxsize=KEPT)
    def prepare(thread: int, share: int, number: int) -> Call:
        part, rest = areas[thread][:size].reshape(shape), areas[thread][size:]
        if number == first[share]:
            return task.prepare(sums[share], pieces[number], rest)
        compute = task.prepare(part, pieces[number], rest)

        def add() -> None:
            compute()
            np.add(sums[share], part, out=sums[share])

        return add

    def work(thread: int, numbers: Iterator[int]) -> None:
        for share in numbers:
            for number in range(first[share], first[share + 1]):
                prepare(thread, share, number)()

    finish = task.finish(sums[0], scratch)

    def run() -> None:
        with blas() as threads:
            in_threads(work, shares, min(threads, len(areas)))
            if shares == 0:
                sums[0].fill(0.0)
            for other in sums[1:shares]:
                np.add(sums[0], other, out=sums[0])
            finish()

    return run


def slabs(shape: Sequence[int], cost: Cost, limit: int) -> list[Slab]:
    """Cut (batch, depth, height) into slabs that each cost no more than a limit, or are one row."""
    batch, depth, height = shape[:3]
    images, planes, rows = 1, depth, height
    image = cost(1, depth, height)
    if image <= limit:
        few = max(-(-batch // PIECES), SMALL // max(image, 1))
        images = max(1, min(limit // max(image, 1), few))
    elif cost(1, 1, height) <= limit:
        planes = limit // cost(1, 1, height)
    else:
        planes, rows = 1, max(1, min(height, limit // cost(1, 1, 1)))
    return list(product(cuts(batch, images), cuts(depth, planes), cuts(height, rows)))


def counts_of(slab: Slab) -> tuple[int, int, int]:
    """How many images, planes and rows a slab has."""
    images, planes, rows = (part.stop - part.start for part in slab)
    return images, planes, rows


def cuts(size: int, length: int) -> list[slice]:
    """The slices of an axis that are so long, the last one perhaps shorter."""
    return [slice(start, min(start + length, size)) for start in range(0, size, max(length, 1))]


def _aligned(size: int) -> int:
    return size // ALIGNMENT * ALIGNMENT


def _areas(scratch: Array, needs: Sequence[int]) -> list[Array]:
    """Scratch memory for each thread, as many as there is room for."""
    size = _aligned(max(needs, default=1) + ALIGNMENT - 1)
    areas = [scratch[i * size : (i + 1) * size] for i in range(min(64, scratch.size // size))]
    return areas or [scratch]
