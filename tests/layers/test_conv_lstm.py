"""ConvLSTM: what golden numbers (test_recurrent.py) do not say."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

RNG = np.random.default_rng
X = RNG(0).standard_normal((2, 3, 4, 5, 2))
FIRST = {"data_format": "channels_first"}
CASES = [
    {},
    {"padding": "same", "return_sequences": True, "go_backwards": True},
    {"strides": 2, "padding": "same", "activation": "silu"},
    {"dropout": 0.3, "recurrent_dropout": 0.4, "return_sequences": True},
    {"dilation_rate": 2, "recurrent_dropout": 0.4, **FIRST},
    {"return_sequences": True, "dropout": 0.3, **FIRST},
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_gradients(options):
    x = np.moveaxis(X, -1, 2) if "data_format" in options else X
    model = Sequential([layers.ConvLSTM2D(2, 2, **options, input_shape=x.shape[1:])])
    assert gradient_check(model, x, training=True, elements=5) < 1e-6


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_gradients_of_states_and_masks(data_format):
    x, mask, h, c = Input((3, 6, 2)), Input((3,), dtype="bool"), Input((6, 2)), Input((6, 2))
    layer = layers.ConvLSTM1D(
        *(2, 3, 1, "same", data_format), return_state=True, return_sequences=True
    )
    if data_format == "channels_first":
        x, h, c = Input((3, 2, 6)), Input((2, 6)), Input((2, 6))
    model = Model([x, mask, h, c], layer(x, mask=mask, initial_state=[h, c]))
    there = np.array([[1, 0, 1], [0, 0, 1]], bool)
    sizes = [tensor.shape[1:] for tensor in (x, h, c)]
    numbers, *states = (RNG(i).standard_normal((2, *size)) for i, size in enumerate(sizes))
    assert gradient_check(model, [numbers, there, *states], elements=6) < 1e-6


@pytest.mark.emulator
@pytest.mark.parametrize("options", CASES[1:5:3], ids=str)
def test_the_kernels_agree(options):
    x = np.moveaxis(X, -1, 2) if "data_format" in options else X
    inner = layers.ConvLSTM2D(2, 2, **options, input_shape=x.shape[1:])
    model = Sequential([inner, layers.Flatten(), layers.Dense(1)])
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", x.astype(np.float32), np.ones((2, 1)))
    assert comparison.ok, str(comparison)


def test_it_goes_on_where_the_last_batch_ended():
    layer = layers.ConvLSTM2D(2, 2, padding="same", stateful=True)
    model = Sequential([Input(X.shape[1:], batch_size=2), layer])
    first = model.predict(X, verbose=0)
    assert not np.allclose(model.predict(X, verbose=0), first)
    layer.reset_state()
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)


def test_it_goes_in_both_directions():
    inner = layers.ConvLSTM2D(2, 2, padding="same", return_sequences=True)
    model = Sequential([layers.Bidirectional(inner, input_shape=X.shape[1:])])
    assert model.output_shape == (None, 3, 4, 5, 4)
    assert gradient_check(model, X, elements=4) < 1e-6


def test_images_of_any_size():
    model = Sequential([Input((None, None, None, 2)), layers.ConvLSTM2D(3, 2)])
    assert model.output_shape == (None, None, None, 3)
    for size in (4, 6):
        assert model.predict(np.ones((2, 3, size, 5, 2))).shape == (2, size - 1, 4, 3)


def test_weights():
    layer = layers.ConvLSTM2D(3, (2, 1), input_shape=X.shape[1:])
    model = Sequential([layer])
    kernel, recurrent, bias = model.get_weights()
    assert (kernel.shape, recurrent.shape) == ((2, 1, 2, 12), (2, 1, 3, 12))
    assert bias.tolist() == [0] * 3 + [1] * 3 + [0] * 6


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: layers.ConvLSTM1D(0, 2), ArgumentError, "ConvLSTM1D takes a positive integer for"),
        (
            lambda: layers.ConvLSTM2D(2, 2, 2, dilation_rate=2),
            ArgumentError,
            "ConvLSTM2D takes strides or a dilation_rate, got",
        ),
        (
            lambda: layers.ConvLSTM2D(2, 2)(Input((4, 5, 2))),
            ShapeError,
            r"expects inputs \(batch, steps, height, width, channels\), got \(None, 4, 5, 2\)",
        ),
        (
            lambda: layers.ConvLSTM1D(2, 2, stateful=True)(Input((4, None, 2), batch_size=3)),
            ShapeError,
            "ConvLSTM1D keeps images of one size",
        ),
        (
            lambda: layers.ConvLSTM1D(2, 2, padding="causal"),
            ArgumentError,
            "takes valid or same for padding",
        ),
    ],
)
def test_mistakes(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_other_channels_than_at_first():
    layer = layers.ConvLSTM1D(2, 2)
    layer(Input((4, 5, 2)))
    with pytest.raises(ShapeError, match="was built for inputs with 2 channels"):
        layer(Input((4, 5, 3)))
