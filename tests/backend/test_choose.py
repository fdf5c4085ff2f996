"""The choice of the backend, with machines that have and lack what CuPy needs."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpunet.backend as backends
from gpunet.backend import (
    backend_named,
    backend_of,
    cupy_problem,
    get_backend,
    numba_problem,
    set_backend,
)
from gpunet.errors import ArgumentError, BackendUnavailable


@pytest.fixture(autouse=True)
def _nothing_found_out_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_chosen", None)
    monkeypatch.delenv("GPUNET_BACKEND", raising=False)
    # Without the cache, which keeps what was found out about the real machine.
    monkeypatch.setattr(backends, "_cupy", backends._cupy.__wrapped__)
    monkeypatch.setattr(backends, "_numba", lambda: (None, "not in this test."))


REAL_NUMBA = backends._numba


class FakeArray:
    """A device array that only knows the host."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.host = np.zeros(shape, dtype)
        self.dtype, self.size, self.shape = self.host.dtype, self.host.size, self.host.shape
        self.data = SimpleNamespace(ptr=0)

    def view(self, dtype: Any) -> "FakeArray":
        return self

    def get(self) -> np.ndarray:
        return self.host


def fake_cupy(
    devices: Any = 1, compiles: Any = None, memory: Any = None, driver: int = 0
) -> ModuleType:
    """CuPy as seen by the test of usability; the others may be exceptions.

    ``driver`` is the newest CUDA that the driver knows, 12040 for 12.4; 0 if there is none.
    """

    def count() -> int:
        if isinstance(devices, Exception):
            raise devices
        return int(devices)

    class RawModule:
        def __init__(self, code: str, options: tuple[str, ...]) -> None:
            pass

        def get_function(self, name: str) -> Any:
            if compiles is not None:
                raise compiles
            return lambda grid, block, args, shared_mem: None

    def empty(shape: tuple[int, ...], dtype: Any) -> FakeArray:
        if memory is not None:
            raise memory
        return FakeArray(shape, dtype)

    module: Any = ModuleType("cupy")
    module.ndarray, module.RawModule = FakeArray, RawModule
    module.empty = module.zeros = empty
    runtime = SimpleNamespace(
        getDeviceCount=count,
        driverGetVersion=lambda: driver,
        runtimeGetVersion=lambda: 13020,
        getDevice=lambda: 0,
        getDeviceProperties=lambda device: {
            "name": b"Fake GPU",
            "multiProcessorCount": 2,
            "sharedMemPerBlockOptin": 101376,
        },
    )
    module.cuda = SimpleNamespace(runtime=runtime)
    return module


def test_auto_takes_cupy_where_a_kernel_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    assert cupy_problem() == ""
    assert get_backend().name == "cupy"
    assert "Fake GPU" in repr(get_backend())


PROBLEMS = {
    "no CuPy": (None, r"CuPy is not installed .*pip install 'gpunet\[cuda12\]'.*cuda13"),
    "no driver": (
        fake_cupy(RuntimeError("no CUDA driver\nmore")),
        r"no NVIDIA driver was found \(no CUDA driver\); see what `nvidia-smi`",
    ),
    "old driver": (
        fake_cupy(RuntimeError("cudaErrorInsufficientDriver"), driver=12040),
        r"too old for this CuPy: it knows CUDA 12, not 13 \(cudaErrorInsufficientDriver\); update",
    ),
    "hidden devices": (
        fake_cupy(RuntimeError("cudaErrorNoDevice"), driver=13000),
        r"driver shows no device \(cudaErrorNoDevice\); .*CUDA_VISIBLE_DEVICES",
    ),
    "full memory": (
        fake_cupy(memory=MemoryError("Out of memory: 4 bytes")),
        r"the GPU does not work \(Out of memory: 4 bytes\); see what `nvidia-smi` says\.$",
    ),
    "no device": (fake_cupy(0), "there is no CUDA device; use the backend 'numpy'"),
    "no NVRTC": (
        fake_cupy(compiles=RuntimeError("libnvrtc.so not found")),
        r"first kernel did not run .*libnvrtc.so not found.*pip install 'gpunet\[cuda12\]'",
    ),
}


