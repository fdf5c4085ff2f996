"""Matrix products and what a dense layer does with them."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, Sum, op


@op(c="m n", a="m k", b="k n", transpose="a=ta b=tb")
def gemm(
    c: Sum, a: In, b: In, *, ta: bool = False, tb: bool = False, accumulate: bool = False
) -> None:
    """c = op(a) op(b), where op transposes if ta or tb: then a is (k, m) or b is (n, k)."""


@op(c="m n", a="m k", b="k n", bias="n", transpose="a=ta b=tb")
def gemm_bias_act(
    c: Out,
    a: In,
    b: In,
    bias: In | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> None:
    """c = activation(op(a) op(b) + bias): a dense layer's forward in one launch.

    ``activation`` and ``parameters`` are those of `bias_act`.
    """


@op(c="m n", a="m k", b="k n", saved="m n", transpose="a=ta b=tb")
def gemm_act_backward(
    c: Out,
    a: In,
    b: In,
    saved: In,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    ta: bool = False,
    tb: bool = False,
) -> None:
    """c = op(a) op(b) * activation'(saved): a product that passes back through an activation.

    activation' is written in terms of y or x, as in `bias_act_backward`.
    """


@op(c="m n", column_sum="n", a="m k", b="k n", transpose="a=ta")
def gemm_column_sum(
    c: Sum, column_sum: Sum, a: In, b: In, *, ta: bool = False, accumulate: bool = False
) -> None:
    """c = op(a) b and column_sum = sum of b over its rows: a dense layer's dkernel and dbias."""


@op(c="batch m n", a="batch m k", b="batch k n", transpose="a=ta b=tb")
def batched_gemm(
    c: Sum, a: In, b: In, *, ta: bool = False, tb: bool = False, accumulate: bool = False
) -> None:
    """`gemm` of each pair of matrices: c[i] = op(a[i]) op(b[i])."""
