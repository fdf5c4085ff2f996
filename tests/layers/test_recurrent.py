"""Recurrent layers: Keras' numbers, gradients, both devices, dropout, and what they refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.engine.cost import flops
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_recurrent")
NUMBERS = golden.load()
RNG = np.random.default_rng
OPTIONS = [
    {},
    {"return_sequences": True},
    {"go_backwards": True},
    {"go_backwards": True, "return_sequences": True, "use_bias": False},
    {"dropout": 0.5, "return_sequences": True},
    {"dropout": 0.3, "use_bias": False, "unit_forget_bias": False},
]


MADE = [
    *((layers.LSTM, options) for options in OPTIONS),
    *((layers.GRU, options) for options in OPTIONS if "unit_forget_bias" not in options),
]


def saved_case(number):
    keys = [key.partition(".")[2] for key in NUMBERS if key.startswith(f"{number}.")]
    return {key: NUMBERS[f"{number}.{key}"] for key in keys}


def listed(saved, prefix):
    """Saved arrays by their number: weight0, weight1, ..."""
    numbered = (f"{prefix}{i}" for i in range(len(saved)))
    return [saved[key] for key in numbered if key in saved]


def as_list(value):
    return list(value) if isinstance(value, list | tuple) else [value]


@pytest.mark.parametrize(
    ("number", "name", "arguments", "given"),
    [(i, *case) for i, case in enumerate(golden.CASES)],
    ids=[f"{i}-{case[0]}" for i, case in enumerate(golden.CASES)],
)
def test_keras_numbers(number, name, arguments, given):
    saved = saved_case(number)
    x, call = Input(saved["x"].shape[1:]), {}
    states = [Input(state.shape[1:]) for state in listed(saved, "state")]
    inputs, arrays = [x, *states], [saved["x"], *listed(saved, "state")]
    if states:
        call["initial_state"] = states
    if "mask" in given:
        call["mask"] = Input(golden.SHAPE[1:2], dtype="bool")
        inputs.append(call["mask"])
        arrays.append(np.array(golden.MASK, bool))
    model = Model(inputs, golden.made(layers, name, arguments)(x, **call))
    model.to("numpy", dtype="float64")
    model.set_weights(listed(saved, "weight"))
    run = model.run(arrays if len(arrays) > 1 else arrays[0], training=True)
    dys = listed(saved, "dy")
    dx, *dstates = as_list(run.backward(dys if len(dys) > 1 else dys[0]))
    # Keras with PyTorch computes some of hard_sigmoid in float32.
    rtol, atol = (1e-5, 1e-7) if "hard" in str(arguments) else (1e-9, 1e-12)
    for y, expected in zip(as_list(run.y), listed(saved, "y"), strict=True):
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dx, saved["dx"], rtol=rtol, atol=atol)
    for gradient, expected in zip(dstates, listed(saved, "dstate"), strict=False):
        np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=atol)
    for gradient, expected in zip(model.get_gradients(), listed(saved, "gradient"), strict=True):
        np.testing.assert_allclose(gradient, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(("make", "options"), MADE, ids=str)
def test_gradients(make, options, steps, training):
    model = Sequential(
        [layers.Dense(3, input_shape=(steps, 2)), make(5, **options), layers.Dense(2)]
    )
    x = RNG(0).standard_normal((3, steps, 2))
    assert gradient_check(model, x, training=training, elements=8) < 1e-6


def test_gradient_of_recurrent_layers_in_a_row():
    model = Sequential(
        [
            layers.LSTM(4, return_sequences=True, go_backwards=True, input_shape=(3, 2)),
            layers.GRU(3, return_sequences=True),
            layers.LSTM(3, activity_regularizer="l2"),
        ]
    )
    assert gradient_check(model, RNG(1).standard_normal((2, 3, 2))) < 1e-6


@pytest.mark.emulator
@pytest.mark.parametrize(("make", "options"), MADE, ids=str)
def test_kernels_agree_with_numpy(make, options):
    model = Sequential([make(5, input_shape=(4, 3), **options), layers.Dense(2)])
    model.compile("sgd", "mse")
    x = RNG(1).standard_normal((9, 4, 3)).astype(np.float32)
    comparison = compare(model, "numpy", "emulator", x, model.predict(x, verbose=0) + 1)
    assert comparison.ok, str(comparison)


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
def test_shapes_and_parameters(options):
    model = Sequential([layers.LSTM(6, input_shape=(5, 3), **options)])
    sequences = (5,) if options.get("return_sequences") else ()
    assert model.output_shape == (None, *sequences, 6)
    names = [parameter.name for parameter in model.parameters]
    assert names == ["kernel", "recurrent_kernel", "bias"][: 3 - (not options.get("use_bias", 1))]
    assert [w.shape for w in model.get_weights()] == [(3, 24), (6, 24), (24,)][: len(names)]
    assert model.predict(np.zeros((2, 5, 3)), verbose=0).shape == (2, *sequences, 6)


def test_the_bias_of_the_forget_gate_starts_at_one():
    _, recurrent, bias = Sequential([layers.LSTM(2, input_shape=(5, 3))]).get_weights()
    assert bias.tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(recurrent @ recurrent.T, np.eye(2), atol=1e-6)
    layer = layers.LSTM(2, unit_forget_bias=False, input_shape=(5, 3))
    assert not Sequential([layer]).get_weights()[2].any()


def test_a_gru_has_two_biases():
    weights = Sequential([layers.GRU(6, input_shape=(5, 3))]).get_weights()
    assert [weight.shape for weight in weights] == [(3, 18), (6, 18), (2, 18)]
    weights = Sequential([layers.GRU(6, reset_after=False, input_shape=(5, 3))]).get_weights()
    assert weights[2].shape == (18,)


def test_a_dropped_feature_is_dropped_in_all_steps():
    """With a kernel that hands each feature to a unit of its own, whose gates are open."""
    layer = layers.LSTM(8, use_bias=False, dropout=0.5, return_sequences=True)
    model = Sequential([Input((6, 8)), layer])
    kernel = np.concatenate([np.zeros((8, 16)), np.eye(8), np.zeros((8, 8))], axis=1)
    model.set_weights([kernel, np.zeros((8, 32))])
    y = model.run(np.ones((4, 6, 8)), training=True).y
    dropped = y == 0
    assert 0 < dropped.mean() < 1
    assert (dropped == dropped[:, :1]).all()  # in all steps alike
    assert not (dropped == dropped[:1]).all()  # but not in all samples
    np.testing.assert_allclose(y[:, 0][~dropped[:, 0]], 0.5 * np.tanh(0.5 * np.tanh(2)), rtol=1e-6)
    assert (model.run(np.ones((4, 6, 8)), training=False).y > 0).all()


def test_what_a_step_costs():
    """Two operations for each number of the recurrent kernel, step and sample; twice backwards."""
    model = Sequential([layers.LSTM(4, input_shape=(5, 3))])
    model.compile("sgd", "mse")
    records = model.training_plan(2).records
    costs = {record.op.name: flops(record) for record in records}
    assert costs["lstm"] == costs["lstm_backward"] == 2 * (4 * 16) * 5 * 2


def test_it_learns_which_number_came_first():
    x = RNG(2).standard_normal((256, 6, 1)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.float32)
    model = Sequential([layers.LSTM(16, input_shape=(6, 1)), layers.Dense(1, "sigmoid")])
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.optimizer.learning_rate = 0.02
    model.fit(x, y, epochs=15, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.95


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"units": 0}, "LSTM takes a positive integer for units, got 0"),
        ({"units": 2.5}, "LSTM takes a positive integer for units, got 2.5"),
        ({"units": 2, "activation": "glu"}, "LSTM takes a function of one number for activation"),
        ({"units": 2, "dropout": 1.0}, "at least 0 and below 1 for dropout, got 1.0"),
        ({"units": 2, "recurrent_dropout": -1}, "and below 1 for recurrent_dropout, got -1"),
        ({"units": 2, "return_state": 1}, "LSTM takes a bool for return_state, got 1"),
        ({"units": 2, "seed": -1}, "None or an integer from 0 to 2.*32 - 1 for seed, got -1"),
        ({"units": 2, "use_cudnn": 3}, "LSTM takes 'auto' or a bool for use_cudnn, got 3"),
        ({"units": 2, "go_backwards": 1}, "LSTM takes a bool for go_backwards, got 1"),
    ],
)
def test_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        layers.LSTM(**arguments)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
def test_inputs_that_are_no_sequences(shape):
    with pytest.raises(ShapeError, match=r"LSTM 'lstm' expects inputs \(batch, steps, features\)"):
        Sequential([Input(shape), layers.LSTM(3)]).graph  # noqa: B018 - which builds it
