"""What follows a convolution while its result is still in the cache: bias and activation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from gpunet.backend.cpu.activations import bias_act
from gpunet.backend.cpu.prepared import Call, bind
from gpunet.backend.cpu.windows import split
from gpunet.backend.spec import Array


class Epilogue(NamedTuple):
    """Bias, activation and its parameters, as in `bias_act`."""

    bias: Array | None
    activation: str
    parameters: tuple[float, ...]


def repeated(epilogue: Epilogue, width: int, scratch: Array) -> tuple[Epilogue, Array, Call]:
    """The same with the bias of a row of so many positions, the rest of the scratch memory, and the
    call that copies the bias there.

    A ufunc whose inner loop is a whole row of an image takes half the time of one whose inner loop
    is one position of 32 channels.
    """  # noqa: D205
    bias = epilogue.bias
    if bias is None:
        return epilogue, scratch, lambda: None
    row, rest = split(scratch, width, len(bias))
    return epilogue._replace(bias=row.reshape(-1)), rest, lambda: np.copyto(row, bias)


def bind_finish(z: Array, epilogue: Epilogue) -> Call:
    """The call that replaces z by activation(z + bias)."""
    bias, activation, parameters = epilogue
    if bias is None and activation == "linear":
        return lambda: None
    rows = z if bias is None else z.reshape(-1, len(bias))
    return bind(bias_act, rows, rows, bias, activation=activation, parameters=parameters)


def bind_result(y: Array, scratch: Array) -> tuple[Array, Array, Call]:
    """Where a part of y is computed, (positions, channels): y itself or, where that is not in one
    piece, scratch memory; the rest of that; and the call that copies the result to y."""  # noqa: D205, D209
    if y.flags.c_contiguous:
        return y.reshape(-1, y.shape[4]), scratch, lambda: None
    result, rest = split(scratch, y.size // max(y.shape[4], 1), y.shape[4])
    by_position = result.reshape(y.shape)
    return result, rest, lambda: np.copyto(y, by_position)
