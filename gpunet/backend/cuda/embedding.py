"""Looking up rows of a table by number: launches of kernels/embedding.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.contract.embedding import CHUNK
from gpunet.backend.cuda import memory
from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, packed_width, rectangle
from gpunet.backend.spec import Array

_SORTERS = 512  # threads that sort a chunk; kernels/embedding.cu


def embedding(device: Device, y: Array, table: Array, indices: Array) -> None:
    """y[i] = table[indices[i]]."""
    if y.size == 0:
        return
    tokens, columns = y.shape
    width = packed_width(columns, y, table)
    grid, block = rectangle(device, tokens, columns // width)
    sizes = (np.int64(tokens), np.int32(len(table)), np.int32(columns), np.int32(width > 1))
    device.launch("embedding", "embedding", y, grid, block, (y, table, indices, *sizes))


def embedding_backward(
    device: Device,
    dtable: Array,
    dy: Array,
    indices: Array,
    scratch: Array = None,
    *,
    accumulate: bool = False,
) -> None:
    """dtable[k] = the sum of dy[i] over all i with indices[i] = k."""
    if not accumulate:
        memory.fill(device, dtable, value=0.0)
    if dtable.size == 0 or dy.size == 0:
        return
    tokens, columns = dy.shape
    chunks = ceil_div(tokens, CHUNK)
    source, target = scratch.view(np.uint32).reshape(2, 2 * chunks * CHUNK)
    number, keys, run = np.int32(tokens), np.int32(chunks * CHUNK), CHUNK
    device.launch("embedding", "sort_chunks", dy, (chunks,), (_SORTERS,), (source, indices, number))
    while run < keys:
        args = (target, source, keys, np.int32(run))
        device.launch("embedding", "merge_runs", dy, flat_grid(device, int(keys)), (THREADS,), args)
        source, target, run = target, source, 2 * run
    width = packed_width(columns, dtable, dy)
    grid, block = rectangle(device, tokens, columns // width)
    sizes = (number, np.int32(len(dtable)), np.int32(columns), np.int32(width > 1))
    device.launch("embedding", "embedding_backward", dy, grid, block, (dtable, dy, source, *sizes))
