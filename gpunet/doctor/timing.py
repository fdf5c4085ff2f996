"""How fast each kernel is on large arrays, against a copy by the device itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from gpunet.backend.contract import OPS
from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.grids import power_of_two
from gpunet.doctor.report import Report
from gpunet.testing.cases import CASES
from gpunet.testing.enlarged import enlarged, largest_call

_ELEMENTS, _COLUMNS, _PRODUCT = 2**24, 1024, 4096  # 64 MiB for a matrix in float32, at least
_CACHES = 2  # times the device's L2 cache, from which the next repeat must not read
_SECONDS = 0.02  # of device time in one measurement
_REPEATS = 5
_SLOW = 0.5  # of a copy's speed


def examine_speed(report: Report, backend: CudaBackend, shrink: int = 1) -> None:
    """Time each op with events, a line each.

    Args:
        report: takes the table.
        backend: where to run; on the emulator the times say nothing.
        shrink: by what to divide the sizes.
    """
    elements = _elements(backend) // shrink
    copy = _copy_speed(backend, elements)
    report.line(f"A copy by the device itself moves {copy:,.0f} GB/s, read + written.")
    report.line()
    report.line(f"{'op':<30}{'us':>10}{'GB/s':>9}{'of copy':>9}{'GFLOP/s':>11}")
    slow = []
    for case in CASES.values():
        op, call = OPS[case.op], largest_call(case)
        arrays = enlarged(
            op,
            case.arrays(call, "float32"),
            case.attributes(call),
            elements=elements,
            columns=_COLUMNS,
            product=_PRODUCT // shrink,
        )
        on_device = [
            backend.from_numpy(arrays[p.name]) if p.name in arrays else None for p in op.parameters
        ]
        attributes = case.attributes(call)
        run = partial(backend.ops[case.op], *on_device, **attributes)
        seconds = seconds_of(backend, run, _SECONDS)
        line = f"{case.op:<30}{seconds * 1e6:>10,.1f}"
        if op.family == "gemm":
            flops = 2 * arrays["c"].size * arrays["a"].shape[1]
            line += f"{'':>18}{flops / seconds / 1e9:>11,.0f}"
        else:
            speed = op.least_bytes(on_device, attributes) / seconds / 1e9
            line += f"{speed:>9,.0f}{speed / copy:>9.0%}"
            slow += [case.op] * (speed < _SLOW * copy)
        report.line(line)
    if slow:
        report.line()
        report.paragraph(f"At less than half the speed of a copy: {', '.join(slow)}.")


def seconds_of(backend: CudaBackend, run: Callable[[], None], at_least: float) -> float:
    """The device's time for what one call launches: the best of a few measurements.

    The launches are captured, as they are in training: what Python takes for them does not count.

    Args:
        backend: where it launches.
        run: the call.
        at_least: seconds of device time in one measurement, about.
    """
    run()  # compiles
    repeats = max(1, min(1000, int(at_least / max(_measure(backend, run), 1e-9))))
    launch = backend.capture([run] * repeats)
    launch()  # brings the graph to the device
    return min(_measure(backend, launch) for _ in range(_REPEATS)) / repeats


def _measure(backend: CudaBackend, run: Callable[[], object]) -> float:
    cuda = backend.cp.cuda
    start, end = cuda.Event(), cuda.Event()
    start.record()
    run()
    end.record()
    end.synchronize()
    milliseconds: float = cuda.get_elapsed_time(start, end)
    return milliseconds / 1000


def _elements(backend: CudaBackend) -> int:
    """Of a matrix in float32 that is larger than what the device's cache holds."""
    runtime = backend.cp.cuda.runtime
    cache = runtime.getDeviceProperties(runtime.getDevice())["l2CacheSize"]
    return max(_ELEMENTS, power_of_two(_CACHES * cache // np.dtype(np.float32).itemsize))


def _copy_speed(backend: CudaBackend, size: int) -> float:
    """GB/s of CUDA's own copy on the device, the bytes counted twice."""
    source, target = (backend.zeros((size,), np.float32) for _ in range(2))
    seconds = seconds_of(backend, partial(backend.cp.copyto, target, source), _SECONDS)
    return 2 * int(source.nbytes) / seconds / 1e9
