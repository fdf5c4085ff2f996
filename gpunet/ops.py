"""Each op of the contract as a plain function, for people who have arrays and no model.

The functions make their outputs and run where their arrays are: NumPy arrays and lists of numbers
(which become float32) on the CPU, CuPy arrays on the GPU, and arrays of other libraries through
DLPack, without a copy: PyTorch's tensors, for example. Results are NumPy or CuPy arrays.
Floating-point arrays are float32 or float64, all of one call alike; class numbers may be of any
integer type.

>>> from gpunet import ops
>>> ops.softmax([[0.0, 0.0], [9.0, -9.0]]).round(3)
array([[0.5, 0.5],
       [1. , 0. ]], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpunet.backend.dispatch import as_array, as_matrix, as_updated, dtype_of, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError, ShapeError

# --------------------------------------------------------------------------------- memory


def fill(y: Array, value: float) -> None:
    """Set all elements of an array.

    >>> y = np.empty(3, np.float32)
    >>> fill(y, 2.0)
    >>> y
    array([2., 2., 2.], dtype=float32)
    """
    run_op("fill", {"y": as_updated("fill", "y", y)}, value=value)


def copy(x: Any) -> Array:
    """A copy in new memory, of any dtype.

    >>> copy(np.arange(3)[::-1])
    array([2, 1, 0])
    """
    x = as_array(x)
    return run_op("copy", {"x": x}, dtype=dtype_of(x))["y"]


def add(a: Any, b: Any) -> Array:
    """a + b, of one shape.

    >>> add([1, 2], [3, 4])
    array([4., 6.], dtype=float32)
    """
    return run_op("add", {"a": a, "b": b})["y"]


def scale_shift(
    x: Any, scale: float = 1.0, offset: float = 0.0, dtype: DTypeLike = np.float32
) -> Array:
    """scale * x + offset, from any number type into float32 or float64.

    >>> scale_shift(np.array([0, 255], np.uint8), scale=1 / 255)
    array([0., 1.], dtype=float32)
    """
    return run_op("scale_shift", {"x": x}, dtype=dtype, scale=scale, offset=offset)["y"]


def gather(
    x: Any, indices: Any, scale: float = 1.0, offset: float = 0.0, dtype: DTypeLike | None = None
) -> Array:
    """scale * x[indices] + offset: a mini-batch (batch, ...) out of a data set (samples, ...).

    Args:
        x: the data, of any number type.
        indices: (batch,) integers in [0, samples).
        scale: what to multiply with.
        offset: what to add.
        dtype: of the result; by default that of x.

    >>> gather(np.array([[0, 10], [20, 30]], np.uint8), [1, 1, 0], scale=0.1, dtype=np.float32)
    array([[2., 3.],
           [2., 3.],
           [0., 1.]], dtype=float32)
    """
    x, indices = as_array(x), as_array(indices)
    matrix = as_matrix("gather", x, rows=1)
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < len(x):
        raise ArgumentError(
            f"op gather needs indices in [0, {len(x)}), got {indices.min()} to {indices.max()}."
        )
    arrays = {"x": matrix, "indices": indices}
    chosen = dtype or dtype_of(x)
    y = run_op("gather", arrays, dtype=chosen, scale=scale, offset=offset)["y"]
    return y.reshape(len(y), *x.shape[1:])


# ----------------------------------------------------------------------------- activations


def bias_act(x: Any, bias: Any = None, activation: str = "linear") -> Array:
    """activation(x + bias), with a bias for the last axis of x.

    Args:
        x: (..., columns).
        bias: (columns,) or None.
        activation: "linear", "relu", "sigmoid" or "tanh".

    >>> bias_act([[1.0, -2.0]], bias=[1.0, 1.0], activation="relu")
    array([[2., 0.]], dtype=float32)
    """
    x = as_array(x)
    arrays = {"x": as_matrix("bias_act", x), "bias": bias}
    return run_op("bias_act", arrays, activation=activation)["y"].reshape(x.shape)


def bias_act_backward(dy: Any, y: Any, activation: str = "linear") -> tuple[Array, Array]:
    """The gradients (dx, dbias) of `bias_act` from that of its output y.

    >>> dx, dbias = bias_act_backward([[1.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [3.0, 4.0]], "relu")
    >>> dbias
    array([2., 1.], dtype=float32)
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("bias_act_backward", dy),
        "y": None if y is None else as_matrix("bias_act_backward", as_array(y)),
    }
    written = run_op("bias_act_backward", arrays, activation=activation)
    return written["dx"].reshape(dy.shape), written["dbias"]


def softmax(x: Any) -> Array:
    """exp(x) / sum(exp(x)) over the last axis.

    >>> softmax([0.0, 0.0])
    array([0.5, 0.5], dtype=float32)
    """
    x = as_array(x)
    return run_op("softmax", {"x": as_matrix("softmax", x)})["y"].reshape(x.shape)


