"""Two arrays element by element."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, op


@op(y="...", a="...", b="...", in_place="y=a y=b")
def subtract(y: Out, a: In, b: In) -> None:
    """y = a - b."""


@op(y="...", a="...", b="...", in_place="y=a y=b")
def multiply(y: Out, a: In, b: In) -> None:
    """y = a * b."""


@op(y="...", a="...", b="...", in_place="y=a y=b")
def maximum(y: Out, a: In, b: In) -> None:
    """y = the larger of a and b; NaN where one is NaN."""


@op(y="...", a="...", b="...", in_place="y=a y=b")
def minimum(y: Out, a: In, b: In) -> None:
    """y = the smaller of a and b; NaN where one is NaN."""


@op(da="...", db="...", dy="...", a="...", b="...", in_place="da=dy db=dy da=a db=b")
def maximum_backward(da: Out, db: Out, dy: In, a: In, b: In) -> None:
    """da = dy where a > b, db = dy where a < b, both dy / 2 elsewhere (a = b, or NaN).

    The gradient of the smaller of both is the same op with da and db exchanged.
    """
