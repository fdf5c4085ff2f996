"""find_nan(): the first op, array and element that is not finite, and why."""

import inspect

import numpy as np
import pytest

from gpunet import Sequential, layers, optimizers
from gpunet.backend import backend_named
from gpunet.errors import UsageError
from gpunet.testing import find_nan

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 6)).astype(np.float32)
CLASSES = RNG.integers(0, 3, 9)
BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]


def classifier(backend="numpy"):
    stack = [layers.Dense(5, "relu", input_dim=6), layers.Dropout(0.5)]
    model = Sequential([*stack, layers.Dense(3, "softmax")]).to(backend)
    model.compile(optimizers.Adam(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_healthy_step_has_none_and_leaves_no_trace(backend):
    model = classifier(backend)
    model.train_on_batch(X, CLASSES)
    optimizer, before, passes = model.optimizer, model.get_weights(), model.passes
    assert find_nan(model, X, CLASSES) is None
    assert (model.optimizer, model.passes, model.optimizer.iterations) == (optimizer, passes, 1)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "layer", "array", "index"),
    [
        ("gemm_bias_act", "dense", "c", (0, 1)),
        ("dropout", "dropout", "y", (0, 1)),
        ("softmax_cross_entropy", "loss", "dx", (0, 1)),
        ("gemm_column_sum", "dense_1", "column_sum", (1,)),
        ("adam", "optimizer", "velocities", (1,)),
    ],
)
def test_the_op_that_makes_a_nan_is_named(name, layer, array, index, backend, monkeypatch):
    ops = backend_named(backend).ops
    right, to_numpy = ops[name], backend_named(backend).to_numpy
    parameters = list(inspect.signature(right).parameters)

    def wrong(*arrays, **attributes):
        right(*arrays, **attributes)
        target = arrays[parameters.index(array)]
        values = to_numpy(target)
        values.reshape(-1)[1] = np.nan
        backend_named(backend).write(target, values)

    monkeypatch.setitem(ops, name, wrong)
    found = find_nan(classifier(backend), X, CLASSES)
    assert (found.layer, found.op, found.array, found.index) == (layer, name, array, index)
    assert found.written
    assert np.isnan(found.value)
    assert f"({layer}: {name}) writes the first number that is not finite" in str(found)


def test_an_overflow_comes_with_the_ranges_of_what_was_read():
    model = classifier()
    kernel, *others = model.get_weights()
    model.set_weights([np.full_like(kernel, 3e38), *others])
    found = find_nan(model, np.full_like(X, 2), CLASSES)
    assert str(found) == (
        "op 3 (dense: gemm_bias_act) writes the first number that is not finite: c = dense.y[0, 0] "
        "is inf; it read a from 2 to 2, b from 3e+38 to 3e+38, bias from 0 to 0."
    )


def test_what_was_not_finite_before_the_step_is_said_to_be_so():
    model = classifier()
    weights = model.get_weights()
    weights[2][1, 2] = np.nan
    model.set_weights(weights)
    found = find_nan(model, X, CLASSES)
    assert not found.written
    assert "reads the first number that is not finite: b = dense_1.kernel[1, 2] is nan" in str(
        found
    )
    data = X.copy()
    data[3, 4] = np.inf
    found = find_nan(model, data, CLASSES)
    assert (found.op, found.buffer, found.index) == ("gather", "input_layer.batch", (3, 4))
    assert str(found).endswith("is inf; look at the data set.")


def test_it_needs_a_compiled_model():
    with pytest.raises(UsageError, match=r"find_nan replays a training step: call model\.compile"):
        find_nan(Sequential([layers.Dense(1, input_dim=6)]), X, CLASSES)
