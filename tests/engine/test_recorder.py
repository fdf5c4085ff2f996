"""Recording: checks against the contract, accumulation, Python functions."""

import re

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, DtypeError, GpunetError, ShapeError
from gpunet.testing import gradient_check


@pytest.fixture
def op():
    return Recorder("float32")


MISTAKES = [
    (
        "inner dimension",
        lambda op, m: op.gemm(m(4, 3), m(4, 5), m(6, 3)),
        ShapeError,
        r"op gemm: b of shape \(6, 3\) has 6 where the op expects 5 \(k\)",
    ),
    (
        "rank",
        lambda op, m: op.gemm(m(4), m(4, 5), m(5, 3)),
        ShapeError,
        r"op gemm: c must have the shape \(m, n\), got \(4,\)",
    ),
    (
        "dtype",
        lambda op, m: op.softmax(m(4, 3), m(4, 3, dtype="int32")),
        DtypeError,
        r"op softmax: x must be float32, got int32",
    ),
    (
        "no array",
        lambda op, m: op.add(m(4), m(4), None),
        ArgumentError,
        r"op add needs an array for 'b', got None",
    ),
    (
        "unknown argument",
        lambda op, m: op.gemm(m(4, 3), m(4, 5), m(5, 3), beta=1.0),
        ArgumentError,
        r"op gemm.*unexpected keyword argument 'beta'",
    ),
    (
        "forgotten argument",
        lambda op, m: op.fill(m(4)),
        ArgumentError,
        r"op fill.*missing a required.*'value'",
    ),
    (
        "activation",
        lambda op, m: op.bias_act(m(4, 3), m(4, 3), None, activation="swoosh"),
        ArgumentError,
        r"op bias_act knows the activations linear, relu, .*got 'swoosh'",
    ),
]


