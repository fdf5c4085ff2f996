"""Constraints on weights: their lengths along an axis."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.spec import Array

EPSILON = 1e-7
"""Added to a length before dividing by it, as in Keras."""


def norm_constraint(
    weights: Array, *, min_value: float, max_value: float, rate: float = 1.0
) -> None:
    """Scale each vector weights[o, :, i] so that its length comes within bounds."""
    outer, reduced, inner = weights.shape
    if weights.size == 0:
        return
    step = max(1, BLOCK // reduced)  # so many vectors at a time
    for start in range(0, inner, step):
        vectors = weights[:, :, start : start + step]
        several = max(1, step // vectors.shape[2])
        for first in range(0, outer, several):
            _scale(vectors[first : first + several], min_value, max_value, rate)


def _scale(weights: Array, min_value: float, max_value: float, rate: float) -> None:
    norm = np.sqrt(np.einsum("ori,ori->oi", weights, weights))
    wanted = np.clip(norm, min_value, max_value) * rate
    wanted += (1.0 - rate) * norm
    norm += EPSILON
    wanted /= norm
    weights *= wanted[:, None, :]
