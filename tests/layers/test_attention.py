"""Attention layers: shapes, weights, gradients, devices, calls, and what Keras gets."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gpunet import Input, Model, layers, optimizers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parents[1] / "golden"
NUMBERS = np.load(GOLDEN / "attention.npz")


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


golden = load("make_attention")
EACH = pytest.mark.parametrize("number", range(len(golden.CASES)))


def values(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def model_of(number, dropout=0.0):
    """A model of one layer of the golden cases, and the inputs' shapes."""
    name, arguments, options, shapes = golden.CASES[number]
    inputs = [Input(shape) for shape in shapes]
    layer = getattr(layers, name)(**arguments, dropout=dropout)
    return Model(inputs, golden.call(layer, inputs, options)), shapes


@EACH
def test_as_keras(number):
    """Outputs and gradients from the same weights, in float64."""
    saved = {k.split(".")[1]: v for k, v in NUMBERS.items() if k.startswith(f"{number}.")}
    model, shapes = model_of(number)
    model.to("numpy", dtype="float64")
    parameters = model.layers[-1].parameters
    model.set_weights([saved[f"weight{i}"] for i in range(len(parameters))])
    run = model.run([saved[f"x{i}"] for i in range(len(shapes))], training=True)
    np.testing.assert_allclose(run.y, saved["y"], rtol=1e-10, atol=1e-12)
    gradients = [*run.backward(saved["dy"]), *(p.block.gradient(p) for p in parameters)]
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, saved[f"gradient{i}"], rtol=1e-10, atol=1e-11)


def masked_model(number, dropout=0.0):
    """A model of one layer of the masked cases; its inputs are those of the layer, then masks."""
    name, arguments, options, shapes, names = golden.MASKED[number]
    inputs = [Input(shape) for shape in shapes]
    length, keys = shapes[0][0], shapes[1][0]
    sizes = {"query_mask": (length,), "attention_mask": (length, keys)}
    masks = {mask: Input(sizes.get(mask, (keys,)), dtype="bool", name=mask) for mask in names}
    layer = getattr(layers, name)(**arguments, dropout=dropout)
    outputs = golden.call_masked(layer, inputs, options, masks)
    return Model([*inputs, *masks.values()], outputs if len(outputs) > 1 else outputs[0])


def masked_data(number):
    _, _, _, shapes, names = golden.MASKED[number]
    saved = {k.split(".")[1]: v for k, v in NUMBERS.items() if k.startswith(f"m{number}.")}
    return saved, [saved[f"x{i}"] for i in range(len(shapes))] + [saved[name] for name in names]


EACH_MASKED = pytest.mark.parametrize("number", range(len(golden.MASKED)))


@EACH_MASKED
def test_masks_and_scores_as_keras(number):
    """Outputs and gradients, also with respect to the scores, in float64."""
    saved, data = masked_data(number)
    model = masked_model(number)
    model.to("numpy", dtype="float64")
    parameters = model.layers[-1].parameters
    model.set_weights([saved[f"weight{i}"] for i in range(len(parameters))])
    run = model.run(data, training=True)
    ys = list(run.y) if isinstance(run.y, list | tuple) else [run.y]
    for i, y in enumerate(ys):
        np.testing.assert_allclose(y, saved[f"y{i}"], rtol=1e-9, atol=1e-12)
    dys = [saved[f"dy{i}"] for i in range(len(ys))]
    found = run.backward(dys if len(dys) > 1 else dys[0])
    count = len(golden.MASKED[number][3])
    gradients = [*found[:count], *(p.block.gradient(p) for p in parameters)]
    for i, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient, saved[f"gradient{i}"], rtol=1e-9, atol=1e-11)


