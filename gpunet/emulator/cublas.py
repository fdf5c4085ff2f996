"""The stand-in for cuBLAS: a library with its symbols that computes on the emulator's memory.

`libraries/cublas.cpp` knows cuBLAS' rules. This module answers its questions about the device.

Example:
    >>> library = load_cublas()
    >>> library.cublasCreate_v2(None)  # CUBLAS_STATUS_INVALID_VALUE
    7
"""

from __future__ import annotations

import ctypes
import functools
from ctypes import CFUNCTYPE, POINTER, c_char, c_float, c_int, c_int64, c_uint64, c_void_p

from gpunet.emulator import build, memory, queues, records
from gpunet.emulator.faults import CUDARuntimeError, KernelFault
from gpunet.emulator.queues import Work
from gpunet.emulator.records import LaunchRecord

_WHY = 256  # bytes of a message in cublas.cpp


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("data", c_void_p),
        *((name, c_int64) for name in ("type", "rows", "columns", "leading", "stride")),
    )


class _Product(ctypes.Structure):
    _fields_ = (
        *((name, _Matrix) for name in ("a", "b", "c")),
        *((name, c_int64) for name in ("ta", "tb", "stack", "tf32", "split")),
        ("alpha", c_float),
        ("beta", c_float),
        ("stream", c_uint64),
        ("workspace", c_void_p),
        ("workspace_bytes", c_uint64),
    )


_IsDeviceMemory = CFUNCTYPE(c_int, c_uint64, c_uint64)
_Submit = CFUNCTYPE(c_int, POINTER(_Product), POINTER(c_char))


class _Hooks(ctypes.Structure):
    _fields_ = (("is_device_memory", _IsDeviceMemory), ("submit", _Submit))


@functools.cache
def load_cublas() -> ctypes.CDLL:
    """Load the stand-in, which is compiled when it is first used.

    Raises:
        BackendUnavailable: there is no C++ compiler.
    """
    library = ctypes.CDLL(str(build.compile_cublas()))

    def submit(product: ctypes._Pointer[_Product], why: ctypes._Pointer[c_char]) -> int:
        try:
            _submit(library, product.contents)
        except (CUDARuntimeError, KernelFault) as error:  # C++ can only be told
            message = str(error).encode()[: _WHY - 1] + b"\0"
            ctypes.memmove(why, message, len(message))
            return 1
        return 0

    def is_device_memory(address: int, size: int) -> int:
        return memory.find(address, size) is not None

    hooks = _Hooks(_IsDeviceMemory(is_device_memory), _Submit(submit))
    library.__dict__["hooks"] = hooks  # they live as long as the library may call them
    library.gpunet_emulator_cublas_hooks(ctypes.byref(hooks))
    return library


def _submit(library: ctypes.CDLL, product: _Product) -> None:
    """Give a product to the handle's stream, where a capture may record it."""
    name = "cublasGemmEx" if product.stack == 1 else "cublasGemmStridedBatchedEx"
    queue, current = queues.queue_of(product.stream), queues.current()
    if queue is not current:
        raise KernelFault(f"the handle's stream {queue.ptr:#x} is not the current {current.ptr:#x}")
    kept = _Product.from_buffer_copy(product)
    if queue.usable_capture() is None:
        records.launched(LaunchRecord(name, (1, 1, 1), (1, 1, 1), 0, bytes(kept)))
    addresses = (product.a.data, product.b.data, product.c.data, product.workspace)
    memories = tuple(filter(None, (memory.find(address or 0, 1) for address in addresses)))
    compute = library.gpunet_emulator_cublas_compute
    queue.submit(Work(name, lambda: compute(ctypes.byref(kept)), memories))
