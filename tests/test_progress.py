import doctest
import io
import re
import sys
import types

import numpy as np
import pytest

import gpunet.progress as progress
from gpunet.progress import Bar

BAR = "━" * 20


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and what such a one would show."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def lines(self):
        """The lines on the screen: styles dropped, \\r goes back to the line's beginning."""
        screen = []
        for line in re.sub(r"\x1b\[\d+m", "", self.getvalue()).split("\n"):
            shown = ""
            for text in line.split("\r"):
                shown = text + shown[len(text) :]
            screen.append(shown.rstrip())
        return screen

    def widest(self):
        """The most columns that any drawing took."""
        plain = re.sub(r"\x1b\[\d+m", "", self.getvalue())
        return max(len(text) for text in re.split(r"[\r\n]", plain))


class Lazy(dict):
    """Logs that count how often they were read, as from a device."""

    reads = 0

    def items(self):
        self.reads += 1
        return super().items()


@pytest.fixture
def clock(monkeypatch):
    """The time that bars see; tests move it."""
    now = types.SimpleNamespace(value=100.0)
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: now.value))
    monkeypatch.setenv("COLUMNS", "200")
    return now


def test_examples():
    assert doctest.testmod(progress).failed == 0


def test_one_line_as_in_keras(clock):
    stream = io.StringIO()
    bar = Bar(32, 2, stream)
    clock.value += 0.544
    bar.finish({"accuracy": 0.083, "loss": 2.33724})
    assert stream.getvalue() == "32/32 - 1s - 17ms/step - accuracy: 0.0830 - loss: 2.3372\n"


def test_complete_bar_as_in_keras(clock):
    terminal = Terminal()
    bar = Bar(32, 1, terminal)
    for step in range(32):
        clock.value += 0.017
        bar.update(step + 1, {"accuracy": 0.1, "loss": 3.0})
    bar.finish({"accuracy": 0.083, "loss": 2.33724, "val_loss": 2.5})
    expected = f"32/32 {BAR} 1s 17ms/step - accuracy: 0.0830 - loss: 2.3372 - val_loss: 2.5000"
    assert terminal.lines() == [expected, ""]
    assert "\x1b[1m32/32\x1b[0m \x1b[32m" + BAR in terminal.getvalue()


def test_bar_on_its_way(clock):
    terminal = Terminal()
    bar = Bar(100, 1, terminal)
    clock.value += 5.0  # the first step warms up and is left out of the estimate
    bar.update(1, {"loss": 1.0})
    clock.value += 2.4
    bar.update(25, {"loss": 0.5})
    assert terminal.lines() == [f" 25/100 {BAR} 7s 100ms/step - loss: 0.5000"]
    assert f"\x1b[32m{'━' * 5}\x1b[37m{'━' * 15}\x1b[0m" in terminal.getvalue()


def test_redraws_at_most_every_interval_and_only_then_reads_the_logs(clock):
    terminal, logs = Terminal(), Lazy(loss=1.0)
    bar = Bar(1000, 1, terminal)
    for step in range(1000):
        clock.value += 0.001
        bar.update(step + 1, logs)
    assert logs.reads == terminal.getvalue().count("\r") == 20


def test_silent_and_one_line_read_no_logs_on_the_way(clock):
    stream, logs = Terminal(), Lazy(loss=1.0)
    for verbose in (0, 2):
        bar = Bar(10, verbose, stream)
        for step in range(10):
            clock.value += 1
            bar.update(step + 1, logs)
        assert logs.reads == 0
        assert stream.getvalue() == ""
    Bar(10, 0, stream).finish(logs)
    assert stream.getvalue() == ""


def test_shorter_lines_leave_nothing_behind(clock):
    terminal = Terminal()
    bar = Bar(3, 1, terminal)
    bar.update(1, {"loss": 1e-9, "accuracy": 0.5})
    clock.value += 1
    bar.update(2, {"loss": 1.0})
    assert terminal.lines() == [f"2/3 {BAR} 1s 1s/step - loss: 1.0000"]
    bar.finish()
    assert terminal.lines() == [f"3/3 {BAR} 1s 500ms/step", ""]


