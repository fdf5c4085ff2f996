"""Layers hold PyTorch's numbers, with weights converted by the table of layouts, and back."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError, UsageError
from gpunet.saving import from_onnx, from_torch, to_onnx, to_torch

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("torch_cases")
FORMATS = ("channels_last", "channels_first")
# dtype and precision -> the largest error as a part of the largest number. With "ieee" wide
# convolutions take Winograd's tiles, whose errors gpunet/backend/precision.py says.
LIMITS = {("float64", "ieee"): 1e-11, ("float32", "direct"): 2e-6, ("float32", "ieee"): 2e-5}


def layer_of(number, data_format):
    """The layer of a case, for inputs in this format."""
    case = golden.CASES[number]
    cls, arguments = case.layer
    first = data_format == "channels_first"
    if cls in ("BatchNormalization", "GroupNormalization"):
        arguments = {**arguments, "axis": 1 if first else -1}
    elif cls == "PReLU":
        arguments = {"shared_axes": [2, 3] if first else [1, 2]}
    elif case.spatial:
        arguments = {**arguments, "data_format": data_format}
    return getattr(layers, cls)(**arguments)


def check(model, saved, shape, first, dtype, limit):
    """Outputs and gradients of a model in training, which has the module's weights."""
    model.to("numpy", dtype=dtype)
    state = golden.beginning(saved, "state.")
    model.set_weights(from_torch(model, state))
    x, dy = golden.inputs(shape), golden.output_gradient(saved["y"].shape)
    move = golden.to_first if first else np.asarray
    run = model.run(move(x).astype(dtype), training=True)
    dx = run.backward(move(dy).astype(dtype))
    close(run.y, move(saved["y"]), limit)
    close(dx, move(saved["dx"]), limit)
    ours = model.get_gradients()
    gradients = golden.beginning(saved, "gradient.")
    for name in state.keys() - gradients.keys():  # moving statistics have none
        gradients[name] = np.zeros_like(state[name])
    for name in gradients:
        if "bias_hh" in name and not any(p.shape[0] == 2 for p in model.parameters):
            gradients[name] = np.zeros_like(state[name])  # one bias is both, and has one gradient
    theirs = from_torch(model, gradients)
    for parameter, gradient, wanted in zip(model.parameters, ours, theirs, strict=True):
        if parameter.is_trainable:
            close(gradient, wanted, 2 * limit)


def close(found, wanted, limit):
    """Errors are at most this part of the largest number."""
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= limit * max(np.abs(wanted).max(), 1)


@pytest.fixture
def limit(dtype, precision):
    """What errors may be with this precision, which is set."""
    gpunet.set_matmul_precision(precision)
    yield LIMITS[dtype, precision]
    gpunet.set_matmul_precision("ieee")


EACH = pytest.mark.parametrize(("dtype", "precision"), LIMITS)


@EACH
@pytest.mark.parametrize(
    ("number", "data_format"),
    [
        pytest.param(i, data_format, id=f"{golden.name(i)}-{data_format}")
        for i, case in enumerate(golden.CASES)
        for data_format in FORMATS[: 1 + case.spatial]
    ],
)
def test_numbers_of_pytorch(number, data_format, dtype, limit):
    case, first = golden.CASES[number], data_format == "channels_first"
    shape = (case.shape[-1], *case.shape[:-1]) if first else case.shape
    model = Sequential([Input(shape), layer_of(number, data_format)])
    check(model, golden.saved(number), case.shape, first, dtype, limit)


def network(data_format):
    first = data_format == "channels_first"
    how, height, width, channels = {"data_format": data_format}, *golden.NETWORK_SHAPE
    return Sequential(
        [
            Input((channels, height, width) if first else (height, width, channels)),
            layers.Conv2D(6, 3, padding="same", activation="relu", **how),
            layers.MaxPooling2D(**how),
            layers.BatchNormalization(1 if first else -1, epsilon=1e-5),
            layers.Flatten(),
            layers.Dense(8, "tanh"),
            layers.Dense(8),
            layers.Dense(4),
        ]
    )


@EACH
@pytest.mark.parametrize("data_format", FORMATS)
def test_a_network_with_a_flatten_between(data_format, dtype, limit):
    saved, first = golden.saved("network"), data_format == "channels_first"
    check(network(data_format), saved, golden.NETWORK_SHAPE, first, dtype, limit)


@EACH
@pytest.mark.parametrize("kind", golden.STACKS)
def test_stacks_of_two_directions(kind, dtype, limit):
    def both():
        return layers.Bidirectional(getattr(layers, kind)(3, return_sequences=True))

    model = Sequential([Input(golden.LINE), both(), both()])
    check(model, golden.saved(kind), golden.LINE, False, dtype, limit)