@pytest.mark.emulator
@pytest.mark.filterwarnings("ignore::gpunet.errors.GpunetWarning")  # Flatten knows no masks
@EACH_MASKED
def test_masks_and_scores_on_kernels(number):
    """A training step with dropout, op by op."""
    _, data = masked_data(number)
    data = [x.astype(np.float32) if x.dtype == np.float64 else x for x in data]
    model = masked_model(number, dropout=0.25)
    outputs = [layers.Flatten()(y) for y in model.outputs]
    head = layers.Dense(2)(outputs[0] if len(outputs) == 1 else layers.Concatenate()(outputs))
    model = Model(model.inputs, head)
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", data, values(3, 2))
    assert comparison.ok, str(comparison)


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_scores_change_nothing_else(rate):
    """Stored or not, the weights are the same, and the same ones are dropped."""
    x, mask = Input((9, 6)), Input((9,), dtype="bool")
    shared = layers.MultiHeadAttention(2, 4, dropout=rate)
    options = {"use_causal_mask": True, "value_mask": mask}
    fused = Model([x, mask], shared(x, x, **options))
    stored = Model([x, mask], shared(x, x, return_attention_scores=True, **options)[0])
    data = [values(3, 9, 6), np.random.default_rng(1).random((3, 9)) < 0.7]
    runs = [model.run(data, training=True) for model in (fused, stored)]
    if rate == 0:
        np.testing.assert_allclose(runs[0].y, runs[1].y, rtol=1e-5, atol=1e-6)
    ops = [{r.op.name for r in model.inference_plan(3).records} for model in (fused, stored)]
    assert "fused_attention" in ops[0] - ops[1]
    assert "attention_weights" in ops[1] - ops[0]


def test_nothing_is_nan_where_no_key_is_seen():
    x, mask = Input((4, 6)), Input((4,), dtype="bool")
    layer = layers.MultiHeadAttention(2, 3, use_bias=False)
    y, scores = layer(x, x, value_mask=mask, return_attention_scores=True)
    data = [values(2, 4, 6), np.zeros((2, 4), bool)]
    for model in (Model([x, mask], [y, scores]), Model([x, mask], layer(x, x, value_mask=mask))):
        run = model.run(data, training=True)
        ys = run.y if isinstance(run.y, list | tuple) else [run.y]
        assert all(not np.any(array) for array in ys)


def test_masks_of_inputs_are_used_and_passed_on():
    tokens = Input((None,), dtype="int32")
    x = layers.Embedding(7, 6, mask_zero=True)(tokens)
    attended = layers.MultiHeadAttention(2, 3)(x, x)
    assert attended.mask is x.mask
    model = Model(tokens, attended)
    filled = model.predict(np.array([[3, 1, 4, 0, 0]], np.int32), verbose=0)
    short = model.predict(np.array([[3, 1, 4]], np.int32), verbose=0)
    np.testing.assert_allclose(filled[:, :3], short, rtol=1e-5)


@EACH
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_gradients(number, dropout):
    model, shapes = model_of(number, dropout)
    x = [values(2, *shape, seed=i).astype(np.float64) for i, shape in enumerate(shapes)]
    assert gradient_check(model, x) < 1e-6


@EACH
def test_batches_of_several_sizes_give_the_same_as_one(number):
    model, shapes = model_of(number, dropout=0.5)
    x = [values(5, *shape, seed=i) for i, shape in enumerate(shapes)]
    whole = model.predict(x, batch_size=5, verbose=0)
    assert whole.shape == (5, *model.output_shape[1:])
    parts = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.emulator
@pytest.mark.parametrize("layer", ["MultiHeadAttention", "Attention"])
@pytest.mark.parametrize("causal", [False, True])
def test_kernels_agree_with_numpy(layer, causal):
    x = Input((9, 6))
    options = {"use_causal_mask": True} if causal else {}
    if layer == "Attention":
        y = layers.Attention(use_scale=True, dropout=0.25)([x, x], **options)
    else:
        y = layers.MultiHeadAttention(2, 5, 3, dropout=0.25)(x, x, **options)
    model = Model(x, layers.Dense(2)(layers.Flatten()(y)))
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", values(4, 9, 6), values(4, 2))
    assert comparison.ok, str(comparison)


