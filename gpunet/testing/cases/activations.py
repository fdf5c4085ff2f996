"""Op cases: activations. Each reference is the textbook formula in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet.backend.spec import ACTIVATIONS
from gpunet.testing.op_checks import (
    SHAPES,
    Array,
    Case,
    Gradient,
    Maker,
    Values,
    given,
    shares,
)

_SELU = (1.0507009873554805, 1.6732632423543772)
_erf = np.vectorize(math.erf, otypes=[float])


def _phi(x: Array) -> Array:
    """The normal distribution's integral."""
    return np.asarray((1.0 + _erf(x / math.sqrt(2.0))) / 2.0)


def _gate(x: Array) -> Array:
    return np.asarray((1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))) / 2.0)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-x)))


def _bent(x: Array, slope: float, largest: float, bend: float) -> Array:
    return np.where(x > bend, np.minimum(x, largest), slope * (x - bend))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0)))


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.where(x > 0, x, 0.0),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "leaky_relu": lambda x, slope: np.where(x > 0, x, slope * x),
    "bounded_relu": _bent,
    "relu6": lambda x: np.clip(x, 0.0, 6.0),
    "elu": _elu,
    "selu": lambda x: _SELU[0] * _elu(x, _SELU[1]),
    "celu": lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0.0) / alpha)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1.0 + np.abs(x)),
    "exponential": np.exp,
    "log_sigmoid": lambda x: np.log(_sigmoid(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "hard_tanh": lambda x: np.clip(x, -1.0, 1.0),
    "sparse_sigmoid": lambda x: np.clip((x + 1.0) / 2.0, 0.0, 1.0),
    "sparse_plus": lambda x: np.where(x < 1, np.maximum(x + 1.0, 0.0) ** 2 / 4.0, x),
    "squareplus": lambda x, b: (x + np.sqrt(x**2 + b)) / 2.0,
    "soft_shrink": lambda x, t: np.sign(x) * np.maximum(np.abs(x) - t, 0.0),
    "hard_shrink": lambda x, t: np.where(np.abs(x) > t, x, 0.0),
    "threshold": lambda x, t, value: np.where(x > t, x, np.full_like(x, value)),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "silu": lambda x: x * _sigmoid(x),
    "hard_silu": lambda x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gelu": lambda x: x * _phi(x),
    "gelu_tanh": lambda x: x * _gate(x),
}

_DERIVATIVES: dict[str, Callable[..., Array]] = {  # of y, or of x, as ACTIVATIONS says
    "linear": np.ones_like,
    "relu": lambda y: np.where(y > 0, 1.0, 0.0),
    "sigmoid": lambda y: y * (1.0 - y),
    "tanh": lambda y: 1.0 - y**2,
    "leaky_relu": lambda y, slope: np.where(y > 0, 1.0, slope),
    "bounded_relu": lambda y, slope, largest, bend: np.select(
        [y >= largest, y > 0], [0.0, 1.0], slope
    ),
    "relu6": lambda y: np.where((y > 0) & (y < 6), 1.0, 0.0),
    "elu": lambda y, alpha: np.where(y > 0, 1.0, y + alpha),
    "selu": lambda y: np.where(y > 0, _SELU[0], y + _SELU[0] * _SELU[1]),
    "celu": lambda y, alpha: np.where(y > 0, 1.0, y / alpha + 1.0),
    "softplus": lambda y: 1.0 - np.exp(-y),
    "softsign": lambda y: (1.0 - np.abs(y)) ** 2,
    "exponential": lambda y: y,
    "log_sigmoid": lambda y: 1.0 - np.exp(y),
    "hard_sigmoid": lambda y: np.where((y > 0) & (y < 1), 1.0 / 6.0, 0.0),
    "hard_tanh": lambda y: np.where(np.abs(y) < 1, 1.0, 0.0),
    "sparse_sigmoid": lambda y: np.where((y > 0) & (y < 1), 0.5, 0.0),
    "sparse_plus": lambda y: np.sqrt(np.minimum(y, 1.0)),
    "squareplus": lambda y, b: y**2 / (y**2 + b / 4.0),
    "soft_shrink": lambda y, t: np.where(y != 0, 1.0, 0.0),
    "hard_shrink": lambda y, t: np.where(y != 0, 1.0, 0.0),
    "threshold": lambda x, t, value: np.where(x > t, 1.0, 0.0),
    "tanh_shrink": lambda x: np.tanh(x) ** 2,
    "silu": lambda x: _sigmoid(x) * (1.0 + x * (1.0 - _sigmoid(x))),
    "hard_silu": lambda x: np.select([x < -3, x > 3], [0.0, 1.0], x / 3.0 + 0.5),
    "mish": lambda x: (
        np.tanh(np.log1p(np.exp(x))) + x * _sigmoid(x) / np.cosh(np.log1p(np.exp(x))) ** 2
    ),
    "gelu": lambda x: _phi(x) + x * np.exp(-(x**2) / 2.0) / math.sqrt(2.0 * math.pi),
    "gelu_tanh": lambda x: (
        _gate(x)
        + x
        * (2.0 * _gate(x) * (1.0 - _gate(x)))
        * math.sqrt(2.0 / math.pi)
        * (1.0 + 3 * 0.044715 * x**2)
    ),
}


def act(x: Array, activation: str, parameters: tuple[float, ...] = ()) -> Array:
    """activation(x)."""
    return _FUNCTIONS[activation](x, *(parameters or ACTIVATIONS[activation].parameters.values()))


def act_derivative(saved: Array, activation: str, parameters: tuple[float, ...] = ()) -> Array:
    """activation'(x), in terms of what the activation saves."""
    parameters = parameters or tuple(ACTIVATIONS[activation].parameters.values())
    return _DERIVATIVES[activation](saved, *parameters)


def bias_act(
    x: Array, activation: str, parameters: tuple[float, ...] = (), bias: Array | None = None
) -> Values:
    """activation(x + bias)."""
    return {"y": act(x if bias is None else x + bias, activation, parameters)}


def bias_act_backward(
    dy: Array,
    activation: str,
    parameters: tuple[float, ...] = (),
    saved: Array | None = None,
) -> Values:
    """The chain rule."""
    dx = dy if saved is None else dy * act_derivative(saved, activation, parameters)
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


def log_softmax(x: Array) -> Values:
    """The logarithm of softmax."""
    return {"y": np.log(softmax_of(x))}


def log_softmax_backward(dy: Array, y: Array) -> Values:
    """dy times the Jacobian matrix I - 1 exp(y)^T of each row."""
    return {"dx": dy - np.exp(y) * dy.sum(axis=1, keepdims=True)}


def sparsemax(x: Array) -> Values:
    """The threshold by bisection."""
    low, high = x.max(axis=1, keepdims=True, initial=-1e9) - 1.0, x.max(axis=1, keepdims=True)
    for _ in range(100):
        middle = (low + high) / 2
        above = np.maximum(x - middle, 0.0).sum(axis=1, keepdims=True) > 1.0
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return {"y": np.maximum(x - high, 0.0)}


def sparsemax_backward(dy: Array, y: Array) -> Values:
    """dy projected onto the places that are not 0, with a sum of 0."""
    inside = y > 0
    means = (dy * inside).sum(axis=1, keepdims=True) / np.maximum(
        inside.sum(axis=1, keepdims=True), 1
    )
    return {"dx": np.where(inside, dy - means, 0.0)}


def glu(x: Array) -> Values:
    """One half gated by the other."""
    return {"y": x[:, 0] * _sigmoid(x[:, 1])}


def glu_backward(dy: Array, x: Array) -> Values:
    """The chain rule for both halves."""
    gate = _sigmoid(x[:, 1])
    return {"dx": np.stack([dy * gate, dy * x[:, 0] * gate * (1.0 - gate)], axis=1)}


def prelu(x: Array, alpha: Array) -> Values:
    """x on the right, alpha x on the left."""
    return {"y": np.where(x > 0, x, alpha * x)}


def prelu_backward(dy: Array, x: Array, alpha: Array) -> Values:
    """The chain rule."""
    left = np.where(x > 0, 0.0, dy * x)
    return {"dx": np.where(x > 0, dy, alpha * dy), "dalpha": left.sum(axis=0)}


# ---------------------------------------------------------------------------------- the rows

WITH_PARAMETERS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (1.5,),
    "bounded_relu": (0.25, 1.5, 0.5),
    "elu": (0.7,),
    "celu": (0.4,),
    "squareplus": (0.3,),
    "soft_shrink": (0.2,),
    "hard_shrink": (0.0,),
    "threshold": (0.3, 0.9),
}
"""Other parameters than the defaults."""


