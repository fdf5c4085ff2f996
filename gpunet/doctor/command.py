"""The command ``doctor``: its options, its sections, its verdict."""

from __future__ import annotations

import time
from typing import Any

from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.products import OWN
from gpunet.doctor.machine import examine_machine
from gpunet.doctor.ops import examine_ops
from gpunet.doctor.products import examine_cublas, kernel_of, measure_products
from gpunet.doctor.report import Report
from gpunet.doctor.timing import examine_speed
from gpunet.doctor.training import examine_step, examine_training

_DESCRIPTION = """
Is all that this machine's GPU computes right, and how fast is it? Runs every op of gpunet on the
GPU against float64, a training step against NumPy op by op, trains on handwritten digits, and
times every kernel. Without a GPU the kernels run on the emulator and nothing is timed. The exit
status is 0 if nothing is wrong and 1 otherwise.
"""


def add_doctor(commands: Any) -> None:
    """Add the command to those of ``python -m gpunet``."""
    parser = commands.add_parser(
        "doctor",
        help="check and time everything on this machine's GPU, or on the emulator",
        description=_DESCRIPTION,
    )
    parser.add_argument(
        "--backend",
        choices=("auto", "cupy", "emulator"),
        default="auto",
        help="what to examine; auto, the default, takes the GPU if there is one",
    )
    parser.add_argument(
        "--quick", action="store_true", help="a few cases of each op, one epoch, no timings"
    )
    parser.set_defaults(run=lambda chosen: doctor(chosen.backend, quick=chosen.quick))


def doctor(backend: str = "auto", *, quick: bool = False) -> int:
    """Examine this machine, print what is found, and return the exit status.

    Args:
        backend: "cupy", "emulator", or "auto" for the GPU if there is one.
        quick: whether to leave out most cases, and the timings.
    """
    started = time.perf_counter()
    report = Report(lambda text: print(text, flush=True))
    found: CudaBackend | None = None
    with report.section("Machine"):
        found = examine_machine(report, backend)
    if found is not None:
        _examine(report, found, quick)
    seconds = time.perf_counter() - started
    return _verdict(report, found, seconds)


def _examine(report: Report, backend: CudaBackend, quick: bool) -> None:
    with (
        report.section("Every op against its formula in float64"),
        kernel_of(backend.device.products, OWN),
    ):
        examine_ops(report, backend, quick)
    has_cublas = False
    with report.section("Products on cuBLAS"):
        has_cublas = examine_cublas(report, _with_cublas(backend), quick)
    with report.section("One training step against NumPy, op by op"):
        examine_step(report, backend)
    with report.section("Training on handwritten digits"):
        examine_training(report, backend, epochs=1 if quick else 3)
    if backend.name != "cupy" or quick:
        return
    with report.section("Speed of every op on large arrays"):
        examine_speed(report, backend)
    if has_cublas:
        with report.section("Speed of products on either kernel"):
            measure_products(report, backend)


def _with_cublas(backend: CudaBackend) -> CudaBackend:
    """The backend itself, or an emulator with the stand-in for cuBLAS."""
    if backend.name != "emulator":
        return backend
    from gpunet.emulator.cublas import load_cublas

    return CudaBackend(backend.cp, backend.name, load_cublas)


def _verdict(report: Report, backend: CudaBackend | None, seconds: float) -> int:
    """Say what is wrong and what could be better, and the verdict in the last line."""
    for title, sentences in (("What is wrong", report.failures), ("To note", report.hints)):
        if sentences:
            report.title(title)
        for number, sentence in enumerate(sentences, 1):
            report.line(f"{number}. {sentence}")
    where = "before anything ran" if backend is None else f"on {backend.description}"
    count = len(report.failures)
    if count:
        findings = f"{count} finding{'s' * (count > 1)}"
        report.verdict(f"FAILED {where}, with {findings} in {seconds:.0f} s.")
        return 1
    untimed = "" if backend is None or backend.name == "cupy" else " No GPU was examined."
    report.verdict(f"OK. Everything is right {where}, in {seconds:.0f} s.{untimed}")
    return 0
