"""Models with several inputs and outputs, models in models, and layers made of layers."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, activations, layers, losses, optimizers
from gpunet.errors import ArgumentError, DtypeError, GpunetError, ShapeError, UsageError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import gradient_check

GOLDEN = Path(__file__).parent / "golden"
_spec = importlib.util.spec_from_file_location("golden_functional", GOLDEN / "functional.py")
golden = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(golden)
RESULTS = json.loads((GOLDEN / "functional.json").read_text())
X = [golden.LEFT, golden.RIGHT]
RNG = np.random.default_rng
Y = [golden.PRICE, golden.KIND]


def two_headed(**options):
    model = golden.model(gpunet)
    model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], **options)
    return model


# ---------------------------------------------------------------------------- several outputs


@pytest.mark.parametrize("setup", RESULTS)
def test_history_and_evaluate_are_those_of_keras(setup):
    history, results = golden.train(gpunet, golden.SETUPS[setup])
    expected, expected_results = RESULTS[setup]
    assert set(history) == set(expected)
    for name, series in expected.items():
        np.testing.assert_allclose(history[name], series, rtol=2e-5, atol=1e-6, err_msg=name)
    np.testing.assert_allclose(results, expected_results, rtol=2e-5, atol=1e-6)


@pytest.mark.emulator
def test_several_outputs_train_alike_on_the_device():
    setup = golden.SETUPS["dicts"]
    with_numpy = golden.train(gpunet, setup)[1]
    before = gpunet.get_backend().name
    gpunet.set_backend("emulator")
    try:
        np.testing.assert_allclose(golden.train(gpunet, setup)[1], with_numpy, rtol=1e-4)
    finally:
        gpunet.set_backend(before)


def test_lists_and_dicts_of_data_train_alike():
    as_lists, as_dicts = two_headed(), two_headed()
    one = as_lists.fit(X, Y, verbose=0, sample_weight=[golden.WEIGHT, None]).history
    x = {"right": X[1], "left": X[0]}
    y = {"kind": Y[1], "price": Y[0]}
    weights = {"price": golden.WEIGHT}
    gpunet.utils.set_random_seed(1)
    assert set(as_dicts.fit(x, y, verbose=0, sample_weight=weights).history) == set(one)
    assert as_lists.evaluate(X, Y, verbose=0, return_dict=True).keys() == one.keys()
    for a, b in zip(as_lists.get_weights(), as_dicts.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_one_array_of_weights_counts_for_all_outputs():
    model = two_headed()
    both = model.evaluate(X, Y, verbose=0, sample_weight=golden.WEIGHT)
    each = model.evaluate(X, Y, verbose=0, sample_weight=[golden.WEIGHT] * 2)
    listed = model.evaluate(X, Y, verbose=0, sample_weight=golden.WEIGHT.tolist())
    assert both == each == listed


def test_an_output_without_a_loss_is_not_trained():
    model = golden.model(gpunet)
    model.compile("sgd", {"kind": "sparse_categorical_crossentropy"})
    before = model.get_layer("price").get_weights()
    history = model.fit(X, {"kind": Y[1]}, verbose=0).history
    assert set(history) == {"loss"}
    np.testing.assert_array_equal(model.get_layer("price").get_weights()[0], before[0])


def test_one_weighted_loss():
    results = []
    for weight in (None, 0.5, [0.5]):
        model = Sequential([layers.Dense(1, kernel_initializer="ones", input_dim=4)])
        model.compile(optimizers.SGD(0.1), "mse", loss_weights=weight, metrics=["mae"])
        first = model.train_on_batch(X[0], Y[0])
        results.append((first, model.get_weights()[0]))
    (plain, after), (half, after_half), again = results
    assert half == pytest.approx([plain[0] / 2, plain[1]])
    np.testing.assert_allclose(after_half - 1, (after - 1) / 2, rtol=1e-5)
    assert again[0] == half


def test_a_penalty_counts_once_whatever_the_loss_counts():
    shape = (6, 3)
    for loss in ("mse", losses.Dice(), losses.Tversky(axis=-1)):
        model = Sequential([layers.Dense(3, "sigmoid", kernel_regularizer="l2", input_shape=shape)])
        model.compile("sgd", loss)
        x, y = np.ones((4, *shape)), np.ones((4, *shape))
        expected = losses.get(loss)(y, model.predict(x, verbose=0)) + sum(model.losses)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_dicts_of_inputs_and_outputs():
    left, right = Input((4,)), Input((3,))
    a, b = layers.Dense(2, name="one")(left), layers.Dense(3, name="two")(right)
    model = Model({"l": left, "r": right}, {"first": a, "second": b})
    x = {"r": X[1], "l": X[0]}
    y = {"second": np.zeros((12, 3)), "first": np.zeros((12, 2))}
    model.compile("sgd", {"first": "mse", "second": "mae"}, metrics={"second": "mse"})
    history = model.fit(x, y, verbose=0).history
    assert set(history) == {"loss", "first_loss", "second_loss", "second_mse"}
    predicted = model.predict(x, verbose=0)
    assert {name: out.shape for name, out in predicted.items()} == {
        "first": (12, 2),
        "second": (12, 3),
    }
    read = model_from_json(model.to_json())
    read.set_weights(model.get_weights())
    for name, out in read.predict(x, verbose=0).items():
        np.testing.assert_array_equal(out, predicted[name])
    assert isinstance(clone_model(model).predict(x, verbose=0), dict)
    assert set(model({"l": left, "r": right})) == {"first", "second"}


MISTAKES = {
    "loss for an output that there is not": (
        {"loss": {"cost": "mse"}},
        "loss names the output 'cost', but the model has the outputs price, kind",
    ),
    "too few losses": ({"loss": ["mse"]}, "one entry in loss for each of the outputs price, kind"),
    "one weight for two losses": ({"loss": "mse", "loss_weights": 0.5}, "one number for each of"),
    "a weight that is none": (
        {"loss": "mse", "loss_weights": ["accuracy", 1.0]},
        r"finite numbers, got 'accuracy'; metrics go into metrics=",
    ),
    "metrics for all": ({"loss": "mse", "metrics": ["mae"]}, "metrics as a dict by output"),
    "metrics without a loss": (
        {"loss": ["mse", None], "metrics": {"kind": ["accuracy"]}},
        "output 'kind' has metrics but no loss",
    ),
    "no loss at all": ({"loss": [None, None]}, "compile needs a loss"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_in_compile(mistake):
    arguments, message = MISTAKES[mistake]
    with pytest.raises(ArgumentError, match=message):
        golden.model(gpunet).compile("sgd", **arguments)


DATA_MISTAKES = {
    "one array for two outputs": ((X, Y[0]), {}, "list or a dict with an array for each of the"),
    "a name that is no output": ((X, {"cost": Y[0]}), {}, "y names the output 'cost'"),
    "an output without targets": ((X, {"kind": Y[1]}), {}, "needs targets y for the output"),
    "labels that do not fit": ((X, [Y[0], Y[1] + 9]), {}, "output 'kind': y for the loss"),
    "weights for three": (
        (X, Y),
        {"sample_weight": [golden.WEIGHT] * 3},
        "sample_weight must be one array, or a list",
    ),
    "class weights": ((X, Y), {"class_weight": {0: 2.0}}, "class_weight works with one output"),
    "a name that is no input": (({"left": X[0], "middle": X[1]}, Y), {}, "has the inputs left, ri"),
}


@pytest.mark.parametrize("mistake", DATA_MISTAKES)
def test_mistakes_in_data(mistake):
    data, options, message = DATA_MISTAKES[mistake]
    with pytest.raises(ArgumentError, match=message):
        two_headed().fit(*data, verbose=0, **options)


# --------------------------------------------------------------------------- models in models


def encoder(name="encoder"):
    return Sequential([layers.Dense(5, "tanh"), layers.Dense(4)], name=name)


def siamese():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    inner = encoder()
    return Model([a, b], layers.Dense(1, name="end")(layers.Add()([inner(a), inner(b)]))), inner


def test_a_model_is_a_layer_of_another_and_shares_its_weights():
    model, inner = siamese()
    assert model.get_layer("encoder") is inner
    assert [layer.name for layer in model.layers] == ["a", "b", "encoder", "add", "end"]
    kernel, *_ = inner.get_weights()
    inner.layers[0].set_weights([kernel * 0, np.zeros(5)])
    bias = inner.get_weights()[3]
    np.testing.assert_allclose(
        model.predict([X[0], X[0]], verbose=0)[0],
        (2 * bias) @ model.get_weights()[-2] + model.get_weights()[-1],
        rtol=1e-5,
    )
    model.compile("sgd", "mse")
    model.fit([X[0], X[0][::-1]], Y[0], verbose=0)
    assert not np.array_equal(inner.get_weights()[3], bias)


def test_models_in_models_survive_configs_and_clones(tmp_path):
    model, _ = siamese()
    x = [X[0], X[0][::-1]]
    for again in (model_from_json(model.to_json()), clone_model(model)):
        assert [w.shape for w in again.get_weights()] == [w.shape for w in model.get_weights()]
        model.save_weights(tmp_path / "w.npz")
        again.load_weights(tmp_path / "w.npz")
        np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
        assert again.get_layer("encoder") is not model.get_layer("encoder")


def test_models_in_models_are_keras_configs():
    model, _ = siamese()
    (entry,) = [e for e in model.get_config()["layers"] if e["name"] == "encoder"]
    assert entry["class_name"] == "Sequential"
    assert len(entry["inbound_nodes"]) == 2


def test_two_models_without_a_name_get_one():
    x = Input((4,))
    first, second = Sequential([layers.Dense(4)]), Sequential([layers.Dense(4)])
    model = Model(x, second(first(x)))
    assert [layer.label for layer in model.graph.layers] == ["sequential", "sequential_1"]
    assert model.get_layer("sequential_1") is second
    nested = Sequential([first, layers.Dense(2)])
    assert nested.output_shape == (None, 2)
    assert nested.layers[0] is first


def test_a_model_with_several_outputs_in_another():
    inner = golden.model(gpunet)
    left, right = Input((4,), name="l"), Input((3,), name="r")
    price, kind = inner([left, right])
    model = Model([left, right], layers.Dense(1)(kind))
    assert price.shape == (None, 1)
    model.compile(optimizers.SGD(0.1), "mse")
    before = inner.get_layer("price").get_weights()
    model.fit(X, Y[0], verbose=0)
    # Nobody reads the price here, so that its weights have no gradient.
    for a, b in zip(inner.get_layer("price").get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model_from_json(model.to_json()).count_params() == model.count_params()


def test_summary_names_connections_and_counts_what_lies_within():
    lines = []
    model, _ = siamese()
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert "encoder (Sequential)  (None, 4)          49" in text
    assert "encoder[0][0], encoder[1][0]" in text


def test_summary_shows_what_lies_within_and_what_is_trained():
    lines = []
    model, inner = siamese()
    inner.layers[1].trainable = False
    model.summary(print_fn=lines.append, expand_nested=True, show_trainable=True)
    cells = [[cell for cell in map(str.strip, line.split("  ")) if cell] for line in lines]
    rows = {row[0]: row for row in cells if len(row) == 6}
    assert rows["Layer (type)"][4:] == ["Trainable", "Connected to"]
    assert rows["a (InputLayer)"][4] == rows["add (Add)"][4] == "-"
    assert rows["encoder (Sequential)"][4] == rows["└ dense (Dense)"][4] == "Y"
    assert rows["└ dense_1 (Dense)"][4] == "N"
    assert rows["end (Dense)"][4:] == ["Y", "add[0][0]"]


def test_intermediate_outputs():
    model, inner = siamese()
    hidden = Model(model.inputs, model.get_layer("add").output)
    x = [X[0], X[0][::-1]]
    end = model.get_layer("end").get_weights()
    features = hidden.predict(x, verbose=0)
    np.testing.assert_allclose(features @ end[0] + end[1], model.predict(x, verbose=0), rtol=1e-5)
    first = Model(inner.inputs, inner.layers[0].output)
    assert first.output_shape == (None, 5)
    with pytest.raises(UsageError, match="has no input and output yet"):
        layers.Dense(3).output  # noqa: B018


def test_a_model_refuses_tensors_that_do_not_fit():
    _, inner = siamese()
    with pytest.raises(
        ShapeError, match=r"input 'input_layer' of encoder expects samples of shape \(4"
    ):
        inner(Input((7,)))
    with pytest.raises(ArgumentError, match=r"takes 1 input\(s\), got 2"):
        inner([Input((4,)), Input((4,))])


# ------------------------------------------------------------------------ trainable, shared


def changed(model, x, y):
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    return [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]


def test_a_frozen_model_stays_as_it_is_within_another():
    model, inner = siamese()
    inner.trainable = False
    model.compile("adam", "mse")
    x = [X[0], X[0][::-1]]
    assert changed(model, x, Y[0]) == [False] * 4 + [True] * 2
    inner.trainable = True  # between compiles
    assert all(changed(model, x, Y[0]))
    inner.layers[1].trainable = False
    assert changed(model, x, Y[0]) == [True] * 2 + [False] * 2 + [True] * 2


# ------------------------------------------------------------------------ layers made of layers


class Block(layers.Layer):
    """A residual block: y = x + dense(act(dense(x)))."""

    def __init__(self, units, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.units, self.rate = units, rate
        self.up = layers.Dense(units, "tanh")
        self.drop = layers.Dropout(rate)

    def build(self, input_shape):
        self.down = layers.Dense(input_shape[-1])

    def call(self, x, training=None):
        return layers.Add()([x, self.down(self.drop(self.up(x), training=training))])

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.rate}


class Pair(layers.Layer):
    """Two outputs of two inputs, one of them a block."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Block(3)

    def call(self, a, b):
        return self.block(a), layers.Add()([a, b])


