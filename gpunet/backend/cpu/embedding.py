"""Looking up rows of a table by number, and the gradient of the table."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.spec import Array


def embedding(y: Array, table: Array, indices: Array) -> None:
    """y[i] = table[indices[i]]."""
    if not len(table):
        y.fill(np.nan)
        return
    table.take(indices, 0, y, "clip")
    unsigned = indices.view(np.uint32)  # a negative number becomes a huge one
    if len(indices) and unsigned.item(unsigned.argmax()) >= len(table):
        y[unsigned >= len(table)] = np.nan


def embedding_backward(
    dtable: Array, dy: Array, indices: Array, scratch: Array = None, *, accumulate: bool = False
) -> None:
    """dtable[k] = the sum of dy[i] over all i with indices[i] = k."""
    if not accumulate:
        dtable.fill(0.0)
    order = indices.argsort(kind="stable")
    order = order[(indices[order] >= 0) & (indices[order] < len(dtable))]
    if not len(order):
        return
    rows = indices[order]
    starts = np.flatnonzero(np.diff(rows, prepend=-1))  # where each number's tokens begin
    width = max(1, BLOCK // len(order))
    for first in range(0, dtable.shape[1], width):
        columns = slice(first, first + width)
        sums = np.add.reduceat(dy[order, columns], starts, axis=0)
        dtable[rows[starts], columns] += sums
