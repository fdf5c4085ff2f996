"""Optimizers: Keras' numbers, what may change between steps, what is untouched, what they say."""

import importlib.util
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, datasets, layers, optimizers, schedules, utils
from gpunet.errors import ArgumentError, UsageError
from gpunet.testing import compare

_SPEC = importlib.util.spec_from_file_location(
    "golden_optimizers", Path(__file__).parent / "golden" / "optimizers.py"
)
golden = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(golden)
GOLDEN = np.load(golden.FILE)

NAMES = list(golden.OWN)
KERAS = [
    pytest.param(*run, wanted, id=f"{i}-{run[0]}-{'-'.join(run[1])}")
    for i, (run, wanted) in enumerate(zip(golden.KERAS, GOLDEN["keras"], strict=True))
]


def make(name, arguments):
    """An optimizer from the arguments of a golden run."""
    arguments = {k: v for k, v in arguments.items() if k not in ("exclude", "finalize")}
    return getattr(optimizers, name).from_config(arguments)


def small_model(dtype="float64", backend="numpy", last=None):
    """The weights of the golden runs as a model."""
    last = last or layers.Dense(2)
    model = Sequential([layers.Dense(2, input_dim=3), last]).to(backend, dtype)
    model.set_weights(golden.split(golden.first_weights()))
    return model


def put_gradients(model, flat):
    """Write gradients as a backward would."""
    for parameter, values in zip(model.parameters, golden.split(flat), strict=True):
        block = parameter.block
        block.backend.write(block.gradient(parameter), values)
        parameter.has_gradient = True


def flat_weights(model):
    return np.concatenate([w.reshape(-1) for w in model.get_weights()])


def run(model, optimizer, steps, arguments=()):
    """The weights after the golden steps."""
    if "exclude" in arguments:
        optimizer.exclude_from_weight_decay(var_names=arguments["exclude"])
    for step in range(steps):
        put_gradients(model, golden.gradients(step))
        optimizer.step(model)
    if "finalize" in arguments and steps == golden.STEPS:
        optimizer.finalize_variable_values(model.parameters)
    return flat_weights(model)


# ------------------------------------------------------------------------- golden numbers


@pytest.mark.parametrize(("name", "arguments", "wanted"), KERAS)
def test_the_same_weights_as_keras(name, arguments, wanted):
    for steps, expected in zip((golden.EARLY, golden.STEPS), wanted, strict=True):
        got = run(small_model(), make(name, arguments), steps, arguments)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
    got = run(small_model("float32"), make(name, arguments), golden.STEPS, arguments)
    np.testing.assert_allclose(got, wanted[1], rtol=1e-4, atol=1e-4)


@pytest.mark.emulator
@pytest.mark.parametrize(("name", "arguments", "wanted"), KERAS)
def test_the_same_weights_as_keras_in_kernels(name, arguments, wanted):
    got = run(small_model("float32", "emulator"), make(name, arguments), golden.EARLY, arguments)
    np.testing.assert_allclose(got, wanted[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "arguments", "wanted"),
    [(*run, wanted) for run, wanted in zip(golden.TORCH, GOLDEN["torch"], strict=True)],
)
def test_the_same_weights_as_pytorch(name, arguments, wanted):
    for steps, expected in zip((golden.EARLY, golden.STEPS), wanted, strict=True):
        got = run(small_model(), make(name, arguments), steps)
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


# --------------------------------------------------------------------- what changes between steps


def test_the_learning_rate_may_change_between_steps():
    model, optimizer = small_model(), optimizers.SGD(0.5)
    expected = flat_weights(model)
    rates = [0.5, 0.25, schedules.PiecewiseConstantDecay([2], [1.0, 0.125]), None, lambda: 2.0, 0.0]
    for step, (rate, value) in enumerate(
        zip(rates, [0.5, 0.25, 1.0, 0.125, 2.0, 0.0], strict=True)
    ):
        if rate is not None:
            optimizer.learning_rate = rate
        assert optimizer.learning_rate == value
        put_gradients(model, golden.gradients(step))
        optimizer.step(model)
        expected = expected - value * golden.gradients(step)
        np.testing.assert_allclose(flat_weights(model), expected, rtol=1e-12)
        assert optimizer.iterations == step + 1