def test_a_layer_made_of_layers_computes_what_they_do():
    x = Input((4,))
    block = Block(6)
    model = Model(x, block(block(x)))  # shared
    up, up_bias, down, down_bias = block.get_weights()
    expected = X[0]
    for _ in range(2):
        expected = expected + np.tanh(expected @ up + up_bias) @ down + down_bias
    np.testing.assert_allclose(model.predict(X[0], verbose=0), expected, rtol=1e-5, atol=1e-6)
    assert model.count_params() == block.count_params() == 4 * 6 + 6 + 6 * 4 + 4


@pytest.mark.parametrize("dropped", [0.0, 0.4])
def test_gradients_of_layers_made_of_layers(dropped):
    gradient_check(Block(5, dropped), X[0])


def test_layers_of_several_inputs_and_outputs():
    a, b = Input((4,), name="a"), Input((4,), name="b")
    first, second = Pair(name="pair")(a, b)
    model = Model([a, b], [second, first])
    out = model.predict([X[0], X[0]], verbose=0)
    np.testing.assert_allclose(out[0], 2 * X[0])
    assert model.get_layer("pair").sublayers[0].name == "block"
    assert "pair/block/dense" in model.graph.paths.values()
    read = model_from_json(model.to_json(), {"Pair": Pair})
    read.set_weights(model.get_weights())
    np.testing.assert_array_equal(read.predict([X[0], X[0]], verbose=0)[1], out[1])


