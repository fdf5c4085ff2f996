"""Activations as functions of arrays; they run where the array is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.activations.objects import GLU, ElementWise, LogSoftmax, Softmax, Sparsemax
from gpunet.backend.spec import Array


def linear(x: Any) -> Array:
    """y = x.

    Example:
        >>> linear([1.0, -2.0])
        array([ 1., -2.], dtype=float32)
    """
    return ElementWise("linear")(x)


def relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Array:
    """y = min(x, max_value) where x > threshold, else negative_slope (x - threshold): max(x, 0).

    Args:
        x: an array, or numbers.
        negative_slope: the slope below the threshold, >= 0.
        max_value: the largest y, >= 0; None for no bound.
        threshold: where the slope changes, >= 0.

    Example:
        >>> relu([-10.0, 5.0, 10.0], max_value=6.0)
        array([0., 5., 6.], dtype=float32)
    """
    return ElementWise(
        "relu", negative_slope=negative_slope, max_value=max_value, threshold=threshold
    )(x)


def leaky_relu(x: Any, negative_slope: float = 0.2) -> Array:
    """y = x where x > 0, else negative_slope x.

    Args:
        x: an array, or numbers.
        negative_slope: the slope below 0, >= 0.

    Example:
        >>> leaky_relu([-1.0, 2.0])
        array([-0.2,  2. ], dtype=float32)
    """
    return ElementWise("leaky_relu", negative_slope=negative_slope)(x)


def relu6(x: Any) -> Array:
    """y = x between 0 and 6, else the nearer of the two.

    Example:
        >>> relu6([-1.0, 2.0, 7.0])
        array([0., 2., 6.], dtype=float32)
    """
    return ElementWise("relu6")(x)


def elu(x: Any, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha (exp(x) - 1).

    Args:
        x: an array, or numbers.
        alpha: y tends to -alpha on the left, >= 0.

    Source: Clevert et al., 2016, arXiv:1511.07289.

    Example:
        >>> elu([-100.0, 2.0])
        array([-1.,  2.], dtype=float32)
    """
    return ElementWise("elu", alpha=alpha)(x)


def selu(x: Any) -> Array:
    """y = 1.0507 elu(x, alpha=1.67326): keeps mean and variance through deep networks.

    Source: Klambauer et al., 2017, arXiv:1706.02515.

    Example:
        >>> selu([0.0, 1.0]).round(4)
        array([0.    , 1.0507], dtype=float32)
    """
    return ElementWise("selu")(x)


def celu(x: Any, alpha: float = 1.0) -> Array:
    """y = x where x > 0, else alpha (exp(x / alpha) - 1).

    Args:
        x: an array, or numbers.
        alpha: y tends to -alpha on the left, > 0.

    Source: Barron, 2017, arXiv:1704.07483.

    Example:
        >>> celu([-100.0, 2.0], alpha=0.5)
        array([-0.5,  2. ], dtype=float32)
    """
    return ElementWise("celu", alpha=alpha)(x)


def sigmoid(x: Any) -> Array:
    """y = 1 / (1 + exp(-x)).

    Example:
        >>> sigmoid([0.0, 100.0])
        array([0.5, 1. ], dtype=float32)
    """
    return ElementWise("sigmoid")(x)


def hard_sigmoid(x: Any) -> Array:
    """y = x / 6 + 1/2, between 0 and 1.

    Example:
        >>> hard_sigmoid([-3.0, 0.0, 4.0])
        array([0. , 0.5, 1. ], dtype=float32)
    """
    return ElementWise("hard_sigmoid")(x)


def sparse_sigmoid(x: Any) -> Array:
    """y = (x + 1) / 2, between 0 and 1.

    Source: Blondel et al., 2019, arXiv:1901.02324.

    Example:
        >>> sparse_sigmoid([-1.0, 0.0, 4.0])
        array([0. , 0.5, 1. ], dtype=float32)
    """
    return ElementWise("sparse_sigmoid")(x)


def log_sigmoid(x: Any) -> Array:
    """y = log(1 / (1 + exp(-x))).

    Example:
        >>> log_sigmoid([-100.0])
        array([-100.], dtype=float32)
    """
    return ElementWise("log_sigmoid")(x)


def tanh(x: Any) -> Array:
    """The hyperbolic tangent.

    Example:
        >>> tanh([0.0, 100.0])
        array([0., 1.], dtype=float32)
    """
    return ElementWise("tanh")(x)


def hard_tanh(x: Any) -> Array:
    """y = x between -1 and 1, else the nearer of the two.

    Example:
        >>> hard_tanh([-3.0, 0.5])
        array([-1. ,  0.5], dtype=float32)
    """
    return ElementWise("hard_tanh")(x)


def tanh_shrink(x: Any) -> Array:
    """y = x - tanh(x).

    Example:
        >>> tanh_shrink([0.0, 100.0])
        array([ 0., 99.], dtype=float32)
    """
    return ElementWise("tanh_shrink")(x)


def softplus(x: Any) -> Array:
    """y = log(1 + exp(x)).

    Example:
        >>> softplus([100.0])
        array([100.], dtype=float32)
    """
    return ElementWise("softplus")(x)


def softsign(x: Any) -> Array:
    """y = x / (1 + |x|).

    Example:
        >>> softsign([-1.0, 3.0])
        array([-0.5 ,  0.75], dtype=float32)
    """
    return ElementWise("softsign")(x)


