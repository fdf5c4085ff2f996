"""Several threads for one op: each takes piece after piece of its work.

NumPy's BLAS has threads of its own, which do well on one large product. Under many small ones, and
under copies and ufuncs, which have none, it does better to deal the work itself to threads and let
each compute its products alone. Besides, a thread of OpenBLAS spins for 26 ms after it was last
used, and takes as much of a core as the thread that works there.

What a piece of work computes does not depend on the number of threads, nor on who takes it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

Work = Callable[[int, Iterator[int]], object]

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")


class Blas:
    """NumPy's OpenBLAS, which has one thread for as long as an op has threads itself, or may have.

    Args:
        tell: gives the number of threads that it may use.
        choose: sets it.
        core: the processor that its kernels are written for, "SkylakeX" or "Haswell", say.
    """

    def __init__(
        self, tell: Callable[[], int], choose: Callable[[int], object], core: str = ""
    ) -> None:
        self._tell, self._choose, self.core = tell, choose, core
        self._lock = threading.Lock()
        self._holders = 0
        self._users = 0
        self._threads = 1

    def __enter__(self) -> int:
        """How many threads the op may have: as many as BLAS had, or one beside other ops."""
        with self._lock:
            self._hold()
            self._users += 1
            return self._threads if self._users == 1 else 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            self._release()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Leaves BLAS one thread for several ops, each of which may have threads."""
        with self._lock:
            self._hold()
        try:
            yield
        finally:
            with self._lock:
                self._release()

    @property
    def is_held(self) -> bool:
        """Whether BLAS has one thread at present."""
        return self._holders > 0

    def _hold(self) -> None:
        self._holders += 1
        if self._holders == 1:
            self._threads = max(1, self._tell())
            self._choose(1)

    def _release(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._choose(self._threads)


@functools.cache
def blas() -> Blas:
    """The OpenBLAS in NumPy's wheel; where it is not, one that has one thread and no choice.

    >>> with blas() as threads:
    ...     in_threads(lambda thread, pieces: print(sum(pieces)), 4, min(threads, 1))
    6
    """
    folder = Path(np.__file__).parents[1] / "numpy.libs"
    for file in sorted(folder.glob("*openblas*")):
        library = ctypes.CDLL(str(file))
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                tell: Any = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
                choose: Any = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
                name: Any = getattr(library, f"{prefix}_get_corename{suffix}", None)
                if tell is not None and choose is not None and name is not None:
                    name.restype = ctypes.c_char_p
                    return Blas(tell, choose, name().decode())
    return Blas(lambda: 1, lambda threads: None)


@functools.cache
def _pool(threads: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor  # costs 10 ms, and no dense network needs it

    return ThreadPoolExecutor(threads)


if hasattr(os, "register_at_fork"):  # the pool's threads are not in the child
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_threads(work: Work, pieces: int, threads: int) -> None:
    """Do the pieces 0, 1, ... of some work in so many threads, of which the caller is one.

    Args:
        work: work(number of the thread, pieces) does the pieces that it takes from an iterator,
            which all threads share.
        pieces: how many there are.
        threads: at most what `blas` allows; they are numbered from 0.
    """
    numbers = iter(range(pieces))  # its next() is atomic
    threads = min(threads, pieces)
    if threads <= 1:
        work(0, numbers)
        return
    errors = np.geterr()  # each thread has its own

    def work_with(thread: int) -> None:
        with np.errstate(**errors):
            work(thread, numbers)

    others: list[Future[None]] = []
    with contextlib.suppress(RuntimeError):  # while Python ends, there are no more threads
        for thread in range(1, threads):
            others.append(_pool(threads - 1).submit(work_with, thread))
    try:
        work(0, numbers)
    finally:
        begun = [other for other in others if not other.cancel()]
        raised = [other.exception() for other in begun]  # waits for them
    for error in filter(None, raised):
        raise error