def test_a_layer_made_of_layers_in_sequential_freezes_and_is_copied():
    model = Sequential([Block(5, 0.2, input_dim=4), Block(5), layers.Dense(1)])
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    assert changed(model, X[0], Y[0]) == [False] * 4 + [True] * 6
    late = Block(5, trainable=False)
    frozen = Sequential([late, layers.Dense(1)])
    frozen.build((None, 4))
    frozen.compile("sgd", "mse")
    assert changed(frozen, X[0], Y[0]) == [False] * 4 + [True] * 2
    copy = clone_model(model)
    copy.set_weights(model.get_weights())
    np.testing.assert_array_equal(copy.predict(X[0], verbose=0), model.predict(X[0], verbose=0))
    assert copy.layers[0].rate == 0.2


# ------------------------------------------------------------------------ training, by call

ONES = np.ones((50, 40), np.float32)


def dropped(y):
    return 0.3 < (y == 0).mean() < 0.7


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize("backend", ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def test_dropout_in_predict_and_never(backend, eagerly):
    x = Input((40,))
    outputs = [layers.Dropout(0.5)(x, training=training) for training in (None, True, False)]
    model = Model(x, outputs).to(backend)
    model.compile("sgd", "mse", run_eagerly=eagerly)
    by_pass, always, never = model.predict(ONES, verbose=0)
    assert dropped(always)
    assert not dropped(by_pass)
    assert not dropped(never)
    assert (model.predict(ONES, verbose=0)[1] != always).any()  # others each time
    by_pass, always, never = model(ONES, training=True)
    assert dropped(by_pass)
    assert dropped(always)
    assert not dropped(never)


def test_a_frozen_base_keeps_its_statistics_when_it_is_trained_again():
    """Keras' guide to transfer learning: the base is called with training=False."""
    base = Sequential([layers.Dense(3, input_dim=4), layers.BatchNormalization()])
    for training, kept in ((False, True), (None, False), (True, False)):
        x = Input((4,))
        model = Model(x, layers.Dense(1)(base(x, training=training)))
        for again in (model, model_from_json(model.to_json()), clone_model(model)):
            again.set_weights(model.get_weights())
            again.compile("sgd", "mse")
            *_, before = again.get_weights()[:6]
            again.fit(X[0], Y[0], verbose=0)
            assert np.array_equal(again.get_weights()[5], before) == kept
            kernel = again.get_weights()[0]
            assert not np.array_equal(kernel, base.get_weights()[0]) or again is model
    data = np.random.default_rng(0).standard_normal((5, 4))
    assert gradient_check(Model(x, base(x, training=False)), data, training=True) < 1e-6
    assert gradient_check(Model(x, base(x, training=True)), data, training=False) < 1e-6


def test_what_a_layer_of_layers_says_holds_within_unless_a_call_says_otherwise():
    class Inner(layers.Layer):
        def call(self, x, training):
            always = layers.Dropout(0.5)(x, training=True)
            return [layers.Dropout(0.5)(x, training=training), layers.Dropout(0.5)(x), always]

    x = Input((40,))
    for training, expected in ((None, [0, 0, 1]), (True, [1, 1, 1]), (False, [0, 0, 1])):
        model = Model(x, Inner()(x, training=training))
        assert [dropped(y) for y in model.predict(ONES, verbose=0)] == expected


def test_dropout_within_differs_from_call_to_call():
    class Twice(layers.Layer):
        def __init__(self):
            super().__init__()
            self.drop = layers.Dropout(0.5)

        def call(self, x):
            return [self.drop(x), self.drop(x)]

    x = Input((500,))
    model = Model(x, list(Twice()(x)))
    one, two = model(np.ones((2, 500)), training=True)
    assert not np.array_equal(one, two)


def test_wrong_shapes_leave_a_stack_that_others_may_build():
    model = Sequential([Block(5), layers.Reshape((4, 2))])
    with pytest.raises(ShapeError):
        model.build((None, 6))
    model.build((None, 8))
    assert model.output_shape == (None, 4, 2)


class _WithWeights(layers.Layer):
    def build(self, input_shape):
        self.add_weight("w", (3,))

    def call(self, x):
        return x


class _Returns(layers.Layer):
    def call(self, x):
        return None


def test_mistakes_of_layers_made_of_layers():
    x = Input((4,))
    with pytest.raises(ArgumentError, match="has call\\(\\), so that weights and activity_reg"):
        Block(3, activity_regularizer="l2")(x)
    with pytest.raises(ArgumentError, match="has call\\(\\), so that weights"):
        _WithWeights()(x)
    with pytest.raises(ArgumentError, match="must return a symbolic tensor or a list"):
        _Returns()(x)
    with pytest.raises(ArgumentError, match="and symbolic tensors as mask=, got training='yes'"):
        layers.Dropout(0.5)(x, training="yes")
    with pytest.raises(ArgumentError, match=r"takes a list of input\(s\), got 2 arguments: write"):
        layers.Add()(x, x)


# ------------------------------------------------------------------------------ InputLayers


def two_branches():
    a, b = Input((4,)), Input((4,), name="late")
    return Model([a, b], layers.Add()([layers.Dense(4)(layers.Dense(4)(a)), b]))


def test_inputs_are_layers_of_a_functional_model():
    model = two_branches()
    names = [layer.name for layer in model.layers]
    assert names == ["input_layer", "dense", "dense_1", "late", "add"]  # as Keras 3.15 has them
    first, *_ = model.layers
    assert first is model.get_layer(index=0) is model.get_layer("input_layer")
    assert isinstance(first, layers.InputLayer)
    assert first.output is first.input is model.inputs[0]
    assert (first.count_params(), first.get_weights(), first.batch_shape) == (0, [], (None, 4))
    first.trainable = False
    assert len(model.trainable_weights) == 4
    stack = Sequential([Input((4,)), layers.Dense(2)])
    assert [stack.get_layer(index=0)] == [stack.get_layer("dense")] == stack.layers


def test_inputs_run_nothing_and_stand_in_the_summary_where_they_are_read():
    model, lines = two_branches(), []
    assert len(model.inference_plan(8).records) == 3
    model.summary(print_fn=lines.append)
    rows = [line.split()[:2] for line in lines[4:9]]
    assert rows[0] == ["input_layer", "(InputLayer)"]
    assert rows[3:] == [["late", "(InputLayer)"], ["add", "(Add)"]]
    Sequential([Input((4,)), layers.Dense(2)]).summary(print_fn=lines.append)
    assert sum("InputLayer" in line for line in lines) == 2


def test_all_features_of_a_model():
    model = two_branches()
    features = Model(model.inputs, [layer.output for layer in model.layers])
    x = [RNG(0).standard_normal((3, 4)).astype("float32") for _ in model.inputs]
    found = features.predict(x, verbose=0)
    np.testing.assert_array_equal(found[0], x[0])
    np.testing.assert_array_equal(found[3], x[1])
    np.testing.assert_array_equal(found[4], model.predict(x, verbose=0))


def test_a_model_from_the_middle_has_an_input_of_its_own():
    model = two_branches()
    end = Model(model.get_layer("dense_1").input, model.get_layer("dense_1").output)
    assert [layer.name for layer in end.layers] == ["input_layer", "dense_1"]
    assert end.layers[1] is model.get_layer("dense_1")
    again = model_from_json(end.to_json())
    again.set_weights(end.get_weights())
    hidden = RNG(0).standard_normal((3, 4))
    np.testing.assert_array_equal(
        again.predict(hidden, verbose=0), end.predict(hidden, verbose=0), strict=True
    )


def test_a_stack_begins_with_an_input_layer():
    given = layers.InputLayer(input_shape=(4,), batch_size=3, name="start")
    model = Sequential([given, layers.Dense(2)])
    assert model.input is given.output
    again = model_from_json(model.to_json())
    assert again.get_config() == model.get_config()
    assert again.input.layer.get_config() == given.get_config()
    assert model.get_config()["layers"][0]["config"]["batch_shape"] == [3, 4]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.InputLayer((3,))(Input((3,))), "is an input, which is not called; start"),
        (lambda: Input((3,), sparse=True), "takes dense arrays of numbers.* got sparse=True"),
        (lambda: layers.InputLayer(), "takes a shape, or in its place a batch_shape, got shape=N"),
        (
            lambda: Sequential([layers.Dense(2), layers.InputLayer((3,))]),
            "an Input can only come first",
        ),
        (lambda: Sequential([layers.Dense(2)(Input((3,)))]), "starts with an Input, got <Tensor d"),
        (
            lambda: Model(x := Input((3,), name="a"), layers.Dense(2, name="a")(x)),
            "two layers of the model are named 'a'; give one another name",
        ),
    ],
)
def test_mistakes_with_inputs(make, message):
    with pytest.raises(GpunetError, match=message):
        make()


