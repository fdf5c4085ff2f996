"""Losses under Keras' names: as a string, as a function, or as an object for ``compile``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.identifiers import lookup
from gpunet.losses.base import Loss, LossBuffers
from gpunet.losses.margin import (
    CategoricalHinge,
    Hinge,
    SquaredHinge,
    categorical_hinge,
    hinge,
    squared_hinge,
)
from gpunet.losses.overlap import (
    Dice,
    Tversky,
    dice,
    tversky,
)
from gpunet.losses.probabilistic import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    KLDivergence,
    Poisson,
    SparseCategoricalCrossentropy,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    kl_divergence,
    poisson,
    sparse_categorical_crossentropy,
)
from gpunet.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    cosine_similarity,
    huber,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
)
from gpunet.losses.sequence import CTC, ctc

_FUNCTIONS: dict[Callable[..., Any], type[Loss]] = {
    categorical_crossentropy: CategoricalCrossentropy,
    sparse_categorical_crossentropy: SparseCategoricalCrossentropy,
    categorical_focal_crossentropy: CategoricalFocalCrossentropy,
    binary_crossentropy: BinaryCrossentropy,
    binary_focal_crossentropy: BinaryFocalCrossentropy,
    kl_divergence: KLDivergence,
    poisson: Poisson,
    mean_squared_error: MeanSquaredError,
    mean_absolute_error: MeanAbsoluteError,
    mean_absolute_percentage_error: MeanAbsolutePercentageError,
    mean_squared_logarithmic_error: MeanSquaredLogarithmicError,
    huber: Huber,
    log_cosh: LogCosh,
    cosine_similarity: CosineSimilarity,
    hinge: Hinge,
    squared_hinge: SquaredHinge,
    categorical_hinge: CategoricalHinge,
    ctc: CTC,
    dice: Dice,
    tversky: Tversky,
}
_SHORT: dict[str, type[Loss]] = {
    "bce": BinaryCrossentropy,
    "kld": KLDivergence,
    "mae": MeanAbsoluteError,
    "mape": MeanAbsolutePercentageError,
    "mse": MeanSquaredError,
    "msle": MeanSquaredLogarithmicError,
}
_NAMES = {function.__name__: loss for function, loss in _FUNCTIONS.items()} | _SHORT


def get(identifier: Any) -> Loss:
    """The loss of a name, function, class, object, or dict of `serialize`.

    Raises:
        ArgumentError: unknown; a name gets a suggestion.

    Example:
        >>> get("mse").name
        'mean_squared_error'
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if isinstance(identifier, str):
        return lookup(identifier, _NAMES, "loss")()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if callable(identifier) and identifier in _FUNCTIONS:
        return _FUNCTIONS[identifier]()
    raise ArgumentError(
        f"loss must be a name such as 'mse', a function of gpunet.losses or a Loss, got "
        f"{shown(identifier)}; for one of your own subclass gpunet.losses.Loss, because gpunet has "
        "no automatic differentiation."
    )


def serialize(loss: Loss) -> dict[str, Any]:
    """A loss as a dict of plain values.

    Example:
        >>> serialize(Huber(2.0))["class_name"]
        'Huber'
    """
    return {"class_name": type(loss).__name__, "config": loss.get_config()}


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Loss]] | None = None
) -> Loss:
    """The loss of a dict that `serialize` made.

    Args:
        config: the dict, with class_name and config.
        custom_objects: losses of your own by their classes' names.

    Raises:
        ArgumentError: an unknown class.
    """
    if "class_name" not in config:
        raise ArgumentError(
            f"a loss as a dict has class_name and config, got {', '.join(map(str, config))}."
        )
    own = custom_objects or {}
    name = config["class_name"]
    loss = own[name] if name in own else lookup(name, _NAMES, "loss")
    return loss.from_config(dict(config.get("config") or {}))


__all__ = [
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "LossBuffers",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "cosine_similarity",
    "ctc",
    "deserialize",
    "dice",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "poisson",
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]
