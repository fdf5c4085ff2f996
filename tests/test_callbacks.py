import builtins
import doctest
import io
import types

import numpy as np
import pytest

import gpunet.callbacks as callbacks
from gpunet.callbacks import Callback, CallbackList, History, LambdaCallback, ProgressBar
from gpunet.errors import ArgumentError, MissingDependency, UsageError

HOOKS = [
    *("on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end"),
    *("on_train_begin", "on_train_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
    *("on_predict_begin", "on_predict_end", "on_predict_batch_begin", "on_predict_batch_end"),
]
INDEXED = [name for name in HOOKS if "batch" in name or "epoch" in name]


class Screen(io.StringIO):
    def isatty(self):
        return True


class Untouchable(dict):
    """Logs whose reading would wait for the device."""

    def items(self):
        raise RuntimeError("read")

    __getitem__ = get = keys = values = __iter__ = items


def test_examples():
    assert doctest.testmod(callbacks).failed == 0


def test_hooks_are_keras_hooks():
    assert sorted(callbacks._HOOKS) == sorted(HOOKS)
    for name in HOOKS:
        hook = getattr(Callback(), name)
        assert (hook(0) if name in INDEXED else hook()) is None


def test_set_model_and_params_without_calling_super_init():
    class Mine(Callback):
        def __init__(self):
            pass

    mine, model = Mine(), types.SimpleNamespace()
    assert mine.model is None
    CallbackList([mine], model=model, epochs=3, steps=2, verbose=0)
    assert mine.model is model
    assert mine.params == {"epochs": 3, "steps": 2, "verbose": 0}


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_reaches_every_callback_in_order(name):
    calls = []
    made = [
        LambdaCallback(**{name: lambda *args, who=who: calls.append((who, *args))})
        for who in range(3)
    ]
    hook = getattr(CallbackList(made), name)
    first = (7,) if name in INDEXED else ()
    hook(*first, {"loss": 1.0})
    hook(*first, logs={"loss": 2.0})
    hook(*first)
    assert calls == [
        (who, *first, logs) for logs in ({"loss": 1.0}, {"loss": 2.0}, {}) for who in range(3)
    ]


def test_older_batch_hooks_are_called_for_training():
    class Old(Callback):
        def __init__(self):
            self.calls = []

        def on_batch_begin(self, batch, logs=None):
            self.calls.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.calls.append(("end", batch, logs))

    old = Old()
    each = CallbackList(old)
    assert each.has_train_batch_hooks
    assert not each.has_test_batch_hooks
    each.on_train_batch_begin(1)
    each.on_train_batch_end(1, {"loss": 2})
    each.on_test_batch_end(1, {"loss": 2})
    assert old.calls == [("begin", 1), ("end", 1, {"loss": 2})]


def test_older_batch_hooks_of_functions_are_called_too():
    calls = []
    each = CallbackList(LambdaCallback(on_batch_end=lambda batch, logs: calls.append(batch)))
    each.on_train_batch_end(4)
    assert calls == [4]


@pytest.mark.parametrize("mode", ["train", "test", "predict"])
def test_flags_say_which_batch_hooks_exist(mode):
    each = CallbackList([LambdaCallback(**{f"on_{mode}_batch_end": print}), Callback()])
    flags = {m: getattr(each, f"has_{m}_batch_hooks") for m in ("train", "test", "predict")}
    assert flags == {m: m == mode for m in flags}
    assert each.has_batch_hooks


def test_no_batch_hooks_without_callbacks():
    each = CallbackList(add_history=True, add_progbar=True, verbose=2, epochs=2, steps=3)
    assert not each.has_batch_hooks


def test_history_and_bar_are_added_once():
    history, bar = History(), ProgressBar()
    model = types.SimpleNamespace()
    each = CallbackList([history, [bar]], add_history=True, add_progbar=True, model=model)
    assert each.callbacks == [history, bar]
    assert each.history is model.history is history
    added = CallbackList(add_history=True, add_progbar=True).callbacks
    assert [type(callback) for callback in added] == [History, ProgressBar]
    assert CallbackList().history is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (3, "must be instances of Callback, got 3.$"),
        (["x"], "must be instances of Callback, got 'x'.$"),
        ([History], r"got <class .*History'>: put \(\) behind the class.$"),
        (History, "behind the class"),
        ([print], "must be instances of Callback"),
    ],
)
def test_what_is_no_callback(wrong, message):
    with pytest.raises(ArgumentError, match=message):
        CallbackList(wrong)


def test_lambda_callback_knows_its_hooks():
    with pytest.raises(ArgumentError, match="did you mean 'on_epoch_end'"):
        LambdaCallback(on_epoch_ends=print)
    assert not CallbackList(LambdaCallback(on_train_batch_end=None)).has_batch_hooks


def run_epochs(each, logs_of_epochs):
    each.on_train_begin()
    for epoch, logs in enumerate(logs_of_epochs):
        each.on_epoch_begin(epoch)
        each.on_epoch_end(epoch, logs)
    each.on_train_end()


def test_history_keeps_python_numbers():
    model = types.SimpleNamespace()
    each = CallbackList(add_history=True, model=model, epochs=2)
    run_epochs(
        each, [{"loss": np.float32(0.5), "note": "a"}, {"loss": np.array(0.25), "note": "b"}]
    )
    history = model.history
    assert history.history == {"loss": [0.5, 0.25], "note": ["a", "b"]}
    assert all(type(value) is float for value in history.history["loss"])
    assert history.epoch == [0, 1]
    assert history.params == {"epochs": 2}


