"""The instruments find what is wrong: gradient_check and the doctests of the library."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import gpunet
from gpunet import Sequential, layers
from gpunet.testing import gradient_check

X = np.random.default_rng(0).standard_normal((3, 4))


def wrong_dense(fault):
    class Wrong(layers.Dense):
        def backward(self, op, c):
            if fault == "dx":
                op.fill(c.dx, value=0.0)
            else:
                op.gemm(c.dx, c.dy, c.kernel, tb=True)
            if fault == "dkernel":
                op.fill(c.dkernel, value=1.0)
            else:
                op.gemm(c.dkernel, c.x, c.dy, ta=True)
            if fault != "dbias":
                dz = c.scratch(c.y.shape)
                op.bias_act_backward(dz, c.dbias, c.dy, None, activation="linear")

    return Wrong(3)


@pytest.mark.parametrize("fault", ["dx", "dkernel", "dbias"])
def test_a_wrong_gradient_is_found(fault):
    assert gradient_check(wrong_dense(fault), X) > 1e-2


def test_a_right_gradient_passes():
    assert gradient_check(wrong_dense("none"), X) < 1e-6


def test_a_gradient_of_nan_is_found():
    class Bad(layers.Layer):
        def forward(self, op, c):
            op.copy(c.y, c.x)

        def backward(self, op, c):
            op.fill(c.dx, value=float("nan"))

    assert np.isnan(gradient_check(Bad(), X))


def test_the_model_is_as_it_was_afterwards():
    model = Sequential([layers.Dense(3, "tanh"), layers.Dropout(0.5)])
    assert gradient_check(model, X, training=True) < 1e-6
    assert (model.dtype, model.backend.name) == ("float32", "numpy")
    assert {w.dtype.name for w in model.get_weights()} == {"float32"}
    before = model.get_weights()
    gradient_check(model, X)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_trained_model_goes_on_after_a_check():
    model = Sequential([layers.Dense(3, "tanh", input_dim=4)])
    model.compile("adam", "mse")
    model.fit(X, np.zeros((3, 3)), verbose=0)
    assert gradient_check(model, X) < 1e-6
    model.fit(X, np.zeros((3, 3)), verbose=0)
    assert model.optimizer.iterations == 2


@pytest.mark.emulator
def test_a_model_on_a_device_is_checked_on_the_host_and_goes_back():
    model = Sequential([layers.Dense(3, "tanh", input_dim=4)]).to("emulator")
    assert gradient_check(model, X) < 1e-6
    assert model.backend.name == "emulator"


MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(gpunet.__path__, "gpunet.")
    if name.split(".")[1] in ("engine", "layers", "models", "losses", "metrics", "optimizers")
    or name in ("gpunet.activations", "gpunet.testing.gradient", "gpunet.saving.weights")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
