"""The choice of the backend, and why CuPy or numba cannot be used.

``set_backend`` or the environment variable ``GPUNET_BACKEND`` names one; without either it is
"auto": CuPy if a kernel runs on this machine's GPU, else NumPy with ops that numba compiles if that
is installed, else NumPy alone.

``GPUNET_CUBLAS`` is "on" or "off": whether large matrix products may go to cuBLAS. It is on with
CuPy. It is off on the emulator, which is there to run gpunet's own kernels; on, it has a stand-in.

Example:
    >>> from gpunet.backend import get_backend, set_backend
    >>> set_backend("numpy")
    >>> get_backend().name
    'numpy'
"""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.errors import ArgumentError, BackendUnavailable, KernelError

if TYPE_CHECKING:
    import ctypes

BACKENDS = ("auto", "numpy", "numba", "cupy", "emulator")
_OTHER_NAMES = {"cpu": ["numpy"], "gpu": ["cupy"], "cuda": ["cupy"]}
ENVIRONMENT_VARIABLE = "GPUNET_BACKEND"
CUBLAS_VARIABLE = "GPUNET_CUBLAS"

_INSTALL_NUMBA = "`pip install 'gpunet[fast]'`"
_INSTALL = "`pip install 'gpunet[cuda12]'` (for CUDA 13 drivers: `pip install 'gpunet[cuda13]'`)"
# Where arrays of the device backends come from: backend -> module.
_ARRAY_MODULES = {"cupy": "cupy", "emulator": "gpunet.emulator.cupy"}

_chosen: str | None = None


def set_backend(name: str) -> None:
    """Choose the backend that models use from now on.

    Args:
        name: "auto", "numpy", "numba", "cupy" or "emulator".

    Raises:
        ArgumentError: there is no backend of this name.
        BackendUnavailable: it cannot be used on this machine.
    """
    global _chosen
    backend_named(name)
    _chosen = name


def get_backend() -> Backend:
    """The chosen backend, or what ``GPUNET_BACKEND`` names, or the result of "auto".

    Raises:
        ArgumentError: the environment variable names no backend.
        BackendUnavailable: what it names cannot be used on this machine.
    """
    return backend_named(_chosen or os.environ.get(ENVIRONMENT_VARIABLE) or "auto")