@EACH
def test_self_attention(dtype, limit):
    x = Input(golden.LINE)
    model = Model(x, layers.MultiHeadAttention(2, 2)(x, x))
    check(model, golden.saved("attention"), golden.LINE, False, dtype, limit)
    for array, weight in zip(from_torch(model, to_torch(model)), model.get_weights(), strict=True):
        np.testing.assert_array_equal(array, weight)


# ------------------------------------------------------------------------------ there and back

MADE = [
    lambda: layers.Dense(3, input_dim=4),
    lambda: layers.Conv2D(6, (2, 3), groups=2, input_shape=(5, 6, 4)),
    lambda: layers.Conv2D(
        6, 3, use_bias=False, data_format="channels_first", input_shape=(4, 5, 6)
    ),
    lambda: layers.Conv3DTranspose(3, (1, 2, 3), input_shape=(2, 3, 4, 5)),
    lambda: layers.DepthwiseConv2D((2, 3), depth_multiplier=2, input_shape=(5, 6, 4)),
    lambda: layers.SeparableConv1D(5, 3, depth_multiplier=2, input_shape=(6, 4)),
    lambda: layers.Embedding(7, 3, input_shape=(5,)),
    lambda: layers.BatchNormalization(input_shape=(4, 3)),
    lambda: layers.BatchNormalization(center=False, input_shape=(4, 3)),
    lambda: layers.LayerNormalization(input_shape=(4, 3)),
    lambda: layers.PReLU(shared_axes=[1], input_shape=(4, 3)),
    lambda: layers.LSTM(5, input_shape=(4, 3)),
    lambda: layers.GRU(5, input_shape=(4, 3)),
    lambda: layers.GRU(5, use_bias=False, input_shape=(4, 3)),
    lambda: layers.SimpleRNN(5, input_shape=(4, 3)),
    lambda: layers.RNN(layers.LSTMCell(5), input_shape=(4, 3)),
    lambda: layers.Bidirectional(layers.GRU(5), input_shape=(4, 3)),
    lambda: layers.TimeDistributed(layers.Dense(5), input_shape=(4, 3)),
]


def built(layer):
    model = Sequential([layer])
    return model.graph.layers[0]


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize(("there", "back"), [(to_torch, from_torch), (to_onnx, from_onnx)])
def test_there_and_back(make, there, back):
    model = Sequential([make()])
    random = np.random.default_rng(0)
    weights = [random.standard_normal(p.shape).astype(np.float32) for p in model.parameters]
    model.set_weights(weights)
    for target in (model, model.layers[0]):
        for state in (there(target), there(target, [2 * w for w in weights])):
            found = back(target, state)
            factor = found[0].ravel()[0] / weights[0].ravel()[0]
            for array, weight in zip(found, weights, strict=True):
                np.testing.assert_array_equal(array, np.float32(factor) * weight)
    assert all("." in name for name in there(model))
    model.set_weights(back(model, there(model)))


@pytest.mark.parametrize(
    ("make", "shapes"),
    [
        (MADE[0], {"B": (4, 3), "C": (3,)}),
        (MADE[1], {"W": (6, 2, 2, 3), "B": (6,)}),
        (MADE[3], {"W": (5, 3, 1, 2, 3), "B": (3,)}),
        (MADE[4], {"W": (8, 1, 2, 3), "B": (8,)}),
        (MADE[11], {"W": (1, 20, 3), "R": (1, 20, 5), "B": (1, 40)}),
        (MADE[12], {"W": (1, 15, 3), "R": (1, 15, 5), "B": (1, 30)}),
    ],
)
def test_layouts_of_onnx(make, shapes):
    layer = built(make())
    assert {name: array.shape for name, array in to_onnx(layer).items()} == shapes


def test_gates_of_onnx():
    """Gate by gate, from the specification: LSTM i o f c, GRU z r h, first all of the inputs."""
    layer = built(layers.LSTM(2, input_shape=(4, 1)))
    layer.set_weights([np.arange(8.0)[None], np.zeros((2, 8)), 10 + np.arange(8.0)])  # i f c o
    onnx = to_onnx(layer)
    assert onnx["W"].ravel().tolist() == [0, 1, 6, 7, 2, 3, 4, 5]
    assert onnx["B"].ravel().tolist() == [10, 11, 16, 17, 12, 13, 14, 15, *[0] * 8]
    layer = built(layers.GRU(1, input_shape=(4, 1)))
    layer.set_weights([[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8], [9, 10, 11]]])
    onnx = to_onnx(layer)
    assert [onnx[name].ravel().tolist() for name in "WRB"] == [
        [0, 1, 2],
        [3, 4, 5],
        [6, 7, 8, 9, 10, 11],
    ]


