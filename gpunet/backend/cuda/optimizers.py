"""Updates of flat weight buffers: launches of kernels/optimizers.cu and gradient_norms.cu."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.cuda.device import THREADS, Device
from gpunet.backend.cuda.grids import ceil_div, flat_grid, pack_of
from gpunet.backend.spec import Array


def squared_norms(
    device: Device, norms: Array, gradients: Array, segments: Array, *, accumulate: bool = False
) -> None:
    """norms[group] = the sum of gradients^2 over the trainable segments of this clip_group."""
    grid = flat_grid(device, ceil_div(gradients.size, pack_of(gradients)))
    # One partial sum for each block and each segment has to fit the scratch memory: a model of
    # thousands of weights takes several launches.
    held = device.block_sums.size - grid[0]
    for start in range(0, max(1, len(segments)), held):
        part = segments[start : start + held]
        adds = np.int32(accumulate or start > 0)
        sizes = (np.int64(gradients.size), np.int32(len(part)), np.int32(len(norms)), adds)
        args = (norms, gradients, part, *sizes, device.block_sums, device.tickets)
        device.launch("gradient_norms", "squared_norms", gradients, grid, (THREADS,), args)


def moving_average(
    device: Device,
    averages: Array,
    weights: Array,
    step: Array,
    segments: Array,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """The exponential moving average of weights; hyper = (momentum, overwrite_frequency)."""
    args = (averages, weights, step, segments, hyper)
    _launch(device, "moving_average", weights, segments, args, tick)


def sgd(
    device: Device,
    weights: Array,
    velocity: Array | None,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    nesterov: bool = False,
    tick: bool = True,
) -> None:
    """Stochastic gradient descent; hyper[3:] = (momentum)."""
    args = (weights, velocity, step, gradients, segments, norms, hyper, np.int32(nesterov))
    _launch(device, "sgd", gradients, segments, args, tick)


def adam(
    device: Device,
    weights: Array,
    momentums: Array,
    velocities: Array,
    velocity_hats: Array | None,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adam (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon)."""
    args = (weights, momentums, velocities, velocity_hats, step, gradients, segments, norms, hyper)
    _launch(device, "adam", gradients, segments, args, tick)


def nadam(
    device: Device,
    weights: Array,
    momentums: Array,
    velocities: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adam with Nesterov momentum (Dozat, 2016)."""
    args = (weights, momentums, velocities, step, gradients, segments, norms, hyper)
    _launch(device, "nadam", gradients, segments, args, tick)


def adamax(
    device: Device,
    weights: Array,
    momentums: Array,
    maxima: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adam with the infinity norm (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon)."""
    args = (weights, momentums, maxima, step, gradients, segments, norms, hyper)
    _launch(device, "adamax", gradients, segments, args, tick)


def rmsprop(
    device: Device,
    weights: Array,
    velocities: Array,
    momentums: Array | None,
    average_gradients: Array | None,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """RMSprop (Hinton, 2012); hyper[3:] = (rho, momentum, epsilon)."""
    args = (
        weights,
        velocities,
        momentums,
        average_gradients,
        step,
        gradients,
        segments,
        norms,
        hyper,
    )
    _launch(device, "rmsprop", gradients, segments, args, tick)


def adagrad(
    device: Device,
    weights: Array,
    accumulators: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adagrad (Duchi et al., 2011); hyper[3:] = (epsilon)."""
    args = (weights, accumulators, step, gradients, segments, norms, hyper)
    _launch(device, "adagrad", gradients, segments, args, tick)


def adadelta(
    device: Device,
    weights: Array,
    accumulated_gradients: Array,
    accumulated_changes: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Adadelta (Zeiler, 2012); hyper[3:] = (rho, epsilon)."""
    args = (
        weights,
        accumulated_gradients,
        accumulated_changes,
        step,
        gradients,
        segments,
        norms,
        hyper,
    )
    _launch(device, "adadelta", gradients, segments, args, tick)


def lion(
    device: Device,
    weights: Array,
    momentums: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    norms: Array | None,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """Lion (Chen et al., 2023); hyper[3:] = (beta_1, beta_2)."""
    args = (weights, momentums, step, gradients, segments, norms, hyper)
    _launch(device, "lion", gradients, segments, args, tick)


def _launch(
    device: Device,
    symbol: str,
    real: Array,
    segments: Array,
    args: tuple[Any, ...],
    tick: bool,
) -> None:
    # One block at least: the step counts even where there is nothing to update.
    grid = flat_grid(device, ceil_div(real.size, pack_of(args[0])))
    sizes = (np.int32(tick), np.int64(real.size), np.int32(len(segments)))
    device.launch("optimizers", symbol, real, grid, (THREADS,), (*args, *sizes, device.tickets))
