"""Normalization of rows: each row is read from main memory once, and from the cache after that."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu.compiled.kernel import (
    add_parts,
    bind_shares,
    inlined,
    kernel,
    ones_or,
    parts_of,
    same_memory,
    zeros_or,
)
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import ROW_NORMS, Array

LAYER, VARIANCE, RMS, UNIT = range(len(ROW_NORMS))


@prepared
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
) -> Call:
    """y = (x - m) * rstd * gamma + beta along each row."""
    rows, columns = x.shape
    vectors = ones_or(gamma, columns, x), zeros_or(beta, columns, x)
    norm_rows = _norm_in_place if same_memory(y, x) else _norm
    work = partial(norm_rows, y, mean, rstd, x, *vectors, ROW_NORMS.index(norm), epsilon)
    return bind_shares(work, rows, x.size)


def _norm_rows(
    y: Array,
    mean: Array,
    rstd: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    norm: int,
    epsilon: float,
    start: int,
    stop: int,
) -> None:
    number = x.dtype.type
    columns, count = x.shape[1], number(x.shape[1])
    for i in range(start, stop):
        m = number(0)
        if norm in (LAYER, VARIANCE):
            for j in range(columns):
                m += x[i, j]
            m /= count
        squares, rest = number(0), number(0)
        for j in range(columns):
            squares += (x[i, j] - m) * (x[i, j] - m)
            rest += x[i, j] - m
        if norm in (LAYER, VARIANCE):  # what rounding left of the mean of a long row
            rest /= count
            m += rest
            squares -= rest * rest * count
            if squares < number(0):  # max would lose a NaN
                squares = number(0)
        if norm == UNIT:
            r = number(1) / np.sqrt(squares)
            if r > number(1 / epsilon):
                r = number(1 / epsilon)
        else:
            r = number(1) / np.sqrt(squares / count + number(epsilon))
        mean[i] = m
        rstd[i] = r
        if norm != LAYER:
            m = number(0)
        for j in range(columns):
            y[i, j] = (x[i, j] - m) * r * gamma[j] + beta[j]


_norm, _norm_one = kernel(_norm_rows), inlined(_norm_rows)


@kernel
def _norm_in_place(
    y: Array,
    mean: Array,
    rstd: Array,
    x: Array,
    gamma: Array,
    beta: Array,
    norm: int,
    epsilon: float,
    start: int,
    stop: int,
) -> None:
    row = np.empty((1, x.shape[1]), x.dtype)
    for i in range(start, stop):
        row[0] = x[i]
        at = slice(i, i + 1)
        _norm_one(y[at], mean[at], rstd[at], row, gamma, beta, norm, epsilon, 0, 1)


@prepared
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
) -> Call:
    """dx = rstd * (dy * gamma - a - v * b); dgamma, dbeta = sums of dy * w and dy over rows."""
    rows, columns = x.shape
    parts = parts_of(rows, x.size)
    sums = np.empty((parts, 2, columns), x.dtype)
    in_place = same_memory(dx, dy) or same_memory(dx, x)
    backward = _norm_backward_in_place if in_place else _norm_backward
    arrays = (dx, sums, dy, x, mean, rstd, ones_or(gamma, columns, x))
    work = partial(backward, *arrays, ROW_NORMS.index(norm), epsilon)

    compute = bind_shares(work, parts, 2 * x.size)

    def run() -> None:
        compute()
        add_parts(dgamma, sums[:, 0], accumulate)
        add_parts(dbeta, sums[:, 1], accumulate)

    return run


@inlined
def _norm_backward_rows(
    dx: Array,
    dgamma: Array,
    dbeta: Array,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array,
    norm: int,
    epsilon: float,
    start: int,
    stop: int,
) -> None:
    number = x.dtype.type
    columns, count = x.shape[1], number(x.shape[1])
    for i in range(start, stop):
        m, r = mean[i], rstd[i]
        shift = m if norm == LAYER else number(0)
        a, b = number(0), number(0)
        for j in range(columns):
            w = (x[i, j] - shift) * r
            dgamma[j] += dy[i, j] * w
            dbeta[j] += dy[i, j]
            g = dy[i, j] * gamma[j]
            a += g
            b += g * w
        if norm == UNIT:
            b = b if r < number(1 / epsilon) else number(0)
        else:
            b /= count
        a = a / count if norm == LAYER else number(0)
        for j in range(columns):
            dx[i, j] = r * (dy[i, j] * gamma[j] - a - (x[i, j] - m) * r * b)


@kernel
def _norm_backward(
    dx: Array,
    sums: Array,  # (parts, 2, columns)
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array,
    norm: int,
    epsilon: float,
    start: int,
    stop: int,
) -> None:
    rows, parts = len(x), len(sums)
    for part in range(start, stop):
        sums[part] = 0.0
        first, end = rows * part // parts, rows * (part + 1) // parts
        dgamma, dbeta = sums[part, 0], sums[part, 1]
        _norm_backward_rows(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, norm, epsilon, first, end)


@kernel
def _norm_backward_in_place(
    dx: Array,
    sums: Array,  # (parts, 2, columns)
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array,
    norm: int,
    epsilon: float,
    start: int,
    stop: int,
) -> None:
    rows, parts = len(x), len(sums)
    dy_, x_ = np.empty((1, x.shape[1]), x.dtype), np.empty((1, x.shape[1]), x.dtype)
    for part in range(start, stop):
        sums[part] = 0.0
        dgamma, dbeta = sums[part, 0], sums[part, 1]
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            dy_[0], x_[0] = dy[i], x[i]
            at = slice(i, i + 1)
            row = dx[at], dgamma, dbeta, dy_, x_, mean[at], rstd[at], gamma
            _norm_backward_rows(*row, norm, epsilon, 0, 1)
