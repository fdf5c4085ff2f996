"""Bias and ReLU in one pass; in small networks the calls of NumPy take longer than its loops."""

from __future__ import annotations

from functools import partial

import numpy as np

from gpunet.backend.cpu import activations as plain
from gpunet.backend.cpu.blocks import BLOCK
from gpunet.backend.cpu.compiled.kernel import (
    add_parts,
    bind_shares,
    kernel,
    parts_of,
    same_memory,
    zeros_or,
)
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.spec import Array

COMPILED = ("linear", "relu")
"""The activations that are compiled; the other formulas are long enough for NumPy's calls."""


@prepared
def bias_act(
    y: Array,
    x: Array,
    bias: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
) -> Call:
    """y = activation(x + bias); without a bias, y = activation(x)."""
    if activation not in COMPILED or (bias is None and activation == "linear"):
        return bind(plain.bias_act, y, x, bias, activation=activation, parameters=parameters)
    shift = zeros_or(bias, x.shape[1], x)
    if same_memory(y, x):
        work = partial(_bias_act_in_place, x, shift, activation == "relu")
    else:
        work = partial(_bias_act, y, x, shift, activation == "relu")
    return bind_shares(work, len(x), x.size)


@kernel
def _bias_act(y: Array, x: Array, bias: Array, rectify: bool, start: int, stop: int) -> None:
    zero = x.dtype.type(0)
    for i in range(start, stop):
        for j in range(x.shape[1]):
            z = x[i, j] + bias[j]
            y[i, j] = zero if rectify and z < zero else z


# Of one array: a compiler that cannot tell whether two are the same memory takes a slower loop.
@kernel
def _bias_act_in_place(x: Array, bias: Array, rectify: bool, start: int, stop: int) -> None:
    zero = x.dtype.type(0)
    for i in range(start, stop):
        for j in range(x.shape[1]):
            z = x[i, j] + bias[j]
            x[i, j] = zero if rectify and z < zero else z


@prepared
def bias_act_backward(
    dx: Array,
    dbias: Array | None,
    dy: Array,
    saved: Array | None,
    *,
    activation: str,
    parameters: tuple[float, ...] = (),
    accumulate: bool = False,
) -> Call:
    """dx = dy * activation'(saved), dbias = sum of dx over rows."""
    if activation != "relu" or saved is None:
        options = {"activation": activation, "parameters": parameters, "accumulate": accumulate}
        return bind(plain.bias_act_backward, dx, dbias, dy, saved, **options)
    if dbias is None:
        return bind_relu_backward(dx, dy, saved)
    parts = parts_of(len(dx), dx.size)
    sums = np.empty((parts, dx.shape[1]), dx.dtype)
    back = bind_shares(partial(_relu_backward_with_sums, dx, sums, dy, saved), parts, dx.size)

    def run() -> None:
        back()
        add_parts(dbias, sums, accumulate)

    return run


def bind_column_sum(total: Array, x: Array, accumulate: bool) -> Call:
    """The call of total = or += the sum of x over its rows."""
    if x.size < BLOCK:  # NumPy's product with ones is as fast on all but small matrices
        return partial(_column_sum, total, x, accumulate)
    return partial(plain.add_column_sum, total, x, accumulate)


@kernel
def _column_sum(total: Array, x: Array, accumulate: bool) -> None:
    if not accumulate:
        total[:] = x.dtype.type(0)
    for i in range(len(x)):
        for j in range(x.shape[1]):
            total[j] += x[i, j]


def bind_relu_backward(dx: Array, dy: Array, y: Array) -> Call:
    """The call of dx = dy where y > 0, else 0."""
    if same_memory(dx, dy):
        work = partial(_relu_backward_in_place, dx, y)
    else:
        work = partial(_relu_backward, dx, dy, y)
    return bind_shares(work, len(dx), dx.size)


@kernel
def _relu_backward(dx: Array, dy: Array, y: Array, start: int, stop: int) -> None:
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    for i in range(start, stop):
        for j in range(dx.shape[1]):
            dx[i, j] = dy[i, j] * (one if y[i, j] > zero else zero)


@kernel
def _relu_backward_in_place(dx: Array, y: Array, start: int, stop: int) -> None:
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    for i in range(start, stop):
        for j in range(dx.shape[1]):
            dx[i, j] *= one if y[i, j] > zero else zero


@kernel
def _relu_backward_with_sums(
    dx: Array, sums: Array, dy: Array, y: Array, start: int, stop: int
) -> None:
    zero, one = dx.dtype.type(0), dx.dtype.type(1)
    rows, parts = len(dx), len(sums)
    row = np.empty(dx.shape[1], dx.dtype)  # dx may be dy or y
    for part in range(start, stop):
        sums[part] = zero
        for i in range(rows * part // parts, rows * (part + 1) // parts):
            for j in range(dx.shape[1]):
                row[j] = dy[i, j] * (one if y[i, j] > zero else zero)
                sums[part, j] += row[j]
            for j in range(dx.shape[1]):
                dx[i, j] = row[j]
