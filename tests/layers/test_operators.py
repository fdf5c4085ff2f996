"""Operators and slices of symbolic tensors are calls of layers, with NumPy's meaning."""

import numpy as np
import pytest

from gpunet import Input, Model, layers
from gpunet.errors import ArgumentError, DtypeError, GpunetError, ShapeError
from gpunet.models import model_from_json
from gpunet.testing import gradient_check

RANDOM = np.random.default_rng(0)
X, Y = (RANDOM.standard_normal((3, 4, 5)).astype(np.float32) for _ in range(2))
Z = RANDOM.standard_normal((3, 5, 2)).astype(np.float32)

OPERATORS = {
    "x + y": "add",
    "x - y": "subtract",
    "x * y": "multiply",
    "x + 1.5": "rescaling",
    "1 + x": "rescaling",
    "x - 0.5": "rescaling",
    "1.0 - x": "rescaling",
    "2.0 * x": "rescaling",
    "x * np.float32(3)": "rescaling",
    "np.float32(3) * x": "rescaling",
    "np.array(3.0) - x": "rescaling",
    "x / 2": "rescaling",
    "-x": "rescaling",
    "x ** 2": "multiply",
    "x ** 3.0": "multiply",
    "x @ z": "dot",
    "sum([x, y])": "add",
    "(x + y) * 2.0 - y / 4": "subtract",
    "x + x[:, :1]": "add",
    "x[:, 0]": "get_item",
    "x[:, -1, :]": "get_item",
    "x[:, 1:]": "get_item",
    "x[:, -3:-1, 0]": "get_item",
    "x[:, 1:3, 2:]": "get_item",
    "x[..., :2]": "get_item",
    "x[..., 1]": "get_item",
    "x[:, 0, 0]": "get_item",
    "x[:, None]": "get_item",
    "x[:, None, 1:, None, 2]": "get_item",
    "x[:, np.int64(2)]": "get_item",
    "x[:]": "get_item",
    "x[:, 0:4, ::1]": "get_item",
}


