"""Several threads for one op: shares of its work, each with matrix products of one thread.

NumPy's BLAS has threads of its own, which do well on one large product. Under many small ones, and
under copies and ufuncs, which have none, it does better to deal the work itself to threads and let
each compute its products alone.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.cpu.windows import Slab, slabs
from gpunet.backend.spec import Array

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

Work = Callable[[list[Slab], Array], None]

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")
ALIGNMENT = 16  # elements: a cache line of float32


@functools.cache
def _blas() -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    """What tells and sets the number of threads of the OpenBLAS in NumPy's wheel, if there."""
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    for file in sorted(folder.glob("*openblas*")):
        library = ctypes.CDLL(str(file))
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                tell = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                choose = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                if tell is not None and choose is not None:
                    return tell, choose
    return None


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # costs 10 ms, and no dense network needs it

    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):  # the pool's threads are not in the child
    os.register_at_fork(after_in_child=_pool.cache_clear)


def thread_count() -> int:
    """How many threads an op may use: as many as NumPy's BLAS; one if that cannot be told."""
    blas = _blas()
    return max(1, blas[0]()) if blas else 1


def each_slab(
    work: Work,
    shape: Sequence[int],
    cost: Callable[[int, int, int], int],
    limit: int,
    scratch: Array,
    reserved: int = 0,
) -> list[Array]:
    """Call work(some slabs of an array, scratch memory for them) in each thread.

    Args:
        work: does its slabs one after another.
        shape: of the array, (batch, depth, height, ...).
        cost: the elements of scratch that so many images, planes and rows need.
        limit: how many of them a slab may need, if it is more than one row.
        scratch: flat memory.
        reserved: how many elements of it each thread needs besides.

    Returns:
        The threads' shares of the scratch memory, in the order of their slabs.
    """
    blas = _blas()
    threads = thread_count()
    while threads > 1 and scratch.size // threads < reserved + cost(1, 1, 1) + ALIGNMENT:
        threads -= 1
    room = scratch.size // threads // ALIGNMENT * ALIGNMENT
    pieces = slabs(shape, cost, min(limit, room - reserved), threads)
    threads = min(threads, len(pieces))
    if threads <= 1 or blas is None:
        work(pieces, scratch)
        return [scratch]
    bounds = [len(pieces) * i // threads for i in range(threads + 1)]
    shares = [scratch[i * room : (i + 1) * room] for i in range(threads)]
    tell, choose = blas
    before = tell()
    choose(1)
    others = [
        _pool(threads - 1).submit(work, pieces[bounds[i] : bounds[i + 1]], shares[i])
        for i in range(1, threads)
    ]
    try:
        work(pieces[: bounds[1]], shares[0])
    finally:
        for other in others:
            other.exception()  # waits for it
        choose(before)
    for other in others:
        other.result()  # raises what the thread raised
    return shares


def in_threads(work: Callable[[int, int], object], bounds: Sequence[int]) -> None:
    """Call work(start, stop) for each pair of neighbouring bounds, each in a thread of its own."""
    pool = _pool(len(bounds) - 2)
    others = [pool.submit(work, *pair) for pair in pairwise(bounds[1:])]
    try:
        work(bounds[0], bounds[1])
    finally:
        for other in others:
            other.exception()  # waits for it
    for other in others:
        other.result()  # raises what the thread raised


def add_sums(total: Array, shares: Sequence[Array]) -> None:
    """total += what each share of the scratch memory begins with, in their order."""
    for share in shares:
        np.add(total, share[: total.size].reshape(total.shape), out=total)
