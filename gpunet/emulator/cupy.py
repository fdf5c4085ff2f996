"""A look-alike of the ``cupy`` module whose device is the CPU.

Example:
    >>> from gpunet.emulator import cupy as cp
    >>> x = cp.arange(4, dtype=cp.float32)
    >>> (x + 1).get()
    array([1., 2., 3., 4.], dtype=float32)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import (
    bool_,
    dtype,
    e,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    intp,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from gpunet.emulator import cuda, random, testing
from gpunet.emulator.array import (
    apply,
    assign,
    borrow,
    compute,
    empty,
    ndarray,
    unwrap,
    wrap,
    zeros,
)
from gpunet.emulator.functions import AS_NUMPY, on_device
from gpunet.emulator.launch import RawKernel, RawModule
from gpunet.emulator.memory import get_default_memory_pool

__version__ = "14.2.0+emulator"

__all__ = [
    "RawKernel",
    "RawModule",
    "arange",
    "array",
    "array_equal",
    "asarray",
    "ascontiguousarray",
    "asfortranarray",
    "asnumpy",
    "bool_",
    "copyto",
    "cuda",
    "dtype",
    "e",
    "empty",
    "empty_like",
    "float16",
    "float32",
    "float64",
    "from_dlpack",
    "full",
    "full_like",
    "get_array_module",
    "get_default_memory_pool",
    "inf",
    "int8",
    "int16",
    "int32",
    "int64",
    "intp",
    "is_available",
    "matmul",
    "may_share_memory",
    "nan",
    "ndarray",
    "newaxis",
    "ones",
    "ones_like",
    "pi",
    "random",
    "shares_memory",
    "testing",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "zeros",
    "zeros_like",
]


def __getattr__(name: str) -> Any:
    if name in AS_NUMPY:
        return on_device(name)
    raise AttributeError(f"the emulator's cupy has no {name!r}")


def is_available() -> bool:
    """Return True: there is always a CPU."""
    return True


def full(
    shape: Any, fill_value: Any, dtype: npt.DTypeLike | None = None, order: str = "C"
) -> ndarray:
    """Return an array with every element set to ``fill_value``."""
    value = unwrap(fill_value)
    result = empty(shape, np.asarray(value).dtype if dtype is None else dtype, order)
    assign("full", result, value, fill_value)
    return result


def ones(shape: Any, dtype: npt.DTypeLike = float, order: str = "C") -> ndarray:
    """Return an array of ones."""
    return full(shape, 1, dtype, order)


def empty_like(prototype: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return an array of poison with the prototype's shape and dtype."""
    return empty(prototype.shape, prototype.dtype if dtype is None else dtype)


def zeros_like(a: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return an array of zeros with the shape and dtype of ``a``."""
    return zeros(a.shape, a.dtype if dtype is None else dtype)


def ones_like(a: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return an array of ones with the shape and dtype of ``a``."""
    return full(a.shape, 1, a.dtype if dtype is None else dtype)


def full_like(a: Any, fill_value: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return an array of ``fill_value`` with the shape and dtype of ``a``."""
    return full(a.shape, fill_value, a.dtype if dtype is None else dtype)


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: npt.DTypeLike | None = None
) -> ndarray:
    """Return evenly spaced values."""
    bounds = (0, start) if stop is None else (start, stop)
    make: Any = np.arange
    return compute("arange", lambda: make(*bounds, step, dtype=dtype))


def array(
    obj: Any, dtype: npt.DTypeLike | None = None, copy: bool = True, order: Any = "K"
) -> ndarray:
    """Return a device array of anything that NumPy makes an array of."""
    if isinstance(obj, ndarray):
        same = dtype is None or obj.dtype == np.dtype(dtype)
        laid_out = {"C": obj.flags.c_contiguous, "F": obj.flags.f_contiguous}.get(order, True)
        return obj.astype(dtype or obj.dtype, order, copy=copy or not (same and laid_out))
    if isinstance(obj, list | tuple) and any(isinstance(part, ndarray) for part in obj):
        obj = [part.get() if isinstance(part, ndarray) else part for part in obj]
    return wrap(np.asarray(obj, dtype, order=order))


def asarray(a: Any, dtype: npt.DTypeLike | None = None, order: Any = None) -> ndarray:
    """Return ``a`` itself if it is a device array of this dtype, otherwise a copy on the device."""
    return array(a, dtype, copy=False, order=order or "K")


def asfortranarray(a: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return ``a`` itself if it is Fortran-contiguous, otherwise a copy that is."""
    return array(a, dtype, copy=False, order="F")


def ascontiguousarray(a: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Return ``a`` itself if it is C-contiguous, otherwise a copy that is."""
    result = asarray(a, dtype)
    return result if result.flags.c_contiguous else result.copy()


def asnumpy(a: Any) -> npt.NDArray[Any]:
    """Return a copy in host memory."""
    return a.get() if isinstance(a, ndarray) else np.asarray(a)


def from_dlpack(array: Any) -> ndarray:
    """Take over the memory of another library's array without copying."""
    if isinstance(array, ndarray):
        return array.view()
    return borrow(np.from_dlpack(array))


def copyto(dst: ndarray, src: Any, casting: Any = "same_kind", where: Any = None) -> None:
    """Copy the values of ``src``, a device array or a scalar, into ``dst``."""
    if not isinstance(dst, ndarray):
        raise TypeError(f"Unsupported type {type(dst)}")
    if isinstance(src, np.ndarray) and src.size != 1:
        raise ValueError("non-scalar numpy.ndarray cannot be used for copyto")
    target, source = unwrap(dst), src if isinstance(src, np.ndarray) else unwrap(src)
    mask = True if where is None else unwrap(where)
    copy = lambda: np.copyto(target, source, casting=casting, where=mask)  # noqa: E731
    apply("copyto", copy, dst, src, where)


def matmul(x1: ndarray, x2: ndarray, out: ndarray | None = None) -> ndarray:
    """Return the matrix product; refused while capturing, since CuPy calls cuBLAS."""
    multiply: Any = np.matmul
    product: ndarray = multiply(x1, x2) if out is None else multiply(x1, x2, out=out)
    return product


def may_share_memory(a: Any, b: Any) -> bool:
    """Return whether the bounds of two arrays overlap."""
    if not (isinstance(a, ndarray) and isinstance(b, ndarray)):
        return False
    return np.may_share_memory(unwrap(a), unwrap(b))


def shares_memory(a: Any, b: Any) -> bool:
    """Return whether two arrays have memory in common."""
    if not (isinstance(a, ndarray) and isinstance(b, ndarray)):
        return False
    return np.shares_memory(unwrap(a), unwrap(b))


def array_equal(a1: ndarray, a2: ndarray, equal_nan: bool = False) -> ndarray:
    """Return whether shapes and elements are equal, as a 0-dimensional device array."""
    x, y = unwrap(a1), unwrap(a2)
    return compute("array_equal", lambda: np.array_equal(x, y, equal_nan=equal_nan), a1, a2)


def get_array_module(*args: Any) -> Any:
    """Return this module if one of the arguments is a device array, otherwise NumPy."""
    import gpunet.emulator.cupy as this_module

    return this_module if any(isinstance(arg, ndarray) for arg in args) else np