def test_fit_follows_a_schedule_and_callbacks_may_set_the_rate():
    x, y = np.ones((8, 3)), np.ones((8, 2))
    model = small_model()
    model.compile(optimizers.SGD(schedules.ExponentialDecay(0.1, 4, 0.5)), "mse")
    model.fit(x, y, batch_size=4, epochs=4, verbose=0)
    assert model.optimizer.iterations == 8
    assert model.optimizer.learning_rate == 0.025
    model.optimizer.learning_rate = 0.0
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_other_numbers_may_change_but_not_what_needs_buffers():
    model, optimizer = small_model(), optimizers.SGD(0.1, momentum=0.5, clipnorm=1.0)
    run(model, optimizer, 2)
    optimizer.momentum, optimizer.clipnorm, optimizer.weight_decay = 0.9, 0.5, 0.1
    run(model, optimizer, 1)
    optimizer.momentum = 0.0
    with pytest.raises(UsageError, match="in use with slots: velocity, and cannot go on with None"):
        run(model, optimizer, 1)
    optimizer.momentum, optimizer.clipnorm = 0.9, None
    with pytest.raises(UsageError, match="clipping: clipnorm"):
        run(model, optimizer, 1)


# -------------------------------------------------------------------------- what is untouched


@pytest.mark.parametrize("name", NAMES)
def test_frozen_layers_stay(name):
    arguments = {"weight_decay": 0.1, "use_ema": True, "ema_overwrite_frequency": 2}
    model = small_model(last=layers.Dense(2, trainable=False))
    before = model.get_weights()
    optimizer = make(name, {**arguments, "gradient_accumulation_steps": 2, "global_clipnorm": 1.0})
    run(model, optimizer, 4)
    optimizer.finalize_variable_values(model.parameters)
    after = model.get_weights()
    assert all((a != b).any() for a, b in zip(before[:2], after[:2], strict=True))
    for a, b in zip(before[2:], after[2:], strict=True):
        np.testing.assert_array_equal(a, b)


def test_excluded_weights_do_not_decay():
    first, second = small_model(), small_model()
    optimizer = optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay([first.layers[0].parameters[0]], ["bias"])
    run(first, optimizer, 3)
    run(second, optimizers.Adam(0.1), 3)
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    assert [(a == b).all() for a, b in pairs] == [True, True, False, True]
    with pytest.raises(UsageError, match="before the optimizer's first use"):
        optimizer.exclude_from_weight_decay(var_names=["kernel"])


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_a_layer_may_have_a_learning_rate_of_its_own(backend):
    model = small_model("float32", backend, layers.Dense(2, learning_rate_factor=0.25))
    before = golden.split(golden.first_weights())
    run(model, optimizers.SGD(0.5), 1)
    model.layers[0].learning_rate_factor = 0.0
    run(model, optimizers.SGD(0.5), 1)
    moves = [w - b for w, b in zip(model.get_weights(), before, strict=True)]
    wanted = [
        -0.5 * f * g
        for f, g in zip((1, 1, 0.5, 0.5), golden.split(golden.gradients(0)), strict=True)
    ]
    for move, expected in zip(moves, wanted, strict=True):
        np.testing.assert_allclose(move, expected, atol=1e-6)
    assert "learning_rate_factor" not in layers.Dense(2).get_config()
    assert model.layers[1].get_config()["learning_rate_factor"] == 0.25
    with pytest.raises(ArgumentError, match="learning_rate_factor"):
        model.layers[1].learning_rate_factor = -1


# --------------------------------------------------------------------- several spans and models