def test_weights_are_those_of_keras():
    x, value = Input((5, 6)), Input((7, 4))
    layer = layers.MultiHeadAttention(2, 3, 5)
    layer(x, value)
    shapes = {p.name: p.shape for p in layer.parameters}
    assert shapes == {
        "query_kernel": (6, 2, 3),
        "query_bias": (2, 3),
        "key_kernel": (4, 2, 3),
        "key_bias": (2, 3),
        "value_kernel": (4, 2, 5),
        "value_bias": (2, 5),
        "output_kernel": (2, 5, 6),
        "output_bias": (6,),
    }


def test_a_causal_query_does_not_see_what_comes_after():
    x = Input((6, 4))
    model = Model(x, layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True))
    before = values(1, 6, 4)
    after = before.copy()
    after[:, 4:] += 1
    seen, changed = model.predict(before, verbose=0), model.predict(after, verbose=0)
    np.testing.assert_array_equal(seen[:, :4], changed[:, :4])
    assert np.all(seen[:, 4:] != changed[:, 4:])


def test_dropout_acts_in_training_alone_and_differs_from_step_to_step():
    x = Input((6, 4))
    model = Model(x, layers.Attention(dropout=0.5)([x, x]))
    data = values(3, 6, 4)
    np.testing.assert_array_equal(model(data), model(data))
    dropped = [model.run(data, training=True).y for _ in range(2)]
    assert np.any(dropped[0] != model(data))
    assert np.any(dropped[0] != dropped[1])


@pytest.mark.parametrize("again", [lambda m: model_from_json(m.to_json()), clone_model])
def test_a_call_keeps_its_mask_and_its_arguments(again):
    x, value = Input((5, 4), name="x"), Input((5, 4), name="value")
    layer = layers.MultiHeadAttention(1, 3)
    y = layer(layer(x, value, use_causal_mask=True), value, x)
    model = Model([x, value], layers.Attention()([y, x], use_causal_mask=True))
    twin = again(model)
    twin.set_weights(model.get_weights())
    data = [values(2, 5, 4), values(2, 5, 4, seed=1)]
    np.testing.assert_array_equal(twin.predict(data, verbose=0), model.predict(data, verbose=0))
    config = json.loads(model.to_json())["config"]["layers"]
    calls = {entry["name"]: entry["inbound_nodes"] for entry in config}
    kwargs = [call["kwargs"] for call in calls["multi_head_attention"]]
    assert kwargs == [{"use_causal_mask": True}, {}]
    nested = Input((5, 4))
    whole = Model(nested, model([nested, nested]))
    same = [data[0], data[0]]
    np.testing.assert_array_equal(whole.predict(data[0], verbose=0), model.predict(same, verbose=0))


def test_what_keras_writes_is_read():
    heads = {"num_heads": 2, "key_dim": 3, "value_dim": 3, "use_gate": False, "seed": None}
    heads |= {"output_shape": [5], "attention_axes": None, "sliding_window": None}
    layer = layers.deserialize({"class_name": "MultiHeadAttention", "config": heads})
    assert layer(Input((4, 6)), Input((7, 2))).shape == (None, 4, 5)
    dot = {"use_scale": True, "score_mode": "dot", "dropout": 0.0, "seed": None}
    assert layers.deserialize({"class_name": "Attention", "config": dot}).use_scale


def test_an_option_that_a_config_invents_is_refused():
    x = Input((5, 4))
    text = Model(x, layers.Attention()([x, x], use_causal_mask=True)).to_json()
    with pytest.raises(ArgumentError, match=r"'attention' takes tensors, use_causal_mask=True, "):
        model_from_json(text.replace("use_causal_mask", "use_acausal_mask"))


