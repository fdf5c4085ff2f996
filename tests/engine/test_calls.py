"""What calls of layers may be: several outputs, tensors beside the inputs, sizes that differ."""

import json

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

RNG = np.random.default_rng(0)


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def backend(request):
    return request.param


class Split(layers.Layer):
    """The square, twice the input, and nothing that anybody reads."""

    def compute_output_shape(self, input_shape):
        return [input_shape] * 3

    def forward(self, op, c):
        square, double, unused = c.y
        op.multiply(square, c.x, c.x)
        op.scale_shift(double, c.x, scale=2.0, offset=0.0)
        op.fill(unused, value=0.0)

    def backward(self, op, c):
        dsquare, ddouble, dunused = c.dy
        assert dunused is None
        if dsquare is not None:
            twice = c.scratch(c.x.shape)
            op.multiply(twice, c.x, dsquare)
            op.scale_shift(c.dx, twice, scale=2.0, offset=0.0)
        if ddouble is not None:
            op.scale_shift(c.dx, ddouble, scale=2.0, offset=0.0)


class Shifted(layers.Layer):
    """y = x + sum of shift, tensors that a call names."""

    call_options = ("negated",)
    call_tensors = ("shift",)

    def forward(self, op, c):
        shifts = c.shift if isinstance(c.shift, tuple) else [c.shift] if c.shift else []
        y = c.x
        for shift in shifts:
            total = c.scratch(c.x.shape)
            op.add(total, y, shift)
            y = total
        op.scale_shift(c.y, y, scale=self._sign(c), offset=0.0)

    def backward(self, op, c):
        dshifts = c.dshift if isinstance(c.dshift, tuple) else [c.dshift] if c.dshift else []
        for target in (c.dx, *dshifts):
            op.scale_shift(target, c.dy, scale=self._sign(c), offset=0.0)

    def _sign(self, c):
        return -1.0 if c.options.get("negated") else 1.0


CUSTOM = {"Split": Split, "Shifted": Shifted}
X = RNG.standard_normal((4, 3))


# ------------------------------------------------------------------------------ several outputs


def test_a_layer_may_return_several_tensors(backend):
    x = Input((3,))
    square, double, _ = Split()(x)
    assert [square.shape, double.shape] == [(None, 3)] * 2
    model = Model(x, [double, square]).to(backend)
    got = model.predict(X, verbose=0)
    np.testing.assert_allclose(got[0], 2 * X, rtol=1e-6)
    np.testing.assert_allclose(got[1], X**2, rtol=1e-6)


@pytest.mark.parametrize("wanted", [[0], [1], [0, 1]])
def test_gradients_come_through_the_outputs_that_are_read(wanted):
    x = Input((3,))
    outputs = Split()(layers.Dense(3)(x))
    assert gradient_check(Model(x, [layers.Dense(2)(outputs[i]) for i in wanted]), X) < 1e-7


def test_training_is_the_same_on_both_backends():
    x = Input((3,))
    square, double, _ = Split()(layers.Dense(3, "tanh")(x))
    model = Model(x, layers.Dense(1)(layers.Add()([square, double])))
    model.compile(optimizers.SGD(0.1), "mse")
    assert compare(model, "numpy", "emulator", X, RNG.standard_normal((4, 1))).ok


def test_outputs_of_a_layer_in_a_config():
    x = Input((3,))
    square, double, _ = Split(name="split")(x)
    model = Model(x, layers.Subtract()([double, square]))
    again = model_from_json(json.dumps(json.loads(model.to_json())), CUSTOM)
    for copy in (again, clone_model(model)):
        np.testing.assert_array_equal(copy.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_penalty_counts_for_each_output():
    x = Input((3,))
    model = Model(x, Split(activity_regularizer="l2")(x)[:2])
    model.compile("sgd", "mse")
    zeros = np.zeros((4, 3))
    losses = sum(np.mean(y**2) for y in (X**2, 2 * X))
    penalty = 0.01 * sum(np.sum(y**2) for y in (X**2, 2 * X)) / 4
    loss = model.evaluate(X, [zeros, zeros], verbose=0)[0]
    assert loss == pytest.approx(losses + penalty, rel=1e-5)


def test_a_stack_takes_one_output_of_a_layer():
    with pytest.raises(ArgumentError, match="returns 3 tensors, but a layer of"):
        Sequential([Split(input_dim=3)]).build((None, 3))


# ------------------------------------------------------------------ tensors beside the inputs


def test_a_call_may_name_tensors(backend):
    x, a, b = Input((3,)), Input((3,)), Input((3,))
    y = Shifted()(x, shift=[a, b], negated=True)
    model = Model([x, a, b], y).to(backend)
    parts = [RNG.standard_normal((2, 3)) for _ in range(3)]
    np.testing.assert_allclose(model.predict(parts, verbose=0), -sum(parts), rtol=1e-5, atol=1e-6)


def test_their_gradients():
    x, a = Input((3,)), Input((3,))
    hidden = layers.Dense(3, "tanh")(a)
    model = Model([x, a], Shifted()(x, shift=hidden))
    assert gradient_check(model, [X, X]) < 1e-7
    model = Model([x, a], Shifted()(x, shift=[hidden, x]))
    assert gradient_check(model, [X, X]) < 1e-7
    assert gradient_check(Model(x, Shifted()(x)), X) < 1e-7


def test_they_survive_json_clones_and_calls_of_the_model():
    x, a = Input((3,)), Input((3,))
    hidden = layers.Dense(3)(a)
    model = Model([x, a], Shifted(name="shifted")(x, shift=[hidden], negated=True))
    expected = model.predict([X, X], verbose=0)
    again = model_from_json(json.dumps(json.loads(model.to_json())), CUSTOM)
    nested = Model([x, a], model([x, a]))
    clone = clone_model(model)
    for copy in (again, clone, nested):
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict([X, X], verbose=0), expected)
    lines = []
    model.summary(print_fn=lines.append)
    (line,) = [line for line in lines if line.startswith("shifted")]
    assert line.rstrip().endswith("input_layer[0][0], dense[0][0]")


