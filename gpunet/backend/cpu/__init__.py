"""The backend on the CPU: every op of the contract as a few NumPy calls."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.base import Backend, functions_of
from gpunet.backend.cpu import (
    activations,
    attention,
    caching,
    channel_norms,
    constraints,
    convolution,
    embedding,
    focal_losses,
    fused_attention,
    gemm,
    images,
    losses,
    masks,
    memory,
    merging,
    metrics,
    optimizers,
    overlap_losses,
    pooling,
    positions,
    random,
    recurrent,
    regularizers,
    row_losses,
    row_norms,
    sequence_losses,
    shapes,
)
from gpunet.backend.cpu.halves import bind_through_float32, computes_in_halves
from gpunet.backend.cpu.prepared import bind
from gpunet.backend.cpu.threads import blas
from gpunet.backend.spec import OPS, Array

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

FUNCTIONS = functions_of(
    activations,
    attention,
    caching,
    channel_norms,
    constraints,
    convolution,
    embedding,
    focal_losses,
    fused_attention,
    gemm,
    images,
    losses,
    masks,
    memory,
    merging,
    metrics,
    optimizers,
    overlap_losses,
    pooling,
    positions,
    random,
    recurrent,
    regularizers,
    row_losses,
    row_norms,
    sequence_losses,
    shapes,
)

CONVOLUTIONS = frozenset(name for name, op in OPS.items() if op.family == "convolution")

ALIGNMENT = 64  # bytes: a cache line, and the widest vector register


class CpuBackend(Backend):
    """NumPy arrays in main memory; `empty` aligns them to cache lines."""

    name = "numpy"
    description = f"NumPy {'.'.join(np.__version__.split('.')[:2])} on the CPU"

    def __init__(self) -> None:
        self.ops = dict(FUNCTIONS)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array whose contents are undefined, aligned to `ALIGNMENT` bytes."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        raw = np.empty(size + ALIGNMENT, np.uint8)
        offset = -raw.ctypes.data % ALIGNMENT
        return raw[offset : offset + size].view(dtype).reshape(shape)

    def from_numpy(self, values: np.ndarray[Any, Any]) -> Array:
        """The same array if it is C-contiguous, else a copy that is."""
        return values if values.flags.c_contiguous else values.copy(order="C")

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy."""
        copied: np.ndarray[Any, Any] = array.copy()
        return copied

    def write(self, array: Array, values: np.ndarray[Any, Any]) -> None:
        """Copy values into an existing array, converting to its dtype."""
        np.copyto(array, values, casting="unsafe")

    def owns(self, array: object) -> bool:
        """Whether this is a NumPy array."""
        return isinstance(array, np.ndarray)

    def run(self, op: str, *arrays: Array | None, **options: Any) -> None:
        """Run an op of this name on these arrays once."""
        self.bind(op, *arrays, **options)()

    def bind(self, op: str, *arrays: Array | None, **options: Any) -> Callable[[], object]:
        """The call of an op on these arrays, with its views and small scratch arrays made."""
        if computes_in_halves(OPS[op], arrays):
            return bind_through_float32(OPS[op], self.ops[op], arrays, options)
        return bind(self.ops[op], *arrays, **options)

    def run_all(self, calls: Sequence[Callable[[], object]], ops: Set[str]) -> None:
        """Make these calls, which are of these ops, in order.

        Beside convolutions BLAS starts no threads, which would take a core from theirs.
        """
        with contextlib.nullcontext() if ops.isdisjoint(CONVOLUTIONS) else blas().held():
            super().run_all(calls, ops)

    def synchronize(self) -> None:
        """NumPy has always finished when it returns."""
