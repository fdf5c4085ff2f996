"""Every op of the contract as its textbook formula, in float64 and without regard to speed.

Each function takes what the op reads, by the contract's names, and returns what it writes. They
share no code with the backends, which the table of op cases (``cases.py``) holds against them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Values = dict[str, Any]

# --------------------------------------------------------------------------------- memory


def fill(value: float) -> Values:
    """Everywhere the value."""
    return {"y": np.array(value)}


def copy(x: Array) -> Values:
    """The same numbers."""
    return {"y": x}


def add(a: Array, b: Array) -> Values:
    """A sum."""
    return {"y": a + b}


def scale_shift(x: Array, scale: float, offset: float) -> Values:
    """A straight line."""
    return {"y": scale * x + offset}


def gather(x: Array, indices: Array, scale: float = 1.0, offset: float = 0.0) -> Values:
    """Chosen rows."""
    return {"y": scale * x[indices] + offset}


# ----------------------------------------------------------------------------- activations


def act(x: Array, activation: str) -> Array:
    """activation(x)."""
    functions: dict[str, Callable[[Array], Array]] = {
        "linear": lambda x: x,
        "relu": lambda x: np.where(x > 0, x, 0.0),
        "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
        "tanh": np.tanh,
    }
    return functions[activation](x)


def act_derivative(y: Array, activation: str) -> Array:
    """activation'(x), in terms of y = activation(x)."""
    functions: dict[str, Callable[[Array], Array]] = {
        "linear": np.ones_like,
        "relu": lambda y: np.where(y > 0, 1.0, 0.0),
        "sigmoid": lambda y: y * (1.0 - y),
        "tanh": lambda y: 1.0 - y**2,
    }
    return functions[activation](y)


def bias_act(x: Array, activation: str, bias: Array | None = None) -> Values:
    """activation(x + bias)."""
    return {"y": act(x if bias is None else x + bias, activation)}


def bias_act_backward(dy: Array, activation: str, y: Array | None = None) -> Values:
    """The chain rule."""
    dx = dy if y is None else dy * act_derivative(y, activation)
    return {"dx": dx, "dbias": dx.sum(axis=0)}


def _softmax(x: Array) -> Array:
    exps = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=1, keepdims=True))


def softmax(x: Array) -> Values:
    """Exponentials, normalised."""
    return {"y": _softmax(x)}


def softmax_backward(dy: Array, y: Array) -> Values:
    """dy times the Jacobian matrix diag(y) - y y^T of each row."""
    return {"dx": y * dy - y * (y * dy).sum(axis=1, keepdims=True)}


# ------------------------------------------------------------------------ matrix products


def _product(a: Array, b: Array, ta: bool, tb: bool) -> Array:
    return np.asarray(np.einsum(f"{'km' if ta else 'mk'},{'nk' if tb else 'kn'}->mn", a, b))


def gemm(a: Array, b: Array, ta: bool = False, tb: bool = False) -> Values:
    """A matrix product."""
    return {"c": _product(a, b, ta, tb)}


def gemm_bias_act(
    a: Array,
    b: Array,
    activation: str,
    bias: Array | None = None,
    ta: bool = False,
    tb: bool = False,
) -> Values:
    """A dense layer."""
    c = _product(a, b, ta, tb)
    return {"c": act(c if bias is None else c + bias, activation)}


def gemm_act_backward(
    a: Array, b: Array, y: Array, activation: str, ta: bool = False, tb: bool = False
) -> Values:
    """The gradient before a dense layer and the activation before it."""
    return {"c": _product(a, b, ta, tb) * act_derivative(y, activation)}


def gemm_column_sum(a: Array, b: Array, ta: bool = False) -> Values:
    """The gradients of a dense layer's kernel and bias."""
    return {"c": _product(a, b, ta, False), "column_sum": b.sum(axis=0)}


# --------------------------------------------------------------------------------- losses


def _probabilities(labels: Array, columns: int) -> Array:
    """Labels as probabilities (rows, columns)."""
    if labels.ndim == 2:
        return labels
    return np.equal(labels[:, None], np.arange(columns)).astype(float)


def _loss(
    row_loss: Array,
    row_gradient: Array,
    correct: Array | None,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None,
    sample_weight: Array | None,
) -> Values:
    """What all losses do with the loss and gradient of each row."""
    weight = np.ones(len(row_loss)) if sample_weight is None else sample_weight
    loss = weight * row_loss
    values = {
        "dx": scale * weight[:, None] * row_gradient,
        "loss": loss,
        "totals": totals + np.array([loss.sum(), len(loss)]),
    }
    if correct is not None:
        values["correct"] = correct
    if correct is not None and accuracy_totals is not None:
        values["accuracy_totals"] = accuracy_totals + np.array([correct.sum(), len(correct)])
    return values


