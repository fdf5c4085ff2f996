"""Models: building, weights, names, summary, devices, configurations."""

import itertools
import re

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers, set_backend
from gpunet.errors import ArgumentError, ShapeError, UsageError

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((12, 4)), RNG.integers(0, 3, 12)


def stack():
    return [layers.Dense(5, "relu", input_dim=4), layers.Dense(3, "softmax")]


# ---------------------------------------------------------------------------- building


def test_a_sequential_without_input_shape_is_built_by_its_first_data():
    lazy, known = Sequential([layers.Dense(3)]), Sequential([layers.Dense(3, input_dim=4)])
    assert not lazy.built
    lazy.compile("sgd", "mse")
    lazy.fit(X, np.zeros((12, 3)), verbose=0)
    assert lazy.built
    assert lazy.input_shape == known.input_shape == (None, 4)
    assert lazy.output_shape == known.output_shape == (None, 3)


@pytest.mark.parametrize("use", ["call", "predict", "run", "build", "input", "input_shape"])
def test_there_are_many_ways_to_build(use):
    model = Sequential([layers.Dense(3)])
    if use == "call":
        model(X)
    elif use == "predict":
        model.predict(X, verbose=0)
    elif use == "run":
        model.run(X)
    elif use == "build":
        model.build((None, 4))
    elif use == "input":
        model = Sequential([Input((4,)), layers.Dense(3)])
    else:
        model = Sequential([layers.Dense(3, input_shape=(4,))])
    assert [w.shape for w in model.get_weights()] == [(4, 3), (3,)]


def test_data_that_do_not_fit_the_layers_leave_the_model_to_be_built_by_others():
    model = Sequential([layers.Dense(6), layers.Flatten(), layers.Reshape((3, 2, 2))])
    with pytest.raises(ShapeError, match="Reshape"):
        model.predict(X, verbose=0)
    assert not model.built
    assert model.predict(np.ones((5, 2, 4)), verbose=0).shape == (5, 3, 2, 2)


def test_layers_may_be_added_until_the_first_use_and_taken_off():
    model = Sequential(stack())
    model.add(layers.Dense(7))
    assert model.pop().units == 7
    assert model.output_shape == (None, 3)
    with pytest.raises(UsageError, match="built already"):
        model.add(layers.Dense(2))
    with pytest.raises(UsageError, match="no layer that could be taken off"):
        model.pop()


def test_output_shapes_follow_from_the_layers():
    model = Sequential([layers.Dense(6, input_shape=(7, 4)), layers.Flatten()])
    assert model.output_shape == (None, 42)
    a, b = Input((4,)), Input(3)
    two = Model([a, b], [layers.Dense(2)(a), b])
    assert two.input_shape == [(None, 4), (None, 3)]
    assert two.output_shape == [(None, 2), (None, 3)]


@pytest.mark.parametrize("built", [False, True])
def test_repr_says_what_runs_where_and_builds_nothing(built):
    model = Sequential(stack(), name="mine")
    if built:
        model.predict(X, verbose=0)
    assert repr(model) == f"<Sequential mine {'on numpy' if built else 'not built'}>"
    assert model.built is True
    assert repr(model.layers[0]) == "<Dense dense>"


# ------------------------------------------------------------------------------- names


def test_layers_get_the_names_of_keras():
    model = Sequential([layers.Dense(2, input_dim=4), layers.ReLU(), layers.Dense(2, name="mine")])
    model.add(layers.Dense(2))
    model.build((None, 4))
    assert [layer.name for layer in model.layers] == ["dense", "re_lu", "mine", "dense_1"]


def test_given_names_are_not_given_again():
    model = Sequential([layers.Dense(2, input_dim=4), layers.Dense(2, name="dense")])
    model.add(layers.Dense(2, name="dense_2"))
    model.add(layers.Dense(2))
    model.build((None, 4))
    assert [layer.name for layer in model.layers] == ["dense_1", "dense", "dense_2", "dense_3"]


def test_two_layers_of_one_name_are_refused():
    model = Sequential([layers.Dense(2, input_dim=4, name="a"), layers.Dense(2, name="a")])
    with pytest.raises(ArgumentError, match="two layers of the model are named 'a'"):
        model.build((None, 4))


