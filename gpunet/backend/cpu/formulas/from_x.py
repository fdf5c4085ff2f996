"""Activations whose gradients are written in terms of what they were applied to, x."""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from gpunet.backend.cpu.blocks import HALF, INFINITY, ONE, ZERO
from gpunet.backend.cpu.formulas.from_y import ramp
from gpunet.backend.spec import Array

_FAR = {"f": 80.0, "d": 700.0}
"""Where exp(-x) is nothing beside 1, and x exp(x) does not overflow yet, by dtype."""

_FLAT = 40.0
"""Where the normal distribution's tail is 0, and tanh 1, in any dtype."""


def threshold(y: Array, x: Array, threshold: float, default_value: float) -> None:
    """y = x where x > threshold, else default_value."""
    above = np.greater(x, threshold)
    np.maximum(x, threshold, out=y)  # -inf * 0 would be NaN
    np.multiply(y, above, out=y)
    np.add(y, np.multiply(~above, default_value, dtype=y.dtype), out=y)


def threshold_backward(
    dx: Array, dy: Array, x: Array, threshold: float, default_value: float
) -> None:
    """f' = 1 where x > threshold, else 0."""
    np.multiply(dy, np.greater(x, threshold), out=dx)


def tanh_shrink(y: Array, x: Array) -> None:
    """y = x - tanh(x)."""
    np.subtract(x, np.tanh(x), out=y)


def tanh_shrink_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = tanh(x)^2."""
    slope = np.tanh(x)
    np.square(slope, out=slope)
    np.multiply(dy, slope, out=dx)


def hard_silu(y: Array, x: Array) -> None:
    """y = x hard_sigmoid(x)."""
    gate = np.empty_like(x)
    ramp(gate, x, 3.0)
    np.maximum(x, -3.0, out=y)  # -inf * 0 would be NaN
    np.multiply(y, gate, out=y)


def hard_silu_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = x / 3 + 1/2 where |x| <= 3, else 0 below and 1 above."""
    slope = x.clip(-3.0, 3.0)
    np.divide(slope, 3.0, out=slope)
    np.add(slope, HALF, out=slope)
    np.subtract(slope, np.multiply(np.greater(x, 3.0), HALF, dtype=x.dtype), out=slope)
    np.add(slope, np.multiply(np.less(x, -3.0), HALF, dtype=x.dtype), out=slope)
    np.multiply(dy, slope, out=dx)


def silu(y: Array, x: Array) -> None:
    """y = x sigmoid(x) = x / (1 + exp(-x))."""
    bounded = x.clip(-_FAR[x.dtype.char], INFINITY)
    scale = np.negative(bounded)
    np.exp(scale, out=scale)
    np.add(scale, ONE, out=scale)
    np.divide(bounded, scale, out=y)


def silu_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = s (1 + x (1 - s)) = s (1 + x e s), where e = exp(-x) and s = 1 / (1 + e)."""
    far = _FAR[x.dtype.char]
    slope = x.clip(-far, far)
    gate = np.negative(slope)
    np.exp(gate, out=gate)
    np.multiply(slope, gate, out=slope)
    np.add(gate, ONE, out=gate)
    np.divide(ONE, gate, out=gate)
    np.multiply(slope, gate, out=slope)
    np.add(slope, ONE, out=slope)
    np.multiply(slope, gate, out=slope)
    np.multiply(dy, slope, out=dx)


def mish(y: Array, x: Array) -> None:
    """y = x tanh(log(1 + e)) = x n / (n + 2), where e = exp(x) and n = e (e + 2)."""
    far = _FAR[x.dtype.char]
    ratio = x.clip(-far, 20.0)  # above, n / (n + 2) is 1
    np.exp(ratio, out=ratio)
    n = np.add(ratio, 2.0)
    np.multiply(ratio, n, out=ratio)
    np.add(ratio, 2.0, out=n)
    np.divide(ratio, n, out=ratio)
    np.multiply(x.clip(-far, INFINITY), ratio, out=y)


def mish_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = e (4 (x + 1) + e (4 x + 6 + e (4 + e))) / (n + 2)^2."""
    bounded = x.clip(-_FAR[x.dtype.char], 20.0)
    e = np.exp(bounded)
    np.multiply(bounded, 4.0, out=bounded)
    slope = np.add(e, 4.0)
    np.multiply(slope, e, out=slope)
    np.add(slope, bounded, out=slope)
    np.add(slope, 6.0, out=slope)
    np.multiply(slope, e, out=slope)
    np.add(slope, bounded, out=slope)
    np.add(slope, 4.0, out=slope)
    np.multiply(slope, e, out=slope)
    scale = np.add(e, 2.0, out=bounded)  # n + 2 = e (e + 2) + 2
    np.multiply(scale, e, out=scale)
    np.add(scale, 2.0, out=scale)
    np.square(scale, out=scale)
    np.divide(slope, scale, out=slope)
    np.multiply(dy, slope, out=dx)