def test_mistakes_in_options():
    x = Input((3,))
    with pytest.raises(ArgumentError, match="negated=True and symbolic tensors as shift, mask="):
        Shifted(name="s")(x, shift=3.0)
    with pytest.raises(ArgumentError, match="got other=True"):
        Shifted(name="s")(x, other=True)


# --------------------------------------------------------------------------- sizes that differ


def reader():
    """A model of sequences of any length."""
    x = Input((None,), dtype="int32")
    steps = layers.Embedding(9, 4, mask_zero=True)(x)
    hidden = layers.Dense(5, "tanh")(layers.LayerNormalization()(steps))
    return Model(x, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(hidden)))


def test_batches_of_any_length(backend):
    model = reader().to(backend)
    for length in (3, 7, 1, 3):
        tokens = RNG.integers(1, 9, (2, length))
        padded = np.concatenate([tokens, np.zeros((2, 4), int)], axis=1)
        got = model.predict(tokens, verbose=0)
        np.testing.assert_allclose(got, model.predict(padded, verbose=0), rtol=1e-5)


def test_training_on_batches_of_any_length(backend):
    model = reader().to(backend)
    model.compile(optimizers.SGD(0.5), "sparse_categorical_crossentropy", metrics=["accuracy"])
    labels = np.array([0, 1] * 4)
    for length in (3, 6, 3, 9, 6) * 4:
        tokens = np.where(labels[:, None] == 0, 2, 5) * np.ones((8, length), np.int32)
        loss, accuracy = model.train_on_batch(tokens, labels)
    assert accuracy == 1.0
    assert loss < 0.5


def test_labels_of_each_step():
    x = Input((None, 3))
    model = Model(x, layers.Dense(2)(x))
    model.compile("sgd", "mse")
    for length in (2, 5):
        data, y = RNG.standard_normal((4, length, 3)), np.zeros((4, length, 2))
        expected = np.mean(model.predict(data, verbose=0) ** 2)
        assert model.evaluate(data, y, verbose=0) == pytest.approx(expected, rel=1e-5)
        assert model.run(data).y.shape == (4, length, 2)


def test_images_of_any_size(backend):
    x = Input((None, None, 3))
    y = layers.MaxPooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    assert y.shape == (None, None, None, 4)
    pooled = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(y))
    assert pooled.shape == (None, 4)
    model = Model(x, [y, pooled]).to(backend)
    fixed = Input((9, 12, 3))
    same = Model(fixed, model(fixed))
    for size in ((9, 12), (6, 5)):
        maps, means = model.predict(RNG.standard_normal((2, *size, 3)), verbose=0)
        assert maps.shape == (2, (size[0] - 2) // 2, (size[1] - 2) // 2, 4)
        assert means.shape == (2, 4)
    images = RNG.standard_normal((2, 9, 12, 3))
    for a, b in zip(same.predict(images, verbose=0), model.predict(images, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gradient_check_with_a_length_that_differs():
    x = Input((None, 3))
    model = Model(x, layers.Concatenate(axis=1)([x, layers.Dense(3, "tanh")(x)]))
    assert model.output_shape == (None, None, 3)
    assert gradient_check(model, RNG.standard_normal((2, 4, 3))) < 1e-7


def test_models_of_any_length_have_configs_and_summaries():
    model = reader()
    again = model_from_json(json.dumps(json.loads(model.to_json())))
    again.set_weights(model.get_weights())
    tokens = RNG.integers(0, 9, (2, 6))
    np.testing.assert_array_equal(again.predict(tokens), model.predict(tokens))
    lines = []
    model.summary(print_fn=lines.append)
    assert any("(None, None, 4)" in line for line in lines)
    assert any("at batch size 32 and 64 for None" in line for line in lines)


def test_sequential_with_a_length_that_differs():
    model = Sequential([layers.Dense(4, "relu", input_shape=(None, 3)), layers.Dense(1)])
    assert model.output_shape == (None, None, 1)
    assert model.predict(np.ones((2, 7, 3)), verbose=0).shape == (2, 7, 1)


def test_mistakes_with_sizes_that_differ():
    with pytest.raises(ShapeError, match=r"last dimension|features"):
        layers.Dense(3)(layers.Flatten()(Input((None, 3))))
    with pytest.raises(ShapeError, match="240 stands for a size that differs"):
        layers.Reshape((7, 3))(Input((None, 3)))
    model = reader()
    with pytest.raises(ShapeError, match=r"samples of shape \(None,\)"):
        model.predict(np.zeros((2, 3, 4), int))