def softmax_backward(dy: Any, y: Any) -> Array:
    """The gradient of `softmax`, y (dy - sum(dy y)), from that of its output y.

    >>> softmax_backward([1.0, 0.0], [0.5, 0.5])
    array([ 0.25, -0.25], dtype=float32)
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("softmax_backward", dy),
        "y": as_matrix("softmax_backward", as_array(y)),
    }
    return run_op("softmax_backward", arrays)["dx"].reshape(dy.shape)


# ------------------------------------------------------------------------ matrix products


def gemm(a: Any, b: Any, ta: bool = False, tb: bool = False) -> Array:
    """The product op(a) op(b) of two arrays, where op transposes if ta or tb.

    >>> gemm([[1.0, 2.0]], [[3.0, 4.0]], tb=True)
    array([[11.]], dtype=float32)
    """
    return run_op("gemm", {"a": a, "b": b}, ta=ta, tb=tb)["c"]


def gemm_bias_act(
    a: Any,
    b: Any,
    bias: Any = None,
    activation: str = "linear",
    ta: bool = False,
    tb: bool = False,
) -> Array:
    """activation(op(a) op(b) + bias): a dense layer.

    >>> gemm_bias_act([[1.0, 2.0]], [[3.0], [4.0]], bias=[-12.0], activation="relu")
    array([[0.]], dtype=float32)
    """
    arrays = {"a": a, "b": b, "bias": bias}
    return run_op("gemm_bias_act", arrays, activation=activation, ta=ta, tb=tb)["c"]


def gemm_act_backward(
    a: Any, b: Any, y: Any, activation: str, ta: bool = False, tb: bool = False
) -> Array:
    """op(a) op(b) * activation'(y), the derivative in terms of the activation's output y.

    >>> gemm_act_backward([[1.0]], [[2.0, 3.0]], y=[[5.0, 0.0]], activation="relu")
    array([[2., 0.]], dtype=float32)
    """
    arrays = {"a": a, "b": b, "y": y}
    return run_op("gemm_act_backward", arrays, activation=activation, ta=ta, tb=tb)["c"]


def gemm_column_sum(a: Any, b: Any, ta: bool = False) -> tuple[Array, Array]:
    """op(a) b and the sums of b's columns: a dense layer's gradients (dkernel, dbias).

    >>> gemm_column_sum([[1.0], [2.0]], [[3.0], [4.0]], ta=True)
    (array([[11.]], dtype=float32), array([7.], dtype=float32))
    """
    written = run_op("gemm_column_sum", {"a": a, "b": b}, ta=ta)
    return written["c"], written["column_sum"]


# --------------------------------------------------------------------------------- losses


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


# --------------------------------------------------------------------------------- random


def dropout(x: Any, rate: float, seed: int = 0, node: int = 0, number: int = 0) -> Array:
    """x with each element kept, and divided by 1 - rate, with probability 1 - rate, else 0.

    The same seed, node and number (of the pass) give the same mask on every device.

    >>> dropout([1.0, 1.0, 1.0, 1.0], rate=0.5, seed=1)
    array([0., 0., 2., 2.], dtype=float32)
    """
    if not 0.0 <= rate < 1.0:
        raise ArgumentError(f"op dropout needs a rate in [0, 1), got {rate}.")
    arrays = {"x": x, "random": np.array([seed, number], np.uint64)}
    return run_op("dropout", arrays, rate=rate, node=node)["y"]


# ----------------------------------------------------------------------------- optimizers


def sgd(
    weights: Array,
    gradients: Array,
    velocity: Array | None = None,
    learning_rate: float = 0.01,
    momentum: float = 0.0,
    nesterov: bool = False,
) -> None:
    """One step of gradient descent, which updates weights and velocity where they are.

    Args:
        weights: the weights, of any shape.
        gradients: of the same shape.
        velocity: of the same shape, zeros before the first step; None for no momentum.
        learning_rate: how far to go.
        momentum: how much of the velocity to keep.
        nesterov: whether to look ahead.

    >>> weights = np.array([1.0, 2.0])
    >>> sgd(weights, np.array([10.0, 20.0]), learning_rate=0.1)
    >>> weights
    array([0., 0.])
    """
    written = {"weights": weights, "velocity": velocity}
    hyper = [learning_rate, momentum]
    _update("sgd", written, gradients, 0, hyper, nesterov=nesterov)


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

    >>> weights, momentums, velocities = np.ones(2), np.zeros(2), np.zeros(2)
    >>> adam(weights, np.array([3.0, -4.0]), momentums, velocities, step=0, learning_rate=0.5)
    >>> weights.round(5)
    array([0.5, 1.5])
    """
    written = {"weights": weights, "momentums": momentums, "velocities": velocities}
    _update("adam", written, gradients, step, [learning_rate, beta_1, beta_2, epsilon])


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
    arrays["gradients"] = as_array(gradients)
    shape = arrays["weights"].shape
    for key, array in arrays.items():
        if array.shape != shape:
            raise ShapeError(
                f"op {name}: {key} must have the shape of weights {shape}, got {array.shape}."
            )
    flat = {key: array.reshape(-1) for key, array in arrays.items()}
    segments = [[0.0, float(prod(shape)), 0.0, 1.0, 1.0, 0.0]]
    run_op(name, {**flat, "step": [step], "segments": segments, "hyper": hyper}, **attributes)
