"""fit, evaluate and predict behave as in Keras."""

import os
import signal

import numpy as np
import pytest

from gpunet import Input, Model, Sequential, layers, losses, optimizers, utils
from gpunet.callbacks import Callback, History, LambdaCallback
from gpunet.errors import ArgumentError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 6)).astype(np.float32)
Y = (X @ RNG.standard_normal((6, 3))).argmax(axis=1)


@pytest.fixture
def model():
    return classifier()


def classifier(optimizer="sgd", metrics=("accuracy",), **options):
    model = Sequential([layers.Dense(5, "relu", input_dim=6), layers.Dense(3, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=list(metrics), **options)
    return model


def assert_same_weights(ours, theirs, **tolerance):
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **tolerance)


class Sizes(Callback):
    """Counts the steps, and the samples through the accuracy's counter."""

    def __init__(self):
        self.steps, self.epochs = 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(epoch)


# ------------------------------------------------------------------------- tutorials


def test_the_tutorial_of_keras_runs_with_another_import():
    x_train = np.random.random((1000, 100))
    y_train = utils.to_categorical(np.random.randint(10, size=(1000, 1)), num_classes=10)

    from gpunet import Sequential
    from gpunet.layers import Dense

    model = Sequential()
    model.add(Dense(units=64, activation="relu", input_dim=100))
    model.add(Dense(units=10, activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="sgd", metrics=["accuracy"])
    history = model.fit(x_train, y_train, epochs=5, batch_size=32, verbose=0)
    loss_and_metrics = model.evaluate(x_train, y_train, batch_size=128, verbose=0)
    classes = model.predict(x_train, batch_size=128, verbose=0)

    assert set(history.history) == {"accuracy", "loss"}
    assert [len(series) for series in history.history.values()] == [5, 5]
    assert len(loss_and_metrics) == 2
    np.testing.assert_allclose(classes.sum(axis=1), 1, rtol=1e-5)


def test_a_model_learns_what_can_be_learnt():
    model = classifier(optimizers.Adam(0.05))
    history = model.fit(X, Y, epochs=60, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] > 0.95
    assert history["loss"][-1] < 0.3 * history["loss"][0]
    assert (model.predict(X, verbose=0).argmax(axis=1) == Y).mean() > 0.95


# ----------------------------------------------------------------- batches and epochs


@pytest.mark.parametrize(("batch_size", "steps"), [(8, 5), (9, 5), (39, 2), (40, 1), (99, 1)])
def test_each_epoch_sees_each_sample_once(model, batch_size, steps):
    sizes = Sizes()
    model.fit(X, Y, batch_size=batch_size, epochs=2, callbacks=[sizes], verbose=0)
    assert sizes.steps == 2 * steps
    assert model.optimizer.iterations == 2 * steps
    assert model.meters["train"].state("loss")[1] == 40


def test_the_batch_size_is_32_if_not_given(model):
    model.fit(X, Y, verbose=0)
    assert model.optimizer.iterations == 2


def test_epochs_count_from_initial_epoch(model):
    sizes = Sizes()
    history = model.fit(X, Y, epochs=5, initial_epoch=3, callbacks=[sizes], verbose=0)
    assert sizes.epochs == history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2


def test_no_epoch_leaves_an_empty_history(model):
    before = model.get_weights()
    assert model.fit(X, Y, epochs=0, verbose=0).history == {}
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_shuffle_changes_the_order_and_no_shuffle_keeps_it(monkeypatch):
    from gpunet.engine.stepper import Stepper

    seen = []
    begin = Stepper.begin
    monkeypatch.setattr(
        Stepper, "begin", lambda self, order: (seen.append(order.copy()), begin(self, order))
    )
    model = classifier()
    model.fit(X, Y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_array_equal(np.concatenate(seen), np.tile(np.arange(40), 2))
    seen.clear()
    model.fit(X, Y, batch_size=16, epochs=2, verbose=0)
    first, second = seen
    assert (first != second).any()
    for order in (first, second):
        np.testing.assert_array_equal(np.sort(order), np.arange(40))


def test_history_holds_the_mean_loss_over_the_epoch():
    model = classifier(optimizers.SGD(0.0))
    history = model.fit(X, Y, batch_size=7, validation_data=(X, Y), verbose=0).history
    expected = losses.SparseCategoricalCrossentropy()(Y, model.predict(X, verbose=0))
    accuracy = (model.predict(X, verbose=0).argmax(axis=1) == Y).mean()
    assert history["loss"] == pytest.approx([expected], rel=1e-5)
    assert history["val_loss"] == pytest.approx([expected], rel=1e-5)
    assert history["accuracy"] == pytest.approx([accuracy])
    assert history["val_accuracy"] == pytest.approx([accuracy])
    assert model.history.history == history


# -------------------------------------------------------------------------- validation


def test_validation_split_takes_the_end_before_shuffling(monkeypatch):
    ours, theirs = classifier(optimizers.SGD(0.1)), classifier(optimizers.SGD(0.1))
    theirs.set_weights(ours.get_weights())
    options = {"epochs": 2, "shuffle": False, "verbose": 0, "batch_size": 8}
    split = ours.fit(X, Y, validation_split=0.25, **options).history
    given = theirs.fit(X[:30], Y[:30], validation_data=(X[30:], Y[30:]), **options).history
    assert split == given
    assert set(split) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_validation_data_goes_before_validation_split(model):
    options = {"validation_split": 0.5, "validation_data": (X[:4], Y[:4]), "verbose": 0}
    model.fit(X, Y, **options)
    assert model.meters["train"].state("loss")[1] == 40
    assert model.meters["test"].state("loss")[1] == 4


@pytest.mark.parametrize("form", ["array", "list", "dict"])
def test_validation_split_takes_inputs_of_every_form(form):
    a, b = Input((6,), name="a"), Input((6,), name="b")
    joined = layers.Add()([layers.Dense(3)(a), layers.Dense(3)(b)])
    two = Model([a, b], layers.Softmax()(joined))
    two.compile("sgd", "sparse_categorical_crossentropy")
    if form == "array":
        model, x = classifier(), X.tolist()
    else:
        model, x = two, {"b": X, "a": X} if form == "dict" else [X, X]
    history = model.fit(x, Y, validation_split=0.25, sample_weight=np.ones(40), verbose=0).history
    assert len(history["val_loss"]) == 1


def test_validation_takes_weights_and_a_batch_size_of_its_own(model):
    weights = np.linspace(0, 2, 40)
    data = (X, Y, weights)
    history = model.fit(X, Y, validation_data=data, validation_batch_size=7, verbose=0).history
    expected = model.evaluate(X, Y, sample_weight=weights, verbose=0)
    assert [history["val_loss"][0], history["val_accuracy"][0]] == pytest.approx(expected)


# ----------------------------------------------------------------------------- weights


def test_class_weights_are_the_weights_of_their_samples():
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    table = {0: 0.5, 2: 3.0}
    ours.fit(X, Y, class_weight=table, shuffle=False, verbose=0)
    weights = np.array([table.get(label, 1.0) for label in Y])
    theirs.fit(X, Y, sample_weight=weights, shuffle=False, verbose=0)
    assert_same_weights(ours, theirs, rtol=0)


def test_class_weights_and_sample_weights_multiply():
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    weights = np.linspace(0.5, 2, 40)
    ours.train_on_batch(X, Y, sample_weight=weights, class_weight={1: 2.0})
    theirs.train_on_batch(X, Y, sample_weight=weights * np.where(Y == 1, 2.0, 1.0))
    assert_same_weights(ours, theirs, rtol=1e-6)


def test_class_weights_work_with_one_hot_and_binary_labels():
    model = Sequential([layers.Dense(3, "softmax", input_dim=6)])
    model.compile("sgd", "categorical_crossentropy")
    table = {0: 2.0, 1: 1.0, 2: 0.0}
    weighted = model.train_on_batch(X, np.eye(3)[Y], class_weight=table)
    assert np.isfinite(weighted)
    binary = Sequential([layers.Dense(1, "sigmoid", input_dim=6)])
    binary.compile(optimizers.SGD(0.0), "binary_crossentropy")
    labels = Y == 1
    by_class = binary.train_on_batch(X, labels, class_weight={1: 5})
    by_sample = binary.train_on_batch(X, labels, sample_weight=np.where(labels, 5.0, 1.0))
    assert by_class == pytest.approx(by_sample)


def test_samples_of_weight_zero_do_not_count(model):
    weights = np.r_[np.ones(20), np.zeros(20)]
    loss = model.test_on_batch(X, Y, sample_weight=weights)[0]
    assert loss == pytest.approx(model.test_on_batch(X[:20], Y[:20])[0] / 2, rel=1e-5)


# --------------------------------------------------------------------------- callbacks


def test_hooks_are_called_in_the_order_of_keras(model):
    calls = []

    class Spy(Callback):
        def __getattribute__(self, name):
            if name.startswith("on_") and name not in ("on_batch_begin", "on_batch_end"):
                return lambda *args: calls.append(name[3:])
            return super().__getattribute__(name)

    model.fit(X, Y, batch_size=20, callbacks=[Spy()], validation_data=(X[:4], Y[:4]), verbose=0)
    step = ["train_batch_begin", "train_batch_end"]
    test = ["test_begin", "test_batch_begin", "test_batch_end", "test_end"]
    assert calls == ["train_begin", "epoch_begin", *step, *step, *test, "epoch_end", "train_end"]


def test_logs_of_a_batch_are_those_of_the_epoch_so_far():
    model, seen = classifier(optimizers.SGD(0.0)), []
    look = LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(dict(logs)))
    model.fit(X, Y, batch_size=10, shuffle=False, callbacks=[look], verbose=0)
    means = [model.test_on_batch(X[:n], Y[:n]) for n in (10, 20, 30, 40)]
    assert [logs["loss"] for logs in seen] == pytest.approx([m[0] for m in means], rel=1e-5)
    assert [logs["accuracy"] for logs in seen] == pytest.approx([m[1] for m in means])


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_epoch_end"])
def test_stop_training_ends_it(model, hook):
    def stop(number, logs):
        model.stop_training = True

    history = model.fit(X, Y, 10, epochs=5, callbacks=[LambdaCallback(**{hook: stop})], verbose=0)
    assert history.epoch == [0]
    assert model.optimizer.iterations == (1 if "batch" in hook else 4)
    model.fit(X, Y, 10, epochs=2, verbose=0)  # the wish does not outlive the training
    assert model.history.epoch == [0, 1]


def test_a_history_among_the_callbacks_is_the_one_returned(model):
    mine = History()
    assert model.fit(X, Y, callbacks=[mine], verbose=0) is mine


def test_a_learning_rate_changed_by_a_callback_takes_effect(model):
    def halt(epoch, logs):
        model.optimizer.learning_rate = 0.0

    model.fit(X, Y, epochs=1, callbacks=[LambdaCallback(on_epoch_end=halt)], verbose=0)
    before = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
    model.optimizer.learning_rate = 0.1
    model.train_on_batch(X, Y)
    assert (before[0] != model.get_weights()[0]).any()


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 4), (2, 4), ("auto", 4)])
def test_verbose_says_as_much_as_in_keras(model, capsys, verbose, lines):
    model.fit(X, Y, epochs=2, verbose=verbose)
    printed = capsys.readouterr().out
    assert printed.count("\n") == lines
    if lines:
        assert "Epoch 2/2" in printed
        assert "accuracy: " in printed
        assert printed.index("accuracy: ") < printed.index("loss: ")  # sorted, as Keras does


