"""Constraints: what is done to a weight after each step; non-negativity is a relu in place."""

from __future__ import annotations

from gpunet.backend.spec import InOut, op


@op(weights="full: outer reduced inner")
def norm_constraint(
    weights: InOut, *, min_value: float, max_value: float, rate: float = 1.0
) -> None:
    """Scale each vector weights[o, :, i] so that its length comes within bounds, as Keras does.

    norm = sqrt(sum of w^2); w *= (rate * clip(norm, min_value, max_value) + (1 - rate) * norm)
    / (1e-7 + norm).
    """
