"""Passes in flight: micro-batches, several at once, frozen layers, memory and threads."""

import gc
import threading

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, optimizers
from gpunet.errors import DtypeError, ShapeError, UsageError

RNG = np.random.default_rng(0)
X, DY = RNG.standard_normal((8, 6)), RNG.standard_normal((8, 3))


@pytest.fixture
def model():
    stack = [layers.Dense(5, "tanh", input_dim=6), layers.Dense(3)]
    return Sequential(stack).to(dtype="float64")


def assert_same(ours, theirs, **tolerance):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


# --------------------------------------------------------------------------- gradients


def test_gradients_of_micro_batches_add_up_until_a_step(model):
    model.run(X).backward(DY)
    whole = model.get_gradients()
    optimizers.SGD(0.0).step(model)
    for part in (slice(0, 3), slice(3, 8)):
        model.run(X[part]).backward(DY[part])
    assert_same(model.get_gradients(), whole, rtol=1e-12)


def test_two_micro_batches_and_a_step_equal_one_batch(model):
    weights, results = model.get_weights(), []
    for parts in ([slice(0, 8)], [slice(0, 3), slice(3, 8)]):
        model.set_weights(weights)
        for part in parts:
            model.run(X[part]).backward(DY[part])
        optimizers.SGD(0.1, momentum=0.9).step(model)
        results.append(model.get_weights())
    assert_same(*results, rtol=1e-12)


def test_the_first_backward_after_a_step_overwrites(model):
    optimizer = optimizers.SGD(0.0)
    model.run(X).backward(DY)
    first = model.get_gradients()
    optimizer.step(model)
    model.run(X).backward(DY)
    assert_same(model.get_gradients(), first, rtol=0)


def test_a_training_step_uses_up_the_gradients_of_runs(model):
    model.compile("sgd", "mse")
    model.run(X).backward(DY)
    model.train_on_batch(X, DY)
    with pytest.raises(UsageError, match="no gradients"):
        model.optimizer.step(model)
    weights = model.get_weights()
    model.run(X).backward(DY)
    added_to_nothing = model.get_gradients()
    fresh = Sequential([layers.Dense(5, "tanh", input_dim=6), layers.Dense(3)])
    fresh.to(dtype="float64").set_weights(weights)
    fresh.run(X).backward(DY)
    assert_same(added_to_nothing, fresh.get_gradients(), rtol=0)


def test_without_weights_only_the_gradient_of_the_input_is_computed(model):
    both = model.run(X)
    dx = both.backward(DY)
    optimizers.SGD(0.0).step(model)
    before = model.get_gradients()
    np.testing.assert_allclose(model.run(X).backward(3 * DY, weights=False), 3 * dx)
    assert_same(model.get_gradients(), before, rtol=0)
    with pytest.raises(UsageError, match="no gradients"):
        optimizers.SGD(0.1).step(model)


def test_without_inputs_only_the_gradients_of_weights_are_computed(model):
    model.run(X).backward(DY)
    whole = model.get_gradients()
    optimizers.SGD(0.0).step(model)
    assert model.run(X).backward(DY, inputs=False) is None
    assert_same(model.get_gradients(), whole, rtol=0)


@pytest.mark.parametrize(
    ("weights", "inputs", "products"), [(True, True, 4), (False, True, 2), (True, False, 3)]
)
def test_ops_for_gradients_that_are_not_wanted_are_not_run(model, weights, inputs, products):
    run = model.run(X)
    records = run._plan.backward_records(weights, inputs)
    assert sum(r.op.name.startswith("gemm") for r in records) == products


# ------------------------------------------------------------------------ several runs


def test_two_runs_may_be_alive_at_once(model):
    first, second = model.run(X[:4]), model.run(X[4:])
    y_first, y_second = first.y.copy(), second.y.copy()
    dx_first, dx_second = first.backward(DY[:4]), second.backward(DY[4:])
    np.testing.assert_array_equal(y_first, model.predict_on_batch(X[:4]))
    np.testing.assert_array_equal(y_second, model.predict_on_batch(X[4:]))
    dx = model.run(X).backward(DY)
    np.testing.assert_allclose(np.concatenate([dx_first, dx_second]), dx, rtol=1e-12)


def test_outputs_and_gradients_outlive_their_run(model):
    run = model.run(X)
    y, dx = run.y, run.backward(DY)
    kept = y.copy(), dx.copy()
    del run
    gc.collect()
    model.run(X + 1).backward(DY + 1)
    np.testing.assert_array_equal(y, kept[0])
    np.testing.assert_array_equal(dx, kept[1])


