"""Losses of a row that are no cross-entropies: of its elements one by one, hinge, cosine.

dx, loss, totals and scale as in `gpunet.backend.contract.losses`; nothing is counted.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op

_LOSS = {
    "dx": "rows columns",
    "loss": "full: rows",
    "totals": "float64: 2",
    "x": "rows columns",
    "labels": "full: rows columns",
    "sample_weight": "full: rows",
    "in_place": "dx=x",
}


@op(**_LOSS)
def elementwise_loss(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    kind: str,
    scale: float,
    parameter: float = 0.0,
) -> None:
    """loss = mean_j f(x_j, y_j) of a row, y = labels; the sum for kl_divergence.

    =====================  ================================================================
    kind                   f(x, y), with d = x - y and e = 1e-7
    =====================  ================================================================
    squared                d^2
    absolute               |d|
    percentage             100 |d| / max(|y|, e)
    squared_logarithmic    (log(1 + max(x, e)) - log(1 + max(y, e)))^2
    huber                  d^2 / 2 where |d| <= parameter, else parameter (|d| - parameter / 2)
    log_cosh               log(cosh(d)) = |d| + log(1 + exp(-2 |d|)) - log(2)
    poisson                x - y log(x + e)
    kl_divergence          y log(y / x), both clipped to [e, 1]
    hinge                  max(1 - x y, 0), where a y of 0 counts as -1
    squared_hinge          max(1 - x y, 0)^2, where a y of 0 counts as -1
    =====================  ================================================================

    At a kink the gradient is 0; where x is clipped, too.
    """


@op(**_LOSS)
def categorical_hinge(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = max(max_j((1 - y_j) x_j) - sum_j y_j x_j + 1, 0), y = labels.

    dx_j = -y_j, and (1 - y_j) more at the largest (the first of equals); 0 where the loss is.
    """


@op(**_LOSS)
def cosine_similarity(
    dx: Out | None,
    loss: Out,
    totals: InOut,
    x: In,
    labels: In,
    sample_weight: In | None,
    *,
    scale: float,
) -> None:
    """loss = -sum_j x_j y_j / (max(|x|, 1e-7) max(|y|, 1e-7)), y = labels, |x| the norm of the row.

    dx = -(y / |y| + loss x / |x|) / |x|; without the middle term where |x| is below 1e-7.
    """
