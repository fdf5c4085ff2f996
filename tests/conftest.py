"""Options, markers and fixtures that all tests share."""

from __future__ import annotations

import functools
import os
import shutil

import pytest

import gpunet.backend
import gpunet.backend.precision
import gpunet.random
from gpunet.errors import MissingDependency
from gpunet.inspection import Toolkit

# Models run on NumPy, whatever else is installed; tests of other backends name them.
os.environ.setdefault("GPUNET_BACKEND", "numpy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="run the tests marked slow, too")


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("slow") and not item.config.getoption("--long"):
        pytest.skip("slow: run with --long")
    if item.get_closest_marker("emulator") and not shutil.which(os.environ.get("CXX") or "g++"):
        problem = "the emulator needs g++ (apt-get install g++) or a C++ compiler in $CXX"
        # A CI run that tests no kernel would be green for nothing.
        if os.environ.get("CI") == "true":
            pytest.fail(problem, pytrace=False)
        pytest.skip(problem)
    if item.get_closest_marker("bfloat16"):
        pytest.importorskip("ml_dtypes", reason="bfloat16 needs pip install ml_dtypes")
    if item.get_closest_marker("numba"):
        pytest.importorskip("numba", reason="needs pip install gpunet[fast]")
    if item.get_closest_marker("nvrtc") and (problem := why_no_nvrtc()):
        pytest.skip(problem)
    if item.get_closest_marker("gpu") and (problem := why_no_gpu()):
        pytest.skip(f"no usable CuPy: {problem}")


@functools.cache
def why_no_nvrtc() -> str:
    """Why kernels cannot be compiled for GPUs here; empty when they can."""
    try:
        Toolkit()
    except MissingDependency as error:
        return str(error)
    return ""


@functools.cache
def why_no_gpu() -> str:
    """Why CuPy cannot compute here; empty when it can.

    Asked of CuPy itself: a gpunet whose kernels fail must not skip the tests that would show it.
    """
    try:
        import cupy

        return "" if float(cupy.ones(2).sum()) == 2.0 else "a sum came out wrong"
    except (ImportError, OSError, RuntimeError, Warning) as error:
        return str(error).split("\n", 1)[0]


@pytest.fixture(autouse=True)
def _fresh_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test draws the same numbers, alone or among others, and leaves no choice behind."""
    for module, name in (
        (gpunet.random, "_seed"),
        (gpunet.random, "_stream_numbers"),
        (gpunet.backend, "_chosen"),
        (gpunet.backend.precision, "_precision"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back after the test
    gpunet.random.set_seed(1)