def softmax_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """-sum_j labels_j log(softmax(x)_j)."""
    wanted = _probabilities(labels, x.shape[1])
    p = _softmax(x)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    gradient = p * wanted.sum(axis=1, keepdims=True) - wanted
    correct = _right_class(x, labels)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """-sum_j labels_j log(p_j) with p = x / sum(x), clipped."""
    wanted = _probabilities(labels, x.shape[1])
    total = x.sum(axis=1, keepdims=True)
    q = x / total
    p = np.clip(q, 1e-7, 1.0 - 1e-7)
    loss = -(wanted * np.log(p)).sum(axis=1)
    if labels.ndim == 1:
        loss[(labels < 0) | (labels >= x.shape[1])] = np.nan
    dq = np.where(p == q, -wanted / p, 0.0)
    gradient = (dq - (dq * q).sum(axis=1, keepdims=True)) / total
    correct = _right_class(x, labels)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def sigmoid_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """Binary cross-entropy of sigmoid(x)."""
    p = act(x, "sigmoid")
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    gradient = (p - labels) / x.shape[1]
    correct = _right(x, labels, 0.0)
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def binary_cross_entropy(
    x: Array,
    labels: Array,
    scale: float,
    totals: Array,
    accuracy_totals: Array | None = None,
    sample_weight: Array | None = None,
) -> Values:
    """Binary cross-entropy of probabilities, clipped."""
    p = np.clip(x, 1e-7, 1.0 - 1e-7)
    loss = -(labels * np.log(p) + (1 - labels) * np.log(1 - p)).mean(axis=1)
    slope = np.where(p == x, -labels / p + (1 - labels) / (1 - p), 0.0)
    correct = _right(x, labels, 0.5)
    gradient = slope / x.shape[1]
    return _loss(loss, gradient, correct, scale, totals, accuracy_totals, sample_weight)


def mean_squared_error(
    x: Array, labels: Array, scale: float, totals: Array, sample_weight: Array | None = None
) -> Values:
    """The mean of squared differences."""
    loss = ((x - labels) ** 2).mean(axis=1)
    gradient = 2 * (x - labels) / x.shape[1]
    return _loss(loss, gradient, None, scale, totals, None, sample_weight)


def accuracy(x: Array, labels: Array, accuracy_totals: Array) -> Values:
    """Which rows are predicted right."""
    correct = _right(x, labels, 0.5)
    counted = np.array([correct.sum(), len(x)])
    return {"correct": correct, "accuracy_totals": accuracy_totals + counted}


def _right_class(x: Array, labels: Array) -> Array:
    classes = labels if labels.ndim == 1 else labels.argmax(axis=1)
    right: Array = x.argmax(axis=1) == classes
    return right.astype(float)


def _right(x: Array, labels: Array, threshold: float) -> Array:
    if x.shape[1] > 1:
        return _right_class(x, labels)
    return np.equal(x.ravel() > threshold, labels.ravel() > 0.5).astype(float)


# ------------------------------------------------------------------ random and optimizers


def dropout(x: Array, random: Array, rate: float, node: int) -> Values:
    """Random numbers from NumPy's own generator, as the contract numbers them."""
    seed, number = (int(word) for word in random)
    philox = np.random.Philox(key=[seed, 0], counter=[0, node, number, 0])
    uniform = np.random.Generator(philox).random(x.shape, np.float32)
    return {"y": np.where(uniform >= np.float32(rate), x / (1 - rate), 0.0)}


def sgd(
    weights: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    velocity: Array | None = None,
    nesterov: bool = False,
    tick: bool = True,
) -> Values:
    """Stochastic gradient descent, weight by weight."""
    w, momentum = weights.copy(), float(hyper[1])
    v = None if velocity is None else velocity.copy()
    for offset, size, _, factor, trainable, _ in segments:
        part = slice(int(offset), int(offset + size))
        move = -hyper[0] * factor * gradients[part]
        if not trainable:
            continue
        if v is not None:
            v[part] = momentum * v[part] + move
            move = momentum * v[part] + move if nesterov else v[part]
        w[part] += move
    values = {"weights": w, "step": step + tick}
    return values if v is None else values | {"velocity": v}


def adam(
    weights: Array,
    momentums: Array,
    velocities: Array,
    step: Array,
    gradients: Array,
    segments: Array,
    hyper: Array,
    tick: bool = True,
) -> Values:
    """Adam as in Keras' documentation, weight by weight."""
    w, m, v = weights.copy(), momentums.copy(), velocities.copy()
    rate, beta_1, beta_2, epsilon = hyper
    t = int(step[0]) + 1
    for offset, size, _, factor, trainable, _ in segments:
        part = slice(int(offset), int(offset + size))
        if trainable:
            g = gradients[part]
            m[part] = beta_1 * m[part] + (1 - beta_1) * g
            v[part] = beta_2 * v[part] + (1 - beta_2) * g**2
            alpha = rate * factor * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
            w[part] -= alpha * m[part] / (np.sqrt(v[part]) + epsilon)
    return {"weights": w, "momentums": m, "velocities": v, "step": step + tick}
