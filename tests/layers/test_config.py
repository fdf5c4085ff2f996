"""Layers: configurations, shapes and what calling them checks."""

import numpy as np
import pytest

from gpunet import Input, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError

LAYERS = [
    layers.Dense(5, "relu", use_bias=False, kernel_initializer="he_normal", input_shape=(3, 4)),
    layers.Dense(5, "softmax", bias_initializer="ones", name="mine", trainable=False),
    layers.Activation("tanh", name="mine"),
    layers.ReLU(),
    layers.Softmax(input_dim=4),
    layers.Add(name="sum"),
    layers.Dropout(0.25),
    layers.Flatten(input_shape=(2, 2)),
    layers.Reshape((2, -1)),
    layers.Rescaling(1 / 255, offset=-1),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_layer_made_from_its_configuration_has_the_same_one(layer):
    config = layer.get_config()
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert type(again) is type(layer)
    assert (again.name, again.trainable) == (layer.name, layer.trainable)
    assert again.sample_shape == layer.sample_shape


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_a_configuration_is_made_of_what_json_knows(layer):
    import json

    assert json.loads(json.dumps(layer.get_config())) == layer.get_config()


def test_every_layer_has_a_row_here():
    tested = {type(layer).__name__ for layer in LAYERS} | {"Context", "Input", "Layer"}
    assert tested == set(layers.__all__)


# ---------------------------------------------------------------------------- formulas

X = np.random.default_rng(0).standard_normal((4, 2, 6))


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


FORMULAS = [
    (layers.Activation("linear"), lambda x: x),
    (layers.Activation("relu"), lambda x: np.maximum(x, 0)),
    (layers.Activation("sigmoid"), lambda x: 1 / (1 + np.exp(-x))),
    (layers.Activation("tanh"), np.tanh),
    (layers.Activation("softmax"), softmax),
    (layers.ReLU(), lambda x: np.maximum(x, 0)),
    (layers.Softmax(), softmax),
    (layers.Rescaling(2, -0.5), lambda x: 2 * x - 0.5),
    (layers.Flatten(), lambda x: x.reshape(4, 12)),
    (layers.Reshape((3, -1, 1)), lambda x: x.reshape(4, 3, 4, 1)),
    (layers.Dropout(0.9), lambda x: x),
    (layers.Dropout(0.0), lambda x: x),
]


@pytest.mark.parametrize(("layer", "formula"), FORMULAS)
def test_forward_is_the_formula(layer, formula):
    model = Sequential([Input((2, 6)), layer]).to(dtype="float64")
    assert model.output_shape[1:] == formula(X).shape[1:]
    np.testing.assert_allclose(model(X), formula(X), rtol=1e-13)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "sigmoid", "softmax", None])
def test_dense_is_its_formula_along_the_last_axis(activation, use_bias):
    dense = layers.Dense(3, activation, use_bias, bias_initializer="ones")
    model = Sequential([Input((2, 6)), dense]).to(dtype="float64")
    z = X @ dense.get_weights()[0] + (1.0 if use_bias else 0.0)
    formula = {row[0].activation.name: row[1] for row in FORMULAS[:5]}
    np.testing.assert_allclose(model(X), formula[activation or "linear"](z), rtol=1e-12)


def test_dropout_keeps_the_mean_and_the_share():
    model = Sequential([layers.Dropout(0.3, input_dim=100)])
    y = model(np.ones((200, 100)), training=True)
    assert (y == 0).mean() == pytest.approx(0.3, abs=0.01)
    assert y.mean() == pytest.approx(1, abs=0.02)
    assert set(np.unique(y)) == {0, np.float32(1 / 0.7)}


def test_a_shared_dropout_draws_a_mask_for_each_call():
    from gpunet import Model

    x, dropout = Input((50,)), layers.Dropout(0.5)
    first, second = Model(x, [dropout(x), dropout(x)])(np.ones((4, 50)), training=True)
    assert (first != second).any()


# --------------------------------------------------------------------------- mistakes


def test_a_built_layer_takes_no_other_features():
    dense = layers.Dense(3)
    dense(Input((4,)))
    dense(Input((7, 4)))
    with pytest.raises(ShapeError, match=r"was built for inputs with last dimension 4, got"):
        dense(Input((5,)))


@pytest.mark.parametrize("value", [3, None, "x", np.ones((2, 4)), [np.ones((2, 4))], [1.0]])
def test_layers_are_called_on_symbolic_tensors_only(value):
    with pytest.raises(ArgumentError, match="called on symbolic tensors, got an object of type"):
        layers.Dense(3)(value)


def test_a_layer_with_one_input_takes_no_two():
    x = Input((4,))
    with pytest.raises(ArgumentError, match=r"takes 1 input\(s\), got 2"):
        layers.Dense(3)([x, x])
    with pytest.raises(ArgumentError, match="takes a list of two or more inputs"):
        layers.Add()([x])
