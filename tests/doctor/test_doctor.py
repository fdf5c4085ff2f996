"""The doctor finds nothing where nothing is wrong, and names what is broken on purpose."""

import functools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gpunet
import gpunet.backend as backends
from gpunet.__main__ import main
from gpunet.backend import backend_named
from gpunet.backend.cuda import products
from gpunet.doctor import command, machine, ops, timing
from gpunet.doctor import products as doctors_products
from gpunet.emulator import record_launches
from gpunet.errors import GpunetError, MissingDependency
from gpunet.testing.cases import CASES
from gpunet.testing.op_table import Way, ways, worst_error

pytestmark = pytest.mark.emulator
QUICK = ["doctor", "--backend", "emulator", "--quick"]


def verdict(capsys):
    """All that was printed, and the last line."""
    printed = capsys.readouterr().out
    return printed, printed.splitlines()[-1]


def findings(printed):
    """The numbered sentences of what is wrong."""
    _, _, rest = printed.partition("What is wrong")
    return [line for line in rest.splitlines() if line.strip()[:1].isdigit()]


def skip(monkeypatch, *sections):
    for section in sections:
        monkeypatch.setattr(command, section, lambda *_, **__: None)


@pytest.fixture
def only_ops(monkeypatch):
    skip(monkeypatch, "examine_cublas", "examine_step", "examine_training")


@pytest.fixture
def only_training(monkeypatch):
    skip(monkeypatch, "examine_cublas", "examine_ops")


@pytest.fixture
def only_machine(monkeypatch):
    monkeypatch.setattr(command, "_examine", lambda *_: None)


@pytest.fixture
def broken(monkeypatch):
    """A function that replaces an op of the emulator by a wrong one."""

    def break_op(name, wrong):
        functions = backend_named("emulator").ops
        monkeypatch.setitem(functions, name, functools.partial(wrong, functions[name]))

    return break_op