def test_inputs_of_one_name_are_numbered():
    a, b, c = Input((4,)), Input((4,)), Input((4,), name="mine")
    model = Model([a, b, c], layers.Add()([a, b, c]))
    assert [tensor.name for tensor in model.graph.inputs] == [
        "input_layer",
        "input_layer_1",
        "mine",
    ]
    with pytest.raises(ShapeError, match="input_layer has 5, input_layer_1 has 6, mine has 5"):
        model.predict([np.ones((5, 4)), np.ones((6, 4)), np.ones((5, 4))], verbose=0)


def test_layers_are_found_by_name_and_index():
    model = Sequential(stack())
    model.build((None, 4))
    assert model.get_layer("dense_1") is model.get_layer(index=-1) is model.layers[1]
    with pytest.raises(ArgumentError, match="has the layers dense, dense_1, got 'dense_7'"):
        model.get_layer("dense_7")
    with pytest.raises(ArgumentError, match="has 2 layers, got 2"):
        model.get_layer(index=2)


# ----------------------------------------------------------------------------- weights


def test_weights_go_out_and_in():
    ours, theirs = Sequential(stack()), Sequential(stack())
    theirs.set_weights(ours.get_weights())
    np.testing.assert_array_equal(ours(X), theirs(X))
    theirs.layers[0].set_weights([np.zeros((4, 5)), np.ones(5)])
    assert theirs.get_weights()[0].sum() == 0
    assert theirs.count_params() == 4 * 5 + 5 + 5 * 3 + 3
    assert theirs.layers[1].count_params() == 18


def test_weights_that_are_read_are_copies():
    model = Sequential(stack())
    model.get_weights()[0][...] = 7
    model.layers[0].weights[0][...] = 7
    assert (model.get_weights()[0] != 7).all()


def test_frozen_weights_are_not_among_the_trainable_ones():
    model = Sequential(stack())
    model.build((None, 4))
    model.layers[0].trainable = False
    assert [w.shape for w in model.trainable_weights] == [(5, 3), (3,)]
    assert len(model.weights) == 4


def test_weights_of_many_sizes_lie_in_one_block_without_touching():
    model = Sequential([layers.Dense(units, "relu") for units in (1, 3, 64, 65, 2)])
    model.build((None, 7))
    (span,) = model.spans
    ends = [(p.offset, p.offset + p.size) for p in span.parameters]
    assert all(start % 64 == 0 for start, _ in ends)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(ends))


def test_a_layer_that_belongs_to_no_model_has_no_values_yet():
    layer = layers.Dense(3)
    layer(Input((4,)))
    with pytest.raises(UsageError, match="has no values yet; make a model"):
        layer.get_weights()


# -------------------------------------------------------------------------- devices


