"""Plain functions: regularizers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.dispatch import as_array, as_updated, run_op
from gpunet.backend.spec import Array


def weight_penalty(
    weights: Any, l1: float = 0.0, l2: float = 0.0, gradients: Array | None = None
) -> float:
    """The penalty sum(l1 |w| + l2 w^2); gradients, if given, grow by l1 sign(w) + 2 l2 w.

    Args:
        weights: the weights, of any shape.
        l1: the factor of the absolute values.
        l2: the factor of the squares.
        gradients: of the same shape, updated where they are, or None.

    >>> gradients = np.zeros(2)
    >>> weight_penalty(np.array([3.0, -4.0]), l2=0.5, gradients=gradients)
    12.5
    >>> gradients
    array([ 3., -4.])
    """
    flat = as_array(weights).reshape(-1)
    arrays = {"weights": flat, "penalties": [[0.0, float(flat.size), l1, l2]], "totals": [0.0, 0.0]}
    if gradients is not None:
        arrays["gradients"] = as_updated("weight_penalty", "gradients", gradients).reshape(-1)
    return _first(run_op("weight_penalty", arrays, count=1)["totals"])


def activity_penalty(x: Any, l1: float = 0.0, l2: float = 0.0) -> tuple[float, Array]:
    """The penalty sum(l1 |x| + l2 x^2) and its gradient: (penalty, dx).

    >>> activity_penalty([[3.0, -4.0]], l1=1.0)
    (7.0, array([[ 1., -1.]], dtype=float32))
    """
    arrays = {"x": x, "totals": [0.0, 0.0]}
    written = run_op("activity_penalty", arrays, l1=l1, l2=l2, count=1)
    return _first(written["totals"]), written["dx"]


def orthogonality_penalty(gram: Any, factor: float = 0.01) -> tuple[float, Array]:
    """The mean of the cosines' sizes over all pairs of vectors, times factor: (penalty, slopes).

    Args:
        gram: the products of the vectors with each other, (vectors, vectors).
        factor: the factor.

    Returns:
        The penalty, and slopes such that ``slopes @ w`` is its gradient with respect to vectors
        that are the rows of w.

    >>> w = np.array([[3.0, 0.0], [4.0, 4.0]])
    >>> penalty, slopes = orthogonality_penalty(w @ w.T, factor=1.0)
    >>> round(penalty, 4)
    0.7071
    >>> (slopes @ w)[1].round(4).tolist()
    [0.0884, -0.0884]
    """
    arrays = {"gram": gram, "totals": [0.0, 0.0]}
    written = run_op("orthogonality_penalty", arrays, factor=factor, count=1)
    return _first(written["totals"]), written["slopes"]


def _first(totals: Array) -> float:
    host = totals if isinstance(totals, np.ndarray) else totals.get()
    return float(host[0])
