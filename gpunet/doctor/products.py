"""Matrix products: is cuBLAS right, and for which sizes is it faster than gpunet's own kernel?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.products import (
    CUBLAS,
    OPS,
    OWN,
    SIZES,
    Products,
    cache_file,
    key,
    write_measured,
)
from gpunet.backend.precision import FACTOR_PRECISIONS, get_matmul_precision, set_matmul_precision
from gpunet.backend.spec import Array
from gpunet.doctor.ops import examine_family
from gpunet.doctor.report import Report, first_line
from gpunet.doctor.timing import seconds_of
from gpunet.errors import GpunetError, MissingDependency
from gpunet.testing.cases import CASES

_SECONDS = 0.003  # of device time in one measurement


def examine_cublas(report: Report, backend: CudaBackend, quick: bool) -> bool:
    """Test cuBLAS, and run the cases of all products on it; return whether it is to be used."""
    products = backend.device.products
    if products.only == OWN:
        report.line("not used: GPUNET_CUBLAS is 'off'")
        return False
    try:
        cublas = products.start()
    except GpunetError as error:
        products.only = OWN  # training need not say so again
        if isinstance(error, MissingDependency):
            report.line(f"not used: {first_line(error)}")
            report.hint(f"Products run on gpunet's own kernel alone: {first_line(error)}")
        else:
            report.line(f"FAILED: {first_line(error)}")
            report.failure(f"cuBLAS on {backend.name} failed its test: {first_line(error)}")
        return False
    what = "the stand-in for cuBLAS" if backend.name == "emulator" else "cuBLAS"
    version = f"{cublas.version // 10000}.{cublas.version // 100 % 100}.{cublas.version % 100}"
    report.line(f"{what} {version} has passed its test: small products in all forms")
    with kernel_of(products, CUBLAS):
        examine_family(report, backend, "gemm on cuBLAS", [CASES[op] for op in OPS], quick)
    return True


def measure_products(report: Report, backend: CudaBackend) -> None:
    """Time both kernels for each class of sizes, and keep for each op which one is faster."""
    products = backend.device.products
    report.line("Time of cuBLAS divided by that of gpunet's own kernel, in IEEE float32:")
    titles = "".join(f"{op.removeprefix('gemm_'):>14}" for op in OPS)
    report.line(f"{'m':>6}{'n':>6}{'k':>6}{titles}")
    choices, faster = {}, dict.fromkeys(FACTOR_PRECISIONS, 0)
    for m, n, k in itertools.product(SIZES.values(), repeat=3):
        ratios = []
        for op in OPS:
            run = _call(backend, op, m, n, k)
            own = _seconds(backend, run, OWN, "ieee")
            for precision in FACTOR_PRECISIONS:
                ratio = _seconds(backend, run, CUBLAS, precision) / own
                choice = CUBLAS if ratio < 1 else OWN
                choices[key(op, np.dtype(np.float32), precision, m, n, k)] = choice
                faster[precision] += choice == CUBLAS
                ratios += [ratio] if precision == "ieee" else []
        report.line(f"{m:>6}{n:>6}{k:>6}" + "".join(f"{ratio:>14.2f}" for ratio in ratios))
    cases = len(choices) // len(FACTOR_PRECISIONS)
    for precision, count in faster.items():
        report.line(f"cuBLAS is the faster one in {count} of {cases} cases in {precision}")
    identity = products.identity(products.start())
    try:
        write_measured(identity, choices)
        report.line(f"each now runs on the faster one, as {cache_file(identity)} says")
    except OSError as error:
        report.hint(f"What was measured of products could not be kept: {first_line(error)}")
    products.measured = choices


def _call(backend: CudaBackend, op: str, m: int, n: int, k: int) -> Callable[[], None]:
    """A call of an op as a dense layer makes it: the transposes are those of its backward."""

    def array(*shape: int) -> Array:
        return backend.from_numpy(np.random.default_rng(0).standard_normal(shape, np.float32))

    run, c = backend.ops[op], array(m, n)
    if op == "gemm_bias_act":
        return partial(run, c, array(m, k), array(k, n), array(n), activation="relu")
    if op == "gemm_act_backward":
        flags = {"tb": True, "activation": "relu"}
        return partial(run, c, array(m, k), array(n, k), array(m, n), **flags)
    if op == "gemm_column_sum":
        return partial(run, c, array(n), array(k, m), array(k, n), ta=True)
    return partial(run, c, array(m, k), array(k, n))


def _seconds(backend: CudaBackend, run: Callable[[], None], only: str, precision: str) -> float:
    before = get_matmul_precision()
    set_matmul_precision(precision)
    try:
        with kernel_of(backend.device.products, only):
            return seconds_of(backend, run, _SECONDS)
    finally:
        set_matmul_precision(before)


@contextmanager
def kernel_of(products: Products, kernel: str) -> Iterator[None]:
    """Let all products run on one kernel, "own" or "cublas"."""
    before = products.only
    products.only = kernel
    try:
        yield
    finally:
        products.only = before
