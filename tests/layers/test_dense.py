"""Dense: inputs of any rank, and all of Keras' arguments."""

import numpy as np
import pytest

from gpunet import Sequential, layers, optimizers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

SHAPES = [(4,), (3, 4), (2, 3, 4), (2, 1, 3, 4), (1, 1)]


@pytest.mark.parametrize("activation", ["relu", "softmax"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_last_axis_is_multiplied(shape, activation):
    model = Sequential([layers.Dense(5, activation, bias_initializer="ones", input_shape=shape)])
    assert model.output_shape == (None, *shape[:-1], 5)
    x = np.random.default_rng(0).standard_normal((6, *shape)).astype(np.float32)
    kernel, bias = model.get_weights()
    z = x @ kernel + bias
    exps = np.exp(z - z.max(axis=-1, keepdims=True))
    wanted = np.maximum(z, 0) if activation == "relu" else exps / exps.sum(-1, keepdims=True)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_of_any_rank(shape):
    x = np.random.default_rng(1).standard_normal((3, *shape))
    stack = [layers.Dense(3, "tanh", input_shape=shape), layers.Dense(2, "sigmoid")]
    assert gradient_check(Sequential(stack), x) < 1e-6


@pytest.mark.emulator
@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_agree_with_numpy(shape):
    stack = [layers.Dense(3, "relu", input_shape=shape, activity_regularizer="l2")]
    model = Sequential([*stack, layers.Dense(2, kernel_constraint="unit_norm")])
    model.compile("sgd", "mse")
    x = np.random.default_rng(1).standard_normal((6, *shape)).astype(np.float32)
    comparison = compare(model, "numpy", "emulator", x, model.predict(x, verbose=0) + 1)
    assert comparison.ok, str(comparison)


def test_any_rank_learns():
    x = np.random.default_rng(2).standard_normal((64, 3, 4)).astype(np.float32)
    y = x @ np.arange(8.0, dtype=np.float32).reshape(4, 2)
    model = Sequential([layers.Dense(2, input_shape=(3, 4))])
    model.compile(optimizers.SGD(0.1), "mse")
    history = model.fit(x, y, epochs=40, batch_size=8, verbose=0).history["loss"]
    assert history[-1] < 1e-3 * history[0]


@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3", None])
def test_units(units):
    with pytest.raises(ArgumentError, match="Dense takes a positive integer for units"):
        layers.Dense(units)


def test_rank_1_and_other_widths():
    with pytest.raises(ShapeError, match=r"expects inputs \(batch, ..., features\)"):
        layers.Dense(3).build((None,))
    layer = layers.Dense(3, name="d")
    layer.ensure_built((None, 2, 4))
    with pytest.raises(ShapeError, match="Dense 'd' was built for inputs with last dimension 4"):
        layer.ensure_built((None, 5))


def test_all_arguments_by_position_as_in_keras():
    names = "units activation use_bias kernel_initializer bias_initializer kernel_regularizer "
    names += "bias_regularizer activity_regularizer kernel_constraint bias_constraint"
    values = (3, "tanh", True, "zeros", "ones", "l1", "l2", "l1_l2", "max_norm", "non_neg")
    config = layers.Dense(*values).get_config()
    for name, value in zip(names.split(), values, strict=True):
        kept = config[name]
        kept = kept["class_name"].lower() if isinstance(kept, dict) else kept
        assert kept == (value.replace("_", "") if isinstance(kept, str) else value), name
