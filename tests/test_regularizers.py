"""Regularizers and constraints against Keras, central differences and the emulator."""

import doctest
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

import gpunet
from gpunet import Input, Model, Sequential, constraints, layers, ops, optimizers, regularizers
from gpunet.backend import backend_named
from gpunet.errors import ArgumentError, ShapeError
from gpunet.testing import compare, gradient_check

GOLDEN = Path(__file__).parent / "golden"


def load(name):
    spec = importlib.util.spec_from_file_location(name, GOLDEN / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


penalties = load("penalties")
NUMBERS = json.loads(penalties.PATH.read_text())


def built(name, dtype="float64"):
    model, x, y, loss, fit = penalties.SETUPS[name](gpunet)
    model.ensure_built(x)
    model.graph  # noqa: B018 - a Sequential is built when its graph is asked for
    model.to("numpy", dtype=dtype)
    penalties.start(model)
    return model, x, y, loss, fit


@pytest.mark.parametrize("golden", NUMBERS)
def test_training_is_that_of_keras(golden):
    name, optimizer = golden.split("-")
    model, x, y, loss, fit = built(name)
    rate = getattr(optimizers, optimizer)(0.125)
    ours, keras = penalties.train(model, x, y, loss, fit, rate), NUMBERS[golden]
    # Keras keeps the mean of the losses in float32.
    np.testing.assert_allclose(ours["losses"], keras["losses"], rtol=3e-7)
    np.testing.assert_allclose(ours["evaluate"], keras["evaluate"], rtol=3e-7)
    for mine, theirs in zip(ours["weights"], keras["weights"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("golden", NUMBERS)
def test_float32_stays_close(golden):
    name, optimizer = golden.split("-")
    model, x, y, loss, fit = built(name, "float32")
    rate = getattr(optimizers, optimizer)(0.125)
    ours, keras = penalties.train(model, x, y, loss, fit, rate), NUMBERS[golden]
    np.testing.assert_allclose(ours["losses"], keras["losses"], rtol=1e-4)


def without_constraints(model):
    for parameter in model.parameters:
        parameter.constraint = None


@pytest.mark.parametrize("name", penalties.SETUPS)
def test_a_step_follows_the_slope_of_the_reported_loss(name):
    """One step of SGD with learning rate 1 moves each weight by the loss' central difference."""
    model, x, y, loss, fit = built(name)
    without_constraints(model)
    model.compile(optimizers.SGD(1.0), loss)
    before = model.get_weights()
    model.train_on_batch(x, y, **fit)
    after = model.get_weights()
    for number, parameter in enumerate(model.parameters):
        for index in list(np.ndindex(before[number].shape))[:12]:
            losses = []
            for step in (1e-6, -1e-6):
                moved = [w.copy() for w in before]
                moved[number][index] += step
                model.set_weights(moved)
                losses.append(model.test_on_batch(x, y, **fit))
            slope = (losses[0] - losses[1]) / 2e-6 if parameter.is_trainable else 0.0
            moved_by = before[number][index] - after[number][index]
            assert moved_by == pytest.approx(slope, rel=2e-6, abs=2e-7), (parameter, index)


@pytest.mark.emulator
@pytest.mark.parametrize("name", penalties.SETUPS)
def test_kernels_agree_with_numpy(name):
    model, x, y, loss, _ = built(name, "float32")
    model.compile(optimizers.SGD(0.1, momentum=0.5), loss)
    comparison = compare(model, "numpy", "emulator", x, y)
    assert comparison.ok, str(comparison)


def test_a_loop_of_your_own_does_the_same_step():
    """Run.backward has the outputs' penalties, step has those of the weights."""
    (trained, x, y, loss, _), (stepped, *_) = built("rank_3"), built("rank_3")
    trained.compile(optimizers.SGD(0.5), loss)
    reported = trained.train_on_batch(x, y)
    run = stepped.run(x, training=True)
    mean = ((run.y - y) ** 2).mean()
    assert mean + run.penalty + sum(stepped.losses) == pytest.approx(reported, rel=1e-9)
    run.backward(2 * (run.y - y) / y.size)
    optimizers.SGD(0.5).step(stepped)
    for ours, theirs in zip(stepped.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_micro_batches_have_the_penalty_of_a_weight_once():
    model = Sequential([layers.Dense(2, use_bias=False, kernel_regularizer="l2", input_dim=3)])
    run, before = model.run(np.ones((1, 3)), training=True), model.get_weights()[0]
    for _ in range(3):
        model.run(np.ones((1, 3)), training=True).backward(np.zeros_like(run.y))
    optimizers.SGD(0.5).step(model)
    np.testing.assert_allclose(model.get_weights()[0], before * (1 - 0.5 * 0.02), rtol=1e-6)


def test_gradient_check_includes_penalties_of_outputs():
    stack = [layers.Dense(4, "tanh", input_dim=3, activity_regularizer="l1_l2")]
    model = Sequential([*stack, layers.Dense(2, activity_regularizer=regularizers.L2(0.7))])
    assert gradient_check(model, penalties.wave(5, 3)) < 1e-6


def test_a_layer_of_its_own_does_the_same():
    reports = []
    for apart in (False, True):
        regularizer = None if apart else regularizers.L1L2(0.1, 0.2)
        stack = [layers.Dense(4, "tanh", input_dim=3, activity_regularizer=regularizer)]
        stack += [layers.ActivityRegularization(0.1, 0.2)] if apart else []
        model = Sequential([*stack, layers.Dense(2)])
        assert gradient_check(model, penalties.wave(5, 3)) < 1e-6
        penalties.start(model)
        model.compile("sgd", "mse")
        x, y = penalties.wave(5, 3), penalties.wave(5, 2)
        before = model.evaluate(x, y, verbose=0)
        reports.append([before, model.train_on_batch(x, y), *map(np.sum, model.get_weights())])
    np.testing.assert_allclose(reports[0], reports[1], rtol=1e-6)
    assert reports[0][0] == pytest.approx(reports[0][1], rel=1e-6)


def test_layers_of_your_own_have_regularized_weights():
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.add_weight("factor", (input_shape[-1],), "ones", regularizer="l2")

        def forward(self, op, c):
            op.bias_act(c.y, c.x, c.factor, activation="linear")

        def backward(self, op, c):
            op.bias_act_backward(c.dx, c.dfactor, c.dy, None, activation="linear")

    model = Sequential([layers.Flatten(input_dim=3), Scale()])
    model.compile("sgd", "mse")
    x = np.zeros((4, 3), np.float32)
    assert model.test_on_batch(x, x) == pytest.approx(1.0 + 0.03)
    assert model.losses == [pytest.approx(0.03)]


def test_one_launch_and_no_memory(ops_of_plan):
    """All weights' penalties are one op, which adds nothing to the arena."""
    plans = []
    for regularizer in (None, "l2"):
        stack = [layers.Dense(16, kernel_regularizer=regularizer, input_dim=8)]
        model = Sequential([*stack, layers.Dense(4, kernel_regularizer=regularizer)])
        model.compile("sgd", "mse")
        plans.append(model.training_plan(32))
    assert ops_of_plan(plans[1]).count("weight_penalty") == 1
    assert len(plans[1].records) == len(plans[0].records) + 1
    assert plans[1].nbytes == plans[0].nbytes


@pytest.fixture
def ops_of_plan():
    return lambda plan: [record.op.name for record in plan.records]


@pytest.mark.parametrize(
    ("name", "factors"),
    [("l1", (0.01, 0.0)), ("L2", (0.0, 0.01)), ("l1_l2", (0.01, 0.01)), ("L1L2", (0.01, 0.01))],
)
def test_names(name, factors):
    made = regularizers.get(name)
    assert (made.l1, made.l2) == factors
    assert made(np.array([1.0, -2.0])) == pytest.approx(3 * factors[0] + 5 * factors[1])


def test_examples():
    for module in (regularizers, constraints):
        assert doctest.testmod(module).failed == 0


@pytest.mark.emulator
def test_nan_goes_through_the_kernels():
    backend = backend_named("emulator")
    nan = backend.from_numpy(np.array([[np.nan, 1.0, 2.0, 3.0, -4.0]], np.float32))
    penalty, dx = ops.activity_penalty(nan, l1=0.5)
    assert np.isnan(penalty)
    assert np.isnan(backend.to_numpy(dx)).tolist() == [[True, False, False, False, False]]
    ops.norm_constraint(nan, axis=0)
    assert np.isnan(backend.to_numpy(nan)).tolist() == [[True, False, False, False, False]]
    ops.norm_constraint(nan, axis=1)
    assert np.isnan(backend.to_numpy(nan)).all()


def test_nan_goes_through():
    assert np.isnan(regularizers.L1(0.1)([np.nan, 1.0]))
    assert np.isnan(constraints.NonNeg()([np.nan, 1.0])[0])
    assert np.isnan(constraints.MaxNorm()([[np.nan], [1.0]])).all()


@pytest.mark.parametrize(
    ("weight", "constraint"),
    [
        ((5, 4), constraints.MaxNorm(0.7)),
        ((5, 4), constraints.MaxNorm(0.7, axis=1)),
        ((3, 4, 5), constraints.UnitNorm(axis=[0, 1])),
        ((3, 4, 5), constraints.UnitNorm(axis=-1)),
        ((3, 4, 5), constraints.MinMaxNorm(1.0, 2.0, 0.3, axis=(1, 2))),
        ((7,), constraints.MaxNorm(0.5)),
        ((3, 4), constraints.MaxNorm(0.5, axis=None)),
    ],
)
def test_axes_as_keras_means_them(weight, constraint):
    w = penalties.wave(*weight)
    axis = tuple(constraint.axis) if isinstance(constraint.axis, list) else constraint.axis
    norms = np.sqrt((w**2).sum(axis=axis, keepdims=True))
    low, high = constraint.bounds
    wanted = constraint.rate * np.clip(norms, low, high) + (1 - constraint.rate) * norms
    np.testing.assert_allclose(constraint(w), w * wanted / (1e-7 + norms), rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: regularizers.get("l1l3"), "did you mean 'l1_l2'"),
        (lambda: regularizers.OrthogonalRegularizer(-1), "number of at least 0 for factor"),
        (lambda: regularizers.OrthogonalRegularizer(mode="row"), "'rows' or 'columns' for mode"),
        (lambda: regularizers.get(abs), "no automatic differentiation"),
        (lambda: regularizers.L2(-1), "L2 takes a number of at least 0 for l2, got -1"),
        (lambda: regularizers.L1("a lot"), "L1 takes a number"),
        (lambda: regularizers.L1L2(np.nan, 0), "L1L2 takes a number"),
        (lambda: constraints.get("max_nrom"), "did you mean 'MaxNorm'"),
        (lambda: constraints.get(abs), "subclass Constraint"),
        (lambda: constraints.MaxNorm(-1), "MaxNorm takes a number of at least 0 for max_value"),
        (lambda: constraints.MaxNorm(axis="0"), "integer"),
        (lambda: constraints.MinMaxNorm(2, 1), "min_value up to max_value, got 2 and 1"),
        (lambda: constraints.MinMaxNorm(rate=2), "rate from 0 to 1, got 2"),
        (lambda: layers.Dense(3, kernel_regularizer="l9"), "Unknown regularizer 'l9'"),
        (lambda: layers.Dense(3, lora_rank=4), "no low-rank adaptation"),
    ],
)
def test_errors(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_only_matrices_have_orthogonal_vectors():
    orthogonal = regularizers.OrthogonalRegularizer()
    with pytest.raises(ShapeError, match=r"of a matrix, got the shape \(3, 3, 1, 2\)"):
        layers.Conv2D(2, 3, kernel_regularizer=orthogonal)(Input((5, 5, 1)))
    with pytest.raises(ShapeError, match="of a matrix, got the shape"):
        orthogonal(np.ones(3))
    model = Sequential([layers.Dense(2, activity_regularizer=orthogonal, input_shape=(4, 3))])
    model.compile("sgd", "mse")
    with pytest.raises(ShapeError, match=r"layer 'dense.*', regularizer: OrthogonalRegularizer"):
        model.train_on_batch(np.ones((5, 4, 3)), np.ones((5, 4, 2)))


@pytest.mark.parametrize("mode", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(1, 4), (5, 3), (40, 300)])
def test_orthogonal_penalty_is_the_mean_cosine(mode, shape):
    w = penalties.wave(*shape, shift=0.5) * np.arange(1.0, shape[1] + 1)
    v = w if mode == "rows" else w.T
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    pairs = [abs(u[i] @ u[j]) for i in range(len(u)) for j in range(i)]
    wanted = 0.3 * np.mean(pairs) if pairs else 0.0
    assert regularizers.OrthogonalRegularizer(0.3, mode)(w) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("axis", "rank"), [(2, 2), ([0, 2], 3), ([0, 0], 2)])
def test_axes_that_do_not_fit(axis, rank):
    with pytest.raises(ShapeError, match=r"neighbouring axes .* got axis="):
        constraints.UnitNorm(axis)(np.ones((2,) * rank))
    with pytest.raises(ShapeError, match="neighbouring axes"):
        Model(x := Input((4,)), layers.Dense(3, kernel_constraint=constraints.MaxNorm(axis=2))(x))
