"""Regularizers: penalties on weights and on what layers put out, with their gradients.

Each op adds its penalty to the running totals of a loss, as if each of ``count`` rows had it:
totals[0] += count * penalty; totals[1], the number of rows, is the loss' business. The derivative
of |x| at 0 is 0. Sums run in a fixed order.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, Sum, op


@op(gradients="n", totals="float64: 2", weights="full: n", penalties="float64: penalties 4")
def weight_penalty(
    gradients: InOut | None, totals: InOut | None, weights: In, penalties: In, *, count: int
) -> None:
    """penalty = sum of l1 |w| + l2 w^2; gradients += l1 sign(w) + 2 l2 w.

    On flat buffers. ``penalties`` has one row of (offset, size, l1, l2) for each weight that has
    a penalty (PENALTY_COLUMNS), in order of offset; all else stays as it is.
    """


@op(dx="...", totals="float64: 2", x="...")
def activity_penalty(
    dx: Sum | None,
    totals: InOut | None,
    x: In,
    *,
    l1: float,
    l2: float,
    count: int,
    accumulate: bool = False,
) -> None:
    """penalty = sum of l1 |x| + l2 x^2; dx = l1 sign(x) + 2 l2 x."""


@op(slopes="full: vectors vectors", totals="float64: 2", gram="full: vectors vectors")
def orthogonality_penalty(
    slopes: Out | None, totals: InOut | None, gram: In, *, factor: float, count: int
) -> None:
    """penalty = factor * mean of |c_ij| over all pairs i != j, c_ij the cosine of two vectors.

    gram[i, j] = w_i w_j holds the products of the vectors, so that c_ij = gram[i, j] r_i r_j with
    r_i = min(1 / sqrt(gram[i, i]), 1e12). What the penalty adds to the gradient of w_i is
    sum_j slopes[i, j] w_j:

    * slopes[i, j] = 2 f sign(gram[i, j]) r_i r_j, f = factor / the number of pairs;
    * slopes[i, i] = -2 f r_i^2 sum_j |c_ij|, or 0 where r_i was cut off at 1e12.

    Fewer than two vectors have no pairs: all is 0.
    """
