"""Image layers: Keras' numbers, gradients, random numbers, both devices, and what they refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_images")
NUMBERS = np.load(GOLDEN / "images.npz")
RNG = np.random.default_rng


@pytest.mark.parametrize(
    ("number", "name", "arguments"),
    [(i, *case) for i, case in enumerate(golden.CASES)],
    ids=[f"{i}-{case[0]}" for i, case in enumerate(golden.CASES)],
)
@pytest.mark.parametrize("place", range(len(golden.SHAPES)))
def test_keras_numbers(number, name, arguments, place):
    shape = golden.SHAPES[place]
    layer = getattr(layers, name)(**arguments, input_shape=shape[1:])
    model = Sequential([layer]).to("numpy", dtype="float64")
    run = model.run(NUMBERS["x" + "x".join(map(str, shape))], training=True)
    wanted = NUMBERS[f"{number}.{place}.y"]
    assert run.y.shape == wanted.shape == (shape[0], *model.output_shape[1:])
    np.testing.assert_allclose(run.y, wanted, rtol=1e-6, atol=2e-6)
    dx = run.backward(np.cos(np.arange(wanted.size)).reshape(wanted.shape))
    np.testing.assert_allclose(dx, NUMBERS[f"{number}.{place}.dx"], rtol=1e-6, atol=5e-6)


RANDOM = [
    lambda **k: layers.RandomFlip(**k),
    lambda **k: layers.RandomFlip("horizontal", **k),
    lambda **k: layers.RandomRotation(0.2, **k),
    lambda **k: layers.RandomRotation(0.2, fill_mode="constant", interpolation="nearest", **k),
    lambda **k: layers.RandomTranslation(0.3, (-0.1, 0.4), fill_mode="wrap", **k),
    lambda **k: layers.RandomZoom(0.3, fill_mode="nearest", **k),
    lambda **k: layers.RandomZoom(0.3, 0.2, **k),
    lambda **k: layers.RandomCrop(5, 4, **k),
    lambda **k: layers.RandomBrightness(0.4, (0, 1), **k),
    lambda **k: layers.RandomContrast(0.4, (0, 1), **k),
]
FIXED = [
    lambda: layers.Resizing(4, 3),
    lambda: layers.Resizing(4, 3, crop_to_aspect_ratio=True),
    lambda: layers.Resizing(9, 3, "nearest", pad_to_aspect_ratio=True),
    lambda: layers.CenterCrop(4, 3),
    lambda: layers.CenterCrop(9, 3),
]


@pytest.mark.parametrize("make", [*RANDOM, *FIXED])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(make, training):
    x = RNG(0).uniform(0.05, 0.95, (3, 7, 6, 2))
    assert gradient_check(make(), x, training=training) < 1e-6


@pytest.mark.emulator
@pytest.mark.parametrize("make", [*RANDOM, *FIXED])
def test_kernels_agree_with_numpy(make):
    model = Sequential([make(), layers.Flatten(), layers.Dense(2)])
    x = RNG(1).uniform(0, 1, (5, 7, 6, 3)).astype(np.float32)
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", x, model.predict(x, verbose=0) + 1)
    assert comparison.ok, str(comparison)


@pytest.mark.parametrize("make", RANDOM)
def test_images_differ_steps_differ_and_inference_changes_nothing(make):
    x = np.repeat(RNG(2).uniform(0.3, 0.7, (1, 7, 6, 3)), 16, axis=0).astype(np.float32)
    model = Sequential([make()])
    first, second = model(x, training=True), model(x, training=True)
    assert len({image.tobytes() for image in first}) > 1
    assert not np.array_equal(first, second)
    inference = model.predict(x, verbose=0)
    assert len({image.tobytes() for image in inference}) == 1
    if not isinstance(model.layers[0], layers.RandomCrop):
        np.testing.assert_array_equal(inference, x)


def test_what_is_drawn_for_an_image_does_not_depend_on_the_batch():
    x = RNG(3).uniform(0, 1, (6, 7, 5, 3)).astype(np.float32)
    results = []
    for rows in (6, 2):
        gpunet.utils.set_random_seed(4)
        results.append(Sequential([layers.RandomRotation(0.3)])(x[:rows], training=True))
    np.testing.assert_array_equal(results[0][:2], results[1])


def test_layers_of_one_seed_do_the_same():
    """To images and to their masks, for example."""
    x = RNG(5).uniform(0, 1, (8, 7, 5, 1)).astype(np.float32)
    image, mask = gpunet.Input((7, 5, 1)), gpunet.Input((7, 5, 1))
    for seed, same in ((3, True), (None, False)):
        outputs = [layers.RandomFlip(seed=seed)(image), layers.RandomFlip(seed=seed)(mask)]
        model = gpunet.Model([image, mask], outputs)
        first, second = model([x, x], training=True)
        assert np.array_equal(first, second) == same


@pytest.mark.parametrize(
    ("mode", "axes"), [("horizontal", 1), ("vertical", 0), ("horizontal_and_vertical", (0, 1))]
)
def test_flips_are_exact_and_half_of_the_images(mode, axes):
    x = RNG(6).uniform(0, 1, (400, 5, 4, 3)).astype(np.float32)
    y = Sequential([layers.RandomFlip(mode)])(x, training=True)
    flipped = [np.array_equal(b, np.flip(a, axes)) for a, b in zip(x, y, strict=True)]
    same = [np.array_equal(a, b) for a, b in zip(x, y, strict=True)]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 150 < sum(flipped) < 250


def test_crops_are_exact_and_every_place_occurs():
    x = RNG(7).uniform(0, 1, (300, 6, 5, 2)).astype(np.float32)
    y = Sequential([layers.RandomCrop(4, 3)])(x, training=True)
    places = {
        (top, left)
        for image, window in zip(x, y, strict=True)
        for top in range(3)
        for left in range(3)
        if np.array_equal(image[top : top + 4, left : left + 3], window)
    }
    assert len(places) == 9


def test_contrast_and_brightness_keep_to_their_ranges():
    x = RNG(8).uniform(0, 255, (200, 4, 4, 3)).astype(np.float32)
    y = Sequential([layers.RandomBrightness(0.2)])(x, training=True)
    assert y.min() >= 0
    assert y.max() <= 255
    moved = [np.median(b - a) for a, b in zip(x, y, strict=True)]
    assert -51.1 < min(moved) < -40
    assert 40 < max(moved) < 51.1
    x = RNG(8).uniform(100, 150, (200, 4, 4, 3)).astype(np.float32)
    y = Sequential([layers.RandomContrast((0.5, 0.25))])(x, training=True)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), x.mean(axis=(1, 2)), rtol=1e-5)
    factors = y.std(axis=(1, 2)) / x.std(axis=(1, 2))
    np.testing.assert_allclose(factors, factors[:, :1].repeat(3, axis=1), rtol=1e-3)
    assert 0.5 <= factors.min() < 0.55
    assert 1.2 < factors.max() <= 1.2501


def test_training_with_augmentation_gives_the_same_weights_again():
    x = RNG(9).uniform(0, 1, (40, 8, 8, 1)).astype(np.float32)
    y = (x.mean(axis=(1, 2, 3)) > 0.5).astype(np.float32)
    trained = []
    for _ in range(2):
        gpunet.utils.set_random_seed(1)
        stack = [
            layers.RandomFlip(),
            layers.RandomRotation(0.1),
            layers.RandomContrast(0.1, (0, 1)),
        ]
        model = Sequential([*stack, layers.Flatten(), layers.Dense(1, "sigmoid")])
        model.compile("sgd", "binary_crossentropy")
        model.fit(x, y, epochs=2, batch_size=16, verbose=0)
        trained.append(model.get_weights()[0])
    np.testing.assert_array_equal(*trained)


# ---------------------------------------------------------------------------- Normalization


@pytest.mark.parametrize("axis", [-1, (1, 2), [1, 2, 3], None])
@pytest.mark.parametrize("invert", [False, True])
def test_normalization(axis, invert):
    x = RNG(10).standard_normal((40, 3, 4, 5)) * 3 + 2
    layer = layers.Normalization(axis=axis, invert=invert)
    kept = {-1: (3,), (1, 2): None, None: ()}.get(axis if not isinstance(axis, list) else 0)
    if axis == (1, 2):
        with pytest.raises(ShapeError, match="normalizes the last axes"):
            layer.adapt(x)
        return
    axes = tuple(i for i in range(4) if i not in (kept if kept is not None else (1, 2, 3)))
    mean, std = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
    layer.adapt(iter([x[:7], x[7:8], x[8:]]))
    model = Sequential([layer])
    wanted = x * std + mean if invert else (x - mean) / std
    np.testing.assert_allclose(model(x), wanted, rtol=2e-5, atol=2e-5)
    given = layers.Normalization(axis, np.squeeze(mean), np.squeeze(std) ** 2, invert)
    np.testing.assert_allclose(Sequential([given])(x), wanted, rtol=2e-5, atol=2e-5)
    assert gradient_check(model, x[:3]) < 1e-6
    layer.adapt(x * 0 + 1)  # a model that is there takes the new numbers
    np.testing.assert_array_equal(model.get_weights()[1], 0.0)
    assert np.isfinite(model(np.ones((1, 3, 4, 5)))).all()


def test_normalization_of_a_wrong_kind():
    with pytest.raises(ArgumentError, match="both mean and variance, or neither"):
        layers.Normalization(mean=1.0)
    with pytest.raises(ArgumentError, match="there is no adapt"):
        layers.Normalization(mean=1.0, variance=1.0).adapt(np.ones((2, 3)))
    with pytest.raises(ArgumentError, match="at least one sample"):
        layers.Normalization().adapt([])
    with pytest.raises(ShapeError, match=r"mean and variance of shape \(3,\), got \(2,\)"):
        layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 2.0]).build((None, 3))


# ----------------------------------------------------------------------- what may go wrong


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Resizing(0, 3), "positive integer for height, got 0"),
        (lambda: layers.Resizing(3, 3, "bicubic"), "'nearest' or 'bilinear' for interpolation"),
        (lambda: layers.Resizing(3, 3, antialias=True), "has no antialias"),
        (lambda: layers.CenterCrop(3, 3, data_format="first"), "'channels_first' for data_format"),
        (lambda: layers.RandomFlip("sideways"), "for mode, got 'sideways'"),
        (lambda: layers.RandomRotation(1.5), "a number from -1 to 1, or two, for factor, got 1.5"),
        (lambda: layers.RandomRotation(0.1, fill_mode="black"), "for fill_mode, got 'black'"),
        (lambda: layers.RandomZoom((0.1, 0.2, 0.3)), "or two, for height_factor, got"),
        (lambda: layers.RandomCrop(2.5, 3), "positive integer for height, got 2.5"),
        (lambda: layers.RandomContrast(-0.5), "a number from 0 to 1, or two, for factor"),
        (lambda: layers.RandomBrightness(0.1, 255), "two numbers for value_range, got 255"),
        (lambda: layers.RandomFlip(seed=-1), "an integer from 0 to 2"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_inputs_that_are_no_images():
    with pytest.raises(ShapeError, match=r"RandomFlip.* expects images .*got \(None, 3\)"):
        layers.RandomFlip().build((None, 3))
