"""Mistakes that Keras lets pass: each is said once, in one sentence, and no weight has moved."""

import warnings

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, layers, losses, optimizers
from gpunet.errors import ArgumentError, DtypeError, GpunetWarning, ShapeError, UsageError

X = np.random.default_rng(0).random((12, 4), np.float32)
CLASSES = np.arange(12) % 3
BINARY = np.arange(12.0) % 2
SPARSE = "sparse_categorical_crossentropy"


def classifier(last="softmax", units=3, first=(), shape=(4,)):
    return Sequential([Input(shape), *first, layers.Flatten(), layers.Dense(units, last)])


def with_value(array, value, where=(3, 1)):
    changed = array.astype(np.float64)
    changed[where] = value
    return changed


def fit(model, x=X, y=CLASSES, loss=SPARSE, optimizer="sgd", **kwargs):
    model.compile(optimizer, loss)
    return model.fit(x, y, epochs=1, verbose=0, **kwargs)


def images(dtype=np.uint8, high=256):
    return np.random.default_rng(0).integers(0, high, (12, 2, 2)).astype(dtype)


def image_model(*first):
    return classifier(first=first, shape=(2, 2))


def hidden(activation):
    stack = [Input((4,)), layers.Dense(3, activation), layers.Reshape((3,)), layers.Dropout(0.1)]
    return Sequential(stack)


# name -> (model, what is done with it, what is said)
ERRORS = {
    "NaN in x": (
        classifier,
        lambda m: fit(m, with_value(X, np.nan)),
        r"x holds nan at \[3, 1\] \(1 such values in all\), which .* drop these samples",
    ),
    "infinity in x": (classifier, lambda m: fit(m, with_value(X, -np.inf)), "x holds -inf at"),
    "two infinities": (
        classifier,
        lambda m: fit(m, with_value(with_value(X, np.inf), -np.inf, (0, 0))),
        r"x holds -inf at \[0, 0\] \(2 such",
    ),
    "NaN in y": (
        lambda: classifier("linear", 1),
        lambda m: fit(m, X, with_value(BINARY, np.nan, 5), "mse"),
        r"y holds nan at \[5\]",
    ),
    "NaN in validation data": (
        classifier,
        lambda m: fit(m, validation_data=(with_value(X, np.nan), CLASSES)),
        "validation x holds nan",
    ),
    "NaN in sample_weight": (
        classifier,
        lambda m: fit(m, sample_weight=with_value(np.ones(12), np.nan, 2)),
        "sample_weight must be finite",
    ),
    "no sample_weight": (
        classifier,
        lambda m: fit(m, sample_weight=np.zeros(12)),
        "sample_weight is 0 for every sample",
    ),
    "class_weight of no class": (
        classifier,
        lambda m: fit(m, class_weight={3: 2.0}),
        "class_weight names the class 3, but the model has the classes 0 to 2",
    ),
    "labels that are fractions": (
        classifier,
        lambda m: fit(m, y=CLASSES + 0.5),
        "must be class numbers, got fractions or NaN",
    ),
    "labels beyond the classes": (classifier, lambda m: fit(m, y=CLASSES + 1), "from 0 to 2"),
    "fit before compile": (
        classifier,
        lambda m: m.fit(X, CLASSES),
        r"has not been compiled: call model.compile",
    ),
    "set_weights": (
        classifier,
        lambda m: m.set_weights([w.T for w in m.get_weights()]),
        r"weight 'kernel' of .* has shape \(4, 3\), got \(3, 4\)",
    ),
    "negative learning rate": (
        classifier,
        lambda m: fit(m, optimizer=optimizers.SGD(-0.1)),
        "for learning_rate, got -0.1",
    ),
    "unknown optimizer": (classifier, lambda m: fit(m, optimizer="adm"), "did you mean 'adam'"),
    "negative batch size": (classifier, lambda m: fit(m, batch_size=-1), "positive integer"),
    "text": (classifier, lambda m: fit(m, np.full((12, 4), "a")), "array of numbers"),
}