def log_shares(rows: int, columns: int) -> Maker:
    """Logarithms of probabilities."""
    probabilities = shares(rows, columns)
    return Maker(f"log_{probabilities.label}", lambda random: np.log(probabilities.make(random)))


def _sparse(rows: int, columns: int) -> Maker:
    """Positive numbers, zeros among them."""
    return Maker(
        f"sparse{rows}x{columns}",
        lambda random: np.maximum(random.standard_normal((rows, columns)), 0.0),
    )


EACH: tuple[Values, ...] = (
    *({"activation": name} for name in ACTIVATIONS),
    *({"activation": name, "parameters": values} for name, values in WITH_PARAMETERS.items()),
)
"""Every activation, those with parameters twice."""


def saved_by(flags: Values, *shape: int) -> Maker:
    """What an activation saves of normal random numbers: these, or what it makes of them."""

    def make(random: np.random.Generator) -> Array:
        x = random.standard_normal(shape)
        return act(x, **flags) if ACTIVATIONS[flags["activation"]].saves == "y" else x

    return Maker("saved" + "x".join(map(str, shape)), make)


def _bias_of(flags: Values, size: int) -> Any:
    """Random; zeros where the gradient is written in x + bias, so that this is the array x."""
    saves = ACTIVATIONS[flags["activation"]].saves
    return (size,) if saves == "y" else given(np.zeros(size), label=f"zeros{size}")


