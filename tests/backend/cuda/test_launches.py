"""What is special to the kernels and their launches, on the emulator.

The ordinary cases of every op come from gpunet.testing.cases; here are the paths that its shapes do
not reach: rows that do not fit on chip, each tile of a product, many blocks, odd addresses.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

from gpunet.backend import backend_named
from gpunet.backend.cuda import CudaBackend
from gpunet.backend.cuda.products import CUBLAS
from gpunet.backend.spec import OPS
from gpunet.errors import DtypeError, UsageError
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import (
    Maker,
    classes,
    given,
    guarded_call,
    segment_table,
    segments,
    shares,
)
from gpunet.testing.op_table import Way, worst_error

pytestmark = pytest.mark.emulator

WIDE = 17413  # more than 64 KB of float32
WIDE_PACKED = 17412
WIDE_IN_HALVES = 34816  # more than 64 KB of float16, in whole packs
TOTALS = {"totals": given([3.0, 4.0]), "accuracy_totals": given([3.0, 4.0])}


@pytest.fixture(scope="module")
def emulator() -> CudaBackend:
    backend = backend_named("emulator")
    assert isinstance(backend, CudaBackend)
    return backend


@pytest.fixture
def device_of(emulator: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that makes the device seem to have so many multiprocessors (at most its own)."""

    def pretend(multiprocessors: int) -> None:
        monkeypatch.setattr(emulator.device, "multiprocessors", multiprocessors)
        blocks = min(8 * multiprocessors, emulator.device.max_blocks)
        monkeypatch.setattr(emulator.device, "max_blocks", blocks)

    return pretend


@pytest.fixture(autouse=True)
def _tickets_are_ready_again(emulator: CudaBackend) -> Iterator[None]:
    yield
    assert not emulator.device.tickets.get().any()


def compare(
    backend: CudaBackend, op: str, call: dict[str, Any], same: Any = None, shift: int = 0
) -> dict[str, Any]:
    """Hold one call against its reference in float64, twice, and return what it wrote.

    Once more in float16, where twice as many elements make a pack.
    """
    case = CASES[op]
    arrays, attributes = case.arrays(call, "float32"), case.attributes(call)
    got = guarded_call(backend, op, arrays, attributes, same=same, shift=shift)
    again = guarded_call(backend, op, arrays, attributes, same=same, shift=shift)
    reads = {
        name: arrays[name].astype(np.float64) if arrays[name].dtype == np.float32 else arrays[name]
        for name in arrays
        if name not in got or name in ("totals", "accuracy_totals", "step", *UPDATED.get(op, ()))
    }
    flags = {name: value for name, value in attributes.items() if name != "accumulate"}
    for name, expected in case.reference(**reads, **flags).items():
        if name in got:
            np.testing.assert_allclose(got[name], expected, rtol=case.float32, atol=case.float32)
            assert got[name].tobytes() == again[name].tobytes()
    worst = worst_error(backend, case, call, Way(same=same, shift=shift), "float16")
    assert worst.error <= 1, worst
    return got


UPDATED = {
    op.name: tuple(p.name for p in op.parameters if p.role == "inout")
    for op in OPS.values()
    if op.family == "optimizers"
}


@pytest.mark.parametrize("columns", [WIDE, WIDE_PACKED, WIDE_IN_HALVES, 8704])
@pytest.mark.parametrize("shift", [0, 1])
def test_rows_that_do_not_fit_on_chip(emulator: CudaBackend, columns: int, shift: int) -> None:
    x = (2, columns)
    compare(emulator, "softmax", {"x": x}, ("y", "x"), shift)
    compare(emulator, "softmax_backward", {"dy": x, "y": shares(*x)}, ("dx", "dy"), shift)
    loss = {"scale": 0.5, **TOTALS}
    # Where a probability is clipped the gradient needs a further pass.
    some_zeros = given(np.arange(2 * columns).reshape(x) % 7 / (3 * columns), label="some_zeros")
    for labels in (classes(*x), shares(*x)):
        logits = {"x": x, "labels": labels, **loss}
        compare(emulator, "softmax_cross_entropy", logits, ("dx", "x"), shift)
        compare(emulator, "cross_entropy", {**logits, "x": shares(*x)}, ("dx", "x"), shift)
        compare(emulator, "cross_entropy", {**logits, "x": some_zeros}, ("dx", "x"), shift)
        compare(emulator, "accuracy", {"x": x, "labels": labels, **_hits()}, None, shift)
    dense = {"x": x, "labels": shares(*x), **loss}
    compare(emulator, "sigmoid_cross_entropy", dense, ("dx", "x"), shift)


