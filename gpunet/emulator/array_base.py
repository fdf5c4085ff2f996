"""What device arrays are and add up to, apart from their transfers and operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator.memory import Memory
from gpunet.emulator.pointers import MemoryPointer


class ArrayBase:
    """The attributes of an array, and the methods that make few numbers of many."""

    _host: npt.NDArray[Any]
    _memory: Memory

    @property
    def data(self) -> MemoryPointer:
        """Where the first element lies: ``.ptr`` and ``.mem``."""
        return MemoryPointer(self._memory, self._host.ctypes.data - self._memory.ptr)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return self._host.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The element type."""
        return self._host.dtype

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._host.size

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._host.ndim

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._host.nbytes

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._host.itemsize

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one element to the next along each axis."""
        return self._host.strides

    @property
    def flags(self) -> Any:
        """Memory layout, for instance ``.c_contiguous``."""
        return self._host.flags

    @property
    def device(self) -> Any:
        """The device that holds the array."""
        from gpunet.emulator.cuda import Device

        return Device(0)

    # ---- reductions (the results stay on the device, as 0-dimensional arrays)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the sum along ``axis``."""
        return self._reduce(np.sum, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = None
    ) -> Any:
        """Return the product along ``axis``."""
        return self._reduce(np.prod, out, axis=axis, dtype=dtype, keepdims=bool(keepdims))

    def mean(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the mean along ``axis``."""
        return self._reduce(np.mean, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def max(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the maximum along ``axis``."""
        return self._reduce(np.max, out, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the minimum along ``axis``."""
        return self._reduce(np.min, out, axis=axis, keepdims=keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return whether any element along ``axis`` is true."""
        return self._reduce(np.any, out, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return whether all elements along ``axis`` are true."""
        return self._reduce(np.all, out, axis=axis, keepdims=keepdims)

    def argmax(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the maximum along ``axis``."""
        result = self._reduce(np.argmax, out, axis=axis, keepdims=keepdims)
        return result if dtype is None else result.astype(dtype)

    def argmin(
        self, axis: Any = None, out: Any = None, dtype: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the index of the minimum along ``axis``."""
        result = self._reduce(np.argmin, out, axis=axis, keepdims=keepdims)
        return result if dtype is None else result.astype(dtype)

    def _reduce(self, function: Callable[..., Any], out: Any, **keywords: Any) -> Any:
        raise NotImplementedError
