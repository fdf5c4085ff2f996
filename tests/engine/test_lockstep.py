"""compare(): NumPy and the emulated device agree op by op, and a wrong op is named."""

import inspect

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, losses, optimizers
from gpunet.backend import backend_named
from gpunet.errors import UsageError
from gpunet.testing import compare

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 6)).astype(np.float32)
CLASSES, BITS = RNG.integers(0, 3, 9), RNG.integers(0, 2, (9, 3))
ONE_HOT, NUMBERS = np.eye(3)[CLASSES], RNG.standard_normal((9, 3))


def every_layer(end, optimizer, loss):
    x = Input((6,))
    y = layers.Rescaling(0.5, 0.25)(x)
    y = layers.Dense(6, "relu")(layers.Reshape((3, 2))(y))
    y = layers.Dropout(0.25)(layers.Flatten()(y))
    branches = [layers.Dense(5, name)(y) for name in ("tanh", "sigmoid", "softmax", "linear")]
    y = layers.ReLU()(layers.Add()([*branches, layers.Softmax()(branches[0])]))
    y = layers.Activation("tanh")(layers.Dense(4, use_bias=False)(y))
    model = Model(x, layers.Dense(3, end)(y))
    model.compile(optimizer, loss, metrics=["accuracy"])
    return model


CASES = [
    ("softmax", "sgd", "sparse_categorical_crossentropy", CLASSES),
    ("softmax", optimizers.SGD(0.1, momentum=0.9), "categorical_crossentropy", ONE_HOT),
    ("sigmoid", optimizers.SGD(0.1, 0.9, nesterov=True), "binary_crossentropy", BITS),
    ("linear", "adam", "mse", NUMBERS),
    ("sigmoid", "adam", "sparse_categorical_crossentropy", CLASSES),
    ("softmax", "sgd", "binary_crossentropy", BITS),
    ("linear", "sgd", losses.CategoricalCrossentropy(from_logits=True), ONE_HOT),
]


@pytest.mark.emulator
@pytest.mark.parametrize(("end", "optimizer", "loss", "y"), CASES)
def test_every_layer_loss_and_optimizer_agrees_on_both_devices(end, optimizer, loss, y):
    model = every_layer(end, optimizer, loss)
    before = model.get_weights()
    comparison = compare(model, "numpy", "emulator", X, y)
    assert comparison.ok, str(comparison)
    assert "numpy and emulator agree in" in str(comparison)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.emulator
@pytest.mark.parametrize("seed", range(4))
def test_random_graphs_agree_on_both_devices(seed, random_model, random_inputs):
    model = random_model(seed, ends=("softmax",))
    model.compile("sgd", "sparse_categorical_crossentropy")
    comparison = compare(model, "numpy", "emulator", random_inputs(seed), [0, 1, 2, 1, 0])
    assert comparison.ok, str(comparison)


SABOTAGED = [
    ("gemm_act_backward", "dense", "c", (0, 1)),
    ("gemm_column_sum", "dense_1", "column_sum", (1,)),
    ("softmax_cross_entropy", "loss", "dx", (0, 1)),
    ("dropout", "dropout", "y", (0, 1)),
    ("sgd", "optimizer", "weights", (1,)),
]


@pytest.mark.emulator
@pytest.mark.parametrize(("name", "layer", "array", "index"), SABOTAGED)
def test_the_first_wrong_op_is_named_with_its_layer_and_element(
    name, layer, array, index, monkeypatch
):
    stack = [layers.Dense(5, "relu"), layers.Dense(3, "softmax")]
    model = Sequential([layers.Dropout(0.5, input_dim=6), *stack])
    model.compile("sgd", "sparse_categorical_crossentropy")
    backend = backend_named("emulator")
    right = backend.ops[name]
    parameters = list(inspect.signature(right).parameters)

    def wrong(*arrays, **attributes):
        right(*arrays, **attributes)
        target = arrays[parameters.index(array)]
        values = backend.to_numpy(target)
        values.reshape(-1)[1] += 1.0
        backend.write(target, values)

    monkeypatch.setitem(backend.ops, name, wrong)
    comparison = compare(model, "numpy", "emulator", X, CLASSES)
    first = comparison.first_difference
    assert not comparison.ok
    assert (first.op, first.layer, first.array) == (name, layer, array)
    assert first.index == index
    assert first.second - first.first == pytest.approx(1.0, abs=1e-4)
    assert f"differ first at op {first.number} ({layer}: {name}), {array}[" in str(comparison)


def test_compare_needs_a_compiled_model():
    with pytest.raises(UsageError, match=r"call model\.compile first"):
        compare(Sequential([layers.Dense(1, input_dim=6)]), "numpy", "numpy", X, CLASSES)


def test_compare_leaves_the_model_as_it_was():
    model = every_layer("softmax", optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.train_on_batch(X, CLASSES)
    optimizer, before, passes = model.optimizer, model.get_weights(), model.passes
    assert compare(model, "numpy", "numpy", X, CLASSES).ok
    assert (model.optimizer, model.passes, model.optimizer.iterations) == (optimizer, passes, 1)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    model.train_on_batch(X, CLASSES)
    assert model.optimizer.iterations == 2
