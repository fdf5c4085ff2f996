"""Losses equal their plain formulas, as functions, as objects and in a model."""

import numpy as np
import pytest

from gpunet import Sequential, layers, losses
from gpunet.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(4), 6)  # probabilities
Z = RNG.standard_normal((6, 4)) * 3  # logits
CLASSES = RNG.integers(0, 4, 6)
ONE_HOT = np.eye(4)[CLASSES]
BITS = RNG.integers(0, 2, (6, 4)).astype(float)
U = RNG.uniform(0.05, 0.95, (6, 4))
WEIGHTS = np.linspace(0, 2, 6)


def log_softmax(z):
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def categorical(y, p):
    return -(y * np.log(p / p.sum(axis=-1, keepdims=True))).sum(axis=-1)


def binary(y, p):
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=-1)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


C, S, B = (
    losses.CategoricalCrossentropy,
    losses.SparseCategoricalCrossentropy,
    losses.BinaryCrossentropy,
)
FORMULAS = [
    ("categorical", C(), ONE_HOT, P, categorical(ONE_HOT, P)),
    ("categorical, soft labels", C(), P[::-1], P, categorical(P[::-1], P)),
    ("categorical, not normalised", C(), ONE_HOT, U, categorical(ONE_HOT, U)),
    ("categorical, logits", C(True), ONE_HOT, Z, -(ONE_HOT * log_softmax(Z)).sum(axis=1)),
    ("sparse", S(), CLASSES, P, categorical(ONE_HOT, P)),
    ("sparse, column", S(), CLASSES[:, None], P, categorical(ONE_HOT, P)),
    ("sparse, logits", S(True), CLASSES, Z, -(ONE_HOT * log_softmax(Z)).sum(axis=1)),
    ("binary", B(), BITS, U, binary(BITS, U)),
    ("binary, logits", B(True), BITS, Z, binary(BITS, sigmoid(Z))),
    ("binary, soft labels", B(), U[::-1], U, binary(U[::-1], U)),
    ("mse", losses.MeanSquaredError(), Z[::-1], Z, ((Z - Z[::-1]) ** 2).mean(axis=1)),
]


@pytest.mark.parametrize(
    ("loss", "y", "x", "rows"), [f[1:] for f in FORMULAS], ids=[f[0] for f in FORMULAS]
)
def test_a_loss_is_its_formula(loss, y, x, rows):
    np.testing.assert_allclose(loss.rows(y, x), rows, rtol=1e-12)
    assert loss(y, x) == pytest.approx(rows.mean(), rel=1e-12)
    weighted = (WEIGHTS.astype(np.float32) * rows).mean()  # sum over batch size, as Keras
    assert loss(y, x, WEIGHTS) == pytest.approx(weighted, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_loss_computes_in_the_precision_of_the_predictions(dtype):
    assert losses.mean_squared_error(Z, Z.astype(dtype)).dtype == dtype
    assert losses.mean_squared_error([[1]], [[2]]).dtype == np.float32


def test_losses_of_the_same_name_as_functions():
    pairs = [
        (losses.categorical_crossentropy(ONE_HOT, P), C().rows(ONE_HOT, P)),
        (losses.categorical_crossentropy(ONE_HOT, Z, True), C(True).rows(ONE_HOT, Z)),
        (losses.sparse_categorical_crossentropy(CLASSES, P), S().rows(CLASSES, P)),
        (losses.binary_crossentropy(BITS, Z, from_logits=True), B(True).rows(BITS, Z)),
        (losses.mean_squared_error(Z, P), losses.MeanSquaredError().rows(Z, P)),
    ]
    for ours, theirs in pairs:
        np.testing.assert_array_equal(ours, theirs)


def test_probabilities_of_zero_and_one_are_clipped_as_in_keras():
    p, y = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]])
    assert losses.categorical_crossentropy(y, p)[0] == pytest.approx(-np.log(1e-7))
    assert losses.binary_crossentropy(y, p)[0] == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_extreme_logits_give_finite_losses():
    z = np.array([[1000.0, -1000.0]])
    assert losses.categorical_crossentropy([[0, 1]], z, True)[0] == 2000
    assert losses.binary_crossentropy([[0, 1]], z, True)[0] == 1000


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 4)])
def test_a_loss_keeps_the_leading_axes(shape):
    x = RNG.standard_normal(shape)
    y = RNG.integers(0, 4, shape[:-1])
    assert losses.sparse_categorical_crossentropy(y, x, True).shape == shape[:-1]
    assert losses.mean_squared_error(x, x).shape == shape[:-1]


IDENTIFIERS = [
    ("mse", "mean_squared_error"),
    ("MeanSquaredError", "mean_squared_error"),
    ("Categorical_Crossentropy", "categorical_crossentropy"),
    (losses.mean_squared_error, "mean_squared_error"),
    (losses.SparseCategoricalCrossentropy, "sparse_categorical_crossentropy"),
    (losses.BinaryCrossentropy(name="mine"), "mine"),
]


@pytest.mark.parametrize(("identifier", "name"), IDENTIFIERS)
def test_a_loss_is_found_by_name_function_class_and_object(identifier, name):
    assert losses.get(identifier).name == name


def test_an_unknown_loss_gets_a_suggestion():
    with pytest.raises(ArgumentError, match="did you mean 'categorical_crossentropy'"):
        losses.get("categorical_crosentropy")
    with pytest.raises(ArgumentError, match=r"subclass gpunet\.losses\.Loss"):
        losses.get(lambda y, x: 0)


@pytest.mark.parametrize("loss", [C(True, name="a"), S(), B(from_logits=True), losses.get("mse")])
def test_a_loss_made_from_its_configuration_is_the_same(loss):
    again = type(loss).from_config(loss.get_config())
    assert again.get_config() == loss.get_config()


def test_labels_and_predictions_of_different_lengths_are_refused():
    with pytest.raises(ShapeError, match="y_true has 5, y_pred has 6"):
        losses.mean_squared_error(Z[:5], Z)


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy", "binary_crossentropy"])
@pytest.mark.parametrize("end", ["softmax", "sigmoid"])
def test_the_loss_of_a_model_is_that_of_its_predictions(loss, end):
    model = Sequential([layers.Dense(4, end, input_dim=3)]).to(dtype="float64")
    model.compile("sgd", loss)
    x = RNG.standard_normal((6, 3))
    expected = losses.get(loss)(ONE_HOT, model(x), WEIGHTS)
    result = model.evaluate(x, ONE_HOT, batch_size=4, sample_weight=WEIGHTS, verbose=0)
    assert result == pytest.approx(expected, rel=1e-9)


def test_a_loss_of_ones_own_trains():
    class Half(losses.Loss):
        name = "half"

        def record(self, op, b):
            op.elementwise_loss(
                b.dx,
                b.loss,
                b.totals,
                b.x,
                b.labels,
                b.sample_weight,
                kind="squared",
                scale=b.scale / 2,
            )

    model = Sequential([layers.Dense(4, input_dim=3)])
    model.compile("sgd", Half())
    assert np.isfinite(model.train_on_batch(np.ones((6, 3)), ONE_HOT))
