"""Activations whose gradients are written in terms of the output y."""

from __future__ import annotations

from math import sqrt

import numpy as np

from gpunet.backend.cpu.blocks import HALF, INFINITY, ONE, ZERO
from gpunet.backend.spec import Array

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def linear(y: Array, x: Array) -> None:
    """y = x."""
    if y is not x:
        np.copyto(y, x)


def linear_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1."""
    if dx is not dy:
        np.copyto(dx, dy)


# -------------------------------------------------------------- straight lines


def relu(y: Array, x: Array) -> None:
    """y = max(x, 0)."""
    # clip passes NaN on like np.maximum, in less time: 32x64: 0.9 us, not 1.0; 512x64: 3.2, not 11.
    x.clip(ZERO, INFINITY, out=y)


def relu_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 where y > 0, else 0."""
    np.multiply(dy, np.greater(y, ZERO), out=dx)


def leaky_relu(y: Array, x: Array, negative_slope: float) -> None:
    """y = x where x > 0, else negative_slope x."""
    line = np.multiply(x, negative_slope)
    (np.maximum if negative_slope <= 1 else np.minimum)(x, line, out=y)


def leaky_relu_backward(dx: Array, dy: Array, y: Array, negative_slope: float) -> None:
    """f' = 1 where y > 0, else negative_slope."""
    np.multiply(dy, step(y, negative_slope, 1.0), out=dx)


