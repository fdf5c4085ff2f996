"""Plain functions: gemm."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import run_op
from gpunet.backend.spec import Array


def gemm(a: Any, b: Any, ta: bool = False, tb: bool = False) -> Array:
    """The product op(a) op(b) of two arrays, where op transposes if ta or tb.

    >>> gemm([[1.0, 2.0]], [[3.0, 4.0]], tb=True)
    array([[11.]], dtype=float32)
    """
    return run_op("gemm", {"a": a, "b": b}, ta=ta, tb=tb)["c"]


def gemm_bias_act(
    a: Any,
    b: Any,
    bias: Any = None,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> Array:
    """activation(op(a) op(b) + bias): a dense layer.

    >>> gemm_bias_act([[1.0, 2.0]], [[3.0], [4.0]], bias=[-12.0], activation="relu")
    array([[0.]], dtype=float32)
    """
    arrays = {"a": a, "b": b, "bias": bias}
    flags: dict[str, Any] = {"parameters": parameters, "ta": ta, "tb": tb}
    return run_op("gemm_bias_act", arrays, activation=activation, **flags)["c"]


def gemm_act_backward(
    a: Any,
    b: Any,
    saved: Any,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> Array:
    """op(a) op(b) * activation'(saved), with ``saved`` as in `bias_act_backward`.

    >>> gemm_act_backward([[1.0]], [[2.0, 3.0]], saved=[[5.0, 0.0]], activation="relu")
    array([[2., 0.]], dtype=float32)
    """
    arrays = {"a": a, "b": b, "saved": saved}
    flags: dict[str, Any] = {"parameters": parameters, "ta": ta, "tb": tb}
    return run_op("gemm_act_backward", arrays, activation=activation, **flags)["c"]


def gemm_column_sum(a: Any, b: Any, ta: bool = False) -> tuple[Array, Array]:
    """op(a) b and the sums of b's columns: a dense layer's gradients (dkernel, dbias).

    >>> gemm_column_sum([[1.0], [2.0]], [[3.0], [4.0]], ta=True)
    (array([[11.]], dtype=float32), array([7.], dtype=float32))
    """
    written = run_op("gemm_column_sum", {"a": a, "b": b}, ta=ta)
    return written["c"], written["column_sum"]


def batched_gemm(a: Any, b: Any, ta: bool = False, tb: bool = False) -> Array:
    """The product of each pair of matrices of two arrays (batch, rows, columns).

    >>> batched_gemm([[[1.0, 2.0]]], [[[3.0, 4.0]]], tb=True)
    array([[[11.]]], dtype=float32)
    """
    return run_op("batched_gemm", {"a": a, "b": b}, ta=ta, tb=tb)["c"]