def _if_saves(array: str) -> Callable[[Values], Values | None]:
    return lambda flags: flags if ACTIVATIONS[flags["activation"]].saves == array else None


CASES = (
    Case(
        "bias_act",
        bias_act,
        (
            *({"x": s, "bias": (s[1],), "activation": "relu"} for s in SHAPES),
            *({"x": (33, 31), "bias": _bias_of(flags, 31), **flags} for flags in EACH),
            *({"x": (37, 1025), "activation": name} for name in ("linear", "sigmoid", "gelu")),
        ),
        tuple(
            Gradient(
                "bias_act_backward",
                "y",
                {"dx": "x", "dbias": "bias"},
                {"dy": "dy", "saved": array},
                _if_saves(array),
            )
            for array in ("y", "x")
        ),
    ),
    Case(
        "bias_act_backward",
        bias_act_backward,
        (
            *({"dy": s, "saved": s, "activation": "relu"} for s in SHAPES),
            *({"dy": (33, 31), "saved": saved_by(flags, 33, 31), **flags} for flags in EACH),
            {"dy": (37, 1025), "saved": (37, 1025), "activation": "tanh", "dbias": None},
            {"dy": (37, 1025), "saved": (37, 1025), "activation": "silu"},
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
    Case(
        "log_softmax",
        log_softmax,
        tuple({"x": s} for s in (*SHAPES, (300, 10), (3, 33000))),
        (Gradient("log_softmax_backward", "y", {"dx": "x"}, {"dy": "dy", "y": "y"}),),
    ),
    Case(
        "log_softmax_backward",
        log_softmax_backward,
        tuple({"dy": s, "y": log_shares(*s)} for s in (*SHAPES, (300, 10), (3, 33000))),
        float32=3e-5,
    ),
    Case(
        "sparsemax",
        sparsemax,
        tuple({"x": s} for s in (*SHAPES, (300, 10), (3, 33000))),
        (Gradient("sparsemax_backward", "y", {"dx": "x"}, {"dy": "dy", "y": "y"}),),
    ),
    Case(
        "sparsemax_backward",
        sparsemax_backward,
        tuple({"dy": s, "y": _sparse(*s)} for s in (*SHAPES, (300, 10), (3, 33000))),
    ),
    Case(
        "glu",
        glu,
        tuple({"x": (rows, 2, columns)} for rows, columns in SHAPES),
        (Gradient("glu_backward", "y", {"dx": "x"}, {"dy": "dy", "x": "x"}),),
    ),
    Case(
        "glu_backward",
        glu_backward,
        tuple({"dy": (rows, c), "x": (rows, 2, c)} for rows, c in SHAPES),
    ),
    Case(
        "prelu",
        prelu,
        tuple({"x": s, "alpha": (s[1],)} for s in SHAPES),
        (
            Gradient(
                "prelu_backward",
                "y",
                {"dx": "x", "dalpha": "alpha"},
                {"dy": "dy", "x": "x", "alpha": "alpha"},
            ),
        ),
    ),
    Case(
        "prelu_backward",
        prelu_backward,
        tuple({"dy": s, "x": s, "alpha": (s[1],)} for s in (*SHAPES, (3000, 12))),
        float32=3e-5,
    ),
)