def two_spans():
    """The golden model in two blocks, as of an encoder that another model shares."""
    x = Input((3,))
    encoder = Model(x, layers.Dense(2)(x)).to("numpy", "float64")
    model = Model(x, layers.Dense(2)(encoder.layers[-1](x)))
    model.set_weights(golden.split(golden.first_weights()))
    assert len(model.spans) == 2
    return model


@pytest.mark.parametrize("clipping", ["clipnorm", "global_clipnorm", "clipvalue"])
def test_norms_reach_over_all_spans(clipping):
    arguments = {clipping: 0.7, "learning_rate": 0.1, "use_ema": True, "ema_momentum": 0.5}
    one = run(small_model(), make("Nadam", arguments), 5)
    two = run(two_spans(), make("Nadam", arguments), 5)
    np.testing.assert_allclose(one, two, rtol=1e-12)


def test_one_optimizer_may_train_two_models():
    optimizer = optimizers.Adam(0.1)
    first, second = small_model(), small_model()
    for model in (first, second):
        put_gradients(model, golden.gradients(0))
        optimizer.step(model)
    assert optimizer.iterations == 2
    assert not np.array_equal(flat_weights(first), golden.first_weights())
    assert not np.array_equal(flat_weights(second), golden.first_weights())


# ------------------------------------------------------------------------------ accumulation


DATA = np.sin(np.arange(24.0)).reshape(8, 3), np.cos(np.arange(16.0)).reshape(8, 2)


@pytest.mark.parametrize("name", NAMES)
def test_two_micro_batches_are_one_batch(name):
    arguments = {"global_clipnorm": 0.5, "weight_decay": 0.1, "use_ema": True}
    whole, parts = small_model(), small_model()
    whole.compile(make(name, arguments), "mse")
    parts.compile(make(name, {**arguments, "gradient_accumulation_steps": 2}), "mse")
    whole.fit(*DATA, batch_size=8, epochs=3, shuffle=False, verbose=0)
    parts.fit(*DATA, batch_size=4, epochs=3, shuffle=False, verbose=0)
    np.testing.assert_allclose(flat_weights(whole), flat_weights(parts), rtol=1e-9)
    assert whole.optimizer.iterations == parts.optimizer.iterations == 3


def test_nothing_moves_before_the_last_micro_batch():
    model = small_model()
    model.compile(optimizers.SGD(0.1, gradient_accumulation_steps=3), "mse")
    for step in range(1, 7):
        before = flat_weights(model)
        model.train_on_batch(*DATA)
        assert (flat_weights(model) != before).any() == (step % 3 == 0)


# --------------------------------------------------------------------------------- averages


def test_fit_ends_with_the_average():
    kept, averaged = small_model(), small_model()
    kept.compile(optimizers.SGD(0.1), "mse")
    averaged.compile(optimizers.SGD(0.1, use_ema=True, ema_momentum=0.75), "mse")
    expected = None
    for _ in range(4):
        kept.train_on_batch(*DATA)
        now = flat_weights(kept)
        expected = now if expected is None else 0.75 * expected + 0.25 * now
    averaged.fit(*DATA, batch_size=8, epochs=4, shuffle=False, verbose=0)
    np.testing.assert_allclose(flat_weights(averaged), expected, rtol=1e-12)


# ------------------------------------------------------------------------------- devices


@pytest.mark.emulator
@pytest.mark.parametrize("name", NAMES)
def test_state_moves_with_the_model(name):
    arguments = {"learning_rate": 0.05, "use_ema": True, "gradient_accumulation_steps": 2}
    stays, moves = small_model("float32"), small_model("float32")
    for model, places in ((stays, ["numpy"] * 3), (moves, ["numpy", "emulator", "numpy"])):
        model.compile(make(name, arguments), "mse")
        for place in places:
            model.to(place)
            model.train_on_batch(*DATA)
            model.train_on_batch(*DATA)
    np.testing.assert_allclose(flat_weights(stays), flat_weights(moves), rtol=1e-5, atol=1e-6)
    assert moves.optimizer.iterations == 3


