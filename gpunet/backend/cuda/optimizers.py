"""Updates of flat weight buffers: launches of kernels/optimizers.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import PACK, ceil_div, flat_grid
from gpunet.backend.spec import Array


def sgd(
    device: Device,
    weights: Array,
    velocity: Array | None,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    *,
    nesterov: bool = False,
    tick: bool = True,
) -> None:
    """Stochastic gradient descent as Keras defines it; hyper = (learning_rate, momentum)."""
    args = (weights, velocity, step, gradients, segments, hyper, np.int32(nesterov))
    _launch(device, "sgd", weights, segments, args, tick)


def adam(
    device: Device,
    weights: Array,
    momentums: Array,
    velocities: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adam as Keras defines it; hyper = (learning_rate, beta_1, beta_2, epsilon)."""
    args = (weights, momentums, velocities, step, gradients, segments, hyper)
    _launch(device, "adam", weights, segments, args, tick)


def _launch(
    device: Device,
    symbol: str,
    weights: Array,
    segments: Array,
    args: tuple[Any, ...],
    tick: bool,
) -> None:
    # One block at least: the step counts even where there is nothing to update.
    grid = flat_grid(device, ceil_div(weights.size, PACK))
    sizes = (np.int32(tick), np.int64(weights.size), np.int32(len(segments)))
    device.launch("optimizers", symbol, weights, grid, (THREADS,), (*args, *sizes, device.tickets))
