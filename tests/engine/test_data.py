"""What users pass in: every form of inputs and labels trains alike."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, losses, optimizers

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 40)


def classifier():
    model = Sequential([layers.Dense(5, "relu", input_dim=6), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def assert_same_weights(ours, theirs, **tolerance):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


def big_endian(x):
    return x.astype(">f4")


def strided(x):
    return np.repeat(x, 2, axis=0)[::2]


def turned(x):
    return np.asfortranarray(x)


FORMS = [np.float64, np.float32, np.float16, big_endian, strided, turned, list]
ROUNDED = np.round(X * 4)


@pytest.mark.parametrize("form", FORMS)
def test_inputs_of_every_form_train_alike(form):
    x = form(ROUNDED) if callable(form) and form not in FORMS[:3] else ROUNDED.astype(form)
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    ours.fit(x, Y, epochs=2, shuffle=False, verbose=0)
    theirs.fit(ROUNDED, Y, epochs=2, shuffle=False, verbose=0)
    assert_same_weights(ours, theirs, rtol=0)
    expected = theirs.predict(ROUNDED, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "uint16", "int32", "int64", "uint32"])
def test_integers_are_cast_on_the_device(dtype):
    x = np.random.default_rng(1).integers(0, 100, (40, 6)).astype(dtype)
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    ours.fit(x, Y, shuffle=False, verbose=0)
    theirs.fit(x.astype(np.float32), Y, shuffle=False, verbose=0)
    assert_same_weights(ours, theirs, rtol=0)
    np.testing.assert_array_equal(ours.predict(x, verbose=0), theirs.predict(x * 1.0, verbose=0))


LABELS = [list, np.float64, np.int8, np.uint8, np.int64, lambda y: y[:, None]]


@pytest.mark.parametrize("form", LABELS)
def test_labels_of_every_form_train_alike(form):
    y = form(Y) if form is list or not isinstance(form, type) else Y.astype(form)
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    ours.fit(X, y, shuffle=False, verbose=0)
    theirs.fit(X, Y, shuffle=False, verbose=0)
    assert_same_weights(ours, theirs, rtol=0)


def test_one_hot_and_integer_labels_train_alike():
    ours, theirs = classifier(), classifier()
    theirs.compile("sgd", "categorical_crossentropy", metrics=["accuracy"])
    theirs.set_weights(ours.get_weights())
    first = ours.fit(X, Y, epochs=2, shuffle=False, verbose=0).history
    second = theirs.fit(X, np.eye(3)[Y], epochs=2, shuffle=False, verbose=0).history
    assert_same_weights(ours, theirs, rtol=1e-5, atol=1e-6)
    assert first["loss"] == pytest.approx(second["loss"], rel=1e-5)


def test_uint8_pixels_with_rescaling_train_like_numbers_from_0_to_1():
    pixels = np.random.default_rng(2).integers(0, 256, (40, 4, 4), dtype=np.uint8)
    head = [layers.Flatten(), layers.Dense(3, "softmax")]
    ours = Sequential([layers.Rescaling(1 / 255, input_shape=(4, 4)), *head])
    theirs = Sequential([layers.Flatten(input_shape=(4, 4)), layers.Dense(3, "softmax")])
    for model in (ours, theirs):
        model.compile("sgd", "sparse_categorical_crossentropy")
    theirs.set_weights(ours.get_weights())
    ours.fit(pixels, Y, epochs=3, shuffle=False, verbose=0)
    theirs.fit(pixels / 255, Y, epochs=3, shuffle=False, verbose=0)
    assert_same_weights(ours, theirs, rtol=1e-5, atol=1e-6)
    expected = theirs.predict(pixels / 255, verbose=0)
    np.testing.assert_allclose(ours.predict(pixels, verbose=0), expected, rtol=1e-5)


def test_several_inputs_come_as_a_list_a_tuple_or_a_dict():
    a, b = Input((6,), name="left"), Input((2,), name="right")
    joined = layers.Add()([layers.Dense(3)(a), layers.Dense(3)(b)])
    model = Model([a, b], layers.Softmax()(joined))
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = [X, X[:, :2]]
    expected = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.predict(tuple(x), verbose=0), expected)
    named = {"right": x[1], "left": x[0]}
    np.testing.assert_array_equal(model.predict(named, verbose=0), expected)
    assert np.isfinite(model.fit(named, Y, verbose=0).history["loss"]).all()


def test_several_outputs_come_as_a_list():
    x = Input((6,))
    hidden = layers.Dense(4, "tanh")(x)
    model = Model(x, [hidden, layers.Dense(2)(hidden)])
    first, second = model.predict(X, batch_size=16, verbose=0)
    assert (first.shape, second.shape) == ((40, 4), (40, 2))
    np.testing.assert_allclose(model(X[:5])[1], second[:5], rtol=1e-5)


def test_vectors_fit_models_with_one_input_and_one_output():
    model = Sequential([layers.Dense(1, input_dim=1)])
    model.compile(optimizers.SGD(0.1), "mse", metrics=["mae"])
    x = np.linspace(-1, 1, 32)
    history = model.fit(x, 2 * x + 1, epochs=60, verbose=0).history
    assert history["loss"][-1] < 1e-3
    assert model.predict(x, verbose=0).shape == (32, 1)


def test_predictions_of_many_rows_per_sample_train():
    model = Sequential([layers.Dense(4, "relu", input_shape=(5, 6)), layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    x = np.random.default_rng(3).standard_normal((8, 5, 6))
    y = np.random.default_rng(4).integers(0, 3, (8, 5))
    loss, accuracy = model.evaluate(x, y, batch_size=3, verbose=0)
    predicted = model.predict(x, verbose=0)
    assert accuracy == pytest.approx((predicted.argmax(axis=-1) == y).mean())
    assert loss == pytest.approx(losses.SparseCategoricalCrossentropy()(y, predicted), rel=1e-5)
    model.fit(x, y, sample_weight=np.ones(8), verbose=0)
    model.fit(x, y, sample_weight=np.ones((8, 5)), verbose=0)


@pytest.mark.emulator
def test_training_on_the_device_with_every_form_of_input():
    for x in (X, X.astype(">f4"), np.asfortranarray(X), X.astype(np.float64), X.tolist()):
        model = classifier().to("emulator")
        expected = classifier()
        expected.set_weights(model.get_weights())
        first = model.fit(x, Y, shuffle=False, validation_split=0.2, verbose=0).history
        second = expected.fit(X, Y, shuffle=False, validation_split=0.2, verbose=0).history
        assert first["val_loss"] == pytest.approx(second["val_loss"], rel=1e-4)
        ours = model.predict(x, batch_size=16, verbose=0)
        np.testing.assert_allclose(ours, expected.predict(X, verbose=0), rtol=1e-4)
