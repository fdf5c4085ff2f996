"""The mini-batch of a step, where a few calls of NumPy take as long as the data."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.compiled.kernel import kernel
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import Array


@prepared
def next_batch(indices: Array, state: Array, order: Array) -> Call:
    """indices[i] = order[position + i], then position += batch and pass += 1."""
    return partial(_next_batch, indices, state, order)


@kernel
def _next_batch(indices: Array, state: Array, order: Array) -> None:
    samples = np.uint64(max(len(order), 1))
    place = int(np.int64(state[0] % samples))  # with unsigned integers, sums are floats
    for i in range(len(indices) if len(order) else 0):
        indices[i] = order[place]
        place = place + 1 if place + 1 < len(order) else 0
    state[0] += np.uint64(len(indices))
    state[2] += np.uint64(1)