@pytest.mark.parametrize(("module", "message"), PROBLEMS.values(), ids=PROBLEMS)
def test_what_is_wrong_with_cupy(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType | None, message: str
) -> None:
    monkeypatch.setitem(sys.modules, "cupy", module)  # None makes the import fail
    with pytest.raises(
        BackendUnavailable, match=f"^the backend 'cupy' cannot be used: .*{message}"
    ):
        set_backend("cupy")
    assert get_backend().name == "numpy"  # "auto" falls back, and knows why
    assert cupy_problem()


def test_a_broken_installation_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise OSError("libcublas.so.12: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"importing CuPy failed .*libcublas"):
        set_backend("cupy")


def test_no_silent_fallback_after_set_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setenv("GPUNET_BACKEND", "cupy")
    with pytest.raises(BackendUnavailable):
        get_backend()


def test_the_environment_is_read_late_and_set_backend_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    monkeypatch.setenv("GPUNET_BACKEND", "numpy")
    assert get_backend().name == "numpy"
    monkeypatch.setenv("GPUNET_BACKEND", "cupy")
    assert get_backend().name == "cupy"
    set_backend("numpy")
    assert get_backend().name == "numpy"
    set_backend("auto")
    assert get_backend().name == "cupy"


def test_a_failed_choice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    set_backend("numpy")
    with pytest.raises(BackendUnavailable):
        set_backend("cupy")
    assert get_backend().name == "numpy"


def test_numba_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_numba", REAL_NUMBA.__wrapped__)
    monkeypatch.setitem(sys.modules, "numba", None)  # makes the import fail
    problem = r"numba is not installed; `pip install 'gpunet\[fast\]'` installs it\.$"
    with pytest.raises(BackendUnavailable, match=f"^the backend 'numba' cannot be used: {problem}"):
        set_backend("numba")
    assert get_backend().name == "numpy"


def test_a_numba_that_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ImportError("Numba needs NumPy 2.4 or less")

    monkeypatch.setattr(backends, "_numba", REAL_NUMBA.__wrapped__)
    monkeypatch.setattr("importlib.import_module", broken)
    assert "importing numba failed (Numba needs NumPy 2.4 or less)" in numba_problem()
    assert get_backend().name == "numpy"


@pytest.mark.numba
def test_auto_takes_numba_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(backends, "_numba", REAL_NUMBA)
    backend = get_backend()
    assert backend.name == "numba"
    assert " and numba " in repr(backend)
    set_backend("numpy")
    assert get_backend().name == "numpy"


@pytest.mark.parametrize(
    ("name", "hint"), [("cuda", "."), ("Numpy", "'numpy'"), ("cuppy", "'cupy'")]
)
def test_unknown_names_get_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(
        ArgumentError, match=f"auto, numpy, numba, cupy, emulator, got '{name}'.*{hint}"
    ):
        set_backend(name)


def test_an_instance_for_each_name() -> None:
    assert backend_named("numpy") is backend_named("numpy")


def test_the_owner_of_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    assert backend_of(np.zeros(3)).name == "numpy"
    assert backend_of(FakeArray((3,), np.float32)).name == "cupy"
    with pytest.raises(ArgumentError, match="got list"):
        backend_of([1.0])


@pytest.mark.emulator
def test_the_emulator_is_one_instance_and_owns_its_arrays() -> None:
    emulator = backend_named("emulator")
    assert emulator is backend_named("emulator")
    assert backend_of(emulator.zeros((2,), np.float32)) is emulator


def test_the_emulator_needs_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backends, "_emulator", backends._emulator.__wrapped__)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("GPUNET_EMULATOR_CACHE", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="the emulator needs a C"):
        set_backend("emulator")


def test_importing_does_not_import_what_may_be_missing() -> None:
    code = (
        "import sys, gpunet, gpunet.backend; from gpunet.backend.cuda import CudaBackend;"
        "rare = ('cupy', 'numba', 'gpunet.emulator');"
        "print([m for m in sys.modules if m.startswith(rare)])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
