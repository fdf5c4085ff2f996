"""Image layers with every option by itself and with others: shapes, gradients, configs, batches.

Keras' and PyTorch's numbers are held in test_convolution.py and test_as_torch.py; here each option
of each layer is tried in all dimensions, in both forms of data.
"""

import json

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.geometry import of_transposed, of_windows
from gpunet.testing import gradient_check

SIZES = {1: (7,), 2: (6, 5), 3: (4, 5, 3)}
FORMATS = ("channels_last", "channels_first")
WINDOWS = [
    {},
    {"padding": "same"},
    {"strides": 2},
    {"strides": 2, "padding": "same"},
    {"dilation_rate": 2},
    {"dilation_rate": 2, "padding": "same"},
    {"use_bias": False},
    {"activation": "tanh"},
]
CAUSAL = [{"padding": "causal"}, {"padding": "causal", "strides": 2}]
GROUPS = [{"groups": 2}, {"groups": 4, "padding": "same"}, {"groups": 2, "strides": 2}]
OUTPUTS = [
    {"strides": 3, "output_padding": 0},
    {"strides": 3, "output_padding": 2, "padding": "same"},
    {"strides": 2, "output_padding": 1},
    {"strides": 3, "kernel_size": 2},
]
MULTIPLIED = [{"depth_multiplier": 2}, {"depth_multiplier": 3, "padding": "same"}]


def convolutions():
    """Class, rank and options."""
    for rank in (1, 2, 3):
        causal = CAUSAL if rank == 1 else []
        for options in (*WINDOWS, *causal, *GROUPS):
            yield f"Conv{rank}D", rank, {"filters": 4, **options}
        for options in (*WINDOWS, *OUTPUTS):
            yield f"Conv{rank}DTranspose", rank, {"filters": 2, **options}
    for rank in (1, 2):
        causal = CAUSAL if rank == 1 else []
        for options in (*WINDOWS, *MULTIPLIED):
            yield f"DepthwiseConv{rank}D", rank, options
        for options in (*WINDOWS, *causal, *MULTIPLIED):
            yield f"SeparableConv{rank}D", rank, {"filters": 3, **options}


def pools():
    for rank in (1, 2, 3):
        for kind in ("Max", "Average"):
            for strides in (None, 1, 3):
                for padding in ("valid", "same"):
                    options = {"strides": strides, "padding": padding}
                    yield f"{kind}Pooling{rank}D", rank, options
            for keepdims in (False, True):
                yield f"Global{kind}Pooling{rank}D", rank, {"keepdims": keepdims}


CASES = [
    (name, rank, options, data_format)
    for name, rank, options in (*convolutions(), *pools())
    for data_format in FORMATS
]
IDS = [
    "-".join([name, *(f"{k}={v}" for k, v in options.items() if k != "filters"), data_format])
    for name, _, options, data_format in CASES
]


def layer_of(name, rank, options, data_format):
    if "Conv" in name:
        dilated = options.get("dilation_rate", 1) > 1
        size = 2 if dilated or rank == 3 else 3
        options = {"kernel_size": size, "bias_initializer": "ones", **options}
    elif "Global" not in name:
        options = {"pool_size": 2, **options}
    return getattr(layers, name)(**options, data_format=data_format)


def outputs(layer, rank):
    """The output's shape by the rules of geometry.py, which are Keras' (test_convolution.py)."""
    sizes, channels = SIZES[rank], 4
    name = type(layer).__name__
    if "Global" in name:
        sizes = (1,) * (rank * layer.keepdims)
    elif "Transpose" in name:
        window = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
        sizes = of_transposed(sizes, *window, layer.output_padding).fine[-rank:]
        channels = layer.filters
    elif "Pool" in name:
        near = (1,) * rank
        sizes = of_windows("", sizes, layer.pool_size, layer.strides, near, layer.padding)
        sizes = sizes.coarse[-rank:]
    else:
        window = (layer.kernel_size, layer.strides, layer.dilation_rate, layer.padding)
        sizes = of_windows("", sizes, *window).coarse[-rank:]
        depthwise = "Depthwise" in name
        channels = channels * layer.depth_multiplier if depthwise else layer.filters
    return (channels, *sizes) if layer.data_format == "channels_first" else (*sizes, channels)


def parameters(layer, rank):
    """How many numbers there are in the weights."""
    name = type(layer).__name__
    if "Pool" in name:
        return 0
    taps, inner = int(np.prod(layer.kernel_size)), 4 * getattr(layer, "depth_multiplier", 1)
    if "Depthwise" in name:
        return taps * inner + layer.use_bias * inner
    bias = layer.use_bias * layer.filters
    if "Separable" in name:
        return taps * inner + inner * layer.filters + bias
    return taps * 4 * layer.filters // getattr(layer, "groups", 1) + bias


