"""What a whole training step does with memory."""

import numpy as np
import pytest

from gpunet import Input, Sequential, layers, optimizers
from gpunet.backend import backend_named
from gpunet.emulator import record_accesses
from gpunet.engine.cost import least_bytes
from gpunet.engine.replay import Replay
from gpunet.engine.summary import readable_bytes
from gpunet.inspection.counters import count

pytestmark = pytest.mark.emulator


def classifier(units, inputs):
    hidden = [layers.Dense(units, "relu"), layers.Dense(units, "relu")]
    model = Sequential([Input((inputs,)), *hidden, layers.Dense(10, "softmax")]).to("emulator")
    model.compile(optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy")
    return model


def batch(rows, inputs):
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, inputs)).astype(np.float32)
    return x, random.integers(0, 10, rows)


@pytest.mark.parametrize(
    ("inputs", "units", "rows"),
    [(196, 128, 32), pytest.param(784, 512, 128, marks=pytest.mark.slow)],
)
def test_a_step_touches_what_it_must(inputs, units, rows):
    """Every op touches its arrays; what tiles of products read again comes from the cache."""
    replay = Replay(classifier(units, inputs), *batch(rows, inputs))
    touched = least = 0
    for record, call in zip(replay.records, replay.calls, strict=True):
        with record_accesses() as traces:
            call()
        touched += count(traces).touched
        least += least_bytes(record)
    assert len(replay.records) <= 16
    assert touched <= 1.1 * least


def test_the_arena_has_the_size_that_the_plan_says():
    model = classifier(128, 196)
    x, y = batch(32, 196)
    model.prepare(x)
    plan = model.training_plan(32)
    pool = backend_named("emulator").cp.get_default_memory_pool()
    for _ in range(3):
        model.train_on_batch(x, y)
    before = pool.used_bytes()
    (stepper,) = model._batch_steppers.values()
    assert stepper._lease.arena.nbytes == plan.nbytes
    stepper._programs.clear()
    stepper._lease._bound.clear()
    arena, stepper._lease.arena = stepper._lease.arena, None
    del arena
    assert before - pool.used_bytes() == pytest.approx(plan.nbytes, abs=1024)
    text = []
    model.summary(batch_size=32, print_fn=text.append)
    assert any(f"{readable_bytes(plan.nbytes)} of activations" in line for line in text)
