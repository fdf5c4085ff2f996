"""Regularizers: penalties on weights and on what layers put out, with their gradients.

Each op adds its penalty to the running totals of a loss, as if each of ``count`` rows had it:
totals[0] += count * penalty; totals[1], the number of rows, is the loss' business. The derivative
of |x| at 0 is 0. Sums run in a fixed order.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Sum, op


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