def test_an_error_in_a_callback_comes_out_and_gives_memory_back(model):
    def fail(batch, logs):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        model.fit(X, Y, callbacks=[LambdaCallback(on_train_batch_end=fail)], verbose=0)
    assert len(model.arenas._free) == 1
    model.fit(X, Y, verbose=0)


# ------------------------------------------------------------------------------ Ctrl-C


def press_ctrl_c(times=1):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_ends_fit_after_the_step_with_history_and_weights(model):
    handler = signal.getsignal(signal.SIGINT)
    ended = []

    class Press(Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                press_ctrl_c()

        def on_train_end(self, logs=None):
            ended.append(dict(logs))

    data = (X, Y)
    history = model.fit(X, Y, 10, 9, callbacks=[Press()], validation_data=data, verbose=0)
    assert model.optimizer.iterations == 2
    assert history.epoch == [0]
    assert np.isfinite(history.history["loss"]).all()
    assert len(ended) == 1
    assert signal.getsignal(signal.SIGINT) is handler
    assert np.isfinite(model.evaluate(X, Y, verbose=0)).all()


def test_a_second_ctrl_c_interrupts_at_once(model):
    handler = signal.getsignal(signal.SIGINT)
    press = LambdaCallback(on_train_batch_end=lambda batch, logs: press_ctrl_c(2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, 10, callbacks=[press], verbose=0)
    assert signal.getsignal(signal.SIGINT) is handler
    assert model.optimizer.iterations == 1
    model.fit(X, Y, verbose=0)


# ------------------------------------------------------------- evaluate, predict, batches


def test_evaluate_gives_the_loss_first_or_a_dict(model):
    loss, accuracy = model.evaluate(X, Y, batch_size=7, verbose=0)
    predicted = model.predict(X, verbose=0)
    assert loss == pytest.approx(losses.SparseCategoricalCrossentropy()(Y, predicted), rel=1e-5)
    assert accuracy == pytest.approx((predicted.argmax(axis=1) == Y).mean())
    as_dict = model.evaluate(X, Y, batch_size=40, verbose=0, return_dict=True)
    assert as_dict == pytest.approx({"loss": loss, "accuracy": accuracy})


def test_evaluate_gives_one_number_without_metrics():
    model = classifier(metrics=())
    assert isinstance(model.evaluate(X, Y, verbose=0), float)
    assert isinstance(model.train_on_batch(X, Y), float)


def test_evaluate_changes_nothing(model):
    before = model.get_weights()
    model.evaluate(X, Y, verbose=0)
    model.test_on_batch(X, Y)
    model.predict(X, verbose=0)
    for ours, theirs in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert model.optimizer.iterations == 0


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
def test_single_batches_give_loss_and_metrics_of_this_batch_alone(model, method):
    first = model.test_on_batch(X[:10], Y[:10])
    model.test_on_batch(X[10:], Y[10:])
    assert getattr(model, method)(X[:10], Y[:10]) == first
    assert set(getattr(model, method)(X, Y, return_dict=True)) == {"loss", "accuracy"}


@pytest.mark.parametrize("batch_size", [1, 7, 40, 99])
def test_predict_does_not_depend_on_the_batch_size(model, batch_size):
    whole = model.predict_on_batch(X)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(model.predict(X, batch_size, verbose=0), whole, rtol=1e-5)
    np.testing.assert_array_equal(model(X), whole)


def test_predict_on_a_fitted_model_with_dropout_drops_nothing():
    model = Sequential([layers.Dropout(0.9, input_dim=6)])
    np.testing.assert_array_equal(model.predict(X, verbose=0), X)
    assert (model(X, training=True) == 0).mean() > 0.7


def test_train_on_batch_equals_a_step_of_fit():
    ours, theirs = classifier(), classifier()
    theirs.set_weights(ours.get_weights())
    ours.fit(X, Y, batch_size=40, epochs=3, shuffle=False, verbose=0)
    for _ in range(3):
        theirs.train_on_batch(X, Y)
    assert_same_weights(ours, theirs, rtol=0)


# -------------------------------------------------------------------- hand-written loops


@pytest.mark.parametrize("way", ["run", "forward and backward"])
def test_a_loop_by_hand_does_what_fit_does(way):
    ours, theirs = classifier(optimizers.SGD(0.1, 0.9)), classifier(optimizers.SGD(0.1, 0.9))
    theirs.set_weights(ours.get_weights())
    ours.fit(X, Y, batch_size=8, epochs=3, shuffle=False, verbose=0)
    for start in [*range(0, 40, 8)] * 3:
        x, y = X[start : start + 8], Y[start : start + 8]
        run = theirs.run(x, training=True) if way == "run" else None
        p = theirs.forward(x) if run is None else run.y
        dy = np.zeros_like(p)
        dy[np.arange(8), y] = -1 / (8 * p[np.arange(8), y])
        run.backward(dy) if run is not None else theirs.backward(dy)
        theirs.optimizer.step(theirs)
    assert_same_weights(ours, theirs, rtol=1e-4, atol=1e-6)
    assert theirs.optimizer.iterations == ours.optimizer.iterations == 15


def test_a_loop_by_hand_with_mse_gives_the_bits_of_fit():
    def make():
        model = Sequential([layers.Dense(4, "tanh", input_dim=6), layers.Dense(2)])
        model.compile(optimizers.SGD(0.25), "mse")
        return model

    ours, theirs = make(), make()
    theirs.set_weights(ours.get_weights())
    target = X[:, :2]
    ours.fit(X, target, batch_size=8, shuffle=False, verbose=0)
    for start in range(0, 40, 8):
        run = theirs.run(X[start : start + 8], training=True)
        run.backward((run.y - target[start : start + 8]) * np.float32(2 / 2 / 8))
        theirs.optimizer.step(theirs)
    assert_same_weights(ours, theirs, rtol=1e-6, atol=1e-7)


def test_compile_again_replaces_loss_and_metrics_and_a_failed_one_nothing(model):
    model.fit(X, Y, verbose=0)
    model.compile("adam", "categorical_crossentropy")
    assert model.fit(X, np.eye(3)[Y], verbose=0).history.keys() == {"loss"}
    with pytest.raises(ArgumentError, match="Unknown loss 'categorical'"):
        model.compile("adam", "categorical")
    assert model.fit(X, np.eye(3)[Y], verbose=0).history.keys() == {"loss"}