@pytest.mark.emulator
@pytest.mark.parametrize("optimizer", [optimizers.SGD(0.1, momentum=0.9), optimizers.Adam(0.01)])
def test_moving_keeps_weights_and_the_optimizer_s_state(optimizer):
    moved, stays = Sequential(stack()), Sequential(stack())
    stays.set_weights(moved.get_weights())
    moved.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    twin = type(optimizer).from_config(optimizer.get_config())
    stays.compile(twin, "sparse_categorical_crossentropy", metrics=["accuracy"])
    for place in ("numpy", "emulator", "numpy"):
        before = moved.get_weights()
        assert moved.to(place) is moved
        assert repr(moved) == f"<Sequential sequential on {place}>"
        for ours, theirs in zip(before, moved.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
            assert isinstance(theirs, np.ndarray)
        for model in (moved, stays):
            model.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    assert optimizer.iterations == twin.iterations == 6
    for ours, theirs in zip(moved.get_weights(), stays.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", optimizers.SGD(0.1, momentum=0.9), "adam"])
def test_a_trained_model_goes_on_in_float64(optimizer):
    model = Sequential(stack())
    model.compile(optimizer, "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    model.to(dtype="float64")
    model.fit(X, Y, verbose=0)
    assert {w.dtype.name for w in model.get_weights()} == {"float64"}
    for slots in model.optimizer._slots.values():
        assert {slot.dtype.name for slot in slots.values()} <= {"float64"}
    assert model.to(dtype="float32").predict(X, verbose=0).dtype == np.float32


@pytest.mark.emulator
def test_the_chosen_backend_is_that_of_new_models():
    set_backend("emulator")
    model = Sequential(stack())
    y = model.predict(X, verbose=0)
    assert isinstance(y, np.ndarray)
    assert repr(model) == "<Sequential sequential on emulator>"
    assert isinstance(model(X, training=True), np.ndarray)
    assert isinstance(model.weights[0], np.ndarray)
    np.testing.assert_allclose(model.to("numpy").predict(X, verbose=0), y, rtol=1e-5)


@pytest.mark.emulator
@pytest.mark.parametrize("first", ["numpy", "float64"])
def test_a_device_without_float64_leaves_the_model_where_it_is(first):
    model = Sequential(stack())
    if first == "float64":
        model.to(dtype="float64")
    with pytest.raises(ArgumentError, match="emulator computes in float32, got float64"):
        model.to("emulator", dtype=None if first == "float64" else "float64")
    assert model.backend.name == "numpy"
    assert model.to("emulator", dtype="float32").predict(X, verbose=0).shape == (12, 3)


def test_layers_of_two_models_meet_in_a_third():
    x, ours, theirs = Input((4,)), Sequential(stack()), Sequential(stack())
    ours.build((None, 4))
    theirs.build((None, 4))
    model = Model(x, layers.Add()([ours.layers[0](x), theirs.layers[0](x)]))
    assert len({layer.name for layer in model.layers}) == len(model.layers) == 4


# -------------------------------------------------------------------------- summary


def summary_of(model, **options):
    lines = []
    model.summary(print_fn=lines.append, **options)
    return "\n".join(lines)


def test_summary_counts_weights_and_operations_as_by_hand():
    model = Sequential(stack())
    text = summary_of(model, batch_size=10)
    first, second = 2 * 10 * 4 * 5 + 10 * 5, 2 * 10 * 5 * 3 + 10 * 3 + 10 * 3  # softmax: 10 * 3
    assert re.search(rf"dense \(Dense\) +\(None, 5\) +25 +{first}\n", text)
    assert re.search(rf"dense_1 \(Dense\) +\(None, 3\) +18 +{second}\n", text)
    assert "Total params: 43 (172.00 B)" in text
    assert "Non-trainable params: 0 (0.00 B)" in text
    assert f"One inference at batch size 10: {first + second:,} FLOPs, 3 launches" in text
    assert "Backend: numpy (NumPy " in text
    assert text.startswith('Model: "sequential"\n')


def test_summary_of_a_compiled_model_is_that_of_a_training_step():
    model = Sequential([layers.Rescaling(1 / 255, input_dim=4), *stack()])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.build((None, 4))
    model.layers[1].trainable = False
    text = summary_of(model)
    assert "Trainable params: 18 (72.00 B)" in text
    assert "Non-trainable params: 25 (100.00 B)" in text
    assert "One training step at batch size 32" in text
    fused = text.split("Fused:\n")[1].splitlines()
    assert fused == [
        "  feed: gather of the mini-batch and rescaling",
        "  dense: matrix product, bias and relu",
        "  dense_1: matrix product, bias",
        "  loss: softmax_cross_entropy from logits",
        "  dense_1: gradients of kernel and bias",
    ]


def test_summary_names_what_a_layer_reads_where_that_is_not_the_one_above():
    x = Input((4,), name="pixels")
    dense = layers.Dense(4)
    model = Model(x, layers.Add()([dense(x), dense(dense(x))]), name="net")
    text = summary_of(model)
    assert "Connected to" in text
    assert re.search(r"dense \(Dense\) +\(None, 4\) +shared +shared +dense\[[01]\]\[0\]\n", text)
    assert re.search(r"add \(Add\).* dense\[0\]\[0\], dense\[2\]\[0\]\n", text)
    assert "Connected to" not in summary_of(Sequential(stack()))


def test_summary_changes_neither_weights_nor_training():
    model = Sequential(stack())
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(X, Y)
    before = model.get_weights()
    summary_of(model)
    assert model.optimizer.iterations == 1
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


@pytest.mark.emulator
def test_summary_says_that_the_emulator_runs():
    assert "Backend: emulator (" in summary_of(Sequential(stack()).to("emulator"))
