"""Updates of flat weights from flat gradients, as Keras defines them.

Each formula is written for one piece of the buffers at a time: `_spans` finds the trainable
segments, cuts them into blocks that fit the cache, clips gradients and decays weights. A formula
drops its scratch arrays after each piece: the next piece gets the same memory, still in the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from math import inf, sqrt
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.cpu.blocks import flat_blocks
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import SEGMENT_COLUMNS, Array


def squared_norms(
    norms: Array, gradients: Array, segments: Array, *, accumulate: bool = False
) -> None:
    """norms[group] = the sum of gradients^2 over the trainable segments of this clip_group."""
    if not accumulate:
        norms.fill(0.0)
    for run, _, _, group in _runs(segments.tobytes(), by_group=True):
        for (g,) in flat_blocks(gradients[run]):
            norms[group] += np.dot(g, g)


def moving_average(
    averages: Array,
    weights: Array,
    step: Array,
    segments: Array,
    hyper: Array,
    *,
    tick: bool = True,
) -> None:
    """The exponential moving average of weights; hyper = (momentum, overwrite_frequency)."""
    momentum, frequency = hyper.tolist()
    t = step.item() + 1
    momentum = momentum if t > 1 else 0.0
    for run, *_ in _runs(segments.tobytes()):
        for w, average in flat_blocks(weights[run], averages[run]):
            np.multiply(average, momentum, out=average)
            np.add(average, np.multiply(w, 1.0 - momentum), out=average)
            if frequency and t % frequency == 0:
                np.copyto(w, average)
    if tick:
        step[0] += 1


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
    spans = _bind_spans(segments, norms, weights, gradients, velocity)

    def run() -> None:
        *common, momentum = hyper.tolist()
        for rate, pieces in spans(common):
            for w, g, v in pieces:
                change = np.multiply(g, rate)
                if v is None:
                    np.subtract(w, change, out=w)
                else:
                    np.multiply(v, momentum, out=v)
                    np.subtract(v, change, out=v)
                    if nesterov:
                        np.subtract(w, change, out=w)
                        np.add(w, np.multiply(v, momentum, out=change), out=w)
                    else:
                        np.add(w, v, out=w)
                del change
        if tick:
            step[0] += 1

    return run


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
) -> None:
    """Adam (Kingma and Ba, 2015); hyper[3:] = (beta_1, beta_2, epsilon)."""
    *common, beta_1, beta_2, epsilon = hyper.tolist()
    t = step.item() + 1
    correction = sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
    slots = (momentums, velocities, velocity_hats)
    for rate, pieces in _spans(common, segments, norms, weights, gradients, *slots):
        for w, g, m, v, hat in pieces:
            scratch = _to_mean(m, g, beta_1)
            np.square(g, out=scratch)
            _to_mean(v, scratch, beta_2, scratch)
            if hat is not None:
                v = np.maximum(hat, v, out=hat)
            np.sqrt(v, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.multiply(scratch, rate * correction, out=scratch)
            np.subtract(w, scratch, out=w)
            del scratch
    if tick:
        step[0] += 1


def nadam(
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
    """Adam with Nesterov momentum (Dozat, 2016); hyper[3:] = (beta_1, beta_2, epsilon, product)."""
    *common, beta_1, beta_2, epsilon, product = hyper.tolist()
    t = step.item() + 1
    now, following = (beta_1 * (1.0 - 0.5 * 0.96**k) for k in (t, t + 1))
    of_momentum = following / (1.0 - product * now * following)
    of_gradient = (1.0 - now) / (1.0 - product * now)
    correction = 1.0 / sqrt(1.0 - beta_2**t)
    slots = (momentums, velocities)
    for rate, pieces in _spans(common, segments, norms, weights, gradients, *slots):
        for w, g, m, v in pieces:
            scratch = _to_mean(m, g, beta_1)
            np.square(g, out=scratch)
            _to_mean(v, scratch, beta_2, scratch)
            change = np.multiply(g, rate * of_gradient)
            np.add(change, np.multiply(m, rate * of_momentum, out=scratch), out=change)
            np.sqrt(v, out=scratch)
            np.multiply(scratch, correction, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.subtract(w, np.divide(change, scratch, out=change), out=w)
            del change, scratch
    if tick:
        step[0] += 1


def adamax(
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
    *common, beta_1, beta_2, epsilon = hyper.tolist()
    correction = 1.0 / (1.0 - beta_1 ** (step.item() + 1))
    slots = (momentums, maxima)
    for rate, pieces in _spans(common, segments, norms, weights, gradients, *slots):
        for w, g, m, u in pieces:
            scratch = _to_mean(m, g, beta_1)
            np.multiply(u, beta_2, out=u)
            np.maximum(u, np.abs(g, out=scratch), out=u)
            np.add(u, epsilon, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.multiply(scratch, rate * correction, out=scratch)
            np.subtract(w, scratch, out=w)
            del scratch
    if tick:
        step[0] += 1


def rmsprop(
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
    *common, rho, momentum, epsilon = hyper.tolist()
    slots = (velocities, momentums, average_gradients)
    for rate, pieces in _spans(common, segments, norms, weights, gradients, *slots):
        for w, g, v, m, mean in pieces:
            scratch = np.square(g)
            _to_mean(v, scratch, rho, scratch)
            if mean is None:
                np.add(v, epsilon, out=scratch)
            else:
                _to_mean(mean, g, rho, scratch)
                np.subtract(v, np.square(mean, out=scratch), out=scratch)
                np.add(scratch, epsilon, out=scratch)
            np.divide(g, np.sqrt(scratch, out=scratch), out=scratch)
            np.multiply(scratch, rate, out=scratch)
            if m is not None:
                np.multiply(m, momentum, out=m)
                scratch = np.add(m, scratch, out=m)
            np.subtract(w, scratch, out=w)
            del scratch
    if tick:
        step[0] += 1


def adagrad(
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
    *common, epsilon = hyper.tolist()
    for rate, pieces in _spans(common, segments, norms, weights, gradients, accumulators):
        for w, g, sums in pieces:
            scratch = np.square(g)
            np.add(sums, scratch, out=sums)
            np.sqrt(np.add(sums, epsilon, out=scratch), out=scratch)
            np.divide(g, scratch, out=scratch)
            np.multiply(scratch, rate, out=scratch)
            np.subtract(w, scratch, out=w)
            del scratch
    if tick:
        step[0] += 1


def adadelta(
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
    *common, rho, epsilon = hyper.tolist()
    slots = (accumulated_gradients, accumulated_changes)
    for rate, pieces in _spans(common, segments, norms, weights, gradients, *slots):
        for w, g, of_gradient, of_change in pieces:
            scratch = np.square(g)
            _to_mean(of_gradient, scratch, rho, scratch)
            change = np.add(of_change, epsilon)
            np.multiply(np.sqrt(change, out=change), g, out=change)
            np.sqrt(np.add(of_gradient, epsilon, out=scratch), out=scratch)
            np.divide(change, scratch, out=change)
            _to_mean(of_change, np.square(change, out=scratch), rho, scratch)
            np.subtract(w, np.multiply(change, rate, out=change), out=w)
            del change, scratch
    if tick:
        step[0] += 1


def lion(
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
    *common, beta_1, beta_2 = hyper.tolist()
    for rate, pieces in _spans(common, segments, norms, weights, gradients, momentums):
        for w, g, m in pieces:
            change = np.multiply(m, beta_1)
            scratch = np.multiply(g, 1.0 - beta_1)
            np.sign(np.add(change, scratch, out=change), out=change)
            np.subtract(w, np.multiply(change, rate, out=change), out=w)
            np.multiply(m, beta_2, out=m)
            np.add(m, np.multiply(g, 1.0 - beta_2, out=scratch), out=m)
            del change, scratch
    if tick:
        step[0] += 1


# ------------------------------------------------------------------ what the updates share


def _to_mean(mean: Array, values: Array, decay: float, scratch: Array = None) -> Array:
    """mean += (values - mean) (1 - decay); values may be the scratch array, which is returned."""
    scratch = np.subtract(values, mean, out=scratch)
    np.multiply(scratch, 1.0 - decay, out=scratch)
    np.add(mean, scratch, out=mean)
    return scratch


Span = tuple[float, Iterable[tuple[Any, ...]]]
"""(rate, pieces) of a run of weights, pieces being (weights, gradients, *slots) in blocks."""


def _spans(
    common: Sequence[float], segments: Array, norms: Array | None, *arrays: Array | None
) -> list[Span]:
    """The spans of each run of weights.

    Gradients are clipped and weights decayed as the pieces come.

    Args:
        common: learning rate, weight decay and clip.
        segments: the table of weights.
        norms: squared norms to clip by, or None.
        *arrays: weights, gradients and slots; slots may be None.
    """
    return _bind_spans(segments, norms, *arrays)(common)


def _bind_spans(
    segments: Array, norms: Array | None, *arrays: Array | None
) -> Callable[[Sequence[float]], list[Span]]:
    """`_spans` of everything but ``common``; cuts the arrays again only when the table changes."""
    table = b""
    runs: list[tuple[_Run, tuple[Array | None, ...]]] = []

    def spans(common: Sequence[float]) -> list[Span]:
        nonlocal table, runs
        learning_rate, weight_decay, clip = common
        if segments.tobytes() != table:
            table = segments.tobytes()
            runs = [
                (run, tuple(None if array is None else array[run.place] for array in arrays))
                for run in _runs(table, norms is not None)
            ]
        found = []
        for (_, factor, decay, group), parts in runs:
            pieces = flat_blocks(*parts)
            rate = learning_rate * factor
            if weight_decay or clip < inf:
                scale = None if norms is None else _clip_scale(sqrt(norms[group]), clip)
                pieces = _changed(pieces, rate * weight_decay * decay, clip, scale)
            found.append((rate, pieces))
        return found

    return spans


def _changed(
    pieces: Iterable[tuple[Any, ...]], shrink: float, clip: float, scale: float | None
) -> Iterator[tuple[Any, ...]]:
    """The pieces with gradients scaled, or cut off at -clip and clip, and weights shrunk."""
    scratch: Array = None
    for w, g, *slots in pieces:
        if clip < inf:
            scratch = np.empty_like(g) if scratch is None else scratch[: len(g)]
            if scale is None:
                g = np.clip(g, -clip, clip, out=scratch)  # a NaN stays a NaN
            else:
                g = np.multiply(g, scale, out=scratch)
        if shrink:
            np.subtract(w, np.multiply(w, shrink), out=w)
        yield w, g, *slots


def _clip_scale(norm: float, clip: float) -> float:
    """What gradients of this norm are multiplied by; NaN for a norm that is not finite."""
    return clip / max(norm, clip) + (norm - norm)


class _Run(NamedTuple):
    """Neighbouring trainable segments that are treated alike."""

    place: slice
    factor: float
    decay: float
    group: int


@lru_cache(maxsize=256)
def _runs(table: bytes, by_group: bool = False) -> tuple[_Run, ...]:
    """The runs of a segment table given as bytes; usually one run, the whole buffer.

    The cache is keyed on the table's contents (0.1 us for four weights), so that a table that
    changes, because a layer was frozen, needs no notice.
    """
    runs: list[_Run] = []
    rows = np.frombuffer(table).reshape(-1, len(SEGMENT_COLUMNS)).tolist()
    for offset, size, decay, factor, trainable, group in rows:
        run = _Run(slice(int(offset), int(offset + size)), factor, decay, int(group) * by_group)
        if not trainable:
            continue
        # Less than 64 elements between two segments are padding: updating those zeros costs less
        # than another run.
        last = runs[-1] if runs else None
        if last and last[1:] == run[1:] and run.place.start - last.place.stop < 64:
            runs[-1] = run._replace(place=slice(last.place.start, run.place.stop))
        else:
            runs.append(run)
    return tuple(runs)