@pytest.mark.emulator
@pytest.mark.parametrize("name", NAMES)
def test_a_step_agrees_op_by_op(name):
    model = small_model("float32")
    arguments = {"global_clipnorm": 0.5, "weight_decay": 0.1, "use_ema": True}
    model.compile(make(name, arguments), "mse")
    comparison = compare(model, "numpy", "emulator", *DATA)
    assert comparison.ok, str(comparison)


# ------------------------------------------------------------------------------- learning


@pytest.mark.parametrize("name", NAMES)
def test_each_learns_the_digits(name):
    utils.set_random_seed(1)
    (x, y), (x_test, y_test) = datasets.digits.load_data()
    x, x_test = (a.reshape(len(a), -1).astype("float32") / 16 for a in (x, x_test))
    rate = {"SGD": 0.2, "Adagrad": 0.1, "Adadelta": 1.0, "Lion": 0.002}.get(name, 0.01)
    model = Sequential(
        [layers.Dense(32, "relu", input_dim=x.shape[1]), layers.Dense(10, "softmax")]
    )
    model.compile(
        make(name, {"learning_rate": rate}), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    model.fit(x, y, epochs=4, verbose=0)
    assert model.evaluate(x_test, y_test, verbose=0)[1] > 0.85


def test_a_shared_layer_counts_once():
    x, shared = Input((3,)), layers.Dense(3)
    model = Model(x, shared(shared(x)))
    model.compile(optimizers.RMSprop(clipnorm=1.0), "mse")
    model.fit(DATA[0], DATA[0], epochs=2, verbose=0)
    assert model.optimizer.iterations == 2


# ------------------------------------------------------------------------------ saving, names


@pytest.mark.parametrize(("name", "arguments", "wanted"), KERAS)
def test_saved_configs_round_trip(name, arguments, wanted):
    saved = json.loads(json.dumps(optimizers.serialize(make(name, arguments))))
    again = optimizers.deserialize(saved)
    assert type(again).__name__ == name
    assert optimizers.serialize(again) == saved
    got = run(small_model(), optimizers.get(saved), golden.EARLY, arguments)
    np.testing.assert_allclose(got, wanted[0], rtol=1e-9, atol=1e-9)


def test_keras_defaults():
    wanted = {
        "SGD": {"learning_rate": 0.01, "momentum": 0.0, "nesterov": False},
        "RMSprop": {"learning_rate": 0.001, "rho": 0.9, "momentum": 0.0, "centered": False},
        "Lion": {"learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.99},
        "AdamW": {"learning_rate": 0.001, "weight_decay": 0.004, "beta_1": 0.9, "beta_2": 0.999},
        "Adagrad": {"initial_accumulator_value": 0.1, "epsilon": 1e-7},
        "Adadelta": {"rho": 0.95, "epsilon": 1e-7, "weight_decay": None, "ema_momentum": 0.99},
    }
    for name, arguments in wanted.items():
        config = getattr(optimizers, name)().get_config()
        assert arguments.items() <= config.items()
    for name in NAMES:
        kind = getattr(optimizers, name)
        assert type(optimizers.get(name.lower())) is kind
        assert type(optimizers.get(kind)) is kind
        parameters = list(inspect.signature(kind).parameters)
        assert parameters[0] == "learning_rate"


ABSURD = [
    (
        "SGD",
        {"learning_rate": -0.1},
        "SGD takes a number of at least 0.* for learning_rate, got -0",
    ),
    ("SGD", {"learning_rate": float("nan")}, "learning_rate, got nan"),
    ("SGD", {"learning_rate": "0.1"}, "learning_rate, got '0.1'"),
    ("SGD", {"momentum": 1.5}, "a number from 0 to 1 for momentum, got 1.5"),
    ("SGD", {"momentun": 0.9}, "SGD has no argument 'momentun': did you mean 'momentum'"),
    ("Adam", {"beta_1": 1.0}, "at least 0 and below 1 for beta_1, got 1.0"),
    ("Nadam", {"beta_2": float("nan")}, "beta_2, got nan"),
    ("Adamax", {"epsilon": -1e-7}, "epsilon, got -1e-07"),
    ("RMSprop", {"rho": 1}, "rho, got 1"),
    ("Adadelta", {"rho": float("inf")}, "rho, got inf"),
    ("Adagrad", {"initial_accumulator_value": -1}, "initial_accumulator_value, got -1"),
    ("Lion", {"beta_1": 0.0}, "above 0 and below 1 for beta_1, got 0.0"),
    ("AdamW", {"weight_decay": None}, "AdamW takes a number for weight_decay, got None"),
    ("Adam", {"weight_decay": -0.1}, "or None for weight_decay, got -0.1"),
    ("Adam", {"clipnorm": 1.0, "global_clipnorm": 1.0}, "only one of clipnorm and global_clipnorm"),
    ("Adam", {"clipvalue": 0}, "above 0 or None for clipvalue, got 0"),
    ("Adam", {"ema_momentum": 1.1}, "ema_momentum, got 1.1"),
    ("Adam", {"ema_overwrite_frequency": 0}, "ema_overwrite_frequency, got 0"),
    ("Adam", {"gradient_accumulation_steps": 1}, "gradient_accumulation_steps, got 1"),
    ("Adam", {"gradient_accumulation_steps": 2.0}, "gradient_accumulation_steps, got 2.0"),
    ("Adam", {"loss_scale_factor": 128.0}, "takes no loss_scale_factor"),
    ("Adam", {"decay_rate": 1}, "Adam has no argument 'decay_rate'"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), ABSURD)
def test_absurd_arguments_are_refused_in_one_sentence(name, arguments, message):
    with pytest.raises(ArgumentError, match=message) as error:
        getattr(optimizers, name)(**arguments)
    assert "\n" not in str(error.value)


def test_absurd_values_are_refused_later_too():
    model, optimizer = small_model(), optimizers.Adam()
    with pytest.raises(ArgumentError, match="learning_rate"):
        optimizer.learning_rate = float("inf")
    optimizer.beta_1 = 2.0
    with pytest.raises(ArgumentError, match="beta_1, got 2"):
        run(model, optimizer, 1)
    optimizer = optimizers.Adam(lambda: -1.0)
    with pytest.raises(ArgumentError, match=r"learning_rate, got -1\.0"):
        run(model, optimizer, 1)
    np.testing.assert_array_equal(flat_weights(model), golden.first_weights())


def test_unknown_names_get_a_suggestion():
    with pytest.raises(ArgumentError, match="did you mean 'rmsprop'"):
        optimizers.get("rmspop")
    with pytest.raises(ArgumentError, match="such as 'adam'"):
        optimizers.get(3)
    with pytest.raises(ArgumentError, match="class_name"):
        optimizers.get({"name": "adam"})
    with pytest.raises(ArgumentError, match=r"model\.parameters, got ndarray"):
        optimizers.Adam().exclude_from_weight_decay([np.ones(3)])
    for patterns in (["("], "bias", [1]):
        with pytest.raises(ArgumentError, match="list of patterns"):
            optimizers.Adam().exclude_from_weight_decay(var_names=patterns)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize("clipping", [None, "clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_nan_is_not_hidden(name, clipping, backend):
    model = small_model("float32", backend)
    flat = golden.gradients(0)
    flat[0] = np.nan
    put_gradients(model, flat)
    make(name, {clipping: 1.0} if clipping else {}).step(model)
    reached = {"clipnorm": 6, "global_clipnorm": golden.SIZE}.get(clipping, 1)
    assert np.isnan(flat_weights(model)).tolist() == [i < reached for i in range(golden.SIZE)]


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_a_norm_that_is_not_finite_makes_nan(backend):
    model = small_model("float32", backend)
    flat = golden.gradients(0)
    flat[0] = np.inf
    put_gradients(model, flat)
    optimizers.SGD(global_clipnorm=1.0).step(model)
    assert np.isnan(flat_weights(model)).all()
