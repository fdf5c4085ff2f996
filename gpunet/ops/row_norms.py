"""Plain functions: normalization of rows."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_array, as_matrix, as_updated, run_op
from gpunet.backend.spec import Array


def layer_norm(
    x: Any, gamma: Any = None, beta: Any = None, norm: str = "layer", epsilon: float = 1e-3
) -> tuple[Array, Array, Array]:
    """Normalize along the last axis: (y, mean, rstd), which the gradient needs.

    Args:
        x: (..., columns).
        gamma: a factor for each column, or None.
        beta: an offset for each column, or None.
        norm: "layer", "variance", "rms" or "unit"; see the contract's `layer_norm`.
        epsilon: what is added to the variance or mean square; the least length for "unit".

    >>> layer_norm([[1.0, 3.0]], epsilon=1e-7)[0]
    array([[-1.,  1.]], dtype=float32)
    """
    x = as_array(x)
    arrays = {"x": as_matrix("layer_norm", x), "gamma": gamma, "beta": beta}
    written = run_op("layer_norm", arrays, norm=norm, epsilon=epsilon)
    return written["y"].reshape(x.shape), written["mean"], written["rstd"]


def layer_norm_backward(
    dy: Any,
    x: Any,
    mean: Any,
    rstd: Any,
    gamma: Any = None,
    norm: str = "layer",
    epsilon: float = 1e-3,
) -> tuple[Array, Array, Array]:
    """The gradients (dx, dgamma, dbeta) of `layer_norm` from that of y.

    >>> y, mean, rstd = layer_norm([[1.0, 3.0]])
    >>> dx, dgamma, dbeta = layer_norm_backward([[1.0, 1.0]], [[1.0, 3.0]], mean, rstd)
    >>> dx, dbeta
    (array([[0., 0.]], dtype=float32), array([1., 1.], dtype=float32))
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("layer_norm_backward", dy),
        "x": as_matrix("layer_norm_backward", as_array(x)),
        "mean": mean,
        "rstd": rstd,
        "gamma": gamma,
    }
    written = run_op("layer_norm_backward", arrays, norm=norm, epsilon=epsilon)
    return written["dx"].reshape(dy.shape), written["dgamma"], written["dbeta"]


def spectral_scale(
    kernel: Any, vector: Any, direction: Any, reciprocal: Any, epsilon: float = 1e-7
) -> None:
    """kernel *= reciprocal and vector = direction, in place, unless reciprocal is 1 / epsilon.

    >>> import numpy as np
    >>> kernel, vector = np.ones((2, 2), np.float32), np.zeros(2, np.float32)
    >>> spectral_scale(kernel, vector, [1.0, 0.0], [0.5])
    >>> kernel[0], vector
    (array([0.5, 0.5], dtype=float32), array([1., 0.], dtype=float32))
    """
    arrays = {
        "kernel": as_updated("spectral_scale", "kernel", kernel),
        "vector": as_updated("spectral_scale", "vector", vector),
        "direction": direction,
        "reciprocal": reciprocal,
    }
    run_op("spectral_scale", arrays, epsilon=epsilon)
