"""Activations by name, as functions, in layers: Keras' numbers, limits, configs and messages."""

import doctest
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, activations, layers
from gpunet.activations import functions
from gpunet.backend import backend_named
from gpunet.backend.spec import ACTIVATIONS
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check
from gpunet.testing.op_checks import guarded_call, with_outputs

TABLES = json.loads((Path(__file__).parent / "golden" / "activations.json").read_text())
GOLDEN = TABLES["functions"]
ROWS = ("softmax", "log_softmax", "glu")
NAMES = [name for name in activations.__all__ if hasattr(functions, name)]
REQUIRED = {"threshold": {"threshold": 0.5, "default_value": 0.25}}
BACKENDS = [
    pytest.param("numpy", "float32", id="numpy"),
    pytest.param("emulator", "float32", id="emulator", marks=pytest.mark.emulator),
]


def made(name):
    return activations.get(name, **REQUIRED.get(name, {}))


def row_id(row):
    return "-".join([row["name"], *(f"{k}={v}" for k, v in row["arguments"].items())])


def values_and_gradient(row, backend, dtype):
    """y and dx of the golden table's row, from a model of one layer."""
    x = np.array(row["x"]).reshape((10, 6) if row["name"] in ROWS else (2, -1))
    layer = layers.Activation(activations.get(row["name"], **row["arguments"]))
    model = Sequential([Input(x.shape[1:]), layer]).to(backend, dtype=dtype)
    run = model.run(x.astype(dtype), training=True)
    dy = np.ones(run.y.shape)
    if row["name"] in ROWS:
        dy[:] = np.arange(1, dy.shape[1] + 1)
    dx = run.backward(dy.astype(dtype))
    return [model.backend.to_numpy(array).ravel() for array in (run.y, dx)]


# ------------------------------------------------------------------------------- Keras' numbers


def test_the_golden_table_has_every_activation():
    others = {"sparsemax"}  # Keras' is another function, see its docstring
    assert {row["name"] for row in GOLDEN} == set(NAMES) - others