def gelu(y: Array, x: Array) -> None:
    """y = x Phi(x) = max(x, 0) - |x| Phi(-|x|), Phi being the normal distribution's integral."""
    size = _bounded_abs(x)
    tail = _normal_tail(size)
    tail *= _exp_of_minus_half_square(size.copy())
    np.multiply(tail, size, out=tail)
    np.maximum(x, ZERO, out=y)
    np.subtract(y, tail, out=y)


def gelu_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = Phi(x) + x phi(x), phi being the normal density: for x < 0 Phi(-|x|) - |x| phi(x)."""
    slope = _bounded_abs(x)
    tail = _normal_tail(slope)
    factor = _exp_of_minus_half_square(slope.copy())
    np.multiply(slope, 1 / sqrt(2 * pi), out=slope)
    np.subtract(tail, slope, out=slope)
    np.multiply(slope, factor, out=slope)
    right, sign = tail, factor  # slope where x < 0, else 1 - slope
    np.greater_equal(x, ZERO, out=right)
    np.multiply(right, -2.0, out=sign)
    np.add(sign, ONE, out=sign)
    np.multiply(slope, sign, out=slope)
    np.add(slope, right, out=slope)
    np.multiply(dy, slope, out=dx)


def gelu_tanh(y: Array, x: Array) -> None:
    """y = x (1 + tanh(k (x + 0.044715 x^3))) / 2, k = sqrt(2 / pi)."""
    gate = _tanh_of_cubic(x.clip(-_FLAT, _FLAT))
    np.add(gate, ONE, out=gate)
    np.multiply(gate, HALF, out=gate)
    np.multiply(x.clip(-_FLAT, INFINITY), gate, out=y)


def gelu_tanh_backward(dx: Array, dy: Array, x: Array) -> None:
    """f' = ((1 + t) + x (1 - t^2) k (1 + 3 * 0.044715 x^2)) / 2, where t is the tanh."""
    bounded = x.clip(-_FLAT, _FLAT)
    gate = _tanh_of_cubic(bounded)
    slope = np.square(bounded)
    np.multiply(slope, 3 * 0.044715 * sqrt(2 / pi), out=slope)
    np.add(slope, sqrt(2 / pi), out=slope)
    np.multiply(slope, bounded, out=slope)
    np.square(gate, out=bounded)
    np.subtract(ONE, bounded, out=bounded)
    np.multiply(slope, bounded, out=slope)
    np.add(slope, gate, out=slope)
    np.add(slope, ONE, out=slope)
    np.multiply(slope, HALF, out=slope)
    np.multiply(dy, slope, out=dx)


# --------------------------------------------------------------------------------- their parts


def _tanh_of_cubic(x: Array) -> Array:
    """tanh(sqrt(2 / pi) (x + 0.044715 x^3)) = tanh(x (k + 0.044715 k x^2))."""
    t = np.square(x)
    np.multiply(t, 0.044715 * sqrt(2 / pi), out=t)
    np.add(t, sqrt(2 / pi), out=t)
    np.multiply(t, x, out=t)
    return np.tanh(t, out=t)


def _bounded_abs(x: Array) -> Array:
    size = np.abs(x)
    return np.minimum(size, _FLAT, out=size)


def _exp_of_minus_half_square(x: Array) -> Array:
    """exp(-x^2 / 2), in the place of x."""
    np.square(x, out=x)
    np.multiply(x, -0.5, out=x)
    return np.exp(x, out=x)


def _normal_tail(a: Array) -> Array:
    """Phi(-a) exp(a^2 / 2) for 0 <= a <= 40: t P(2 t - 1), t = 1 / (1 + a / 4).

    NumPy has no erf. P interpolates at Chebyshev's points; relative errors are 3e-7 in float32
    and 1e-15 in float64.
    """
    coefficients = _TAIL[a.dtype.char]
    s = np.add(a, 4.0)
    np.divide(8.0, s, out=s)
    np.subtract(s, ONE, out=s)
    tail = np.multiply(s, coefficients[-1])
    for coefficient in coefficients[-2:0:-1]:
        np.add(tail, coefficient, out=tail)
        np.multiply(tail, s, out=tail)
    np.add(tail, coefficients[0], out=tail)
    np.add(s, ONE, out=s)
    np.multiply(s, HALF, out=s)
    return np.multiply(tail, s, out=tail)


# fmt: off
_TAIL = {
    "f": (0.18882128, 0.151974118, 0.0967844516, 0.0466314066, 0.0150984488, 0.00187918873,
          -0.000868327421, -0.000392670723, 3.19207171e-05, 4.01906921e-05),
    "d": (0.18882128260393782, 0.15197416049297216, 0.09678435018556969, 0.04663046448999607,
          0.01509914372202384, 0.0018850472394628139, -0.0008699230793804824,
          -0.00040770458737036285, 3.3335964036489524e-05, 5.777355693352388e-05,
          -4.7644682670621476e-07, -8.785495893842533e-06, 1.7705474884967622e-07,
          1.4784972038595835e-06, -1.5274569075613358e-07, -2.533404230732856e-07,
          6.12594105751081e-08, 3.74292234683558e-08, -1.54079194111681e-08,
          -3.3305284525845056e-09, 1.938514025422759e-09),
}
# fmt: on
