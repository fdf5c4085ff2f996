"""Embedding as a layer: integers in, a gradient of the table."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.errors import ArgumentError, DtypeError
from gpunet.testing import compare, gradient_check

RNG = np.random.default_rng(0)
BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]


def reader(**options):
    stack = [layers.Embedding(11, 4, **options), layers.Flatten(), layers.Dense(2)]
    return Sequential(stack)


@pytest.mark.parametrize("backend", BACKENDS)
def test_forward_and_gradient_are_rows_of_the_table(backend):
    model = Sequential([layers.Embedding(7, 3, input_shape=(5,))]).to(backend)
    numbers = RNG.integers(0, 7, (4, 5))
    (table,) = model.get_weights()
    np.testing.assert_array_equal(model.predict(numbers, verbose=0), table[numbers])
    run = model.run(numbers, training=True)
    dy = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    assert run.backward(dy, inputs=False) is None
    expected = np.zeros((7, 3))
    np.add.at(expected, numbers, dy)
    (gradient,) = model.get_gradients()
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)


def test_gradient_check():
    gradient_check(reader(), RNG.integers(0, 11, (6, 3)))


@pytest.mark.emulator
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_both_devices_agree(optimizer):
    model = reader(embeddings_regularizer="l2", embeddings_constraint="unit_norm")
    model.compile(optimizer, "mse")
    x, y = RNG.integers(0, 11, (9, 3)), RNG.standard_normal((9, 2)).astype(np.float32)
    assert compare(model, "numpy", "emulator", x, y).ok


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_a_shared_table_learns_from_every_place(dtype):
    """Two towers, one table: the gradients of both calls add up."""
    table = layers.Embedding(5, 2, embeddings_initializer="ones")
    left, right = Input((1,), dtype="int32", name="a"), Input((1,), dtype="int32", name="b")
    total = layers.Add()([table(left), table(right)])
    model = Model([left, right], layers.Flatten()(total))
    model.compile(optimizers.SGD(1.0), "mse")
    a, b = np.array([[1], [2]], dtype), np.array([[1], [3]], dtype)
    model.train_on_batch([a, b], np.zeros((2, 2), np.float32))
    # y = 2 everywhere; d mse / dy = 2 y / 4 = 1 for each number, row 1 has two of them.
    np.testing.assert_allclose(model.get_weights()[0][:, 0], [1, -1, 0, 0, 1])


def test_it_learns():
    x = RNG.integers(0, 50, (400, 1))
    model = Sequential([layers.Embedding(50, 8), layers.Flatten(), layers.Dense(1, "sigmoid")])
    model.compile(optimizers.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, x[:, 0] % 2, epochs=20, verbose=0)
    assert model.evaluate(x, x[:, 0] % 2, verbose=0)[1] == 1.0


def test_mixed_batch_sizes_and_lengths():
    model = Sequential([layers.Embedding(9, 2), layers.Flatten()])
    numbers = RNG.integers(0, 9, (7, 3))
    whole = model.predict(numbers, verbose=0)
    for size in (1, 2, 7):
        np.testing.assert_array_equal(model.predict(numbers, batch_size=size, verbose=0), whole)


def test_numbers_outside_of_the_table_are_named():
    model = reader()
    model.compile("sgd", "mse")
    x, y = RNG.integers(0, 11, (6, 3)), np.zeros((6, 2), np.float32)
    model.fit(x, y, verbose=0)
    before = model.get_weights()
    for wrong in (11, -1):
        bad = x.copy()
        bad[4, 2] = wrong
        for use in (
            lambda x: model.fit(x, y, verbose=0),
            lambda x: model.evaluate(x, y, verbose=0),
            lambda x: model.predict(x, verbose=0),
        ):
            with pytest.raises(ArgumentError, match=rf"x holds {wrong} at \[4, 2\], .* 0 to 10"):
                use(bad)
        assert np.isnan(model.predict_on_batch(bad)[4]).all()
    assert all((a == b).all() for a, b in zip(before, model.get_weights(), strict=True))


def test_mistakes():
    for wrong in (0, -3, 2.5, True, "10"):
        with pytest.raises(ArgumentError, match="positive integer for input_dim"):
            layers.Embedding(wrong, 3)
        with pytest.raises(ArgumentError, match="positive integer for output_dim"):
            layers.Embedding(3, wrong)
    with pytest.raises(ArgumentError, match="a bool for mask_zero"):
        layers.Embedding(3, 3, mask_zero=1)
    with pytest.raises(ArgumentError, match="low-rank"):
        layers.Embedding(3, 3, lora_rank=1)
    floats = Sequential([Input((2,), dtype="float32"), layers.Embedding(3, 3)])
    with pytest.raises(DtypeError, match="dtype='int32'"):
        floats.predict(np.ones((1, 2)), verbose=0)
    with pytest.raises(DtypeError, match="takes integers"):
        reader().predict(np.full((1, 3), 1.5), verbose=0)
