"""Bidirectional and TimeDistributed: what golden numbers do not say."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

RNG = np.random.default_rng
X = RNG(0).standard_normal((3, 4, 5))


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def backend(request):
    return request.param


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [True, False])
def test_gradients_of_both_directions(mode, sequences):
    layer = layers.LSTM(3, return_sequences=sequences, recurrent_dropout=0.3)
    model = Sequential([layers.Bidirectional(layer, mode, input_shape=(4, 5)), layers.Dense(2)])
    assert gradient_check(model, X, elements=6) < 1e-6
    assert gradient_check(model, X, training=True, elements=6) < 1e-6


@pytest.mark.emulator
def test_the_kernels_agree():
    inner = layers.GRU(3, return_sequences=True)
    model = Sequential(
        [
            layers.TimeDistributed(layers.Dense(4, "relu"), input_shape=(4, 5)),
            layers.Bidirectional(inner),
            layers.TimeDistributed(layers.BatchNormalization()),
            layers.Bidirectional(layers.LSTM(2), "mul"),
        ]
    )
    model.compile("sgd", "mse")
    comparison = compare(model, "numpy", "emulator", X.astype(np.float32), np.ones((3, 2)))
    assert comparison.ok, str(comparison)


def test_a_masked_embedding_in_both_directions(backend):
    """Words behind the end change nothing, whichever way one goes."""
    model = Sequential(
        [
            Input((5,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Bidirectional(layers.GRU(3)),
        ]
    ).to(backend)
    short = Sequential(
        [
            Input((3,), dtype="int32"),
            layers.Embedding(9, 4),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Bidirectional(layers.GRU(3)),
        ]
    ).to(backend)
    short.set_weights(model.get_weights())
    words = np.array([[3, 1, 4], [1, 5, 2]])
    padded = np.concatenate([words, np.zeros((2, 2), int)], axis=1)
    ys = model.predict(padded, verbose=0), short.predict(words, verbose=0)
    np.testing.assert_allclose(*ys, rtol=1e-5, atol=1e-6)


def test_given_weights_are_the_first_values():
    model = Sequential([layers.Bidirectional(layers.GRU(3), input_shape=(4, 5))])
    weights = model.get_weights()
    again = Sequential([layers.Bidirectional(layers.GRU(3), weights=weights, input_shape=(4, 5))])
    for a, b in zip(again.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ShapeError, match="takes weights of the shapes"):
        layers.Bidirectional(layers.GRU(4), weights=weights)(Input((4, 5)))


def test_both_directions_keep_their_states():
    inner = layers.LSTM(3, stateful=True)
    model = Sequential([Input((4, 5), batch_size=3), layers.Bidirectional(inner)])
    first = model.predict(X, verbose=0)
    assert not np.allclose(model.predict(X, verbose=0), first)
    model.layers[0].reset_states()
    np.testing.assert_array_equal(model.predict(X, verbose=0), first)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Bidirectional(layers.Dense(3)), "Bidirectional takes a recurrent layer"),
        (lambda: layers.Bidirectional(None), "Bidirectional takes a recurrent layer"),
        (lambda: layers.Bidirectional(layers.GRU(3), "max"), "or None for merge_mode, got 'max'"),
        (
            lambda: layers.Bidirectional(layers.GRU(3), backward_layer=layers.GRU(3)),
            "of which one goes backwards, got go_backwards=False for both",
        ),
        (
            lambda: layers.Bidirectional(
                layers.GRU(3), backward_layer=layers.GRU(3, go_backwards=True, return_state=True)
            ),
            "layers that agree in return_state, got False and True",
        ),
        (lambda: layers.TimeDistributed(3), "TimeDistributed takes a layer or a model, got 3"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


# ------------------------------------------------------------------------------ TimeDistributed


def small_net():
    return Sequential(
        [
            Input((6, 6, 1)),
            layers.Conv2D(2, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def test_a_layer_at_each_step(backend):
    net = small_net().to(backend)
    model = Sequential([layers.TimeDistributed(net, input_shape=(4, 6, 6, 1))]).to(backend)
    model.set_weights(net.get_weights())
    x = RNG(1).standard_normal((2, 4, 6, 6, 1))
    expected = np.stack([net.predict(x[:, t], verbose=0) for t in range(4)], axis=1)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


def test_a_model_at_each_step_is_saved_and_copied():
    x = RNG(1).standard_normal((2, 4, 6, 6, 1))
    model = Sequential([layers.TimeDistributed(small_net(), input_shape=(4, 6, 6, 1))])
    for copy in (clone_model(model), model_from_json(model.to_json())):
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))
    assert gradient_check(model, x, elements=6) < 1e-6


class Residual(layers.Layer):
    """A layer made of layers, with two inputs for one of them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense, self.add = layers.Dense(5, "tanh"), layers.Add()

    def call(self, x):
        return self.add([x, self.dense(x)])


def test_a_layer_made_of_layers_at_each_step():
    model = Sequential([layers.TimeDistributed(Residual(), input_shape=(4, 5)), layers.Dense(2)])
    assert len(model.get_weights()) == 4
    assert gradient_check(model, X, elements=6) < 1e-6


def test_each_step_drops_others():
    model = Sequential([layers.TimeDistributed(layers.Dropout(0.5), input_shape=(4, 50))])
    y = model.run(np.ones((2, 4, 50)), training=True).y
    assert not (y[:, 0] == y[:, 1]).all()
    np.testing.assert_array_equal(model.predict(np.ones((2, 4, 50)), verbose=0), 1)


def test_a_mask_goes_through():
    x = Input((4,), dtype="int32")
    y = layers.TimeDistributed(layers.Dense(2))(layers.Embedding(5, 3, mask_zero=True)(x))
    assert y.mask is not None
    model = Model(x, layers.LSTM(2)(y))
    assert model.predict(np.array([[1, 2, 0, 0]]), verbose=0).shape == (1, 2)


def test_frozen_layers_stay_frozen():
    model = Sequential(
        [layers.TimeDistributed(layers.Dense(2, trainable=False), input_shape=(4, 5))]
    )
    assert not any(p.is_trainable for p in model.parameters)


def test_inputs_that_are_no_sequences():
    with pytest.raises(ShapeError, match=r"expects sequences, \(batch, steps, ...\), got \(None, "):
        layers.TimeDistributed(layers.Dense(2))(Input((4,)))
