"""Ops on arrays of 16-bit floating-point numbers, which NumPy computes in float32.

What an op reads is converted, and what it writes is rounded once: NumPy's own halves would be
rounded after each step of a formula. The float32 copies are as large as the arrays, hence this is
for holding a GPU's results against, and for small data, rather than for speed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpunet.backend.spec import HALF, Array, Op, Parameter


def computes_in_halves(op: Op, arrays: Sequence[Any]) -> bool:
    """Whether the arrays that the contract calls real are of 16 bits."""
    return any(
        _is_half(array) and any(kind == "real" for kind, _ in parameter.forms)
        for parameter, array in zip(op.parameters, arrays, strict=True)
    )


def bind_through_float32(
    op: Op, function: Callable[..., None], arrays: Sequence[Any], options: dict[str, Any]
) -> Callable[[], None]:
    """The call of an op's function on float32 copies of its 16-bit arrays."""

    def run() -> None:
        with np.errstate(invalid="ignore"):  # what an output held may be any NaN
            wide = [_widened(p, array) for p, array in zip(op.parameters, arrays, strict=True)]
        function(*wide, **options)
        with np.errstate(over="ignore"):  # what is too large for a half is infinite
            for parameter, array, computed in zip(op.parameters, arrays, wide, strict=True):
                if parameter.written and computed is not array:
                    np.copyto(array, computed, casting="unsafe")

    return run


def _widened(parameter: Parameter, array: Array | None) -> Any:
    if array is None or not _is_half(array):
        return array
    if parameter.role == "out":
        return np.empty(array.shape, np.float32)
    return array.astype(np.float32)


def _is_half(array: Array | None) -> bool:
    return array is not None and array.dtype.name in HALF
