"""What follows a convolution while its result is still in the cache: bias and activation."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np

from gpunet.backend.cpu.activations import bias_act
from gpunet.backend.cpu.blocks import BLOCK, row_blocks
from gpunet.backend.cpu.prepared import Call, bind
from gpunet.backend.cpu.windows import split
from gpunet.backend.spec import Array

WIDE = 8 * 1024
"""Elements: a ufunc whose inner loop is so long takes half the time of one whose inner loop is the
512 of a row of 16 positions of 32 channels."""


class Epilogue(NamedTuple):
    """Bias, maybe several times over, activation and its parameters, as in `bias_act`."""

    bias: Array | None
    activation: str
    parameters: tuple[float, ...]


def repeated(epilogue: Epilogue, scratch: Array) -> tuple[Epilogue, Array, Call]:
    """The same with the bias of many positions, the rest of the scratch memory, and the call that
    copies the bias there."""  # noqa: D205, D209
    bias = epilogue.bias
    if bias is None:
        return epilogue, scratch, lambda: None
    times = max(1, min(WIDE, scratch.size // 16) // len(bias))
    copies, rest = split(scratch, times, len(bias))
    return epilogue._replace(bias=copies.reshape(-1)), rest, lambda: np.copyto(copies, bias)


def bind_finish(z: Array, epilogue: Epilogue) -> Call:
    """The call that replaces z by activation(z + bias), a block of the cache's size at a time."""
    bias, activation, parameters = epilogue
    if bias is None and activation == "linear":
        return lambda: None
    act = partial(bind, bias_act, activation=activation, parameters=parameters)
    flat, size = z.reshape(-1), BLOCK if bias is None else len(bias)
    whole = flat.size // size * size
    rows, rest = flat[:whole].reshape(-1, size), flat[whole:].reshape(1, -1)
    calls = [act(rows_, rows_, bias) for (rows_,) in row_blocks(rows)] if whole else []
    if rest.size:
        calls.append(act(rest, rest, None if bias is None else bias[: rest.size]))

    def run() -> None:
        for call in calls:
            call()

    return run


def bind_result(y: Array, scratch: Array) -> tuple[Array, Array, Call]:
    """Where a part of y is computed, (positions, channels): y itself or, where that is not in one
    piece, scratch memory; the rest of that; and the call that copies the result to y."""  # noqa: D205, D209
    if y.flags.c_contiguous:
        return y.reshape(-1, y.shape[4]), scratch, lambda: None
    result, rest = split(scratch, y.size // max(y.shape[4], 1), y.shape[4])
    by_position = result.reshape(y.shape)
    return result, rest, lambda: np.copyto(y, by_position)