def test_modules_are_found_by_name_or_in_order():
    first, second = (layers.Dense(2, name=name) for name in "ab")
    model = Model(x := Input((2,)), second(first(x)))
    state = to_torch(model)
    backwards = {name: state[name] for name in reversed(state)}
    elsewhere = {
        name.replace("a.", "net.0.").replace("b.", "net.2."): state[name] for name in state
    }
    for given in (state, backwards, elsewhere):
        for array, weight in zip(from_torch(model, given), model.get_weights(), strict=True):
            np.testing.assert_array_equal(array, weight)


def test_flattened_features_through_other_layers():
    """Dropout, joining and norms keep the order of features; a second Flatten has none."""
    image, other = Input((2, 3, 4)), Input((5,))
    flat = layers.Dropout(0.5)(layers.Flatten()(layers.Conv2D(2, 1)(image)))
    joined = layers.Concatenate()([other, layers.BatchNormalization()(flat)])
    model = Model([image, other], layers.Dense(1)(joined))
    marks = {
        name: np.arange(array.size, dtype=np.float32).reshape(array.shape)
        for name, array in to_torch(model).items()
    }
    found = dict(zip(model.parameters, from_torch(model, marks), strict=True))
    order = np.arange(12).reshape(2, 2, 3).transpose(1, 2, 0).ravel()
    by_name = {(p.layer.base_name, p.name): array for p, array in found.items()}
    np.testing.assert_array_equal(by_name["batch_normalization", "gamma"], order)
    expected = [*range(5), *(5 + order)]
    np.testing.assert_array_equal(by_name["dense", "kernel"].ravel(), expected)
    again = to_torch(model, [found[p] for p in model.parameters])
    for name, array in again.items():
        np.testing.assert_array_equal(array, marks[name])
    repeated = layers.RepeatVector(2)(flat)
    for moved in (layers.LSTM(2)(repeated), layers.Dense(1)(layers.Flatten()(repeated))):
        with pytest.raises(ArgumentError, match="'repeat_vector' moves flattened features, whose"):
            to_torch(Model(image, moved))


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, ArgumentError, "needs a module for each of 'dense', got 0: "),
        ({"a.weight": 1, "b.weight": 2}, ArgumentError, "'dense', got 2: 'a', 'b'; pass the stat"),
        ({"a.weight": np.ones((3, 4))}, ArgumentError, "layer 'dense' from weight, bias, got weig"),
        (
            {"a.weight": np.ones((4, 3)), "a.bias": np.ones(3)},
            ShapeError,
            r"weight of layer 'dense' to have the shape \(3, 4\), got \(4, 3\)",
        ),
        (
            {"a.weight": 1, "a.bias": 2, "a.scale": 3},
            ArgumentError,
            "got weight, bias, scale; pass",
        ),
    ],
)
def test_states_that_do_not_fit(state, error, message):
    with pytest.raises(error, match=message):
        from_torch(Sequential([layers.Dense(3, input_dim=4)]), state)


def test_layers_without_a_layout():
    with pytest.raises(UsageError, match="layer 'dense' has no weights yet; make a model of it"):
        to_torch(layers.Dense(3))
    assert to_torch(built(layers.ReLU(input_shape=(3,)))) == {}
    model = Sequential([layers.Normalization(input_shape=(3,))])
    with pytest.raises(ArgumentError, match="no layout for the weights of layer 'normalization'"):
        to_torch(model)
    model = Sequential([layers.GRU(3, reset_after=False, input_shape=(4, 3))])
    with pytest.raises(ArgumentError, match="no layout for the weights of layer 'gru' of type GRU"):
        to_torch(model)  # as PyTorch has no such layer
    assert to_onnx(model)["gru.B"].shape == (1, 18)
    model = Sequential([layers.ConvLSTM2D(2, 3, input_shape=(3, 5, 6, 2))])
    with pytest.raises(ArgumentError, match="no layout for the weights of layer 'conv_lstm2d'"):
        to_torch(model)
    model = Sequential([layers.Dense(3, input_dim=4)])
    with pytest.raises(ShapeError, match=r"weights have the shapes \[\(4, 3\), \(3,\)\], got \[\("):
        to_torch(model, [np.ones(3)])
