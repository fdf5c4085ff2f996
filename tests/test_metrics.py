"""Metrics: values, names, mistakes."""

import numpy as np
import pytest

from gpunet import Sequential, layers, metrics, optimizers
from gpunet.errors import ArgumentError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((30, 5))


def accuracy_of(units, end, loss, y, names=("accuracy",)):
    """The accuracy of an untrained model, counted by it, and its predictions."""
    model = Sequential([layers.Dense(units, end, input_dim=5)])
    model.compile(optimizers.SGD(0.0), loss, metrics=list(names))
    results = model.evaluate(X, y, batch_size=7, verbose=0, return_dict=True)
    trained = model.fit(X, y, batch_size=7, verbose=0).history
    assert {name: series[0] for name, series in trained.items()} == pytest.approx(results)
    return results, model.predict(X, verbose=0)


CLASSES = RNG.integers(0, 3, 30)
KINDS = [
    ("classes", 3, "softmax", "sparse_categorical_crossentropy", CLASSES),
    ("classes on other ends", 3, "sigmoid", "sparse_categorical_crossentropy", CLASSES),
    ("one-hot", 3, "softmax", "categorical_crossentropy", np.eye(3)[CLASSES]),
    ("one-hot on mse", 3, "linear", "mse", np.eye(3)[CLASSES]),
    ("bits", 1, "sigmoid", "binary_crossentropy", CLASSES == 1),
    ("bits on mse", 1, "linear", "mse", CLASSES == 1),
]


@pytest.mark.parametrize(
    ("units", "end", "loss", "y"), [k[1:] for k in KINDS], ids=[k[0] for k in KINDS]
)
def test_accuracy_is_the_share_of_right_predictions(units, end, loss, y):
    results, predicted = accuracy_of(units, end, loss, y)
    if units == 1:
        right = (predicted[:, 0] > 0.5) == y
    else:
        right = predicted.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))
    assert results["accuracy"] == pytest.approx(right.mean())


def test_a_metric_has_the_name_that_it_was_asked_for_by():
    mine = metrics.SparseCategoricalAccuracy("mine")
    loss = "sparse_categorical_crossentropy"
    results, _ = accuracy_of(3, "softmax", loss, CLASSES, ["acc", mine])
    assert set(results) == {"loss", "acc", "mine"}
    assert results["acc"] == results["mine"]


def test_metrics_are_found_by_name_class_and_object():
    assert metrics.get("accuracy").name == "accuracy"
    assert metrics.get(metrics.BinaryAccuracy).name == "binary_accuracy"
    assert metrics.get(metrics.BinaryAccuracy("mine")).get_config()["name"] == "mine"
    with pytest.raises(ArgumentError, match="did you mean 'accuracy'"):
        metrics.get("acuracy")
    with pytest.raises(ArgumentError, match="a metric must be a name such as"):
        metrics.get(3)


@pytest.mark.parametrize("wrong", ["accuracy", metrics.Accuracy()])
def test_metrics_come_in_a_list(wrong):
    with pytest.raises(ArgumentError, match="takes a list of metrics"):
        Sequential([layers.Dense(1)]).compile("sgd", "mse", metrics=wrong)


def test_a_second_metric_of_a_name_gets_a_number_as_in_keras():
    results, _ = accuracy_of(3, "softmax", "sparse_categorical_crossentropy", CLASSES, ["acc"] * 2)
    assert list(results) == ["acc", "acc_1", "loss"]
    assert results["acc"] == results["acc_1"]
