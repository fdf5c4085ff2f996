"""Streams and events: the look-alikes of ``cupy.cuda.Stream`` and ``cupy.cuda.Event``."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from gpunet.emulator import queues, records
from gpunet.emulator.faults import CUDARuntimeError
from gpunet.emulator.graph import Graph
from gpunet.emulator.queues import Mark, Work


class Stream:
    """A queue of work; a look-alike of ``cupy.cuda.Stream``.

    Args:
        null: Whether to make another handle of the null stream.
        non_blocking: Whether it does not wait for the null stream.
        ptds: Whether to make a handle of the per-thread default stream.
        priority: No effect.

    Attributes:
        ptr: The handle.
        device_id: 0, or -1 of the streams that nobody creates.
    """

    null: Stream
    ptds: Stream

    def __init__(
        self,
        null: bool = False,
        non_blocking: bool = False,
        ptds: bool = False,
        priority: int | None = None,
    ) -> None:
        self._priority = priority or 0
        self._owns = not (null or ptds)
        if self._owns:
            self.ptr = queues.create(non_blocking).ptr
        else:
            self.ptr = queues.LEGACY if null else queues.PER_THREAD
        self.device_id = 0 if self._owns else -1
        self._destroy = queues.destroy  # at the interpreter's end the module's name is gone

    def __del__(self) -> None:
        if self._owns:
            self._destroy(self.ptr)

    def use(self) -> Stream:
        """Make this the current stream."""
        _of_thread().current = self
        queues.use(queues.queue_of(self.ptr))
        return self

    def synchronize(self) -> None:
        """Let the host wait until all work is finished."""
        queues.queue_of(self.ptr).wait("Stream.synchronize")

    @property
    def done(self) -> bool:
        """Whether all work is finished; asking makes a capture invalid."""
        queue = queues.queue_of(self.ptr)
        try:
            queue.check_not_capturing()
        except CUDARuntimeError:  # CuPy compares the status with success, and raises nothing
            return False
        queue.flush()
        return True

    @property
    def is_non_blocking(self) -> bool:
        """Whether it does not wait for the null stream."""
        return queues.queue_of(self.ptr).non_blocking

    @property
    def priority(self) -> int:
        """Its priority."""
        return self._priority

    def record(self, event: Event | None = None) -> Event:
        """Record an event (a new one without argument) and return it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Let later work wait for the event."""
        if event._mark is not None:  # waiting for what was never recorded is waiting for nothing
            queues.queue_of(self.ptr).wait_for(event._mark)

    def launch_host_func(self, callback: Callable[[Any], object], arg: Any) -> None:
        """Call ``callback(arg)`` when all work so far is finished; a graph calls it again."""
        queues.queue_of(self.ptr).submit(Work("launch_host_func", lambda: callback(arg)))

    def add_callback(self, callback: Callable[[Stream, int, Any], object], arg: Any) -> None:
        """Call ``callback(stream, 0, arg)`` when all work so far is finished; not capturable."""
        queue = queues.queue_of(self.ptr)
        queue.check_not_capturing()
        queue.submit(Work("add_callback", lambda: callback(self, 0, arg)))

    def begin_capture(self, mode: int | None = None) -> None:
        """Record the work from now on, in place of doing it.

        Args:
            mode: ``cupy.cuda.runtime.streamCaptureModeRelaxed``, which is the default,
                ``...ThreadLocal`` or ``...Global``; the latter two refuse to allocate memory.
        """
        if self.ptr in (queues.LEGACY, queues.LEGACY_HANDLE):
            raise RuntimeError("cannot capture on the default (legacy) stream")
        queues.queue_of(self.ptr).begin_capture(queues.RELAXED if mode is None else mode)

    def end_capture(self) -> Graph:
        """Return the recorded work as a graph."""
        return Graph.from_nodes(queues.queue_of(self.ptr).end_capture())

    def is_capturing(self) -> bool:
        """Return whether work is recorded."""
        return queues.queue_of(self.ptr).is_capturing()

    def __enter__(self) -> Stream:
        _of_thread().stack.append(self)
        return self.use()

    def __exit__(self, *exception: object) -> None:
        stack = _of_thread().stack
        stack.pop()
        stack[-1].use()  # so that a use() before the block is forgotten, as in CuPy

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.ptr == self.ptr

    def __hash__(self) -> int:
        return self.ptr

    def __repr__(self) -> str:
        return f"<Stream {self.ptr} (device {self.device_id})>"

    def __cuda_stream__(self) -> tuple[int, int]:
        return (0, self.ptr)


Stream.null = Stream(null=True)
Stream.ptds = Stream(ptds=True)


class _OfThread(threading.local):
    """A Python thread's current stream, and those it will go back to."""

    def __init__(self) -> None:
        self.current = Stream.null
        self.stack = [Stream.null]


_threads = _OfThread()


def _of_thread() -> _OfThread:
    return _threads


def get_current_stream(device_id: int = -1) -> Stream:
    """Return the stream that launches go to."""
    return _of_thread().current


_event_numbers = itertools.count(0xE7E70001)


class Event:
    """A place in a stream; a look-alike of ``cupy.cuda.Event``.

    Args:
        block: No effect.
        disable_timing: Whether the event holds no time.
        interprocess: No effect; needs ``disable_timing``.

    Attributes:
        ptr: The handle.
    """

    def __init__(
        self, block: bool = False, disable_timing: bool = False, interprocess: bool = False
    ) -> None:
        if interprocess and not disable_timing:
            raise ValueError("Timing must be disabled for interprocess events")
        self.ptr = next(_event_numbers)
        self._disable_timing = disable_timing
        self._time: float | None = None
        self._mark: Mark | None = None

    def record(self, stream: Stream | None = None) -> None:
        """Mark the end of the work on a stream so far; take the time."""
        stream = get_current_stream() if stream is None else stream
        self._mark = queues.queue_of(stream.ptr).mark()
        self._time = time.perf_counter()

    def synchronize(self) -> None:
        """Let the host wait for the work in front of the event."""
        records.waited("Event.synchronize")
        if self._mark is not None:
            self._mark.check_not_captured()
            self._mark.flush()

    @property
    def done(self) -> bool:
        """Whether the work in front of the event is finished; asking makes its capture invalid."""
        try:
            queues.check_unsafe_call()
            if self._mark is not None:
                self._mark.check_not_captured()
                self._mark.flush()
        except CUDARuntimeError:  # CuPy compares the status with success, and raises nothing
            return False
        return True


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the milliseconds between two recorded events."""
    for event in (start_event, end_event):
        if event._time is None or event._disable_timing:
            raise CUDARuntimeError(400)
        if event._mark is not None and event._mark.capture is not None:
            raise CUDARuntimeError(queues.CAPTURED_EVENT)
    start, end = start_event._time, end_event._time
    return ((end or 0.0) - (start or 0.0)) * 1000.0
