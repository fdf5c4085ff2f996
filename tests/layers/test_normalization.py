"""Normalization layers: Keras' numbers, gradients, state, both devices, and what they refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.backend import backend_named
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_normalization")
NUMBERS = np.load(GOLDEN / "normalization.npz")
RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("number", "name", "arguments", "shape"),
    [(i, *case) for i, case in enumerate(golden.CASES)],
    ids=[f"{i}-{case[0]}" for i, case in enumerate(golden.CASES)],
)
def test_keras_numbers(number, name, arguments, shape):
    layer = golden.make(layers, name, arguments)
    layer.sample_shape = shape[1:]
    assert_keras_numbers(number, Sequential([layer]))


@pytest.mark.parametrize(
    ("number", "arguments", "shape", "mask"),
    [(i, *case) for i, case in enumerate(golden.MASKED, start=len(golden.CASES))],
)
def test_keras_numbers_with_masks(number, arguments, shape, mask):
    assert_keras_numbers(number, masked_model(arguments, shape), np.array(mask, bool))


def masked_model(arguments, shape):
    """A batch normalization with a mask for all axes but the last, which is an input, too."""
    x, mask = Input(shape[1:]), Input(shape[1:-1], dtype="bool")
    return Model([x, mask], layers.BatchNormalization(**arguments)(x, mask=mask))


def assert_keras_numbers(number, model, *mask):
    keys = [key.partition(".")[2] for key in NUMBERS.files if key.startswith(f"{number}.")]
    saved = {key: NUMBERS[f"{number}.{key}"] for key in keys}
    inputs = [saved["x"], *mask] if mask else saved["x"]
    model.to("numpy", dtype="float64")
    model.set_weights([saved[f"before{i}"] for i in range(len(model.parameters))])

    run = model.run(inputs, training=True)
    dx = run.backward(saved["dy"])
    dx = dx[0] if mask else dx
    np.testing.assert_allclose(run.y, saved["train.y"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx, saved["train.dx"], rtol=1e-9, atol=1e-11)
    pairs = zip(model.parameters, model.get_gradients(), strict=True)
    gradients = [gradient for parameter, gradient in pairs if parameter.is_trainable]
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, saved[f"gradient{i}"], rtol=1e-9, atol=1e-11)
    for i, weight in enumerate(model.get_weights()):
        np.testing.assert_allclose(weight, saved[f"after{i}"], rtol=1e-9)

    run = model.run(inputs, training=False)
    dx = run.backward(saved["dy"])
    dx = dx[0] if mask else dx
    np.testing.assert_allclose(run.y, saved["infer.y"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(dx, saved["infer.dx"], rtol=1e-9, atol=1e-11)


MADE = [
    lambda: layers.BatchNormalization(),
    lambda: layers.BatchNormalization(center=False, momentum=0.5),
    lambda: layers.BatchNormalization(scale=False, trainable=False),
    lambda: layers.LayerNormalization(),
    lambda: layers.LayerNormalization(axis=[-2, -1], scale=False),
    lambda: layers.LayerNormalization(rms_scaling=True),
    lambda: layers.GroupNormalization(2),
    lambda: layers.GroupNormalization(-1, scale=False),
    lambda: layers.RMSNormalization(),
    lambda: layers.UnitNormalization(),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 6), (1, 8)])
@pytest.mark.parametrize("make", MADE)
def test_gradients(make, shape, training):
    layer = make()
    layer.sample_shape = shape
    model = Sequential([layers.Dense(shape[-1], input_shape=shape), layer])
    x = RNG(0).standard_normal((5, *shape))
    assert gradient_check(model, x, training=training, elements=8) < 1e-6


def test_gradient_of_spectral_normalization():
    """In inference; in training the gradient is, as in Keras, that of the divided kernel."""
    layer = layers.SpectralNormalization(layers.Dense(3, "tanh"))
    assert gradient_check(layer, RNG(0).standard_normal((5, 4))) < 1e-6


@pytest.mark.emulator
@pytest.mark.parametrize("make", [*MADE, lambda: layers.SpectralNormalization(layers.Dense(4))])
def test_kernels_agree_with_numpy(make):
    model = Sequential([layers.Dense(4, input_shape=(3, 5)), make(), layers.Dense(2)])
    model.compile("sgd", "mse")
    x = RNG(1).standard_normal((7, 3, 5)).astype(np.float32)
    comparison = compare(model, "numpy", "emulator", x, model.predict(x, verbose=0) + 1)
    assert comparison.ok, str(comparison)


# ------------------------------------------------------------------------ batch normalization


def test_moving_statistics_converge_to_those_of_the_data():
    x = RNG(2).standard_normal((640, 3)).astype(np.float32) * [1.0, 2.0, 3.0] + [0.0, 5.0, -5.0]
    model = Sequential([layers.BatchNormalization(momentum=0.9, input_shape=(3,))])
    model.compile(optimizers.SGD(0.0), "mse")
    model.fit(x, x, batch_size=64, epochs=20, verbose=0)
    *_, mean, variance = model.get_weights()
    np.testing.assert_allclose(mean, x.mean(axis=0), atol=0.2)
    np.testing.assert_allclose(variance, x.var(axis=0), rtol=0.1)
    y = model.predict(x, verbose=0)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(y.std(axis=0), 1, atol=0.1)


def test_partial_batches_and_evaluation_leave_the_statistics_right():
    """Batches of 4, 4 and 2; evaluate and predict change nothing."""
    x = RNG(3).standard_normal((10, 5)).astype(np.float32)
    model = Sequential([layers.BatchNormalization(momentum=0.5, input_shape=(5,))])
    model.compile(optimizers.SGD(0.0), "mse")
    mean, variance = np.zeros(5), np.ones(5)
    model.fit(x, x, batch_size=4, verbose=0, shuffle=False)
    for start in (0, 4, 8):
        mean = 0.5 * mean + 0.5 * x[start : start + 4].mean(axis=0)
        variance = 0.5 * variance + 0.5 * x[start : start + 4].var(axis=0)
    before = model.get_weights()
    model.evaluate(x, x, batch_size=3, verbose=0)
    model.predict(x, batch_size=7, verbose=0)
    for weight, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, wanted)
    np.testing.assert_allclose(before[2], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(before[3], variance, rtol=1e-5)


@pytest.mark.parametrize("affine", [True, False])
def test_a_frozen_layer_uses_and_keeps_its_moving_statistics(affine):
    """Also if trainable changes after the first step."""
    x = RNG(4).standard_normal((8, 3)).astype(np.float32) + 4.0
    layer = layers.BatchNormalization(center=affine, scale=affine, input_shape=(3,))
    model = Sequential([layer])
    model.compile("sgd", "mse")
    model.train_on_batch(x, x)
    layer.trainable = False
    model.compile("sgd", "mse")
    before = model.get_weights()
    inference = model.predict(x, verbose=0)
    np.testing.assert_array_equal(model.run(x, training=True).y, inference)
    model.train_on_batch(x, x)
    for weight, wanted in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, wanted)
    layer.trainable = True
    model.compile("sgd", "mse")
    model.train_on_batch(x, x)
    assert not np.array_equal(model.get_weights()[-2], before[-2])


def test_a_shared_layer_normalizes_each_call_by_itself():
    a, b = Input((4,)), Input((4,))
    shared = layers.BatchNormalization(momentum=0.5)
    model = Model([a, b], [shared(a), shared(b)])
    x = RNG(5).standard_normal((6, 4)).astype(np.float32)
    run = model.run([x, 3 * x + 2], training=True)
    np.testing.assert_allclose(run.y[0], run.y[1], atol=1e-2)
    mean = 0.5 * (0.5 * x.mean(axis=0)) + 0.5 * (3 * x + 2).mean(axis=0)
    np.testing.assert_allclose(model.get_weights()[2], mean, rtol=1e-5)
    assert gradient_check(model, [x, 3 * x + 2], training=True) < 1e-6


def test_the_optimizer_leaves_moving_statistics_alone():
    """Weight decay and averages are for weights."""
    x = RNG(6).standard_normal((8, 3)).astype(np.float32)
    model = Sequential([layers.BatchNormalization(momentum=1.0, input_shape=(3,))])
    model.compile(optimizers.AdamW(0.1, weight_decay=0.5, use_ema=True), "mse")
    model.fit(x, x, epochs=3, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[2], 0.0)
    np.testing.assert_array_equal(model.get_weights()[3], 1.0)
    assert len(model.trainable_weights) == 2


STEPS = (3, 4, 6)
MASKS = {
    "some": [[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0]],
    "one": [[0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
    "none": [[0, 0, 0, 0]] * 3,
    "all": [[1, 1, 1, 1]] * 3,
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("arguments", [{}, {"scale": False}, {"trainable": False}])
def test_gradients_with_masks(arguments, mask, training):
    """Of masked steps, too: they are normalized with statistics that they have no part in."""
    x, there = Input(STEPS[1:]), Input(STEPS[1:2], dtype="bool")
    y = layers.BatchNormalization(epsilon=0.1, **arguments)(layers.Dense(6)(x), mask=there)
    data = [RNG(8).standard_normal(STEPS) + 3.0, np.array(mask, bool)]
    assert gradient_check(Model([x, there], y), data, training=training, elements=30) < 1e-6


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_masked_steps_have_no_part_in_the_statistics(mask, backend):
    """Whatever they hold."""
    there = np.array(mask, bool)
    x = RNG(9).standard_normal(STEPS).astype(np.float32) + 2.0
    x[~there] = np.nan
    model = masked_model({"momentum": 0.5}, STEPS).to(backend)
    y = model([x, there], training=True)
    shown = x[there] if there.any() else np.zeros((1, 6))
    mean, variance = shown.mean(axis=0), shown.var(axis=0)
    np.testing.assert_allclose(
        y[there], ((x - mean) / np.sqrt(variance + 1e-3))[there], rtol=1e-4, atol=1e-4
    )
    assert np.isnan(y[~there]).all()
    np.testing.assert_allclose(model.get_weights()[2], 0.5 * mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.get_weights()[3], 0.5 + 0.5 * variance, rtol=1e-5)


OTHERS = [pytest.param(b, marks=getattr(pytest.mark, b)) for b in ("emulator", "numba")]


@pytest.mark.parametrize("other", OTHERS)
def test_training_with_masks_on_each_backend(other):
    if other == "numba":
        pytest.importorskip("numba", reason="needs pip install gpunet[fast]")
    inputs = Input((5,), dtype="int32")
    x = layers.Embedding(7, 8, mask_zero=True)(inputs)
    x = layers.BatchNormalization()(layers.Dense(8)(x))
    model = Model(inputs, layers.Dense(2)(layers.BatchNormalization(momentum=0.5)(x)))
    model.compile("sgd", "mse")
    tokens = RNG(10).integers(0, 7, (6, 5)).astype(np.int32)
    comparison = compare(model, "numpy", other, tokens, RNG(11).standard_normal((6, 5, 2)))
    assert comparison.ok, str(comparison)


@pytest.mark.parametrize(
    ("axis", "shape", "steps"), [(1, (4, 6), (4,)), (-1, (4, 3, 6), (4,)), (1, (4, 3, 6), (4, 3))]
)
def test_masks_are_for_all_axes_but_the_last(axis, shape, steps):
    layer, x, mask = (
        layers.BatchNormalization(axis, name="b"),
        Input(shape),
        Input(steps, dtype="bool"),
    )
    with pytest.raises(ShapeError, match=f"'b' with axis={axis} expects a mask for all axes but"):
        layer(x, mask=mask)
    assert layer(x).mask is None


def test_a_layer_whose_axis_is_the_last_takes_a_mask_whatever_its_name():
    x, mask = Input((4, 6)), Input((4,), dtype="bool")
    assert layers.BatchNormalization(2)(x, mask=mask).mask is mask


def test_batch_normalization_in_a_net_learns():
    x = RNG(7).standard_normal((96, 6)).astype(np.float32) * 10 + 30
    y = (x[:, :1] > 30).astype(np.float32)
    stack = [layers.Dense(8, input_shape=(6,)), layers.BatchNormalization(momentum=0.9)]
    model = Sequential([*stack, layers.Activation("relu"), layers.Dense(1, "sigmoid")])
    model.compile(optimizers.Adam(0.02), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=25, batch_size=16, verbose=0)
    assert model.evaluate(x, y, verbose=0)[1] > 0.9


# ----------------------------------------------------------------------- what may go wrong


def test_constant_channels_and_rows_stay_finite():
    x = np.full((4, 3, 6), 7.0, np.float32)
    for make in MADE:
        y = Sequential([make()])(x, training=True)
        assert np.isfinite(y).all()
    zeros = Sequential([layers.UnitNormalization()])(np.zeros((2, 3), np.float32))
    np.testing.assert_array_equal(zeros, 0.0)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_nan_goes_through(backend):
    x = np.ones((2, 4), np.float32)
    x[0, 1] = np.nan
    ops = backend_named(backend)
    model = Sequential([layers.LayerNormalization(input_shape=(4,))])
    y = model.to(ops).predict(x, verbose=0)
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()
    model = Sequential([layers.BatchNormalization(input_shape=(4,))])
    y = model.to(ops)(x, training=True)
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(y[:, [0, 2, 3]]).all()


def test_a_kernel_of_zeros_is_not_divided():
    layer = layers.SpectralNormalization(layers.Dense(2, kernel_initializer="zeros"))
    model = Sequential([Input((3,)), layer])
    vector = model.get_weights()[1]
    model(np.ones((1, 3), np.float32), training=True)
    np.testing.assert_array_equal(model.get_weights()[0], 0.0)
    np.testing.assert_array_equal(model.get_weights()[1], vector)


def test_spectral_normalization_freezes_with_its_layer():
    inner = layers.Dense(2, trainable=False)
    model = Sequential([Input((3,)), layers.SpectralNormalization(inner)])
    assert not model.trainable_weights
    outer = layers.SpectralNormalization(layers.Dense(2), trainable=False)
    assert not Sequential([Input((3,)), outer]).trainable_weights
    assert (
        len(Sequential([Input((3,)), layers.SpectralNormalization(layers.Dense(2))]).weights) == 3
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.BatchNormalization(momentum=1.5), "number from 0 to 1 for momentum, got 1"),
        (lambda: layers.BatchNormalization(epsilon=0), "number above 0 for epsilon, got 0"),
        (lambda: layers.BatchNormalization(renorm=True), "neither renorm nor synchronized"),
        (lambda: layers.GroupNormalization(0), "positive integer or -1 for groups, got 0"),
        (lambda: layers.RMSNormalization(epsilon="a"), "number above 0 for epsilon, got 'a'"),
        (lambda: layers.SpectralNormalization(3), "takes a layer, got 3"),
        (
            lambda: layers.SpectralNormalization(layers.Dense(2), 0),
            "positive integer for power_iterations, got 0",
        ),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.BatchNormalization(axis=3), (4, 3), r"along axis 3, .*got \(None, 4, 3\)"),
        (layers.BatchNormalization(axis=0), (4, 3), r"not that of the batch, got"),
        (layers.LayerNormalization(axis=[1, 3]), (2, 3, 4), r"the last axes.*\[2, 3\], got axis"),
        (layers.GroupNormalization(4), (6,), "cannot divide 6 channels into 4 groups"),
        (layers.UnitNormalization(axis=[0, 1]), (6,), "normalizes the last axes"),
    ],
)
def test_shapes(layer, shape, message):
    with pytest.raises(ShapeError, match=message):
        Sequential([Input(shape), layer]).graph  # noqa: B018 - which builds it


def test_axis_and_wrapped_layers_of_a_wrong_kind():
    with pytest.raises(ArgumentError, match="an integer or a list of integers for axis, got 'x'"):
        layers.LayerNormalization(axis="x").build((None, 3))
    with pytest.raises(ArgumentError, match="takes a layer with a kernel or embeddings"):
        layers.SpectralNormalization(layers.Flatten()).build((None, 3))


def test_other_features_than_built_for():
    layer = layers.LayerNormalization(axis=[1, 2], name="n")
    layer.ensure_built((None, 2, 4))
    with pytest.raises(ShapeError, match="'n' was built for inputs with last axes"):
        layer.ensure_built((None, 3, 4))