def test_attention_learns_to_look_up():
    """The output is the row of the sequence that the last row names."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 5, 512)
    names = np.broadcast_to(np.eye(5), (512, 5, 5))
    contents = rng.standard_normal((512, 5, 3))
    data = np.concatenate([names, contents], axis=2).astype(np.float32)
    query = np.eye(5, dtype=np.float32)[rows][:, None]
    wanted = contents[np.arange(512), rows][:, None].astype(np.float32)
    q, x = Input((1, 5)), Input((5, 8))
    model = Model([q, x], layers.MultiHeadAttention(2, 8, output_shape=3)(q, x))
    model.compile(optimizers.Adam(0.01), "mse")
    history = model.fit([query, data], wanted, epochs=20, batch_size=32, verbose=0).history
    assert history["loss"][-1] < 0.02


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.MultiHeadAttention(0, 3), "a positive integer for num_heads, got 0"),
        (lambda: layers.MultiHeadAttention(2, 2.5), "a positive integer for key_dim, got 2.5"),
        (lambda: layers.MultiHeadAttention(2, 3, -1), "a positive integer for value_dim, got -1"),
        (lambda: layers.MultiHeadAttention(2, 3, output_shape=(3, "x")), "for output_shape, got"),
        (lambda: layers.MultiHeadAttention(2, 3, dropout=1.0), "below 1 for dropout, got 1.0"),
        (
            lambda: layers.MultiHeadAttention(2, 3, use_gate=1),
            "a bool for use_gate, got 1",
        ),
        (lambda: layers.MultiHeadAttention(2, 3, sliding_window=0), "for sliding_window, got 0"),
        (lambda: layers.GroupQueryAttention(3, 4, 3), "divides num_query_heads, got 3 and 4"),
        (lambda: layers.GroupQueryAttention(3, 4, 2, flash_attention=True), "no flash_attention"),
        (lambda: layers.MultiHeadAttention(2, 3, attention_axes=2), "no attention_axes, got 2"),
        (lambda: layers.MultiHeadAttention(2, 3, seed=0), "no seed, got 0: leave it out"),
        (lambda: layers.Attention(score_mode="concat"), "score_mode=\"dot\", got 'concat'"),
        (lambda: layers.Attention(dropout="x"), "at least 0 and below 1 for dropout, got 'x'"),
    ],
)
def test_arguments(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_calls_that_do_not_fit():
    x, short, wide, flat = Input((5, 4)), Input((3, 4)), Input((5, 7)), Input((4,))
    heads, dot = layers.MultiHeadAttention(2, 3, name="m"), layers.Attention(name="a")
    with pytest.raises(ShapeError, match=r"'m' expects inputs \(batch, length, features\), got"):
        heads(x, flat)
    with pytest.raises(ShapeError, match=r"'m' takes a value for each key, got a value \(None, 5"):
        heads(x, x, short)
    with pytest.raises(ArgumentError, match=r"'m' takes two or three inputs, .* got 1"):
        heads(x)
    with pytest.raises(ArgumentError, match="'m' takes a symbolic tensor of dtype bool as attent"):
        heads(x, x, attention_mask=x)
    with pytest.raises(ShapeError, match=r"a value_mask of shape \(None, 3\), got \(None, 5\)"):
        heads(x, short, value_mask=Input((5,), dtype="bool"))
    with pytest.raises(ShapeError, match="takes a query and a value of the same features, got"):
        layers.GroupQueryAttention(2, 2, 1)(x, wide)
    with pytest.raises(ArgumentError, match=r"'m' is called on symbolic tensors, got .* ndarray"):
        heads(values(2, 5, 4), x)
    with pytest.raises(ArgumentError, match="'m' is called on symbolic tensors, got an object of"):
        heads(x, key=x)
    heads(x, x)
    with pytest.raises(ArgumentError, match=r"'m' takes two or three inputs, .* got 1"):
        heads(x)
    with pytest.raises(ShapeError, match=r"'m' was built for .* \[4, 4, 4\] .*got \[4, 7, 7\]"):
        heads(x, wide)
    with pytest.raises(ShapeError, match="'a' takes a query and a key of the same features"):
        dot([x, wide])
    with pytest.raises(ArgumentError, match=r"'a' takes two or three inputs, .* got 1"):
        dot([x])
    with pytest.raises(ArgumentError, match="symbolic tensors as mask=, got mask"):
        dot([x, x], mask=True)
    with pytest.raises(ArgumentError, match=r"write \[\.\.\.\]"):
        dot(x, x)