def squareplus(x: Any, b: float = 4.0) -> Array:
    """y = (x + sqrt(x^2 + b)) / 2.

    Args:
        x: an array, or numbers.
        b: smoothness, > 0: y is sqrt(b) / 2 at 0.

    Source: Barron, 2021, arXiv:2112.11687.

    Example:
        >>> squareplus([0.0])
        array([1.], dtype=float32)
    """
    return ElementWise("squareplus", b=b)(x)


def sparse_plus(x: Any) -> Array:
    """y = 0 where x <= -1, x where x >= 1, between them (x + 1)^2 / 4.

    Example:
        >>> sparse_plus([-2.0, 0.0, 2.0])
        array([0.  , 0.25, 2.  ], dtype=float32)
    """
    return ElementWise("sparse_plus")(x)


def soft_shrink(x: Any, threshold: float = 0.5) -> Array:
    """y = x moved towards 0 by threshold, at most to 0.

    Args:
        x: an array, or numbers.
        threshold: by how much, >= 0.

    Example:
        >>> soft_shrink([-2.0, 0.25, 2.0])
        array([-1.5,  0. ,  1.5], dtype=float32)
    """
    return ElementWise("soft_shrink", threshold=threshold)(x)


def hard_shrink(x: Any, threshold: float = 0.5) -> Array:
    """y = x where |x| > threshold, else 0.

    Args:
        x: an array, or numbers.
        threshold: the largest |x| that becomes 0, >= 0.

    Example:
        >>> hard_shrink([-2.0, 0.25, 2.0])
        array([-2.,  0.,  2.], dtype=float32)
    """
    return ElementWise("hard_shrink", threshold=threshold)(x)


def threshold(x: Any, threshold: float, default_value: float) -> Array:
    """y = x where x > threshold, else default_value.

    Args:
        x: an array, or numbers.
        threshold: the largest x that is replaced.
        default_value: by what.

    Example:
        >>> threshold([-2.0, 2.0], 1.0, 9.0)
        array([9., 2.], dtype=float32)
    """
    return ElementWise("threshold", threshold=threshold, default_value=default_value)(x)


def exponential(x: Any) -> Array:
    """y = exp(x).

    Example:
        >>> exponential([0.0])
        array([1.], dtype=float32)
    """
    return ElementWise("exponential")(x)


def silu(x: Any) -> Array:
    """y = x sigmoid(x); also called swish.

    Source: Ramachandran et al., 2017, arXiv:1710.05941.

    Example:
        >>> silu([0.0, 100.0])
        array([  0., 100.], dtype=float32)
    """
    return ElementWise("silu")(x)


def hard_silu(x: Any) -> Array:
    """y = x hard_sigmoid(x); also called hard_swish.

    Source: Howard et al., 2019, arXiv:1905.02244.

    Example:
        >>> hard_silu([0.0, 3.0])
        array([0., 3.], dtype=float32)
    """
    return ElementWise("hard_silu")(x)


def gelu(x: Any, approximate: bool = False) -> Array:
    """y = x Phi(x), Phi being the integral of the normal distribution.

    Args:
        x: an array, or numbers.
        approximate: whether Phi(x) is (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 instead.

    Source: Hendrycks and Gimpel, 2016, arXiv:1606.08415.

    Example:
        >>> gelu([-1.0, 1.0]).round(4)
        array([-0.1587,  0.8413], dtype=float32)
    """
    return ElementWise("gelu", approximate=approximate)(x)


def mish(x: Any) -> Array:
    """y = x tanh(log(1 + exp(x))).

    Source: Misra, 2019, arXiv:1908.08681.

    Example:
        >>> mish([0.0, 100.0])
        array([  0., 100.], dtype=float32)
    """
    return ElementWise("mish")(x)


def softmax(x: Any, axis: int | Sequence[int] = -1) -> Array:
    """y = exp(x) / sum(exp(x)) along an axis.

    Args:
        x: an array, or numbers.
        axis: the axis, or several along which all together add up to 1.

    Example:
        >>> softmax([0.0, 0.0])
        array([0.5, 0.5], dtype=float32)
    """
    return Softmax("softmax", axis=axis)(x)


def sparsemax(x: Any, axis: int | Sequence[int] = -1) -> Array:
    """y = the nearest probabilities to x: max(x - t, 0), where t makes them add up to 1.

    That is the paper's function; Keras 3.15 adds up cumulative sums, so that its rows do not add
    up to 1.

    Args:
        x: an array, or numbers.
        axis: the axis, or several.

    Source: Martins and Astudillo, 2016, arXiv:1602.02068.

    Example:
        >>> sparsemax([0.5, 0.0, -1.0])
        array([0.75, 0.25, 0.  ], dtype=float32)
    """
    return Sparsemax("sparsemax", axis=axis)(x)


def log_softmax(x: Any, axis: int | Sequence[int] = -1) -> Array:
    """y = log(softmax(x)) = x - log(sum(exp(x))) along an axis.

    Args:
        x: an array, or numbers.
        axis: the axis, or several.

    Example:
        >>> log_softmax([0.0, 1000.0])
        array([-1000.,     0.], dtype=float32)
    """
    return LogSoftmax("log_softmax", axis=axis)(x)


def glu(x: Any, axis: int = -1) -> Array:
    """y = a sigmoid(b), a and b being the halves of x's last axis.

    Args:
        x: an array, or numbers.
        axis: -1, the last.

    Source: Dauphin et al., 2017, arXiv:1612.08083.

    Example:
        >>> glu([2.0, 0.0])
        array([1.], dtype=float32)
    """
    return GLU("glu", axis=axis)(x)


swish, hard_swish = silu, hard_silu
