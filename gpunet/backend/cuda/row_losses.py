"""Losses of a row that are no cross-entropies: launches of kernels/row_losses.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import Device
from gpunet.backend.cuda.losses import Formula, launch
from gpunet.backend.spec import ELEMENTWISE_LOSSES, Array

_SOURCE = "row_losses"


def elementwise_loss(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    kind: str,
    scale: float,
    parameter: float = 0.0,
) -> None:
    """loss = mean_j f(x_j, labels_j) of a row; the sum for kl_divergence."""
    written = (dx, loss, None, totals, None)
    number = np.int32(ELEMENTWISE_LOSSES.index(kind))
    formula = Formula(np.float32(parameter), kind=number)
    symbol = "elementwise_loss"
    launch(device, _SOURCE, symbol, written, x, labels, sample_weight, scale, formula=formula)


def categorical_hinge(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
) -> None:
    """loss = max(max_j((1 - y_j) x_j) - sum_j y_j x_j + 1, 0), y = labels."""
    written = (dx, loss, None, totals, None)
    symbol = "categorical_hinge"
    launch(device, _SOURCE, symbol, written, x, labels, sample_weight, scale, passes=2)


def cosine_similarity(
    device: Device,
    dx: Array | None,
    loss: Array,
    totals: Array,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
) -> None:
    """loss = -sum_j x_j y_j / (max(|x|, 1e-7) max(|y|, 1e-7)), y = labels."""
    written = (dx, loss, None, totals, None)
    symbol = "cosine_similarity"
    launch(device, _SOURCE, symbol, written, x, labels, sample_weight, scale, passes=2)
