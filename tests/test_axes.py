"""Softmax, PReLU and overlap losses along any axes, sparsemax, rates at rates: Keras' numbers."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, activations, layers, losses, metrics
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

_PATH = Path(__file__).parent / "golden" / "make_axes.py"
_spec = importlib.util.spec_from_file_location("golden_axes", _PATH)
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)
RESULTS = json.loads(golden.PATH.read_text())


def cases(setups, results):
    pairs = zip(setups, RESULTS[results], strict=True)
    return [pytest.param(*setup, *numbers, id=str(setup)) for setup, numbers in pairs]


def close(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "axis", "expected", "gradient"), cases(golden.ACTIVATIONS, "activations")
)
def test_activations_along_any_axes(name, axis, expected, gradient):
    layer = layers.Activation(activations.get(name, axis=axis), input_shape=golden.X.shape[1:])
    model = Sequential([layer])
    run = model.run(golden.X)
    close(run.y, expected)
    close(run.backward(golden.W.astype(np.float32)), gradient)
    close(getattr(activations, name)(golden.X, axis=axis), expected)
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert again.activation.arguments == layer.activation.arguments


def test_softmax_layer_and_dense_take_axes():
    layer = layers.Softmax(axis=[1, 2], input_shape=(3, 4))
    assert layer.get_config()["axis"] == [1, 2]
    close(Sequential([layer]).predict(np.ones((2, 3, 4)), verbose=0), np.full((2, 3, 4), 1 / 12))
    dense = layers.Dense(3, activations.get("softmax", axis=1))
    assert gradient_check(dense, np.random.default_rng(0).standard_normal((2, 4, 5))) < 1e-6
    with pytest.raises(ArgumentError, match="axis=3, which is none of an array of 3 axes"):
        Sequential([layers.Softmax(axis=3, input_shape=(3, 4))]).predict(np.ones((2, 3, 4)))
    with pytest.raises(ArgumentError, match="takes an axis or a list of axes"):
        layers.Softmax(axis="rows")
    with pytest.raises(ArgumentError, match="glu works along the last axis"):
        activations.get("glu", axis=1)


def test_sparsemax_is_sparse_and_its_rows_add_up_to_one():
    y = activations.sparsemax(np.random.default_rng(0).standard_normal((50, 200)))
    close(y.sum(axis=1), 1.0)
    assert (y == 0).mean() > 0.9
    close(activations.sparsemax(golden.X, axis=1).sum(axis=1), 1.0)
    layer = layers.Activation(activations.get("sparsemax", axis=1))
    assert gradient_check(layer, golden.X) < 1e-6
    close(activations.sparsemax([3.0, 3.0, 0.0]), [0.5, 0.5, 0.0])
    assert np.isnan(activations.sparsemax([0.0, np.nan])).all()


@pytest.mark.parametrize(("name", "axis", "expected", "gradient"), cases(golden.LOSSES, "losses"))
def test_overlap_losses_over_any_axes(name, axis, expected, gradient):
    predictions = 1 / (1 + np.exp(-golden.X))
    loss = getattr(losses, name)(axis=axis, reduction=None)
    close(loss(golden.LABELS, predictions), expected)
    total = getattr(losses, name)(axis=axis, reduction="sum")
    slope = predictions * (1 - predictions)
    close(total.gradient(golden.LABELS, predictions) * slope, gradient)


def test_training_with_axes_that_are_no_neighbours():
    model = Sequential([layers.Dense(5, "sigmoid", input_shape=golden.X.shape[1:])])
    loss = losses.Dice(axis=[1, 3])
    model.compile("sgd", loss)
    weight = np.array([0.5, 1.0, 2.0])
    expected = loss(golden.LABELS, model.predict(golden.X, verbose=0), weight)
    value = model.test_on_batch(golden.X, golden.LABELS, sample_weight=weight)
    assert value == pytest.approx(expected, rel=1e-5)
    before = model.train_on_batch(golden.X, golden.LABELS)
    for _ in range(30):
        model.train_on_batch(golden.X, golden.LABELS)
    assert model.train_on_batch(golden.X, golden.LABELS) < before


PRELU = [
    pytest.param(axes, *numbers, id=str(axes))
    for axes, numbers in zip(golden.SHARED, RESULTS["prelu"], strict=True)
]


@pytest.mark.parametrize(("axes", "expected", "gradient", "alpha_gradient"), PRELU)
def test_prelu_shares_along_any_axes(axes, expected, gradient, alpha_gradient):
    model = Sequential([layers.PReLU(shared_axes=axes, input_shape=golden.X.shape[1:])])
    shape = np.shape(alpha_gradient)
    model.set_weights([np.linspace(-1, 1, int(np.prod(shape))).reshape(shape)])
    run = model.run(golden.X, training=True)
    close(run.y, expected)
    close(run.backward(golden.W.astype(np.float32)), gradient)
    close(model.get_gradients()[0], alpha_gradient)


def test_prelu_names_axes_that_are_none():
    with pytest.raises(ArgumentError, match="axes of a sample, counted from 1"):
        layers.PReLU(shared_axes=[0])
    with pytest.raises(ShapeError, match=r"with the axes \[4\]"):
        layers.PReLU(shared_axes=[4])(Input((3, 4, 5)))


@pytest.mark.parametrize(
    ("name", "value", "count", "plain", "weighted"), cases(golden.METRICS, "metrics")
)
def test_rates_at_rates(name, value, count, plain, weighted):
    metric = getattr(metrics, name)(value, num_thresholds=count)
    assert metric(golden.TRUTH, golden.SCORES) == pytest.approx(plain, abs=1e-6)
    metric.reset_state()
    assert metric(golden.TRUTH, golden.SCORES, golden.WEIGHTS) == pytest.approx(weighted, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"recall": 1.5}, {"recall": 0.5, "num_thresholds": 0}])
def test_rates_that_are_none(wrong):
    with pytest.raises(ArgumentError, match="PrecisionAtRecall needs"):
        metrics.PrecisionAtRecall(**wrong)
    with pytest.raises(ArgumentError, match="class_id=7, but there are 1 outputs"):
        metrics.RecallAtPrecision(0.5, class_id=7)(golden.TRUTH, golden.SCORES)


@pytest.mark.emulator
def test_the_device_does_the_same():
    x = Input((4, 2, 5))
    moved = layers.Softmax(axis=1)(layers.PReLU("ones", shared_axes=[2])(layers.Dense(5)(x)))
    sparse = layers.Activation(activations.get("sparsemax", axis=2))(moved)
    model = Model(x, layers.Dense(5, "sigmoid")(sparse))
    rate = metrics.SensitivityAtSpecificity(0.5)
    model.compile("sgd", losses.Tversky(axis=[1, 3]), metrics=[rate])
    report = compare(model, "numpy", "emulator", golden.X.astype(np.float32), golden.LABELS)
    assert report.ok, report
