"""Products of a few rows with one matrix, again and again: the steps of a recurrent layer.

OpenBLAS copies the factors of a product into the order in which it reads them, which for a few rows
takes as long as the product. On processors with AVX-512 it has other kernels for up to a million
multiplications, which do not: with a matrix cut into such products, once for all steps, 32 x 256 by
256 x 1024 takes 74 us instead of 157.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.threads import blas
from gpunet.backend.spec import Array

COLUMNS = 64
"""Of a block of the matrix."""
LARGEST = 1_000_000
"""Multiplications of a small product."""
FEWEST = 8
"""Rows, below which small products are slow, too."""
CORES = ("SkylakeX", "Cooperlake", "SapphireRapids")
"""Those for which OpenBLAS has kernels for small products."""


def bind_product(
    c: Array, a: Array, b: Array, memory: Array, *, tb: bool = False
) -> tuple[Call, Call]:
    """The call that copies b into memory of its size, and the one that makes c = a op(b) of that.

    Args:
        c: the result, (rows, columns).
        a: (rows, inner).
        b: (inner, columns), or (columns, inner) to be transposed.
        memory: as many numbers as b has.
        tb: whether b is to be transposed.
    """
    rows, inner = a.shape
    columns = c.shape[1]
    parts = next((n for n in (1, 2, 4, 8, 16) if rows // n * COLUMNS * inner <= LARGEST), 0)
    fits = parts and rows % parts == 0 and rows // parts >= FEWEST and columns % COLUMNS == 0
    if not fits or blas().core not in CORES:
        copied = memory.reshape(inner, columns)
        return partial(np.copyto, copied, b.T if tb else b), partial(np.dot, a, copied, c)
    count = columns // COLUMNS
    blocks = memory.reshape(count, inner, COLUMNS)
    if tb:
        source = b.reshape(count, COLUMNS, inner).swapaxes(1, 2)
    else:
        source = b.reshape(inner, count, COLUMNS).swapaxes(0, 1)
    a_ = a.reshape(parts, 1, rows // parts, inner)
    c_ = c.reshape(parts, rows // parts, count, COLUMNS).swapaxes(1, 2)
    return partial(np.copyto, blocks, source), partial(np.matmul, a_, blocks, out=c_)
