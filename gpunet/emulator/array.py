"""The device array: NumPy inside, CuPy's manners outside."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpunet.emulator import queues, records
from gpunet.emulator.array_base import ArrayBase
from gpunet.emulator.memory import Memory
from gpunet.emulator.pinned import pinned, without_owner
from gpunet.emulator.pointers import PAGEABLE_AT_ONCE, MemoryPointer
from gpunet.emulator.queues import Queue, Work

_DLPACK_CPU, _DLPACK_CUDA = 1, 2
_IMPLICIT = (
    "Implicit conversion to a NumPy array is not allowed. "
    "Please use `.get()` to construct a NumPy array explicitly."
)


class ndarray(ArrayBase, np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801 - CuPy's name
    """An array in device memory; a look-alike of ``cupy.ndarray``.

    Like CuPy's it is no ``np.ndarray``, does not turn into one by itself, and refuses to meet
    one in an expression. Views share memory as NumPy's do.

    Args:
        shape: The shape.
        dtype: The element type.
        memptr: Where the elements lie; in new memory, without it.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike = float,
        memptr: MemoryPointer | None = None,
    ) -> None:
        dtype = np.dtype(dtype)
        if dtype.hasobject:
            raise ValueError(f"Unsupported dtype {dtype}")
        shape = _tuple(shape)
        size = math.prod(shape) * dtype.itemsize
        memptr = MemoryPointer(Memory(size), 0) if memptr is None else memptr
        start = memptr.ptr - memptr.mem.ptr
        self._memory = memptr.mem
        self._host = memptr.mem.bytes[start : start + size].view(dtype).reshape(shape)

    # ---- host and device

    def get(
        self, stream: Any = None, order: Any = "C", out: Any = None, blocking: bool = True
    ) -> npt.NDArray[Any]:
        """Return a copy in host memory (in ``out``, if given), and wait for it if ``blocking``."""
        if out is not None:
            _check_same("obtained from", out, self, "Expected shape: {1}, actual shape: {0}")
            if not (out.flags.c_contiguous or out.flags.f_contiguous):
                raise RuntimeError(
                    "`out` cannot be specified when copying to non-contiguous ndarray"
                )
        elif self.size == 0:
            return np.empty(self.shape, self.dtype)
        queue = _queue(stream)
        if queue.is_capturing():
            raise RuntimeError("the current stream is capturing, so D2H transfers are disallowed")
        host, source = np.empty_like(self._host, order=order) if out is None else out, self._host
        memory = pinned(host)
        target = host if memory is None else without_owner(host, memory)
        memories = (self._memory, memory) if memory else (self._memory,)
        queue.submit(Work("ndarray.get", lambda: np.copyto(target, source), memories))
        if blocking or memory is None:
            queue.wait("ndarray.get")
        return host

    def set(self, arr: npt.NDArray[Any], stream: Any = None) -> None:
        """Copy a host array of the same shape and dtype into this one."""
        _check_same("set to", arr, self, "Old shape: {1}, new shape: {0}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        _upload(self, arr, _queue(stream), "ndarray.set")

    def item(self) -> Any:
        """Return the only element as a Python number."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self.get().item()

    def tolist(self) -> Any:
        """Return the elements as nested lists of Python numbers."""
        return self.get().tolist()

    def __array__(self, *arguments: Any, **keywords: Any) -> Any:
        raise TypeError(_IMPLICIT)

    def __dlpack__(self, *, dl_device: Any = None, **keywords: Any) -> Any:
        if dl_device is None or tuple(dl_device) != (_DLPACK_CPU, 0):
            raise BufferError("Unsupported device in DLTensor; ask for a copy with device='cpu'.")
        return self.get().__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (_DLPACK_CUDA, 0)

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
        return self._view_or_copy("reshape", lambda: self._host.reshape(*shape, order=order))

    def ravel(self, order: Any = "C") -> ndarray:
        """Return the elements along one axis; a view where possible."""
        return self._view_or_copy("ravel", lambda: self._host.ravel(order))

    def flatten(self, order: Any = "C") -> ndarray:
        """Return a copy of the elements along one axis."""
        host = self._host
        return compute("flatten", lambda: host.flatten(order), self)

    def squeeze(self, axis: Any = None) -> ndarray:
        """Return a view without axes of length 1."""
        return self._view(self._host.squeeze(axis))

    def view(self, dtype: npt.DTypeLike | None = None) -> ndarray:
        """Return the same memory as elements of another type."""
        return self._view(self._host.view() if dtype is None else self._host.view(dtype))

    def astype(
        self,
        dtype: npt.DTypeLike,
        order: Any = "K",
        casting: Any = None,
        subok: Any = None,
        copy: bool = True,
    ) -> ndarray:
        """Return the elements converted; the array itself if nothing changes and not ``copy``."""
        if not copy and self.dtype == np.dtype(dtype):
            return self
        host = self._host
        rule: Any = "unsafe" if casting is None else casting
        kind = np.dtype(dtype)
        return compute("astype", lambda: host.astype(kind, order, rule), self)

    def copy(self, order: Any = "C") -> ndarray:
        """Return a copy in memory of its own."""
        host = self._host
        return compute("copy", lambda: host.copy(order=order), self)

    def fill(self, value: Any) -> None:
        """Set every element."""
        if isinstance(value, ndarray | np.ndarray) and value.ndim:
            kind = "cupy" if isinstance(value, ndarray) else "numpy"
            raise ValueError(f"non-scalar {kind}.ndarray cannot be used for fill")
        assign("fill", self, unwrap(value), value)

    def _reduce(self, function: Callable[..., Any], out: Any, **keywords: Any) -> Any:
        host, name = self._host, function.__name__
        if out is None:
            return compute(name, lambda: function(host, **keywords), self)
        target = out._host
        apply(name, lambda: np.copyto(target, function(host, **keywords)), self, out)
        return out

    # ---- Python's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        if ufunc is np.matmul:
            check_library("cuBLAS")
        outputs = keywords.pop("out", ())
        values = [unwrap(value) for value in inputs]
        function, name = getattr(ufunc, method), ufunc.__name__
        if outputs:
            keywords["out"] = tuple(None if out is None else unwrap(out) for out in outputs)
            apply(name, lambda: function(*values, **keywords), *inputs, *outputs)
            return outputs[0] if len(outputs) == 1 else outputs
        if ufunc.nout == 1 or method != "__call__":
            return compute(name, lambda: function(*values, **keywords), *inputs)
        return tuple(
            compute(name, lambda n=n: function(*values, **keywords)[n], *inputs)  # type: ignore[misc]
            for n in range(ufunc.nout)
        )

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from gpunet.emulator import cupy

        ours = getattr(cupy, func.__name__, None)
        if ours is None or not all(issubclass(kind, ndarray | np.ndarray) for kind in types):
            return NotImplemented
        return ours(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        from gpunet.emulator.functions import METHODS, on_device

        if name in METHODS:
            return functools.partial(on_device(name), self)
        raise AttributeError(f"the emulator's cupy.ndarray has no {name!r}")

    def __getitem__(self, key: Any) -> ndarray:
        parts = _index(key)
        if Ellipsis not in [part for part in parts if not isinstance(part, np.ndarray)]:
            parts = (*parts, Ellipsis)  # so that a single element is a view too, as in CuPy
        host = self._host
        return self._view_or_copy("getitem", lambda: host[parts], *_arrays(key))

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, list | tuple):
            value = wrap(value)
        host, parts, source = self._host, _index(key), unwrap(value)
        apply("setitem", lambda: host.__setitem__(parts, source), self, value, *_arrays(key))

    def __iter__(self) -> Iterator[ndarray]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        return len(self._host)

    def __bool__(self) -> bool:
        return bool(self.get())

    def __int__(self) -> int:
        return int(self.get())

    def __float__(self) -> float:
        return float(self.get())

    def __imatmul__(self, other: Any) -> Any:
        return NotImplemented  # x @= y makes a new array, as in CuPy

    def __repr__(self) -> str:
        return repr(self.get())

    def __str__(self) -> str:
        return str(self.get())

    def __format__(self, specification: str) -> str:
        return format(self.get() if self.ndim else self.get()[()], specification)

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> ndarray:
        return self.copy()

    __hash__ = None  # type: ignore[assignment]

    def _view(self, host: npt.NDArray[Any]) -> ndarray:
        """Wrap an array that lies in this one's memory."""
        return over(host, self._memory)

    def _view_or_copy(
        self, name: str, function: Callable[[], npt.NDArray[Any]], *arrays: Any
    ) -> ndarray:
        """Wrap what NumPy returns: a view of this array's memory, or something new."""
        host = function()
        if host.size == 0 or np.may_share_memory(host, self._memory.bytes):
            return over(host, self._memory)
        return compute(name, function, self, *arrays)


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


def apply(name: str, run: Callable[[], Any], *arrays: Any) -> None:
    """Do something to existing arrays, on the current stream."""
    memories = tuple(array._memory for array in arrays if isinstance(array, ndarray))
    queues.current().submit(Work(name, run, memories))


def assign(name: str, target: ndarray, value: Any, *arrays: Any) -> None:
    """Set all elements of an array, on the current stream."""
    host = target._host
    apply(name, lambda: host.__setitem__(..., value), target, *arrays)


def compute(name: str, function: Callable[[], Any], *arrays: Any) -> ndarray:
    """Make an array of what NumPy returns, on the current stream."""
    queues.current().usable_capture()  # may refuse everything
    if queues.current().is_plain:
        values = np.asarray(function())
        result = _empty_like(values)
        result._host[...] = values
        return result
    with np.errstate(all="ignore"):  # it works on what happens to lie there, for the shape alone
        result = _empty_like(np.asarray(function()))
    target = result._host
    apply(name, lambda: np.copyto(target, function()), result, *arrays)
    return result


def wrap(value: Any, dtype: npt.DTypeLike | None = None) -> ndarray:
    """Copy a host array, or what NumPy can make one of, into new device memory."""
    host = np.asarray(value, dtype)
    result = _empty_like(host)
    _upload(result, host, queues.current(), "array")
    return result


def check_library(name: str) -> None:
    """Refuse, as CuPy does, to call a CUDA library while the current stream captures."""
    if queues.current().is_capturing():
        raise NotImplementedError(
            f"calling {name} API during stream capture is currently unsupported"
        )


def _upload(array: ndarray, host: npt.NDArray[Any], queue: Queue, call: str) -> None:
    if queue.is_capturing():
        raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
    memory = pinned(host)
    if memory is not None:
        host = without_owner(host, memory)
    else:
        if host.nbytes > PAGEABLE_AT_ONCE:
            records.waited(call)
        if not queue.is_plain:
            host = host.copy()  # staged before the call returns
    target = array._host
    memories = (array._memory, memory) if memory else (array._memory,)
    queue.submit(Work(call, lambda: np.copyto(target, host), memories))


def _check_same(verb: str, host: Any, device: ndarray, shapes: str) -> None:
    """Check what a copy between host and device demands, in CuPy's words."""
    if not isinstance(host, np.ndarray):
        raise TypeError(f"Only numpy.ndarray can be {verb} cupy.ndarray")
    if host.dtype != device.dtype:
        raise TypeError(f"{host.dtype} array cannot be {verb} {device.dtype} array")
    if host.shape != device.shape:
        raise ValueError(f"Shape mismatch. {shapes.format(host.shape, device.shape)}")


def _empty_like(host: npt.NDArray[Any]) -> ndarray:
    """Return an array of poison; Fortran order is kept, as in CuPy.

    A kernel that takes rows for columns must do so here, too.
    """
    if host.flags.f_contiguous and not host.flags.c_contiguous:
        return ndarray(host.shape[::-1], host.dtype).T
    return ndarray(host.shape, host.dtype)


def borrow(host: npt.NDArray[Any]) -> ndarray:
    """Make a device array of host memory without copying."""
    if not host.flags.c_contiguous:
        raise BufferError("only C-contiguous arrays can be taken over without a copy")
    return over(host, Memory(host.nbytes, borrowed=host.reshape(-1).view(np.uint8)))


def empty(shape: Any, dtype: npt.DTypeLike = float, order: str = "C") -> ndarray:
    """Return an array of poison: NaN, or -1, until it is written."""
    if order == "F":
        return ndarray(_tuple(shape)[::-1], dtype).T
    return ndarray(shape, dtype)


def zeros(shape: Any, dtype: npt.DTypeLike = float, order: str = "C") -> ndarray:
    """Return an array of zeros."""
    shape = _tuple(shape)
    if order == "F":
        return zeros(shape[::-1], dtype).T
    size, plain = math.prod(shape) * np.dtype(dtype).itemsize, queues.current().is_plain
    result = ndarray(shape, dtype, MemoryPointer(Memory(size, zeroed=plain), 0))
    if not plain:
        assign("zeros", result, np.zeros((), dtype))
    return result


def _tuple(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))


def over(host: npt.NDArray[Any], memory: Memory) -> ndarray:
    """Return a view of what lies in some memory."""
    result = ndarray.__new__(ndarray)
    result._host, result._memory = host, memory
    return result


def _index(key: Any) -> tuple[Any, ...]:
    parts = key if isinstance(key, tuple) else (key,)
    return tuple(part._host if isinstance(part, ndarray) else part for part in parts)


def _arrays(key: Any) -> list[ndarray]:
    """Return the device arrays in an index."""
    return [part for part in (key if isinstance(key, tuple) else (key,)) if type(part) is ndarray]


def _queue(stream: Any) -> Queue:
    return queues.current() if stream is None else queues.queue_of(stream.ptr)
