"""After warm-up a step allocates nothing as large as a tensor."""

import tracemalloc

import numpy as np
import pytest

from gpunet import Sequential, layers
from gpunet.engine.stepper import Stepper
from gpunet.engine.steps import TRAIN

ROWS, WIDTH = 1024, 256  # each activation holds 1 MB
SMALL = 512 * 1024  # ops work in blocks that fit into a cache


@pytest.fixture
def model():
    stack = [layers.Dropout(0.3), layers.Dense(WIDTH, "tanh"), layers.Dense(WIDTH, "softmax")]
    first = layers.Dense(WIDTH, "relu", input_dim=WIDTH)
    model = Sequential([layers.Rescaling(0.5, input_dim=WIDTH), first, *stack])
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, WIDTH)).astype(np.float32)
    return x, np.eye(WIDTH, dtype=np.float32)[rng.integers(0, WIDTH, ROWS)]


def peak_of(steps):
    """The most memory that these calls hold at a time beyond what was there before, in bytes."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        steps()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def test_steps_of_fit_allocate_nothing(model, data):
    model.prepare(data[0])
    stepper = Stepper(model, TRAIN, model.samples(*data), ROWS)
    stepper.step(ROWS)
    assert peak_of(lambda: [stepper.step(ROWS) for _ in range(3)]) < SMALL


def test_train_on_batch_allocates_nothing(model, data):
    model.train_on_batch(*data)
    assert peak_of(lambda: [model.train_on_batch(*data) for _ in range(3)]) < SMALL


def test_test_on_batch_allocates_nothing(model, data):
    model.test_on_batch(*data)
    assert peak_of(lambda: [model.test_on_batch(*data) for _ in range(3)]) < SMALL


def test_a_pass_by_hand_allocates_what_it_returns_and_nothing_else(model, data):
    def one_pass():
        model.run(data[0], training=True).backward(data[1], weights=True, inputs=False)

    one_pass()
    model.optimizer.step(model)
    returned = data[1].nbytes
    assert peak_of(one_pass) < returned + SMALL


def test_growing_and_shrinking_batches_use_one_arena(model, data):
    for rows in (1024, 512, 1000):
        model.fit(data[0][:rows], data[1][:rows], batch_size=rows, verbose=0)
    (lease,) = model.arenas._free
    assert lease.arena.size == model.training_plan(1024).nbytes


def test_a_second_fit_binds_only_what_reads_its_data(model, data, monkeypatch):
    model.fit(*data, batch_size=ROWS, verbose=0)
    bind, names = model.backend.bind, []

    def count(name, *arrays, **options):
        names.append(name)
        return bind(name, *arrays, **options)

    monkeypatch.setattr(model.backend, "bind", count)
    model.fit(*data, batch_size=ROWS, verbose=0)
    assert sorted(set(names)) == ["dropout", "gather", "next_batch"]


def test_what_is_bound_to_old_weights_is_dropped(model, data):
    model.fit(*data, batch_size=ROWS, verbose=0)
    model.layers[1].trainable = False
    model.fit(*data, batch_size=ROWS, verbose=0)
    (lease,) = model.arenas._free
    assert len(lease._bound) == 1
    model.compile("sgd", "mse")
    assert not model.arenas._free
