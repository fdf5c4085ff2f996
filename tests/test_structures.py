"""Lists and dicts of inputs and outputs, nested in any way: of models, of layers, in data."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pytest

from gpunet import Input, Model, layers
from gpunet.errors import ArgumentError
from gpunet.models import clone_model, model_from_json
from gpunet.structures import Form, flatten, mapped, packed

RNG = np.random.default_rng
A, B, C = RNG(0).standard_normal((3, 8, 4)).astype(np.float32)
MAIN, ZED, DUBYA = RNG(1).standard_normal((3, 8, 1)).astype(np.float32)
X = [A, [B, C]]
Y = {"main": MAIN, "aux": [ZED, DUBYA]}


class Pair(NamedTuple):
    left: object
    right: object


def test_leaves_come_in_the_order_of_sorted_keys():
    structure = [1, {"b": (2, {}), "a": Pair(3, [4])}, []]
    assert flatten(structure) == [1, 3, 4, 2]
    assert packed(structure, "wxyz") == ["w", {"b": ("z", {}), "a": Pair("x", ["y"])}, []]
    assert mapped(str, {"b": 1, "a": 2}) == {"b": "1", "a": "2"}
    assert list(mapped(str, {"b": 1, "a": 2})) == ["b", "a"]
    with pytest.raises(ArgumentError, match="have strings as keys, got 1"):
        flatten({1: 2})


def named(*names):
    return [layers.Dense(1, name=name) for name in names]


def test_names():
    structure = {"main": 0, "aux": [0, 0, {"deep": 0}]}
    form = Form(structure, named("zed", "zed", "dubya", "why"), "output")
    assert form.names == ["aux/zed", "aux/zed_1", "aux/deep", "main"]
    assert Form([0, [0]], named("a", "a"), "input").names == ["a", "a_1"]


def model():
    a, b, c = (Input((4,), name=name) for name in "abc")
    main = layers.Dense(1, name="why")(layers.Add()([a, b]))
    zed, dubya = layers.Dense(1, name="zed")(c), layers.Dense(1, name="dubya")(b)
    return Model([a, [b, c]], {"main": main, "aux": [zed, dubya]})


NAMES = ["aux/dubya_loss", "aux/zed_loss", "loss", "main_loss"]  # as in Keras 3.15


@pytest.mark.parametrize("loss", ["mse", {"main": "mse", "aux": ["mse", "mse"]}])
@pytest.mark.parametrize("x", [X, (A, (B, C)), [A, B, C], {"c": C, "a": A, "b": B}])
@pytest.mark.parametrize("y", [Y, [ZED, DUBYA, MAIN], {"main": MAIN, "aux/zed": ZED}])
def test_data_come_in_the_structure_or_flat_or_by_name(x, y, loss):
    is_partial = isinstance(y, dict) and "aux/zed" in y
    nested, plain = model(), model()
    plain.set_weights(nested.get_weights())
    if is_partial:  # an output without a loss
        loss = {"main": "mse", "aux/zed": "mse"}
    nested.compile("sgd", loss)
    found = nested.fit(x, y, epochs=2, verbose=0, shuffle=False).history
    unread = "aux/dubya_loss" if is_partial else None
    assert sorted(found) == [name for name in NAMES if name != unread]
    plain.compile("sgd", loss)
    assert plain.fit(X, Y, epochs=2, verbose=0, shuffle=False).history == found
    for ours, theirs in zip(nested.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert nested.evaluate(x, y, verbose=0) == plain.evaluate(X, Y, verbose=0)
    assert nested.train_on_batch(x, y) == plain.train_on_batch(X, Y)


def test_metrics_and_weights_in_the_structure():
    nested = model()
    weights = {"main": 2.0, "aux": [0.5, 0.0]}
    metrics = {"main": ["mae"], "aux": [["mae", "mse"], None]}
    nested.compile("sgd", "mse", weights, metrics)
    assert [head.weight for head in nested.heads] == [0.5, 0.0, 2.0]
    rows = {"main": np.ones(8), "aux": [np.full(8, 0.5), None]}
    history = nested.fit(
        X, Y, sample_weight=rows, validation_data=(X, Y), epochs=1, verbose=0
    ).history
    assert set(history) >= {"main_mae", "aux/zed_mae", "aux/zed_mse", "val_aux/dubya_loss"}
    nested.summary(print_fn=str)


def test_what_comes_out_has_the_structure():
    nested = model()
    for found in (nested.predict(X, verbose=0), nested(X), nested(X, training=True)):
        assert mapped(np.shape, found) == {"main": (8, 1), "aux": [(8, 1), (8, 1)]}
    assert mapped(lambda tensor: tensor.name, nested.input) == ["a", ["b", "c"]]
    assert mapped(lambda tensor: tensor.name, nested.output) == {
        "main": "why",
        "aux": ["zed", "dubya"],
    }
    a, b = Input((4,)), Input((4,))
    pair = Model((a, b), (b, layers.Dense(2)(a)))
    assert isinstance(pair.predict((A, B), verbose=0), tuple)
    one = Model([a], [layers.Dense(2)(a)])
    assert isinstance(one.predict([A], verbose=0), np.ndarray)  # as in Keras


@pytest.mark.parametrize("make", [clone_model, lambda m: model_from_json(m.to_json())])
def test_it_survives_copies(make):
    nested = model()
    copy = make(nested)
    copy.set_weights(nested.get_weights())
    assert copy.output_names == nested.output_names == ["aux/zed", "aux/dubya", "main"]
    expected = flatten(nested.predict(X, verbose=0))
    np.testing.assert_array_equal(flatten(copy.predict(X, verbose=0)), expected)


def test_it_is_a_layer_of_another_model():
    nested, inputs = model(), [Input((4,)) for _ in range(3)]
    a, b, c = inputs
    expected = nested.predict(X, verbose=0)
    for given in ([a, [b, c]], [a, b, c], {"a": a, "b": b, "c": c}):
        outputs = nested(given)
        outer = Model(inputs, outputs["main"] + outputs["aux"][0])
        again = model_from_json(outer.to_json())
        again.set_weights(outer.get_weights())
        for each in (outer, again):
            found = each.predict([A, B, C], verbose=0)
            np.testing.assert_allclose(found, expected["main"] + expected["aux"][0], rtol=1e-6)


class Mixed(layers.Layer):
    """Takes a dict, and returns one with a list in it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(3)

    def build(self, input_shape):
        self.seen = input_shape

    def call(self, inputs, training=None):
        left = self.dense(inputs["left"])
        return {"sum": left + self.dense(inputs["right"]), "parts": [left]}


