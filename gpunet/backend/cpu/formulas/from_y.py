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
    slopes = np.where(np.greater(y, ZERO), ONE, y.dtype.type(negative_slope))
    np.multiply(dy, slopes, out=dx)


def bounded_relu(
    y: Array, x: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    """y = min(x, max_value) where x > threshold, else negative_slope (x - threshold)."""
    below = np.less_equal(x, threshold)
    line: Array = ZERO
    if negative_slope:
        line = np.subtract(x, threshold)
        np.multiply(line, negative_slope, out=line)
    np.minimum(x, max_value, out=y)
    np.copyto(y, line, where=below)


def bounded_relu_backward(
    dx: Array, dy: Array, y: Array, negative_slope: float, max_value: float, threshold: float
) -> None:
    """f' = 0 where y >= max_value, else 1 where y > 0, else negative_slope."""
    slopes = np.where(np.greater(y, ZERO), ONE, y.dtype.type(negative_slope))
    np.copyto(slopes, ZERO, where=np.greater_equal(y, max_value))
    np.multiply(dy, slopes, out=dx)


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
    near = np.less_equal(np.abs(x), threshold)
    linear(y, x)
    np.copyto(y, ZERO, where=near)


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
    slope = np.add(y, alpha)
    np.copyto(slope, ONE, where=np.greater(y, ZERO))
    np.multiply(dy, slope, out=dx)


def selu(y: Array, x: Array) -> None:
    """y = scale elu(x, alpha) with the scale and alpha of Klambauer et al."""
    elu(y, x, SELU_ALPHA)
    np.multiply(y, SELU_SCALE, out=y)


def selu_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = scale where y > 0, else y + scale alpha."""
    slope = np.add(y, SELU_SCALE * SELU_ALPHA)
    np.copyto(slope, SELU_SCALE, where=np.greater(y, ZERO))
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
    np.copyto(parabola, x, where=np.greater(x, ONE))
    np.copyto(y, parabola)


def sparse_plus_backward(dx: Array, dy: Array, y: Array) -> None:
    """f' = sqrt(y), at most 1."""
    slope = np.minimum(y, ONE)
    np.sqrt(slope, out=slope)
    np.multiply(dy, slope, out=dx)


def squareplus(y: Array, x: Array, b: float) -> None:
    """y = (x + sqrt(x^2 + b)) / 2; for x < 0 that is b / 4 divided by y of -x, with all digits."""
    negative = np.less(x, ZERO)
    size = np.abs(x)
    root = np.hypot(size, sqrt(b))  # x^2 may overflow
    np.add(size, root, out=size)
    np.multiply(size, HALF, out=size)
    np.divide(b / 4, size, out=size, where=negative)
    np.copyto(y, size)


def squareplus_backward(dx: Array, dy: Array, y: Array, b: float) -> None:
    """f' = y^2 / (y^2 + b / 4)."""
    with np.errstate(divide="ignore", over="ignore"):  # y = 0 and tiny y: 1 / inf is right
        slope = np.divide(sqrt(b) / 2, y)
        np.square(slope, out=slope)
    np.add(slope, ONE, out=slope)
    np.divide(dy, slope, out=dx)


# --------------------------------------------------------------------------------- their parts


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