@pytest.mark.parametrize("text", OPERATORS)
def test_an_operator_is_a_call_of_a_layer(text):
    def value(x, y, z):
        return eval(text, {"np": np, "x": x, "y": y, "z": z})

    x, y, z = Input((4, 5)), Input((4, 5)), Input((5, 2))
    result = value(x, y, z)
    model = Model([x, y, z], result)
    assert model.layers[-1].name == OPERATORS[text]
    expected = value(X, Y, Z)
    assert result.shape == (None, *expected.shape[1:])
    found = model.predict([X, Y, Z], verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert gradient_check(model, [X, Y, Z]) < 1e-6
    again = model_from_json(model.to_json())
    np.testing.assert_array_equal(again.predict([X, Y, Z], verbose=0), found)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_slices_of_images(backend):
    images, data = Input((5, 6, 3)), RANDOM.standard_normal((2, 5, 6, 3)).astype(np.float32)
    for key in (np.s_[:, 1:-1, 2:-2, :2], np.s_[:, :, 1:, 1], np.s_[:, 2], np.s_[..., 1:]):
        model = Model(images, images[key]).to(backend)
        np.testing.assert_array_equal(model.predict(data, verbose=0), data[key], strict=True)
        run = model.run(data)
        expected = np.zeros_like(data)
        expected[key] = data[key]
        np.testing.assert_array_equal(model.backend.to_numpy(run.backward(run.y)), expected)


def test_sequences_whose_length_differs():
    words = Input((None, 3))
    last, rest = Model(words, words[:, -1]), Model(words, words[:, 1:])
    assert (last.output_shape, rest.output_shape) == ((None, 3), (None, None, 3))
    for steps in (2, 7):
        data = RANDOM.standard_normal((2, steps, 3)).astype(np.float32)
        np.testing.assert_array_equal(last.predict(data, verbose=0), data[:, -1])
        np.testing.assert_array_equal(rest.predict(data, verbose=0), data[:, 1:])
    with pytest.raises(ShapeError, match=r"takes \[:, 1:\] of inputs \(None, 1, 3\), which leaves"):
        rest.predict(np.ones((2, 1, 3)), verbose=0)


def test_masks_are_cut_with_their_steps():
    x = X.copy()
    x[0, 2:], x[1] = 0, 0
    words, part = Input((4, 5)), Input((3, 5))
    masked = layers.Masking()(words)
    lstm = layers.LSTM(3)
    model = Model(words, lstm(masked[:, 1:]))
    direct = Model(part, lstm(layers.Masking()(part)))
    np.testing.assert_array_equal(
        model.predict(x, verbose=0), direct.predict(x[:, 1:], verbose=0), strict=True
    )
    assert masked[..., 1:].mask is masked.mask
    assert masked[:, 0].mask is masked[:, None].mask is None


def test_what_numbers_do_runs_as_one_op():
    x = Input((4,))
    model = Model(x, 1.0 - layers.Dense(4)(x) / 2)
    ops = [record.op.name for record in model.inference_plan(8).records]
    assert ops == ["gemm_bias_act", "scale_shift"]


NUMBERS = r"the other side must be a symbolic tensor or a finite number, got "
NOT_COMPARED = r"but not compared, rounded and so on; write a layer with forward"
SYMBOLIC = r"is symbolic: it has no numbers to loop over, to decide by or to convert"
MISTAKES = {
    "x + 'a'": NUMBERS + "str 'a'",
    "x + None": NUMBERS + "NoneType None",
    "x * True": NUMBERS + "bool True",
    "x * np.ones(5)": NUMBERS + r"ndarray array\(\[1., 1.*takes an array for each feature",
    "np.ones(5) + x": NUMBERS + "ndarray",
    "x + [1, 2]": NUMBERS + r"list \[1, 2\]",
    "x - float('nan')": NUMBERS + "float nan",
    "x / y": "are divided by numbers alone; write a layer with forward and backward",
    "1 / x": "are divided by numbers alone",
    "x / 0": "are divided by numbers other than 0",
    "x ** 0.5": "powers of symbolic tensors are whole numbers from 2 to 8",
    "2 ** x": "powers of symbolic tensors are whole numbers from 2 to 8",
    "x @ y[:, 0]": r"both must be symbolic tensors \(batch, rows, columns\); layers.Dot",
    "x @ np.ones((5, 5))": "layers.Dense multiplies with a weight",
    "x + y[:, :3]": r"takes inputs of one shape, got \(None, 4, 5\), \(None, 3, 5\)",
    "x[0]": r"GetItem takes ':' first, as samples stay apart, got \[0\]; write x\[:, \.\.\.\]",
    "x[1:]": r"GetItem takes ':' first, as samples stay apart, got \[1:\]",
    "x[:, ::2]": r"takes slices with the step 1, got 2; MaxPooling1D\(1, strides=2\)",
    "x[:, ::-1]": "takes slices with the step 1, got -1",
    "x[:, 4]": r"takes \[:, 4\] of inputs \(None, 4, 5\), which leaves nothing",
    "x[:, -5]": "which leaves nothing",
    "x[:, 3:3]": "which leaves nothing",
    "x[:, 0, 0, 0]": "of inputs with 3 axes, the batch's among them, which are too few",
    "x[:, [0, 1]]": r"takes whole numbers, slices of them, None and '...', got \[0, 1\]",
    "x[:, 1.5]": "takes whole numbers, slices of them",
    "x[:, True]": "takes whole numbers, slices of them",
    "x[:, x]": "layers.Embedding picks rows by numbers that are only known at run time",
    "x[..., ...]": r"takes '...' once, got \[..., ...\]",
    "x < 1": NOT_COMPARED,
    "x >= y": NOT_COMPARED,
    "x == 0": NOT_COMPARED,
    "x != 0": NOT_COMPARED,
    "abs(x)": NOT_COMPARED,
    "x // 2": NOT_COMPARED,
    "x % 2": NOT_COMPARED,
    "max(x, y)": NOT_COMPARED,
    "1 if x else 0": SYMBOLIC,
    "len(x)": SYMBOLIC,
    "list(x)": SYMBOLIC,
    "float(x)": SYMBOLIC,
    "int(x)": SYMBOLIC,
    "range(x)": SYMBOLIC,
    "np.asarray(x)": SYMBOLIC,
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes(text):
    x, y = Input((4, 5)), Input((4, 5))
    with pytest.raises(GpunetError, match=MISTAKES[text]) as caught:
        eval(text, {"np": np, "x": x, "y": y})
    assert str(caught.value).count(". ") == 0  # one sentence


def test_integers_are_not_cut():
    tokens = Input((4,), dtype="int32")
    model = Model(tokens, tokens[:, 1:])
    with pytest.raises(DtypeError, match="takes numbers, got int32; cut the arrays that the model"):
        model.predict(np.ones((2, 4), np.int32), verbose=0)


def test_symbolic_tensors_are_themselves_alone():
    x, y = Input((4, 5)), Input((4, 5))
    assert x == x
    assert x != y
    assert x is not None
    assert len({x, y, x}) == 2


def test_a_volume_is_cut_along_three_axes_at_once():
    volume, data = Input((3, 3, 3, 3)), np.ones((1, 3, 3, 3, 3), np.float32)
    with pytest.raises(ShapeError, match="are cut along more than three axes; cut twice"):
        Model(volume, volume[:, 1:, 1:, 1:, 1:]).predict(data, verbose=0)
    twice = Model(volume, volume[:, 1:, 1:][:, :, :, 1:, 1:])
    assert twice.predict(data, verbose=0).shape == (1, 2, 2, 2, 2)


def test_keys_of_configs_are_checked():
    made = layers.deserialize(layers.serialize(layers.GetItem(np.s_[:, -1, ..., None, 2:])))
    assert made.key == (slice(None), -1, Ellipsis, None, slice(2, None))
    with pytest.raises(ArgumentError, match="takes whole numbers"):
        layers.GetItem([slice(None), "a"])
