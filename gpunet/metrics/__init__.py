"""Metrics under Keras' names: as a string, a class or an object for ``compile``, or on their own.

States stay on the device and are read once per progress refresh.

Example:
    >>> from gpunet import Sequential, layers, metrics
    >>> model = Sequential([layers.Dense(1, "sigmoid", input_dim=4)])
    >>> model.compile("sgd", "binary_crossentropy", metrics=["accuracy", metrics.AUC()])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.metrics.accuracy import (
    Accuracy,
    AccuracyByShape,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from gpunet.metrics.base import MeanOfRows, Metric
from gpunet.metrics.confusion import (
    AUC,
    FalseNegatives,
    FalsePositives,
    Precision,
    Recall,
    TrueNegatives,
    TruePositives,
)
from gpunet.metrics.f_score import F1Score, FBetaScore
from gpunet.metrics.overlap import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
from gpunet.metrics.probabilistic import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Hinge,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
)
from gpunet.metrics.rates import (
    PrecisionAtRecall,
    RecallAtPrecision,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
)
from gpunet.metrics.reduction import Mean, MeanMetricWrapper, Sum
from gpunet.metrics.regression import (
    CosineSimilarity,
    LogCoshError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    R2Score,
    RootMeanSquaredError,
)

_METRICS: dict[str, Callable[..., Metric]] = {
    "accuracy": AccuracyByShape,
    "acc": AccuracyByShape,
    "auc": AUC,
    "bce": BinaryCrossentropy,
    "binary_accuracy": BinaryAccuracy,
    "binary_crossentropy": BinaryCrossentropy,
    "binary_iou": BinaryIoU,
    "categorical_accuracy": CategoricalAccuracy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "categorical_hinge": CategoricalHinge,
    "cosine_similarity": CosineSimilarity,
    "f1_score": F1Score,
    "false_negatives": FalseNegatives,
    "false_positives": FalsePositives,
    "fbeta_score": FBetaScore,
    "hinge": Hinge,
    "iou": IoU,
    "kl_divergence": KLDivergence,
    "log_cosh_error": LogCoshError,
    "logcosh": LogCoshError,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mean_absolute_error": MeanAbsoluteError,
    "mean_absolute_percentage_error": MeanAbsolutePercentageError,
    "mean_iou": MeanIoU,
    "mean_squared_error": MeanSquaredError,
    "mean_squared_logarithmic_error": MeanSquaredLogarithmicError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
    "one_hot_iou": OneHotIoU,
    "one_hot_mean_iou": OneHotMeanIoU,
    "poisson": Poisson,
    "precision": Precision,
    "r2_score": R2Score,
    "recall": Recall,
    "root_mean_squared_error": RootMeanSquaredError,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "squared_hinge": SquaredHinge,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "true_negatives": TrueNegatives,
    "true_positives": TruePositives,
}


def get(identifier: Any) -> Metric:
    """The metric of a name, class or object; a name stays the name that is shown.

    A Loss, or the name or function of one, becomes the mean of that loss.

    Raises:
        ArgumentError: unknown (a name gets a suggestion), or a class that needs arguments.

    Example:
        >>> get("mse").name
        'mse'
    """
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return _without_arguments(identifier)
    if isinstance(identifier, str):
        return _named(identifier)
    try:
        return MeanMetricWrapper(identifier)
    except ArgumentError:
        raise ArgumentError(
            f"a metric must be a name such as 'accuracy', a class or an object of gpunet.metrics, "
            f"or a loss, got {shown(identifier)}; for one of your own subclass "
            "gpunet.metrics.Metric, whose ops run where the model is."
        ) from None


def _named(name: str) -> Metric:
    """The metric or the loss of this name."""
    try:
        metric = lookup(name, _METRICS, "metric")
    except ArgumentError as unknown:
        try:
            return MeanMetricWrapper(name, name)
        except ArgumentError:
            raise unknown from None
    return _without_arguments(metric, name=name)


def _without_arguments(metric: Callable[..., Metric], **name: str) -> Metric:
    try:
        return metric(**name)
    except TypeError:
        kind = getattr(metric, "__name__", str(metric))
        raise ArgumentError(
            f"the metric {kind} needs arguments: give compile an object, metrics.{kind}(...)."
        ) from None


__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanOfRows",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "get",
]
