"""Convolutions of all kinds: shapes, weights, gradients, devices, and what Keras gets."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("convolution_cases")

TWICE = {"strides": 2, "padding": "same"}

# layer, positional and other arguments, input shape, output shape, number of parameters
LAYERS = [
    (layers.Conv1D, (4, 3), {}, (9, 2), (7, 4), 28),
    (layers.Conv1D, (4, 3), {"padding": "causal", "dilation_rate": 2}, (9, 2), (9, 4), 28),
    (layers.Conv1D, (4, 2), {"groups": 2, **TWICE}, (9, 2), (5, 4), 12),
    (layers.Conv2D, (5, 3), {"activation": "relu"}, (6, 7, 3), (4, 5, 5), 140),
    (layers.Conv2D, (5, (2, 3)), {"padding": "same", "strides": (2, 1)}, (6, 7, 2), (3, 7, 5), 65),
    (layers.Conv2D, (6, 3), {"dilation_rate": 2, "groups": 3}, (7, 8, 3), (3, 4, 6), 60),
    (layers.Conv2D, (4, 1), {"use_bias": False, "activation": "gelu"}, (3, 4, 5), (3, 4, 4), 20),
    (layers.Conv3D, (3, 2, (1, 2, 1)), {"activation": "tanh"}, (3, 4, 5, 2), (2, 2, 4, 3), 51),
    (layers.Conv3D, (2, (1, 3, 2)), {"padding": "same"}, (2, 3, 4, 2), (2, 3, 4, 2), 26),
    (layers.Conv1DTranspose, (3, 4), {"strides": 2}, (5, 2), (12, 3), 27),
    (layers.Conv1DTranspose, (3, 3), {"output_padding": 1, **TWICE}, (5, 2), (10, 3), 21),
    (layers.Conv2DTranspose, (3, 3), TWICE, (3, 4, 2), (6, 8, 3), 57),
    (layers.Conv2DTranspose, (3, 2, (3, 2)), {"activation": "relu"}, (3, 4, 2), (9, 8, 3), 27),
    (layers.Conv2DTranspose, (3, 3), {"dilation_rate": 2}, (3, 4, 2), (7, 8, 3), 57),
    (layers.Conv3DTranspose, (2, 2), {"strides": 2}, (2, 1, 3, 2), (4, 2, 6, 2), 34),
    (layers.DepthwiseConv1D, (3, 1, "same", 2), {}, (7, 3), (7, 6), 24),
    (layers.DepthwiseConv2D, (3,), {"strides": 2, "activation": "relu"}, (7, 8, 3), (3, 3, 3), 30),
    (layers.DepthwiseConv2D, (2, 1, "valid", 3), {"dilation_rate": 2}, (5, 6, 2), (3, 4, 6), 30),
    (layers.SeparableConv1D, (5, 3), {"padding": "causal"}, (7, 3), (7, 5), 29),
    (layers.SeparableConv2D, (5, 3), {"depth_multiplier": 2}, (6, 5, 2), (4, 3, 5), 61),
]
IDS = [f"{cls.__name__}-{'-'.join(map(str, options.values()))}" for cls, _, options, *_ in LAYERS]
EACH = pytest.mark.parametrize(("cls", "args", "options", "shape", "out", "count"), LAYERS, ids=IDS)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def one(cls, args, options, shape):
    return Sequential([cls(*args, **options, input_shape=shape, bias_initializer="ones")])


@EACH
def test_shapes_and_parameters(cls, args, options, shape, out, count):
    model = one(cls, args, options, shape)
    assert model.output_shape == (None, *out)
    assert model.count_params() == count
    assert model.predict(values(3, *shape), verbose=0).shape == (3, *out)


@EACH
def test_gradients(cls, args, options, shape, out, count):
    x = values(2, *shape).astype(np.float64)
    smooth = {**options, "activation": "tanh"} if options.get("activation") == "relu" else options
    assert gradient_check(one(cls, args, smooth, shape), x) < 1e-6


@pytest.mark.emulator
@EACH
def test_kernels_agree_with_numpy(cls, args, options, shape, out, count):
    model = Sequential(
        [cls(*args, **options, input_shape=shape), layers.Flatten(), layers.Dense(2)]
    )
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", values(4, *shape), values(4, 2))
    assert comparison.ok, str(comparison)


@EACH
def test_batches_of_several_sizes_give_the_same_as_one(cls, args, options, shape, out, count):
    model = one(cls, args, options, shape)
    x = values(7, *shape)
    whole = model.predict(x, batch_size=7, verbose=0)
    parts = model.predict(x, batch_size=3, verbose=0)  # 3, 3 and 1
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.predict(x, batch_size=7, verbose=0), whole)
    assert model.run(x, training=True).y.shape == whole.shape
    np.testing.assert_allclose(model.run(x, training=True).y, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", golden.CASES, ids=golden.name)
def test_as_keras_and_pytorch(case):
    """Outputs and gradients from the same weights, in float64."""
    layer = case.make(layers)
    wanted = {key: golden.NUMBERS[f"{golden.name(case)}/{key}"] for key in golden.keys(case)}
    x = Input(case.shape)
    model = Model(x, layer(x))
    model.to("numpy", dtype="float64")
    arrays = golden.arrays(case, [p.shape for p in layer.parameters], model.output_shape[1:])
    model.set_weights(arrays["weights"])
    run = model.run(arrays["x"], training=True)
    np.testing.assert_allclose(run.y, wanted["y"], rtol=1e-10, atol=1e-12)
    dx = run.backward(arrays["dy"])
    np.testing.assert_allclose(dx, wanted["dx"], rtol=1e-10, atol=1e-12)
    for number, parameter in enumerate(layer.parameters):
        gradient = parameter.block.gradient(parameter)
        np.testing.assert_allclose(gradient, wanted[f"d{number}"], rtol=1e-10, atol=1e-11)


def test_a_network_of_convolutions_learns():
    """Which of four quarters of an image is the brightest."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 256)
    x = rng.uniform(0, 0.5, (256, 8, 8, 1)).astype(np.float32)
    for image, label in zip(x, labels, strict=True):
        row, column = divmod(int(label), 2)
        image[4 * row : 4 * row + 4, 4 * column : 4 * column + 4] += 0.4
    model = Sequential(
        [
            layers.Conv2D(8, 3, padding="same", activation="relu", input_shape=(8, 8, 1)),
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3, padding="same"),
            layers.AveragePooling2D(),
            layers.Flatten(),
            layers.Dense(4, "softmax"),
        ]
    )
    model.compile(optimizers.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, labels, epochs=12, batch_size=32, verbose=0).history
    assert history["accuracy"][-1] > 0.95


