"""Bound ops that run again and again, from their third use on as one launch where that works."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from gpunet.backend.base import Backend
from gpunet.engine.plan import Call
from gpunet.engine.recorder import Record

USES_BEFORE_CAPTURE = 2
"""The first use compiles kernels and makes scratch memory, which a capture may not."""


class Program:
    """The calls of one or more passes; captured at the third use if the backend can do that.

    Args:
        backend: where they run.
        ops: the ops of a pass, each with its bound call.
        steps: how many passes to do.
    """

    def __init__(
        self, backend: Backend, ops: Sequence[tuple[Record, Call]], steps: int = 1
    ) -> None:
        self._backend = backend
        # They stay when they are captured: a graph does not keep its arrays alive.
        self._ops = list(ops) * steps
        self._names = frozenset(record.op.name for record, _ in ops)
        self._launches = [call for _, call in self._ops]
        self._uses = 0

    def run(self) -> None:
        """Do the passes."""
        if self._uses == USES_BEFORE_CAPTURE:
            self._launches = self._capture()
        self._uses += 1
        self._backend.run_all(self._launches, self._names)

    def _capture(self) -> list[Call]:
        """One launch for each stretch of ops between layers that run Python code."""
        launches: list[Call] = []
        for is_op, stretch in groupby(self._ops, key=lambda op: op[0].function is None):
            calls = [call for _, call in stretch]
            captured = self._backend.capture(calls) if is_op else None
            launches += calls if captured is None else [captured]
        return launches
