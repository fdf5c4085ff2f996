"""Normalization of rows, layer norm and its relatives, and of a kernel by its spectral norm."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.activations import add_column_sum
from gpunet.backend.cpu.blocks import (
    ONE,
    block_rows,
    block_scratch,
    each_block,
    ones,
    repeated,
    sum_blocks,
)
from gpunet.backend.spec import Array


def layer_norm(
    y: Array,
    mean: Array,
    rstd: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    *,
    norm: str,
    epsilon: float,
) -> None:
    """y = (x - m) * rstd * gamma + beta along each row."""
    columns = x.shape[1]
    sum_up = ones(columns, x)
    shift = None if beta is None else repeated(beta, x[: block_rows(x)], 1)

    def of_block(number: int, y_: Array, mean_: Array, rstd_: Array, x_: Array) -> None:
        centered = x_
        scratch = block_scratch(x_.shape, x_.dtype)
        if norm in ("layer", "variance"):
            np.dot(x_, sum_up, mean_)
            np.divide(mean_, columns, out=mean_)
            into = y_ if norm == "layer" else scratch
            centered = np.subtract(x_, mean_[:, None], out=into)
        else:
            mean_[...] = 0.0
        np.multiply(centered, centered, out=scratch)
        np.dot(scratch, sum_up, rstd_)
        _reciprocal_root(rstd_, columns, norm, epsilon)
        factor = rstd_[:, None]
        if gamma is not None:
            factor = np.dot(factor, gamma[None], scratch)  # one product, not two, for each element
        np.multiply(y_ if norm == "layer" else x_, factor, out=y_)
        if shift is not None:
            np.add(y_, shift[: len(y_)], out=y_)

    each_block(of_block, y, mean, rstd, x)


def _reciprocal_root(squares: Array, columns: int, norm: str, epsilon: float) -> None:
    """What a row is multiplied by, from the sum of its squares, in the same memory."""
    if norm == "unit":
        with np.errstate(divide="ignore"):  # of a row of zeros
            np.divide(ONE, np.sqrt(squares, out=squares), out=squares)
        np.minimum(squares, 1.0 / epsilon, out=squares)
    else:
        np.divide(squares, columns, out=squares)
        np.add(squares, epsilon, out=squares)
        np.divide(ONE, np.sqrt(squares, out=squares), out=squares)


def layer_norm_backward(
    dx: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
    *,
    norm: str,
    epsilon: float,
    accumulate: bool = False,
) -> None:
    """dx = rstd * (dy * gamma - a - v * b); dgamma, dbeta = sums of dy * w and dy over rows."""
    columns = x.shape[1]
    weights = ones(columns, x) if gamma is None else gamma
    sums = [np.empty_like(total) for total in (dgamma, dbeta) if total is not None]

    def of_block(*sums_and_blocks: Array) -> None:
        *sums_, dx_, dy_, x_, mean_, rstd_ = sums_and_blocks
        centered = np.subtract(x_, mean_[:, None], out=block_scratch(x_.shape, x_.dtype))
        products = block_scratch(x_.shape, x_.dtype, 1)
        np.multiply(dy_, centered if norm == "layer" else x_, out=products)
        if dgamma is not None:
            np.dot(rstd_, products, sums_[0])
        if dbeta is not None:
            add_column_sum(sums_[-1], dy_, accumulate=False)
        b = np.dot(products, weights)
        b *= rstd_
        if norm == "unit":
            b[rstd_ >= 1.0 / epsilon] = 0.0
        else:
            b /= columns
        np.multiply(centered, (b * rstd_ * rstd_)[:, None], out=centered)
        if norm == "layer":
            a = np.dot(dy_, weights)
            np.add(centered, (a * rstd_ / columns)[:, None], out=centered)
        factor = rstd_[:, None]
        if gamma is not None:
            factor = np.dot(factor, gamma[None], products)
        np.multiply(dy_, factor, out=dx_)
        np.subtract(dx_, centered, out=dx_)

    sum_blocks(of_block, sums, dx, dy, x, mean, rstd)
    for total in (dbeta, dgamma):
        if total is None:
            continue
        part = sums.pop()
        if accumulate:
            np.add(total, part, out=total)
        else:
            np.copyto(total, part)


def spectral_scale(
    kernel: Array, vector: Array, direction: Array, reciprocal: Array, *, epsilon: float
) -> None:
    """kernel *= reciprocal and vector = direction; both stay if reciprocal is 1 / epsilon."""
    if (reciprocal < 1.0 / epsilon).all():
        np.multiply(kernel, reciprocal, out=kernel)
        np.copyto(vector, direction)
