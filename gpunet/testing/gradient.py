"""The gradient check: a backward against central differences of its forward, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.engine.inputs import device_dtype
from gpunet.engine.run import Run
from gpunet.errors import ArgumentError
from gpunet.layers.base import Layer
from gpunet.layers.input_layer import Input
from gpunet.models import Model

Values = np.ndarray[Any, Any]


def gradient_check(
    model: Model | Layer,
    x: Any,
    training: bool = False,
    elements: int = 20,
    step: float = 1e-6,
    seed: int = 0,
) -> float:
    """The largest relative error of a model's or a layer's gradients.

    With random numbers r of the outputs' shapes, the scalar f = sum(r * y), plus the penalties of
    activity regularizers, has the gradients that backward(r) returns; each is held against
    (f(v + h) - f(v - h)) / 2h. Error below 1e-6 means that forward and backward agree, unless x
    lies at a kink (relu at 0).

    Args:
        model: a model, or a layer, which gets an Input of x's shape.
        x: one batch (a list where there are several inputs).
        training: whether layers such as Dropout act; the same masks are drawn each time.
        elements: how many elements of each weight and of each input to check, at random.
        step: h.
        seed: of the random numbers.

    Returns:
        max |numeric - analytic| / max(1, |numeric|) over all checked elements.

    Example:
        >>> import numpy as np
        >>> from gpunet import layers
        >>> gradient_check(layers.Dense(3, "tanh"), np.ones((2, 4))) < 1e-6
        True
    """
    if isinstance(model, type):
        raise ArgumentError(
            f"gradient_check takes a layer or a model, got {model!r}: put () behind the class."
        )
    parts = [np.array(part, order="C") for part in (x if isinstance(x, list | tuple) else [x])]
    if isinstance(model, Layer):
        dtype = model.input_dtype
        tensors = [Input(p.shape[1:], name=f"x{i}", dtype=dtype) for i, p in enumerate(parts)]
        model = Model(tensors, model(tensors if model.inputs != 1 else tensors[0]))
    model.ensure_built(x)
    inputs = [
        part if device_dtype(tensor, "float64") != "float64" else part.astype(np.float64)
        for part, tensor in zip(parts, model.graph.inputs, strict=True)
    ]
    backend, dtype, weights = model.backend, model.dtype, model.get_weights()
    model.to("numpy", dtype="float64")
    try:
        return _largest_error(model, inputs, training, elements, step, seed)
    finally:
        model.to(backend, dtype=dtype)
        model.set_weights(weights)


def _largest_error(
    model: Model, inputs: list[Values], training: bool, elements: int, step: float, seed: int
) -> float:
    rng = np.random.default_rng(seed)
    passes = model.passes

    def forward() -> Run:
        model.passes = passes  # the same random numbers in every pass
        return model.run(inputs if len(inputs) > 1 else inputs[0], training)

    run = forward()
    outputs = _listed(run.y)
    dy = [rng.standard_normal(y.shape) for y in outputs]
    dx = _listed(run.backward(dy if len(dy) > 1 else dy[0]))

    def f() -> float:
        run = forward()
        return run.penalty + float(
            sum((y * r).sum() for y, r in zip(_listed(run.y), dy, strict=True))
        )

    weights = model.get_weights()
    largest = 0.0
    gradients = model.get_gradients()
    for parameter, values, gradient in zip(model.parameters, weights, gradients, strict=True):
        if not parameter.is_trainable:
            continue  # it has no gradient: frozen weights, moving statistics

        def f_of_weights() -> float:
            model.set_weights(weights)
            return f()

        error = _error(f_of_weights, values, gradient, rng, elements, step)
        largest = float(np.maximum(largest, error))  # unlike max, it keeps NaN
        model.set_weights(weights)
    for values, gradient in zip(inputs, dx, strict=True):
        if values.dtype.kind != "f":
            continue  # integers have no gradient
        largest = float(np.maximum(largest, _error(f, values, gradient, rng, elements, step)))
    return largest


def _error(
    f: Callable[[], float],
    values: Values,
    gradient: Values,
    rng: np.random.Generator,
    elements: int,
    step: float,
) -> float:
    """The largest error over some elements; values is changed in place and restored."""
    flat, largest = values.reshape(-1), 0.0
    for i in rng.permutation(flat.size)[:elements]:
        kept = flat[i]
        flat[i] = kept + step
        above = f()
        flat[i] = kept - step
        below = f()
        flat[i] = kept
        numeric = (above - below) / (2 * step)
        error = abs(numeric - gradient.reshape(-1)[i]) / max(1.0, abs(numeric))
        largest = error if np.isnan(error) else max(largest, error)
        if np.isnan(largest):
            return float("nan")
    return float(largest)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
