"""Merging, joining, moving, resizing and noise: layers without weights, held against Keras."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

_PATH = Path(__file__).parents[1] / "golden" / "layers.py"
_spec = importlib.util.spec_from_file_location("golden_layers", _PATH)
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)
RESULTS = np.load(golden.PATH)
NUMBERS = range(len(golden.CASES))


def name_of(number):
    name, arguments, shapes = golden.CASES[number]
    return f"{name}-{arguments}-{shapes}"


def layer_of(number):
    name, arguments, _ = golden.CASES[number]
    return getattr(layers, name)(**arguments)


def model_of(number):
    tensors = [Input(shape, name=f"x{i}") for i, shape in enumerate(golden.CASES[number][2])]
    return Model(tensors, layer_of(number)(tensors if len(tensors) > 1 else tensors[0]))


def single(values):
    return values[0] if len(values) == 1 else values


@pytest.mark.parametrize("number", NUMBERS, ids=name_of)
def test_outputs_and_gradients_are_those_of_keras(number):
    model, x = model_of(number), golden.inputs(number)
    expected = RESULTS[f"y{number}"]
    assert model.output_shape == (None, *expected.shape[1:])
    np.testing.assert_allclose(model.predict(single(x), verbose=0), expected, rtol=1e-5, atol=1e-6)
    run = model.run(single(x))
    np.testing.assert_allclose(run.y, expected, rtol=1e-5, atol=1e-6)
    gradients = run.backward(golden.weights(expected.shape).astype(np.float32))
    for i, dx in enumerate(gradients if len(x) > 1 else [gradients]):
        wanted = RESULTS[f"dx{number}_{i}"]
        if "ActivityRegularization" in name_of(number):
            wanted = wanted + (0.1 * np.sign(x[i]) + 0.4 * x[i]) / len(x[i])
        np.testing.assert_allclose(dx, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("number", NUMBERS, ids=name_of)
def test_gradients(number, training):
    rng = np.random.default_rng(1)
    x = [rng.standard_normal(array.shape) for array in golden.inputs(number)]
    assert gradient_check(layer_of(number), single(x), training=training) < 1e-6


@pytest.mark.parametrize("number", NUMBERS, ids=name_of)
def test_configs(number):
    layer, model = layer_of(number), model_of(number)
    again = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
    assert again.get_config() == layer.get_config()
    x = single(golden.inputs(number))
    for other in (model_from_json(model.to_json()), clone_model(model)):
        np.testing.assert_array_equal(other.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("number", NUMBERS, ids=name_of)
def test_batches_of_any_size(number):
    """Each sample by itself, and plans of several sizes one after another."""
    model, x = model_of(number), golden.inputs(number)
    whole = model.predict(single(x), verbose=0)
    for batch_size in (1, 2, 3):
        parts = model.predict(single(x), batch_size=batch_size, verbose=0)
        np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-6)


@pytest.mark.emulator
@pytest.mark.parametrize("number", NUMBERS, ids=name_of)
def test_the_device_trains_alike(number):
    tensors = [Input(shape, name=f"x{i}") for i, shape in enumerate(golden.CASES[number][2])]
    grown = [layers.Dense(t.shape[-1])(t) for t in tensors]
    moved = layer_of(number)(grown if len(grown) > 1 else grown[0])
    model = Model(tensors, layers.Dense(2)(layers.Flatten()(moved)))
    model.compile("sgd", "mse")
    x = [array.astype(np.float32) for array in golden.inputs(number)]
    report = compare(model, "numpy", "emulator", single(x), np.ones((golden.BATCH, 2), np.float32))
    assert report.ok, report


def test_cosines_of_vectors_without_length():
    x, y = Input((3,)), Input((3,))
    model = Model([x, y], layers.Dot(1, normalize=True)([x, y]))
    run = model.run([np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32)], training=True)
    assert run.y == 0
    dx, dy = run.backward(np.ones((1, 1), np.float32))
    np.testing.assert_allclose(dx, 1e7 / np.sqrt(3), rtol=1e-6)
    assert not dy.any()
    both = Model(x, layers.Dot(1, normalize=True)([x, x]))
    np.testing.assert_allclose(both(np.ones((2, 3), np.float32)), 1.0, rtol=1e-6)
    assert gradient_check(both, np.ones((2, 3))) < 1e-6


# ------------------------------------------------------------------------------------- noise


ONES = np.ones((400, 50), np.float32)


def trained(layer, x):
    tensor = Input(x.shape[1:])
    return Model(tensor, layer(tensor))(x, training=True)


@pytest.mark.parametrize(
    ("layer", "deviation"),
    [
        (layers.GaussianNoise(0.5), 0.5),
        (layers.GaussianDropout(0.2), 0.5),
        (layers.GaussianDropout(0.0), 0.0),
        (layers.GaussianNoise(0.0), 0.0),
    ],
)
def test_noise_has_its_deviation_around_x(layer, deviation):
    y = trained(layer, 3 * ONES)
    scale = 3 if isinstance(layer, layers.GaussianDropout) else 1
    assert y.mean() == pytest.approx(3, abs=0.03)
    assert y.std() == pytest.approx(scale * deviation, rel=0.03)


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(0).standard_normal((400, 500)).astype(np.float32)
    y = trained(layers.AlphaDropout(0.3), x)
    assert y.mean() == pytest.approx(0, abs=0.02)
    assert y.std() == pytest.approx(1, abs=0.02)
    _, counts = np.unique(y, return_counts=True)
    assert counts.max() / y.size == pytest.approx(0.3, abs=0.01)  # what was dropped is one number


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_spatial_dropout_drops_whole_channels(data_format):
    shape = (30, 4, 5, 20) if data_format == "channels_last" else (30, 20, 4, 5)
    y = trained(layers.SpatialDropout2D(0.25, data_format), np.ones(shape, np.float32))
    channels = y if data_format == "channels_last" else np.moveaxis(y, 1, -1)
    channels = channels.reshape(30, 20, 20)
    assert (channels == channels[:, :1]).all()
    assert set(np.unique(channels)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert (channels[:, 0] == 0).mean() == pytest.approx(0.25, abs=0.06)


# --------------------------------------------------------------------------------- functions


def sine(**arguments):
    return layers.FunctionLayer(np.sin, lambda dy, x, y: dy * np.cos(x), **arguments)


def test_a_layer_of_functions():
    x = np.random.default_rng(0).standard_normal((4, 3))
    assert gradient_check(sine(), x) < 1e-6
    model = Sequential([layers.Dense(4, input_dim=3), sine(), layers.Dense(1)])
    model.compile("sgd", "mse")
    first = model.train_on_batch(x, np.ones((4, 1)))
    for _ in range(30):
        last = model.train_on_batch(x, np.ones((4, 1)))
    assert last < 0.5 * first


def test_a_layer_of_functions_may_change_the_shape():
    halves = layers.FunctionLayer(
        lambda x: x[:, ::2], lambda dy, x, y: np.repeat(dy, 2, 1) * [1, 0, 1, 0], (2,)
    )
    assert gradient_check(halves, np.arange(8.0).reshape(2, 4)) < 1e-6


def test_mistakes_of_layers_of_functions():
    x = np.zeros((2, 3))
    with pytest.raises(ArgumentError, match="takes two functions, got 3 and None"):
        layers.FunctionLayer(3)
    with pytest.raises(ArgumentError, match="never put into a config; write a subclass"):
        Sequential([sine(input_shape=(3,))]).to_json()
    model = Sequential([layers.FunctionLayer(lambda x: x[:1], input_shape=(3,))])
    with pytest.raises(ShapeError, match=r"forward function of 'function_layer' must return"):
        model.predict(x, verbose=0)
    model = Sequential([layers.Dense(3, input_dim=3), layers.FunctionLayer(np.sin)])
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError, match="has no backward function"):
        model.train_on_batch(x, x)


# ---------------------------------------------------------------------------------- mistakes

A, B = Input((3, 4)), Input((3, 5))
MISTAKES = {
    "sizes that differ": (lambda: layers.Add()([A, B]), ShapeError, "inputs of one shape"),
    "one input": (lambda: layers.Multiply()([A]), ArgumentError, "two or more inputs, got 1"),
    "three to subtract": (lambda: layers.Subtract()([A, A, A]), ArgumentError, "list of two in"),
    "too many repeated axes": (
        lambda: Model(
            [x := Input((1, 2, 1, 2, 1)), y := Input((2, 2, 2, 2, 2))], layers.Add()([x, y])
        ).predict([np.zeros((1, 1, 2, 1, 2, 1)), np.zeros((1, 2, 2, 2, 2, 2))], verbose=0),
        ShapeError,
        "too many axes",
    ),
    "the batch axis": (lambda: layers.Concatenate(axis=0), ArgumentError, "other than 0"),
    "sizes beside the axis": (
        lambda: layers.Concatenate(axis=1)([A, B]),
        ShapeError,
        "differ along axis 1 alone",
    ),
    "dot of different sizes": (lambda: layers.Dot(2)([A, B]), ShapeError, "of one size along"),
    "an axis that is not there": (
        lambda: layers.Dot([2, 3])([Input((3, 4, 5)), Input((4, 4))]),
        ShapeError,
        "sums along axis 3, got an input .* no such axis",
    ),
    "normalized": (lambda: layers.Dot(1, normalize=3), ArgumentError, "True or False for normal"),
    "half a size": (lambda: layers.UpSampling2D(0.5), ArgumentError, "of at least 1 for size"),
    "bicubic": (
        lambda: layers.UpSampling2D(interpolation="bicubic"),
        ArgumentError,
        "'nearest' or 'bilinear'",
    ),
    "rank": (lambda: layers.ZeroPadding2D()(A), ShapeError, "expects inputs of 4 axes"),
    "negative padding": (lambda: layers.ZeroPadding1D(-1), ArgumentError, "at least 0 for padd"),
    "nothing left": (lambda: layers.Cropping1D((2, 1))(A), ShapeError, "leaves nothing of"),
    "data format": (lambda: layers.UpSampling2D(2, "nchw"), ArgumentError, "'channels_last' or"),
    "dims from 0": (lambda: layers.Permute((0, 1)), ArgumentError, "takes the axes of a sample"),
    "dims of another rank": (lambda: layers.Permute((1, 2, 3))(A), ShapeError, "4 axes, got"),
    "no times": (lambda: layers.RepeatVector(0), ArgumentError, "positive integer for n"),
    "repeated matrix": (lambda: layers.RepeatVector(2)(A), ShapeError, r"\(batch, features\)"),
    "rate of 1": (lambda: layers.SpatialDropout1D(1.0), ArgumentError, "below 1 for rate, got 1.0"),
    "negative noise": (lambda: layers.GaussianNoise(-1), ArgumentError, "at least 0 for stddev"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(mistake):
    do, error, message = MISTAKES[mistake]
    with pytest.raises(error, match=message):
        do()


def test_functions_are_layers_called():
    x, y = Input((3,), name="x"), Input((3,), name="y")
    merged = [
        getattr(layers, name)([x, y])
        for name in ("add", "subtract", "multiply", "average", "maximum", "minimum")
    ]
    model = Model([x, y], [*merged, layers.concatenate([x, y]), layers.dot([x, y], axes=1)])
    a, b = np.float32([[1, 2, 3]]), np.float32([[3, 2, -1]])
    out = model.predict([a, b], verbose=0)
    wanted = [a + b, a - b, a * b, (a + b) / 2, np.maximum(a, b), np.minimum(a, b)]
    for value, expected in zip(out, [*wanted, np.concatenate([a, b], 1), [[4]]], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert gpunet.layers.Permute((1, 2)).passes_through(training=True)


# ------------------------------------------------------------------------------- seeds

RANDOM = {
    "dropout": lambda **seed: layers.Dropout(0.5, **seed),
    "alpha dropout": lambda **seed: layers.AlphaDropout(0.5, **seed),
    "gaussian dropout": lambda **seed: layers.GaussianDropout(0.5, **seed),
    "gaussian noise": lambda **seed: layers.GaussianNoise(1.0, **seed),
    "features": lambda **seed: layers.SpatialDropout1D(0.5, **seed),
}


@pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)
def test_layers_of_one_seed_draw_the_same_numbers(make):
    def outputs(**seeds):
        x = gpunet.Input((8, 16))
        made = [make(**seed)(x) for seed in seeds.values()]
        model = gpunet.Model(x, made)
        run = model.run(np.ones((4, 8, 16), np.float32), training=True)
        again = model.run(np.ones((4, 8, 16), np.float32), training=True)
        assert not np.array_equal(run.y[0], again.y[0])  # another pass, other numbers
        return run.y

    first, second, third = outputs(a={"seed": 3}, b={"seed": 3}, c={"seed": 4})
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, third)
    first, second = outputs(a={}, b={})
    assert not np.array_equal(first, second)
    assert make(seed=np.int64(7)).get_config()["seed"] == 7
    for wrong in (-1, 2**32, 0.5, "a", True):
        with pytest.raises(gpunet.errors.ArgumentError, match=r"2\*\*32 - 1 for seed, got "):
            make(seed=wrong)


@pytest.mark.parametrize("layer", [layers.Dropout, layers.AlphaDropout])
def test_a_noise_shape_is_refused(layer):
    with pytest.raises(gpunet.errors.ArgumentError, match=r"has no noise_shape, got .*Spatial"):
        layer(0.5, noise_shape=(None, 1, 16))
    assert layer(0.5, None, 3).seed == 3  # Keras' order