def test_memory_returns_to_the_pool_and_is_used_again(model):
    for _ in range(3):
        model.run(X).backward(DY)
        gc.collect()
    assert len(model.arenas._free) == 1
    first, second = model.run(X), model.run(X)
    assert model.arenas._free == []
    first.close()
    first.close()  # once is enough, twice is no harm
    del second
    gc.collect()
    assert len(model.arenas._free) == 2


def test_memory_returns_after_fit_evaluate_and_predict(model):
    model.compile("sgd", "mse")
    for _ in range(3):
        model.fit(X, DY, batch_size=3, validation_data=(X, DY), verbose=0)
        model.evaluate(X, DY, verbose=0)
        model.predict(X, verbose=0)
    assert len(model.arenas._free) <= 2


@pytest.mark.parametrize("use", ["backward", "close"])
def test_a_used_run_says_that_it_cannot_be_used_again(model, use):
    run = model.run(X)
    run.backward(DY) if use == "backward" else run.close()
    with pytest.raises(UsageError, match=r"backward can be called once.*another run"):
        run.backward(DY)


def test_a_gradient_that_does_not_fit_is_refused_and_the_run_lives_on(model):
    run = model.run(X)
    with pytest.raises(ShapeError, match=r"shapes \[\(8, 3\)\], got \[\(8, 2\)\]"):
        run.backward(DY[:, :2])
    with pytest.raises(DtypeError, match="numbers, got dtype"):
        run.backward(np.full((8, 3), "1"))
    assert run.backward(DY).shape == X.shape


def test_forward_twice_and_backward_alone_are_refused(model):
    with pytest.raises(UsageError, match="without a forward"):
        model.backward(DY)
    model.forward(X)
    with pytest.raises(UsageError, match="forward was called twice"):
        model.forward(X)
    assert model.backward(DY).shape == X.shape
    with pytest.raises(UsageError, match="without a forward"):
        model.backward(DY)


# ---------------------------------------------------------------------- frozen layers


@pytest.mark.parametrize("when", ["before compile", "after compile", "after training"])
def test_a_frozen_layer_stays_as_it_is_and_its_gradient_is_not_computed(mlp, when, ops_of):
    model = mlp(optimizers.SGD(0.1, momentum=0.9))
    x, y = X.astype(np.float32), np.arange(8) % 3
    if when == "before compile":
        model = mlp()
        model.layers[0].trainable = False
        model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    if when == "after training":
        model.fit(x, y, verbose=0)
        model.train_on_batch(x, y)
    model.layers[0].trainable = False
    before = model.get_weights()
    model.fit(x, y, batch_size=4, epochs=2, verbose=0)
    model.train_on_batch(x, y)
    after = model.get_weights()
    assert_same(before[:2], after[:2], rtol=0)
    assert (before[2] != after[2]).all()
    names = ops_of(model.training_plan(4))
    assert names.count("gemm_column_sum") == 1
    assert "gemm_act_backward" not in names  # nothing below wants a gradient
    model.layers[0].trainable = True
    model.train_on_batch(x, y)
    assert (model.get_weights()[0] != after[0]).any()


def test_a_step_by_hand_leaves_a_frozen_layer_alone(model):
    model.layers[1].trainable = False
    before = model.get_weights()
    model.run(X).backward(DY)
    optimizers.Adam(0.1).step(model)
    after = model.get_weights()
    assert (before[0] != after[0]).any()
    assert_same(before[2:], after[2:], rtol=0)


def test_a_layer_thawed_between_micro_batches_gets_the_later_gradient_alone(model):
    model.run(X).backward(DY)
    optimizers.SGD(0.0).step(model)
    alone = model.get_gradients()
    model.layers[1].trainable = False
    model.run(X).backward(DY)
    model.layers[1].trainable = True
    model.run(X).backward(DY)
    frozen_once = model.get_gradients()
    assert_same(frozen_once[:2], [2 * g for g in alone[:2]], rtol=1e-12)
    assert_same(frozen_once[2:], alone[2:], rtol=1e-12)


def test_a_step_takes_nothing_old_for_a_gradient(model):
    """A layer that was frozen in backward and thawed before the step has no gradient."""
    optimizer = optimizers.SGD(0.1)
    model.run(X).backward(DY)
    optimizer.step(model)
    model.layers[1].trainable = False
    model.run(X).backward(DY)
    model.layers[1].trainable = True
    before = model.get_weights()
    optimizer.step(model)
    assert_same(model.get_weights()[2:], before[2:], rtol=0)
    assert (model.get_weights()[0] != before[0]).any()


