"""What the doctor says: lines while it looks, and its findings at the end."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_WIDTH = 79


class Report:
    """The lines of one examination and the failures found in it.

    Attributes:
        failures: a sentence for each thing that is wrong.
        hints: a sentence for each thing that its owner may want to change.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.failures: list[str] = []
        self.hints: list[str] = []

    def title(self, text: str) -> None:
        """Begin a section."""
        self._write(f"\n{text}\n{'-' * min(len(text), _WIDTH)}")

    def line(self, text: str = "") -> None:
        """Say something."""
        self._write(f"  {text}" if text else "")

    def paragraph(self, text: str) -> None:
        """Say something long, in several lines."""
        for line in textwrap.wrap(text, _WIDTH):
            self.line(line)

    def verdict(self, text: str) -> None:
        """Say the last line."""
        self._write(f"\nVerdict: {text}")

    def fact(self, name: str, text: str) -> None:
        """Say one thing about the machine."""
        self.line(f"{name:<10}{text}")

    def failure(self, sentence: str) -> None:
        """Keep what is wrong for the end."""
        self.failures.append(sentence)

    def hint(self, sentence: str) -> None:
        """Keep an advice for the end."""
        self.hints.append(sentence)

    @contextmanager
    def section(self, text: str) -> Iterator[None]:
        """A section whose unexpected end is a failure, not the end of the examination."""
        self.title(text)
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the doctor has seen it all
            words = f"{type(error).__name__}: {first_line(error)}"
            self.line(f"FAILED: {words}")
            self.failure(f"The section '{text}' ended early with {words}")


def first_line(error: BaseException) -> str:
    """What an error says in its first line."""
    return next(iter(str(error).strip().splitlines()), "no message")
