"""Matrix products: NumPy's BLAS, and what is done to the result while it is in the cache.

``np.dot(a.T, b, out)`` hands transposed views to BLAS as they are, without a copy, and costs 0.3 us
less than ``np.matmul``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from gpunet.backend.cpu.activations import add_column_sum, bias_act
from gpunet.backend.cpu.blocks import row_blocks
from gpunet.backend.cpu.formulas import BACKWARD, formula
from gpunet.backend.cpu.prepared import Call, bind, prepared
from gpunet.backend.cpu.slabs import cuts
from gpunet.backend.cpu.threads import blas, in_threads
from gpunet.backend.spec import Array

PIECES = 8
"""A product is cut into so many pieces at most, where it is dealt to threads."""
PIECE = 16_000_000
"""Multiplications of a piece at least, 150 us: BLAS copies one factor anew for each piece. On two
threads 64 x 9216 times 9216 x 128 take 0.62 ms in 8 pieces and 0.52 ms in 4."""
ALIGNMENT = 16  # a piece has a multiple of so many rows or columns, which suits BLAS


@prepared
def gemm(
    c: Array, a: Array, b: Array, *, ta: bool = False, tb: bool = False, accumulate: bool = False
) -> Call:
    """c = op(a) op(b), where op transposes if ta or tb: then a is (k, m) or b is (n, k)."""
    a = a.T if ta else a
    b = b.T if tb else b

    def add_product() -> None:
        for c_, a_ in row_blocks(c, a):  # NumPy's BLAS functions have no beta
            np.add(c_, np.dot(a_, b), out=c_)

    return add_product if accumulate else _bind_dot(c, a, b)


def _bind_dot(c: Array, a: Array, b: Array) -> Call:
    """The call that makes c = a b: BLAS has threads of its own, unless they are held back."""
    (rows, inner), columns = a.shape, b.shape[1]
    dot = partial(np.dot, a, b, c)
    pieces = min(PIECES, rows * inner * columns // PIECE)
    if pieces < 2:
        return dot
    length = -(-max(rows, columns) // pieces // ALIGNMENT) * ALIGNMENT
    if rows >= columns:
        parts = [(a[cut], b, c[cut]) for cut in cuts(rows, length)]
    else:
        parts = [(a, b[:, cut], c[:, cut]) for cut in cuts(columns, length)]

    def of_thread(thread: int, numbers: Iterator[int]) -> None:
        for number in numbers:
            a_, b_, c_ = parts[number]
            np.matmul(a_, b_, out=c_)

    def run() -> None:
        if not blas().is_held:
            dot()
            return
        with blas() as threads:
            in_threads(of_thread, len(parts), threads)

    return run


@prepared
def batched_gemm(
    c: Array, a: Array, b: Array, *, ta: bool = False, tb: bool = False, accumulate: bool = False
) -> Call:
    """`gemm` of each pair of matrices: c[i] = op(a[i]) op(b[i])."""
    a = a.swapaxes(1, 2) if ta else a
    b = b.swapaxes(1, 2) if tb else b

    def add_products() -> None:
        for c_i, a_i, b_i in zip(c, a, b, strict=True):
            for c_, a_ in row_blocks(c_i, a_i):
                np.add(c_, np.dot(a_, b_i), out=c_)

    return add_products if accumulate else partial(np.matmul, a, b, out=c)


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
    product = bind(gemm, c, a, b, ta=ta, tb=tb)
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
    product = bind(gemm, c, a, b, ta=ta, tb=tb)
    act_backward = BACKWARD[activation]
    if parameters:
        act_backward = formula(activation, "_backward", parameters)

    def run() -> None:
        product()
        for c_, saved_ in row_blocks(c, saved):
            act_backward(c_, c_, saved_)

    return run


@prepared
def gemm_column_sum(
    c: Array, column_sum: Array, a: Array, b: Array, *, ta: bool = False, accumulate: bool = False
) -> Call:
    """c = op(a) b and column_sum = sum of b over its rows: a dense layer's dkernel and dbias."""
    product = bind(gemm, c, a, b, ta=ta, accumulate=accumulate)

    def run() -> None:
        product()
        adds = accumulate
        for (b_,) in row_blocks(b):
            add_column_sum(column_sum, b_, adds)
            adds = True

    return run
