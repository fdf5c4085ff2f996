"""Losses as metrics: cross-entropies, divergences and hinges, averaged over all batches."""

from __future__ import annotations

from typing import Any

from gpunet import losses
from gpunet.errors import ArgumentError
from gpunet.metrics.reduction import LossMetric


class _Crossentropy(LossMetric):
    """A cross-entropy with options, which its loss must know if they are not the defaults."""

    def __init__(self, name: str | None, dtype: str | None, **options: Any) -> None:
        super().__init__(name, dtype)
        self._options = options
        defaults = {"from_logits": False, "label_smoothing": 0, "ignore_class": None, "axis": -1}
        chosen = {key: value for key, value in options.items() if value != defaults[key]}
        if chosen:
            loss: Any = type(losses.get(self.of))
            try:
                self.loss = loss(**chosen)
            except TypeError:
                raise ArgumentError(
                    f"{type(self).__name__} takes from_logits; "
                    f"{', '.join(chosen)} cannot be changed here."
                ) from None

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **self._options}


class BinaryCrossentropy(_Crossentropy):
    """The mean of -(y log(p) + (1 - y) log(1 - p)).

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
        from_logits: whether the outputs are logits rather than probabilities.
        label_smoothing: how far labels are drawn to 1/2.

    Example:
        >>> round(BinaryCrossentropy()([[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]]), 4)
        0.8149
    """

    name = of = "binary_crossentropy"

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(name, dtype, from_logits=from_logits, label_smoothing=label_smoothing)


class CategoricalCrossentropy(_Crossentropy):
    """The mean of -sum_j y_j log(p_j), for one-hot rows y.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
        from_logits: whether the outputs are logits rather than probabilities.
        label_smoothing: how far labels are drawn to 1 / classes.
        axis: the axis of the classes, the last one.
    """

    name = of = "categorical_crossentropy"

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "label_smoothing": label_smoothing, "axis": axis}
        super().__init__(name, dtype, **options)


class SparseCategoricalCrossentropy(_Crossentropy):
    """The mean of -log(p[y]), for class numbers y.

    Args:
        name: the name to show.
        dtype: kept for `get_config`.
        from_logits: whether the outputs are logits rather than probabilities.
        ignore_class: a class number whose rows do not count.
        axis: the axis of the classes, the last one.

    Example:
        >>> round(SparseCategoricalCrossentropy()([1], [[0.05, 0.95, 0]]), 4)
        0.0513
    """

    name = of = "sparse_categorical_crossentropy"

    def __init__(
        self,
        name: str | None = None,
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        options = {"from_logits": from_logits, "ignore_class": ignore_class, "axis": axis}
        super().__init__(name, dtype, **options)


class KLDivergence(LossMetric):
    """The mean of sum_j y_j log(y_j / p_j)."""

    name = of = "kl_divergence"


class Poisson(LossMetric):
    """The mean of x - y log(x)."""

    name = of = "poisson"


class Hinge(LossMetric):
    """The mean of max(1 - y x, 0), for labels -1 and 1 (0 counts as -1)."""

    name = of = "hinge"


class SquaredHinge(LossMetric):
    """The mean of max(1 - y x, 0)^2, for labels -1 and 1 (0 counts as -1)."""

    name = of = "squared_hinge"


class CategoricalHinge(LossMetric):
    """The mean of max(0, 1 + the largest wrong output - the right output)."""

    name = of = "categorical_hinge"
