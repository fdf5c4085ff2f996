"""The ops that numba compiles, beyond what the table of op cases asks of them."""

import inspect

import numpy as np
import pytest

pytest.importorskip("numba", reason="needs pip install gpunet[fast]")

import numba

from gpunet import Sequential, layers
from gpunet.backend import backend_named
from gpunet.backend.cpu.compiled import FUNCTIONS, kernel
from gpunet.backend.cpu.compiled.exponential import exponential
from gpunet.backend.spec import OPS
from gpunet.testing import compare

pytestmark = pytest.mark.numba


@pytest.mark.parametrize("name", FUNCTIONS)
def test_signatures(name):
    wanted, got = (list(f.parameters.values()) for f in signatures(name))
    assert [(p.name, p.kind, p.default) for p in got] == [
        (p.name, p.kind, p.default) for p in wanted
    ]


def signatures(name):
    return OPS[name].signature, inspect.signature(FUNCTIONS[name])


def test_exp_of_float32_is_within_a_unit_in_the_last_place():
    @numba.njit
    def fill(y, x):
        for i in range(len(x)):
            y[i] = exponential(x[i])

    x = np.random.default_rng(0).uniform(-103.9, 88.7, 200_000).astype(np.float32)
    y, wanted = np.empty_like(x), np.exp(x.astype(np.float64))
    fill(y, x)
    assert (np.abs(y - wanted) / np.spacing(wanted.astype(np.float32))).max() <= 1.0
    limits = np.array([-np.inf, -200.0, 0.0, 200.0, np.inf, np.nan], np.float32)
    fill(y, limits)
    np.testing.assert_array_equal(y[:6], [0.0, 0.0, 1.0, np.inf, np.inf, np.nan])


def large_norm(dtype="float32", rows=3000):
    """The arrays of a layer norm that is worth three threads."""
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((rows, 101)).astype(dtype) for _ in range(2))
    gamma = rng.standard_normal(101).astype(dtype)
    return x, dy, gamma


def gradients_of_norm(x, dy, gamma):
    backend, how = backend_named("numba"), {"norm": "layer", "epsilon": 1e-3}
    y, dx = np.empty_like(x), np.empty_like(x)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    mean, rstd = np.empty((2, len(x)), x.dtype)
    backend.run("layer_norm", y, mean, rstd, x, gamma, None, **how)
    backend.run("layer_norm_backward", dx, dgamma, dbeta, dy, x, mean, rstd, gamma, **how)
    return [a.tobytes() for a in (y, mean, rstd, dx, dgamma, dbeta)]


def gradients_of_batch_norm(x, dy, gamma):
    backend, how = backend_named("numba"), {"epsilon": 1e-3}
    x, dy = x[None], dy[None]
    y, dx = np.empty_like(x), np.empty_like(x)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    mean, variance = np.empty((2, 1, len(gamma)), x.dtype)
    sums = np.empty((2, 1, len(gamma)), x.dtype)
    backend.run("channel_moments", mean, variance, None, None, None, x, None)
    backend.run("channel_norm", y, x, mean, variance, gamma, None, **how)
    backend.run("channel_norm_sums", sums, dgamma, dbeta, dy, x, mean, variance, **how)
    arrays = dx, dy, x, None, mean, variance, None, gamma, sums
    backend.run("channel_norm_backward", *arrays, **how)
    return [a.tobytes() for a in (y, mean, variance, dx, dgamma, dbeta)]


def loss_of(x, dy, gamma):
    dx, loss, totals = np.empty_like(x), np.empty(len(x), x.dtype), np.zeros(2)
    labels = (np.arange(len(x)) % 101).astype(np.int32)
    arrays = dx, loss, None, totals, None, x, labels, None
    backend_named("numba").run("softmax_cross_entropy", *arrays, scale=0.1)
    return [a.tobytes() for a in (dx, loss, totals)]


def update(x, dy, gamma):
    weights, velocity = x.reshape(-1).copy(), np.zeros(x.size, x.dtype)
    step, hyper = np.zeros(1, np.int64), np.array([0.1, 0.0, np.inf, 0.9])
    segments = np.array([[0, x.size, 1, 1, 1, 0]], np.float64)
    arrays = weights, velocity, step, dy.reshape(-1), segments, None, hyper
    backend_named("numba").run("sgd", *arrays)
    assert step[0] == 1
    return [a.tobytes() for a in (weights, velocity)]


@pytest.mark.parametrize("compute", [gradients_of_norm, gradients_of_batch_norm, loss_of, update])
def test_the_number_of_threads_changes_no_bit(compute, count):
    results = []
    for threads in (1, 2, 3):
        count(threads)
        results.append(compute(*large_norm()))
    assert results[0] == results[1] == results[2]


def test_what_a_thread_raises_arrives(count):
    count(2)

    def work(start, stop):
        if start:
            raise ValueError("in the other thread")

    with pytest.raises(ValueError, match="in the other thread"):
        kernel.each_share(work, 10, 2**20)


def test_without_a_folder_to_write_to(monkeypatch):
    """Then functions are compiled for this process."""

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: function

    monkeypatch.setattr(kernel, "njit", njit)
    assert kernel.kernel(len) is len


def test_a_step_is_that_of_numpy():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((32, 20), dtype=np.float32), rng.integers(0, 5, 32)
    model = Sequential([layers.Dense(16, "relu", input_dim=20), layers.LayerNormalization()])
    model.add(layers.Dense(5, "softmax"))
    model.compile("adam", "sparse_categorical_crossentropy")
    comparison = compare(model, "numpy", "numba", x, y)
    assert comparison.ok, str(comparison)
    model.to("numba")
    assert "numba" in repr(model)
    assert "numba" in model.backend.description
