"""The backend on a CUDA device: every op of the contract as a launch of a kernel in kernels/.

`CudaBackend` is handed the module it works with, CuPy or the emulator's look-alike, and does not
know which of the two it got.
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence, Set
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.base import Backend, functions_of
from gpunet.backend.cuda import (
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
from gpunet.backend.cuda.capture import capture
from gpunet.backend.cuda.device import Device
from gpunet.backend.cuda.uploads import StreamUploads
from gpunet.backend.spec import Array

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


class CudaBackend(Backend):
    """Arrays and kernels on the current CUDA device and stream.

    Args:
        cp: CuPy, or a module with the same interface.
        name: what the backend is called: "cupy" or "emulator".
        load_cublas: loads the cuBLAS for this device; None to do without.
    """

    def __init__(
        self, cp: Any, name: str, load_cublas: Callable[[], ctypes.CDLL] | None = None
    ) -> None:
        self.name = name
        self.cp = cp
        self.device = Device(cp, load_cublas)
        self.description = self.device.description
        self.ops = {
            name: functools.partial(function, self.device) for name, function in FUNCTIONS.items()
        }

    def capture(self, calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
        """One launch of a CUDA graph that does all of these calls again."""
        return capture(self.cp, calls)

    def run_all(self, calls: Sequence[Callable[[], object]], ops: Set[str]) -> None:
        """Make these calls, among which may be captured graphs."""
        self.device.check_current()
        super().run_all(calls, ops)

    def room(self) -> int:
        """Four fifths of the free memory: activations and the optimizer need some, too."""
        free = self.cp.cuda.runtime.memGetInfo()[0]
        free += self.cp.get_default_memory_pool().free_bytes()
        return int(free * 0.8)

    def staging(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
        """A new array in pinned host memory, from which copies need no help of the host."""
        count = math.prod(shape)
        memory = self.cp.cuda.alloc_pinned_memory(max(count * np.dtype(dtype).itemsize, 1))
        return np.frombuffer(memory, dtype, count).reshape(shape)

    def uploads(self) -> StreamUploads:
        """Copies on a stream of their own."""
        return StreamUploads(self)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """A new array whose contents are undefined."""
        return self.cp.empty(shape, dtype)

    def from_numpy(self, values: np.ndarray[Any, Any]) -> Array:
        """A C-contiguous array on this device with these values."""
        array = self.cp.empty(values.shape, values.dtype)
        self.write(array, values)
        return array

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        """A copy on the host; waits for the device."""
        host: np.ndarray[Any, Any] = array.get()
        return host

    def write(self, array: Array, values: np.ndarray[Any, Any]) -> None:
        """Copy host values into an existing array, converting to its dtype."""
        host = values
        if host.dtype != array.dtype or host.shape != array.shape or not host.flags.c_contiguous:
            host = np.empty(array.shape, array.dtype)
            np.copyto(host, values, casting="unsafe")
        array.set(host)

    def owns(self, array: object) -> bool:
        """Whether this is an array of this backend's type."""
        return isinstance(array, self.cp.ndarray)

    def synchronize(self) -> None:
        """Wait until everything launched so far has finished."""
        self.cp.cuda.get_current_stream().synchronize()
