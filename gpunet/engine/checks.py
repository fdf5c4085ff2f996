"""Mistakes that would pass silently and cost a day: said in one sentence, before any step.

What cannot work is an error; what is almost always a mistake is a `GpunetWarning`, which can be
filtered like any Python warning. `check_optimizer` is called by compile, the rest by fit, once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.engine.graph import Graph, Tensor
from gpunet.errors import ArgumentError, warn

if TYPE_CHECKING:
    from gpunet.backend.base import Backend
    from gpunet.layers.base import Layer
    from gpunet.losses import Loss
    from gpunet.metrics import Metric
    from gpunet.optimizers import Optimizer

LARGEST = float(np.finfo(np.float32).max)
LARGE_LEARNING_RATE = 10.0
LARGE_PIXEL = 127  # a uint8 image with a value above this reaches up to 255, not to 1 or 16
# Layers behind which the size of the inputs does not matter, by name: not all exist everywhere.
SCALING_LAYERS = ("Rescaling", "Normalization", "BatchNormalization", "LayerNormalization")


# ------------------------------------------------------------------------------ the set-up


def check_optimizer(optimizer: Optimizer) -> None:
    """A learning rate of more than 10 diverges; most likely a decimal point is lost."""
    rate = optimizer.learning_rate
    if is_number(rate) and rate > LARGE_LEARNING_RATE:
        warn(
            f"{type(optimizer).__name__} has the learning rate {rate:g}, with which training "
            "diverges; usual ones lie between 0.0001 and 1."
        )


def check_backend(name: str, model: Backend, at_build: Backend, now: Backend) -> None:
    """set_backend concerns new models; one that is built stays where it is."""
    if now is not at_build and now is not model:
        warn(
            f"{name} runs on {model.name}, where it was built, although the backend is "
            f"{now.name} by now; model.to({now.name!r}) moves it."
        )


# -------------------------------------------------------------------------------- the data


def check_inputs(where: str, inputs: Sequence[Any], graph: Graph) -> None:
    """Inputs that spoil a training: NaN, infinity, pixels that nobody scaled.

    One pass over host arrays; arrays that are on a device already are not read back.

    Args:
        where: "" for the training data, "validation " for the validation data.
        inputs: one array for each input of the model.
        graph: the model's graph.

    Raises:
        ArgumentError: numbers that are not finite.
    """
    many = len(inputs) > 1
    for tensor, x in zip(graph.inputs, inputs, strict=True):
        name = f"{where}x ({tensor.name})" if many else f"{where}x"
        _check_finite(name, x)
        _check_indices(name, x, tensor, graph)
        if not where:  # said once is enough
            _check_pixels(name, x, tensor, graph)


def check_indices(inputs: Sequence[Any], graph: Graph) -> None:
    """Integers that an embedding has no row for: its vectors of them would be NaN.

    Raises:
        ArgumentError: there are some.
    """
    for tensor, x in zip(graph.inputs, inputs, strict=True):
        name = f"x ({tensor.name})" if len(inputs) > 1 else "x"
        _check_indices(name, x, tensor, graph)


def check_targets(name: str, y: Any) -> None:
    """Targets that spoil a training.

    Raises:
        ArgumentError: numbers that are not finite.
    """
    _check_finite(name, y)


def check_accuracy(loss: Loss, metrics: Sequence[Metric], y: Any) -> None:
    """Of one output "accuracy" compares what is above 0.5: of numbers to be met it says nothing."""
    if not any(metric.name == "accuracy" for metric in metrics) or "crossentropy" in loss.name:
        return
    is_one = isinstance(y, np.ndarray) and y.dtype.kind == "f" and y.size == len(y)
    if is_one and not np.array_equal(np.round(y), y):
        warn(
            "the metric 'accuracy' counts classes, but y holds fractions; take 'mae' or another "
            "metric of distances."
        )


def check_weights(name: str, sample_weight: Any) -> None:
    """Sample weights that are of no use.

    Raises:
        ArgumentError: numbers that are not finite, or weights that are all 0.
    """
    weights = np.asarray(sample_weight)
    _check_finite(name, weights)
    if not weights.any():
        raise ArgumentError(
            f"{name} is 0 for every sample, so there is nothing to learn; give positive weights, "
            "or leave sample_weight out."
        )
    if weights.min() < 0:
        warn(
            f"{name} has negative values, the least {weights.min():g}: for these samples the loss "
            "is pushed up without a bound; weights are usually at least 0."
        )


def _check_finite(name: str, array: Any) -> None:
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
        return  # on a device, or integers
    # Both pass a NaN on, and need no array of booleans: 1.3 million numbers in 0.1 ms, not 0.23.
    if array.size and not (float(array.min()) >= -LARGEST and float(array.max()) <= LARGEST):
        wrong = ~(np.abs(array.astype(np.float64)) <= LARGEST)
        count = int(np.count_nonzero(wrong))
        first = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise ArgumentError(
            f"{name} holds {array[first]} at {list(first)} ({count} such values in all), which "
            "would make every weight NaN in one step; drop these samples or fill the values in."
        )


def _check_pixels(name: str, x: Any, tensor: Tensor, graph: Graph) -> None:
    is_bytes = isinstance(x, np.ndarray) and x.dtype == np.uint8
    if not is_bytes or tensor.dtype.startswith(("int", "uint")) or _is_scaled(tensor, graph):
        return
    largest = int(x.max(initial=0))
    if largest > LARGE_PIXEL:
        warn(
            f"{name} is uint8 up to {largest} and goes unscaled into {graph.nodes[0].layer.label!r}"
            "; put layers.Rescaling(1/255) first, or divide by 255."
        )


def _check_indices(name: str, x: Any, tensor: Tensor, graph: Graph) -> None:
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "iu" or not x.size:
        return
    limits = {layer: layer.integers for layer in _readers(tensor, graph) if layer.integers}
    if not limits:
        return
    low, high = int(x.min()), int(x.max())
    for layer, rows in limits.items():
        if low < 0 or high >= rows:
            wrong = low if low < 0 else high
            first = tuple(int(i) for i in np.argwhere(x == wrong)[0])
            raise ArgumentError(
                f"{name} holds {wrong} at {list(first)}, but {layer.label!r} has rows for 0 to "
                f"{rows - 1}; shift the numbers or raise input_dim."
            )


def _readers(tensor: Tensor, graph: Graph) -> list[Layer]:
    """The layers that read an input, perhaps reshaped."""
    found: list[Layer] = []
    for node in graph.nodes:
        if tensor in map(graph.origin, node.inputs):
            passes = node.layer.passes_through(training=True)
            found += _readers(node.output, graph) if passes else [node.layer]
    return found


def _is_scaled(tensor: Tensor, graph: Graph) -> bool:
    """Whether all that reads an input, perhaps reshaped, is a layer that scales."""
    return all(type(layer).__name__ in SCALING_LAYERS for layer in _readers(tensor, graph))


def check_split(loss: Loss, y: Any, validation_y: Any) -> None:
    """validation_split takes the end of the data: with sorted labels, classes that nobody learns.

    Args:
        loss: the loss; those that are no cross-entropies have no classes.
        y: the labels to train on.
        validation_y: the labels to validate on.
    """
    if "crossentropy" not in loss.name or not isinstance(y, np.ndarray):
        return
    unknown = sorted(_classes(validation_y) - _classes(y))
    if unknown:
        listed = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
        warn(
            f"validation_split takes the last part of the data, which holds the classes {listed} "
            "that the part to train on lacks: the data are sorted; shuffle x and y together first, "
            "or pass validation_data."
        )


def _classes(y: np.ndarray[Any, Any]) -> set[int]:
    """The classes among labels: class numbers, one-hot rows, or numbers up to 1."""
    is_rows = y.ndim > 1 and y.shape[-1] > 1
    labels = y.argmax(axis=-1) if is_rows else np.round(y)
    return {int(label) for label in np.unique(labels)}