@pytest.mark.parametrize("columns", [1, 2, 5, 9, 12, 20, 30, 40, 80, 118, 119, 120])
def test_narrow_terminals_never_wrap_and_lose_nothing_at_the_end(clock, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    terminal = Terminal()
    logs = {"accuracy": 0.083, "loss": 2.3372, "val_accuracy": 0.083, "val_loss": 2.3372}
    bar = Bar(32, 1, terminal)
    for step in range(32):
        clock.value += 0.1
        bar.update(step + 1, logs)
    # A metric is never broken: the longest piece alone needs 25 columns with its indent.
    assert terminal.widest() < max(columns, 2)
    bar.finish(logs)
    text = " ".join(line.strip() for line in terminal.lines()).strip()
    assert text.endswith(
        "100ms/step - accuracy: 0.0830 - loss: 2.3372 - val_accuracy: 0.0830 - val_loss: 2.3372"
    )
    if columns > 25:
        assert terminal.widest() < columns


def test_unknown_number_of_steps(clock):
    terminal = Terminal()
    bar = Bar(None, 1, terminal)
    for step in range(7):
        clock.value += 1.0
        bar.update(step + 1, {"loss": 1.0})
    assert terminal.lines() == ["      7/Unknown 7s 1s/step - loss: 1.0000"]
    bar.finish({"loss": 0.5})
    assert terminal.lines() == [f"7/7 {BAR} 7s 1s/step - loss: 0.5000", ""]


def test_no_steps_print_nothing(clock):
    stream = io.StringIO()
    Bar(None, 2, stream).finish({"loss": 1.0})
    Bar(0, 1, stream).finish({"loss": 1.0})
    assert stream.getvalue() == ""


def test_in_a_file_the_bar_is_drawn_once_and_plain(clock):
    stream = io.StringIO()
    bar = Bar(2, 1, stream)
    for step in range(2):
        clock.value += 1
        bar.update(step + 1, {"loss": 1.0})
    bar.finish({"loss": 1.0})
    assert stream.getvalue() == f"2/2 {BAR} 2s 1s/step - loss: 1.0000\n"


def test_ascii_terminals_get_an_ascii_bar(clock):
    terminal = Terminal()
    terminal.encoding = "ascii"
    bar = Bar(4, 1, terminal)
    clock.value += 1
    bar.update(1, {"loss": 1.0})
    assert terminal.lines() == ["1/4 =====............... 3s 1s/step - loss: 1.0000"]
    assert terminal.getvalue().isascii()


def test_what_can_be_redrawn(monkeypatch, capsys):
    monkeypatch.delenv("PYCHARM_HOSTED", raising=False)
    assert progress.can_redraw(Terminal())
    assert not progress.can_redraw(io.StringIO())
    assert not progress.can_redraw(types.SimpleNamespace())
    assert not progress.can_redraw(sys.stdout)
    monkeypatch.setitem(sys.modules, "ipykernel", types)
    assert progress.can_redraw(sys.stdout)
    assert not progress.can_redraw(io.StringIO())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "60s"), (61, "1:01"), (3600, "60:00"), (3725, "1:02:05")],
)
def test_times_left_as_in_keras(seconds, text):
    assert progress._clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s/step"), (2.6, "3s/step"), (0.017, "17ms/step"), (0.00042, "420us/step")],
)
def test_times_per_step_as_in_keras(seconds, text):
    assert progress._pieces(seconds, None) == [f" {text}"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.5, "0.5000"),
        (-2.0, "-2.0000"),
        (0.0001, "1.0000e-04"),
        (0.0, "0.0000e+00"),
        (float("nan"), "nan"),
        (np.float32(0.25), "0.2500"),
        (np.array([0.25, 0.75]), "0.5000"),
        (3, "3.0000"),
        ("text", "text"),
    ],
)
def test_numbers_as_in_keras(value, text):
    assert progress._number(value) == text
