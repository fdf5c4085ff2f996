"""Constraints on weights: launches of kernels/constraints.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import MAX_GRID_Y, ceil_div, packed_width, power_of_two
from gpunet.backend.spec import Array

STRIP = 8  # vectors side by side in a block: their elements of one place fill a 32-byte sector


def norm_constraint(
    device: Device, weights: Array, *, min_value: float, max_value: float, rate: float = 1.0
) -> None:
    """Scale each vector weights[o, :, i] so that its length comes within bounds."""
    outer, reduced, inner = weights.shape
    if weights.size == 0:
        return
    width = packed_width(inner, weights)
    across = min(power_of_two(inner // width), STRIP // width)
    grid = (ceil_div(inner // width, across), min(outer, MAX_GRID_Y))
    bounds = (np.float32(min_value), np.float32(max_value), np.float32(rate))
    sizes = (np.int64(outer), np.int64(reduced), np.int64(inner), np.int32(width > 1))
    block = (across, THREADS // across)
    device.launch(
        "constraints", "norm_constraint", weights, grid, block, (weights, *bounds, *sizes)
    )
