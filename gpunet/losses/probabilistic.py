"""Losses of probabilities: cross-entropies and their focal kin, Kullback-Leibler, Poisson."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, warn
from gpunet.losses.base import (
    MEAN,
    Loss,
    LossBuffers,
    Values,
    final_activation,
    last_axis,
    number,
)
from gpunet.losses.regression import ElementwiseLoss

_NO_PROBABILITIES = ("linear", "relu", "tanh")


class _FromLogits(Loss):
    """A loss on probabilities, or with from_logits on what comes before softmax or sigmoid."""

    on_probabilities = ""
    on_logits = ""
    activation = "softmax"

    def __init__(
        self,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: str | None,
    ) -> None:
        super().__init__(name, reduction, dtype)
        self.from_logits = bool(from_logits)
        self.label_smoothing = number("label_smoothing", label_smoothing, 0, 1, loss=self.name)
        self.axis = last_axis(axis, self.name)

    def attributes(self) -> dict[str, Any]:
        """The op's keyword arguments beside scale."""
        return {"label_smoothing": self.label_smoothing}

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        loss = getattr(op, self.on_logits if self.from_logits else self.on_probabilities)
        arrays = (b.dx, b.loss, None, b.totals, None, b.x, b.labels, b.sample_weight)
        loss(*arrays, scale=b.scale, **self.attributes())

    def check_model(self, layer: Any) -> None:
        """Also: whether the last layer's activation gives what the loss takes."""
        super().check_model(layer)
        last = final_activation(layer)
        if self.activation == "softmax" and last is not None and getattr(layer, "units", 0) == 1:
            raise ArgumentError(
                f"the loss {self.name!r} needs one output a class, but {layer.label} has one unit; "
                "for two classes take 'binary_crossentropy' and activation='sigmoid'."
            )
        if self.from_logits and last == self.activation:
            warn(
                f"the loss {self.name!r} has from_logits=True, but {layer.label} ends with "
                f"{last}, which makes probabilities of logits: drop one of the two."
            )
        if not self.from_logits and last in _NO_PROBABILITIES:
            warn(
                f"the loss {self.name!r} takes probabilities, but {layer.label} ends with {last}: "
                f"give it activation={self.activation!r}, or the loss from_logits=True."
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "from_logits": self.from_logits,
            "label_smoothing": self.label_smoothing,
            "axis": self.axis,
        }


class CategoricalCrossentropy(_FromLogits):
    """-sum_j y_j log(p_j), for one-hot (or any probability) rows y.

    After a final softmax it is computed from the logits, which is exact where log(softmax) is not.

    Args:
        from_logits: whether the model's outputs are logits rather than probabilities.
        label_smoothing: how much of each label is shared among all classes, 0 to 1.
        axis: -1, the axis of the classes.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.

    Example:
        >>> round(CategoricalCrossentropy()([[0, 1]], [[0.5, 0.5]]), 4)
        0.6931
    """

    name = "categorical_crossentropy"
    on_probabilities = "cross_entropy"
    on_logits = "softmax_cross_entropy"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)


class SparseCategoricalCrossentropy(_FromLogits):
    """-log(p[y]), for class numbers y.

    Args:
        from_logits: whether the model's outputs are logits rather than probabilities.
        ignore_class: a class number (255 or -1 for example) whose rows have no loss, no gradient
            and no share in the mean; None for none.
        reduction: see `Loss`.
        axis: -1, the axis of the classes.
        name: the name to show.
        dtype: see `Loss`.

    Example:
        >>> round(SparseCategoricalCrossentropy(ignore_class=-1)([1, -1], [[0.5, 0.5]] * 2), 4)
        0.6931
    """

    name = "sparse_categorical_crossentropy"
    sparse = True
    on_probabilities = "cross_entropy"
    on_logits = "softmax_cross_entropy"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = MEAN,
        axis: int = -1,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, 0.0, axis, reduction, name, dtype)
        if ignore_class is not None and (
            isinstance(ignore_class, bool) or not isinstance(ignore_class, int | np.integer)
        ):
            raise ArgumentError(
                f"the loss {self.name!r} takes a class number or None for ignore_class, got "
                f"{ignore_class!r}."
            )
        self.ignore_class = None if ignore_class is None else int(ignore_class)

    def attributes(self) -> dict[str, Any]:
        """The op's keyword arguments beside scale."""
        return {"ignore_class": self.ignore_class}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["label_smoothing"]
        return {**config, "ignore_class": self.ignore_class}


class CategoricalFocalCrossentropy(_FromLogits):
    """-sum_j alpha (1 - p_j)^gamma y_j log(p_j): rows that are predicted well count less.

    Lin et al., Focal Loss for Dense Object Detection (2017). After a final softmax it is computed
    from the logits.

    Args:
        alpha: the factor of all classes, or a list with one for each.
        gamma: how much less; 0 is `CategoricalCrossentropy` times alpha.
        from_logits: whether the model's outputs are logits rather than probabilities.
        label_smoothing: how much of each label is shared among all classes, 0 to 1.
        axis: -1, the axis of the classes.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    name = "categorical_focal_crossentropy"
    on_probabilities = "focal_cross_entropy"
    on_logits = "softmax_focal_cross_entropy"

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.alpha = self._one_or_several(alpha)
        self.gamma = number("gamma", gamma, 0, loss=self.name)

    def _one_or_several(self, alpha: Any) -> float | list[float]:
        several = isinstance(alpha, list | tuple) or (
            isinstance(alpha, np.ndarray) and alpha.ndim == 1
        )
        if not several:
            return number("alpha", alpha, loss=self.name)
        return [number("each alpha", item, loss=self.name) for item in alpha]

    def record(self, op: Recorder, b: LossBuffers) -> None:
        """One launch: losses, totals and gradient."""
        if isinstance(self.alpha, list) and len(self.alpha) != b.x.shape[1]:
            raise ArgumentError(
                f"the loss {self.name!r} has {len(self.alpha)} numbers in alpha for predictions "
                f"of {b.x.shape[1]} classes; give one for each class, or one number for all."
            )
        super().record(op, b)

    def attributes(self) -> dict[str, Any]:
        """The op's keyword arguments beside scale."""
        alpha = tuple(self.alpha) if isinstance(self.alpha, list) else self.alpha
        return {**super().attributes(), "alpha": alpha, "gamma": self.gamma}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma}


