"""Normalization of rows, layer norm and its relatives, and of a kernel by its spectral norm."""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, Sum, op


@op(
    y="rows columns",
    mean="full: rows",
    rstd="full: rows",
    x="rows columns",
    gamma="columns",
    beta="columns",
    in_place="y=x",
)
def layer_norm(
    y: Out,
    mean: Out,
    rstd: Out,
    x: In,
    gamma: In | None,
    beta: In | None,
    *,
    norm: str,
    epsilon: float,
) -> None:
    """y = (x - m) * rstd * gamma + beta along each row; without gamma and beta 1 and 0.

    With mean and variance of the row, the ``norm``

    * "layer" has m = mean, rstd = 1 / sqrt(variance + epsilon);
    * "variance" the same rstd, but m = 0 (Keras' LayerNormalization with rms_scaling);
    * "rms" m = 0, rstd = 1 / sqrt(mean of x^2 + epsilon); the array mean becomes 0;
    * "unit" m = 0, rstd = min(1 / sqrt(sum of x^2), 1 / epsilon); the array mean becomes 0.
    """


@op(
    dx="rows columns",
    dgamma="columns",
    dbeta="columns",
    dy="rows columns",
    x="rows columns",
    mean="full: rows",
    rstd="full: rows",
    gamma="columns",
    in_place="dx=dy dx=x",
)
def layer_norm_backward(
    dx: Out,
    dgamma: Sum | None,
    dbeta: Sum | None,
    dy: In,
    x: In,
    mean: In,
    rstd: In,
    gamma: In | None,
    *,
    norm: str,
    epsilon: float,
    accumulate: bool = False,
) -> None:
    """dx = rstd * (g - a - v * b); dgamma, dbeta = sums of dy * w and of dy over rows.

    With g = dy * gamma, v = (x - mean) * rstd, w = (x - m) * rstd: a is the mean of g along the row
    for the norm "layer", else 0; b is the mean of g * w; for "unit" it is the sum, or 0 where rstd
    was cut off at 1 / epsilon. ``accumulate`` concerns dgamma and dbeta.
    """


@op(kernel="...", vector="columns", direction="columns", reciprocal="full: 1")
def spectral_scale(
    kernel: InOut, vector: InOut, direction: In, reciprocal: In, *, epsilon: float
) -> None:
    """kernel *= reciprocal and vector = direction; both stay if reciprocal is 1 / epsilon.

    The end of a power iteration, where reciprocal = min(1 / sigma, 1 / epsilon) for the largest
    singular value sigma of the kernel: one that is 0 stays as it is.
    """