@pytest.mark.parametrize(("name", "rank", "options", "data_format"), CASES, ids=IDS)
def test_every_option(name, rank, options, data_format):
    layer = layer_of(name, rank, options, data_format)
    shape = (4, *SIZES[rank]) if data_format == "channels_first" else (*SIZES[rank], 4)
    config = layers.serialize(layer)
    again = layers.deserialize(json.loads(json.dumps(config)))
    assert layers.serialize(again)["config"] == config["config"]
    model = Sequential([Input(shape), layer])
    assert model.output_shape == (None, *outputs(layer, rank))
    assert model.count_params() == parameters(layer, rank)
    x = np.random.default_rng(0).standard_normal((5, *shape))
    copy = Sequential([Input(shape), again])
    copy.set_weights(model.get_weights())
    whole = model.predict(x, verbose=0)
    np.testing.assert_array_equal(copy.predict(x, verbose=0), whole)
    parts = copy.predict(x, batch_size=2, verbose=0)  # 2, 2 and 1
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model(x, training=True), whole, rtol=1e-5, atol=1e-6)
    fresh = layer_of(name, rank, options, data_format)
    assert gradient_check(fresh, x[:2], elements=4) < 1e-6


# ----------------------------------------------------------------- errors: who, what, what now

IMAGE = (6, 5, 4)
MESSAGES = {
    "rank": (
        lambda: layers.Conv2D(4, 3, name="c")(Input((6, 5))),
        r"Conv2D 'c' expects inputs \(batch, height, width, channels\), got \(None, 6, 5\); put",
    ),
    "window": (
        lambda: layers.DepthwiseConv2D(7, name="c")(Input(IMAGE)),
        r"DepthwiseConv2D 'c' has windows of \(7, 7\) .* inputs of \(6, 5\); use padding='same'",
    ),
    "pool": (
        lambda: layers.AveragePooling2D(7, name="p")(Input(IMAGE)),
        r"AveragePooling2D 'p' has windows of \(7, 7\) .* inputs of \(6, 5\); use padding='same'",
    ),
    "groups": (
        lambda: layers.Conv2D(4, 3, groups=3),
        "Conv2D takes as many filters as can be dealt to its 3 groups, got 4",
    ),
    "padding": (
        lambda: layers.DepthwiseConv1D(3, padding="causal"),
        "DepthwiseConv1D takes valid or same for padding, got 'causal'",
    ),
    "cropped away": (
        lambda: layers.Cropping2D(3, name="k")(Input(IMAGE)),
        r"Cropping2D 'k' leaves nothing of inputs \(None, 6, 5, 4\); crop less, or feed larger",
    ),
    "no image": (
        lambda: layers.Resizing(3, 3, name="r")(Input((6, 5))),
        r"Resizing 'r' expects images \(batch, height, width, channels\) of known size, got",
    ),
    "other channels": (
        lambda: [conv := layers.Conv2D(4, 3, name="c"), conv(Input(IMAGE)), conv(Input((6, 5, 3)))],
        r"Conv2D 'c' was built for inputs with last dimension 4, got .*; make another layer",
    ),
    "other data": (
        lambda: Sequential([layers.Conv2D(4, 3, input_shape=IMAGE)]).predict(
            np.ones((2, 6, 5)), verbose=0
        ),
        r"\(6, 5, 4\)",
    ),
}


@pytest.mark.parametrize("mistake", MESSAGES)
def test_messages_say_who_what_and_what_to_do(mistake):
    do, message = MESSAGES[mistake]
    with pytest.raises((ArgumentError, ShapeError), match=message):
        do()


def test_frozen_convolutions_keep_their_weights_and_pass_gradients_on():
    x = Input(IMAGE)
    first = layers.Conv2D(3, 3, name="first")
    frozen = layers.Conv2D(3, 2, name="frozen", trainable=False)
    model = Model(x, layers.GlobalAveragePooling2D()(frozen(first(x))))
    model.compile("sgd", "mse")
    before = first.get_weights()[0], frozen.get_weights()[0]
    data = np.random.default_rng(0).standard_normal((4, *IMAGE))
    model.fit(data, np.ones((4, 3)), verbose=0)
    assert not np.array_equal(first.get_weights()[0], before[0])
    np.testing.assert_array_equal(frozen.get_weights()[0], before[1])
