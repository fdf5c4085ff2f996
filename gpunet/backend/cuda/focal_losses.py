"""Focal cross-entropies: launches of kernels/focal_losses.cu."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cuda.device import Device
from gpunet.backend.cuda.losses import Formula, label_rule, launch
from gpunet.backend.spec import Array

_SOURCE = "focal_losses"


def softmax_focal_cross_entropy(
    device: Device,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """loss = -sum_j alpha labels_j (1 - p_j)^gamma log(p_j), p = softmax(x)."""
    written = (dx, loss, correct, totals, accuracy_totals)
    formula = _formula(device, alpha, gamma)
    rule = label_rule(labels, label_smoothing, x.shape[1])
    launch(
        device,
        _SOURCE,
        "softmax_focal_cross_entropy",
        written,
        x,
        labels,
        sample_weight,
        scale,
        formula=formula,
        rule=rule,
        passes=3,
    )


def focal_cross_entropy(
    device: Device,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float | tuple[float, ...],
    gamma: float,
    label_smoothing: float = 0.0,
) -> None:
    """The same of probabilities: p = x / sum(x) clipped, as Keras does."""
    written = (dx, loss, correct, totals, accuracy_totals)
    formula = _formula(device, alpha, gamma)
    rule = label_rule(labels, label_smoothing, x.shape[1])
    launch(
        device,
        _SOURCE,
        "focal_cross_entropy",
        written,
        x,
        labels,
        sample_weight,
        scale,
        formula=formula,
        rule=rule,
        passes=3,
    )


def sigmoid_focal_cross_entropy(
    device: Device,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """loss = mean_j(w_j u_j^gamma bce_j), from logits: p = sigmoid(x)."""
    written = (dx, loss, correct, totals, accuracy_totals)
    formula = Formula(np.float32(alpha), np.float32(gamma), np.int32(apply_class_balancing))
    rule = label_rule(labels, label_smoothing, 2)
    launch(
        device,
        _SOURCE,
        "sigmoid_focal_cross_entropy",
        written,
        x,
        labels,
        sample_weight,
        scale,
        formula=formula,
        rule=rule,
    )


def binary_focal_cross_entropy(
    device: Device,
    dx: Array | None,
    loss: Array,
    correct: Array | None,
    totals: Array,
    accuracy_totals: Array | None,
    x: Array,
    labels: Array,
    sample_weight: Array | None,
    *,
    scale: float,
    alpha: float,
    gamma: float,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> None:
    """The same of probabilities p = x, which bce clips."""
    written = (dx, loss, correct, totals, accuracy_totals)
    formula = Formula(np.float32(alpha), np.float32(gamma), np.int32(apply_class_balancing))
    rule = label_rule(labels, label_smoothing, 2)
    launch(
        device,
        _SOURCE,
        "binary_focal_cross_entropy",
        written,
        x,
        labels,
        sample_weight,
        scale,
        formula=formula,
        rule=rule,
    )


def _formula(device: Device, alpha: float | tuple[float, ...], gamma: float) -> Formula:
    if isinstance(alpha, tuple):
        return Formula(gamma=np.float32(gamma), alphas=device.constants(alpha))
    return Formula(np.float32(alpha), np.float32(gamma))
