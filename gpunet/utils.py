"""Small helpers under Keras' names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.errors import ArgumentError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray


def set_random_seed(seed: int) -> None:
    """Seed Python's ``random``, NumPy's legacy ``numpy.random`` and gpunet.

    Args:
        seed: an integer from 0 to 2**32 - 1 (the range of ``numpy.random.seed``).

    Raises:
        ArgumentError: the seed is no such integer.

    Example:
        >>> set_random_seed(812)
    """
    seed = random.check_seed(seed, 2**32)
    import random as python_random  # costs 3 ms

    python_random.seed(seed)
    np.random.seed(seed)
    random.set_seed(seed)


def to_categorical(x: ArrayLike, num_classes: int | None = None) -> NDArray[np.float64]:
    """Turn class numbers into one-hot rows: ``y[..., c] = 1 if x[...] == c else 0``.

    Args:
        x: integers from 0 to ``num_classes - 1``, of any shape; a last axis of length 1 is dropped.
        num_classes: the number of classes; ``max(x) + 1`` when it is not given.

    Returns:
        Zeros and ones of shape ``(*x.shape, num_classes)``, in float64 as in Keras.

    Raises:
        ArgumentError: a label is no integer, negative or too large, or there is none to infer
            the number of classes from.

    Example:
        >>> to_categorical([0, 2], num_classes=3)
        array([[1., 0., 0.],
               [0., 0., 1.]])
    """
    labels = _labels(x)
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if num_classes is None:
        if labels.size == 0:
            raise ArgumentError("to_categorical got no labels: pass num_classes.")
        num_classes = int(labels.max()) + 1
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if wrong.size:
        raise ArgumentError(
            f"to_categorical got the label {wrong[0]}, expected labels from 0 to"
            f" {num_classes - 1}: shift the labels or raise num_classes."
        )
    one_hot = np.zeros((labels.size, num_classes))
    one_hot[np.arange(labels.size), labels.ravel()] = 1.0
    return one_hot.reshape(*labels.shape, num_classes)


def _labels(x: ArrayLike) -> NDArray[np.int64]:
    """The labels as integers; like Keras this takes 2.0, but unlike Keras it refuses 2.5."""
    try:
        values = np.asarray(x)
        with np.errstate(invalid="ignore"):  # NaN and 1e300 are found by the comparison below
            labels = values.astype(np.int64)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"to_categorical needs an array of integers: {error}.") from error
    if values.dtype.kind == "f" and not np.array_equal(labels, values):
        raise ArgumentError("to_categorical needs whole numbers, got fractions, NaN or infinity.")
    return labels


def pad_sequences(
    sequences: Iterable[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float = 0.0,
) -> np.ndarray[Any, Any]:
    """Bring sequences to one length, as Keras' function of this name does.

    Args:
        sequences: lists or arrays of steps; all steps of one shape.
        maxlen: the length, that of the longest sequence if None.
        dtype: of the result.
        padding: "pre" or "post": where short ones are filled up.
        truncating: "pre" or "post": where long ones are cut.
        value: what they are filled up with.

    Returns:
        An array (sequences, maxlen, ...).

    Raises:
        ArgumentError: something that is no list of sequences, steps of several shapes, or an
            unknown side.

    Example:
        >>> pad_sequences([[1], [2, 3, 4]])
        array([[0, 0, 1],
               [2, 3, 4]], dtype=int32)
        >>> pad_sequences([[1], [2, 3, 4]], maxlen=2, padding="post")
        array([[1, 0],
               [3, 4]], dtype=int32)
    """
    for name, side in (("padding", padding), ("truncating", truncating)):
        if side not in ("pre", "post"):
            raise ArgumentError(f"{name} of pad_sequences must be 'pre' or 'post', got {side!r}.")
    if not isinstance(sequences, Iterable):
        raise ArgumentError(f"pad_sequences takes a list of sequences, got {sequences!r}.")
    rows = []
    for number, sequence in enumerate(sequences):
        if isinstance(sequence, str) or not hasattr(sequence, "__len__"):
            raise ArgumentError(
                "pad_sequences takes a list of sequences of numbers, but number "
                f"{number} is {sequence!r}; put brackets around a single sequence."
            )
        rows.append(np.asarray(sequence))
    length = max(map(len, rows), default=0) if maxlen is None else maxlen
    steps = {row.shape[1:] for row in rows if len(row)} or {()}
    if len(steps) > 1:
        raise ArgumentError(f"pad_sequences takes steps of one shape, got {sorted(steps)}.")
    padded = np.full((len(rows), length, *steps.pop()), value, dtype)
    for target, row in zip(padded, rows, strict=True):
        if not length or not len(row):
            continue
        kept = row[-length:] if truncating == "pre" else row[:length]
        place = slice(length - len(kept), None) if padding == "pre" else slice(len(kept))
        target[place] = kept
    return padded