# -------------------------------------------------------------------- as Keras' guides write it


def test_tickets_of_the_functional_guide():
    """Embeddings read inputs without a dtype, targets and losses are dicts by output."""
    title, body = Input(shape=(None,), name="title"), Input(shape=(None,), name="body")
    tags = Input(shape=(12,), name="tags")
    features = [layers.LSTM(8)(layers.Embedding(100, 4)(text)) for text in (title, body)]
    x = layers.concatenate([*features, tags])
    outputs = {
        "priority": layers.Dense(1, name="priority")(x),
        "department": layers.Dense(4, name="department")(x),
    }
    model = Model(inputs=[title, body, tags], outputs=outputs)
    assert [tensor.dtype for tensor in model.inputs] == ["int32", "int32", "float32"]
    model.compile(
        optimizer=optimizers.RMSprop(1e-2),
        loss={
            "priority": losses.BinaryCrossentropy(from_logits=True),
            "department": losses.CategoricalCrossentropy(from_logits=True),
        },
        loss_weights={"priority": 1.0, "department": 0.2},
    )
    rng = RNG(0)
    data = {
        "title": rng.integers(100, size=(40, 7)),
        "body": rng.integers(100, size=(40, 9)),
        "tags": rng.integers(2, size=(40, 12)).astype("float32"),
    }
    targets = {"priority": rng.random((40, 1)), "department": np.eye(4)[rng.integers(4, size=40)]}
    history = model.fit(data, targets, epochs=3, batch_size=8, verbose=0).history
    assert set(history) == {"loss", "priority_loss", "department_loss"}
    assert history["loss"][-1] < history["loss"][0]


