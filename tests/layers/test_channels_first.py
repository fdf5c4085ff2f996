"""data_format="channels_first" and other axes of channels: the numbers of channels last, moved."""

import json

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

TWICE = {"strides": 2, "padding": "same"}
LINE, PLANE, SPACE = (7, 4), (6, 7, 4), (3, 4, 5, 4)  # channels last

# layer, arguments, shape of a sample with channels last
CONVOLUTIONS = [
    (layers.Conv1D, (6, 3), {"padding": "causal", "dilation_rate": 2}, LINE),
    (layers.Conv1D, (6, 3), {"groups": 2, "activation": "tanh", **TWICE}, LINE),
    (layers.Conv2D, (6, (2, 3)), {"strides": (2, 1), "activation": "gelu"}, PLANE),
    (layers.Conv2D, (1, 3), {"groups": 1, "use_bias": False}, PLANE),
    (layers.Conv3D, (3, 2), {"padding": "same"}, SPACE),
    (layers.Conv1DTranspose, (3, 4), {"strides": 2}, LINE),
    (layers.Conv2DTranspose, (3, 3), {"output_padding": 1, **TWICE}, PLANE),
    (layers.Conv3DTranspose, (2, 2), {"strides": 2}, SPACE),
    (layers.DepthwiseConv1D, (3,), {"depth_multiplier": 2}, LINE),
    (layers.DepthwiseConv2D, (3,), {"activation": "tanh", **TWICE}, PLANE),
    (layers.SeparableConv1D, (5, 3), {}, LINE),
    (layers.SeparableConv2D, (5, 3), {"depth_multiplier": 2}, PLANE),
]
OTHERS = [
    (layers.MaxPooling1D, (), {}, LINE),
    (layers.MaxPooling2D, (3,), TWICE, PLANE),
    (layers.MaxPooling3D, (), {}, SPACE),
    (layers.AveragePooling1D, (), {}, LINE),
    (layers.AveragePooling2D, (3,), TWICE, PLANE),
    (layers.AveragePooling3D, (), {}, SPACE),
    *(
        (getattr(layers, f"Global{kind}Pooling{rank}D"), (), {"keepdims": rank == 2}, shape)
        for kind in ("Max", "Average")
        for rank, shape in ((1, LINE), (2, PLANE), (3, SPACE))
    ),
    (layers.UpSampling2D, ((2, 3),), {}, PLANE),
    (layers.UpSampling2D, (2,), {"interpolation": "bilinear"}, PLANE),
    (layers.UpSampling3D, (), {}, SPACE),
    (layers.ZeroPadding1D, (2,), {}, LINE),
    (layers.ZeroPadding2D, (((1, 2), (0, 3)),), {}, PLANE),
    (layers.ZeroPadding3D, (), {}, SPACE),
    (layers.Cropping2D, (((1, 2), (0, 3)),), {}, PLANE),
    (layers.Cropping3D, ((1, 1, 2),), {}, SPACE),
    (layers.SpatialDropout2D, (0.5,), {}, PLANE),
    (layers.SpatialDropout3D, (0.5,), {}, SPACE),
    (layers.Flatten, (), {}, PLANE),
    (layers.Flatten, (), {}, SPACE),
    (layers.Resizing, (4, 9), {}, PLANE),
    (layers.Resizing, (4, 9), {"crop_to_aspect_ratio": True}, PLANE),
    (layers.CenterCrop, (4, 3), {}, PLANE),
    (layers.RandomFlip, (), {}, PLANE),
    (layers.RandomRotation, (0.2,), {}, PLANE),
    (layers.RandomTranslation, (0.2, 0.3), {"fill_mode": "constant"}, PLANE),
    (layers.RandomZoom, (0.3,), {"seed": 3}, PLANE),
    (layers.RandomCrop, (4, 5), {}, PLANE),
    (layers.RandomBrightness, (0.2, (0, 1)), {}, PLANE),
    (layers.RandomContrast, (0.2, (0, 1)), {}, PLANE),
]
CASES = [*CONVOLUTIONS, *OTHERS]
IDS = [f"{number}-{cls.__name__}" for number, (cls, *_) in enumerate(CASES)]
EACH = pytest.mark.parametrize(("cls", "args", "options", "shape"), CASES, ids=IDS)
FIRST = {"data_format": "channels_first"}