WARNINGS = {
    "pixels": (image_model, lambda m: fit(m, images()), r"uint8 up to 2\d\d .*Rescaling\(1/255\)"),
    "pixels to train and to validate on": (
        image_model,
        lambda m: fit(m, images(), validation_data=(images(), CLASSES)),
        "x is uint8",
    ),
    "sorted labels": (
        classifier,
        lambda m: fit(m, y=np.sort(CLASSES), validation_split=0.34),
        "holds the classes 2 that the part to train on lacks: the data are sorted; shuffle",
    ),
    "sorted one-hot labels": (
        classifier,
        lambda m: fit(
            m, y=np.eye(3)[np.sort(CLASSES)], loss="categorical_crossentropy", validation_split=0.34
        ),
        "holds the classes 2",
    ),
    "negative sample_weight": (
        classifier,
        lambda m: fit(m, sample_weight=np.linspace(-1, 1, 12)),
        "sample_weight has negative values, the least -1",
    ),
    "accuracy of numbers": (
        lambda: classifier("linear", 1),
        lambda m: (
            m.compile("sgd", "mse", metrics=["accuracy"]),
            m.fit(X, X[:, 0], verbose=0, validation_split=0.25),
        ),
        "'accuracy' counts classes, but y holds fractions; take 'mae'",
    ),
    "large learning rate": (
        classifier,
        lambda m: m.compile(optimizers.SGD(100.0), SPARSE),
        "SGD has the learning rate 100, with which training diverges",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    make, call, message = ERRORS[name]
    model = make()
    before = model.get_weights()
    with pytest.raises(
        (ArgumentError, ShapeError, DtypeError, UsageError), match=message
    ) as raised:
        call(model)
    assert "\n" not in str(raised.value)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_come_before_any_step(name):
    make, call, message = WARNINGS[name]
    model = make()
    before = model.get_weights()
    with pytest.raises(GpunetWarning, match=message):  # pytest makes errors of warnings
        call(model)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), before, strict=True))


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings_are_said_once_at_the_users_line(name):
    make, call, _ = WARNINGS[name]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call(make())
    assert [w.category for w in caught] == [GpunetWarning]
    assert caught[0].filename == __file__


@pytest.mark.emulator
def test_a_backend_changed_under_a_built_model():
    model = classifier()
    model.get_weights()
    gpunet.set_backend("emulator")
    with pytest.warns(GpunetWarning, match=r"runs on numpy, .* model.to\('emulator'\) moves it"):
        fit(model)
    model.to("emulator")
    fit(model)


@pytest.mark.emulator
def test_a_moved_model_is_no_mistake():
    model = classifier()
    model.to("emulator")
    fit(model)


GOOD = {
    "float labels that are whole": (classifier, lambda m: fit(m, y=CLASSES.astype(float))),
    "a large batch": (classifier, lambda m: fit(m, batch_size=1000)),
    "scaled pixels": (lambda: image_model(layers.Rescaling(1 / 255)), lambda m: fit(m, images())),
    "pixels scaled behind a reshape": (
        lambda: image_model(layers.Flatten(), layers.Rescaling(1 / 255)),
        lambda m: fit(m, images()),
    ),
    "small integers": (image_model, lambda m: fit(m, images(high=17))),
    "float pixels": (image_model, lambda m: fit(m, images(np.float32) / 255)),
    "shuffled labels": (classifier, lambda m: fit(m, validation_split=0.25)),
    "logits": (
        lambda: classifier("linear"),
        lambda m: fit(m, loss=losses.SparseCategoricalCrossentropy(from_logits=True)),
    ),
    "regression": (
        lambda: classifier("linear", 1),
        lambda m: fit(m, X, np.sort(X[:, 0]), "mse", validation_split=0.25),
    ),
    "accuracy of two classes": (
        lambda: classifier("linear", 1),
        lambda m: (m.compile("sgd", "mse", metrics=["accuracy"]), m.fit(X, BINARY, verbose=0)),
    ),
    "large finite numbers": (
        lambda: classifier("linear", 1),
        lambda m: fit(m, X, np.full(12, 3e38, np.float32), "mse", optimizers.SGD(0.0)),
    ),
    "a linear activation behind a softmax": (
        lambda: Sequential([layers.Dense(3, "softmax", input_dim=4), layers.Activation("linear")]),
        fit,
    ),
    "some weights are 0": (classifier, lambda m: fit(m, sample_weight=np.arange(12) % 2)),
}


@pytest.mark.parametrize("name", GOOD)
def test_nothing_is_said_of_what_is_right(name):
    make, call = GOOD[name]
    with np.errstate(all="ignore"):
        call(make())


def test_several_inputs_are_named():
    a, b = Input((4,), name="left"), Input((4,), name="right")
    model = Model([a, b], layers.Dense(3, "softmax")(layers.Add()([a, b])))
    with pytest.raises(ArgumentError, match=r"x \(right\) holds nan"):
        fit(model, [X, with_value(X, np.nan)])
