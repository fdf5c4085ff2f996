"""How fast each kernel is on large arrays, against a copy by the device itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from gpunet.backend.contract import OPS
from gpunet.backend.cuda import CudaBackend
from gpunet.backend.spec import Op
from gpunet.doctor.report import Report
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import Array, Case, Values

# What the contract's sizes become: 64 MiB for a matrix in float32, more than any cache holds. Sizes
# that are not named here (classes, thresholds, groups) stay as they are in the table of cases.
_N = 2**24
_SIZES = {
    "rows": 16384,
    "columns": 1024,
    "batch": 16384,
    "samples": 16384,
    "outer": 16,
    "reduced": 1024,
    "inner": 1024,
    "n": _N,
    "...": _N,
}
_PRODUCT_SIZES = {"m": 4096, "n": 4096, "k": 4096}
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
    copy = _copy_speed(backend, _N // shrink)
    report.line(f"A copy by the device itself moves {copy:,.0f} GB/s, read + written.")
    report.line()
    report.line(f"{'op':<30}{'us':>10}{'GB/s':>9}{'of copy':>9}{'GFLOP/s':>11}")
    slow = []
    for case in CASES.values():
        op, call = OPS[case.op], call_to_time(case)
        arrays = enlarged(op, case.arrays(call, "float32"), shrink)
        on_device = [
            backend.from_numpy(arrays[p.name]) if p.name in arrays else None for p in op.parameters
        ]
        run = partial(backend.ops[case.op], *on_device, **case.attributes(call))
        seconds = seconds_of(backend, run)
        line = f"{case.op:<30}{seconds * 1e6:>10,.1f}"
        if op.family == "gemm":
            flops = 2 * arrays["c"].size * arrays["a"].shape[1]
            line += f"{'':>18}{flops / seconds / 1e9:>11,.0f}"
        else:
            speed = _least_bytes(op, arrays) / seconds / 1e9
            line += f"{speed:>9,.0f}{speed / copy:>9.0%}"
            slow += [case.op] * (speed < _SLOW * copy)
        report.line(line)
    if slow:
        report.line()
        report.line(f"At less than half the speed of a copy: {', '.join(slow)}.")


def enlarged(op: Op, arrays: Mapping[str, Array], shrink: int) -> dict[str, Array]:
    """Arrays of a call with their values repeated until they have the sizes to be timed at."""
    dims = {
        p.name: next(d for _, d in p.forms if d == ("...",) or len(d) == arrays[p.name].ndim)
        for p in op.parameters
        if p.name in arrays
    }
    sizes = dict(_PRODUCT_SIZES if op.family == "gemm" else _SIZES)
    if not any("columns" in of for of in dims.values()):
        sizes["rows"] = _N
    sizes = {dim: max(1, size // shrink) for dim, size in sizes.items()}
    large = {}
    for name, of in dims.items():
        before = arrays[name]
        kept = before.shape if len(of) == before.ndim else (before.size,)
        shape = tuple(sizes.get(dim, size) for dim, size in zip(of, kept, strict=True))
        large[name] = np.resize(before, shape)
        if name in ("segments", "penalties"):  # rows of (offset, size, ...) that cover n
            large[name][-1, 1] = sizes["n"] - large[name][-1, 0]
        elif name == "indices":
            random = np.random.default_rng(0)
            large[name] = random.permutation(sizes["samples"]).astype(before.dtype)
    return large


def seconds_of(backend: CudaBackend, run: Callable[[], None]) -> float:
    """The device's time for what one call launches: the best of a few measurements."""
    run()  # compiles
    repeats = max(1, min(1000, int(_SECONDS / max(_measure(backend, run, 1), 1e-9))))
    return min(_measure(backend, run, repeats) for _ in range(_REPEATS))


def _measure(backend: CudaBackend, run: Callable[[], None], repeats: int) -> float:
    cuda = backend.cp.cuda
    start, end = cuda.Event(), cuda.Event()
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    milliseconds: float = cuda.get_elapsed_time(start, end)
    return milliseconds / 1000 / repeats


def _copy_speed(backend: CudaBackend, size: int) -> float:
    """GB/s of CUDA's own copy on the device, the bytes counted twice."""
    source, target = (backend.zeros((size,), np.float32) for _ in range(2))
    seconds = seconds_of(backend, partial(backend.cp.copyto, target, source))
    return 2 * int(source.nbytes) / seconds / 1e9


def call_to_time(case: Case) -> Values:
    """The largest of the calls that have the same arrays and flags as the first."""

    def size(call: Values) -> int:
        return sum(array.size for array in case.arrays(call, "float32").values())

    keys = case.calls[0].keys()
    return max((call for call in case.calls if call.keys() == keys), key=size)


def _least_bytes(op: Op, arrays: Mapping[str, Array]) -> int:
    """Bytes of each array that is read, once, plus each that is written, once."""
    return sum(
        arrays[p.name].nbytes * (int(p.read) + int(p.written))
        for p in op.parameters
        if p.name in arrays
    )
