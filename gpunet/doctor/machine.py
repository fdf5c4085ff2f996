"""What the machine has: versions, driver, device; and which backend the doctor examines."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

import gpunet
from gpunet.backend import backend_named, cupy_problem, numba_problem
from gpunet.backend.cuda import CudaBackend
from gpunet.doctor.report import Report, first_line
from gpunet.errors import GpunetError

_DRIVER = Path("/proc/driver/nvidia/version")  # of the kernel's module, whether it works or not


def examine_machine(report: Report, wanted: str) -> CudaBackend | None:
    """Say what there is, and return the backend to examine; None if there is none.

    Args:
        report: takes what is found.
        wanted: "cupy", "emulator", or "auto": the GPU if there is one, else the emulator.
    """
    report.fact("gpunet", f"{gpunet.__version__} in {Path(gpunet.__file__).parent}")
    report.fact("Python", f"{platform.python_version()} on {platform.platform(terse=True)}")
    report.fact("NumPy", np.__version__)
    report.fact("CPU", numba_problem() or f"backend 'numba': {backend_named('numba').description}")
    problem = "" if wanted == "emulator" else cupy_problem()
    if wanted != "emulator":
        has_device = _cuda(report)
        if not problem:
            return cast(CudaBackend, backend_named("cupy"))
        report.fact("GPU", f"not used: {problem}")
        if has_device or wanted == "cupy":
            report.failure(f"The GPU cannot be used: {problem}")
            return None
        if _DRIVER.exists():
            report.hint(f"This machine has an NVIDIA driver, but its GPU was not used: {problem}")
    return _emulator(report)


def _emulator(report: Report) -> CudaBackend | None:
    try:
        backend = cast(CudaBackend, backend_named("emulator"))
    except GpunetError as error:
        report.fact("emulator", f"not usable: {first_line(error)}")
        report.failure(f"There is neither a GPU nor the emulator: {first_line(error)}")
        return None
    report.fact("device", f"{backend.description}: the CUDA kernels run on this CPU, untimed")
    return backend


def _cuda(report: Report) -> bool:
    """Say what CuPy, the driver and NVRTC are; whether there is a device."""
    if _DRIVER.exists():
        report.fact("driver", _read(lambda: _DRIVER.read_text().splitlines()[0].split(":")[-1]))
    # The choice of the backend has imported CuPy, if it can be imported.
    cupy: Any = sys.modules.get("cupy")
    if cupy is None or not hasattr(cupy, "cuda"):
        return False
    runtime = cupy.cuda.runtime
    report.fact("CuPy", str(cupy.__version__))
    report.fact("CUDA", _read(lambda: _cuda_versions(runtime)))
    report.fact("NVRTC", _read(lambda: ".".join(map(str, cupy.cuda.nvrtc.getVersion()))))
    try:
        number = runtime.getDevice() if runtime.getDeviceCount() else None
    except Exception:  # noqa: BLE001 - CuPy's exceptions differ between versions
        number = None
    if number is None:
        return False
    report.fact("device", _read(lambda: _device(runtime.getDeviceProperties(number))))
    return True


def _read(value: Callable[[], str]) -> str:
    """The value, or why there is none: a broken installation must not stop the doctor here."""
    try:
        return value().strip()
    except Exception as error:  # noqa: BLE001 - from CuPy, the driver or the file system
        return f"unknown ({first_line(error)})"


def _cuda_versions(runtime: Any) -> str:
    used, newest = runtime.runtimeGetVersion(), runtime.driverGetVersion()
    driver = f"{_version(newest)} is the driver's newest" if newest else "no driver"
    return f"{_version(used)} of CuPy's runtime, {driver}"


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


def _device(properties: dict[str, Any]) -> str:
    name = properties["name"]
    name = name.decode() if isinstance(name, bytes) else name
    return (
        f"{name}, compute capability {properties['major']}.{properties['minor']}, "
        f"{properties['multiProcessorCount']} multiprocessors, "
        f"{properties['totalGlobalMem'] / 2**30:.1f} GiB"
    )
