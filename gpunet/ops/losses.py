"""Plain functions: losses."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def softmax_cross_entropy(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """Cross-entropy of softmax(x) and its gradient: (loss, dx).

    Args:
        x: logits (rows, columns).
        labels: class numbers (rows,), or probabilities (rows, columns).
        sample_weight: (rows,) factors of each row's loss, or None.
        scale: a factor of dx alone, for example 1 / rows for the gradient of the mean.

    Returns:
        loss (rows,), dx (rows, columns).

    >>> loss, dx = softmax_cross_entropy([[0.0, 0.0]], labels=[1])
    >>> loss, dx
    (array([0.6931472], dtype=float32), array([[ 0.5, -0.5]], dtype=float32))
    """
    return _loss("softmax_cross_entropy", x, labels, sample_weight, scale)


def cross_entropy(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """Cross-entropy of probabilities x and its gradient: (loss, dx), as `softmax_cross_entropy`.

    >>> cross_entropy([[0.25, 0.75]], labels=[0])[0]
    array([1.3862944], dtype=float32)
    """
    return _loss("cross_entropy", x, labels, sample_weight, scale)


def sigmoid_cross_entropy(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """Mean binary cross-entropy of sigmoid(x), for logits and labels (rows, columns): (loss, dx).

    >>> sigmoid_cross_entropy([[0.0]], labels=[[1.0]])
    (array([0.6931472], dtype=float32), array([[-0.5]], dtype=float32))
    """
    return _loss("sigmoid_cross_entropy", x, labels, sample_weight, scale)


def binary_cross_entropy(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """Mean binary cross-entropy of probabilities x, with labels of the same shape: (loss, dx).

    >>> binary_cross_entropy([[0.5]], labels=[[1.0]])
    (array([0.6931472], dtype=float32), array([[-2.]], dtype=float32))
    """
    return _loss("binary_cross_entropy", x, labels, sample_weight, scale)


def mean_squared_error(
    x: Any, labels: Any, sample_weight: Any = None, scale: float = 1.0
) -> tuple[Array, Array]:
    """The mean of (x - labels)^2 of each row and its gradient: (loss, dx).

    >>> mean_squared_error([[1.0, 3.0]], labels=[[1.0, 1.0]])
    (array([2.], dtype=float32), array([[0., 2.]], dtype=float32))
    """
    return _loss("mean_squared_error", x, labels, sample_weight, scale)


def accuracy(x: Any, labels: Any) -> Array:
    """1 for each row of probabilities that is largest at its label, else 0.

    With a single column, 1 where (x > 0.5) equals (label > 0.5).

    >>> accuracy([[0.1, 0.9], [0.8, 0.2]], labels=[1, 1])
    array([1., 0.], dtype=float32)
    """
    return run_op("accuracy", {"x": x, "labels": labels, "accuracy_totals": [0.0, 0.0]})["correct"]


def _loss(name: str, x: Any, labels: Any, sample_weight: Any, scale: float) -> tuple[Array, Array]:
    arrays = {"x": x, "labels": labels, "sample_weight": sample_weight, "totals": [0.0, 0.0]}
    written = run_op(name, arrays, scale=scale)
    return written["loss"], written["dx"]