# -------------------------------------------------------------------- shared weights


def gan():
    noise, data = Input((2,)), Input((3,))
    generator = [layers.Dense(4, "tanh", name="g0"), layers.Dense(3, name="g1")]
    discriminator = [layers.Dense(4, "tanh", name="d0"), layers.Dense(1, name="d1")]
    g = Model(noise, generator[1](generator[0](noise)))
    d = Model(data, discriminator[1](discriminator[0](data)))
    fake = g.graph.outputs[0]
    both = Model(noise, discriminator[1](discriminator[0](fake)))
    return g, d, both


def test_a_discriminator_is_shared_without_being_trained_by_the_generator():
    g, d, both = gan()
    g_before, d_before = g.get_weights(), d.get_weights()
    run = d.run(g.predict_on_batch(np.ones((4, 2))))
    dx = run.backward(np.ones((4, 1)), weights=False)
    g.run(np.ones((4, 2))).backward(dx)
    optimizers.SGD(0.1).step(g)
    assert_same(d.get_weights(), d_before, rtol=0)
    assert (g.get_weights()[0] != g_before[0]).any()
    assert_same(both.get_weights(), g.get_weights() + d.get_weights(), rtol=0)


def test_a_step_of_a_joint_model_uses_only_gradients_that_are_waiting():
    g, d, both = gan()
    d.run(np.ones((4, 3))).backward(np.ones((4, 1)))
    optimizers.SGD(0.1).step(d)
    before = d.get_weights()
    g.run(np.ones((4, 2))).backward(np.ones((4, 3)))
    optimizers.SGD(0.1).step(both)
    assert_same(d.get_weights(), before, rtol=0)


def test_training_one_model_moves_the_weights_of_the_other():
    _, d, both = gan()
    both.compile("sgd", "mse")
    before = d.get_weights()
    both.train_on_batch(np.ones((4, 2)), np.zeros((4, 1)))
    assert (d.get_weights()[0] != before[0]).any()
    x = np.ones((2, 3), np.float32)
    hidden = np.tanh(x @ d.get_weights()[0] + d.get_weights()[1])
    expected = hidden @ d.get_weights()[2] + d.get_weights()[3]
    np.testing.assert_allclose(d.predict_on_batch(x), expected, rtol=1e-5)


def test_a_model_of_some_layers_of_a_block_leaves_the_others_alone():
    x, dense = Input((4,)), [layers.Dense(4) for _ in range(4)]
    y = x
    for layer in dense:
        y = layer(y)
    whole, some = Model(x, y), Model(x, dense[2](dense[0](x)))
    some.compile(optimizers.Adam(0.1), "mse")
    before = whole.get_weights()
    some.train_on_batch(np.ones((4, 4)), np.zeros((4, 4)))
    assert len(some.spans) == 2
    changed = [(a != b).any() for a, b in zip(before, whole.get_weights(), strict=True)]
    assert changed == [True, True, False, False, True, True, False, False]


def test_a_model_whose_shared_weights_were_moved_says_so_and_goes_on_when_moved_too():
    g, _, both = gan()
    g.compile("sgd", "mse")
    x, y = np.ones((4, 2)), np.ones((4, 3))
    g.train_on_batch(x, y)
    both.to(dtype="float64")
    for use in (lambda: g.train_on_batch(x, y), lambda: g.predict(x, verbose=0), lambda: g.run(x)):
        with pytest.raises(UsageError, match=r"shares with another model were moved to.*float64"):
            use()
    both.to(dtype="float32")
    before = g.get_weights()
    g.train_on_batch(x, y)
    assert all((a != b).any() for a, b in zip(before, g.get_weights(), strict=True))


# ----------------------------------------------------------------------------- threads


def test_predict_from_several_threads(mlp):
    model = mlp()
    batches = [np.random.default_rng(i).standard_normal((5 + i % 12, 6)) for i in range(48)]
    expected = [model.predict_on_batch(x) for x in batches]
    results, errors = [None] * len(batches), []
    start = threading.Barrier(6)

    def work(worker):
        try:
            start.wait()
            for _ in range(4):
                for i in range(worker, len(batches), 6):
                    results[i] = model.predict(batches[i], batch_size=4, verbose=0)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert_same(results, expected, rtol=1e-5, atol=1e-6)
