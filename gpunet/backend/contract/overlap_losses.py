"""Losses of how well two masks overlap, each over a whole group of elements.

A group is what the reduced axes span: x is (outer, reduced, inner), the groups are
(outer, inner). dx, loss and scale as in `gpunet.backend.contract.losses`, with groups for rows;
totals += (size of x * scale * sum of loss, size of x), for a batch may be a single group.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op


@op(
    dx="outer reduced inner",
    loss="full: outer inner",
    totals="float64: 2",
    x="outer reduced inner",
    labels="full: outer reduced inner",
    sample_weight="full: outer inner",
    in_place="dx=x",
)
def tversky(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
    alpha: float,
    beta: float,
    epsilon: float,
) -> None:
    """loss = 1 - I / D, I = sum(x y), D = I + alpha sum((1 - x) y) + beta sum(x (1 - y)) + epsilon.

    y = labels; alpha = beta = 1/2 is Dice's coefficient. dx = (I / D (beta + (1 - alpha - beta) y)
    - y) / D. Sums are float64.
    """
