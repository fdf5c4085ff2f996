"""Recurrent layers: cells, masks, states that go in, come out and are kept, recurrent dropout."""

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers
from gpunet.errors import ArgumentError, ShapeError
from gpunet.models import clone_model, model_from_json
from gpunet.testing import compare, gradient_check

RNG = np.random.default_rng
STEPS, FEATURES = 4, 3
MASK = np.array([[1, 1, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]], bool)
X = RNG(0).standard_normal((3, STEPS, FEATURES))
BACK = {"go_backwards": True}
SEQUENCES = {"return_sequences": True}
STATE = {"return_state": True}
ZERO = {"zero_output_for_mask": True}


@pytest.fixture(params=["numpy", pytest.param("emulator", marks=pytest.mark.emulator)])
def backend(request):
    return request.param


class Leaky(layers.Layer):
    """A cell of a user: h = 0.5 h + x kernel, y = h^2."""

    def __init__(self, units=2, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units

    def build(self, input_shape):
        self.add_weight("kernel", (input_shape[-1], self.units))

    def forward(self, op, c):
        (new,) = c.new_states
        product = c.scratch(new.shape, "product")
        kept = c.scratch(new.shape, "kept")
        op.gemm(product, c.x, c.kernel)
        op.scale_shift(kept, c.states[0], scale=0.5, offset=0.0)
        op.add(new, kept, product)
        op.multiply(c.y, new, new)

    def backward(self, op, c):
        slope, dh = c.scratch(c.y.shape, "slope"), c.scratch(c.y.shape, "dh")
        op.scale_shift(slope, c.new_states[0], scale=2.0, offset=0.0)
        op.multiply(dh, c.dy, slope)
        dnew = c.scratch(c.y.shape, "dnew")
        op.add(dnew, dh, c.dnew_states[0])
        op.gemm(c.dkernel, c.x, dnew, ta=True)
        op.gemm(c.dx, dnew, c.kernel, tb=True)
        op.scale_shift(c.dstates[0], dnew, scale=0.5, offset=0.0)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def called(layer, given="", size=None):
    """A model that calls a layer with a mask and with first states, and its inputs."""
    x, call, arrays = Input((STEPS, FEATURES)), {}, [X]
    inputs = [x]
    if "state" in given:
        sizes = layer.state_sizes
        call["initial_state"] = [Input((n,), name=f"s{i}") for i, n in enumerate(sizes)]
        inputs += call["initial_state"]
        arrays += [RNG(i + 1).standard_normal((3, n)) for i, n in enumerate(sizes)]
    if "mask" in given:
        call["mask"] = Input((STEPS,), dtype="bool", name="mask")
        inputs.append(call["mask"])
        arrays.append(MASK)
    return Model(inputs, layer(x, **call)), arrays


MADE = [
    (lambda **o: layers.LSTM(3, **o), "lstm"),
    (lambda **o: layers.GRU(3, **o), "gru"),
    (lambda **o: layers.LSTM(3, "silu", "hard_sigmoid", **o), "lstm-silu"),
    (lambda **o: layers.GRU(3, "softsign", reset_after=False, **o), "gru-before"),
    (lambda **o: layers.SimpleRNN(3, **o), "simple"),
    (lambda **o: layers.RNN(Leaky(), **o), "own"),
    (lambda **o: layers.RNN([layers.LSTMCell(2), Leaky(3), layers.GRUCell(2)], **o), "stacked"),
]
OPTIONS = [
    ({**SEQUENCES, **STATE}, "mask state"),
    ({**STATE, **BACK}, "mask state"),
    ({**SEQUENCES, **BACK, **ZERO}, "mask state"),
    ({**ZERO}, "mask"),
    ({**STATE}, ""),
]


@pytest.mark.parametrize(("options", "given"), OPTIONS, ids=str)
@pytest.mark.parametrize("make", [m[0] for m in MADE], ids=[m[1] for m in MADE])
def test_gradients(make, options, given):
    model, arrays = called(make(**options), given)
    assert gradient_check(model, arrays if len(arrays) > 1 else X, elements=6) < 1e-6


@pytest.mark.parametrize("rates", [(0.4, 0.3), (0.0, 0.5)], ids=str)
@pytest.mark.parametrize("make", [m[0] for m in MADE[:5]], ids=[m[1] for m in MADE[:5]])
def test_gradients_with_dropout(make, rates):
    layer = make(dropout=rates[0], recurrent_dropout=rates[1], **SEQUENCES, **STATE)
    model, arrays = called(layer, "mask state")
    assert gradient_check(model, arrays, training=True, elements=6) < 1e-6


def trained(model, arrays, backend):
    """The weights and outputs of a model behind three steps of training."""
    model.to(backend)
    model.compile("sgd", "mse")
    targets = [y + 1 for y in as_list(model.predict(arrays, verbose=0))]
    y = targets if len(targets) > 1 else targets[0]
    model.fit(arrays, y, epochs=3, batch_size=3, shuffle=False, verbose=0)
    return [*model.get_weights(), *as_list(model.predict(arrays, verbose=0))]


def as_list(value):
    return list(value) if isinstance(value, list | tuple) else [value]


@pytest.mark.emulator
@pytest.mark.parametrize(("options", "given"), OPTIONS[:3], ids=str)
@pytest.mark.parametrize("make", [m[0] for m in MADE], ids=[m[1] for m in MADE])
def test_training_is_the_same_on_both_backends(make, options, given):
    model, arrays = called(make(**options), given)
    weights = model.get_weights()
    on_cpu = trained(model, arrays, "numpy")
    model.set_weights(weights)
    for ours, theirs in zip(trained(model, arrays, "emulator"), on_cpu, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.emulator
@pytest.mark.parametrize("make", [m[0] for m in MADE[:5]], ids=[m[1] for m in MADE[:5]])
def test_dropout_is_the_same_on_both_backends(make):
    layer = make(dropout=0.4, recurrent_dropout=0.3, input_shape=(STEPS, FEATURES))
    model = Sequential([layer, layers.Dense(2)])
    model.compile("sgd", "mse")
    x = X.astype(np.float32)
    comparison = compare(model, "numpy", "emulator", x, np.ones((3, 2), np.float32))
    assert comparison.ok, str(comparison)


# --------------------------------------------------------------------------------------- cells


@pytest.mark.parametrize("options", [{**SEQUENCES, **STATE}, {**STATE, **BACK}, ZERO], ids=str)
@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_a_cell_does_what_the_layer_does(name, options, backend):
    layer = getattr(layers, name)(3, dropout=0.4, **options)
    cell = getattr(layers, f"{name}Cell")(3, dropout=0.4)
    model, arrays = called(layer, "mask state")
    of_cell, _ = called(layers.RNN(cell, **options), "mask state")
    of_cell.set_weights(model.to(backend).get_weights())
    results = []
    for one in (model, of_cell.to(backend)):
        one.passes = 0
        run = one.run(arrays, training=True)
        ys = as_list(run.y)
        dy = [np.ones(y.shape, np.float32) for y in ys]
        gradients = run.backward(dy if len(dy) > 1 else dy[0])
        found = [*ys, *gradients[:-1]]
        found = [array if isinstance(array, np.ndarray) else array.get() for array in found]
        results.append([*found, *one.get_gradients()])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_list_of_cells_does_what_layers_in_a_row_do():
    stacked = Sequential([layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)], input_shape=(4, 3))])
    row = Sequential([layers.LSTM(4, **SEQUENCES, input_shape=(4, 3)), layers.GRU(3)])
    row.set_weights(stacked.get_weights())
    ys = stacked.predict(X, verbose=0), row.predict(X, verbose=0)
    np.testing.assert_allclose(*ys, rtol=1e-5, atol=1e-6)