def bounded_relu(
    y: Array, x: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    """y = min(x, max_value) where x > threshold, else negative_slope (x - threshold)."""
    line = np.subtract(x, threshold) if negative_slope else None
    above = np.greater(x, threshold)
    x.clip(ZERO, max_value, out=y)
    np.multiply(y, above, out=y)
    if line is not None:
        np.minimum(line, ZERO, out=line)
        np.multiply(line, negative_slope, out=line)
        np.add(y, line, out=y)


def bounded_relu_backward(
    dx: Array, dy: Array, y: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    """f' = 0 where y >= max_value, else 1 where y > 0, else negative_slope."""
    slope = step(y, negative_slope, 1.0)
    np.multiply(slope, np.less(y, max_value), out=slope)
    np.multiply(dy, slope, out=dx)


def relu6(y: Array, x: Array) -> None:
    """y = x between 0 and 6, else the nearer of the two."""
    x.clip(ZERO, 6.0, out=y)


def relu6_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 where 0 < y < 6, else 0."""
    np.multiply(dy, _between(y, ZERO, 6.0), out=dx)


def hard_tanh(y: Array, x: Array) -> None:
    """y = x between -1 and 1, else the nearer of the two."""
    x.clip(-1.0, ONE, out=y)


def hard_tanh_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 where -1 < y < 1, else 0."""
    np.multiply(dy, _between(y, -1.0, ONE), out=dx)


def hard_sigmoid(y: Array, x: Array) -> None:
    """y = x / 6 + 1/2, between 0 and 1."""
    ramp(y, x, 3.0)


def hard_sigmoid_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1/6 where 0 < y < 1, else 0."""
    np.multiply(dy, _between(y, ZERO, ONE), out=dx)
    np.multiply(dx, 1 / 6, out=dx)


def sparse_sigmoid(y: Array, x: Array) -> None:
    """y = (x + 1) / 2, between 0 and 1."""
    ramp(y, x, 1.0)


def sparse_sigmoid_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1/2 where 0 < y < 1, else 0."""
    np.multiply(dy, _between(y, ZERO, ONE), out=dx)
    np.multiply(dx, HALF, out=dx)


def soft_shrink(y: Array, x: Array, threshold: float) -> None:
    """y = x moved towards 0 by threshold, at most to 0."""
    np.subtract(x, x.clip(-threshold, threshold), out=y)


def soft_shrink_backward(dx: Array, dy: Array, y: Array, threshold: float) -> None:
    """f' = 1 where y != 0, else 0."""
    np.multiply(dy, np.not_equal(y, ZERO), out=dx)


def hard_shrink(y: Array, x: Array, threshold: float) -> None:
    """y = x where |x| > threshold, else 0."""
    np.multiply(x, np.greater(np.abs(x), threshold), out=y)


def hard_shrink_backward(dx: Array, dy: Array, y: Array, threshold: float) -> None:
    """f' = 1 where y != 0, else 0."""
    np.multiply(dy, np.not_equal(y, ZERO), out=dx)


# ---------------------------------------------------------------------- curves


def sigmoid(y: Array, x: Array) -> None:
    """y = 1 / (1 + exp(-x))."""
    # = tanh(x / 2) / 2 + 1/2: without an overflow, and tanh is NumPy's fastest transcendental.
    np.multiply(x, HALF, out=y)
    np.tanh(y, out=y)
    np.multiply(y, HALF, out=y)
    np.add(y, HALF, out=y)


def sigmoid_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = y (1 - y)."""
    slope = np.subtract(ONE, y)
    np.multiply(slope, y, out=slope)
    np.multiply(dy, slope, out=dx)


def tanh(y: Array, x: Array) -> None:
    """The hyperbolic tangent."""
    np.tanh(x, out=y)


def tanh_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 - y^2."""
    slope = np.square(y)
    np.subtract(ONE, slope, out=slope)
    np.multiply(dy, slope, out=dx)


def elu(y: Array, x: Array, alpha: float) -> None:
    """y = x where x > 0, else alpha (exp(x) - 1)."""
    tail = np.minimum(x, ZERO)
    np.expm1(tail, out=tail)
    np.multiply(tail, alpha, out=tail)
    np.maximum(x, ZERO, out=y)
    np.add(y, tail, out=y)


def elu_backward(dx: Array, dy: Array, y: Array, alpha: float) -> None:
    """f' = 1 where y > 0, else y + alpha."""
    slope = step(y, alpha, 1.0)
    np.add(slope, np.minimum(y, ZERO), out=slope)
    np.multiply(dy, slope, out=dx)


def selu(y: Array, x: Array) -> None:
    """y = scale elu(x, alpha) with the scale and alpha of Klambauer et al."""
    elu(y, x, SELU_ALPHA)
    np.multiply(y, SELU_SCALE, out=y)


def selu_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = scale where y > 0, else y + scale alpha."""
    slope = step(y, SELU_SCALE * SELU_ALPHA, SELU_SCALE)
    np.add(slope, np.minimum(y, ZERO), out=slope)
    np.multiply(dy, slope, out=dx)


def celu(y: Array, x: Array, alpha: float) -> None:
    """y = x where x > 0, else alpha (exp(x / alpha) - 1)."""
    tail = np.minimum(x, ZERO)
    np.divide(tail, alpha, out=tail)
    np.expm1(tail, out=tail)
    np.multiply(tail, alpha, out=tail)
    np.maximum(x, ZERO, out=y)
    np.add(y, tail, out=y)


def celu_backward(dx: Array, dy: Array, y: Array, alpha: float) -> None:
    """f' = 1 where y > 0, else y / alpha + 1."""
    slope = np.minimum(y, ZERO)
    np.divide(slope, alpha, out=slope)
    np.add(slope, ONE, out=slope)
    np.multiply(dy, slope, out=dx)


def softplus(y: Array, x: Array) -> None:
    """y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))."""
    rest = _log1p_exp_of_minus_abs(x)
    np.maximum(x, ZERO, out=y)
    np.add(y, rest, out=y)


def softplus_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = sigmoid(x) = 1 - exp(-y)."""
    minus_slope = np.negative(y)
    np.expm1(minus_slope, out=minus_slope)
    np.multiply(dy, minus_slope, out=dx)
    np.negative(dx, out=dx)


def log_sigmoid(y: Array, x: Array) -> None:
    """y = log(sigmoid(x)) = min(x, 0) - log(1 + exp(-|x|))."""
    rest = _log1p_exp_of_minus_abs(x)
    np.minimum(x, ZERO, out=y)
    np.subtract(y, rest, out=y)


def log_sigmoid_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 - sigmoid(x) = 1 - exp(y)."""
    minus_slope = np.expm1(y)
    np.multiply(dy, minus_slope, out=dx)
    np.negative(dx, out=dx)


def softsign(y: Array, x: Array) -> None:
    """y = x / (1 + |x|)."""
    finite = x.clip(-1e30, 1e30)  # inf / inf would be NaN
    scale = np.abs(finite)
    np.add(scale, ONE, out=scale)
    np.divide(finite, scale, out=y)


def softsign_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = 1 / (1 + |x|)^2 = (1 - |y|)^2."""
    slope = np.abs(y)
    np.subtract(ONE, slope, out=slope)
    np.square(slope, out=slope)
    np.multiply(dy, slope, out=dx)


def exponential(y: Array, x: Array) -> None:
    """y = exp(x)."""
    with np.errstate(over="ignore"):
        np.exp(x, out=y)


def exponential_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = y."""
    np.multiply(dy, y, out=dx)


def sparse_plus(y: Array, x: Array) -> None:
    """y = 0 where x <= -1, x where x >= 1, between them (x + 1)^2 / 4."""
    parabola = x.clip(-1.0, ONE)
    np.add(parabola, ONE, out=parabola)
    np.square(parabola, out=parabola)
    np.multiply(parabola, 0.25, out=parabola)
    np.subtract(x, ONE, out=y)
    np.maximum(y, ZERO, out=y)
    np.add(y, parabola, out=y)


def sparse_plus_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = sqrt(y), at most 1."""
    slope = np.minimum(y, ONE)
    np.sqrt(slope, out=slope)
    np.multiply(dy, slope, out=dx)


def squareplus(y: Array, x: Array, b: float) -> None:
    """y = (x + sqrt(x^2 + b)) / 2 = max(x, 0) + b / (4 t), where t is that of |x|."""
    size = np.abs(x)
    with np.errstate(over="ignore"):  # where x^2 overflows, b / (4 t) is 0
        rest = np.square(size)
    np.add(rest, b, out=rest)
    np.sqrt(rest, out=rest)
    np.add(rest, size, out=rest)
    np.divide(b / 2, rest, out=rest)
    np.maximum(x, ZERO, out=y)
    np.add(y, rest, out=y)


def squareplus_backward(dx: Array, dy: Array, y: Array, b: float) -> None:
    """f' = y^2 / (y^2 + b / 4)."""
    with np.errstate(divide="ignore", over="ignore"):  # y = 0 and tiny y: 1 / inf is right
        slope = np.divide(sqrt(b) / 2, y)
        np.square(slope, out=slope)
    np.add(slope, ONE, out=slope)
    np.divide(dy, slope, out=dx)


# --------------------------------------------------------------------------------- their parts


def step(y: Array, left: float, right: float) -> Array:
    """Left where y <= 0, right where y > 0: a sum, as choosing at random takes ten times longer."""
    values = np.empty_like(y)
    np.greater(y, ZERO, out=values)
    np.multiply(values, right - left, out=values)
    return np.add(values, left, out=values)


def ramp(y: Array, x: Array, end: float) -> None:
    """The straight line from 0 at x = -end to 1 at x = end, with all digits near both."""
    np.add(x, end, out=y)
    y.clip(ZERO, 2 * end, out=y)
    np.multiply(y, 0.5 / end, out=y)


def _between(y: Array, low: Array | float, high: Array | float) -> Array:
    inside = np.greater(y, low)
    return np.logical_and(inside, np.less(y, high), out=inside)


def _log1p_exp_of_minus_abs(x: Array) -> Array:
    rest = np.abs(x)
    np.negative(rest, out=rest)
    np.exp(rest, out=rest)
    return np.log1p(rest, out=rest)
