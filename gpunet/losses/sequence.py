"""CTC, the loss of label sequences that are not aligned with the steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.data import as_numbers
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, ShapeError, warn
from gpunet.losses.base import MEAN, Loss, LossBuffers, Values, final_activation


class CTC(Loss):
    """-log of the probability that the steps of a sample spell its labels.

    A network gives each step of a sequence logits of the classes; class 0 is the blank. A way
    through the steps spells what is left of its classes when equal neighbours are merged and then
    blanks dropped. The loss sums up the probabilities of all ways that spell the labels: nobody
    needs to say at which step a label is.

    Labels are class numbers (samples, length) from 1 on, padded with 0 at the end; predictions
    are logits (samples, steps, classes). n labels need n steps, and one more for each that equals
    the one before it: where there are not so many the loss is infinite, with a gradient of 0
    (Keras: NaN).

    Args:
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.

    Source: Graves et al., Connectionist Temporal Classification (2006).

    Example:
        >>> round(CTC()([[1]], np.zeros((1, 2, 3))), 4)  # "1 1", "1 -" or "- 1": 3 of 9 ways
        1.0986
    """

    name = "ctc"
    sparse = True

    def __init__(
        self, reduction: str | None = MEAN, name: str | None = None, dtype: str | None = None
    ) -> None:
        super().__init__(name, reduction, dtype)

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """Losses, totals and gradient."""
        labels = b.labels.reshape(b.x.shape[0], -1)
        op.ctc(
            b.dx, b.loss, b.totals, b.x, labels, b.sample_weight, None, None, None, scale=b.scale
        )

    def labels(self, y: Any, shape: tuple[int, ...], backend: Backend) -> Array:
        """Class numbers (samples, length) as int32."""
        where = f"y for the loss {self.name!r}"
        if len(shape) != 3:
            raise ShapeError(
                f"the loss {self.name!r} takes predictions (samples, steps, classes), got {shape}."
            )
        labels, (_, steps, classes) = as_numbers(y, where), shape
        if labels.ndim != 2:
            raise ShapeError(
                f"{where} must be class numbers of shape (samples, length), got {labels.shape}."
            )
        numbers = labels.astype(np.int32)
        if not np.array_equal(numbers, labels):
            raise ArgumentError(f"{where} must be class numbers, got fractions or NaN.")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < classes:
            raise ArgumentError(
                f"{where} must be class numbers from 1 to {classes - 1}, padded with 0, got "
                f"numbers from {numbers.min()} to {numbers.max()}."
            )
        if ((numbers[:, :-1] == 0) & (numbers[:, 1:] != 0)).any():
            raise ArgumentError(
                f"{where} has a 0 before a label; 0 is the blank, which only pads the end."
            )
        repeats = (numbers[:, 1:] == numbers[:, :-1]) & (numbers[:, 1:] != 0)
        needed = (numbers != 0).sum(axis=1) + repeats.sum(axis=1)
        if (needed > steps).any():
            warn(
                f"{(needed > steps).sum()} of {len(numbers)} samples have labels that need up to "
                f"{needed.max()} steps, the model gives {steps}: their loss is infinite and they "
                "teach nothing; shorten them, or stride less."
            )
        return np.ascontiguousarray(numbers)

    def loss_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """One loss a sample."""
        return shape[:1]

    def op_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """As they are."""
        return shape

    def rows_counted(self, shape: tuple[int, ...]) -> int:
        """The samples."""
        return shape[0]

    def check_model(self, layer: Any) -> None:
        """Also: whether the last layer gives logits."""
        super().check_model(layer)
        if final_activation(layer) in ("softmax", "sigmoid"):
            warn(
                f"the loss {self.name!r} takes logits, but {layer.label} ends with "
                f"{final_activation(layer)}: drop it."
            )


def ctc(y_true: Any, y_pred: Any) -> Values:
    """The loss of each sample; see `CTC`."""
    return CTC().rows(y_true, y_pred)
