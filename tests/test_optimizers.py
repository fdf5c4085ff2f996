"""Optimizers equal the formulas of Keras in float64, and take new hyper-parameters any time."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.errors import ArgumentError, UsageError

STEPS = 20


def sgd(w, g, s, t, learning_rate, momentum=0.0, nesterov=False):
    if not momentum:
        return w - learning_rate * g
    s["v"] = momentum * s.get("v", 0) - learning_rate * g
    return w + (momentum * s["v"] - learning_rate * g if nesterov else s["v"])


def adam(w, g, s, t, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
    s["m"] = s.get("m", 0) + (g - s.get("m", 0)) * (1 - beta_1)
    s["v"] = s.get("v", 0) + (g * g - s.get("v", 0)) * (1 - beta_2)
    alpha = learning_rate * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    return w - alpha * s["m"] / (np.sqrt(s["v"]) + epsilon)


CASES = [
    (optimizers.SGD, sgd, {"learning_rate": 0.1}),
    (optimizers.SGD, sgd, {"learning_rate": 0.1, "momentum": 0.9}),
    (optimizers.SGD, sgd, {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    (optimizers.SGD, sgd, {"learning_rate": 0.1, "momentum": 1.0}),
    (optimizers.Adam, adam, {"learning_rate": 0.01}),
    (optimizers.Adam, adam, {"learning_rate": 0.1, "beta_1": 0.5, "beta_2": 0.7, "epsilon": 0.1}),
]


@pytest.mark.parametrize(("make", "formula", "hyper"), CASES)
def test_twenty_steps_follow_the_formula_of_keras(make, formula, hyper):
    rng = np.random.default_rng(0)
    model = Sequential([layers.Dense(3, input_dim=5)]).to(dtype="float64")
    optimizer = make(**hyper)
    weights, states = model.get_weights(), [{}, {}]
    for t in range(1, STEPS + 1):
        x, dy = rng.standard_normal((4, 5)), rng.standard_normal((4, 3))
        model.run(x).backward(dy)
        optimizer.step(model)
        gradients = [x.T @ dy, dy.sum(axis=0)]
        weights = [
            formula(w, g, s, t, **hyper) for w, g, s in zip(weights, gradients, states, strict=True)
        ]
    assert optimizer.iterations == STEPS
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, 0.9), optimizers.Adam(0.1)])
def test_a_learning_rate_changed_between_steps_takes_effect(optimizer):
    model = Sequential([layers.Dense(3, input_dim=5)])
    model.compile(optimizer, "mse")
    x, y = np.ones((4, 5)), np.zeros((4, 3))
    model.train_on_batch(x, y)
    before = model.get_weights()
    optimizer.learning_rate = 0.0
    if isinstance(optimizer, optimizers.SGD):
        optimizer.momentum = 0.0
    model.train_on_batch(x, y)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    optimizer.learning_rate = np.float32(0.1)
    model.train_on_batch(x, y)
    assert (before[0] != model.get_weights()[0]).any()


def test_a_momentum_that_comes_too_late_is_refused_and_changes_nothing():
    model = Sequential([layers.Dense(3, input_dim=5)])
    model.compile(optimizers.SGD(0.1), "mse")
    x, y = np.ones((4, 5)), np.zeros((4, 3))
    model.train_on_batch(x, y)
    before = model.get_weights()
    model.optimizer.momentum = 0.9
    with pytest.raises(ArgumentError, match=r"made without momentum, got 0\.9"):
        model.train_on_batch(x, y)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    assert model.optimizer.iterations == 1


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), "0.1", None, [0.1]])
@pytest.mark.parametrize("make", [optimizers.SGD, optimizers.Adam])
def test_learning_rates_that_make_no_sense_are_refused_at_once_and_later(make, value):
    with pytest.raises(ArgumentError, match=r"takes a number of at least 0 for learning_rate, got"):
        make(learning_rate=value)
    model = Sequential([layers.Dense(3, input_dim=5)])
    model.compile(make(), "mse")
    model.prepare(None)
    before = model.get_weights()
    model.optimizer.learning_rate = value
    with pytest.raises(ArgumentError, match="learning_rate"):
        model.train_on_batch(np.ones((4, 5)), np.zeros((4, 3)))
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


HYPER = [
    (optimizers.SGD, {"momentum": 1.5}, "momentum from 0 to 1, got 1.5"),
    (optimizers.SGD, {"momentum": -0.5}, "at least 0 for momentum, got -0.5"),
    (optimizers.Adam, {"beta_1": 1.0}, "beta_1 of at least 0 and below 1, got 1.0"),
    (optimizers.Adam, {"beta_2": -1}, "at least 0 for beta_2, got -1"),
    (optimizers.Adam, {"epsilon": float("nan")}, "at least 0 for epsilon, got nan"),
]


@pytest.mark.parametrize(("make", "hyper", "message"), HYPER)
def test_hyper_parameters_that_make_no_sense_are_refused(make, hyper, message):
    with pytest.raises(ArgumentError, match=message):
        make(**hyper)


@pytest.mark.parametrize(("make", "formula", "hyper"), CASES)
def test_an_optimizer_made_from_its_configuration_is_the_same(make, formula, hyper):
    optimizer = make(**hyper)
    again = make.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert {name: again.get_config()[name] for name in hyper} == hyper


def test_optimizers_are_found_by_name_class_and_object():
    assert isinstance(optimizers.get("SGD"), optimizers.SGD)
    assert isinstance(optimizers.get(optimizers.Adam), optimizers.Adam)
    mine = optimizers.Adam(name="mine")
    assert optimizers.get(mine) is mine
    assert (optimizers.get("adam").name, mine.name) == ("adam", "mine")
    with pytest.raises(ArgumentError, match="did you mean 'adam'"):
        optimizers.get("adan")
    with pytest.raises(ArgumentError, match="an optimizer must be a name such as"):
        optimizers.get(0.1)


def test_the_defaults_are_those_of_keras():
    defaults = {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False, "name": "sgd"}
    assert optimizers.SGD().get_config() == defaults
    adam = {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "name": "adam"}
    assert optimizers.Adam().get_config() == adam


def test_a_step_without_gradients_says_what_comes_first():
    model = Sequential([layers.Dense(3, input_dim=5)])
    with pytest.raises(UsageError, match=r"no gradients to step with: call run\.backward"):
        optimizers.SGD().step(model)


def test_weights_in_several_blocks_are_updated_in_one_step_that_counts_once():
    x, first, second = Input((5,)), layers.Dense(4, name="first"), layers.Dense(3, name="second")
    Model(x, first(x))
    model = Model(x, second(first(x)))
    assert len(model.spans) == 2
    optimizer = optimizers.SGD(0.1, momentum=0.9)
    model.compile(optimizer, "mse")
    before = model.get_weights()
    model.train_on_batch(np.ones((4, 5)), np.zeros((4, 3)))
    assert optimizer.iterations == 1
    assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    model.run(np.ones((4, 5))).backward(np.ones((4, 3)))
    optimizer.step(model)
    assert optimizer.iterations == 2


def test_padding_between_weights_does_no_harm():
    model = Sequential([layers.Dense(3, input_dim=5)])
    model.compile("adam", "mse")
    for _ in range(3):
        model.train_on_batch(np.ones((4, 5)), np.zeros((4, 3)))
    assert np.isfinite(model.spans[0].weights).all()
