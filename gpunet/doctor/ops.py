"""Every op of the contract on the device, against its reference in float64."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import islice

from gpunet.backend.base import Backend
from gpunet.backend.contract import OPS
from gpunet.backend.spec import HALF
from gpunet.doctor.report import Report, first_line
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import Case, Values
from gpunet.testing.op_table import Way, describe, ways, worst_error

_QUICK_CALLS = 3  # of each op: the plainest, without odd addresses and the like


def examine_ops(report: Report, backend: Backend, quick: bool) -> None:
    """Run the table of op cases, a line for each family, and one for each type of 16 bits."""
    families: dict[str, list[Case]] = {}
    for case in CASES.values():
        families.setdefault(OPS[case.op].family, []).append(case)
    report.line(f"{'family':<18}{'ops':>4}{'runs':>7}   largest error, of what is allowed")
    for family, cases in families.items():
        examine_family(report, backend, family, cases, quick)
    for dtype in () if quick else HALF:
        if dtype == "bfloat16" and not _numpy_knows_bfloat16():
            report.line("bfloat16 needs `pip install ml_dtypes`")
        else:
            examine_family(report, backend, f"all in {dtype}", CASES.values(), quick, dtype)


def _numpy_knows_bfloat16() -> bool:
    """Whether ml_dtypes is there; NumPy knows the name once it is imported."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        return False
    return True


def examine_family(
    report: Report,
    backend: Backend,
    name: str,
    cases: Collection[Case],
    quick: bool,
    dtype: str = "float32",
) -> None:
    """Run the cases of some ops, and say in a line how it went."""
    runs, largest, wrong = 0, 0.0, []
    for case in cases:
        count, error = _examine_op(report, backend, case, quick, dtype)
        runs, largest = runs + count, max(largest, error)
        if not error <= 1:
            wrong.append(case.op)
    verdict = f"WRONG: {', '.join(wrong)}" if wrong else "ok"
    share = f"{largest:.0%}" if largest < 10 else f"{largest:.0e} times"
    report.line(f"{name:<18}{len(cases):>4}{runs:>7}   {share:>10}   {verdict}")


def _examine_op(
    report: Report, backend: Backend, case: Case, quick: bool, dtype: str
) -> tuple[int, float]:
    """How often an op ran, and its largest error in units of what is allowed."""
    runs, wrong, largest, first = 0, 0, 0.0, ""
    where = f"in {dtype} on {backend.name}"
    for call, way in _runs(case, quick, dtype):
        runs += 1
        try:
            worst = worst_error(backend, case, call, way, dtype)
        except Exception as error:  # noqa: BLE001 - CuPy, NVRTC and the driver have their own
            what = f"{type(error).__name__}: {first_line(error)}"
            report.failure(f"Op {describe(case, call, way)} {where} raised {what}")
            return runs, float("inf")  # after a fault on the device all further runs may fail
        largest = max(largest, worst.error)
        if worst.error > 1:
            wrong += 1
            first = first or (
                f"{describe(case, call, way)}: {worst.array}{list(worst.index)} "
                f"is {worst.actual:.9g}, expected {worst.expected:.9g}"
            )
    if wrong:
        report.failure(
            f"Op {case.op} {where} is wrong in {wrong} of {runs} runs, first in {first}."
        )
    return runs, largest


def _runs(case: Case, quick: bool, dtype: str) -> Iterator[tuple[Values, Way]]:
    if quick:
        yield from ((call, Way()) for call in islice(case.calls, _QUICK_CALLS))
    elif dtype != "float32":
        yield from ((call, Way()) for call in case.calls)
    else:
        yield from ((call, way) for call in case.calls for way in ways(case, call))
