"""Plain functions: activations."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_array, as_matrix, run_op
from gpunet.backend.spec import Array


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
