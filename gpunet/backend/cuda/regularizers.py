"""Penalties on weights and activations: launches of kernels/regularizers.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, pack_of, packed_width
from gpunet.backend.spec import Array

_BAND = 16  # rows of a block at a time


def weight_penalty(
    device: Device,
    gradients: Array | None,
    totals: Array | None,
    weights: Array,
    penalties: Array,
    *,
    count: int,
) -> None:
    """penalty = sum of l1 |w| + l2 w^2; gradients += l1 sign(w) + 2 l2 w."""
    if weights.size == 0 or len(penalties) == 0:
        return
    real = weights if gradients is None else gradients
    grid = flat_grid(device, ceil_div(weights.size, pack_of(weights)))
    sizes = (np.int64(count), np.int64(weights.size), np.int32(len(penalties)))
    args = (gradients, totals, weights, penalties, *sizes, device.block_sums, device.tickets)
    device.launch("regularizers", "weight_penalty", real, grid, (THREADS,), args)


def activity_penalty(
    device: Device,
    dx: Array | None,
    totals: Array | None,
    x: Array,
    *,
    l1: float,
    l2: float,
    count: int,
    accumulate: bool = False,
) -> None:
    """penalty = sum of l1 |x| + l2 x^2; dx = l1 sign(x) + 2 l2 x."""
    if x.size == 0:
        return
    grid = flat_grid(device, ceil_div(x.size, pack_of(x)))
    factors = (np.float32(l1), np.float32(l2), np.int64(count), np.int32(accumulate))
    args = (dx, totals, x, *factors, np.int64(x.size), device.block_sums, device.tickets)
    device.launch("regularizers", "activity_penalty", x, grid, (THREADS,), args)


def orthogonality_penalty(
    device: Device,
    slopes: Array | None,
    totals: Array | None,
    gram: Array,
    *,
    factor: float,
    count: int,
) -> None:
    """penalty = factor * mean of |c_ij| over all pairs i != j, c_ij the cosine of two vectors."""
    vectors = len(gram)
    if vectors == 0:
        return
    of_pair = np.float32(factor / max(vectors * (vectors - 1), 1))
    grid = (min(ceil_div(vectors, _BAND), device.max_blocks),)
    packed = np.int32(packed_width(vectors, slopes, gram) > 1)
    sizes = (np.int64(count), np.int64(vectors), packed)
    args = (slopes, totals, gram, of_pair, *sizes, device.block_sums, device.tickets)
    device.launch("regularizers", "orthogonality_penalty", gram, grid, (THREADS,), args)
