"""Data sets that do not fit on the device, or not into memory."""

import contextlib
import gc

import numpy as np
import pytest

from gpunet import Input, Sequential, callbacks, layers, optimizers
from gpunet.backend import backend_named
from gpunet.emulator import cupy, late_streams, record_launches, record_synchronizations
from gpunet.engine import feed
from gpunet.engine.feed import Feed, StreamedFeed, feed_of
from gpunet.utils import set_random_seed

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (75, 6)).astype(np.uint8)
Y = RNG.integers(0, 3, len(X))
WEIGHTS = RNG.uniform(0.5, 2, len(X)).astype(np.float32)
BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]


@pytest.fixture
def little_room(monkeypatch):
    """A switch: from its call on no data set fits, and a window holds about 20 samples."""

    def switch(backend):
        backend = backend_named(backend)
        monkeypatch.setattr(type(backend), "room", lambda self: 100)
        # On the CPU, where host arrays are the device's, the feed has to be asked for.
        monkeypatch.setattr(
            "gpunet.engine.stepper.feed_of",
            lambda *arguments: StreamedFeed(*arguments),
        )
        monkeypatch.setattr(feed, "WINDOW_BYTES", 20 * (6 + 4 + 4))

    return switch


def trained(backend, epochs=3, **options):
    set_random_seed(5)
    model = Sequential(
        [
            Input((6,), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Dense(8, "relu"),
            layers.Dropout(0.2),
            layers.Dense(3, "softmax"),
        ]
    ).to(backend)
    model.compile(
        optimizers.Adam(0.01),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        steps_per_execution=options.pop("steps_per_execution", 1),
    )
    data = {"x": X, "y": Y.astype(np.int32), "sample_weight": WEIGHTS}
    validation = (X[:33], Y[:33].astype(np.int32))
    history = model.fit(
        **data | options, epochs=epochs, batch_size=8, validation_data=validation, verbose=0
    ).history
    return history, [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("steps", [1, 3])
def test_streamed_training_has_the_same_bits(backend, steps, little_room):
    resident = trained(backend)
    little_room(backend)
    assert trained(backend, steps_per_execution=steps) == resident


@pytest.mark.emulator
@pytest.mark.parametrize("own_stream", [False, True])
def test_copies_and_kernels_that_come_as_late_as_they_may_change_nothing(own_stream, little_room):
    resident = trained("emulator")
    little_room("emulator")
    stream = cupy.cuda.Stream(non_blocking=True) if own_stream else contextlib.nullcontext()
    with late_streams(), stream:
        assert trained("emulator") == resident


@pytest.mark.emulator
def test_who_stops_in_the_middle_waits_for_the_copies_under_way(little_room):
    """Else they would write into memory that CuPy has given to others meanwhile."""
    little_room("emulator")

    class Stop(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise ArithmeticError

    with late_streams(), record_synchronizations() as waits:
        with pytest.raises(ArithmeticError):
            trained("emulator", steps_per_execution=2, callbacks=[Stop()])
        gc.collect()
    assert waits[-1] == "Stream.synchronize"


@pytest.mark.emulator
def test_what_fits_is_on_the_device_and_what_does_not_is_streamed(monkeypatch):
    emulator = backend_named("emulator")
    model = Sequential([Input((6,)), layers.Dense(3, "softmax")]).to("emulator")
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.prepare(X)
    assert isinstance(feed_of(emulator, model.samples(X, Y), 8), Feed)
    nbytes = sum(array.nbytes for array in model.samples(X, Y).arrays)
    monkeypatch.setattr(type(emulator), "room", lambda self: nbytes - 1)
    assert isinstance(feed_of(emulator, model.samples(X, Y), 8), StreamedFeed)


@pytest.mark.emulator
def test_a_memory_mapped_file_larger_than_the_device_trains(tmp_path, little_room):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    resident = trained("emulator")
    assert trained("numpy", x=mapped)[0].keys() == resident[0].keys()
    little_room("emulator")
    assert trained("emulator", x=mapped) == resident


@pytest.mark.emulator
def test_streaming_neither_waits_nor_launches_more(little_room):
    little_room("emulator")
    waits, names = [], []

    class Steps(callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.recordings = record_synchronizations(), record_launches()
            waits.append(self.recordings[0].__enter__())
            names.append(self.recordings[1].__enter__())

        def on_train_batch_end(self, batch, logs=None):
            for recording in self.recordings:
                recording.__exit__(None, None, None)

    trained("emulator", epochs=9, callbacks=[Steps()])
    assert sum(map(len, waits)) == 0
    last = [launch.name for launches in names[-9:] for launch in launches]
    assert last == ["graph"] * 9 or set(last[-9:-1]) == {"graph"}


@pytest.mark.parametrize("order", [np.arange(10), np.arange(10)[::-1]])
@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_windows_hold_whole_batches_in_order(order, batch_size, monkeypatch):
    """The feed alone, on NumPy: what each step would gather."""
    monkeypatch.setattr(feed, "WINDOW_BYTES", 4 * 8)
    numpy = backend_named("numpy")
    model = Sequential([Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    column = np.arange(10, dtype=np.float32)[:, None]
    model.prepare(column)
    streamed = StreamedFeed(numpy, model.samples(column, column), batch_size)
    for _ in range(2):
        streamed.begin(order.astype(np.int32))
        seen = []
        for start in range(0, 10, batch_size):
            rows = min(batch_size, 10 - start)
            assert streamed.can_give(rows)
            streamed.before_steps(rows, None)
            place = int(streamed.arrays[0][0])
            state, numbers = streamed.arrays[0], streamed.arrays[1]
            seen += streamed.samples.inputs[0][numbers[place : place + rows], 0].tolist()
            state[0] += rows
            state[2] += 1
            streamed.after_steps(rows, 1)
        assert seen == order.tolist()
