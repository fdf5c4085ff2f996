"""cuBLAS by ctypes: matrix products on a handle and in a workspace of gpunet's own.

Not through CuPy, which refuses its cuBLAS while a stream is captured (cupy#6290) and whose matmul
cannot add to its result. A capture also forbids cuBLAS to allocate; therefore the workspace. It is
set after each change of the stream, because cublasSetStream takes it away again
(https://docs.nvidia.com/cuda/cublas/#cublassetworkspace).
"""

from __future__ import annotations

import ctypes
import importlib.util
import threading
from collections.abc import Iterator
from ctypes import POINTER, c_char_p, c_float, c_int, c_longlong, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.backend.spec import Array
from gpunet.errors import KernelError, MissingDependency

# cudaDataType_t; alpha, beta and the sums are float32 with all of them.
_DATA_TYPES = {"float32": 0, "float16": 2, "bfloat16": 14}
# cublasComputeType_t: CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32.
_COMPUTE_TYPES = {"ieee": 68, "tf32": 77}
_DEFAULT_ALGORITHM = -1
# CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION: what several blocks have summed up of one number
# is added in float32, too. By default cuBLAS may do that in the type of c, 16 bits
# (https://docs.nvidia.com/cuda/cublas/#cublasmath-t).
_MATH_MODE = 16
_ONE, _ZERO = c_float(1.0), c_float(0.0)

_MATRIX = (c_void_p, c_int, c_int)  # address, type, leading dimension
_STACK = (*_MATRIX, c_longlong)  # and from one matrix to the next
_SIZES = (c_int, c_int, c_int, c_int, c_int)  # two operations; m, n, k
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (POINTER(c_void_p),),
    "cublasDestroy_v2": (c_void_p,),
    "cublasGetVersion_v2": (c_void_p, POINTER(c_int)),
    "cublasSetMathMode": (c_void_p, c_int),
    "cublasSetStream_v2": (c_void_p, c_void_p),
    "cublasSetWorkspace_v2": (c_void_p, c_void_p, c_size_t),
    "cublasGemmEx": (
        *(c_void_p, *_SIZES, c_void_p, *_MATRIX, *_MATRIX, c_void_p, *_MATRIX),
        *(c_int, c_int),
    ),
    "cublasGemmStridedBatchedEx": (
        *(c_void_p, *_SIZES, c_void_p, *_STACK, *_STACK, c_void_p, *_STACK),
        *(c_int, c_int, c_int),
    ),
}


