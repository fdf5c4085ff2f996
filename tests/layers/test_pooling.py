"""Pooling layers: shapes, gradients, devices. What Keras gets is in test_convolution.py."""

import numpy as np
import pytest

from gpunet import Input, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

SPARSE = {"pool_size": 3, "strides": 2, "padding": "same"}

# layer, arguments, input shape, output shape
POOLS = [
    (layers.MaxPooling1D, {}, (7, 3), (3, 3)),
    (layers.MaxPooling1D, {"pool_size": 3, "strides": 1, "padding": "same"}, (7, 3), (7, 3)),
    (layers.MaxPooling2D, {"pool_size": (2, 3)}, (6, 7, 2), (3, 2, 2)),
    (layers.MaxPooling2D, SPARSE, (6, 7, 4), (3, 4, 4)),
    (layers.MaxPooling2D, {"pool_size": 17, "strides": 1}, (18, 17, 2), (2, 1, 2)),
    (layers.MaxPooling3D, {}, (4, 4, 5, 2), (2, 2, 2, 2)),
    (layers.AveragePooling1D, {"padding": "same"}, (7, 3), (4, 3)),
    (
        layers.AveragePooling2D,
        {"pool_size": 3, "strides": 2, "padding": "same"},
        (6, 7, 4),
        (3, 4, 4),
    ),
    (layers.AveragePooling3D, {"strides": 1}, (3, 4, 5, 2), (2, 3, 4, 2)),
    (layers.GlobalMaxPooling1D, {}, (7, 3), (3,)),
    (layers.GlobalMaxPooling2D, {"keepdims": True}, (20, 17, 4), (1, 1, 4)),
    (layers.GlobalMaxPooling3D, {}, (3, 4, 5, 2), (2,)),
    (layers.GlobalAveragePooling1D, {"keepdims": True}, (7, 3), (1, 3)),
    (layers.GlobalAveragePooling2D, {}, (20, 17, 4), (4,)),
    (layers.GlobalAveragePooling3D, {}, (3, 4, 5, 2), (2,)),
]
IDS = [f"{cls.__name__}-{'-'.join(map(str, options.values()))}" for cls, options, *_ in POOLS]
EACH = pytest.mark.parametrize(("cls", "options", "shape", "out"), POOLS, ids=IDS)


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@EACH
def test_shapes(cls, options, shape, out):
    model = Sequential([cls(**options, input_shape=shape)])
    assert model.output_shape == (None, *out)
    assert model.count_params() == 0
    x = values(5, *shape)
    whole = model.predict(x, verbose=0)
    assert whole.shape == (5, *out)
    np.testing.assert_array_equal(model.predict(x, batch_size=2, verbose=0), whole)
    np.testing.assert_array_equal(model.run(x, training=True).y, whole)


@EACH
def test_gradients(cls, options, shape, out):
    stack = [layers.Dense(shape[-1], "tanh", input_shape=shape), cls(**options)]
    assert gradient_check(Sequential(stack), values(2, *shape).astype(np.float64)) < 1e-6


@pytest.mark.emulator
@EACH
def test_kernels_agree_with_numpy(cls, options, shape, out):
    stack = [layers.Dense(3, input_shape=shape), cls(**options), layers.Flatten(), layers.Dense(2)]
    model = Sequential(stack)
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", values(4, *shape), values(4, 2))
    assert comparison.ok, str(comparison)


def test_equal_numbers_give_the_gradient_to_the_first():
    model = Sequential([layers.MaxPooling1D(3, input_shape=(6, 1))])
    run = model.run(np.array([[[2.0], [5], [5], [1], [1], [1]]], np.float32), training=True)
    dx = run.backward(np.array([[[10.0], [20.0]]], np.float32))
    assert dx.ravel().tolist() == [0, 10, 0, 20, 0, 0]


def test_nan_stays():
    x = np.array([[[1.0], [np.nan], [3.0], [4.0]]], np.float32)
    for layer in (layers.MaxPooling1D(), layers.AveragePooling1D()):
        model = Sequential([layer])
        model.build((None, 4, 1))
        y = model.predict_on_batch(x).ravel()
        assert np.isnan(y[0])
        assert y[1] > 3


def test_places_are_only_kept_for_a_backward():
    model = Sequential([layers.Dense(4, input_shape=(6, 6, 1)), layers.MaxPooling2D()])
    model.compile("sgd", "mse")
    (pool,) = [r for r in model.training_plan(2).records if r.op.name == "max_pool"]
    assert pool["argmax"] is not None
    assert pool["argmax"].dtype == "uint8"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: layers.MaxPooling2D(0),
            "takes an integer of at least 1 for pool_size",
        ),
        (lambda: layers.MaxPooling2D((2, 2, 2)), r"or a tuple of 2, got \(2, 2, 2\)"),
        (lambda: layers.AveragePooling1D(2, strides=-1), "at least 1 for strides"),
        (lambda: layers.AveragePooling3D(padding="full"), "takes valid or same for padding"),
        (
            lambda: layers.MaxPooling2D(data_format="first"),
            "'channels_first' for data_format, got 'first'",
        ),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_inputs_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"MaxPooling2D 'p' expects inputs \(batch, height, width"):
        layers.MaxPooling2D(name="p")(Input((5, 5)))
    with pytest.raises(ShapeError, match=r"windows of \(3, 3\) .* do not fit into inputs of \(2,"):
        layers.AveragePooling2D(3)(Input((2, 9, 1)))
    with pytest.raises(ShapeError, match=r"expects inputs \(batch, width, channels\)"):
        layers.GlobalMaxPooling1D()(Input((4, 4, 2)))
