"""Models and layers that are subclasses with ``call``, and the order of weights: Keras'."""

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, GpunetError, UsageError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import gradient_check

RNG = np.random.default_rng
X, Y = RNG(0).standard_normal((12, 3)), RNG(1).standard_normal((12, 2))


class Net(Model):
    """Attributes in another order than calls."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.last = layers.Dense(units, name="last")
        self.middle = [layers.Dense(4, "tanh", name=f"middle{i}") for i in range(2)]
        self.dropout = layers.Dropout(0.5)

    def call(self, inputs, training=None):
        x = inputs
        for layer in self.middle:
            x = layer(x)
        return self.last(self.dropout(x, training=training))


def test_a_subclassed_model_trains_as_the_functional_one():
    gpunet.utils.set_random_seed(1)
    net = Net()
    assert net.name == "net"
    assert not net.built
    net.compile(gpunet.optimizers.SGD(0.1), "mse", metrics=["mae"])
    assert [layer.name for layer in net.layers] == ["last", "middle0", "middle1", None]
    history = net.fit(X, Y, epochs=2, verbose=0).history
    assert set(history) == {"loss", "mae"}
    assert net.metrics_names == ["loss", "mae"]
    assert [w.shape for w in net.get_weights()[::2]] == [(4, 2), (3, 4), (4, 4)]  # Keras' order
    gpunet.utils.set_random_seed(1)
    same = Model(net.input, net.output)
    assert same.predict(X, verbose=0).tolist() == net.predict(X, verbose=0).tolist()
    assert net.evaluate(X, Y, verbose=0, return_dict=True).keys() == {"loss", "mae"}
    assert gradient_check(Net(), X[:2]) < 1e-6
    lines = []
    net.summary(print_fn=lines.append)
    assert 'Model: "net"' in lines[0]


def test_it_can_be_built_called_saved_and_nested(tmp_path):
    net = Net(3)
    net.build((None, 3))
    assert net.output_shape == (None, 3)
    net.build((None, 3))  # a second time it stays as it is
    path = tmp_path / "net.weights.npz"
    net.save_weights(path)
    other = Net(3)
    with pytest.raises(UsageError, match="net is not built"):
        other.load_weights(path)
    other(X)
    other.load_weights(path)
    np.testing.assert_array_equal(other(X), net(X))
    for copied in (clone_model(net), model_from_json(net.to_json())):
        weights = {
            p.layer.name + p.name: w for p, w in zip(net.parameters, net.get_weights(), strict=True)
        }
        copied.set_weights([weights[p.layer.name + p.name] for p in copied.parameters])
        np.testing.assert_array_equal(copied.predict(X, verbose=0), net.predict(X, verbose=0))
    x = Input((3,))
    inner = Net(5)
    whole = Model(x, layers.Dense(1)(inner(x)))
    assert inner.built
    assert whole.count_params() == inner.count_params() + 6
    for array, own in zip(whole.get_weights(), inner.get_weights(), strict=False):
        np.testing.assert_array_equal(array, own)
    stacked = Sequential([layers.Dense(3), Net(5), layers.Dense(1)])
    assert stacked.predict(X, verbose=0).shape == (12, 1)


class Two(Model):
    """Dicts, and an Embedding, which wants integers."""

    def __init__(self):
        super().__init__()
        self.words = layers.Embedding(7, 4)
        self.heads = {"a": layers.Dense(1), "b": layers.Dense(2)}

    def call(self, inputs):
        pooled = layers.GlobalAveragePooling1D()(self.words(inputs["words"]))
        joined = layers.concatenate([pooled, inputs["numbers"]])
        return {name: head(joined) for name, head in self.heads.items()}


def test_dicts_of_inputs_and_outputs():
    model = Two()
    model.compile("sgd", {"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 1.0})
    x = {"words": np.arange(40).reshape(8, 5) % 7, "numbers": np.ones((8, 2))}
    y = {"a": np.ones((8, 1)), "b": np.zeros((8, 2))}
    history = model.fit(x, y, epochs=3, verbose=0).history
    assert set(history) == {"loss", "a_loss", "b_loss"}
    assert history["loss"][-1] < history["loss"][0]
    assert {name: array.shape for name, array in model.predict(x, verbose=0).items()} == {
        "a": (8, 1),
        "b": (8, 2),
    }
    assert model.input_names == ["numbers", "words"]  # sorted, as in Keras
    assert [tensor.dtype for tensor in model.inputs] == ["float32", "int32"]
    built = Two()
    built.build({"words": (None, 5), "numbers": (None, 2)})
    assert built.count_params() == model.count_params()


def test_lists_of_inputs():
    class Pair(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            left, right = inputs
            return self.dense(layers.add([left, right])), self.dense(left)

    for model in (Pair(), Pair()):
        first, second = model.predict([X, X], verbose=0)
        assert first.shape == second.shape == (12, 2)
    model = Pair()
    model.build([(None, 3), (None, 3)])
    a, b = Input((3,)), Input((3,))
    assert [t.shape for t in model([a, b])] == [(None, 2)] * 2


def test_freezing_before_and_after_building():
    net = Net()
    net.trainable = False
    net.build((None, 3))
    assert not net.trainable_weights
    assert len(net.non_trainable_weights) == 6
    net.middle[0].trainable = True
    assert len(net.trainable_weights) == 2
    net.compile("sgd", "mse")
    before = net.get_weights()
    net.fit(X, Y, verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, net.get_weights(), strict=True)]
    assert changed == [False, False, True, True, False, False]


def test_wrong_data_leave_it_unbuilt():
    class Picky(Model):
        def __init__(self):
            super().__init__()
            self.conv, self.dense = layers.Conv2D(2, 3), layers.Dense(1)

        def call(self, inputs):
            return self.dense(layers.Flatten()(self.conv(inputs)))

    model = Picky()
    with pytest.raises(GpunetError, match=r"'conv2d' expects inputs \(batch, height, width"):
        model.predict(X, verbose=0)
    assert model.predict(np.ones((2, 5, 5, 1)), verbose=0).shape == (2, 1)


def test_mistakes():
    class Wrong(Model):
        def call(self, inputs):
            return 3

    with pytest.raises(ArgumentError, match=r"call\(\) of wrong must return a symbolic tensor, or"):
        Wrong().predict(X, verbose=0)
    with pytest.raises(ArgumentError, match="Model takes symbolic inputs and outputs"):
        Model()
    model = Net()
    with pytest.raises(UsageError, match="net is not built"):
        model.summary()
    model.compile("sgd", "nosuch")
    with pytest.raises(ArgumentError, match="nosuch"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(UsageError, match="net has not been compiled"):
        model.fit(X, Y, verbose=0)
    with pytest.raises(ArgumentError, match="nosuch"):
        Net().compile("nosuch")


# ------------------------------------------------------------------------- order of weights


def dense(name):
    return layers.Dense(3, name=name)


def branches_of_two_lengths():
    x, z = Input((3,)), Input((3,))
    return Model([x, z], layers.Concatenate(name="cat")([dense("a")(x), dense("c")(dense("b")(z))]))


def a_short_branch_first():
    x = Input((3,))
    return Model(x, layers.Add(name="add")([dense("c")(x), dense("b")(dense("a")(x))]))


def outputs_of_two_depths(turned=False):
    h = dense("h")(x := Input((3,)))
    outputs = [dense("r")(dense("q")(h)), dense("p")(h)]
    return Model(x, outputs[::-1] if turned else outputs)


def shared_layers():
    x, z, d, e = Input((3,)), Input((3,)), dense("shared"), dense("e")
    return Model([x, z], layers.Add(name="add")([d(x), e(d(e(z)))]))


def an_input_for_the_end():
    x, z = Input((3,)), Input((3,))
    return Model([x, z], layers.Add(name="add")([z, dense("b")(dense("a")(x))]))


def an_input_for_nothing():
    x, z = Input((3,)), Input((3,))
    return Model([x, z], [dense("a")(x), x])


@pytest.mark.parametrize(
    ("make", "names"),
    [  # Keras 3.15 gives these
        (branches_of_two_lengths, ["input_layer_1", "input_layer", "b", "a", "c", "cat"]),
        (a_short_branch_first, ["input_layer", "a", "c", "b", "add"]),
        (outputs_of_two_depths, ["input_layer", "h", "q", "r", "p"]),
        (lambda: outputs_of_two_depths(turned=True), ["input_layer", "h", "q", "p", "r"]),
        (shared_layers, ["input_layer_1", "input_layer", "e", "shared", "add"]),
        (an_input_for_the_end, ["input_layer", "a", "input_layer_1", "b", "add"]),
        (an_input_for_nothing, ["input_layer", "input_layer_1", "a"]),
    ],
)
def test_layers_stand_in_the_order_of_keras(make, names):
    model = make()
    assert [layer.name for layer in model.layers] == names
    assert list(dict.fromkeys(p.layer.name for p in model.parameters)) == [
        name for name in names if name not in ("cat", "add") and "input" not in name
    ]
    x = [RNG(2).standard_normal((2, 3)) for _ in model.inputs]
    assert gradient_check(model, x if len(x) > 1 else x[0]) < 1e-6


def test_a_layer_of_layers_has_weights_in_the_order_of_its_attributes():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.second = layers.Dense(5)
            self.firsts = {"x": layers.Dense(4)}

        def call(self, x):
            return self.second(self.firsts["x"](layers.Dense(2)(x)))

    model = Sequential([Block(input_shape=(3,))])
    assert [w.shape for w in model.get_weights()[::2]] == [(4, 5), (2, 4), (3, 2)]
