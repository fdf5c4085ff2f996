"""Plain functions: optimizers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, prod
from typing import Any

from gpunet.backend import backend_of
from gpunet.backend.dispatch import as_array, as_updated, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError


def squared_norms(
    gradients: Array, sizes: Sequence[int] | None = None, together: bool = True
) -> Array:
    """The sums of squares that clipping by norm begins with.

    Args:
        gradients: an array of any shape, or a flat one of several gradients one behind another.
        sizes: the sizes of these; None for one.
        together: whether to return one sum over all, else one for each.

    Returns:
        A float64 array of one sum, or of one a gradient.

    >>> squared_norms(np.array([3.0, 4.0, 2.0]), sizes=[2, 1], together=False)
    array([25.,  4.])
    """
    flat = as_array(gradients).reshape(-1)
    widths = [flat.size] if sizes is None else [int(size) for size in sizes]
    if sum(widths) != flat.size:
        raise ShapeError(
            f"op squared_norms: sizes must add up to the {flat.size} gradients, got {widths}."
        )
    rows = _segments(widths, together)
    backend = backend_of(flat)
    norms = backend.zeros((1 if together else len(widths),), "float64")
    arrays = {"norms": norms, "gradients": flat, "segments": rows}
    run_op("squared_norms", arrays)
    return norms


def moving_average(
    averages: Array, weights: Array, step: int, momentum: float = 0.99, overwrite: bool = False
) -> None:
    """One step of the exponential moving average of weights, updated where it is.

    Args:
        averages: the average, of any shape.
        weights: the weights, of the same shape.
        step: how many steps were made before this one; the first takes the weights as they are.
        momentum: how much of the average to keep.
        overwrite: whether the weights then become the average.

    >>> averages = np.zeros(2)
    >>> moving_average(averages, np.array([1.0, 2.0]), step=0)
    >>> moving_average(averages, np.array([2.0, 2.0]), step=1, momentum=0.5)
    >>> averages
    array([1.5, 2. ])
    """
    written = {"averages": averages, "weights": weights}
    hyper = [momentum, float(overwrite)]
    _update("moving_average", written, None, step, hyper)


def sgd(
    weights: Array,
    gradients: Array,
    velocity: Array | None = None,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of gradient descent, which updates weights and velocity where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        velocity: of the same shape, zeros before the first step; None for no momentum.
        learning_rate: how far to go.
        momentum: how much of the velocity to keep.
        nesterov: whether to look ahead.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights = np.array([1.0, 2.0])
    >>> sgd(weights, np.array([10.0, 20.0]), learning_rate=0.1)
    >>> weights
    array([0., 0.])
    """
    written = {"weights": weights, "velocity": velocity}
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("sgd", written, gradients, 0, [*common, momentum], nesterov=nesterov)


