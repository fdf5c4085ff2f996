"""What follows a matrix product, in one pass while it is in the cache; products are NumPy's."""

from __future__ import annotations

from gpunet.backend.cpu import gemm as plain
from gpunet.backend.cpu.compiled.activations import (
    bias_act,
    bind_column_sum,
    bind_relu_backward,
)
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.spec import Array


@prepared
def gemm_bias_act(
    c: Array,
    a: Array,
    b: Array,
    bias: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> Call:
    """c = activation(op(a) op(b) + bias): a dense layer's forward in one launch."""
    product = bind(plain.gemm, c, a, b, ta=ta, tb=tb)
    if bias is None and activation == "linear":
        return product
    bias_and_activation = bind(bias_act, c, c, bias, activation=activation, parameters=parameters)

    def run() -> None:
        product()
        bias_and_activation()

    return run


@prepared
def gemm_act_backward(
    c: Array,
    a: Array,
    b: Array,
    saved: Array,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> Call:
    """c = op(a) op(b) * activation'(saved): a product that passes back through an activation."""
    if activation != "relu":
        options = {"activation": activation, "parameters": parameters, "ta": ta, "tb": tb}
        return bind(plain.gemm_act_backward, c, a, b, saved, **options)
    product = bind(plain.gemm, c, a, b, ta=ta, tb=tb)
    act_backward = bind_relu_backward(c, c, saved)

    def run() -> None:
        product()
        act_backward()

    return run


@prepared
def gemm_column_sum(
    c: Array, column_sum: Array, a: Array, b: Array, *, ta: bool = False, accumulate: bool = False
) -> Call:
    """c = op(a) b and column_sum = sum of b over its rows: a dense layer's dkernel and dbias."""
    product = bind(plain.gemm, c, a, b, ta=ta, accumulate=accumulate)
    sum_up = bind_column_sum(column_sum, b, accumulate)

    def run() -> None:
        product()
        sum_up()

    return run