def test_weights_of_stacked_cells_have_names_of_their_own():
    cells = [layers.LSTMCell(4), layers.StackedRNNCells([Leaky(), layers.GRUCell(3)])]
    x = Input((4, 3))
    model = Model(x, layers.RNN(cells, **STATE)(x))
    names = [parameter.name for parameter in model.parameters]
    assert names == [
        *("kernel_0", "recurrent_kernel_0", "bias_0", "kernel_0_1"),
        *("kernel_1_1", "recurrent_kernel_1_1", "bias_1_1"),
    ]
    assert [y.shape for y in model.predict(X, verbose=0)] == [(3, n) for n in (3, 4, 4, 2, 3)]
    assert gradient_check(model, X, elements=5) < 1e-6


def test_a_cell_that_is_frozen_is_not_trained():
    cells = [layers.LSTMCell(4, trainable=False), layers.LSTMCell(3)]
    model = Sequential([layers.RNN(cells, input_shape=(4, 3))])
    assert [p.is_trainable for p in model.parameters] == [False] * 3 + [True] * 3


# ------------------------------------------------------------------------------------- dropout


def test_recurrent_dropout_drops_the_same_at_each_step():
    layer = layers.SimpleRNN(
        64, "linear", recurrent_dropout=0.5, use_bias=False, recurrent_initializer="identity"
    )
    x, h = Input((3, 2)), Input((64,))
    model = Model([x, h], layer(x, initial_state=h))
    kernel, recurrent = model.get_weights()
    model.set_weights([np.zeros_like(kernel), recurrent])
    inputs = [np.zeros((5, 3, 2)), np.ones((5, 64))]
    y = model.run(inputs, training=True).y
    assert set(np.unique(y)) == {0.0, 8.0}  # either three times doubled, or dropped each time
    assert 0.35 < (y == 0).mean() < 0.65
    assert not (y[0] == y[1]).all()
    np.testing.assert_array_equal(model.run(inputs).y, np.ones((5, 64)))
    assert not np.array_equal(model.run(inputs, training=True).y, y)  # another pass


