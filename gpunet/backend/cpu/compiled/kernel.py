"""How loops are compiled, and dealt to threads.

A kernel is a loop over some rows of its arrays, ``start`` to ``stop``: a Python function that numba
compiles when it is first called with arrays of a type, for a second or less. It keeps the machine
code beside this file (in ``__pycache__``), or in the user's cache if that folder is read-only, so
that this happens once on a machine; NUMBA_CACHE_DIR names another place.

Kernels release Python's lock and start no threads of their own; `each_share` deals rows to those
that the rest of the backend uses. No result depends on how many there are: what is summed over rows
is summed in parts whose bounds follow from the shape alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.threads import blas, in_threads
from gpunet.backend.spec import Array

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Sums may be reordered, so that they fit vector registers, and products fused with sums. NaN and
# infinity keep their meaning: "arcp" would make NaN of 1 / sqrt(0).
_FASTMATH = {"reassoc", "contract", "nsz"}
_OPTIONS = {"nogil": True, "fastmath": _FASTMATH, "error_model": "numpy"}

LEAST = 64 * 1024
"""Elements that a thread must have to do: to hand it work takes as long as 20,000 of them."""
PARTS = 16
"""How many parts rows are cut into, at most, for what is summed over them."""


def kernel(function: _Function) -> _Function:
    """Compile a function when it is first called, and keep the machine code for other processes."""
    try:
        compiled = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # there is no folder that can be written to
        compiled = njit(**_OPTIONS)(function)
    return cast(_Function, compiled)


def inlined(function: _Function) -> _Function:
    """Compile a function into each kernel that calls it, in the same file."""
    return cast(_Function, njit(forceinline=True, **_OPTIONS)(function))


def pasted(function: _Function) -> _Function:
    """Compile a function as if it were written out in each kernel that calls it.

    Where two of its arrays are one, the compiler then knows, which it does not of `inlined` ones.
    """
    return cast(_Function, njit(inline="always", **_OPTIONS)(function))


def each_share(work: Callable[[int, int], object], count: int, size: int) -> None:
    """Call work(start, stop) for shares of range(count), in as many threads as it is worth.

    Args:
        work: a kernel whose other arguments are bound.
        count: of rows, or parts.
        size: of the arrays that are gone through, in elements.
    """
    shares = min(size // LEAST, count)
    if shares <= 1:
        work(0, count)
        return
    with blas() as threads:
        shares = min(threads, shares)
        bounds = [count * i // shares for i in range(shares + 1)]

        def of_thread(thread: int, numbers: Iterator[int]) -> None:
            for number in numbers:
                work(bounds[number], bounds[number + 1])

        in_threads(of_thread, shares, threads)


def bind_shares(work: Callable[[int, int], object], count: int, size: int) -> Call:
    """The call of `each_share`; of the work itself if that is for one thread."""
    if is_for_one_thread(count, size):
        return partial(work, 0, count)
    return partial(each_share, work, count, size)


def is_for_one_thread(count: int, size: int) -> bool:
    """Whether `each_share` uses one thread, however many there are."""
    return min(size // LEAST, count) <= 1


def parts_of(rows: int, size: int) -> int:
    """Into how many parts rows of arrays of this size are cut to be summed."""
    return max(1, min(PARTS, rows, size // LEAST))


def add_parts(total: Array | None, parts: Array, accumulate: bool) -> None:
    """total = or += the sum of its parts, in their order."""
    if total is None:
        return
    if not accumulate:
        total.fill(0.0)
    for part in parts:
        np.add(total, part, out=total)


def same_memory(first: Array, second: Array) -> bool:
    """Whether two arrays of one shape are one; a kernel takes half the time if it knows."""
    return bool(first.ctypes.data == second.ctypes.data)


def ones_or(vector: Array | None, size: int, like: Array) -> Array:
    """The vector, or ones in its place: a kernel is compiled once, and not for None, too."""
    return np.ones(size, like.dtype) if vector is None else vector


def zeros_or(vector: Array | None, size: int, like: Array) -> Array:
    """The vector, or zeros in its place."""
    return np.zeros(size, like.dtype) if vector is None else vector