def adam(
    weights: Array,
    gradients: Array,
    momentums: Array,
    velocities: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    velocity_hats: Array | None = None,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Adam, which updates weights, momentums and velocities where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        momentums: means of the gradients so far; zeros before the first step.
        velocities: means of their squares; zeros before the first step.
        step: how many steps were made before this one.
        learning_rate: how far to go.
        beta_1: how much of the momentums to keep.
        beta_2: how much of the velocities to keep.
        epsilon: keeps the division finite.
        velocity_hats: the largest velocities so far, for AMSGrad; None for plain Adam.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, momentums, velocities = np.ones(2), np.zeros(2), np.zeros(2)
    >>> adam(weights, np.array([3.0, -4.0]), momentums, velocities, step=0, learning_rate=0.5)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {
        "weights": weights,
        "momentums": momentums,
        "velocities": velocities,
        "velocity_hats": velocity_hats,
    }
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("adam", written, gradients, step, [*common, beta_1, beta_2, epsilon])


def nadam(
    weights: Array,
    gradients: Array,
    momentums: Array,
    velocities: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Adam with Nesterov momentum, updating all but gradients where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        momentums: means of the gradients so far; zeros before the first step.
        velocities: means of their squares; zeros before the first step.
        step: how many steps were made before this one.
        learning_rate: how far to go.
        beta_1: how much of the momentums to keep.
        beta_2: how much of the velocities to keep.
        epsilon: keeps the division finite.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, momentums, velocities = np.ones(2), np.zeros(2), np.zeros(2)
    >>> nadam(weights, np.array([3.0, -4.0]), momentums, velocities, step=0, learning_rate=0.5)
    >>> weights.round(2)
    array([0.47, 1.53])
    """
    written = {"weights": weights, "momentums": momentums, "velocities": velocities}
    product = prod(beta_1 * (1.0 - 0.5 * 0.96**k) for k in range(1, step + 1))
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("nadam", written, gradients, step, [*common, beta_1, beta_2, epsilon, product])


def adamax(
    weights: Array,
    gradients: Array,
    momentums: Array,
    maxima: Array,
    step: int,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.999,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Adamax, which updates weights, momentums and maxima where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        momentums: means of the gradients so far; zeros before the first step.
        maxima: the largest recent gradients; zeros before the first step.
        step: how many steps were made before this one.
        learning_rate: how far to go.
        beta_1: how much of the momentums to keep.
        beta_2: how much of the maxima to keep.
        epsilon: keeps the division finite.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, momentums, maxima = np.ones(2), np.zeros(2), np.zeros(2)
    >>> adamax(weights, np.array([3.0, -4.0]), momentums, maxima, step=0, learning_rate=0.5)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {"weights": weights, "momentums": momentums, "maxima": maxima}
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("adamax", written, gradients, step, [*common, beta_1, beta_2, epsilon])


def rmsprop(
    weights: Array,
    gradients: Array,
    velocities: Array,
    momentums: Array | None = None,
    average_gradients: Array | None = None,
    learning_rate: float = 0.001,
    rho: float = 0.9,
    momentum: float = 0.0,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of RMSprop, which updates weights and all means where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        velocities: means of the gradients' squares; zeros before the first step.
        momentums: the last change; zeros before the first step, None for no momentum.
        average_gradients: means of the gradients, to centre by; None for not centred.
        learning_rate: how far to go.
        rho: how much of the means to keep.
        momentum: how much of the momentums to keep.
        epsilon: keeps the division finite.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, velocities = np.ones(2), np.zeros(2)
    >>> rmsprop(weights, np.array([3.0, -4.0]), velocities, learning_rate=0.5, rho=0.0)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {
        "weights": weights,
        "velocities": velocities,
        "momentums": momentums,
        "average_gradients": average_gradients,
    }
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("rmsprop", written, gradients, 0, [*common, rho, momentum, epsilon])


def adagrad(
    weights: Array,
    gradients: Array,
    accumulators: Array,
    learning_rate: float = 0.001,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Adagrad, which updates weights and accumulators where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        accumulators: sums of the gradients' squares; Keras starts from 0.1.
        learning_rate: how far to go.
        epsilon: keeps the division finite.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, accumulators = np.ones(2), np.zeros(2)
    >>> adagrad(weights, np.array([3.0, -4.0]), accumulators, learning_rate=0.5)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {"weights": weights, "accumulators": accumulators}
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("adagrad", written, gradients, 0, [*common, epsilon])


def adadelta(
    weights: Array,
    gradients: Array,
    accumulated_gradients: Array,
    accumulated_changes: Array,
    learning_rate: float = 0.001,
    rho: float = 0.95,
    epsilon: float = 1e-7,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Adadelta, which updates weights and both means where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        accumulated_gradients: means of the gradients' squares; zeros before the first step.
        accumulated_changes: means of the changes' squares; zeros before the first step.
        learning_rate: how far to go.
        rho: how much of the means to keep.
        epsilon: keeps the division finite.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, of_gradients, of_changes = np.ones(2), np.zeros(2), np.ones(2)
    >>> adadelta(weights, np.array([3.0, -4.0]), of_gradients, of_changes, 0.5, rho=0.0)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {
        "weights": weights,
        "accumulated_gradients": accumulated_gradients,
        "accumulated_changes": accumulated_changes,
    }
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("adadelta", written, gradients, 0, [*common, rho, epsilon])


def lion(
    weights: Array,
    gradients: Array,
    momentums: Array,
    learning_rate: float = 0.001,
    beta_1: float = 0.9,
    beta_2: float = 0.99,
    weight_decay: float = 0.0,
    clipvalue: float | None = None,
) -> None:
    """One step of Lion, which updates weights and momentums where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        momentums: means of the gradients so far; zeros before the first step.
        learning_rate: how far to go.
        beta_1: the share of the momentums in the step.
        beta_2: how much of the momentums to keep.
        weight_decay: the share of the weights to take off first, times learning_rate.
        clipvalue: the largest magnitude of an element of the gradients; None for any.

    >>> weights, momentums = np.ones(2), np.zeros(2)
    >>> lion(weights, np.array([3.0, -4.0]), momentums, learning_rate=0.5)
    >>> weights
    array([0.5, 1.5])
    """
    written = {"weights": weights, "momentums": momentums}
    common = _common(learning_rate, weight_decay, clipvalue)
    _update("lion", written, gradients, 0, [*common, beta_1, beta_2])


def _common(learning_rate: float, weight_decay: float, clipvalue: float | None) -> list[float]:
    return [learning_rate, weight_decay, inf if clipvalue is None else clipvalue]


def _update(
    name: str,
    written: Mapping[str, Array | None],
    gradients: Any,
    step: int,
    hyper: list[float],
    **attributes: Any,
) -> None:
    """One step of an optimizer on arrays of any one shape, as one segment."""
    arrays = {key: as_updated(name, key, a) for key, a in written.items() if a is not None}
    if gradients is not None:
        arrays["gradients"] = as_array(gradients)
    shape = arrays["weights"].shape
    for key, array in arrays.items():
        if array.shape != shape:
            raise ShapeError(
                f"op {name}: {key} must have the shape of weights {shape}, got {array.shape}."
            )
    flat = {key: array.reshape(-1) for key, array in arrays.items()}
    segments = _segments([prod(shape)], together=True)
    run_op(name, {**flat, "step": [step], "segments": segments, "hyper": hyper}, **attributes)


def _segments(sizes: Sequence[int], together: bool) -> list[list[float]]:
    """The table of trainable weights of these sizes one behind another, all of which decay."""
    offsets = [sum(sizes[:i]) for i in range(len(sizes))]
    return [
        [float(offset), float(size), 1.0, 1.0, 1.0, 0.0 if together else float(i)]
        for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True))
    ]