def test_each_gate_drops_others():
    """GRU without nonlinearity: z and r and what they let through see h, each without some."""
    layer = layers.GRU(32, None, None, use_bias=False, recurrent_dropout=0.5)
    x, h = Input((1, 2)), Input((32,))
    model = Model([x, h], layer(x, initial_state=h))
    kernel, _ = model.get_weights()
    recurrent = np.concatenate([np.eye(32), np.eye(32), np.eye(32)], axis=1)
    model.set_weights([np.zeros_like(kernel), recurrent])
    y = model.run([np.zeros((4, 1, 2)), np.ones((4, 32))], training=True).y
    # z, r and m are 0 or 2 apart from each other: h = z + (1 - z) r m.
    assert set(np.unique(y)) == {0.0, 2.0, 4.0, -2.0}


def test_layers_of_one_seed_drop_the_same():
    def output(first, second):
        x = Input((4, 3))
        make = [
            layers.LSTM(
                6, dropout=0.3, recurrent_dropout=0.3, seed=seed, kernel_initializer="ones"
            )(x)
            for seed in (first, second)
        ]
        model = Model(x, make)
        weights = model.get_weights()
        model.set_weights(weights[:3] * 2)
        a, b = model.run(np.ones((2, 4, 3)), training=True).y
        return np.array_equal(a, b)

    assert output(7, 7)
    assert not output(7, 8)
    assert not output(None, None)


# -------------------------------------------------------------------------------------- states