def test_history_used_twice_goes_on_as_in_keras():
    history = History()
    for _ in range(2):
        run_epochs(CallbackList(history), [{"loss": 1.0}])
    assert history.history == {"loss": [1.0, 1.0]}
    assert history.epoch == [0]


def test_plot_draws_and_saves(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    history = History()
    logs = [{"accuracy": 0.1 * e, "loss": 1.0 / (e + 1)} for e in range(4)]
    for e in (1, 3):  # validation_freq=2
        logs[e] |= {"val_accuracy": 0.5, "val_loss": 0.5 + e}
    run_epochs(CallbackList(history), logs)
    figure = history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]
    training, validation = figure.axes[0].lines
    np.testing.assert_array_equal(
        training.get_xydata(), [[1, 1], [2, 1 / 2], [3, 1 / 3], [4, 1 / 4]]
    )
    np.testing.assert_array_equal(validation.get_xydata(), [[2, 1.5], [4, 3.5]])
    assert [text.get_text() for text in figure.axes[0].get_legend().texts] == [
        "training",
        "validation",
    ]


def test_plot_without_a_path_is_found_by_show(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    from matplotlib import pyplot

    history = History()
    run_epochs(CallbackList(history), [{"loss": 1.0}])
    figure = history.plot()
    assert pyplot.fignum_exists(figure.number)
    pyplot.close(figure)


def test_plot_without_epochs_or_matplotlib(monkeypatch):
    with pytest.raises(UsageError, match="before the first epoch"):
        History().plot()
    real_import = builtins.__import__

    def no_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_matplotlib)
    history = History()
    history.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(MissingDependency, match=r"pip install 'gpunet\[plot\]'"):
        history.plot()


def fit(stream, logs=None, epochs=2, **params):
    """What a trainer calls: two steps per epoch and a validation."""
    each = CallbackList(ProgressBar(stream, interval=0), epochs=epochs, **params)
    each.on_train_begin()
    for epoch in range(epochs):
        each.on_epoch_begin(epoch)
        for batch in range(2):
            each.on_train_batch_begin(batch)
            each.on_train_batch_end(batch, {"loss": 1.0} if logs is None else logs)
        each.on_test_begin()
        each.on_test_batch_end(0, {"loss": 9.0})
        each.on_test_end({"loss": 9.0})
        each.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.75})
    each.on_train_end()
    return each


def test_fit_prints_epochs_and_a_silent_validation():
    stream = io.StringIO()
    fit(stream, Untouchable(), verbose=2, steps=2)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Epoch 1/2"
    assert lines[1].startswith("2/2 - 0s - ")
    assert lines[1].endswith("/step - loss: 0.5000 - val_loss: 0.7500")
    assert lines[2] == "Epoch 2/2"
    assert len(lines) == 4


def test_one_epoch_has_no_header():
    stream = io.StringIO()
    fit(stream, epochs=1, verbose=2, steps=2)
    assert stream.getvalue().startswith("2/2 - ")


def test_auto_is_a_bar_in_a_terminal_and_lines_elsewhere():
    screen, file = Screen(), io.StringIO()
    assert fit(screen, verbose="auto", steps=2).has_train_batch_hooks
    assert not fit(file, Untouchable(), verbose="auto", steps=2).has_batch_hooks
    assert "━" in screen.getvalue()
    assert "━" not in file.getvalue()
    assert "9.0000" not in screen.getvalue() + file.getvalue()


def test_zero_is_silent():
    screen = Screen()
    assert not fit(screen, Untouchable(), verbose=0).has_batch_hooks
    assert screen.getvalue() == ""


def test_steps_are_counted_when_nobody_knows_them():
    stream = io.StringIO()
    fit(stream, Untouchable(), verbose=2, steps=None)
    assert [line[:6] for line in stream.getvalue().splitlines()[1::2]] == ["2/2 - "] * 2


def test_evaluate_and_predict_print_their_line():
    stream = io.StringIO()
    each = CallbackList(ProgressBar(stream), verbose=2, steps=3)
    each.on_test_begin()
    each.on_test_end({"loss": 1.5})
    each.on_predict_begin()
    each.on_predict_batch_end(0, {"outputs": Untouchable()})
    each.on_predict_end()
    test, predict = stream.getvalue().splitlines()
    assert test.endswith("/step - loss: 1.5000")
    assert predict.endswith("/step")


def test_predict_on_a_screen_never_shows_outputs():
    screen = Screen()
    each = CallbackList(ProgressBar(screen, interval=0), verbose=1, steps=2)
    each.on_predict_begin()
    each.on_predict_batch_end(0, Untouchable())
    assert "1/2" in screen.getvalue()


def test_prints_to_the_standard_output_of_the_moment(capsys):
    CallbackList(add_progbar=True, verbose=2, epochs=2, steps=1).on_epoch_begin(0)
    assert capsys.readouterr().out == "Epoch 1/2\n"


@pytest.mark.parametrize("verbose", [3, "loud", None, -1])
def test_unknown_verbose(verbose):
    with pytest.raises(ArgumentError, match="verbose must be 0, 1, 2 or 'auto', got"):
        CallbackList(add_progbar=True, verbose=verbose)


def test_keras_name_of_the_bar():
    assert callbacks.ProgbarLogger is ProgressBar