def test_a_layer_with_call_takes_and_returns_dicts():
    a, b = Input((4,)), Input((4,))
    mixed = Mixed()
    outputs = mixed({"right": b, "left": a})
    assert mixed.seen == {"left": (None, 4), "right": (None, 4)}
    assert mixed.input == {"left": a, "right": b}
    assert mixed.output == outputs
    whole = Model([a, b], outputs)
    assert whole.output_names == ["parts/mixed", "sum"]
    again = model_from_json(whole.to_json(), {"Mixed": Mixed})
    again.set_weights(whole.get_weights())
    kernel, bias = whole.get_weights()
    for each in (whole, again, clone_model(whole)):
        each.set_weights([kernel, bias])
        found = each.predict([A, B], verbose=0)
        np.testing.assert_allclose(found["sum"], (A + B) @ kernel + 2 * bias, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["parts"][0], A @ kernel + bias, rtol=1e-4, atol=1e-5)
    whole.compile("sgd", {"sum": "mse", "parts": ["mae"]})
    targets = {"sum": np.ones((8, 3)), "parts": [np.ones((8, 3))]}
    losses = whole.fit([A, B], targets, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    steps = Input((5, 4)), Input((5, 4))
    each = layers.TimeDistributed(mixed)({"left": steps[0], "right": steps[1]})
    assert mapped(lambda t: t.shape, each) == {"sum": (None, 5, 3), "parts": [(None, 5, 3)]}


class Net(Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, inputs):
        (left, right), other = inputs["pair"], inputs["other"]
        return {"main": self.dense(left), "rest": [right, self.dense(other)]}


def test_a_subclassed_model_takes_and_returns_structures():
    x = {"pair": [A, B], "other": C}
    shapes = {"main": (8, 2), "rest": [(8, 4), (8, 2)]}
    assert mapped(np.shape, Net().predict(x, verbose=0)) == shapes
    built = Net()
    built.build({"pair": [(None, 4), (None, 4)], "other": (None, 4)})
    assert mapped(np.shape, built(x)) == shapes
    built.compile("sgd", {"main": "mse", "rest": ["mse", "mae"]})
    y = {"main": A[:, :2], "rest": [B, C[:, :2]]}
    assert len(built.fit(x, y, verbose=0).history) == 4


@pytest.mark.parametrize(
    ("x", "y", "loss", "message"),
    [
        (X, Y, {"main": "mse", "zed": "mse"}, "loss has the key 'zed' where the outputs of the mo"),
        (X, {"main": MAIN}, "mse", "needs targets y for the output 'aux/zed'"),
        (X, {"main": MAIN, "aux": ZED}, "mse", r"y must have the structure of the outputs of .*'m"),
        (X, {**Y, "end": ZED}, "mse", "y has the key 'end' where the .* have the keys aux, main"),
        ([A, B], Y, "mse", r"\['a', \['b', 'c'\]\], got one ndarray in the place of a list of 2"),
        ([A, {"b": B}], Y, "mse", "got a dict with the keys b in the place of a list of 2"),
        ({"a": A, "b": B}, Y, "mse", "has the inputs a, b, c, got a, b"),
        (A, Y, "mse", "takes a list of 3 arrays, got ndarray"),
    ],
)
def test_another_structure_is_refused(x, y, loss, message):
    nested = model()
    nested.compile("sgd", "mse")
    fit, compile_again = partial(nested.fit, x, y), partial(nested.compile, "sgd", loss)
    with pytest.raises(ArgumentError, match=message):
        (fit if loss == "mse" else compile_again)()


def test_unknown_and_missing_inputs_are_named():
    a, b = Input((4,), name="a"), Input((4,))
    deep = Model({"left": [a], "right": b}, layers.Add()([a, b]))
    with pytest.raises(ArgumentError, match="has the inputs left/a, right, got none for right"):
        deep.predict({"left": [A]}, verbose=0)
    pair = Model({"left": a, "right": b}, layers.Add()([a, b]))
    for given, listed in (
        ({"left": A}, "left"),
        ({"left": A, "right": B, "up": C}, "left, right, "),
    ):
        with pytest.raises(ArgumentError, match=f"has the inputs left, right, got {listed}"):
            pair.predict(given, verbose=0)
        with pytest.raises(ArgumentError, match=f"has the inputs left, right, got {listed}"):
            pair(mapped(lambda _: Input((4,)), given))


@pytest.mark.parametrize(
    "call",
    [
        lambda a, b: layers.Dense(2)({"a": a}),
        lambda a, b: layers.Add()([a, [b]]),
        lambda a, b: layers.Add()({"a": a, "b": b}),
        lambda a, b: layers.Dense(2)([]),
        lambda a, b: layers.Dense(2)(),
    ],
)
def test_layers_without_call_take_tensors_and_lists(call):
    with pytest.raises(ArgumentError, match="is called on one tensor, one list of tensors, or sev"):
        call(Input((4,)), Input((4,)))