def _hits() -> dict[str, Any]:
    return {"accuracy_totals": TOTALS["accuracy_totals"]}


@pytest.mark.parametrize("columns", [1, 3, 10, 16, 100, 128, 129, 516])
def test_rows_that_share_a_warp(emulator: CudaBackend, columns: int) -> None:
    x = (301, columns)
    compare(emulator, "softmax", {"x": x})
    compare(
        emulator, "softmax_cross_entropy", {"x": x, "labels": classes(*x), "scale": 1, **TOTALS}
    )


@pytest.mark.parametrize("multiprocessors", [1, 4])
def test_totals_of_many_blocks(
    emulator: CudaBackend, device_of: Callable[[int], None], multiprocessors: int
) -> None:
    device_of(multiprocessors)
    call = {"x": (20001, 3), "labels": shares(20001, 3), "scale": 1.0, **TOTALS}
    got = compare(emulator, "softmax_cross_entropy", call)
    assert got["totals"][1] == 20005
    assert got["accuracy_totals"][0] == 3 + got["correct"].sum()


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("rows", "columns"), [(1, 1), (1000, 1), (999, 33), (333, 132), (17, 516), (2, 9001)]
)
def test_bias_gradients_of_many_blocks(
    emulator: CudaBackend, rows: int, columns: int, accumulate: bool
) -> None:
    random = np.random.default_rng(0)
    dy, y = random.standard_normal((2, rows, columns), np.float32)
    dbias = random.standard_normal(columns, np.float32)
    arrays = {"dx": dy, "dbias": dbias, "dy": dy, "saved": y}
    flags = {"activation": "relu", "accumulate": accumulate}
    for shift in (0, 1):
        got = guarded_call(emulator, "bias_act_backward", arrays, flags, shift=shift)
        expected = (dy * (y > 0)).sum(axis=0, dtype=np.float64) + (dbias if accumulate else 0)
        np.testing.assert_allclose(got["dbias"], expected, rtol=1e-5, atol=1e-5)
    arrays = {"dx": dy, "dalpha": dbias, "dy": dy, "x": y, "alpha": dbias}
    got = guarded_call(emulator, "prelu_backward", arrays, {"accumulate": accumulate})
    expected = (dy * np.minimum(y, 0)).sum(axis=0, dtype=np.float64) + (dbias if accumulate else 0)
    np.testing.assert_allclose(got["dalpha"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("multiprocessors", "tile"), [(10**6, 32), (5, 64), (1, 128)])
@pytest.mark.parametrize("shape", [(130, 129, 19), (132, 140, 20), (1, 5, 3)])
@pytest.mark.parametrize(("ta", "tb"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_every_tile_of_a_product(
    emulator: CudaBackend,
    monkeypatch: pytest.MonkeyPatch,
    multiprocessors: int,
    tile: int,
    shape: tuple[int, int, int],
    ta: int,
    tb: int,
) -> None:
    m, n, k = shape
    monkeypatch.setattr(emulator.device, "multiprocessors", multiprocessors)
    launched = []
    launch = emulator.device.launch
    monkeypatch.setattr(
        emulator.device, "launch", lambda *args: (launched.append(args[1]), launch(*args))
    )
    product = {"a": (k, m) if ta else (m, k), "b": (n, k) if tb else (k, n), "ta": bool(ta)}
    compare(emulator, "gemm", {**product, "tb": bool(tb)})
    if m > 1:
        assert launched[-1] == f"gemm_tile{tile}"
    fused = {**product, "tb": bool(tb), "activation": "sigmoid"}
    compare(emulator, "gemm_bias_act", {**fused, "bias": (n,)})
    compare(emulator, "gemm_act_backward", {**fused, "saved": (m, n)})
    if not tb:
        compare(emulator, "gemm_column_sum", product, shift=1)


def test_an_empty_product_still_sums_columns(emulator: CudaBackend) -> None:
    compare(emulator, "gemm_column_sum", {"a": (0, 6), "b": (6, 70)})
    compare(emulator, "gemm_column_sum", {"a": (3, 0), "b": (0, 70)})


@pytest.mark.parametrize("n", [1, 7, 8, 31, 1023, 20000])
@pytest.mark.parametrize("shift", [0, 1])
def test_dropout_draws_numpys_numbers(emulator: CudaBackend, n: int, shift: int) -> None:
    seed, node, counter, rate = 2**63 + 12345, 3, 77, 0.3
    ones = np.ones(n, np.float32)
    arrays = {"y": ones, "x": ones, "random": np.array([seed, counter], np.uint64)}
    flags = {"rate": rate, "node": node}
    got = guarded_call(emulator, "dropout", arrays, flags, same=("y", "x"), shift=shift)
    key, start = np.array([seed, 0], np.uint64), [0, node, counter, 0]
    numbers = np.random.Generator(np.random.Philox(key=key, counter=start)).random(n, np.float32)
    kept = np.float32(1) / np.float32(1.0 - rate)
    np.testing.assert_array_equal(got["y"], np.where(numbers >= np.float32(rate), kept, 0))


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("op", [name for name in UPDATED if name != "squared_norms"])
def test_segments_meet_blocks_anywhere(emulator: CudaBackend, op: str, shift: int) -> None:
    n = 40_003
    table = [
        (0, 3, 1.0, 1),
        (3, 1030, 0.5, 1),
        (1088, 20_000, 1.0, 0),
        (21_120, n - 21_120, 2.0, 1),
    ]
    call = {
        name: given(np.linspace(0.1, 1, n))
        if isinstance(value, Maker) and name in UPDATED[op]
        else (n,)
        if isinstance(value, tuple)
        else value
        for name, value in CASES[op].calls[0].items()
    }
    call |= {"step": given([4], "int64"), "segments": segments(*table)}
    before = CASES[op].arrays(call, "float32")["weights"]
    got = compare(emulator, op, call, shift=shift)
    assert got["step"] == 5
    untouched = np.r_[1033:1088, 1088:21_088, 21_088:21_120]
    np.testing.assert_array_equal(got["weights"][untouched], before[untouched])


@pytest.mark.parametrize("shift", [0, 1])
@pytest.mark.parametrize("multiprocessors", [1, 3])
def test_norms_of_segments_of_all_sizes(
    emulator: CudaBackend, device_of: Callable[[int], None], multiprocessors: int, shift: int
) -> None:
    device_of(multiprocessors)
    sizes = np.random.default_rng(3).integers(1, 90, 700) ** 2 % 3000 + 1
    offsets = np.cumsum(-(-sizes // 64) * 64) - -(-sizes // 64) * 64
    for groups in (np.arange(len(sizes)), np.zeros(len(sizes)), np.arange(len(sizes)) // 5):
        rows = zip(offsets, sizes, sizes % 7 > 0, groups, strict=True)
        table = segment_table(*((o, s, 1, 1.0, on, g) for o, s, on, g in rows))
        count = int(groups[-1]) + 1
        n = int(offsets[-1] + sizes[-1])
        call = {"norms": given(np.zeros(count)), "gradients": (n,), "segments": table}
        compare(emulator, "squared_norms", call, shift=shift)


def test_norms_of_more_segments_than_fit_the_scratch(
    emulator: CudaBackend, device_of: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    device_of(1)
    sums = emulator.device.block_sums[:20]
    monkeypatch.setattr(emulator.device, "block_sums", sums)
    for groups in (np.arange(300), np.zeros(300), np.arange(300) // 7):
        rows = [(64 * i, 1 + i % 64, 1, 1.0, 1, group) for i, group in enumerate(groups)]
        norms = given(np.zeros(int(groups[-1]) + 1))
        call = {"norms": norms, "gradients": (64 * 300,), "segments": segment_table(*rows)}
        compare(emulator, "squared_norms", call)


@pytest.mark.parametrize("tick", [True, False])
def test_steps_count_without_weights(emulator: CudaBackend, tick: bool) -> None:
    call = {"weights": (0,), "step": given([4], "int64"), "gradients": (0,), "tick": tick}
    call |= {
        "hyper": given([0.1, 0.0, np.inf, 0.0]),
        "segments": given(np.zeros((0, 6))),
        "velocity": None,
    }
    arrays, attributes = CASES["sgd"].arrays(call, "float32"), CASES["sgd"].attributes(call)
    got = guarded_call(emulator, "sgd", arrays, attributes)
    assert got["step"] == 4 + tick


@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh"])
def test_nan_passes_through(emulator: CudaBackend, activation: str) -> None:
    x = np.array([[1, np.nan, -1]], np.float32)
    flags = {"activation": activation}
    got = guarded_call(emulator, "bias_act", {"y": x, "x": x}, flags)
    assert np.isnan(got["y"]).tolist() == [[False, True, False]]
    rows = np.array([[1, 2, 3], [1, np.nan, 3], [-np.inf, 0, 0]], np.float32)
    got = guarded_call(emulator, "softmax", {"y": rows, "x": rows}, {})
    assert np.isnan(got["y"]).all(axis=1).tolist() == [False, True, False]
    np.testing.assert_allclose(got["y"][2], [0, 0.5, 0.5])


TYPES = [
    "bool",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float16",
    "float32",
    "float64",
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("columns", [5, 8])
@pytest.mark.parametrize("shift", [0, 1])
def test_every_number_type(emulator: CudaBackend, dtype: str, columns: int, shift: int) -> None:
    x = np.random.default_rng(0).integers(0, 100, (9, columns)).astype(dtype)
    rows = np.array([8, 0, 0, 3], np.int32)
    for y in (np.zeros((4, columns), np.float32), np.zeros((4, columns), np.int32)):
        arrays = {"y": y, "x": x, "indices": rows}
        got = guarded_call(emulator, "gather", arrays, {"scale": 2, "offset": 1}, shift=shift)
        np.testing.assert_array_equal(got["y"], 2 * x[rows].astype(np.float64) + 1)
    scaled = {"y": np.zeros(x.shape, np.float32), "x": x}
    got = guarded_call(emulator, "scale_shift", scaled, {"scale": 0.5, "offset": -1}, shift=shift)
    np.testing.assert_array_equal(got["y"], 0.5 * x.astype(np.float64) - 1)
    got = guarded_call(emulator, "copy", {"y": x, "x": x}, {}, shift=shift)
    np.testing.assert_array_equal(got["y"], x)
    got = guarded_call(emulator, "fill", {"y": x}, {"value": 1}, shift=shift)
    np.testing.assert_array_equal(got["y"], np.ones_like(x))


def test_labels_are_gathered_exactly(emulator: CudaBackend) -> None:
    x = np.array([[2**31 - 1], [-(2**31)], [2**24 + 1]], np.int64)
    arrays = {"y": np.zeros((2, 1), np.int32), "x": x, "indices": np.array([2, 0], np.int32)}
    got = guarded_call(emulator, "gather", arrays, {})
    np.testing.assert_array_equal(got["y"], x[[2, 0]])


def test_float64_belongs_to_numpy(emulator: CudaBackend) -> None:
    x = emulator.zeros((2, 3), np.float64)
    with pytest.raises(DtypeError, match="the numpy backend computes in float64"):
        emulator.ops["softmax"](x, x)
    numbers = emulator.empty((2,), np.complex64)
    with pytest.raises(DtypeError, match=r"op fill on the GPU takes .* got complex64"):
        emulator.ops["fill"](numbers, value=0)


def test_memory(emulator: CudaBackend) -> None:
    values = np.arange(12, dtype=np.float64).reshape(3, 4)
    array = emulator.empty((4, 3), np.float32)
    emulator.write(array, values.T)
    np.testing.assert_array_equal(emulator.to_numpy(array), values.T)
    assert emulator.from_numpy(values.T).flags.c_contiguous
    for dtype in (np.uint64, np.bool_, np.int32):
        np.testing.assert_array_equal(emulator.to_numpy(emulator.zeros((3,), dtype)), [0, 0, 0])
    assert emulator.owns(array)
    assert not emulator.owns(values)
    emulator.synchronize()


# ------------------------------------------------------------------------------ several devices


def test_another_device_is_refused(
    emulator: CudaBackend, backend: CudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernels would read this one's memory: an error that ends the process' use of the GPU."""
    x = emulator.zeros((2, 2), np.float32)
    graph = emulator.capture([partial(emulator.ops["fill"], x, value=1.0)])
    backend.device.products.only = CUBLAS
    monkeypatch.setattr(emulator.cp.cuda.runtime, "getDevice", lambda: 1)
    for call in (
        lambda: emulator.ops["fill"](x, value=1.0),
        lambda: emulator.run_all([graph], frozenset()),
        lambda: backend.ops["gemm"](x, x, x),
    ):
        with pytest.raises(UsageError, match=r"device 0, .* device 1 is; .*Device\(0\)"):
            call()