@pytest.mark.parametrize("name", ["LSTM", "GRU", "SimpleRNN"])
def test_an_encoder_hands_its_states_to_a_decoder(name, backend):
    make = getattr(layers, name)
    x, y = Input((4, 3)), Input((5, 2))
    _, *states = make(6, return_state=True)(x)
    outputs = make(6, return_sequences=True)(y, initial_state=states)
    model = Model([x, y], layers.Dense(1)(outputs))
    data = [RNG(3).standard_normal((8, 4, 3)), RNG(4).standard_normal((8, 5, 2))]
    if backend == "numpy":
        assert gradient_check(model, data, elements=6) < 1e-6
    model.to(backend)
    model.compile("adam", "mse")
    losses = model.fit(data, np.ones((8, 5, 1)), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_one_tensor_may_be_both_states():
    x, s = Input((4, 3)), Input((5,))
    model = Model([x, s], layers.LSTM(5)(x, initial_state=[s, s]))
    assert gradient_check(model, [X, RNG(1).standard_normal((3, 5))]) < 1e-6


def test_states_alone_are_enough():
    x = Input((4, 3))
    _, h, c = layers.LSTM(5, return_state=True)(x)
    assert gradient_check(Model(x, c), X) < 1e-6
    assert gradient_check(Model(x, [c, h]), X) < 1e-6


def test_sequences_of_any_length():
    layer = layers.LSTM(5, return_sequences=True)
    model = Model(x := Input((None, 3)), layers.SimpleRNN(2)(layer(x)))
    assert layer.output.shape == (None, None, 5)
    for steps in (2, 6):
        assert model.predict(np.ones((3, steps, 3)), verbose=0).shape == (3, 2)


KEPT = [
    lambda **o: layers.LSTM(4, **o),
    lambda **o: layers.GRU(4, **o),
    lambda **o: layers.SimpleRNN(4, **o),
    lambda **o: layers.RNN([layers.LSTMCell(3), Leaky(4)], **o),
]


@pytest.mark.parametrize("make", KEPT, ids=["lstm", "gru", "simple", "rnn"])
def test_a_stateful_layer_goes_on_where_the_last_batch_ended(make, backend):
    layer = make(stateful=True, return_sequences=True)
    model = Sequential([Input((3, 2), batch_size=2), layer]).to(backend)
    free = Sequential([Input((6, 2)), make(return_sequences=True)]).to(backend)
    free.set_weights(model.get_weights())
    x = RNG(5).standard_normal((2, 6, 2))
    whole = free.predict(x, verbose=0)
    parts = [model.predict(x[:, :3], verbose=0), model.predict(x[:, 3:], verbose=0)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-6)
    assert not np.allclose(model.predict(x[:, :3], verbose=0), whole[:, :3])
    layer.reset_states()
    np.testing.assert_allclose(model.predict(x[:, :3], verbose=0), whole[:, :3], atol=1e-6)


def stateful_model(backend="numpy", batch_size=2, stateful=True):
    model = Sequential(
        [
            Input((3, 2), batch_size=batch_size),
            layers.LSTM(4, stateful=stateful, return_sequences=True),
            layers.GRU(3, stateful=stateful),
            layers.Dense(1),
        ]
    ).to(backend)
    model.compile("adam", "mse")
    return model


def test_states_are_saved_with_the_weights(tmp_path):
    x = RNG(6).standard_normal((2, 3, 2))
    model, other = stateful_model(), stateful_model()
    model.predict(x, verbose=0)
    model.save_weights(tmp_path / "weights.npz")
    other.load_weights(tmp_path / "weights.npz")
    np.testing.assert_array_equal(model.predict(x, verbose=0), other.predict(x, verbose=0))
    # A model of another batch size, or without states, takes the weights alone.
    for one in (stateful_model(batch_size=1), stateful_model(stateful=False)):
        one.load_weights(tmp_path / "weights.npz")
        for a, b in zip(one.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert not stateful_model(batch_size=1).layers[0].states[0].any()


def test_states_are_no_weights():
    model = stateful_model()
    assert len(model.get_weights()) == 8 == len(model.trainable_weights)
    assert model.count_params() == stateful_model(stateful=False).count_params()
    lstm, x = model.layers[0], RNG(6).standard_normal((2, 3, 2))
    assert (len(lstm.get_weights()), len(lstm.states)) == (3, 2)
    model.predict(x, verbose=0)
    before = lstm.states
    first = model.predict(x, verbose=0)
    lstm.reset_state(before)
    for a, b in zip(lstm.states, before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert first.shape == (2, 1)
    with pytest.raises(ShapeError, match="LSTM 'lstm' has 2 weights, got 1"):
        lstm.reset_state(before[:1])


@pytest.mark.emulator
def test_stateful_training_on_the_device():
    x, y = RNG(6).standard_normal((6, 3, 2)), RNG(7).standard_normal((6, 1))
    fit = {"batch_size": 2, "shuffle": False, "verbose": 0, "epochs": 3}
    model, other = stateful_model(), stateful_model("emulator")
    other.set_weights(model.get_weights())
    for one in (model, other):
        one.fit(x, y, **fit)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for a, b in zip(model.layers[0].states, other.layers[0].states, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    other.layers[0].reset_state()
    assert not any(state.any() for state in other.layers[0].states)
    assert other.layers[1].states[0].any()


def test_gradients_of_a_stateful_layer():
    layer = layers.LSTM(4, stateful=True)
    model = Sequential([Input((4, 3), batch_size=3), layer])
    dy = RNG(1).standard_normal((3, 4))

    def run(x):
        layer.reset_state()
        model.run(X)
        return model.run(x, training=True)

    model.to("numpy", dtype="float64")
    dx = run(X).backward(dy)
    shifted = X.copy()
    shifted[1, 2, 0] += 1e-6
    numeric = ((run(shifted).y - run(X).y) * dy).sum() / 1e-6
    np.testing.assert_allclose(dx[1, 2, 0], numeric, rtol=1e-5)


# ------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RNN(3), "RNN takes a cell, a Layer with a state_size, or a list"),
        (lambda: layers.RNN(layers.Dense(3)), "RNN takes a cell, a Layer with a state_size"),
        (lambda: layers.RNN([]), r"StackedRNNCells takes a list of cells, got \[\]"),
        (lambda: layers.RNN([Leaky(), 2]), "StackedRNNCells takes a cell"),
        (lambda: layers.RNN(Leaky(0)), "RNN takes a cell whose state_size is a positive integer"),
        (lambda: layers.RNN([cell := Leaky(), cell]), "takes each cell once; make another one"),
        (lambda: layers.GRUCell(2)(Input((3,))), r"call layers.RNN\(cell\) on a sequence"),
        (lambda: layers.StackedRNNCells([Leaky()])(Input((3,))), "is a step of a recurrent layer"),
        (lambda: layers.LSTMCell(0), "LSTM takes a positive integer for units, got 0"),
        (lambda: layers.LSTM(2)(Input((4, 3)), initial_state=Input((2,))), "has 2 state.s., got"),
        (lambda: layers.GRU(2, stateful=True)(Input((4, 3))), r"say for how many .* batch_size="),
        (lambda: Input((3,), batch_size=0), "takes a positive integer for batch_size, got 0"),
        (lambda: Input((3,), batch_shape=(2, 3)), r"takes a shape, or in its place a batch_shape"),
        (lambda: Input(batch_shape=()), r"takes a shape, or in its place a batch_shape"),
        (lambda: Input(batch_size=3), r"takes a shape, or in its place a batch_shape"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_a_batch_shape_says_the_batch_size():
    x = Input(batch_shape=(2, None, 3))
    assert (x.batch_size, x.shape) == (2, (None, None, 3))
    assert Input(batch_shape=(None, 3)).batch_size is None
    model = Sequential([x, layers.GRU(2, stateful=True)])
    assert model.predict(np.ones((2, 5, 3)), verbose=0).shape == (2, 2)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match=r"takes an initial_state of shape \(None, 2\), got \(N"):
        layers.GRU(2)(Input((4, 3)), initial_state=Input((5,)))
    model = Sequential([Input((4, 3), batch_size=2), layers.GRU(2, stateful=True)])
    with pytest.raises(ShapeError, match="keeps states of 2 samples, got a batch of 3; feed batc"):
        model.predict(X, verbose=0)


# ------------------------------------------------------------------------------------- configs


def test_models_of_cells_are_copied():
    cells = [layers.LSTMCell(2), Leaky(3)]
    model = Sequential([Input((3, 2), batch_size=2), layers.RNN(cells, stateful=True)])
    x = RNG(6).standard_normal((2, 3, 2))
    for copy in (
        clone_model(model),
        model_from_json(model.to_json(), {"Leaky": Leaky}),
    ):
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict(x, verbose=0), model.predict(x, verbose=0))
        model.layers[0].reset_state()


def test_a_summary_of_a_stateful_model_takes_its_batch_size(capsys):
    stateful_model().summary()
    assert "at batch size 2" in capsys.readouterr().out
