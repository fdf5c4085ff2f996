"""Layers for transformers: as KerasHub, gradients, devices, weights, and what they refuse."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBERS = np.load(GOLDEN / "transformer.npz")


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_transformer")
EACH = pytest.mark.parametrize("number", range(len(golden.CASES)))
BLOCKS = [n for n, case in enumerate(golden.CASES) if case[0].startswith("Transformer")]


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(number, **more):
    """A model of one layer of the golden cases."""
    name, arguments, shapes, *masks = golden.CASES[number]
    dtype = "int32" if name in golden.INTEGERS else "float32"
    inputs = [Input(shape, dtype=dtype) for shape in shapes]
    layer = getattr(layers, name)(**arguments, **more)
    named = {
        key: Input(s, dtype="bool", name=key) for key, s in (masks[0] if masks else {}).items()
    }
    return Model([*inputs, *named.values()], golden.call(layer, inputs, named))


def inputs_of(number, batch):
    """Numbers, or integers, for the inputs of one of the golden cases."""
    name, _, shapes, *_ = golden.CASES[number]
    if name in golden.INTEGERS:
        return [np.random.default_rng(0).integers(0, 7, (batch, *shape)) for shape in shapes]
    masks = golden.masks_of(number, np.random.default_rng(0)).values()
    x = [values(batch, *shape, seed=i) for i, shape in enumerate(shapes)]
    return [*x, *(np.resize(mask, (batch, *mask.shape[1:])) for mask in masks)]


@EACH
def test_as_keras_hub(number):
    """Outputs and gradients from the same weights in the same order, in float64."""
    saved = {k.split(".")[1]: v for k, v in NUMBERS.items() if k.startswith(f"{number}.")}
    model = model_of(number)
    model.to("numpy", dtype="float64")
    parameters = model.layers[-1].parameters
    model.set_weights([saved[f"weight{i}"] for i in range(len(parameters))])
    run = model.run([saved[f"x{i}"] for i in range(len(model.inputs))], training=True)
    rotary = golden.CASES[number][0] == "RotaryEmbedding"
    tolerance = {"rtol": 1e-6, "atol": 1e-6} if rotary else {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(run.y, saved["y"], **tolerance)
    dx = run.backward(saved["dy"])
    dxs = dx if isinstance(dx, list) else [dx]
    numbers = [] if golden.CASES[number][0] in golden.INTEGERS else golden.CASES[number][2]
    of_inputs = dxs[: len(numbers)]
    gradients = [*of_inputs, *(p.block.gradient(p) for p in parameters)]
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, saved[f"gradient{i}"], **tolerance)


@EACH
def test_gradients(number):
    dropout = {"dropout": 0.3} if number in BLOCKS else {}
    model = model_of(number, **dropout)
    x = [a.astype(np.float64) if a.dtype == np.float32 else a for a in inputs_of(number, 2)]
    assert gradient_check(model, x) < 1e-6


@pytest.mark.emulator
@EACH
def test_kernels_agree_with_numpy(number):
    dropout = {"dropout": 0.3} if number in BLOCKS else {}
    model = model_of(number, **dropout)
    model = Model(model.inputs, layers.Dense(2)(layers.Flatten()(model.outputs[0])))
    model.compile("sgd", "mse")
    x = inputs_of(number, 4)
    comparison = compare(model, "numpy", "emulator", x if len(x) > 1 else x[0], values(4, 2))
    assert comparison.ok, str(comparison)


@EACH
def test_models_make_the_same_model_again(number):
    model = model_of(number)
    x = inputs_of(number, 2)
    for again in (clone_model(model), model_from_json(model.to_json())):
        again.set_weights(model.get_weights())
        wanted = model.predict(x if len(x) > 1 else x[0], verbose=0)
        np.testing.assert_array_equal(again.predict(x if len(x) > 1 else x[0], verbose=0), wanted)


def test_the_mask_of_a_sequence_hides_its_padding():
    """From Embedding(mask_zero=True) through a whole stack: what stands for nothing has no part."""
    tokens = Input((6,), dtype="int32")
    embedded = layers.TokenAndPositionEmbedding(9, 6, 8, mask_zero=True)(tokens)
    y = layers.TransformerDecoder(16, 2)(layers.TransformerEncoder(16, 2)(embedded))
    assert y.mask is not None
    long = Model(tokens, y)
    ids = np.array([[3, 4, 5, 7, 0, 0]])
    wanted = long.predict(ids, verbose=0)[:, :4]
    weights = long.get_weights()
    weights[1][4:] += 1.0  # the vectors of the last two positions
    long.set_weights(weights)
    np.testing.assert_array_equal(long.predict(ids, verbose=0)[:, :4], wanted)
    assert not np.array_equal(long.predict(ids + 1, verbose=0)[:, :4], wanted)


def test_rotary_angles_stay_exact_far_from_the_start():
    """A product of a query and a key depends on their distance alone."""
    x = np.tile(values(1, 1, 16), (1, 4000, 1))
    turned = Sequential([layers.RotaryEmbedding(input_shape=(4000, 16))]).predict(x, verbose=0)[0]
    products = (turned[5:] * turned[:-5]).sum(axis=1)
    np.testing.assert_allclose(products, products[0], rtol=1e-5)


def test_a_decoder_sees_nothing_that_comes_after():
    x = Input((6, 4))
    model = Model(x, layers.TransformerDecoder(8, 2)(x))
    before = values(1, 6, 4)
    after = before.copy()
    after[:, 4:] += 1
    seen, changed = model.predict(before, verbose=0), model.predict(after, verbose=0)
    np.testing.assert_array_equal(seen[:, :4], changed[:, :4])
    assert np.all(seen[:, 4:] != changed[:, 4:])


@pytest.mark.parametrize("cls", [layers.TransformerEncoder, layers.TransformerDecoder])
def test_trainable_and_the_rate_go_on_to_the_layers(cls):
    x = Input((6, 4))
    frozen, fast = cls(8, 2, trainable=False), cls(8, 2, learning_rate_factor=2.0)
    model = Model(x, fast(frozen(x)))
    assert not any(p.is_trainable for p in frozen.parameters)
    assert all(p.is_trainable for p in fast.parameters)
    assert {layer.learning_rate_factor for layer in fast.sublayers} == {2.0}
    assert model.count_params() == 2 * frozen.count_params()


def test_a_block_that_is_called_twice_shares_its_weights():
    x = Input((6, 4))
    block = layers.TransformerEncoder(8, 2)
    model = Model(x, block(block(x)))
    assert model.count_params() == block.count_params()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: layers.TransformerEncoder(0, 2), "intermediate_dim"),
        (lambda: layers.TransformerDecoder(8, 2.5), "num_heads"),
        (lambda: layers.TransformerEncoder(8, 2, 1.0), "dropout"),
        (lambda: layers.TransformerEncoder(8, 2, normalize_first="yes"), "normalize_first"),
        (lambda: layers.TransformerEncoder(8, 2, layer_norm_epsilon=0), "layer_norm_epsilon"),
        (lambda: layers.PositionEmbedding(0), "sequence_length"),
        (lambda: layers.SinePositionEncoding(-1), "max_wavelength"),
        (lambda: layers.RotaryEmbedding(scaling_factor=0), "scaling_factor"),
        (lambda: layers.RotaryEmbedding(sequence_axis=0), "sequence_axis"),
        (lambda: layers.TransformerDecoder(8, 2)(Input((5, 4)), use_causal_mask=False), "causal"),
    ],
)
def test_arguments_that_make_no_sense(make, says):
    with pytest.raises(ArgumentError, match=says):
        make()


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="4 heads"):
        layers.TransformerEncoder(8, 4)(Input((5, 3)))
    with pytest.raises(ShapeError, match="expects inputs"):
        layers.TransformerDecoder(8, 4)(Input((5,)))
    with pytest.raises(ShapeError, match="has 4 positions"):
        layers.PositionEmbedding(4)(Input((5, 3)))
    with pytest.raises(ShapeError, match="odd number"):
        layers.RotaryEmbedding()(Input((5, 3)))
    with pytest.raises(ShapeError, match="no such two axes"):
        layers.RotaryEmbedding(sequence_axis=2)(Input((5, 4)))
    decoder = layers.TransformerDecoder(8, 2)
    decoder(Input((5, 4)))
    with pytest.raises(ArgumentError, match="always or never"):
        decoder(Input((5, 4)), Input((3, 4)))