def test_a_dtype_that_was_said_stays():
    x = Input((3,), dtype="float32")
    model = Model(x, layers.Embedding(5, 2)(x))
    with pytest.raises(DtypeError, match="takes integers, got numbers of float32; let it read an"):
        model.predict(np.ones((2, 3), np.int32), verbose=0)
    words = Input((3,))
    inner = Sequential([layers.Embedding(5, 2)])
    assert Model(words, inner(words)).inputs[0].dtype == "int32"


def test_activations_of_symbolic_tensors_are_layers():
    class MLPBlock(layers.Layer):
        def __init__(self):
            super().__init__()
            self.first, self.second = layers.Dense(8), layers.Dense(2)

        def call(self, inputs):
            return activations.softmax(self.second(activations.relu(self.first(inputs))))

    x = Input((4,))
    model = Model(x, MLPBlock()(x))
    plain = Sequential([Input((4,)), layers.Dense(8, "relu"), layers.Dense(2, "softmax")])
    plain.set_weights(model.get_weights())
    data = RNG(0).standard_normal((3, 4))
    np.testing.assert_array_equal(model.predict(data, verbose=0), plain.predict(data, verbose=0))
    leaky = Model(x, activations.get("elu", alpha=0.5)(x))
    again = model_from_json(leaky.to_json())
    np.testing.assert_array_equal(again.predict(data, verbose=0), leaky.predict(data, verbose=0))