class BinaryCrossentropy(_FromLogits):
    """-mean_j(y_j log(p_j) + (1 - y_j) log(1 - p_j)), for y between 0 and 1.

    After a final sigmoid it is computed from the logits.

    Args:
        from_logits: whether the model's outputs are logits rather than probabilities.
        label_smoothing: how far labels are drawn towards 1/2, 0 to 1.
        axis: -1, the axis of the mean.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.

    Example:
        >>> round(BinaryCrossentropy()([[1], [0]], [[0.5], [0.5]]), 4)
        0.6931
    """

    name = "binary_crossentropy"
    on_probabilities = "binary_cross_entropy"
    on_logits = "sigmoid_cross_entropy"
    activation = "sigmoid"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)

    def labels(self, y: Any, shape: tuple[int, ...], backend: Backend) -> Array:
        """Labels from 0 to 1; those on a device are taken as they are."""
        labels = super().labels(y, shape, backend)
        on_host = isinstance(labels, np.ndarray) and labels.size > 0
        if on_host and (labels.min() < 0 or labels.max() > 1):
            raise ArgumentError(
                f"y for the loss {self.name!r} must be from 0 to 1, got numbers from "
                f"{labels.min()} to {labels.max()}; for labels of -1 and 1 take 'hinge' or "
                "(y + 1) / 2."
            )
        return labels


class BinaryFocalCrossentropy(BinaryCrossentropy):
    """mean_j(u_j^gamma bce_j), u = y (1 - p) + (1 - y) p: what is predicted well counts less.

    Lin et al., Focal Loss for Dense Object Detection (2017). After a final sigmoid it is computed
    from the logits.

    Args:
        apply_class_balancing: whether class 1 weighs alpha and class 0 weighs 1 - alpha.
        alpha: that weight.
        gamma: how much less; 0 is `BinaryCrossentropy`.
        from_logits: whether the model's outputs are logits rather than probabilities.
        label_smoothing: how far labels are drawn towards 1/2, 0 to 1.
        axis: -1, the axis of the mean.
        reduction: see `Loss`.
        name: the name to show.
        dtype: see `Loss`.
    """

    name = "binary_focal_crossentropy"
    on_probabilities = "binary_focal_cross_entropy"
    on_logits = "sigmoid_focal_cross_entropy"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing, axis, reduction, name, dtype)
        self.apply_class_balancing = bool(apply_class_balancing)
        self.alpha = number("alpha", alpha, loss=self.name)
        self.gamma = number("gamma", gamma, 0, loss=self.name)

    def attributes(self) -> dict[str, Any]:
        """The op's keyword arguments beside scale."""
        balancing = {"apply_class_balancing": self.apply_class_balancing}
        return {**super().attributes(), "alpha": self.alpha, "gamma": self.gamma, **balancing}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        balancing = {"apply_class_balancing": self.apply_class_balancing}
        return {**super().get_config(), "alpha": self.alpha, "gamma": self.gamma, **balancing}


class KLDivergence(ElementwiseLoss):
    """sum_j y_j log(y_j / p_j), both clipped to [1e-7, 1]. Arguments as `MeanSquaredError`."""

    name = "kl_divergence"
    kind = "kl_divergence"


class Poisson(ElementwiseLoss):
    """mean_j(x_j - y_j log(x_j + 1e-7)), for counts y. Arguments as `MeanSquaredError`."""

    name = "poisson"
    kind = "poisson"


def categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Values:
    """The loss of each row; see `CategoricalCrossentropy`."""
    return CategoricalCrossentropy(from_logits, label_smoothing, axis).rows(y_true, y_pred)


def sparse_categorical_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    ignore_class: int | None = None,
    axis: int = -1,
) -> Values:
    """The loss of each row; see `SparseCategoricalCrossentropy`."""
    loss = SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis)
    return loss.rows(y_true, y_pred)


def categorical_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: float | Sequence[float] = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Values:
    """The loss of each row; see `CategoricalFocalCrossentropy`."""
    loss = CategoricalFocalCrossentropy(alpha, gamma, from_logits, label_smoothing, axis)
    return loss.rows(y_true, y_pred)


def binary_crossentropy(
    y_true: Any,
    y_pred: Any,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Values:
    """The loss of each row; see `BinaryCrossentropy`."""
    return BinaryCrossentropy(from_logits, label_smoothing, axis).rows(y_true, y_pred)


def binary_focal_crossentropy(
    y_true: Any,
    y_pred: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    axis: int = -1,
) -> Values:
    """The loss of each row; see `BinaryFocalCrossentropy`."""
    loss = BinaryFocalCrossentropy(
        apply_class_balancing, alpha, gamma, from_logits, label_smoothing, axis
    )
    return loss.rows(y_true, y_pred)


def kl_divergence(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `KLDivergence`."""
    return KLDivergence().rows(y_true, y_pred)


def poisson(y_true: Any, y_pred: Any) -> Values:
    """The loss of each row; see `Poisson`."""
    return Poisson().rows(y_true, y_pred)
