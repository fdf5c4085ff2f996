"""How the ops in NumPy stay fast: pieces that fit the cache, constants that need no conversion.

A chain of ufuncs over a large array reads and writes main memory once per ufunc. Over one block
after another it does so once per chain: what one ufunc wrote still lies in the L2 cache when the
next reads it, and no temporary is larger than a block (or than one row, where rows are longer).
Most arrays of a small network are a single block; for them the loop costs no more than a tuple.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.cpu.threads import blas, in_threads
from gpunet.backend.spec import Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

BLOCK = 32 * 1024
"""Elements of one block: three float32 arrays of it are 384 KiB, well inside an L2 cache of 1 MiB
and long enough that a ufunc's fixed cost of 0.4 us is a tenth of its work."""

LARGE = 256 * 1024
"""Arrays with so many elements, 1 MiB of float32, are worth the 40 us that it takes to wake a
thread."""
PIECE = 256 * 1024
"""Elements of one block, at most, where threads share the blocks: between two ufuncs a thread holds
Python's lock, and one that wants it just then sleeps and is woken 30 us later. Batch norm of 4 M
elements with its gradients takes 10 ms on one thread; on two 11.2 ms in blocks of 64 K elements,
7.5 ms in blocks of 128 K, and 6.2 ms in blocks of 256 K."""
np.empty(31 * 2**20, np.uint8)
"""Freed at once: from then on glibc keeps freed memory up to twice this size for the next array,
which it otherwise returns to the system from 128 KiB on. Formulas with temporary arrays take half
the time on large blocks: gelu of 4 M elements 35 ms without this, 14.5 with it."""
FEW_ROWS = 16
"""Sums over blocks of fewer rows take too much memory to be kept."""


def _constant(value: float, size: int | tuple[()] = (), dtype: str = "float32") -> Array:
    array = np.full(size, value, dtype)
    array.setflags(write=False)
    return array


# A ufunc takes 0.2 us longer with a Python number than with an array of no dimensions. These values
# are exact in float32, so a float64 op may use them too.
ZERO, HALF, ONE, INFINITY = (_constant(value) for value in (0.0, 0.5, 1.0, np.inf))
_ONES = {"f": _constant(1.0, BLOCK), "d": _constant(1.0, BLOCK, "float64")}


def ones(size: int, like: Array) -> Array:
    """A read-only vector of ones in the dtype of ``like``.

    ``np.dot(ones, x)`` and ``np.dot(x, ones)`` sum over rows and over columns three to eight times
    as fast as ``x.sum(axis)``: 32x64: 0.5 and 0.6 us, not 1.2 and 1.5; 512x64: 1.8 and 1.9, not
    12.
    """
    if size <= BLOCK:
        return _ONES[like.dtype.char][:size]
    return np.ones(size, like.dtype)


@lru_cache(maxsize=64)
def row_starts(rows: int, columns: int) -> Array:
    """Where each row of a matrix begins in its flat array; kept, it saves 0.3 us."""
    starts = np.arange(0, rows * columns, columns)
    starts.setflags(write=False)
    return starts


