"""Every backward equals central differences of its forward, and so does a training step."""

import contextlib

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, losses, optimizers
from gpunet.testing import gradient_check

Add, Dense, Dropout, Flatten, Reshape = (
    layers.Add,
    layers.Dense,
    layers.Dropout,
    layers.Flatten,
    layers.Reshape,
)


def straight():
    stack = [Dense(5, "tanh", input_dim=4), Dropout(0.3), Dense(4, "sigmoid"), Dense(3, "relu")]
    return Sequential(stack), [(4,)]


def residual():
    x = Input((4,))
    hidden = Dense(4, "tanh")(x)
    return Model(x, Dense(2)(Add()([x, hidden, Dropout(0.5)(hidden)]))), [(4,)]


def shared_three_times():
    x, dense = Input((4,)), Dense(4, "tanh")
    first = dense(x)
    second = dense(first)
    return Model(x, Add()([first, second, dense(second)])), [(4,)]


def two_inputs():
    a, b = Input((4,)), Input((3,))
    return Model([a, b], Add()([Dense(5, "tanh")(a), Dense(5, "sigmoid")(b)])), [(4,), (3,)]


def two_outputs():
    x = Input((4,))
    hidden = Dense(5, "tanh")(x)
    return Model(x, [hidden, Dense(2)(hidden)]), [(4,)]


def output_twice_and_reshaped():
    x = Input((4,))
    y = Dense(6, "tanh")(x)
    return Model(x, [y, y, Reshape((2, 3))(y)]), [(4,)]


def input_is_output():
    x = Input((4,))
    return Model(x, [x, Flatten()(x), Dense(2)(x)]), [(4,)]


def input_unused():
    a, b = Input((4,)), Input((3,))
    return Model([a, b], Dense(2, "tanh")(a)), [(4,), (3,)]


def same_tensor_added():
    x = Input((4,))
    y = Dense(3, "tanh")(x)
    return Model(x, Add()([y, y, y])), [(4,)]


def passing_through():
    stack = [Flatten(input_shape=(2, 3, 2)), layers.Activation("linear"), Reshape((3, -1))]
    return Sequential([*stack, Dense(5, "relu"), Flatten(), Dense(2, "tanh")]), [(2, 3, 2)]


def softmax_in_the_middle():
    stack = [Dense(6, "softmax", input_dim=4), Reshape((2, 3)), layers.Softmax(), Dense(3, "tanh")]
    return Sequential(stack), [(4,)]


def activations_alone():
    names = ["relu", "sigmoid", "tanh", "linear", "softmax"]
    stack = [layers.Activation(name) for name in names]
    return Sequential([Dense(5, input_dim=4), layers.ReLU(), *stack]), [(4,)]


def rescaled_twice_without_bias():
    stack = [layers.Rescaling(0.5, 1.0, input_dim=4), layers.Rescaling(-2.0, 0.1)]
    return Sequential([*stack, Dense(3, "tanh", use_bias=False), Dense(2, use_bias=False)]), [(4,)]


