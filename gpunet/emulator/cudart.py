"""The look-alike of ``cupy.cuda.runtime``: CUDA's own functions, of which these suffice here."""

from __future__ import annotations

import platform
from typing import Any

from gpunet.emulator import launch, memory, pointers, queues
from gpunet.emulator.faults import CUDARuntimeError
from gpunet.emulator.pointers import memcpy, memcpyAsync, memset, memsetAsync

__all__ = ["CUDARuntimeError", "memcpy", "memcpyAsync", "memset", "memsetAsync"]

is_hip = False
memcpyHostToHost = pointers.HOST_TO_HOST  # noqa: N816
memcpyHostToDevice = pointers.HOST_TO_DEVICE  # noqa: N816
memcpyDeviceToHost = pointers.DEVICE_TO_HOST  # noqa: N816
memcpyDeviceToDevice = pointers.DEVICE_TO_DEVICE  # noqa: N816
memcpyDefault = pointers.DEFAULT  # noqa: N816
streamDefault = 0  # noqa: N816
streamNonBlocking = 1  # noqa: N816
streamLegacy = queues.LEGACY_HANDLE  # noqa: N816
streamPerThread = queues.PER_THREAD  # noqa: N816
streamCaptureModeGlobal = queues.GLOBAL  # noqa: N816
streamCaptureModeThreadLocal = queues.THREAD_LOCAL  # noqa: N816
streamCaptureModeRelaxed = queues.RELAXED  # noqa: N816

#: The device's attributes by CuPy's names, in the size of an sm_80 device.
ATTRIBUTES = {
    "ComputeCapabilityMajor": 8,
    "ComputeCapabilityMinor": 0,
    "CooperativeLaunch": 0,
    "MaxBlockDimX": 1024,
    "MaxBlockDimY": 1024,
    "MaxBlockDimZ": 64,
    "MaxGridDimX": 2**31 - 1,
    "MaxGridDimY": 65535,
    "MaxGridDimZ": 65535,
    "MaxSharedMemoryPerBlock": launch.SHARED_MEMORY,
    "MaxSharedMemoryPerBlockOptin": launch.SHARED_MEMORY_OPTIN,
    "MaxSharedMemoryPerMultiprocessor": launch.SHARED_MEMORY_OPTIN + 1024,
    "MaxThreadsPerBlock": launch.MAX_THREADS_PER_BLOCK,
    "MaxThreadsPerMultiProcessor": 2048,
    # Few, so that grids sized from the device stay small.
    "MultiProcessorCount": 4,
    "WarpSize": 32,
}


def getDevice() -> int:  # noqa: N802
    """Return the current device's number."""
    return 0


def getDeviceCount() -> int:  # noqa: N802
    """Return how many devices there are."""
    return 1


def setDevice(device: int) -> None:  # noqa: N802
    """Make a device the current one, which can only be number 0."""
    if device != 0:
        raise CUDARuntimeError(101)


def runtimeGetVersion() -> int:  # noqa: N802
    """Return the CUDA runtime's version."""
    return 12090


def driverGetVersion() -> int:  # noqa: N802
    """Return the CUDA version that the driver supports."""
    return 12090


def deviceSynchronize() -> None:  # noqa: N802
    """Let the host wait for all work on the device."""
    queues.wait_for_all("deviceSynchronize")


def streamSynchronize(stream: int) -> None:  # noqa: N802
    """Let the host wait for all work on a stream, given by its pointer."""
    queues.queue_of(stream).wait("streamSynchronize")


def streamIsCapturing(stream: int) -> bool:  # noqa: N802
    """Return whether a stream, given by its pointer, is capturing."""
    return queues.queue_of(stream).is_capturing()


def memGetInfo() -> tuple[int, int]:  # noqa: N802
    """Return the bytes of memory free and in total, as a device of 16 GiB would have them."""
    total = 16 << 30
    return total - memory.get_default_memory_pool().used_bytes(), total


def getDeviceProperties(device: int) -> dict[str, Any]:  # noqa: N802
    """Return a device's properties, among them its name as bytes."""
    setDevice(device)
    return {
        "name": f"gpunet emulator on {platform.machine()}".encode(),
        "major": 8,
        "minor": 0,
        "multiProcessorCount": ATTRIBUTES["MultiProcessorCount"],
        "maxThreadsPerBlock": ATTRIBUTES["MaxThreadsPerBlock"],
        "maxThreadsPerMultiProcessor": ATTRIBUTES["MaxThreadsPerMultiProcessor"],
        "sharedMemPerBlock": ATTRIBUTES["MaxSharedMemoryPerBlock"],
        "sharedMemPerBlockOptin": ATTRIBUTES["MaxSharedMemoryPerBlockOptin"],
        "warpSize": ATTRIBUTES["WarpSize"],
        "l2CacheSize": 40 << 20,
        "totalGlobalMem": 16 << 30,
    }
