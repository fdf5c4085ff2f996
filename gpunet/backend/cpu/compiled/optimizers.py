"""Updates of flat weights, in one pass over weights, gradients and slots."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from gpunet.backend.cpu import optimizers as plain
from gpunet.backend.cpu.compiled.kernel import bind_shares, inlined, is_for_one_thread, kernel
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.spec import SEGMENT_COLUMNS, Array

OFFSET, SIZE, DECAY, FACTOR, TRAINABLE, GROUP = range(len(SEGMENT_COLUMNS))


@prepared
def sgd(
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
) -> Call:
    """Stochastic gradient descent; hyper[3:] = (momentum)."""
    arrays = weights, gradients, segments, _or_empty(norms), hyper, step
    if velocity is None:
        return _bind_update(partial(_sgd, *arrays), weights, step, tick)
    return _bind_update(partial(_momentum, velocity, nesterov, *arrays), weights, step, tick)


@kernel
def _sgd(
    weights: Array,
    gradients: Array,
    segments: Array,
    norms: Array,
    hyper: Array,
    step: Array,
    ticks: bool,
    start: int,
    stop: int,
) -> None:
    number = weights.dtype.type
    for segment in segments:
        if segment[TRAINABLE] == 0.0:
            continue
        rate, keep, scale, bound = _treatment(segment, hyper, norms)
        rate, keep, scale, bound = number(rate), number(keep), number(scale), number(bound)
        part = _part_of(segment, start, stop)
        w, g = weights[part], gradients[part]
        for i in range(len(w)):
            w[i] = w[i] * keep - _clipped(g[i], scale, bound) * rate
    if ticks:
        step[0] += 1


@kernel
def _momentum(
    velocity: Array,
    nesterov: bool,
    weights: Array,
    gradients: Array,
    segments: Array,
    norms: Array,
    hyper: Array,
    step: Array,
    ticks: bool,
    start: int,
    stop: int,
) -> None:
    number = weights.dtype.type
    momentum = number(hyper[3])
    for segment in segments:
        if segment[TRAINABLE] == 0.0:
            continue
        rate, keep, scale, bound = _treatment(segment, hyper, norms)
        rate, keep, scale, bound = number(rate), number(keep), number(scale), number(bound)
        part = _part_of(segment, start, stop)
        w, g, v = weights[part], gradients[part], velocity[part]
        for i in range(len(w)):
            change = _clipped(g[i], scale, bound) * rate
            v[i] = v[i] * momentum - change
            w[i] = w[i] * keep + (v[i] * momentum - change if nesterov else v[i])
    if ticks:
        step[0] += 1


@prepared
def adam(
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
) -> Call:
    """Adam (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon)."""
    slots = momentums, velocities
    if velocity_hats is not None:
        state = weights, *slots, velocity_hats, step
        return bind(plain.adam, *state, gradients, segments, norms, hyper, tick=tick)
    arrays = weights, gradients, segments, _or_empty(norms), hyper, step
    return _bind_update(partial(_adam, *slots, *arrays), weights, step, tick)


@kernel
def _adam(
    momentums: Array,
    velocities: Array,
    weights: Array,
    gradients: Array,
    segments: Array,
    norms: Array,
    hyper: Array,
    step: Array,
    ticks: bool,
    start: int,
    stop: int,
) -> None:
    number = weights.dtype.type
    beta_1, beta_2, t = hyper[3], hyper[4], step[0] + 1
    correction = np.sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
    share_1, share_2, epsilon = number(1.0 - beta_1), number(1.0 - beta_2), number(hyper[5])
    for segment in segments:
        if segment[TRAINABLE] == 0.0:
            continue
        rate, keep, scale, bound = _treatment(segment, hyper, norms)
        rate, keep, scale, bound = (
            number(rate * correction),
            number(keep),
            number(scale),
            number(bound),
        )
        part = _part_of(segment, start, stop)
        w, g, m, v = weights[part], gradients[part], momentums[part], velocities[part]
        for i in range(len(w)):
            slope = _clipped(g[i], scale, bound)
            m[i] += (slope - m[i]) * share_1
            v[i] += (slope * slope - v[i]) * share_2
            w[i] = w[i] * keep - m[i] / (np.sqrt(v[i]) + epsilon) * rate
    if ticks:
        step[0] += 1


# ------------------------------------------------------------------ what the updates share


def _or_empty(norms: Array | None) -> Array:
    return np.empty(0) if norms is None else norms


def _bind_update(update: Callable[..., object], weights: Array, step: Array, tick: bool) -> Call:
    """The call of an update, of which one thread may count the step itself."""
    count = len(weights)
    alone = is_for_one_thread(count, 4 * count)
    compute = bind_shares(partial(update, tick and alone), count, 4 * count)
    if alone or not tick:
        return compute

    def run() -> None:
        compute()
        step[0] += 1

    return run


@inlined
def _part_of(segment: Array, start: int, stop: int) -> slice:
    """What of a segment lies between start and stop.

    Loops over slices begin at 0: over indices that might be negative, they would be slow.
    """
    first = int(segment[OFFSET])
    return slice(max(first, start), max(min(first + int(segment[SIZE]), stop), start))


@inlined
def _treatment(segment: Array, hyper: Array, norms: Array) -> tuple[float, float, float, float]:
    """The rate, what weights are multiplied by, and what gradients are, and cut off at."""
    rate, clip = hyper[0] * segment[FACTOR], hyper[2]
    keep = 1.0 - rate * hyper[1] * segment[DECAY]
    if clip == np.inf or len(norms) == 0:
        return rate, keep, 1.0, clip
    norm = np.sqrt(norms[int(segment[GROUP])])
    scale = clip / max(norm, clip) if np.isfinite(norm) else np.nan
    return rate, keep, scale, np.inf


@inlined
def _clipped(gradient: float, scale: float, bound: float) -> float:
    g = gradient * scale
    if g > bound:  # min would lose a NaN
        g = bound
    if g < -bound:
        g = -bound
    return g