GRAPHS = [
    straight,
    residual,
    shared_three_times,
    two_inputs,
    two_outputs,
    output_twice_and_reshaped,
    input_is_output,
    input_unused,
    same_tensor_added,
    passing_through,
    softmax_in_the_middle,
    activations_alone,
    rescaled_twice_without_bias,
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("graph", GRAPHS, ids=lambda graph: graph.__name__)
def test_backward_equals_central_differences(graph, training):
    model, shapes = graph()
    rng = np.random.default_rng(2)
    x = [rng.standard_normal((3, *shape)) for shape in shapes]
    assert gradient_check(model, x if len(x) > 1 else x[0], training) < 1e-6


@pytest.mark.parametrize("seed", range(12))
def test_backward_of_random_graphs_equals_central_differences(seed, random_model, random_inputs):
    model = random_model(seed, outputs=2)
    assert gradient_check(model, random_inputs(seed, 3), training=True, elements=6) < 1e-6


def test_gradients_of_two_models_that_share_a_layer():
    x, z = Input((4,)), Input((2,))
    encoder, decoder = Dense(2, "tanh"), Dense(4)
    code = encoder(x)
    autoencoder, generator = Model(x, decoder(code)), Model(z, decoder(z))
    rng = np.random.default_rng(3)
    assert gradient_check(autoencoder, rng.standard_normal((3, 4))) < 1e-6
    assert gradient_check(generator, rng.standard_normal((3, 2))) < 1e-6


# ------------------------------------------------------------------- training steps

RNG = np.random.default_rng(4)
ROWS = 6
ONE_HOT = np.eye(3)[RNG.integers(0, 3, ROWS)]
SOFT = RNG.dirichlet(np.ones(3), ROWS)
CLASSES = RNG.integers(0, 3, ROWS)
BITS = RNG.integers(0, 2, (ROWS, 3))
NUMBERS = RNG.standard_normal((ROWS, 3))
CATEGORICAL, SPARSE = losses.CategoricalCrossentropy, losses.SparseCategoricalCrossentropy

LOSSES = [
    ("softmax, one-hot", "categorical_crossentropy", "softmax", ONE_HOT),
    ("softmax, probabilities", "categorical_crossentropy", "softmax", SOFT),
    ("softmax, classes", "sparse_categorical_crossentropy", "softmax", CLASSES),
    ("linear, logits, one-hot", CATEGORICAL(from_logits=True), "linear", ONE_HOT),
    ("linear, logits, classes", SPARSE(from_logits=True), "linear", CLASSES),
    ("tanh, logits, classes", SPARSE(from_logits=True), "tanh", CLASSES),
    ("sigmoid, normalised, one-hot", "categorical_crossentropy", "sigmoid", ONE_HOT),
    ("sigmoid, normalised, classes", "sparse_categorical_crossentropy", "sigmoid", CLASSES),
    ("sigmoid, bits", "binary_crossentropy", "sigmoid", BITS),
    ("softmax, bits", "binary_crossentropy", "softmax", BITS),
    ("linear, logits, bits", losses.BinaryCrossentropy(from_logits=True), "linear", BITS),
    ("linear, numbers", "mse", "linear", NUMBERS),
    ("tanh, numbers", "mse", "tanh", NUMBERS),
    ("softmax, numbers", "mse", "softmax", NUMBERS),
]


def central_differences(model, loss_of, elements=8, step=1e-6):
    """(layer's weight, index) -> numeric derivative, for some elements of each weight."""
    rng, weights, slopes = np.random.default_rng(5), model.get_weights(), {}
    for number, values in enumerate(weights):
        flat = values.reshape(-1)
        for i in rng.permutation(flat.size)[:elements]:
            kept, ends = flat[i], []
            for shift in (step, -step):
                flat[i] = kept + shift
                model.set_weights(weights)
                ends.append(loss_of())
            flat[i] = kept
            slopes[number, i] = (ends[0] - ends[1]) / (2 * step)
    model.set_weights(weights)
    return slopes


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize(("loss", "end", "y"), [r[1:] for r in LOSSES], ids=[r[0] for r in LOSSES])
def test_a_step_of_sgd_goes_down_the_slope_of_the_loss(loss, end, y, weighted, fused, unfused):
    x = np.random.default_rng(6).standard_normal((ROWS, 4))
    weights = np.linspace(0.25, 2, ROWS) if weighted else None
    model = Sequential([Dense(5, "tanh", input_dim=4), Dense(3, end)])
    model.compile(optimizers.SGD(1.0), loss, metrics=["accuracy"])
    model.to(dtype="float64")
    with contextlib.nullcontext() if fused else unfused():
        slopes = central_differences(model, lambda: model.test_on_batch(x, y, weights)[0])
        before = model.get_weights()
        model.train_on_batch(x, y, weights)
    for (number, i), slope in slopes.items():
        change = model.get_weights()[number].flat[i] - before[number].flat[i]
        assert -change == pytest.approx(slope, abs=1e-8, rel=1e-6)


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy", "binary_crossentropy"])
def test_slope_where_the_loss_sees_other_rows_than_the_last_dense_layer(loss):
    x, y = np.random.default_rng(7).standard_normal((4, 5)), np.full((4, 2, 3), 0.5)
    model = Sequential([Dense(6, "softmax", input_dim=5), Reshape((2, 3))])
    model.compile(optimizers.SGD(1.0), loss)
    model.to(dtype="float64")
    slopes = central_differences(model, lambda: model.test_on_batch(x, y))
    before = model.get_weights()
    model.train_on_batch(x, y)
    for (number, i), slope in slopes.items():
        change = model.get_weights()[number].flat[i] - before[number].flat[i]
        assert -change == pytest.approx(slope, abs=1e-8, rel=1e-6)