def to_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def shape_first(shape):
    return (shape[-1], *shape[:-1])


def values(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape)


def results(layer, x, weights, dy=None):
    """y, dx and the gradients of the weights in float64."""
    gpunet.utils.set_random_seed(5)
    tensor = Input(x.shape[1:])
    model = Model(tensor, layer(tensor)).to("numpy", dtype="float64")
    model.set_weights(weights)
    run = model.run(x, training=True)
    dx = run.backward(np.cos(np.arange(run.y.size)).reshape(run.y.shape) if dy is None else dy)
    return run.y, dx, model.get_gradients()


def weights_of(layer, shape):
    layer.ensure_built((None, *shape))
    return [values(*p.shape, seed=1) for p in layer.parameters]


@EACH
def test_the_same_numbers_at_another_place(cls, args, options, shape):
    x = values(3, *shape)
    last, first = cls(*args, **options), cls(*args, **options, **FIRST)
    weights = weights_of(cls(*args, **options), shape)
    y, dx, gradients = results(last, x, weights)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    y_first, dx_first, gradients_first = results(first, to_first(x), weights, to_first(dy))
    assert first.compute_output_shape((None, *shape_first(shape)))[1:] == y_first.shape[1:]
    np.testing.assert_allclose(y_first, to_first(y), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(dx_first, to_first(dx), rtol=1e-12, atol=1e-13)
    for gradient, wanted in zip(gradients_first, gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12, atol=1e-13)


@EACH
def test_gradients_configs_and_batches_of_any_size(cls, args, options, shape):
    layer = cls(*args, **options, **FIRST)
    assert layer.data_format == "channels_first"
    config = layers.serialize(layer)
    again = layers.deserialize(json.loads(json.dumps(config)))
    assert again.get_config() == layer.get_config() == {**layer.get_config(), **FIRST}
    x = values(4, *shape_first(shape))
    for training in (False, True):
        assert gradient_check(layer, x, training=training, elements=6) < 1e-6
    model = Sequential([Input(x.shape[1:]), again])
    whole = model.predict(x, batch_size=4, verbose=0)
    parts = model.predict(x, batch_size=3, verbose=0)  # 3 and 1
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.emulator
@EACH
def test_kernels_agree_with_numpy(cls, args, options, shape):
    x = values(3, *shape_first(shape)).astype(np.float32)
    stack = [Input(x.shape[1:]), cls(*args, **options, **FIRST), layers.Flatten(), layers.Dense(2)]
    model = Sequential(stack)
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", x, np.ones((3, 2), np.float32))
    assert comparison.ok, str(comparison)


NORMS = [
    lambda axis: layers.BatchNormalization(axis, momentum=0.5),
    lambda axis: layers.BatchNormalization(axis, scale=False, trainable=False),
    lambda axis: layers.GroupNormalization(2, axis),
    lambda axis: layers.GroupNormalization(-1, axis, center=False),
]


@pytest.mark.parametrize("make", NORMS)
@pytest.mark.parametrize(("axis", "shape"), [(1, PLANE), (2, PLANE), (-3, PLANE), (1, LINE)])
def test_norms_along_any_axis(make, axis, shape):
    x = values(5, *shape)
    weights = weights_of(make(-1), shape)
    y, dx, gradients = results(make(-1), x, weights)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    moved = [np.ascontiguousarray(np.moveaxis(array, -1, axis)) for array in (x, dy, y, dx)]
    y_moved, dx_moved, gradients_moved = results(make(axis), moved[0], weights, moved[1])
    np.testing.assert_allclose(y_moved, moved[2], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(dx_moved, moved[3], rtol=1e-11, atol=1e-12)
    for gradient, wanted in zip(gradients_moved, gradients, strict=True):
        np.testing.assert_allclose(gradient, wanted, rtol=1e-11, atol=1e-12)
    for training in (False, True):
        assert gradient_check(make(axis), moved[0], training=training, elements=6) < 1e-6


def stack(data_format):
    axis = 1 if data_format == "channels_first" else -1
    how = {"data_format": data_format}
    return [
        layers.Conv2D(6, 3, padding="same", **how),
        layers.BatchNormalization(axis),
        layers.MaxPooling2D(**how),
        layers.DepthwiseConv2D(3, activation="tanh", **how),
        layers.GlobalAveragePooling2D(**how),
        layers.Dense(3),
    ]


def model_of(data_format, **options):
    shape = (8, 8, 4)
    model = Sequential(
        [
            Input(shape_first(shape) if data_format == "channels_first" else shape),
            *stack(data_format),
        ]
    )
    model.compile(gpunet.optimizers.SGD(0.1), "mse", **options)
    return model


def test_neighbours_do_not_move_channels_between_them():
    plan = model_of("channels_first").training_plan(4)
    moves = [r for r in plan.records if r.op.name == "swap_axes"]
    assert [(r.layer, r.direction) for r in moves] == [("conv2d", "forward")]
    run = model_of("channels_first").run(np.zeros((2, 4, 8, 8), np.float32), training=True)
    assert run.backward(np.ones((2, 3), np.float32)).shape == (2, 4, 8, 8)


@pytest.mark.parametrize("eagerly", [False, True])
def test_a_network_trains_alike_in_both_forms(eagerly):
    x, y = values(12, 8, 8, 4).astype(np.float32), values(12, 3, seed=2).astype(np.float32)
    trained = []
    for data_format, data in (("channels_last", x), ("channels_first", to_first(x))):
        gpunet.utils.set_random_seed(1)
        model = model_of(data_format, run_eagerly=eagerly and data_format == "channels_first")
        model.fit(data, y, epochs=2, batch_size=5, verbose=0)
        trained.append([*model.get_weights(), model.predict(data, verbose=0)])
    for last, first in zip(*trained, strict=True):
        np.testing.assert_allclose(first, last, rtol=1e-5, atol=1e-6)


def test_a_shared_output_of_both_forms_of_use():
    """The moved array is also read as it is, and its gradient has two parts."""
    x = Input((4, 6, 6))
    h = layers.Conv2D(4, 3, padding="same", **FIRST)(x)
    other = layers.Conv2D(4, 3, padding="same", activation="tanh", **FIRST)(h)
    model = Model(x, layers.Activation("tanh")(layers.Add()([h, other])))
    assert gradient_check(model, values(2, 4, 6, 6)) < 1e-6
    again = Model(x, [layers.Conv2D(2, 1, **FIRST)(h), layers.BatchNormalization(1)(h), h])
    assert gradient_check(again, values(3, 4, 6, 6)) < 1e-6
    regular = layers.Conv2D(4, 3, activity_regularizer="l2", **FIRST)
    model = Model(x, layers.Conv2D(2, 3, **FIRST)(regular(x)))
    assert gradient_check(model, values(2, 4, 6, 6)) < 1e-6


def test_inputs_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"expects inputs \(batch, channels, height, width\), got"):
        layers.Conv2D(4, 3, **FIRST)(Input((9, 9)))
    with pytest.raises(ShapeError, match=r"expects images \(batch, channels, height, width\) of"):
        layers.RandomFlip(**FIRST).build((None, 3, 3))
    with pytest.raises(ShapeError, match=r"has 2 groups, got inputs .* with 3 channels"):
        layers.Conv2D(4, 1, groups=2, **FIRST)(Input((3, 8, 8)))
    conv = layers.Conv2D(4, 3, name="c", **FIRST)
    conv(Input((2, 9, 9)))
    conv(Input((2, 7, 8)))
    with pytest.raises(ShapeError, match="'c' was built for inputs with dimension 1 2, got"):
        conv(Input((3, 9, 9)))
    with pytest.raises(ArgumentError, match="Flatten takes 'channels_last' or 'channels_first'"):
        layers.Flatten("chw")
    with pytest.raises(ArgumentError, match="takes an integer for axis, got None"):
        layers.BatchNormalization(None).build((None, 3, 4))
