"""Bias and activation; activations along rows; an activation with weights."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, Sum, op


@op(y="rows columns", x="rows columns", bias="columns", in_place="y=x")
def bias_act(
    y: Out, x: In, bias: In | None, *, activation: str, parameters: tuple[float, ...] = ()
) -> None:
    """y = activation(x + bias); without a bias, y = activation(x).

    ``activation`` is a name of `gpunet.backend.spec.ACTIVATIONS`; ``parameters`` are all of its
    parameters in that table's order, or () for their defaults.
    """


@op(
    dx="rows columns",
    dbias="columns",
    dy="rows columns",
    saved="rows columns",
    in_place="dx=dy dx=saved",
)
def bias_act_backward(
    dx: Out,
    dbias: Sum | None,
    dy: In,
    saved: In | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    accumulate: bool = False,
) -> None:
    """dx = dy * activation'(saved), dbias = sum of dx over rows.

    activation' is written in terms of what ACTIVATIONS says that the activation saves: its output
    y (relu y > 0, sigmoid y (1 - y), tanh 1 - y^2), or what it was applied to, the sum x + bias
    (gelu, silu). The linear activation needs neither: then saved may be None. ``accumulate``
    concerns dbias alone.
    """


@op(y="rows columns", x="rows columns", in_place="y=x")
def softmax(y: Out, x: In) -> None:
    """y = exp(x - max) / sum(exp(x - max)) along each row."""


@op(dx="rows columns", dy="rows columns", y="rows columns", in_place="dx=dy dx=y")
def softmax_backward(dx: Out, dy: In, y: In) -> None:
    """dx = y * (dy - sum(dy * y)) along each row."""


@op(y="rows columns", x="rows columns", in_place="y=x")
def log_softmax(y: Out, x: In) -> None:
    """y = x - max - log(sum(exp(x - max))) along each row."""


@op(dx="rows columns", dy="rows columns", y="rows columns", in_place="dx=dy dx=y")
def log_softmax_backward(dx: Out, dy: In, y: In) -> None:
    """dx = dy - exp(y) * sum(dy) along each row."""


@op(y="rows columns", x="rows columns", in_place="y=x")
def sparsemax(y: Out, x: In) -> None:
    """y = max(x - t, 0) along each row, where t is such that the row adds up to 1."""


@op(dx="rows columns", dy="rows columns", y="rows columns", in_place="dx=dy dx=y")
def sparsemax_backward(dx: Out, dy: In, y: In) -> None:
    """dx = dy - the mean of dy over the places of the row where y > 0; 0 at the other places."""


@op(y="rows columns", x="rows 2 columns")
def glu(y: Out, x: In) -> None:
    """y = a * sigmoid(b), where each row of x is the columns of a, then those of b."""


@op(dx="rows 2 columns", dy="rows columns", x="rows 2 columns", in_place="dx=x")
def glu_backward(dx: Out, dy: In, x: In) -> None:
    """da = dy * sigmoid(b), db = dy * a * sigmoid(b) (1 - sigmoid(b)); dx is (da, db)."""


@op(y="rows columns", x="rows columns", alpha="columns", in_place="y=x")
def prelu(y: Out, x: In, alpha: In) -> None:
    """y = x where x > 0, else alpha * x."""


@op(
    dx="rows columns",
    dalpha="columns",
    dy="rows columns",
    x="rows columns",
    alpha="columns",
    in_place="dx=dy dx=x",
)
def prelu_backward(
    dx: Out, dalpha: Sum, dy: In, x: In, alpha: In, *, accumulate: bool = False
) -> None:
    """dx = dy where x > 0, else alpha * dy; dalpha = sum of dy * min(x, 0) over rows.

    ``accumulate`` concerns dalpha alone.
    """
