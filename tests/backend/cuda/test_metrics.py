"""Metrics on the emulator: many blocks, wide rows, more sums than blocks, the same bits twice."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from gpunet.backend import backend_named
from gpunet.backend.cuda import CudaBackend
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import classes, given, guarded_call, integers, normal, uniform

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def emulator() -> CudaBackend:
    backend = backend_named("emulator")
    assert isinstance(backend, CudaBackend)
    return backend


@pytest.fixture(params=[1, 4])
def small_device(
    emulator: CudaBackend, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[CudaBackend]:
    """The device with so many multiprocessors; its tickets are ready again after each test."""
    monkeypatch.setattr(emulator.device, "multiprocessors", request.param)
    monkeypatch.setattr(emulator.device, "max_blocks", 8 * request.param)
    yield emulator
    assert not emulator.device.tickets.get().any()


def compare(backend: CudaBackend, op: str, **call: Any) -> None:
    """Hold one call against its reference in float64, twice."""
    case = CASES[op]
    arrays, attributes = case.arrays(call, "float32"), case.attributes(call)
    got, again = (guarded_call(backend, op, arrays, attributes) for _ in range(2))
    read = [name for name in arrays if name in call]
    inputs = {
        name: arrays[name].astype(float) if arrays[name].dtype == np.float32 else arrays[name]
        for name in read
    }
    for name, wanted in case.reference(**inputs, **attributes).items():
        np.testing.assert_allclose(got[name], wanted, rtol=case.float32, atol=case.float32)
        assert got[name].tobytes() == again[name].tobytes()


def thresholds(count: int, groups: int = 1) -> Any:
    state = np.zeros((5, groups, count))
    state[0] = np.linspace(-1, 1, count)
    return given(state, label=f"{count}thresholds_{groups}")


@pytest.mark.parametrize(("count", "groups"), [(1, 1), (200, 1), (3, 7), (200, 7)])
@pytest.mark.parametrize("labels", [classes(3001, 7), integers(3001, 7, high=2, dtype="float64")])
def test_counts(small_device: CudaBackend, count: int, groups: int, labels: Any) -> None:
    arrays = {"x": normal(3001, 7), "labels": labels, "sample_weight": uniform(3001)}
    compare(small_device, "threshold_counts", state=thresholds(count, groups), **arrays)


@pytest.mark.parametrize("number", [2, 40])
def test_matrices(small_device: CudaBackend, number: int) -> None:
    compare(
        small_device,
        "confusion_matrix",
        matrix=given(np.zeros((number, number)), label=f"{number}classes"),
        x=integers(5003, high=number, dtype="float64"),
        labels=integers(5003, high=number),
        sample_weight=uniform(5003),
    )


@pytest.mark.parametrize(("rows", "columns"), [(40001, 1), (999, 33), (3, 9001)])
def test_sums(small_device: CudaBackend, rows: int, columns: int) -> None:
    weight = uniform(rows)
    state = given(np.zeros((5, columns)), label="zeros")
    x, labels = normal(rows, columns), normal(rows, columns)
    compare(small_device, "moments", state=state, x=x, labels=labels, sample_weight=weight)
    totals = given([1.0, 2.0], label="totals")
    compare(
        small_device, "weighted_totals", totals=totals, values=normal(rows), sample_weight=weight
    )


@pytest.mark.parametrize("columns", [1, 3, 32, 129, 12345])
def test_rows(small_device: CudaBackend, columns: int) -> None:
    """Several rows a warp, one a warp, one a block."""
    x, labels = normal(301, columns), classes(301, columns)
    if columns > 1000:
        x, labels = normal(3, columns), classes(3, columns)
    compare(small_device, "argmax", x=x)
    compare(small_device, "matches", x=x, labels=x, threshold=0.5)
    for of_rows in (labels, x):
        compare(small_device, "top_k_accuracy", x=x, labels=of_rows, k=min(5, columns))


def test_weights_of_any_size_keep_the_order(emulator: CudaBackend) -> None:
    """1e8 and 1e-4 side by side: float64 sums hold both."""
    weight = given(np.tile([1e8, 1e-4], 500), label="weights")
    totals = given([0.0, 0.0], label="totals")
    compare(emulator, "weighted_totals", totals=totals, values=uniform(1000), sample_weight=weight)
