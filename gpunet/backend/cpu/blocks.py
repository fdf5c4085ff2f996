"""How the ops in NumPy stay fast: pieces that fit the cache, constants that need no conversion.

A chain of ufuncs over a large array reads and writes main memory once per ufunc. Over one block
after another it does so once per chain: what one ufunc wrote still lies in the L2 cache when the
next reads it, and no temporary is larger than a block (or than one row, where rows are longer).
Most arrays of a small network are a single block; for them the loop costs no more than a tuple.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from gpunet.backend.spec import Array

BLOCK = 32 * 1024
"""Elements of one block: three float32 arrays of it are 384 KiB, well inside an L2 cache of 1 MiB
and long enough that a ufunc's fixed cost of 0.4 us is a tenth of its work."""


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


def repeated(row: Array, rows: int, size: int = BLOCK) -> Array:
    """A vector under itself, (rows, columns), as many times as a block has rows at most.

    A ufunc of two arrays of one shape takes 2.1 us a block; if one of them is a row for all rows,
    NumPy copies that into its buffer (8192 elements) as often as it needs it: 4 to 5 us.
    """
    copies: Array = np.empty((min(rows, max(1, size // max(row.size, 1))), row.size), row.dtype)
    copies[...] = row
    return copies


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