def test_bias_and_activation_are_part_of_the_convolution():
    """What runs in the end: one op forward, none between it and the next layer."""
    stack = [
        layers.Conv2D(4, 3, activation="relu", input_shape=(6, 6, 2)),
        layers.Conv2DTranspose(3, 3, activation="gelu"),
    ]
    model = Sequential(stack)
    model.compile("sgd", "mse")
    names = [r.op.name for r in model.training_plan(4).records if r.direction == "forward"]
    assert names == ["convolution", "transposed_convolution", "bias_act"]  # gelu keeps x + bias


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Conv2D(0, 3), "Conv2D takes a positive integer for filters, got 0"),
        (lambda: layers.Conv2D(4, 0), r"Conv2D takes an integer of at least 1 for kernel_size"),
        (lambda: layers.Conv2D(4, (3, 3, 3)), r"or a tuple of 2, got \(3, 3, 3\)"),
        (lambda: layers.Conv2D(4, 2.5), "for kernel_size, or a tuple of 2, got 2.5"),
        (lambda: layers.Conv1D(4, 3, strides=0), "at least 1 for strides"),
        (lambda: layers.Conv3D(4, 3, dilation_rate=-1), "at least 1 for dilation_rate"),
        (lambda: layers.Conv2D(4, 3, padding="causal"), "takes valid or same for padding"),
        (lambda: layers.Conv2D(4, 3, groups=3), "as many filters as can be dealt to its 3 groups"),
        (
            lambda: layers.Conv2D(4, 3, data_format="NCHW"),
            "Conv2D takes 'channels_last' or 'channels_first' for data_format, got 'NCHW'",
        ),
        (lambda: layers.Conv2DTranspose(4, 3, output_padding=1), "smaller than its strides"),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=0), "for depth_multiplier, got 0"),
        (lambda: layers.SeparableConv2D(4, 3, activation="nosuch"), "nosuch"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_inputs_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"Conv2D 'c' expects inputs \(batch, height, width, chan"):
        layers.Conv2D(4, 3, name="c").ensure_built((None, 784))
    with pytest.raises(ShapeError, match=r"windows of \(5, 5\) .* do not fit into inputs of \(3,"):
        layers.Conv2D(4, 5)(Input((3, 9, 1)))
    with pytest.raises(ShapeError, match=r"has 2 groups, got inputs .* with 3 channels"):
        layers.Conv2D(4, 1, groups=2)(Input((3, 9, 3)))
    layer = layers.Conv1D(4, 3, name="c")
    layer(Input((9, 2)))
    with pytest.raises(ShapeError, match=r"'c' was built for inputs with last dimension 2"):
        layer(Input((9, 3)))
    with pytest.raises(ArgumentError, match=r"layers\.Activation\('glu'\) behind it"):
        layers.Conv1D(4, 3, activation="glu")(Input((9, 2)))


def test_a_shared_convolution_takes_inputs_of_several_sizes():
    conv = layers.Conv2D(3, 3)
    small, large = Input((5, 5, 2), name="small"), Input((8, 6, 2), name="large")
    pooled = [layers.GlobalAveragePooling2D()(conv(x)) for x in (small, large)]
    model = Model([small, large], layers.Add()(pooled))
    x = [values(2, 5, 5, 2).astype(np.float64), values(2, 8, 6, 2).astype(np.float64)]
    assert gradient_check(model, x) < 1e-6
