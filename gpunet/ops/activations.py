"""Plain functions: activations."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_array, as_matrix, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError


def bias_act(
    x: Any, bias: Any = None, activation: str = "linear", parameters: tuple[float, ...] = ()
) -> Array:
    """activation(x + bias), with a bias for the last axis of x.

    Args:
        x: (..., columns).
        bias: (columns,) or None.
        activation: "relu", "gelu" or another name of `gpunet.backend.spec.ACTIVATIONS`.
        parameters: all of its parameters, in that table's order; () for their defaults.

    >>> bias_act([[1.0, -2.0]], bias=[1.0, 1.0], activation="relu")
    array([[2., 0.]], dtype=float32)
    """
    x = as_array(x)
    arrays = {"x": as_matrix("bias_act", x), "bias": bias}
    written = run_op("bias_act", arrays, activation=activation, parameters=parameters)
    return written["y"].reshape(x.shape)


def bias_act_backward(
    dy: Any, saved: Any, activation: str = "linear", parameters: tuple[float, ...] = ()
) -> tuple[Array, Array]:
    """The gradients (dx, dbias) of `bias_act` from that of its output y.

    ``saved`` is what the activation's gradient is written in, as ACTIVATIONS says: y, or x + bias.

    >>> dx, dbias = bias_act_backward([[1.0, 1.0], [1.0, 1.0]], [[2.0, 0.0], [3.0, 4.0]], "relu")
    >>> dbias
    array([2., 1.], dtype=float32)
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("bias_act_backward", dy),
        "saved": None if saved is None else as_matrix("bias_act_backward", as_array(saved)),
    }
    written = run_op("bias_act_backward", arrays, activation=activation, parameters=parameters)
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


def log_softmax(x: Any) -> Array:
    """x - log(sum(exp(x))) over the last axis.

    >>> log_softmax([0.0, 1000.0])
    array([-1000.,     0.], dtype=float32)
    """
    x = as_array(x)
    return run_op("log_softmax", {"x": as_matrix("log_softmax", x)})["y"].reshape(x.shape)


def log_softmax_backward(dy: Any, y: Any) -> Array:
    """The gradient of `log_softmax`, dy - exp(y) sum(dy), from that of its output y.

    >>> log_softmax_backward([1.0, 0.0], [0.0, -1000.0])
    array([0., 0.], dtype=float32)
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("log_softmax_backward", dy),
        "y": as_matrix("log_softmax_backward", as_array(y)),
    }
    return run_op("log_softmax_backward", arrays)["dx"].reshape(dy.shape)


def sparsemax(x: Any) -> Array:
    """max(x - t, 0) along the last axis, where t is such that it adds up to 1.

    >>> sparsemax([0.5, 0.0, -1.0])
    array([0.75, 0.25, 0.  ], dtype=float32)
    """
    x = as_array(x)
    return run_op("sparsemax", {"x": as_matrix("sparsemax", x)})["y"].reshape(x.shape)


def sparsemax_backward(dy: Any, y: Any) -> Array:
    """The gradient of `sparsemax` from that of its output y.

    >>> sparsemax_backward([1.0, 0.0, 5.0], [0.75, 0.25, 0.0])
    array([ 0.5, -0.5,  0. ], dtype=float32)
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("sparsemax_backward", dy),
        "y": as_matrix("sparsemax_backward", as_array(y)),
    }
    return run_op("sparsemax_backward", arrays)["dx"].reshape(dy.shape)


def glu(x: Any) -> Array:
    """a sigmoid(b), where a and b are the halves of x's last axis.

    >>> glu([2.0, 4.0, 0.0, 0.0])
    array([1., 2.], dtype=float32)
    """
    x = as_array(x)
    y: Array = run_op("glu", {"x": _halves(x)})["y"]
    return y.reshape(*x.shape[:-1], x.shape[-1] // 2)


def glu_backward(dy: Any, x: Any) -> Array:
    """The gradient of `glu` from that of its output y and its input x.

    >>> glu_backward([1.0], [2.0, 0.0])
    array([0.5, 0.5], dtype=float32)
    """
    dy, x = as_array(dy), as_array(x)
    arrays = {"dy": as_matrix("glu_backward", dy), "x": _halves(x)}
    return run_op("glu_backward", arrays)["dx"].reshape(x.shape)


def _halves(x: Array) -> Array:
    rows = as_matrix("glu", x)
    if rows.shape[1] % 2:
        raise ShapeError(f"glu halves the last axis, which must be even, got {x.shape}.")
    return rows.reshape(rows.shape[0], 2, rows.shape[1] // 2)


def prelu(x: Any, alpha: Any) -> Array:
    """x where x > 0, else alpha x, with an alpha for each element of the last axis.

    >>> prelu([-1.0, -1.0, 3.0], alpha=[0.5, 0.25, 0.5])
    array([-0.5 , -0.25,  3.  ], dtype=float32)
    """
    x = as_array(x)
    return run_op("prelu", {"x": as_matrix("prelu", x), "alpha": alpha})["y"].reshape(x.shape)


def prelu_backward(dy: Any, x: Any, alpha: Any) -> tuple[Array, Array]:
    """The gradients (dx, dalpha) of `prelu` from that of its output y.

    >>> prelu_backward([1.0, 1.0], [-2.0, 3.0], alpha=[0.5, 0.5])
    (array([0.5, 1. ], dtype=float32), array([-2.,  0.], dtype=float32))
    """
    dy = as_array(dy)
    arrays = {
        "dy": as_matrix("prelu_backward", dy),
        "x": as_matrix("prelu_backward", as_array(x)),
        "alpha": alpha,
    }
    written = run_op("prelu_backward", arrays)
    return written["dx"].reshape(dy.shape), written["dalpha"]
