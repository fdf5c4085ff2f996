"""Plain functions: losses, each with its gradient: (loss, dx)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def softmax_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> tuple[Array, Array]:
    """Cross-entropy of softmax(x) and its gradient: (loss, dx).

    Args:
        x: logits (rows, columns).
        labels: class numbers (rows,), or probabilities (rows, columns).
        sample_weight: (rows,) factors of each row's loss, or None.
        scale: a factor of dx alone, for example 1 / rows for the gradient of the mean.
        label_smoothing: how much of the labels' probabilities is shared among all columns.
        ignore_class: a class number whose rows have neither loss nor gradient, or None.

    Returns:
        loss (rows,), dx (rows, columns).

    >>> loss, dx = softmax_cross_entropy([[0.0, 0.0]], labels=[1])
    >>> loss, dx
    (array([0.6931472], dtype=float32), array([[ 0.5, -0.5]], dtype=float32))
    """
    options = {"label_smoothing": label_smoothing, "ignore_class": ignore_class}
    return _loss("softmax_cross_entropy", x, labels, sample_weight, scale, **options)


def cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    label_smoothing: float = 0.0,
    ignore_class: int | None = None,
) -> tuple[Array, Array]:
    """Cross-entropy of probabilities x and its gradient: (loss, dx), as `softmax_cross_entropy`.

    >>> cross_entropy([[0.25, 0.75]], labels=[0])[0]
    array([1.3862944], dtype=float32)
    """
    options = {"label_smoothing": label_smoothing, "ignore_class": ignore_class}
    return _loss("cross_entropy", x, labels, sample_weight, scale, **options)


def sigmoid_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """Mean binary cross-entropy of sigmoid(x), for logits and labels (rows, columns): (loss, dx).

    >>> sigmoid_cross_entropy([[0.0]], labels=[[1.0]])
    (array([0.6931472], dtype=float32), array([[-0.5]], dtype=float32))
    """
    options = {"label_smoothing": label_smoothing}
    return _loss("sigmoid_cross_entropy", x, labels, sample_weight, scale, **options)


def binary_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """Mean binary cross-entropy of probabilities x, with labels of the same shape: (loss, dx).

    >>> binary_cross_entropy([[0.5]], labels=[[1.0]])
    (array([0.6931472], dtype=float32), array([[-2.]], dtype=float32))
    """
    options = {"label_smoothing": label_smoothing}
    return _loss("binary_cross_entropy", x, labels, sample_weight, scale, **options)


def softmax_focal_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """-sum_j alpha labels_j (1 - p_j)^gamma log(p_j) of p = softmax(x): (loss, dx).

    ``alpha`` is one number, or a list with one for each class.

    >>> softmax_focal_cross_entropy([[0.0, 0.0]], labels=[[0.0, 1.0]])[0].round(4)
    array([0.0433], dtype=float32)
    """
    options = {"alpha": _of_classes(alpha), "gamma": gamma, "label_smoothing": label_smoothing}
    return _loss("softmax_focal_cross_entropy", x, labels, sample_weight, scale, **options)


def focal_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
) -> tuple[Array, Array]:
    """`softmax_focal_cross_entropy` of probabilities x: (loss, dx).

    >>> focal_cross_entropy([[0.5, 0.5]], labels=[[0.0, 1.0]])[0].round(4)
    array([0.0433], dtype=float32)
    """
    options = {"alpha": _of_classes(alpha), "gamma": gamma, "label_smoothing": label_smoothing}
    return _loss("focal_cross_entropy", x, labels, sample_weight, scale, **options)


def sigmoid_focal_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> tuple[Array, Array]:
    """Mean binary focal cross-entropy of sigmoid(x), for logits: (loss, dx).

    >>> sigmoid_focal_cross_entropy([[0.0]], labels=[[1.0]])[0]
    array([0.1732868], dtype=float32)
    """
    options = {"alpha": alpha, "gamma": gamma, "label_smoothing": label_smoothing}
    options["apply_class_balancing"] = apply_class_balancing
    return _loss("sigmoid_focal_cross_entropy", x, labels, sample_weight, scale, **options)


def binary_focal_cross_entropy(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    label_smoothing: float = 0.0,
    apply_class_balancing: bool = False,
) -> tuple[Array, Array]:
    """`sigmoid_focal_cross_entropy` of probabilities x: (loss, dx).

    >>> binary_focal_cross_entropy([[0.5]], labels=[[1.0]])[0]
    array([0.1732868], dtype=float32)
    """
    options = {"alpha": alpha, "gamma": gamma, "label_smoothing": label_smoothing}
    options["apply_class_balancing"] = apply_class_balancing
    return _loss("binary_focal_cross_entropy", x, labels, sample_weight, scale, **options)


def elementwise_loss(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    kind: str,
    parameter: float = 0.0,
) -> tuple[Array, Array]:
    """The mean along each row of a formula of each element: (loss, dx).

    Args:
        x: predictions (rows, columns).
        labels: targets of the same shape.
        sample_weight: (rows,) factors of each row's loss, or None.
        scale: a factor of dx alone.
        kind: one of `gpunet.backend.spec.ELEMENTWISE_LOSSES`: "squared", "absolute", "huber", ...
        parameter: the formula's number: delta of "huber".

    >>> elementwise_loss([[1.0, 3.0]], labels=[[1.0, 1.0]], kind="squared")
    (array([2.], dtype=float32), array([[0., 2.]], dtype=float32))
    """
    options = {"kind": kind, "parameter": parameter}
    return _loss("elementwise_loss", x, labels, sample_weight, scale, **options)


def categorical_hinge(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """By how much the right class does not lead by 1 in each row, and the gradient: (loss, dx).

    >>> categorical_hinge([[1.0, 0.25]], labels=[[1.0, 0.0]])
    (array([0.25], dtype=float32), array([[-1.,  1.]], dtype=float32))
    """
    return _loss("categorical_hinge", x, labels, sample_weight, scale)


def cosine_similarity(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """Minus the cosine of the angle between the rows of x and of labels: (loss, dx).

    >>> cosine_similarity([[2.0, 0.0]], labels=[[0.0, 3.0]])[1]
    array([[ 0. , -0.5]], dtype=float32)
    """
    return _loss("cosine_similarity", x, labels, sample_weight, scale)


def tversky(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    scale: float = 1.0,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    epsilon: float = 1e-7,
) -> tuple[Array, Array]:
    """How badly masks overlap, over the middle axis of (outer, reduced, inner): (loss, dx).

    >>> tversky([[[1.0], [1.0]]], labels=[[[1.0], [0.0]]])[0].round(4)
    array([[0.3333]], dtype=float32)
    """
    options = {"alpha": alpha, "beta": beta, "epsilon": epsilon}
    return _loss("tversky", x, labels, sample_weight, scale, **options)


def ctc(
    x: Any,
    labels: Any,
    sample_weight: Any = None,
    lengths: Any = None,
    label_lengths: Any = None,
    scale: float = 1.0,
    *,
    blank: int = 0,
) -> tuple[Array, Array]:
    """-log of the probability that steps with logits x spell the labels: (loss, dx).

    Connectionist temporal classification (Graves et al., 2006): each step has a class; equal
    neighbours are merged, then blanks are dropped.

    Args:
        x: logits, (batch, steps, classes).
        labels: class numbers, (batch, length), padded with the blank at the end.
        sample_weight: (batch,) factors of each sample's loss, or None.
        lengths: (batch,) how many steps each sample has, or None for all.
        label_lengths: (batch,) how many labels each sample has; None counts what is not blank.
        scale: a factor of dx alone, for example 1 / batch for the gradient of the mean.
        blank: the class that says nothing.

    Returns:
        loss (batch,), infinite where the labels need more steps; dx as x.

    >>> loss, dx = ctc([[[0.0] * 3] * 2], labels=[[1]])  # 1 blank, blank 1, or 1 1: 3 of 9
    >>> loss.round(4)
    array([1.0986], dtype=float32)
    """
    arrays = {"x": x, "labels": labels, "sample_weight": sample_weight, "totals": [0.0, 0.0]}
    arrays |= {"lengths": lengths, "label_lengths": label_lengths}
    written = run_op("ctc", arrays, scale=scale, blank=blank)
    return written["loss"], written["dx"]


def normalized_weights(
    sample_weight: Any = None,
    labels: Any = None,
    mask: Any = None,
    *,
    by_count: bool = False,
    ignore_class: int | None = None,
) -> Array:
    """Weights of rows divided by their sum; rows that do not count weigh nothing.

    Args:
        sample_weight: (rows,) weights; None for 1.
        labels: (rows,) class numbers; None where no row is ignored.
        mask: (rows,) uint8, 0 for rows that do not count; None where all do.
        by_count: whether to divide by the number of rows that count instead.
        ignore_class: the class number of rows that do not count.

    >>> normalized_weights(labels=[3, 255], ignore_class=255)
    array([1., 0.], dtype=float32)
    """
    arrays = {"sample_weight": sample_weight, "labels": labels, "mask": mask}
    written = run_op("normalized_weights", arrays, by_count=by_count, ignore_class=ignore_class)
    return written["weights"]


def accuracy(x: Any, labels: Any) -> Array:
    """1 for each row of probabilities that is largest at its label, else 0.

    With a single column, 1 where (x > 0.5) equals (label > 0.5).

    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], labels=[1, 1])
    array([1., 0.], dtype=float32)
    """
    return run_op("accuracy", {"x": x, "labels": labels, "accuracy_totals": [0.0, 0.0]})["correct"]


def _of_classes(alpha: float | Sequence[float]) -> float | tuple[float, ...]:
    return tuple(float(a) for a in alpha) if isinstance(alpha, Sequence) else alpha


def _loss(
    name: str, x: Any, labels: Any, sample_weight: Any, scale: float, **options: Any
) -> tuple[Array, Array]:
    arrays = {"x": x, "labels": labels, "sample_weight": sample_weight, "totals": [0.0, 0.0]}
    written = run_op(name, arrays, scale=scale, **options)
    return written["loss"], written["dx"]
