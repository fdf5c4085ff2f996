"""Captured steps: one launch, the bits of the ops one by one, and no waiting for the device."""

import numpy as np
import pytest

from gpunet import (
    Input,
    Model,
    Sequential,
    callbacks,
    layers,
    optimizers,
    schedules,
    set_matmul_precision,
)
from gpunet.backend.cuda import CudaBackend
from gpunet.emulator import record_launches, record_synchronizations
from gpunet.utils import set_random_seed

pytestmark = pytest.mark.emulator

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 6)).astype(np.float32)
Y = RNG.integers(0, 3, len(X))


@pytest.fixture
def op_by_op(monkeypatch):
    """A switch: from its call on nothing is captured."""
    return lambda: monkeypatch.setattr(CudaBackend, "capture", lambda self, calls: None)


def classifier(optimizer=None, **options):
    set_random_seed(7)
    model = Sequential(
        [
            Input((6,)),
            layers.Dense(8, "relu", name="hidden"),
            layers.Dropout(0.3),
            layers.Dense(3, "softmax"),
        ]
    ).to("emulator")
    chosen = optimizer() if optimizer else optimizers.SGD(0.1, momentum=0.9)
    model.compile(chosen, "sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    return model


def bits(model):
    return [w.tobytes() for w in model.get_weights()]


def changes_on_the_way(model):
    """20 steps with all that may change between two of them; a partial batch of another size."""
    losses = []
    for step in range(20):
        size = 5 if step % 7 == 6 else 16
        start = 16 * (step % 3)
        if step == 8:
            model.optimizer.learning_rate = 0.02
        if step == 11:
            model.set_weights([0.9 * w for w in model.get_weights()])
        if step == 14:
            model.get_layer("hidden").trainable = False
        if step == 17:
            model.get_layer("hidden").trainable = True
        losses.append(model.train_on_batch(X[start : start + size], Y[start : start + size])[0])
    return losses


OPTIMIZERS = {
    "momentum": None,
    "schedule": lambda: optimizers.Adam(schedules.ExponentialDecay(0.01, 3, 0.9)),
    "nadam": lambda: optimizers.Nadam(0.01),
    "accumulating": lambda: optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "clipped, averaged": lambda: optimizers.AdamW(0.01, global_clipnorm=0.5, use_ema=True),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_captured_steps_have_the_same_bits(optimizer, op_by_op):
    if optimizer == "schedule":  # a schedule's rate cannot be set
        run = lambda model: model.fit(X, Y, batch_size=10, epochs=4, verbose=0).history["loss"]  # noqa: E731
    else:
        run = changes_on_the_way
    captured = classifier(OPTIMIZERS[optimizer])
    losses = run(captured)
    op_by_op()
    plain = classifier(OPTIMIZERS[optimizer])
    assert run(plain) == losses
    assert bits(plain) == bits(captured)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("steps", [2, 3, 50])
def test_steps_per_execution_change_nothing(steps, optimizer):
    def trained(at_once):
        model = classifier(OPTIMIZERS[optimizer], steps_per_execution=at_once)
        history = model.fit(X, Y, batch_size=5, epochs=5, verbose=0).history
        return history, bits(model), model.passes

    assert trained(1) == trained(steps)


def launches_of_last_epoch(model, **options):
    names = []

    class Last(callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.recording = record_launches()
                names.append(self.recording.__enter__())

        def on_epoch_end(self, epoch, logs=None):
            if epoch == 3:
                self.recording.__exit__(None, None, None)

    model.fit(X, Y, epochs=4, verbose=0, callbacks=[Last()], **options)
    return [launch.name for launch in names[0]]


def test_a_captured_step_is_one_launch():
    names = launches_of_last_epoch(classifier(), batch_size=8)
    assert [name for name in names if name == "graph"] == ["graph"] * 6
    # What is left starts the epoch: totals are set to zero.
    assert set(names) - {"graph"} <= {"fill_bytes8"}
    assert len(names) <= 6 + 2


def test_steps_per_execution_is_one_launch_for_all():
    names = launches_of_last_epoch(classifier(steps_per_execution=3), batch_size=8)
    assert names.count("graph") == 2
    partial = launches_of_last_epoch(classifier(steps_per_execution=4), batch_size=8)
    assert partial.count("graph") == 2  # four steps, then two


def test_fit_waits_for_the_device_only_to_read_its_progress():
    model = classifier()
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)  # plans and kernels are made
    waits = []

    class Steps(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.recording = record_synchronizations()
            waits.append(self.recording.__enter__())

        def on_train_batch_end(self, batch, logs=None):
            self.recording.__exit__(None, None, None)

    with record_synchronizations() as all_waits:
        model.fit(X, Y, batch_size=8, epochs=5, verbose=0, callbacks=[Steps()])
    assert len(waits) == 30
    assert sum(map(len, waits)) == 0
    assert len(all_waits) <= 5 * 2  # losses and metrics, once an epoch


def test_python_in_a_layer_splits_the_graph():
    class Doubled(layers.Layer):
        def forward(self, op, c):
            op.python(lambda y, x: y.set(2 * x.get()), [c.y], [c.x])

        def backward(self, op, c):
            op.python(lambda dx, dy: dx.set(2 * dy.get()), [c.dx], [c.dy])

    set_random_seed(1)
    x = Input((6,))
    model = Model(x, layers.Dense(3)(Doubled()(layers.Dense(4, "tanh")(x)))).to("emulator")
    model.compile("sgd", "mse")
    one_hot = np.eye(3, dtype=np.float32)[Y]
    for _ in range(3):
        model.train_on_batch(X, one_hot)
    with record_launches() as launches:
        model.train_on_batch(X, one_hot)
    assert [launch.name for launch in launches].count("graph") == 3


def test_what_a_graph_freezes_is_the_same_in_every_step(op_by_op):
    op_by_op()
    model = classifier()
    steps = []
    for _ in range(4):
        with record_launches() as launches:
            model.train_on_batch(X[:16], Y[:16])
        start = [launch.name for launch in launches].index("next_batch")
        steps.append([(x.name, x.grid, x.block, x.arguments) for x in launches[start:]])
    assert steps[1] == steps[2] == steps[3]


def test_predict_and_passes_of_ones_own_are_captured_too(op_by_op):
    def everything():
        model = classifier()
        outputs = [model.predict_on_batch(X) for _ in range(4)]
        optimizer = optimizers.SGD(0.1, momentum=0.9)
        for _ in range(4):
            runs = [model.run(X, training=True) for _ in range(2)]
            outputs += [run.y.get() for run in runs]
            outputs += [run.backward(run.y).get() for run in runs]
            optimizer.step(model)
        return [values.tobytes() for values in outputs], bits(model)

    captured = everything()
    model = classifier()
    for _ in range(3):
        model.predict_on_batch(X)
    with record_launches() as launches:
        model.predict_on_batch(X)
    assert [launch.name for launch in launches] == ["graph"]
    op_by_op()
    assert everything() == captured


def test_another_precision_of_products_is_another_graph():
    model = classifier()
    for _ in range(3):
        model.predict_on_batch(X)
    set_matmul_precision("tf32")
    try:
        with record_launches() as launches:
            model.predict_on_batch(X)
        assert "graph" not in [launch.name for launch in launches]  # a plan's first use
    finally:
        set_matmul_precision("ieee")
    with record_launches() as launches:
        model.predict_on_batch(X)
    assert [launch.name for launch in launches] == ["graph"]
