"""Losses of how well two masks overlap: launches of kernels/overlap_losses.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, row_launch
from gpunet.backend.spec import Array

_SOURCE = "overlap_losses"
_ELEMENTS_PER_THREAD = 8  # before another block shares the group


def tversky(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    beta: float,
    epsilon: float,
) -> None:
    """loss = 1 - I / D, I = sum(x y), D = I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + epsilon.

    One launch where there are many groups, two where there are few large ones.
    """
    outer, reduced, inner = x.shape
    groups = outer * inner
    if x.size == 0:
        return  # nothing is added to the totals
    numbers = tuple(np.float64(number) for number in (scale, alpha, beta, epsilon))
    arrays = (loss, totals, x, labels, sample_weight)
    chunks = min(ceil_div(reduced, THREADS * _ELEMENTS_PER_THREAD), device.max_blocks // groups)
    if chunks <= 1:
        plan = row_launch(device, groups, reduced, 1, kept=0)
        sizes = (np.int64(groups), np.int32(reduced), np.int64(inner), plan.args[1])
        args = (*arrays, *numbers, *sizes, device.block_sums, device.tickets)
        device.launch(_SOURCE, "tversky", x, plan.grid, (THREADS,), (dx, *args))
        return
    blocks = groups * chunks
    counts = (np.int32(groups), np.int64(reduced), np.int64(inner), np.int32(chunks))
    args = (*arrays, *numbers, *counts, device.block_sums, device.tickets)
    device.launch(_SOURCE, "tversky_sums", x, (blocks,), (THREADS,), args)
    if dx is not None:
        gradients = device.block_sums[3 * blocks :]  # two numbers a group, behind the sums
        extent = (np.int64(x.size), np.int64(reduced), np.int64(inner))
        grid = flat_grid(device, x.size)
        device.launch(
            _SOURCE, "tversky_gradient", x, grid, (THREADS,), (dx, labels, gradients, *extent)
        )
