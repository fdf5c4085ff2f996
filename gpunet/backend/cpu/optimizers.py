"""Updates of flat weights from flat gradients, as Keras defines them."""

from __future__ import annotations

from functools import lru_cache
from math import sqrt

import numpy as np

from gpunet.backend.cpu.blocks import flat_blocks
from gpunet.backend.spec import SEGMENT_COLUMNS, Array

Run = tuple[slice, float]
"""Neighbouring trainable segments that share one learning-rate factor: where, and the factor."""


def sgd(
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
    learning_rate, momentum = hyper.tolist()
    for run, factor in _runs(segments.tobytes()):
        rate = learning_rate * factor
        if velocity is None:
            for w, g in flat_blocks(weights[run], gradients[run]):
                np.subtract(w, np.multiply(g, rate), out=w)
            continue
        for w, g, v in flat_blocks(weights[run], gradients[run], velocity[run]):
            change = np.multiply(g, rate)
            np.multiply(v, momentum, out=v)
            np.subtract(v, change, out=v)
            if nesterov:
                np.subtract(w, change, out=w)
                np.add(w, np.multiply(v, momentum, out=change), out=w)
            else:
                np.add(w, v, out=w)
    if tick:
        step[0] += 1


def adam(
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
    """Adam (Kingma and Ba, 2015) as Keras defines it."""
    learning_rate, beta_1, beta_2, epsilon = hyper.tolist()
    t = step.item() + 1
    correction = sqrt(1.0 - beta_2**t) / (1.0 - beta_1**t)
    for run, factor in _runs(segments.tobytes()):
        rate = learning_rate * factor * correction
        pieces = (weights[run], gradients[run], momentums[run], velocities[run])
        for w, g, m, v in flat_blocks(*pieces):
            scratch = np.subtract(g, m)
            np.multiply(scratch, 1.0 - beta_1, out=scratch)
            np.add(m, scratch, out=m)
            np.square(g, out=scratch)
            np.subtract(scratch, v, out=scratch)
            np.multiply(scratch, 1.0 - beta_2, out=scratch)
            np.add(v, scratch, out=v)
            np.sqrt(v, out=scratch)
            np.add(scratch, epsilon, out=scratch)
            np.divide(m, scratch, out=scratch)
            np.multiply(scratch, rate, out=scratch)
            np.subtract(w, scratch, out=w)
    if tick:
        step[0] += 1


@lru_cache(maxsize=256)
def _runs(table: bytes) -> tuple[Run, ...]:
    """The runs of a segment table given as bytes; usually one run, the whole buffer.

    The cache is keyed on the table's contents (0.1 us for four weights), so that a table that
    changes, because a layer was frozen, needs no notice.
    """
    runs: list[Run] = []
    rows = np.frombuffer(table).reshape(-1, len(SEGMENT_COLUMNS)).tolist()
    for offset, size, _, factor, trainable, _ in rows:
        start, stop = int(offset), int(offset + size)
        if not trainable:
            continue
        # Less than 64 elements between two segments are padding: updating those zeros costs less
        # than another run.
        if runs and start - runs[-1][0].stop < 64 and runs[-1][1] == factor:
            runs[-1] = (slice(runs[-1][0].start, stop), factor)
        else:
            runs.append((slice(start, stop), factor))
    return tuple(runs)
