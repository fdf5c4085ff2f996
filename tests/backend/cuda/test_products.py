"""Who computes a product, and what a product on cuBLAS means for the ops."""

import ctypes
import itertools
import json
import os

import numpy as np
import pytest

import gpunet
import gpunet.backend as backends
from gpunet import Sequential, layers
from gpunet.backend.cuda import CudaBackend, cublas, products
from gpunet.backend.cuda.products import CUBLAS, OWN, SIZES, key, size_class
from gpunet.emulator import cupy, record_launches
from gpunet.errors import ArgumentError, GpunetError, GpunetWarning, MissingDependency
from gpunet.testing import compare
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import guarded_call, label
from gpunet.testing.op_table import describe, ways, worst_error

pytestmark = pytest.mark.emulator
FLAGS = (False, True)


# ------------------------------------------------------------------- the ops, on cuBLAS


@pytest.fixture(scope="module")
def always(cp, library):
    """An emulator whose products all go to the stand-in."""
    backend = CudaBackend(cp, "emulator", lambda: library)
    backend.device.products.only = CUBLAS
    return backend


@pytest.mark.parametrize(
    ("op", "call"),
    [
        pytest.param(op, call, id=f"{op}-{label(call)}")
        for op in products.OPS
        for call in CASES[op].calls
    ],
)
def test_every_case_of_a_product(always, op, call):
    case = CASES[op]
    for way in ways(case, call):
        assert worst_error(always, case, call, way).error <= 1, describe(case, call, way)


