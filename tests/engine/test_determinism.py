"""The same seed gives the same bits, run after run and device after device."""

import numpy as np
import pytest

from gpunet import Sequential, layers, optimizers
from gpunet.callbacks import LambdaCallback
from gpunet.engine.stepper import Stepper
from gpunet.utils import set_random_seed

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((50, 6)).astype(np.float32), RNG.integers(0, 3, 50)


def train(make, seed=3, backend="numpy", epochs=3):
    """Weights and history of a short training from a seed."""
    set_random_seed(seed)
    model = make()
    model.to(backend)
    history = model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0).history
    return [*model.get_weights(), *map(np.array, history.values())]


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_two_trainings_from_one_seed_give_the_same_bits(mlp, optimizer):
    def make():
        return mlp(optimizer, dropout=0.4, metrics=["accuracy"])

    for ours, theirs in zip(train(make), train(make), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any((a != b).any() for a, b in zip(train(make), train(make, seed=4), strict=True))


def test_trainings_from_one_seed_agree_whatever_memory_held_before(mlp, poisoned):
    def make():
        return mlp("adam", dropout=0.4)

    plain = train(make)
    with poisoned():
        for ours, theirs in zip(train(make), plain, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_training_in_two_parts_equals_training_at_once_without_shuffle(mlp):
    set_random_seed(5)
    model = mlp(optimizers.SGD(0.1, momentum=0.9), dropout=0.3)
    model.fit(X, Y, epochs=4, shuffle=False, verbose=0)
    set_random_seed(5)
    parts = mlp(optimizers.SGD(0.1, momentum=0.9), dropout=0.3)
    parts.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    parts.fit(X, Y, epochs=4, initial_epoch=2, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_callbacks_that_evaluate_and_predict_change_no_bit(mlp):
    results = []
    for busy in (False, True):
        set_random_seed(6)
        model = mlp("adam", dropout=0.3)

        def look(epoch, logs, model=model):
            model.evaluate(X, Y, verbose=0)
            model.predict(X, verbose=0)

        calls = [LambdaCallback(on_epoch_end=look)] if busy else []
        model.fit(X, Y, epochs=3, callbacks=calls, validation_data=(X, Y), verbose=0)
        results.append(model.get_weights())
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def masks(backend, calls=2):
    """What a shared dropout layer lets through in two passes, on a backend."""
    set_random_seed(7)
    dropout = layers.Dropout(0.5)
    model = Sequential([dropout, layers.Dropout(0.25, input_dim=40)])
    model.build((None, 40))
    model.to(backend)
    ones = np.ones((30, 40), np.float32)
    return [model(ones, training=True) for _ in range(calls)]


def test_masks_differ_from_pass_to_pass_and_from_call_to_call():
    first, second = masks("numpy")
    assert (first != second).any()
    assert set(np.unique(first)) == {0.0, np.float32(1 / 0.5) * np.float32(1 / 0.75)}


@pytest.mark.parametrize("way", ["fit", "train_on_batch", "run"])
def test_each_step_draws_masks_of_its_own(mlp, way):
    model, losses = mlp(optimizers.SGD(0.0), dropout=0.5), []
    for _ in range(3):
        if way == "fit":
            losses.append(model.fit(X, Y, batch_size=50, verbose=0).history["loss"][0])
        elif way == "train_on_batch":
            losses.append(model.train_on_batch(X, Y))
        else:
            losses.append(float(model.run(X, training=True).y.std()))
    assert len({round(loss, 5) for loss in losses}) == 3


@pytest.mark.emulator
def test_masks_on_the_device_are_those_of_numpy():
    for ours, theirs in zip(masks("numpy"), masks("emulator"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.emulator
def test_first_weights_and_shuffles_do_not_depend_on_the_device(mlp, monkeypatch):
    orders, weights = {}, {}
    begin = Stepper.begin

    def spy(stepper, order):
        orders.setdefault(backend, []).append(order.copy())
        begin(stepper, order)

    monkeypatch.setattr(Stepper, "begin", spy)
    for backend in ("numpy", "emulator"):
        set_random_seed(8)
        model = mlp()
        model.to(backend)
        weights[backend] = model.get_weights()
        model.fit(X, Y, epochs=2, verbose=0)
    for ours, theirs in zip(weights["numpy"], weights["emulator"], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(orders["numpy"], orders["emulator"])
    assert (orders["numpy"][0] != orders["numpy"][1]).any()


@pytest.mark.emulator
def test_a_training_with_dropout_goes_the_same_way_on_the_device(mlp):
    def make():
        return mlp(optimizers.SGD(0.1, momentum=0.9), dropout=0.4, metrics=["accuracy"])

    for ours, theirs in zip(train(make), train(make, backend="emulator"), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-5)
