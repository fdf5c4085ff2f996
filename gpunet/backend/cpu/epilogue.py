"""What follows a convolution while its result is still in the cache: bias and activation."""

from __future__ import annotations

from gpunet.backend.cpu.activations import bias_act
from gpunet.backend.cpu.windows import split
from gpunet.backend.spec import Array

Epilogue = tuple[Array | None, str, tuple[float, ...]]
"""Bias, activation and its parameters, as in `bias_act`."""


def repeated(epilogue: Epilogue, width: int, scratch: Array) -> tuple[Epilogue, Array]:
    """The same with the bias of a row of so many positions, and the rest of the scratch memory.

    A ufunc whose inner loop is a whole row of an image takes half the time of one whose inner loop
    is one position of 32 channels.
    """
    bias, activation, parameters = epilogue
    if bias is None:
        return epilogue, scratch
    row, scratch = split(scratch, width, len(bias))
    row[:] = bias
    return (row.reshape(-1), activation, parameters), scratch


def finish(z: Array, epilogue: Epilogue) -> None:
    """Replace z by activation(z + bias)."""
    bias, activation, parameters = epilogue
    if bias is None and activation == "linear":
        return
    rows = z if bias is None else z.reshape(-1, len(bias))
    bias_act(rows, rows, bias, activation=activation, parameters=parameters)


def matrix_of(y: Array, scratch: Array) -> tuple[Array, Array]:
    """Where a part of y is computed, (positions, channels): y itself or, where that is not in one
    piece, scratch memory; and the rest of that."""  # noqa: D205, D209
    if y.flags.c_contiguous:
        return y.reshape(-1, y.shape[4]), scratch
    return split(scratch, y.size // y.shape[4], y.shape[4])
