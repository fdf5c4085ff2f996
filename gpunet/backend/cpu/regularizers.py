"""Penalties on weights and activations with their gradients, a block at a time."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK, ones
from gpunet.backend.spec import Array

EPSILON = 1e-12
"""A vector that is shorter is not made longer than its length times 1 / epsilon, as in Keras."""


def weight_penalty(
    gradients: Array | None, totals: Array | None, weights: Array, penalties: Array, *, count: int
) -> None:
    """penalty = sum of l1 |w| + l2 w^2; gradients += l1 sign(w) + 2 l2 w."""
    penalty = 0.0
    for offset, size, l1, l2 in penalties.tolist():
        part = slice(int(offset), int(offset + size))
        slopes = None if gradients is None else gradients[part]
        penalty += _penalty(slopes, weights[part], l1, l2, accumulate=True)
    if totals is not None:
        totals[0] += count * penalty


def activity_penalty(
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
    slopes = None if dx is None else dx.reshape(-1)
    penalty = _penalty(slopes, x.reshape(-1), l1, l2, accumulate)
    if totals is not None:
        totals[0] += count * penalty


def orthogonality_penalty(
    slopes: Array | None, totals: Array | None, gram: Array, *, factor: float, count: int
) -> None:
    """penalty = factor * mean of |c_ij| over all pairs i != j, c_ij the cosine of two vectors."""
    vectors = len(gram)
    length = np.sqrt(gram.diagonal())
    reciprocal = 1.0 / np.maximum(length, EPSILON)  # (vectors,)
    factor /= max(vectors * (vectors - 1), 1)
    penalty = 0.0
    step = max(1, BLOCK // max(vectors, 1))
    for start in range(0, vectors, step):
        part = slice(start, start + step)
        rows, own = gram[part], reciprocal[part, None]
        diagonal = np.arange(len(rows)), np.arange(start, start + len(rows))
        cosines = np.abs(rows)
        cosines *= reciprocal
        cosines *= own
        cosines[diagonal] = 0.0
        sums = np.dot(cosines, ones(vectors, cosines))
        penalty += float(sums.sum(dtype=np.float64))
        if slopes is not None:
            target = slopes[part]
            np.sign(rows, out=target)
            target *= reciprocal
            target *= 2.0 * factor * own
            cut_off = length[part] < EPSILON
            target[diagonal] = np.where(cut_off, 0.0, -2.0 * factor * own[:, 0] ** 2 * sums)
    if totals is not None:
        totals[0] += count * factor * penalty


def _penalty(dx: Array | None, x: Array, l1: float, l2: float, accumulate: bool) -> float:
    """The penalty of a flat array; dx (unless None) is, or grows by, its gradient."""
    penalty = 0.0
    both = np.empty((2, min(x.size, BLOCK)), x.dtype)
    for start in range(0, x.size, BLOCK):
        piece = x[start : start + BLOCK]
        slopes, scratch = both[:, : piece.size]
        np.multiply(piece, 2.0 * l2, out=slopes)
        penalty += l2 * float(np.dot(piece, piece))
        if l1:
            np.abs(piece, out=scratch)
            penalty += l1 * float(np.dot(scratch, ones(piece.size, piece)))
            np.sign(piece, out=scratch)
            np.multiply(scratch, l1, out=scratch)
            np.add(slopes, scratch, out=slopes)
        if dx is not None:
            target = dx[start : start + BLOCK]
            np.add(target, slopes, out=target) if accumulate else np.copyto(target, slopes)
    return penalty