@pytest.mark.parametrize("row", GOLDEN, ids=row_id)
def test_values_and_gradients_are_those_of_keras(row):
    y, dx = values_and_gradient(row, "numpy", "float64")
    np.testing.assert_allclose(y, row["y"], rtol=1e-12, atol=1e-12)
    tolerance = 1e-7 if row["name"] == "hard_sigmoid" else 1e-12  # PyTorch has float32's 1/6
    np.testing.assert_allclose(dx, row["dx"], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("row", GOLDEN, ids=row_id)
def test_values_and_gradients_in_float32(row, backend, dtype):
    y, dx = values_and_gradient(row, backend, dtype)
    np.testing.assert_allclose(y, row["y"], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(dx, row["dx"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("backend", "dtype"), [*BACKENDS, pytest.param("numpy", "float64", id="numpy-float64")]
)
def test_prelu_is_that_of_keras(backend, dtype):
    table, layer = TABLES["prelu"], layers.PReLU(shared_axes=[1, 2])
    model = Sequential([Input((2, 2, 3)), layer]).to(backend, dtype=dtype)
    model.set_weights([np.reshape(table["alpha"], (1, 1, 3))])
    run = model.run(np.reshape(table["x"], (2, 2, 2, 3)).astype(dtype), training=True)
    dx = run.backward(np.arange(1, 25).reshape(2, 2, 2, 3).astype(dtype))
    got = [model.backend.to_numpy(run.y), model.backend.to_numpy(dx), *model.get_gradients()]
    for values, name in zip(got, ("y", "dx", "dalpha"), strict=True):
        tolerance = 1e-12 if dtype == "float64" else 1e-6
        np.testing.assert_allclose(values.ravel(), table[name], rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("row", GOLDEN, ids=row_id)
def test_functions_take_arrays(row):
    function = getattr(activations, row["name"])
    shape = (10, 6) if row["name"] in ROWS else (2, 1, 31)
    y = function(np.array(row["x"]).reshape(shape), **row["arguments"])
    np.testing.assert_allclose(y.ravel(), row["y"], rtol=1e-12, atol=1e-12)


def test_examples():
    for module in (activations, functions, layers.activations):
        assert doctest.testmod(module).failed == 0
    for name in NAMES:
        assert ">>>" in getattr(functions, name).__doc__, name


# -------------------------------------------------------------------------------------- limits

LARGE = [-np.inf, -1e4, -50.0, 50.0, 1e4, np.inf, np.nan]
IDENTITY = [-np.inf, -1e4, -50.0, 50.0, 1e4, np.inf]
RIGHT = [0.0, 0.0, 0.0, 50.0, 1e4, np.inf]  # as relu
STEP = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
SELU = 1.0507009873554805
LIMITS = {
    "linear": IDENTITY,
    "relu": RIGHT,
    "sigmoid": STEP,
    "tanh": [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
    "leaky_relu": [-np.inf, -2e3, -10.0, 50.0, 1e4, np.inf],
    "bounded_relu": RIGHT,
    "relu6": [0.0, 0.0, 0.0, 6.0, 6.0, 6.0],
    "elu": [-1.0, -1.0, -1.0, 50.0, 1e4, np.inf],
    "selu": [*[-SELU * 1.6732632423543772] * 3, SELU * 50, SELU * 1e4, np.inf],
    "celu": [-1.0, -1.0, -1.0, 50.0, 1e4, np.inf],
    "softplus": RIGHT,
    "softsign": [-1.0, -1e4 / 10001, -50 / 51, 50 / 51, 1e4 / 10001, 1.0],
    "exponential": [0.0, 0.0, 0.0, np.exp(50.0), np.inf, np.inf],
    "log_sigmoid": [-np.inf, -1e4, -50.0, 0.0, 0.0, 0.0],
    "hard_sigmoid": STEP,
    "hard_tanh": [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0],
    "sparse_sigmoid": STEP,
    "sparse_plus": RIGHT,
    "squareplus": [0.0, 1e-4, 2 / (50 + 2504**0.5), (50 + 2504**0.5) / 2, 1e4 + 1e-4, np.inf],
    "soft_shrink": [-np.inf, -9999.5, -49.5, 49.5, 9999.5, np.inf],
    "hard_shrink": IDENTITY,
    "threshold": RIGHT,
    "tanh_shrink": [-np.inf, -9999.0, -49.0, 49.0, 9999.0, np.inf],
    "silu": RIGHT,
    "hard_silu": RIGHT,
    "mish": RIGHT,
    "gelu": RIGHT,
    "gelu_tanh": RIGHT,
}


@functools.cache
def backend_of(name):
    return backend_named(name)


def call(backend, op, arrays, attributes, dtype):
    complete = with_outputs(op, arrays, attributes, dtype)
    return guarded_call(backend_of(backend), op, complete, attributes)


@pytest.mark.parametrize(
    ("backend", "dtype"), [*BACKENDS, pytest.param("numpy", "float64", id="numpy-float64")]
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_huge_numbers_end_at_the_limit_and_nan_stays(activation, backend, dtype):
    """Without a warning; gradients of what is finite are finite and those of the limit."""
    x, flags = np.array([LARGE], dtype), {"activation": activation}
    y = call(backend, "bias_act", {"x": x}, flags, dtype)["y"]
    np.testing.assert_allclose(y[0, :-1], LIMITS[activation], rtol=1e-6, atol=1e-20)
    assert np.isnan(y[0, -1])
    saved = y if ACTIVATIONS[activation].saves == "y" else x
    arrays = {"dy": np.ones_like(x), "saved": saved}
    dx = call(backend, "bias_act_backward", arrays, flags, dtype)["dx"]
    left = {"leaky_relu": 0.2}.get(activation, float(LIMITS[activation][0] == -np.inf))
    right = {"selu": SELU}.get(activation, float(LIMITS[activation][-1] == np.inf))
    if activation != "exponential":
        np.testing.assert_allclose(dx[0, [1, 4]], [left, right], rtol=1e-6, atol=1e-6)
    assert np.isfinite(dx[0, 1:4]).all()
    assert not np.isnan(dx[0, :-1]).any()


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float32_has_all_its_digits(activation, backend, dtype):
    """Against float64 on a fine grid: 1e-6 of the value, or 1e-7 of |x| where x is subtracted."""
    x = np.linspace(-12, 12, 3001).astype(dtype)[None]
    flags = {"activation": activation}
    y = call(backend, "bias_act", {"x": x}, flags, dtype)["y"]
    exact = call("numpy", "bias_act", {"x": x.astype(float)}, flags, "float64")["y"]
    rough = ("tanh_shrink", "sigmoid", "gelu_tanh")  # 1 + tanh is small on the left
    np.testing.assert_allclose(y, exact, rtol=2e-6, atol=1e-6 if activation in rough else 1e-12)


# -------------------------------------------------------------------------------------- layers

KINDS = [
    layers.ReLU(),
    layers.ReLU(max_value=0.5, negative_slope=0.1, threshold=0.2),
    layers.ReLU(0.7),
    layers.LeakyReLU(),
    layers.LeakyReLU(0.0),
    layers.ELU(),
    layers.ELU(0.3),
    layers.Softmax(),
    layers.PReLU("random_normal"),
    layers.PReLU("random_normal", shared_axes=1),
    layers.PReLU("random_normal", shared_axes=[2, 1]),
    layers.Activation(activations.get("glu")),
    layers.Activation(activations.gelu),
    layers.Activation("linear"),
]


def again(layer):
    """Another layer from a config that has been through JSON."""
    return type(layer).from_config(json.loads(json.dumps(layer.get_config())))


@pytest.mark.parametrize("layer", KINDS, ids=lambda layer: f"{type(layer).__name__}")
def test_layers_gradients_and_configs(layer):
    x = np.random.default_rng(0).standard_normal((3, 5, 4))
    twin = again(layer)
    assert gradient_check(twin, x) < 1e-6
    assert again(twin).get_config() == {**layer.get_config(), "name": twin.name}


@pytest.mark.parametrize("name", NAMES)
def test_dense_with_every_activation(name):
    if name == "glu":
        with pytest.raises(ArgumentError, match=r"halves their number; put layers.Activation"):
            gradient_check(layers.Dense(4, "glu"), np.ones((2, 3)))
        return
    x = np.random.default_rng(1).standard_normal((3, 2, 5))
    for use_bias in (True, False):
        layer = layers.Dense(4, made(name), use_bias)
        assert gradient_check(layer, x) < 1e-6
        twin = layers.Dense.from_config(json.loads(json.dumps(layer.get_config())))
        assert twin.activation.arguments == layer.activation.arguments


def test_relu_layers_are_those_of_keras():
    assert layers.LeakyReLU().activation.arguments == {"negative_slope": 0.3}
    assert layers.ReLU(6.0).activation.arguments["max_value"] == 6.0
    x = np.array([[-10, -5, 0.0, 5, 10]], np.float32)
    model = Sequential([Input((5,)), layers.ReLU(max_value=10, negative_slope=0.5)])
    assert model.predict(x, verbose=0).tolist() == [[-5.0, -2.5, 0.0, 5.0, 10.0]]


def test_prelu_learns_its_slopes():
    layer = layers.PReLU(shared_axes=[1, 2])
    x = Input((2, 3, 4))
    model = Model(x, layer(x))
    assert layer.get_weights()[0].shape == (1, 1, 4)
    model.set_weights([np.array([0.5, 0.25, 1.0, 0.0]).reshape(1, 1, 4)])
    images = -np.ones((2, 2, 3, 4), np.float32)
    np.testing.assert_array_equal(model.predict(images, verbose=0)[0, 0, 0], [-0.5, -0.25, -1, 0])
    run = model.run(images, training=True)
    run.backward(np.ones_like(images))
    np.testing.assert_array_equal(model.get_gradients()[0].ravel(), [-12] * 4)
    with pytest.raises(ShapeError, match="was built for inputs"):
        layer(Input((2, 3, 5)))


def test_launches_are_as_few_as_can_be():
    """A gradient from x costs one more launch in training, and none in inference."""
    model = Sequential([Input((6,)), layers.Dense(5, "gelu"), layers.Dense(4, "elu")])
    model.compile("sgd", "mse")
    names = [r.op.name for r in model.training_plan(8).records if r.layer.startswith("dense")]
    assert names == [
        *("gemm_bias_act", "bias_act", "gemm_bias_act"),
        *("bias_act_backward", "gemm_column_sum", "gemm_act_backward", "gemm_column_sum"),
    ]
    records = model.inference_plan(8).records
    assert [record.attributes["activation"] for record in records] == ["gelu", "elu"]


def test_an_activation_layer_joins_the_product_before_it():
    stack = [layers.Dense(5), layers.LeakyReLU(), layers.Dense(4), layers.Activation("mish")]
    model = Sequential([Input((6,)), *stack])
    records = model.inference_plan(8).records
    assert [r.op.name for r in records] == ["gemm_bias_act", "gemm_bias_act"]
    assert records[0].attributes["parameters"] == (0.3,)


@pytest.mark.emulator
def test_a_step_through_every_activation_is_the_same_on_both_devices():
    x = Input((6,))
    ends = [layers.Dense(4, made(name))(x) for name in NAMES if name != "glu"]
    ends += [layers.PReLU("random_normal")(layers.Dense(4)(x))]
    ends += [layers.Activation("glu")(layers.Dense(8)(x))]
    model = Model(x, layers.Dense(2)(layers.Add()(ends)))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    result = compare(model, "numpy", "emulator", rng.normal(size=(9, 6)), rng.normal(size=(9, 2)))
    assert result.ok, result


# ------------------------------------------------------------------------------------ messages


def test_get_takes_names_functions_objects_and_configs():
    assert activations.get(None).name == "linear"
    assert activations.get(activations.elu).arguments == {"alpha": 1.0}
    assert activations.get("LeakyReLU").name == "leaky_relu"
    assert activations.get("swish").name == activations.get(activations.silu).name == "silu"
    elu = activations.get("elu", alpha=0.5)
    assert activations.get(elu) is elu
    assert activations.get(activations.serialize(elu)).arguments == elu.arguments
    assert [activations.serialize(made(name)) for name in ("gelu", "softmax")] == [
        "gelu",
        "softmax",
    ]
    assert activations.get("relu", max_value=np.float32(6)).arguments["max_value"] == 6.0
    assert repr(elu) == "<activation elu(0.5,)>"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: activations.get("geluu"), "Unknown activation 'geluu': did you mean 'gelu'"),
        (lambda: activations.get("threshold"), "takes threshold, default_value: missing"),
        (lambda: activations.get("elu", beta=1.0), "'elu' takes alpha: got an unexpected"),
        (lambda: activations.get("tanh", beta=1.0), "'tanh' takes nothing: got an unexpected"),
        (lambda: activations.get(3), "function of gpunet.activations or an Activation, got 3"),
        (lambda: activations.get(np.tanh), "write a layer with forward and backward"),
        (lambda: activations.serialize(activations.Activation("mine")), "of your own cannot be"),
        (lambda: layers.LeakyReLU(-0.1), "leaky_relu takes a number >= 0 for negative_slope"),
        (lambda: layers.LeakyReLU(None), "takes a number >= 0 for negative_slope, got None"),
        (lambda: layers.ReLU(-1.0), "relu takes a number >= 0 for max_value, got -1.0"),
        (lambda: layers.ELU(np.nan), "elu takes a number >= 0 for alpha, got nan"),
        (lambda: activations.get("celu", alpha=0), "celu takes a number > 0 for alpha, got 0"),
        (lambda: layers.Softmax(axis=1.5), "softmax takes an axis or a list of axes, got axis=1.5"),
        (lambda: layers.PReLU(shared_axes=[-1]), r"counted from 1, for shared_axes, got \[-1\]"),
    ],
)
def test_mistakes_are_said_in_one_sentence(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_glu_needs_an_even_axis():
    with pytest.raises(ShapeError, match="glu halves the last axis, which must be even"):
        activations.glu(np.ones((2, 3)))
    with pytest.raises(ShapeError, match="glu halves the last axis, which must be even"):
        layers.Activation("glu")(Input((3,)))