@pytest.mark.parametrize("dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.bfloat16)])
@pytest.mark.parametrize("op", products.OPS)
def test_results_of_16_bits_are_rounded_once(always, op, dtype):
    case = CASES[op]
    for call in (case.calls[0], *case.calls[::5], case.calls[-1]):
        for way in ways(case, call, dtype):
            error = worst_error(always, case, call, way, dtype).error
            assert error <= 1, describe(case, call, way)


@pytest.mark.parametrize("op", ["gemm_bias_act", "gemm_act_backward"])
@pytest.mark.parametrize(("activation", "launched"), [("relu", 0), ("linear", 1)])
def test_in_16_bits_nothing_follows_a_product_on_cublas(always, op, activation, launched):
    """The product would have to be rounded before it is finished."""
    call = {"a": (9, 7), "b": (7, 5), "activation": activation}
    call |= {"saved": (9, 5)} if op == "gemm_act_backward" else {}
    arrays = CASES[op].arrays(call, "float16")
    with record_launches() as records:
        guarded_call(always, op, arrays, {"activation": activation})
    assert [r.name for r in records].count("cublasGemmEx") == launched


def test_what_follows_a_product_is_one_launch_more(backend):
    backend.device.products.start()  # its test has launches of its own
    launches = {}
    for only, op in itertools.product((OWN, CUBLAS), products.OPS):
        backend.device.products.only = only
        case, call = CASES[op], CASES[op].calls[0]
        with record_launches() as records:
            guarded_call(backend, op, case.arrays(call, "float32"), case.attributes(call))
        launches[op, only] = [r.name for r in records]
    product = "cublasGemmEx"
    assert launches["gemm", CUBLAS] == [product]
    assert launches["gemm_bias_act", CUBLAS] == [product, "bias_act"]
    assert launches["gemm_act_backward", CUBLAS] == [product, "bias_act_backward"]
    assert launches["gemm_column_sum", CUBLAS] == [product, "bias_act_backward"]
    assert all(len(launches[op, OWN]) == 1 for op in products.OPS)


@pytest.mark.parametrize("shape", [(1, 1), (1000, 1), (999, 33), (333, 132), (2, 9001)])
@pytest.mark.parametrize("accumulate", FLAGS)
def test_column_sums_alone(backend, cp, shape, accumulate):
    from gpunet.backend.cuda.activations import column_sum

    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    sums = cp.array(np.full(shape[1], 0.5, np.float32))
    column_sum(backend.device, sums, cp.array(x), accumulate)
    wanted = x.sum(axis=0, dtype=np.float64) + 0.5 * accumulate
    np.testing.assert_allclose(sums.get(), wanted, rtol=1e-5, atol=1e-5)


def test_a_model_trains_on_cublas_as_on_numpy(backend, monkeypatch):
    monkeypatch.setattr(backends, "_emulator", lambda: backend)
    backend.device.products.only = CUBLAS
    model = Sequential([layers.Dense(9, "tanh", input_dim=7), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).random((11, 7), np.float32)
    comparison = compare(model, "numpy", "emulator", x, np.arange(11) % 3)
    assert comparison.ok, comparison


def test_tf32_is_chosen_by_name(cp, backend, factors):
    a, b, wanted = factors(16, 16, 64)
    backend.device.products.only = CUBLAS
    errors = {}
    for precision in ("ieee", "tf32", "direct"):
        gpunet.set_matmul_precision(precision)
        assert gpunet.get_matmul_precision() == precision
        c = cp.empty((16, 16), np.float32)
        backend.ops["gemm"](c, cp.array(a), cp.array(b))
        errors[precision] = np.abs(c.get() - wanted).max()
    assert errors["ieee"] < 1e-5 < 1e-4 < errors["tf32"] < 1e-1
    assert errors["direct"] == errors["ieee"]
    with pytest.raises(ArgumentError, match="takes 'ieee' or 'direct' or 'tf32', got 'fast'"):
        gpunet.set_matmul_precision("fast")


def test_captured_products_are_those_launched_one_by_one(backend, monkeypatch):
    monkeypatch.setattr(backends, "_emulator", lambda: backend)
    backend.device.products.only = CUBLAS
    x = np.random.default_rng(0).random((24, 7), np.float32)
    trained, names = [], []
    for captures in (True, False):
        if not captures:
            monkeypatch.setattr(CudaBackend, "capture", lambda self, calls: None)
        gpunet.utils.set_random_seed(1)
        model = Sequential([layers.Dense(9, "tanh", input_dim=7), layers.Dense(3, "softmax")])
        model.compile("adam", "sparse_categorical_crossentropy")
        model.to("emulator")
        with record_launches() as records:
            model.fit(x, np.arange(24) % 3, batch_size=4, epochs=2, verbose=0)
        trained.append(b"".join(w.tobytes() for w in model.get_weights()))
        names.append([r.name for r in records])
    assert trained[0] == trained[1]
    assert "graph" in names[0]
    assert "graph" not in names[1]
    assert names[0].count("cublasGemmEx") < names[1].count("cublasGemmEx")


# ------------------------------------------------------------------- who computes what


def test_large_products_go_to_cublas_by_themselves(backend):
    chosen = backend.device.products
    assert chosen.cublas_for("gemm", np.dtype("float32"), 32, 64, 10) is None
    assert chosen.cublas_for("gemm", np.dtype("float32"), 4096, 4096, 4096) is not None
    medium = ("gemm", np.dtype("float32"), 128, 128, 128)
    assert chosen.cublas_for(*medium) is None
    gpunet.set_matmul_precision("tf32")
    assert chosen.cublas_for(*medium) is not None
    assert chosen.cublas_for("gemm", np.dtype("float16"), 128, 128, 128) is not None
    for empty in ((0, 9, 9), (9, 0, 9), (9, 9, 0)):
        chosen.only = CUBLAS
        assert chosen.cublas_for("gemm", np.dtype("float32"), *empty) is None


def test_the_classes_of_sizes():
    assert [size_class(n) for n in (1, 32, 90, 91, 256, 724, 725, 10**6)] == [
        *["small"] * 3,
        *["medium"] * 3,
        *["large"] * 2,
    ]
    assert [size_class(size) for size in SIZES.values()] == list(SIZES)
    name = key("gemm", np.dtype("float32"), "ieee", 10, 200, 3000)
    assert name == "gemm float32 ieee small-medium-large"


def test_what_was_measured_decides(cp, library, backend):
    chosen = backend.device.products
    identity = chosen.identity(chosen.start())
    float32 = np.dtype("float32")
    choices = {
        key("gemm", float32, "ieee", 32, 32, 32): CUBLAS,
        key("gemm", float32, "ieee", 2048, 2048, 2048): OWN,
    }
    products.write_measured(identity, choices)
    again = CudaBackend(cp, "emulator", lambda: library).device.products
    assert again.cublas_for("gemm", float32, 30, 30, 30) is not None
    assert again.cublas_for("gemm", float32, 3000, 3000, 3000) is None
    assert again.cublas_for("gemm_bias_act", float32, 30, 30, 30) is None


IDENTITY = {"device": "A", "multiprocessors": 4, "cublas": 1, "kernel": "x"}
MALFORMED = {
    "empty": "",
    "cut off": '{"identity": {"device": "A"',
    "no object": "[1, 2]",
    "deep": "[" * 100_000,
    "another device": json.dumps({"identity": {**IDENTITY, "device": "B"}, "choices": {"x": OWN}}),
    "no choices": json.dumps({"identity": IDENTITY}),
    "choices of another form": json.dumps({"identity": IDENTITY, "choices": [OWN]}),
    "unknown choice": json.dumps({"identity": IDENTITY, "choices": {"x": "fast", "y": [1]}}),
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_cache_is_ignored(monkeypatch, tmp_path, text):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    products.write_measured(IDENTITY, {"x": OWN, "y": CUBLAS})
    assert products.read_measured(IDENTITY) == {"x": OWN, "y": CUBLAS}
    products.cache_file(IDENTITY).write_text(MALFORMED[text])
    assert products.read_measured(IDENTITY) == {}
    products.cache_file(IDENTITY).write_bytes(b"\xff\xfe")
    assert products.read_measured(IDENTITY) == {}


def test_the_cache_changes_at_once_or_not_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = products.write_measured(IDENTITY, {"x": OWN})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        products.write_measured(IDENTITY, {"x": CUBLAS})
    assert products.read_measured(IDENTITY) == {"x": OWN}
    assert [path.name for path in file.parent.iterdir()] == [file.name]


# ------------------------------------------------------------------- what if it does not work


class Spoiled:
    """The stand-in with one function replaced by a wrong one."""

    def __init__(self, library, name, wrong):
        self._library, self._name, self._wrong = library, name, wrong

    def __getattr__(self, name):
        function = getattr(self._library, name)
        if name != self._name:
            return function
        return lambda *args: self._wrong(function, list(args))


def ignoring_beta(gemm, args):
    args[-6] = ctypes.addressof(ZERO)
    return gemm(*args)


def always_adding(gemm, args):
    args[-6] = ctypes.addressof(ONE)
    return gemm(*args)


def doing_nothing(gemm, args):
    return 0


def swapping(gemm, args):
    args[1], args[2] = args[2], args[1]
    return gemm(*args)


def is_capturing():
    return cupy.cuda.get_current_stream().is_capturing()


def refusing_in_a_capture(gemm, args):
    return 15 if is_capturing() else gemm(*args)


def not_captured(gemm, args):
    return 0 if is_capturing() else gemm(*args)


ZERO, ONE = ctypes.c_float(0), ctypes.c_float(1)
SPOILED = {
    "ignores beta": ("cublasGemmEx", ignoring_beta, "accumulate=True is off by"),
    "reads c without need": ("cublasGemmEx", always_adding, "is off by nan"),
    "does nothing": ("cublasGemmEx", doing_nothing, "is off by nan"),
    "does nothing to stacks": ("cublasGemmStridedBatchedEx", doing_nothing, r"\(3, 1, 1\)"),
    "swaps the operations": ("cublasGemmEx", swapping, "CUBLAS_STATUS_INVALID_VALUE"),
    "refuses in a capture": ("cublasGemmEx", refusing_in_a_capture, "NOT_SUPPORTED"),
    "is not captured": ("cublasGemmEx", not_captured, "wrong in a captured graph"),
    "makes no handle": ("cublasCreate_v2", lambda *_: 1, "cublasCreate: CUBLAS_STATUS_NOT_INIT"),
    "takes no stream": ("cublasSetStream_v2", lambda *_: 1, "refused cublasSetStream"),
    "takes no workspace": ("cublasSetWorkspace_v2", lambda *_: 7, "refused cublasSetWorkspace"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_cublas_that_fails_its_test_is_said_once_and_not_used(cp, library, how, factors):
    name, wrong, words = SPOILED[how]
    backend = CudaBackend(cp, "emulator", lambda: Spoiled(library, name, wrong))
    a, b, wanted = factors(3, 4, 5)
    c = cp.empty((3, 4), np.float32)
    with pytest.warns(GpunetWarning, match=f"cuBLAS is not used, .*{words}") as said:
        backend.ops["gemm"](c, cp.array(a), cp.array(b))
    assert len(said) == 1
    assert "\n" not in str(said[0].message)
    np.testing.assert_allclose(c.get(), wanted, rtol=1e-5)
    backend.ops["gemm"](c, cp.array(a), cp.array(b))  # a second warning would be an error
    assert backend.device.products.only == OWN


@pytest.mark.parametrize(
    "error", [MissingDependency("no libcublas was found."), MemoryError("no libcublas was\nfound")]
)
def test_without_a_library_gpunet_computes_itself(cp, error, factors):
    def absent():
        raise error

    backend = CudaBackend(cp, "emulator", absent)
    a, b, wanted = factors(3, 4, 5)
    c = cp.empty((3, 4), np.float32)
    with pytest.warns(GpunetWarning, match="gpunet's own kernel: no libcublas was"):
        backend.ops["gemm"](c, cp.array(a), cp.array(b))
    np.testing.assert_allclose(c.get(), wanted, rtol=1e-5)


def test_the_emulator_does_without_unless_asked(monkeypatch):
    monkeypatch.delenv("GPUNET_CUBLAS", raising=False)
    fresh = backends._emulator.__wrapped__
    assert fresh().device.products.only == OWN
    with pytest.raises(GpunetError, match="does without cuBLAS"):
        fresh().device.products.start()
    monkeypatch.setenv("GPUNET_CUBLAS", "on")
    assert fresh().device.products.only is None
    monkeypatch.setenv("GPUNET_CUBLAS", "maybe")
    with pytest.raises(ArgumentError, match="GPUNET_CUBLAS must be 'on' or 'off', got 'maybe'"):
        fresh()
    monkeypatch.setenv("GPUNET_CUBLAS", "off")
    assert backends._cublas_of("cupy") is None
    monkeypatch.delenv("GPUNET_CUBLAS")
    assert backends._cublas_of("cupy") is cublas.load_cublas