@pytest.mark.parametrize(
    ("call", "error", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_names_the_op_what_was_got_and_what_was_expected(op, call, error, message):
    with pytest.raises(error) as caught:
        call(op, lambda *shape, dtype=None: op.scratch(shape, dtype))
    assert re.search(message, str(caught.value))
    assert isinstance(caught.value, GpunetError)
    assert op.records == []


def test_an_unknown_op_lists_the_known_ones(op):
    with pytest.raises(AttributeError, match=r"no op 'matmul'; it has .*gemm"):
        op.matmul()


def test_a_mistake_in_a_layer_is_found_while_recording():
    class Wrong(layers.Layer):
        def forward(self, op, c):
            op.softmax(c.y, c.kernel)

    model = Sequential([Wrong(input_dim=3)])
    with pytest.raises(AttributeError, match=r"no 'kernel'; it has .*x, mask, y"):
        model.predict(np.ones((2, 3)))


def test_a_layer_without_forward_says_what_to_write():
    class Empty(layers.Layer):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty needs a method forward\(op, c\)"):
        Sequential([Empty(input_dim=3)]).predict(np.ones((2, 3)))


# ------------------------------------------------------------------------ accumulation


def test_the_first_write_of_a_gradient_overwrites_and_later_ones_add(op):
    x, kernel = op.scratch((4, 5)), op.gradient_of(op.scratch((5, 3)))
    for _ in range(3):
        op.gemm(kernel, x, op.scratch((4, 3)), ta=True)
    assert [r.attributes["accumulate"] for r in op.records] == [False, True, True]


def test_an_op_that_cannot_add_writes_aside_and_is_added(op):
    dx = op.gradient_of(op.scratch((4, 3)))
    op.copy(dx, op.scratch((4, 3)))
    op.copy(dx, op.scratch((4, 3)))
    assert [r.op.name for r in op.records] == ["copy", "copy", "add"]
    assert op.records[1].arrays[0] is not dx
    assert op.records[2].arrays[:2] == [dx, dx]


def test_what_is_no_gradient_is_never_added_to(op):
    y = op.scratch((4, 3))
    op.copy(y, op.scratch((4, 3)))
    op.copy(y, op.scratch((4, 3)))
    assert [r.op.name for r in op.records] == ["copy", "copy"]


def test_views_of_one_buffer_share_one_gradient(op):
    x = op.scratch((4, 6))
    assert op.gradient_of(x).storage is op.gradient_of(x.reshape(4, 2, -1)).storage
    assert x.reshape(4, 2, -1).shape == (4, 2, 3)
    assert x.reshape(2, 2, 6).rows.shape == (4, 6)


class Ignores(layers.Dense):
    """A layer that forgets its bias in backward."""

    def backward(self, op, c):
        op.gemm(c.dkernel, c.x, c.dy, ta=True)
        op.gemm(c.dx, c.dy, c.kernel, tb=True)


def test_a_weight_that_no_op_reached_gets_a_zero_gradient():
    model = Sequential([Ignores(3, input_dim=4)])
    model.compile(optimizers.SGD(1.0), "mse")
    model.spans[0].gradients[...] = 7.0  # what an earlier step may have left
    model.train_on_batch(np.ones((2, 4)), np.zeros((2, 3)))
    kernel, bias = model.get_gradients()
    assert kernel.any()
    assert not bias.any()


class Stops(layers.Layer):
    """A layer that lets no gradient through."""

    def forward(self, op, c):
        op.copy(c.y, c.x)

    def backward(self, op, c):
        pass


def test_nothing_below_a_layer_that_stops_gradients_gets_one(poisoned):
    x = Input((4,))
    model = Model(x, layers.Dense(2)(Stops()(layers.Dense(3, "tanh")(layers.ReLU()(x)))))
    with poisoned():
        dx = model.run(np.ones((5, 4))).backward(np.ones((5, 2)))
    first, last = model.get_gradients()[:2], model.get_gradients()[2:]
    assert not dx.any()
    assert not any(gradient.any() for gradient in first)
    assert all(gradient.any() for gradient in last)


class BiasTanh(layers.Layer):
    """tanh(x + bias), whose backward writes two gradients with one op."""

    def build(self, input_shape):
        self.add_weight("bias", (input_shape[-1],), "ones")

    def forward(self, op, c):
        op.bias_act(c.y, c.x, c.bias, activation="tanh")

    def backward(self, op, c):
        op.bias_act_backward(c.dx, c.dbias, c.dy, c.y, activation="tanh")


def test_an_op_adds_to_each_of_its_gradients_as_each_needs_it():
    x, shared, last = Input((4,)), BiasTanh(), BiasTanh()
    once, twice = shared(x), shared(shared(x))
    model = Model(x, layers.Add()([once, last(x), twice, last(once)]))
    assert gradient_check(model, np.random.default_rng(0).standard_normal((3, 4))) < 1e-6


# --------------------------------------------------------------------------- op.python


class Doubled(layers.Layer):
    """y = 2 x in Python; the functions have names of ops on purpose."""

    def forward(self, op, c):
        def copy(y, x):
            np.multiply(x, 2, out=y)

        op.python(copy, [c.y], [c.x])

    def backward(self, op, c):
        def add(dx, dy):
            np.multiply(dy, 2, out=dx)

        op.python(add, [c.dx], [c.dy])


def test_a_python_function_runs_in_a_model_with_its_gradient():
    x = Input((3,))
    y = Doubled()(layers.Dense(3, "tanh")(x))
    model = Model(x, layers.Add()([x, y, Doubled()(y)]))
    assert gradient_check(model, np.ones((2, 3))) < 1e-6


def test_a_python_function_trains_in_fit():
    model = Sequential([layers.Dense(2, input_dim=3), Doubled(), layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).standard_normal((32, 3))
    history = model.fit(x, x.sum(axis=1), epochs=5, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_python_functions_of_any_kind_may_be_recorded(op):
    from functools import partial

    y, x = op.scratch((3,)), op.scratch((3,))
    op.python(partial(np.copyto), [y], [x])
    op.python(lambda y, x: None, [y], [x])
    assert len(op.records) == 2


@pytest.mark.parametrize("name", ["x", "dy", "training", "scratch", "two words", ""])
def test_a_weight_may_not_hide_what_the_context_has(name):
    with pytest.raises(ArgumentError, match="needs an identifier as its name"):
        layers.Layer().add_weight(name, (2,))


def test_two_weights_of_one_name_are_refused():
    layer = layers.Layer()
    layer.add_weight("kernel", (2,))
    with pytest.raises(ArgumentError, match=r"not\s+taken, got 'kernel'"):
        layer.add_weight("kernel", (2,))
