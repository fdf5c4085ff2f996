"""Bias and activation, softmax."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, Sum, op


@op(y="rows columns", x="rows columns", bias="columns", in_place="y=x")
def bias_act(y: Out, x: In, bias: In | None, *, activation: str) -> None:
    """y = activation(x + bias); without a bias, y = activation(x)."""


@op(
    dx="rows columns",
    dbias="columns",
    dy="rows columns",
    y="rows columns",
    in_place="dx=dy dx=y",
)
def bias_act_backward(
    dx: Out, dbias: Sum | None, dy: In, y: In | None, *, activation: str, accumulate: bool = False
) -> None:
    """dx = dy * activation'(y), dbias = sum of dx over rows.

    activation' is written in terms of the output: relu y > 0, sigmoid y (1 - y), tanh 1 - y^2,
    linear 1 (then y is not needed and may be None). ``accumulate`` concerns dbias alone.
    """


@op(y="rows columns", x="rows columns", in_place="y=x")
def softmax(y: Out, x: In) -> None:
    """y = exp(x - max) / sum(exp(x - max)) along each row."""


@op(dx="rows columns", dy="rows columns", y="rows columns", in_place="dx=dy dx=y")
def softmax_backward(dx: Out, dy: In, y: In) -> None:
    """dx = y * (dy - sum(dy * y)) along each row."""