@pytest.mark.parametrize("quick", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_sound_device(capsys, quick):
    assert main(QUICK if quick else QUICK[:-1]) == 0
    printed, last = verdict(capsys)
    assert last.startswith("Verdict: OK. Everything is right on gpunet emulator")
    assert last.endswith("No GPU was examined.")
    assert "What is wrong" not in printed
    for family in ("memory", "activations", "gemm", "losses", "optimizers"):
        assert f"  {family} " in printed
    assert "the stand-in for cuBLAS 13.0.0 has passed its test" in printed
    assert "numpy and emulator agree in" in printed
    assert "the same weights, bit for bit" in printed
    assert "GB/s" not in printed  # times of the emulator say nothing


@pytest.mark.gpu
def test_a_real_gpu(capsys):
    assert main(["doctor", "--backend", "cupy"]) == 0
    assert "GFLOP/s" in verdict(capsys)[0]


def test_a_wrong_op_is_named(capsys, broken, only_ops):
    def wrong(softmax, y, x):
        softmax(y, x)
        y += 1e-3

    broken("log_softmax", wrong)
    assert main(QUICK) == 1
    printed, last = verdict(capsys)
    assert last.startswith("Verdict: FAILED on gpunet emulator")
    (finding,) = findings(printed)
    assert (
        "Op log_softmax in float32 on emulator is wrong in 3 of 3 runs, first in log_softmax(1x1)"
        in finding
    )
    assert "WRONG: log_softmax" in printed


def test_an_op_that_raises_is_named_and_the_rest_goes_on(capsys, broken):
    def wrong(*_, **__):
        raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED\nand more")

    broken("argmax", wrong)
    assert main(QUICK) == 1
    printed, _ = verdict(capsys)
    (finding,) = findings(printed)
    assert finding.endswith("in float32 on emulator raised RuntimeError: CUDA_ERROR_LAUNCH_FAILED")
    assert "digits are read correctly" in printed


def test_a_write_outside_of_an_array_is_found(capsys, broken, only_ops):
    def wrong(argmax, y, x):
        argmax(y, x)
        x += 1

    broken("argmax", wrong)
    assert main(QUICK) == 1
    assert "writes into or around its input 'x'" in verdict(capsys)[0]


def test_training_that_differs_is_found(capsys, broken, only_training):
    def wrong(product, c, *others, **flags):
        product(c, *others, **flags)
        c *= np.float32(1.01)

    broken("gemm_bias_act", wrong)
    assert main(QUICK) == 1
    printed, _ = verdict(capsys)
    found = "\n".join(findings(printed))
    assert "numpy and emulator differ first at op" in found
    assert "(dense: gemm_bias_act), c" in found
    assert "the losses on emulator and on NumPy differ by up to" in found


def test_training_that_is_never_the_same_is_found(capsys, broken, only_training):
    calls = []

    def wrong(adam, weights, *others, **flags):
        adam(weights, *others, **flags)
        if weights.size < 70000:  # not in the table of cases
            calls.append(0)
            weights += np.float32(1e-9 * len(calls))

    broken("adam", wrong)
    assert main(QUICK) == 1
    (finding,) = findings(verdict(capsys)[0])
    assert "The same training on emulator gave other weights the second time" in finding


def test_a_section_that_ends_early_is_a_finding(capsys, monkeypatch):
    skip(monkeypatch, "examine_ops", "examine_cublas")
    monkeypatch.setattr(command, "examine_step", lambda *_: [][1])
    assert main(QUICK) == 1
    printed, _ = verdict(capsys)
    (finding,) = findings(printed)
    assert "op by op' ended early with IndexError: list index out of range" in finding
    assert "digits are read correctly" in printed


# ------------------------------------------------------------------- machines of other people


def no_cupy(monkeypatch, problem):
    monkeypatch.setattr(backends, "_cupy", lambda: (None, problem))
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_without_a_gpu_the_emulator_is_examined(capsys, monkeypatch, tmp_path, only_machine):
    no_cupy(monkeypatch, "CuPy is not installed; install it.")
    monkeypatch.setattr(machine, "_DRIVER", tmp_path / "none")
    assert main(["doctor", "--quick"]) == 0
    printed, _ = verdict(capsys)
    assert "GPU       not used: CuPy is not installed; install it." in printed
    assert "To note" not in printed


def test_a_driver_without_cupy_is_said(capsys, monkeypatch, tmp_path, only_machine):
    no_cupy(monkeypatch, "CuPy is not installed; install it.")
    driver = tmp_path / "version"
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06\nGCC version:")
    monkeypatch.setattr(machine, "_DRIVER", driver)
    assert main(["doctor", "--quick"]) == 0
    printed, last = verdict(capsys)
    assert "driver    NVIDIA UNIX x86_64 Kernel Module  580.65.06" in printed
    assert "1. This machine has an NVIDIA driver, but its GPU was not used: CuPy" in printed
    assert last.endswith("No GPU was examined.")


def test_a_gpu_that_was_asked_for_must_be_there(capsys, monkeypatch):
    no_cupy(monkeypatch, "there is no CUDA device.")
    assert main(["doctor", "--backend", "cupy"]) == 1
    printed, last = verdict(capsys)
    assert findings(printed) == ["  1. The GPU cannot be used: there is no CUDA device."]
    assert last.startswith("Verdict: FAILED before anything ran, with 1 finding in ")


def test_neither_gpu_nor_compiler(capsys, monkeypatch, tmp_path):
    no_cupy(monkeypatch, "there is no CUDA device.")
    monkeypatch.setattr(backends, "_emulator", backends._emulator.__wrapped__)
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setenv("GPUNET_EMULATOR_CACHE", str(tmp_path))
    assert main(["doctor"]) == 1
    (finding,) = findings(verdict(capsys)[0])
    assert "There is neither a GPU nor the emulator: the emulator needs a C" in finding


@pytest.fixture
def lookalike(monkeypatch):
    """A CuPy with a GPU: the emulator's, with what only the doctor asks for."""
    from gpunet.emulator import cupy

    monkeypatch.setitem(sys.modules, "cupy", cupy)
    nvrtc = SimpleNamespace(getVersion=lambda: (13, 0))
    monkeypatch.setattr(cupy.cuda, "nvrtc", nvrtc, raising=False)
    monkeypatch.setattr(backends, "_cupy", functools.cache(backends._cupy.__wrapped__))
    return cupy


@pytest.fixture
def small(monkeypatch, tmp_path):
    """What is special to a GPU alone, in sizes for the emulator, and a cache of the test's own."""
    skip(monkeypatch, "examine_ops", "examine_step", "examine_training", "examine_speed")
    sizes = {"small": 2, "medium": 3, "large": 5}
    monkeypatch.setattr(products, "SIZES", sizes)
    monkeypatch.setattr(doctors_products, "SIZES", sizes)
    monkeypatch.setattr(doctors_products, "seconds_of", lambda *_: 1.0)
    monkeypatch.setattr(ops, "_QUICK_CALLS", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def stand_in(monkeypatch):
    from gpunet.emulator.cublas import load_cublas

    monkeypatch.setattr(backends, "_cublas_of", lambda name: load_cublas)


def test_a_gpu_is_timed_too(capsys, monkeypatch, lookalike, small, stand_in):
    monkeypatch.setattr(timing, "_SECONDS", 1e-6)
    monkeypatch.setattr(timing, "_REPEATS", 1)
    fast = functools.partial(timing.examine_speed, shrink=2**14)
    monkeypatch.setattr(command, "examine_speed", fast)
    assert main(["doctor", "--backend", "cupy"]) == 0
    printed, last = verdict(capsys)
    assert "NVRTC     13.0" in printed
    assert "CUDA      12.9 of CuPy's runtime, 12.9 is the driver's newest" in printed
    assert "compute capability 8.0, 4 multiprocessors, 16.0 GiB" in printed
    for op in CASES:
        assert f"\n  {op} " in printed
    assert "cuBLAS 13.0.0 has passed its test" in printed
    assert "No GPU was examined" not in last


def test_times_are_those_of_a_graph(monkeypatch):
    """Else the time of small products would be Python's."""
    monkeypatch.setattr(timing, "_REPEATS", 3)
    backend = backend_named("emulator")
    y = backend.zeros((4,), np.float32)
    with record_launches() as launches:
        timing.seconds_of(backend, functools.partial(backend.ops["fill"], y, value=1.0), 1.0)
    assert [launch.name == "graph" for launch in launches] == [False] * 2 + [True] * 4
    assert launches[-1].grid[0] > 1


@pytest.mark.parametrize(("cache", "elements"), [(4 << 20, 2**24), (50 << 20, 2**25)])
def test_matrices_are_larger_than_the_cache(monkeypatch, cache, elements):
    backend = backend_named("emulator")
    properties = backend.cp.cuda.runtime.getDeviceProperties(0) | {"l2CacheSize": cache}
    monkeypatch.setattr(backend.cp.cuda.runtime, "getDeviceProperties", lambda _: properties)
    assert timing._elements(backend) == elements


def test_products_run_on_the_kernel_that_was_faster(
    capsys, monkeypatch, lookalike, small, stand_in
):
    """A clock by which cuBLAS is faster where n is large, and with tf32 everywhere."""

    def clock(backend, run, seconds):
        (_, c, *_), cublas = run.args, backend.device.products.only == products.CUBLAS
        fast = c.shape[1] == 5 or gpunet.get_matmul_precision() == "tf32"
        return 1.0 if cublas and fast else 2.0 if not cublas else 3.0

    monkeypatch.setattr(doctors_products, "seconds_of", clock)
    assert main(["doctor", "--backend", "cupy"]) == 0
    printed, _ = verdict(capsys)
    assert "cuBLAS is the faster one in 36 of 108 cases in ieee" in printed
    assert "cuBLAS is the faster one in 108 of 108 cases in tf32" in printed
    assert f"{2:>6}{3:>6}{5:>6}{1.5:>14.2f}" in printed
    assert f"{2:>6}{5:>6}{3:>6}{0.5:>14.2f}" in printed
    for made in (backend_named("cupy"), backends._cupy.__wrapped__()[0]):  # and in the next process
        chosen, float32 = made.device.products, np.dtype("float32")
        assert chosen.cublas_for("gemm", float32, 2, 5, 2) is not None
        assert chosen.cublas_for("gemm", float32, 2, 2, 5) is None
        assert len(chosen.measured) == 216
    assert gpunet.get_matmul_precision() == "ieee"
    assert chosen.only is None


def test_a_cache_that_cannot_be_written_is_no_failure(
    capsys, monkeypatch, lookalike, small, stand_in, tmp_path
):
    (tmp_path / "cache").touch()  # a file where the folder should be
    assert main(["doctor", "--backend", "cupy"]) == 0
    assert "1. What was measured of products could not be kept: [Errno" in verdict(capsys)[0]


def test_a_missing_cublas_is_said(capsys, monkeypatch, lookalike, small):
    def absent():
        raise MissingDependency("no libcublas was found.")

    monkeypatch.setattr(backends, "_cublas_of", lambda name: absent)
    assert main(["doctor", "--backend", "cupy"]) == 0
    printed, _ = verdict(capsys)
    assert "1. Products run on gpunet's own kernel alone: no libcublas was found." in printed
    assert "Speed of products" not in printed


def test_a_cublas_that_is_switched_off_is_no_failure(capsys, monkeypatch, lookalike, small):
    monkeypatch.setenv("GPUNET_CUBLAS", "off")
    assert main(["doctor", "--backend", "cupy"]) == 0
    assert "not used: GPUNET_CUBLAS is 'off'" in verdict(capsys)[0]


def test_a_wrong_cublas_is_a_failure(capsys, monkeypatch, lookalike, small):
    def wrong():
        raise GpunetError("its product of (1, 1) and (1, 1) is off by 1.0.")

    monkeypatch.setattr(backends, "_cublas_of", lambda name: wrong)
    assert main(["doctor", "--backend", "cupy"]) == 1
    (finding,) = findings(verdict(capsys)[0])
    assert "cuBLAS on cupy failed its test: its product of (1, 1) and (1, 1) is off" in finding


def test_a_gpu_whose_kernels_do_not_run_is_a_failure(capsys, monkeypatch, lookalike):
    def refuse(**_):
        raise RuntimeError("nvrtc: error: invalid value for --gpu-architecture")

    monkeypatch.setattr(lookalike, "RawModule", refuse)
    assert main(["doctor"]) == 1
    printed, _ = verdict(capsys)
    (finding,) = findings(printed)
    assert "The GPU cannot be used: a first kernel did not run" in finding
    assert "Every op" not in printed


def test_versions_that_cannot_be_read_stop_nothing(capsys, lookalike, monkeypatch, only_machine):
    monkeypatch.delattr(lookalike.cuda, "nvrtc")
    assert main(["doctor", "--quick"]) == 0
    assert "NVRTC     unknown (" in verdict(capsys)[0]


# --------------------------------------------------------------------------- parts of it


def test_every_way_of_a_call():
    calls = {case.op: case.calls[1] for case in CASES.values()}
    words = {op: [way.words for way in ways(CASES[op], call)] for op, call in calls.items()}
    assert words["softmax"] == ["", "at odd addresses", "with y in place of x"]
    assert words["gemm"] == ["", "at odd addresses", "with accumulate=True"]


@pytest.mark.parametrize("planted", [np.nan, np.inf, 1.0])
def test_the_worst_element_is_found(broken, planted):
    def wrong(add, y, a, b):
        add(y, a, b)
        y[1, 2, 3] += planted

    broken("add", wrong)
    emulator = backend_named("emulator")
    worst = worst_error(emulator, CASES["add"], CASES["add"].calls[0], Way())
    assert worst.index == (1, 2, 3)
    assert worst.error > 1


def test_unknown_commands_and_options():
    for arguments in ([], ["doktor"], ["doctor", "--backend", "numpy"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2


@pytest.mark.parametrize("first", ["import gpunet.doctor.ops", "import numpy"])
def test_bfloat16_is_known_in_a_fresh_process(first):
    """Not only because another test has imported ml_dtypes."""
    pytest.importorskip("ml_dtypes")
    code = f"{first}\nfrom gpunet.doctor.ops import _numpy_knows_bfloat16 as knows\n"
    code += "import numpy\nassert knows() and numpy.dtype('bfloat16').itemsize == 2"
    subprocess.run([sys.executable, "-c", code], check=True)