def backend_named(name: str) -> Backend:
    """The one instance of a backend; made, and tried out, when it is first asked for.

    Raises:
        ArgumentError: there is no backend of this name.
        BackendUnavailable: it cannot be used on this machine.
    """
    if name not in BACKENDS:
        wanted = str(name).lower()
        close = _OTHER_NAMES.get(wanted) or difflib.get_close_matches(wanted, BACKENDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "."
        raise ArgumentError(f"gpunet knows the backends {', '.join(BACKENDS)}, got {name!r}{hint}")
    if name == "numpy":
        return _numpy()
    if name == "emulator":
        return _emulator()
    problems = {"numba": _numba, "cupy": _cupy}
    for choice in (name,) if name in problems else ("cupy", "numba"):
        backend, problem = problems[choice]()
        if backend is not None:
            return backend
        if name == choice:
            raise BackendUnavailable(f"the backend {name!r} cannot be used: {problem}")
    return _numpy()


def backend_of(array: object) -> Backend:
    """The backend that owns an array: a NumPy, CuPy or emulator array.

    Raises:
        ArgumentError: it is none of these.
    """
    if isinstance(array, np.ndarray):
        return _numpy()
    for name, module in _ARRAY_MODULES.items():
        # Whoever holds such an array has imported its module already.
        if module in sys.modules and isinstance(array, sys.modules[module].ndarray):
            return backend_named(name)
    raise ArgumentError(
        f"expected an array of NumPy or CuPy, got {type(array).__name__}; "
        "numpy.asarray makes an array of it."
    )


def cupy_problem() -> str:
    """Why CuPy cannot be used on this machine, and what helps; empty if it can."""
    return _cupy()[1]


def numba_problem() -> str:
    """Why numba cannot be used here, and what helps; empty if it can."""
    return _numba()[1]


@functools.cache
def _numpy() -> Backend:
    from gpunet.backend.cpu import CpuBackend

    return CpuBackend()


@functools.cache
def _numba() -> tuple[Backend | None, str]:
    """The backend, or None and what is wrong."""
    try:
        importlib.import_module("numba")
    except ModuleNotFoundError:
        return None, f"numba is not installed; {_INSTALL_NUMBA} installs it."
    except Exception as error:  # noqa: BLE001 - it refuses a NumPy that it does not know
        return None, f"importing numba failed ({_first_line(error)}); {_INSTALL_NUMBA} repairs it."
    from gpunet.backend.cpu.compiled import CompiledBackend

    return CompiledBackend(), ""


@functools.cache
def _emulator() -> Backend:
    from gpunet.emulator import cupy

    return _with_first_kernel(cupy, "emulator")  # says itself if it finds no C++ compiler


@functools.cache
def _cupy() -> tuple[Backend | None, str]:
    """The backend once it has run a kernel, or None and what is wrong; found out once a process."""
    try:
        cupy: Any = importlib.import_module("cupy")
    except ImportError as error:
        return None, f"CuPy is not installed ({_first_line(error)}); {_INSTALL} installs it."
    except Exception as error:  # noqa: BLE001 - a broken installation raises anything
        return None, f"importing CuPy failed ({_first_line(error)}); {_INSTALL} repairs it."
    try:
        devices = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # noqa: BLE001 - CuPy's exceptions differ between versions
        return None, _driver_problem(cupy.cuda.runtime, _first_line(error))
    if devices == 0:
        return None, "there is no CUDA device; use the backend 'numpy' on this machine."
    try:
        return _with_first_kernel(cupy, "cupy"), ""
    except KernelError as error:  # NVRTC or the CUDA headers are missing, or do not fit
        return None, (
            f"a first kernel did not run ({_first_line(error)}); {_INSTALL} installs the "
            "compiler NVRTC and the CUDA headers that fit."
        )
    except Exception as error:  # noqa: BLE001 - no memory is left, or the device is another's
        return None, f"the GPU does not work ({_first_line(error)}); see what `nvidia-smi` says."


def _driver_problem(runtime: Any, reason: str) -> str:
    """What is wrong where CUDA cannot even count the devices."""
    try:
        known, used = runtime.driverGetVersion() // 1000, runtime.runtimeGetVersion() // 1000
    except Exception:  # noqa: BLE001 - CuPy's exceptions differ between versions
        known = used = 0
    if known == 0:
        return (
            f"no NVIDIA driver was found ({reason}); "
            "see what `nvidia-smi` says, or use the backend 'numpy'."
        )
    if known < used:
        return (
            f"the NVIDIA driver is too old for this CuPy: it knows CUDA {known}, not {used} "
            f"({reason}); update the driver, or install CuPy for CUDA {known}."
        )
    return (
        f"the NVIDIA driver shows no device ({reason}); "
        "see what `nvidia-smi` and the variable CUDA_VISIBLE_DEVICES say."
    )


def _with_first_kernel(cupy: Any, name: str) -> Backend:
    """A device backend that has shown that it can compile and run a kernel."""
    from gpunet.backend.cuda import CudaBackend

    backend = CudaBackend(cupy, name, _cublas_of(name))
    backend.to_numpy(backend.zeros((1,), np.float32))
    return backend


def _cublas_of(name: str) -> Callable[[], ctypes.CDLL] | None:
    """What loads cuBLAS for a device backend; None if it is to do without."""
    chosen = os.environ.get(CUBLAS_VARIABLE) or ("off" if name == "emulator" else "on")
    if chosen not in ("on", "off"):
        raise ArgumentError(f"{CUBLAS_VARIABLE} must be 'on' or 'off', got {chosen!r}.")
    if chosen == "off":
        return None
    if name == "emulator":
        from gpunet.emulator.cublas import load_cublas as load_stand_in

        return load_stand_in
    from gpunet.backend.cuda.cublas import load_cublas

    return load_cublas


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