def test_transfer_learning():
    """A base model is frozen, trained upon, and thawed from its second layer on."""
    start = Input((8, 8, 3))
    base = Model(start, layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(4, 3)(start))))
    base.trainable = False
    inputs = Input((8, 8, 3))
    x = base(layers.Rescaling(1 / 127.5, -1.0)(inputs), training=False)
    outputs = layers.Dense(1)(layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x)))
    model = Model(inputs, outputs)
    rng = RNG(0)
    data = rng.integers(0, 255, (16, 8, 8, 3)).astype("float32"), rng.integers(0, 2, 16)
    loss = losses.BinaryCrossentropy(from_logits=True)
    before = base.get_weights()
    for trained in (False, True):
        if trained:
            for layer in base.layers[2:]:
                layer.trainable = True
        model.compile(optimizers.Adam(1e-2), loss)
        model.fit(*data, batch_size=8, verbose=0)
        same = [np.array_equal(a, b) for a, b in zip(before, base.get_weights(), strict=True)]
        # kernel, bias, gamma, beta; the statistics stay, as the base runs as in inference
        assert same == [True, True, not trained, not trained, True, True]
    batch_norm = base.layers[2]
    assert batch_norm.built
    assert len(batch_norm.trainable_weights) == len(batch_norm.non_trainable_weights) == 2
    assert len(base.layers[1].trainable_weights) == 0
