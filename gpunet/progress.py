"""The lines that show how a run goes, in Keras' formats.

The drawing behind ``callbacks.ProgressBar``; it knows nothing of models and callbacks.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import numpy as np

_BAR_WIDTH = 20
_BOLD, _GREEN, _GREY, _PLAIN = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"


def can_redraw(stream: TextIO) -> bool:
    """Whether a line on this stream can be drawn over: a terminal, a notebook or PyCharm."""
    if getattr(stream, "isatty", bool)():
        return True
    return stream is sys.stdout and ("ipykernel" in sys.modules or "PYCHARM_HOSTED" in os.environ)


class Bar:
    """The progress of one epoch, evaluation or prediction.

    Args:
        steps: how many steps there will be, None when unknown.
        verbose: 1 for a bar, 2 for one line at the end, 0 for nothing.
        stream: where to print; ``sys.stdout`` at the time when it is not given.
        interval: the least seconds between two redraws.

    Attributes:
        seen: how many steps have ended.

    Example:
        >>> bar = Bar(steps=32, verbose=0)
        >>> bar.update(1, {"loss": 2.4})
        >>> bar.finish({"loss": 2.3})
    """

    def __init__(
        self, steps: int | None, verbose: int, stream: TextIO | None = None, interval: float = 0.05
    ) -> None:
        self.seen = 0
        self._steps = steps
        self._verbose = verbose
        self._stream = sys.stdout if stream is None else stream
        self._interval = interval
        self._redraws = verbose == 1 and can_redraw(self._stream)
        self._width_drawn = 0
        self._drawn_at = -math.inf
        self._started = time.monotonic()
        self._first_ended: float | None = None

    def update(self, seen: int, logs: Mapping[str, Any] | None = None) -> None:
        """Say that so many steps have ended; draws, and looks at the logs, only when it is time."""
        self.seen = seen
        now = time.monotonic()
        if seen == 1:
            self._first_ended = now
        if not self._redraws or now - self._drawn_at < self._interval:
            return
        self._drawn_at = now
        step_time = self._step_time(seen, now)
        rest = step_time * (self._steps - seen) if self._steps else now - self._started
        columns = _columns()
        head, width = self._head(seen, _clock(rest), columns)
        tail = "".join(_pieces(step_time, logs))[: max(0, columns - width)]
        width += len(tail)
        self._write("\r" + head + tail + " " * (self._width_drawn - width))
        self._width_drawn = width

    def finish(self, logs: Mapping[str, Any] | None = None) -> None:
        """Print the last line; where the terminal is narrow, it goes on in further lines."""
        steps = self._steps or self.seen
        if not self._verbose or not steps:
            return
        now = time.monotonic()
        elapsed = f"{now - self._started:.0f}s"
        pieces = _pieces(self._step_time(steps, now), logs)
        if self._verbose == 2:
            self._write(f"{steps}/{steps} - {elapsed} -{''.join(pieces)}\n")
            return
        self._steps = steps
        columns = _columns() if self._redraws else sys.maxsize
        text, width = self._head(steps, elapsed, columns)
        for piece in pieces:
            if width + len(piece) > columns:
                text, width = text + "\n ", 1
            text, width = text + piece, width + len(piece)
        erased = f"\r{' ' * self._width_drawn}\r" if self._redraws else ""
        self._write(f"{erased}{text}\n")

    def _head(self, seen: int, clock: str, columns: int) -> tuple[str, int]:
        """Count, bar and time, and how wide that is on the screen; the bar gives way if narrow."""
        if self._steps:
            count = f"{seen:{len(str(self._steps))}d}/{self._steps}"
            width = min(_BAR_WIDTH, columns - len(count) - len(clock) - 2)
        else:
            count, width = f"{seen:7d}/Unknown", 0
        if width <= 0:
            head = f"{count} {clock}"[:columns]
            return head, len(head)
        done = min(width, width * seen // self._steps) if self._steps else 0
        full, empty = ("━", "━") if _encodes(self._stream, "━") else ("=", ".")
        bar = full * done, empty * (width - done)
        if self._redraws:
            head = f"{_BOLD}{count}{_PLAIN} {_GREEN}{bar[0]}{_GREY}{bar[1]}{_PLAIN}"
            head += f" {_BOLD}{clock}{_PLAIN}"
        else:
            head = f"{count} {bar[0]}{bar[1]} {clock}"
        return head, len(count) + width + len(clock) + 2

    def _step_time(self, seen: int, now: float) -> float:
        """Seconds per step; the first one, which warms up, counts only while it is the only one."""
        if self._first_ended is not None and seen > 1:
            return (now - self._first_ended) / (seen - 1)
        return (now - self._started) / seen if seen else 0.0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _pieces(step_time: float, logs: Mapping[str, Any] | None) -> list[str]:
    """What follows the time: `` 17ms/step``, `` - loss: 2.3372`` and so on."""
    if step_time >= 1 or step_time == 0:
        pieces = [f" {step_time:.0f}s/step"]
    elif step_time >= 1e-3:
        pieces = [f" {step_time * 1e3:.0f}ms/step"]
    else:
        pieces = [f" {step_time * 1e6:.0f}us/step"]
    return pieces + [f" - {name}: {_number(value)}" for name, value in (logs or {}).items()]


def _number(value: Any) -> str:
    if isinstance(value, str):
        return value
    number = float(np.mean(value))
    return f"{number:.4f}" if abs(number) > 1e-3 else f"{number:.4e}"


def _clock(seconds: float) -> str:
    whole = int(seconds)
    if whole > 3600:
        return f"{whole // 3600}:{whole % 3600 // 60:02d}:{whole % 60:02d}"
    return f"{whole // 60}:{whole % 60:02d}" if whole > 60 else f"{whole}s"


def _columns() -> int:
    """The width to use: the last column stays free, since some terminals wrap when it is filled."""
    return shutil.get_terminal_size().columns - 1


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
