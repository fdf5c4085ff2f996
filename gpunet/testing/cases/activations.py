"""Op cases: activations. Each reference is the textbook formula in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gpunet.backend.spec import ACTIVATIONS
from gpunet.testing.op_checks import (
    SHAPES,
    Array,
    Case,
    Gradient,
    Values,
    shares,
)


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


def softmax_of(x: Array) -> Array:
    """Softmax along each row."""
    exps = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(exps / exps.sum(axis=1, keepdims=True))


def softmax(x: Array) -> Values:
    """Exponentials, normalised."""
    return {"y": softmax_of(x)}


def softmax_backward(dy: Array, y: Array) -> Values:
    """dy times the Jacobian matrix diag(y) - y y^T of each row."""
    return {"dx": y * dy - y * (y * dy).sum(axis=1, keepdims=True)}


# ---------------------------------------------------------------------------------- the rows


CASES = (
    Case(
        "bias_act",
        bias_act,
        (
            *({"x": s, "bias": (s[1],), "activation": "relu"} for s in SHAPES),
            *({"x": (33, 31), "bias": (31,), "activation": a} for a in ACTIVATIONS),
            *({"x": (37, 1025), "activation": a} for a in ACTIVATIONS),
        ),
        (
            Gradient(
                "bias_act_backward",
                "y",
                {"dx": "x", "dbias": "bias"},
                {"dy": "dy", "y": "y"},
            ),
        ),
    ),
    Case(
        "bias_act_backward",
        bias_act_backward,
        (
            *({"dy": s, "y": s, "activation": "relu"} for s in SHAPES),
            *({"dy": (33, 31), "y": (33, 31), "activation": a} for a in ACTIVATIONS),
            {"dy": (37, 1025), "y": (37, 1025), "activation": "tanh", "dbias": None},
            {"dy": (33, 31), "activation": "linear"},
        ),
        float32=3e-5,
    ),
    Case(
        "softmax",
        softmax,
        tuple({"x": s} for s in (*SHAPES, (300, 10), (3, 33000))),
        (Gradient("softmax_backward", "y", {"dx": "x"}, {"dy": "dy", "y": "y"}),),
    ),
    Case(
        "softmax_backward",
        softmax_backward,
        tuple({"dy": s, "y": shares(*s)} for s in (*SHAPES, (300, 10), (3, 33000))),
    ),
)
