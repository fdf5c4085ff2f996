"""compile(run_eagerly=True): layers see real numbers, and nothing else changes."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers, random
from gpunet.backend import backend_named
from gpunet.engine.eager import EagerRecorder
from gpunet.errors import UsageError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((9, 6)).astype(np.float32)
CLASSES, NUMBERS = RNG.integers(0, 3, 9), RNG.standard_normal((9, 3))
BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]


class Spy(layers.Layer):
    """y = 2 x, and notes what it sees."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.seen = []

    def forward(self, op, c):
        op.scale_shift(c.y, c.x, scale=2.0, offset=0.0)
        self.seen.append((c.x.numpy(), c.y.numpy()))

    def backward(self, op, c):
        op.scale_shift(c.dx, c.dy, scale=2.0, offset=0.0)
        self.seen.append((c.dy.numpy(), c.dx.numpy()))


def trained(make, run_eagerly, optimizer, loss, x, y, backend="numpy"):
    """Weights, losses and predictions after some steps of fit."""
    random.set_seed(3)
    model = make().to(backend)
    model.compile(optimizer(), loss, metrics=["accuracy"], run_eagerly=run_eagerly)
    history = model.fit(x, y, batch_size=4, epochs=3, verbose=0, validation_data=(x, y)).history
    return [*model.get_weights(), *history.values(), model.predict(x, batch_size=5, verbose=0)]


def classifier():
    hidden = [layers.Dense(5, "relu", input_dim=6), layers.Dropout(0.5), layers.Reshape((5, 1))]
    return Sequential([*hidden, layers.Flatten(), layers.Dense(3, "softmax")])


def shared():
    x = Input((6,))
    dense, frozen = layers.Dense(6, "tanh"), layers.Dense(6, trainable=False)
    return Model(x, layers.Dense(3)(layers.Add()([dense(dense(x)), frozen(x), x])))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("make", "optimizer", "loss", "y"),
    [
        (classifier, optimizers.Adam, "sparse_categorical_crossentropy", CLASSES),
        (shared, lambda: optimizers.SGD(0.1, momentum=0.9), "mse", NUMBERS),
    ],
)
def test_the_results_are_those_of_the_plan(make, optimizer, loss, y, backend):
    planned = trained(make, False, optimizer, loss, X, y, backend)
    eager = trained(make, True, optimizer, loss, X, y, backend)
    for ours, theirs in zip(planned, eager, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_bits_are_those_of_a_plan_that_fuses_nothing(unfused):
    def make():
        stack = [layers.Dense(5, "relu", input_dim=6), layers.Dropout(0.5)]
        return Sequential([*stack, layers.Dense(3, "softmax")])

    arguments = (optimizers.Adam, "sparse_categorical_crossentropy", X, CLASSES)
    with unfused():
        planned = trained(make, False, *arguments)
    for ours, theirs in zip(planned, trained(make, True, *arguments), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_sees_numbers_at_every_step(backend):
    spy = Spy()
    model = Sequential([layers.Dense(5, input_dim=6), spy, layers.Dense(3)]).to(backend)
    model.compile("sgd", "mse", run_eagerly=True)
    kernel, bias, _, _ = model.get_weights()
    expected = X @ kernel + bias
    for _ in range(2):
        model.train_on_batch(X, NUMBERS)
    assert len(spy.seen) == 4
    (x, y), (dy, dx) = spy.seen[:2]
    np.testing.assert_allclose(x, expected, atol=1e-6)
    np.testing.assert_array_equal(y, 2 * x)
    np.testing.assert_array_equal(dx, 2 * dy)
    assert dy.shape == (9, 5)
    assert not np.array_equal(spy.seen[2][0], x)  # the weights have changed
    model.predict(X, verbose=0)
    assert len(spy.seen) == 5


def test_without_it_the_message_says_how_to_see_numbers():
    model = Sequential([Spy(input_dim=6, name="spy"), layers.Dense(3)])
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match=r"layer 'spy', forward: input.* run_eagerly=True"):
        model.train_on_batch(X, NUMBERS)


class Failing(layers.Layer):
    def __init__(self, error, where, **kwargs):
        super().__init__(**kwargs)
        self.error, self.where = error, where

    def forward(self, op, c):
        op.copy(c.y, c.x)
        if self.where == "forward":
            raise self.error

    def backward(self, op, c):
        raise self.error


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_an_error_says_in_which_layer_it_arose_and_keeps_its_type(where, run_eagerly):
    failing = Failing(ZeroDivisionError("by 0"), where, name="bad")
    model = Sequential([layers.Dense(6, input_dim=6), failing, layers.Dense(3)])
    model.compile("sgd", "mse", run_eagerly=run_eagerly)
    with pytest.raises(ZeroDivisionError, match=f"^layer 'bad', {where}: by 0$"):
        model.train_on_batch(X, NUMBERS)


def test_what_nobody_has_written_is_not_read():
    op = EagerRecorder("float32", backend_named("numpy"))
    x, y = op.scratch((2,), name="x"), op.scratch((2,), name="y")
    with pytest.raises(UsageError, match="op add reads x, which no op has written"):
        op.add(y, x, x)
    with pytest.raises(UsageError, match=r"y\[2\] has no numbers yet"):
        y.numpy()
    op.fill(x, value=1.5)
    np.testing.assert_array_equal(x.reshape(2, 1).numpy(), [[1.5], [1.5]])


def test_compiling_again_goes_back_to_plans():
    spy = Spy(input_dim=6)
    model = Sequential([spy, layers.Dense(3)])
    model.compile("sgd", "mse", run_eagerly=True)
    model.train_on_batch(X, NUMBERS)
    model.compile("sgd", "mse")
    with pytest.raises(UsageError, match="run_eagerly=True"):
        model.train_on_batch(X, NUMBERS)