def row_blocks(first: Array, *others: Array | None, size: int = BLOCK) -> Iterable[tuple[Any, ...]]:
    """The same rows of all arrays at a time: as many as fit a block, at least one.

    Arrays that are None stay None. Formulas with many temporaries take blocks of a smaller size.
    """
    if first.size <= size:
        return ((first, *others),)
    return _slices((first, *others), max(1, size // first[0].size))


def flat_blocks(*arrays: Any) -> Iterable[tuple[Any, ...]]:
    """The same elements of all arrays, which have one shape, a block at a time.

    Arrays that are None stay None; the first must be there.
    """
    if arrays[0].size <= BLOCK:
        return (arrays,)
    return _slices(tuple(None if a is None else a.reshape(-1) for a in arrays), BLOCK)


def _slices(arrays: tuple[Array | None, ...], length: int) -> Iterator[tuple[Any, ...]]:
    first = arrays[0]
    for start in range(0, len(first) if first is not None else 0, length):
        piece = slice(start, start + length)
        yield tuple(None if array is None else array[piece] for array in arrays)


def each_block(
    work: Callable[..., object],
    first: Array,
    *others: Array | None,
    threads: int | None = None,
) -> None:
    """Call work(number, *blocks) for all blocks of the arrays' rows.

    Args:
        work: does a block.
        first: says how many rows a block has.
        others: other arrays with as many rows; those that are None stay None.
        threads: how many there may be; None for as many as are worth it.
    """
    arrays, count = (first, *others), block_count(first)
    if count == 1:
        work(0, *arrays)
        return
    rows = block_rows(first)

    def of_thread(thread: int, numbers: Iterator[int]) -> None:
        for number in numbers:
            piece = slice(number * rows, (number + 1) * rows)
            work(number, *[None if array is None else array[piece] for array in arrays])

    if first.size < LARGE:
        threads = 1
    with blas() as most:
        in_threads(of_thread, count, min(most, threads or most))


def sum_blocks(work: Callable[..., object], totals: Sequence[Array], *arrays: Array | None) -> None:
    """Call work(*sums, *blocks), which writes sums over the rows of a block, and add those up.

    The sums of all blocks are kept and added in order, so that threads change no bit; where rows
    are long, and sums as large as blocks, one thread adds block after block.

    Args:
        work: see above.
        totals: what the sums over all rows are written to.
        arrays: as in `each_block`.
    """
    first = arrays[0]
    count = block_count(first)
    if count == 1:
        work(*totals, *arrays)
        return
    if totals and block_rows(first) < FEW_ROWS:
        sums = [np.empty_like(total) for total in totals]

        def add_block(number: int, *blocks: Array | None) -> None:
            work(*sums, *blocks)
            for total, part in zip(totals, sums, strict=True):
                np.add(total, part, out=total)

        for total in totals:
            total.fill(0.0)
        each_block(add_block, first, *arrays[1:], threads=1)
        return
    parts = [np.empty((count, *total.shape), total.dtype) for total in totals]

    def keep_sums(number: int, *blocks: Array | None) -> None:
        work(*[part[number] for part in parts], *blocks)

    each_block(keep_sums, first, *arrays[1:])
    for total, part in zip(totals, parts, strict=True):
        np.sum(part, axis=0, out=total)


def block_rows(first: Array) -> int:
    """How many rows a block of `each_block` has at most; the number of threads plays no part."""
    size = min(PIECE, max(LARGE // 4, first.size // 8))
    rows: int = max(1, size // max(math.prod(first.shape[1:]), 1))
    return rows


def block_count(first: Array) -> int:
    """How many blocks `each_block` makes of an array."""
    return math.ceil(len(first) / block_rows(first))


def each_element(ufunc: Callable[..., object], y: Array, *inputs: Array) -> None:
    """y = ufunc(*inputs), all of one shape; large arrays in threads."""
    if y.size < LARGE:
        ufunc(*inputs, out=y)
        return
    flat = [array.reshape(-1) for array in (y, *inputs)]
    each_block(lambda number, y_, *inputs_: ufunc(*inputs_, out=y_), *flat)


SCRATCHES = 5


class _Scratch(threading.local):
    """Memory of each thread, as fresh memory may come from the system each time, and then takes
    twenty times as long as a ufunc on it."""  # noqa: D205, D209

    def __init__(self) -> None:
        self.memory = np.empty((SCRATCHES, 8 * PIECE), np.uint8)


_SCRATCH = _Scratch()


def block_scratch(shape: tuple[int, ...], dtype: DTypeLike, number: int = 0) -> Array:
    """An array of the shape of a block, for what is needed within an op.

    There are `SCRATCHES` of them for each thread: a function that has one must not call another
    that takes the same.
    """
    nbytes = math.prod(shape) * np.dtype(dtype).itemsize
    if nbytes > 8 * PIECE:  # a long row
        return np.empty(shape, dtype)
    memory: Array = _SCRATCH.memory[number, :nbytes]
    return memory.view(dtype).reshape(shape)


def repeated(row: Array, block: Array, number: int) -> Array:
    """A vector under itself in the shape of a block, in this scratch memory.

    A ufunc of two arrays of one shape takes 2.1 us for 32 K elements; if one of them is a row for
    all rows, NumPy copies that into its buffer (8192 elements) as often as it needs it: 4 to 5 us.
    """
    copies = block_scratch(block.shape, block.dtype, number)
    copies[...] = row
    return copies