class Cublas:
    """One cuBLAS handle, which follows the current stream.

    It is never destroyed: when Python ends, the driver may have ended before.

    Args:
        cp: CuPy, or a module with the same interface.
        library: the loaded libcublas.

    Attributes:
        version: of the library, 130100 for 13.1.0.

    Raises:
        KernelError: the library lacks a function, or cannot make a handle.
    """

    def __init__(self, cp: Any, library: ctypes.CDLL) -> None:
        self._cp, self._library = cp, _declared(library)
        self._handle, version = c_void_p(), c_int()
        self._check(library.cublasCreate_v2(ctypes.byref(self._handle)), "cublasCreate")
        self._check(library.cublasGetVersion_v2(self._handle, version), "cublasGetVersion")
        self.version = version.value
        self._check(library.cublasSetMathMode(self._handle, _MATH_MODE), "cublasSetMathMode")
        properties = cp.cuda.runtime.getDeviceProperties(cp.cuda.runtime.getDevice())
        # What NVIDIA recommends for Hopper and later, and for the devices before.
        self._workspace = cp.empty((32 if properties["major"] >= 9 else 4) << 20, np.uint8)
        # One thread may capture while another predicts: the handle has one stream at a time.
        self._lock = threading.Lock()
        # The stream itself: a new one may get the address of one that is gone.
        self._stream: Any = None

    def product(
        self,
        c: Array,
        a: Array,
        b: Array,
        *,
        ta: bool = False,
        tb: bool = False,
        accumulate: bool = False,
        precision: str = "ieee",
    ) -> None:
        """c = op(a) op(b), or c += op(a) op(b), for matrices or for stacks of as many matrices.

        Args:
            c: (m, n) or (stack, m, n), C-contiguous like a and b, of their dtype or float32.
            a: (m, k), or (k, m) if ta.
            b: (k, n), or (n, k) if tb.
            ta: whether op transposes a.
            tb: whether op transposes b.
            accumulate: whether to add to what c holds.
            precision: of products of float32: "ieee" or "tf32".

        Raises:
            KernelError: cuBLAS refuses.
        """
        (m, n), k = c.shape[-2:], a.shape[-2 if ta else -1]
        compute = _COMPUTE_TYPES[precision if a.dtype == np.float32 else "ieee"]
        beta = ctypes.byref(_ONE if accumulate else _ZERO)
        # cuBLAS counts columns first: row-major c is its transpose, op(b)^T op(a)^T.
        sizes = (self._handle, int(tb), int(ta), n, m, k, ctypes.byref(_ONE))
        if c.ndim == 2:
            name = "cublasGemmEx"
            numbers = (*sizes, *_matrix(b), *_matrix(a), beta, *_matrix(c))
        else:
            name = "cublasGemmStridedBatchedEx"
            numbers = (*sizes, *_stack(b), *_stack(a), beta, *_stack(c), c.shape[0])
        with self._lock:
            self._follow_stream()
            status = getattr(self._library, name)(*numbers, compute, _DEFAULT_ALGORITHM)
        if status:
            shapes = " ".join(map(str, (a.shape, b.shape, c.shape)))
            self._check(status, f"{name} with shapes {shapes}, {a.dtype}, ta={ta}, tb={tb}")

    def _follow_stream(self) -> None:
        """Make the handle use the current stream, and the workspace on it."""
        stream = self._cp.cuda.get_current_stream()
        if stream is self._stream:
            return
        library, space = self._library, self._workspace
        self._check(library.cublasSetStream_v2(self._handle, stream.ptr), "cublasSetStream")
        status = library.cublasSetWorkspace_v2(self._handle, space.data.ptr, space.nbytes)
        self._check(status, "cublasSetWorkspace")
        self._stream = stream

    def _check(self, status: int, call: str) -> None:
        if status:
            name = self._library.cublasGetStatusName(status).decode()
            meaning = self._library.cublasGetStatusString(status).decode()
            raise KernelError(f"cuBLAS refused {call}: {name}, {meaning}.")


def _matrix(array: Array) -> tuple[Any, ...]:
    return array.data.ptr, _data_type(array), max(1, array.shape[-1])


def _stack(array: Array) -> tuple[Any, ...]:
    return *_matrix(array), array.shape[-2] * array.shape[-1]


def _data_type(array: Array) -> int:
    name = array.dtype.name
    if name not in _DATA_TYPES:
        raise KernelError(f"cuBLAS multiplies {', '.join(_DATA_TYPES)} for gpunet, got {name}.")
    return _DATA_TYPES[name]


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library with the argument types of what is used of it."""
    try:
        for name, arguments in _SIGNATURES.items():
            getattr(library, name).argtypes = arguments
        for name in ("cublasGetStatusName", "cublasGetStatusString"):
            getattr(library, name).argtypes = (c_int,)
            getattr(library, name).restype = c_char_p
    except AttributeError as error:  # CUDA 11.4 had the last of them
        raise KernelError(f"this cuBLAS is too old: {error}.") from error
    return library


# --------------------------------------------------------------------------- where it lies


def load_cublas() -> ctypes.CDLL:
    """Load the cuBLAS that CuPy works with.

    Raises:
        MissingDependency: there is none that can be loaded.
    """
    problems = []
    for path in _places():
        try:
            return ctypes.CDLL(path)
        except OSError as error:
            problems.append(str(error))
    reason = problems[-1] if problems else "no such file"
    raise MissingDependency(
        f"no libcublas was found ({reason}); `pip install 'gpunet[cuda12]'` brings it (for CUDA 13 "
        "drivers: `pip install 'gpunet[cuda13]'`)."
    )


def _places() -> Iterator[str]:
    try:
        from cuda.pathfinder import load_nvidia_dynamic_lib  # comes with CuPy 14

        path = load_nvidia_dynamic_lib("cublas").abs_path
        if path is not None:
            yield path
    except Exception:  # noqa: BLE001, S110 - older, broken or absent: look for oneself
        pass
    packages = importlib.util.find_spec("nvidia")
    for folder in (packages and packages.submodule_search_locations) or ():
        yield from sorted(map(str, Path(folder).glob("*/lib/libcublas.so.*")), reverse=True)
    yield from ("libcublas.so.13", "libcublas.so.12", "libcublas.so")
