"""The device array: NumPy inside, CuPy's manners outside."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator.memory import Memory, MemoryPointer

_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. "
    "Please use `.get()` to construct a NumPy array explicitly."
)


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801 - CuPy's name
    """An array in device memory; a look-alike of ``cupy.ndarray``.

    Like CuPy's it is no ``np.ndarray``, does not turn into one by itself, and refuses to meet
    one in an expression. Views share memory as NumPy's do.

    Args:
        shape: The shape.
        dtype: The element type.
    """

    _host: npt.NDArray[Any]
    _memory: Memory

    def __init__(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike = float) -> None:
        self._assign(shape, dtype, zeroed=False)

    def _assign(self, shape: int | tuple[int, ...], dtype: npt.DTypeLike, *, zeroed: bool) -> None:
        dtype = np.dtype(dtype)
        shape = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        self._memory = Memory(size, zeroed=zeroed)
        self._host = self._memory.bytes.view(dtype).reshape(shape)

    # ---- what the array is

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

    # ---- host and device

    def get(self, stream: Any = None, order: str = "C", out: Any = None) -> npt.NDArray[Any]:
        """Return a copy in host memory (in ``out``, if given)."""
        if out is None:
            return np.array(self._host, order=order, copy=True)  # type: ignore[call-overload,no-any-return]
        out[...] = self._host
        return out  # type: ignore[no-any-return]

    def set(self, arr: npt.NDArray[Any], stream: Any = None) -> None:
        """Copy a host array of the same shape and dtype into this one."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        self._host[...] = arr

    def item(self) -> Any:
        """Return the only element as a Python number."""
        return self._host.item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self._host.tolist()

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(_IMPLICIT)

    def __dlpack__(self, **keywords: Any) -> Any:
        keywords.pop("stream", None)  # everything is finished when the call returns
        return self._host.__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._host.__dlpack_device__()

    # ---- other views and copies

    @property
    def T(self) -> ndarray:  # noqa: N802 - NumPy's name
        """The view with its axes reversed."""
        return self.transpose()

    def transpose(self, *axes: Any) -> ndarray:
        """Return a view with permuted axes."""
        return self._view(self._host.transpose(*axes))

    def reshape(self, *shape: Any, order: Any = "C") -> ndarray:
        """Return the elements in another shape; a view where possible."""
        return self._view(self._host.reshape(*shape, order=order))

    def ravel(self, order: Any = "C") -> ndarray:
        """Return the elements along one axis; a view where possible."""
        return self._view(self._host.ravel(order))

    def flatten(self, order: Any = "C") -> ndarray:
        """Return a copy of the elements along one axis."""
        return wrap(self._host.flatten(order))

    def squeeze(self, axis: Any = None) -> ndarray:
        """Return a view without axes of length 1."""
        return self._view(self._host.squeeze(axis))

    def view(self, dtype: npt.DTypeLike | None = None) -> ndarray:
        """Return the same memory as elements of another type."""
        return self._view(self._host.view() if dtype is None else self._host.view(dtype))

    def astype(self, dtype: npt.DTypeLike, order: Any = "K", copy: bool = True) -> ndarray:
        """Return the elements converted; the array itself if nothing changes and not ``copy``."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return wrap(self._host.astype(dtype, order=order))

    def copy(self, order: Any = "C") -> ndarray:
        """Return a copy in memory of its own."""
        return wrap(self._host.copy(order=order))

    def fill(self, value: Any) -> None:
        """Set every element."""
        self._host.fill(unwrap(value))

    # ---- reductions (the results stay on the device, as 0-dimensional arrays)

    def sum(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the sum along ``axis``."""
        return self._reduce(np.sum, out, axis=axis, dtype=dtype, keepdims=keepdims)

    def prod(
        self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False
    ) -> Any:
        """Return the product along ``axis``."""
        return self._reduce(np.prod, out, axis=axis, dtype=dtype, keepdims=keepdims)

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

    def argmax(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the index of the maximum along ``axis``."""
        return self._reduce(np.argmax, out, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Return the index of the minimum along ``axis``."""
        return self._reduce(np.argmin, out, axis=axis, keepdims=keepdims)

    def _reduce(self, function: Callable[..., Any], out: Any, **keywords: Any) -> Any:
        result = function(self._host, **keywords)
        if out is None:
            return wrap(result)
        out[...] = wrap(result)
        return out

    # ---- Python's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        outputs = keywords.pop("out", ())
        values = [unwrap(value) for value in inputs]
        if outputs:
            keywords["out"] = tuple(None if out is None else unwrap(out) for out in outputs)
        result = getattr(ufunc, method)(*values, **keywords)
        if len(outputs) == 1:
            return outputs[0]
        return tuple(map(wrap, result)) if isinstance(result, tuple) else wrap(result)

    def __getitem__(self, key: Any) -> ndarray:
        parts = _index(key)
        if Ellipsis not in [part for part in parts if not isinstance(part, np.ndarray)]:
            parts = (*parts, Ellipsis)  # so that a single element is a view too, as in CuPy
        return self._view(self._host[parts])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._host[_index(key)] = unwrap(value)

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __matmul__(self, other: Any) -> Any:
        return wrap(self._host @ unwrap(other))

    def __len__(self) -> int:
        return len(self._host)

    def __bool__(self) -> bool:
        return bool(self._host)

    def __int__(self) -> int:
        return int(self._host)

    def __float__(self) -> float:
        return float(self._host)

    def __index__(self) -> int:
        return operator.index(self._host)

    def __repr__(self) -> str:
        return repr(self._host)

    def __str__(self) -> str:
        return str(self._host)

    def __format__(self, specification: str) -> str:
        return format(self._host if self.ndim else self._host[()], specification)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    __hash__ = None  # type: ignore[assignment]

    def _view(self, host: npt.NDArray[Any]) -> ndarray:
        """Wrap an array that lies in this one's memory, or a new one that NumPy made."""
        if not np.may_share_memory(host, self._memory.bytes) and host.size:
            return wrap(host)
        return _over(host, self._memory)


def unwrap(value: Any) -> Any:
    """Return the NumPy array behind a device array, and scalars as they are.

    Raises:
        TypeError: The value is a host array, which CuPy refuses too.
    """
    if isinstance(value, ndarray):
        return value._host
    if isinstance(value, np.ndarray) and value.ndim > 0:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def wrap(value: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Copy a host array, or what NumPy can make one of, into new device memory.

    Fortran order is kept, as in CuPy: a kernel that takes rows for columns must do so here, too.
    """
    host = np.asarray(value, dtype)
    if host.dtype.hasobject:
        raise ValueError(f"Unsupported dtype {host.dtype}")
    if host.flags.f_contiguous and not host.flags.c_contiguous:
        result = empty(host.shape[::-1], host.dtype).T
    else:
        result = empty(host.shape, host.dtype)
    result._host[...] = host
    return result


def borrow(host: npt.NDArray[Any]) -> ndarray:
    """Make a device array of host memory without copying."""
    if not host.flags.c_contiguous:
        raise BufferError("only C-contiguous arrays can be taken over without a copy")
    return _over(host, Memory(host.nbytes, borrowed=host.reshape(-1).view(np.uint8)))


def empty(shape: Any, dtype: npt.DTypeLike = float) -> ndarray:
    """Return an array of poison: NaN, or -1, until it is written."""
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: npt.DTypeLike = float) -> ndarray:
    """Return an array of zeros."""
    result = ndarray.__new__(ndarray)
    result._assign(shape, dtype, zeroed=True)
    return result


def _over(host: npt.NDArray[Any], memory: Memory) -> ndarray:
    result = ndarray.__new__(ndarray)
    result._host, result._memory = host, memory
    return result


def _index(key: Any) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(part._host if isinstance(part, ndarray) else part for part in parts)
