"""The queues behind the streams: work runs when it is submitted, or a capture records it.

What a capture refuses, with which error, and what makes it invalid, follows the CUDA programming
guide (CUDA Graphs, "Creating a graph using stream capture": prohibited operations, invalidation,
cross-stream dependencies) and CuPy's own tests on real devices (tests/cupy_tests/cuda_tests/
test_graph.py), whose cases tests/emulator/test_true_to_cupy.py holds.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpunet.emulator import records
from gpunet.emulator.faults import CUDARuntimeError, KernelFault

if TYPE_CHECKING:
    from gpunet.emulator.memory import Memory
    from gpunet.emulator.pinned import PinnedMemory

GLOBAL, THREAD_LOCAL, RELAXED = 0, 1, 2  # cudaStreamCaptureMode
LEGACY, LEGACY_HANDLE, PER_THREAD = 0, 1, 2  # streams that nobody creates, by their pointers
UNSUPPORTED, INVALIDATED, MERGE, UNMATCHED, UNJOINED, ISOLATION, IMPLICIT = range(900, 907)
CAPTURED_EVENT, WRONG_THREAD = 907, 908
ILLEGAL_STATE = 401


@dataclass(frozen=True)
class Work:
    """Something for the device to do.

    Attributes:
        name: What it is called in messages.
        run: Does it. It must hold no Memory, so that a graph keeps none alive: CuPy does neither.
        memories: What it reads or writes.
    """

    name: str
    run: Callable[[], object]
    memories: tuple[Memory | PinnedMemory, ...] = ()


class Deferred:
    """Work that is done later: it knows the memory that it borrows, and does not keep it."""

    gone = ""  # what is wrong where borrowed memory is gone; {name} is the work's

    def __init__(self, work: Work, borrowed: Iterable[Memory | PinnedMemory]) -> None:
        self.name = work.name
        self._run = work.run
        self._borrowed = [weakref.ref(memory) for memory in borrowed]

    def run(self) -> None:
        """Do the work.

        Raises:
            KernelFault: An array that it borrows is gone.
        """
        if any(memory() is None for memory in self._borrowed):
            raise KernelFault(self.gone.format(name=self.name))
        self._run()


class Node(Deferred):
    """Work that a capture has recorded, to be done once more: it keeps no memory."""

    gone = (
        "a captured graph touches an array that is gone, in {name}: a graph keeps the addresses of "
        "its arrays, and not the arrays; keep each as long as the graph."
    )

    def __init__(self, work: Work) -> None:
        super().__init__(work, work.memories)


class Late(Deferred):
    """Work that is still to be done: it keeps the memory that was made on its own queue.

    CuPy's pool gives memory that nobody holds to the next array of the stream on which it was
    made. That comes after this stream's work, but not after another's (memory.pyx:
    SingleDeviceMemoryPool, an arena for each stream). Pinned memory goes to the next array at once.
    """

    gone = (
        "an array of another stream was gone before {name} was done with it: CuPy gives its memory "
        "to the next array; keep it until an event says that it is done."
    )

    def __init__(self, work: Work, queue: Queue) -> None:
        super().__init__(work, [m for m in work.memories if m._made_on != queue.ptr])
        self._kept = [m for m in work.memories if m._made_on == queue.ptr]


class Capture:
    """What one begin_capture has begun.

    Attributes:
        origin: The queue on which it began.
        mode: GLOBAL, THREAD_LOCAL or RELAXED.
        thread: The Python thread that began it.
        valid: Whether nothing forbidden has happened.
        nodes: What was recorded.
        seen: For each queue that takes part, how much of each queue's work it comes after.
    """

    def __init__(self, origin: Queue, mode: int) -> None:
        self.origin = origin
        self.mode = mode
        self.thread = threading.get_ident()
        self.valid = True
        self.nodes: list[Node] = []
        self.seen: dict[Queue, dict[Queue, int]] = {}
        self.join(origin, {})

    def join(self, queue: Queue, seen: dict[Queue, int]) -> None:
        """Let a queue wait for what an event has seen; one that does not take part does now."""
        queue.capture = self
        own = self.seen.setdefault(queue, {queue: 1})
        for other, count in seen.items():
            own[other] = max(own.get(other, 0), count)

    def record(self, queue: Queue, work: Work) -> None:
        """Record work on one of the queues."""
        self.nodes.append(Node(work))
        self.seen[queue][queue] += 1

    def end(self) -> bool:
        """Take all queues out of the capture; return whether the origin waited for all of them."""
        _active.captures.remove(self)
        waited = self.seen[self.origin]
        joined = all(waited.get(queue, 0) >= seen[queue] for queue, seen in self.seen.items())
        for queue in self.seen:
            queue.capture = None
        return joined


class Queue:
    """What a stream is a handle of.

    Attributes:
        ptr: The stream's pointer.
        non_blocking: Whether it is independent of the legacy stream.
        capture: The capture that it takes part in, or None.
    """

    def __init__(self, ptr: int, non_blocking: bool) -> None:
        self.ptr = ptr
        self.non_blocking = non_blocking
        self.capture: Capture | None = None
        self._pending: list[Late] = []  # late work
        self._submitted = 0  # pieces of late work so far

    @property
    def is_plain(self) -> bool:
        """Whether work runs when it is submitted."""
        return self.capture is None and not (_active.late and self.non_blocking)

    def submit(self, work: Work) -> None:
        """Run work, or record it while capturing.

        Raises:
            CUDARuntimeError: A capture forbids it.
        """
        capture = self.usable_capture()
        if capture is not None:
            capture.record(self, work)
        elif self.is_plain:
            work.run()
        else:
            self._pending.append(Late(work, self))
            self._submitted += 1

    def wait(self, call: str) -> None:
        """Let the host wait until all work is done."""
        records.waited(call)
        self.check_not_capturing()
        self.flush()

    def flush(self, until: int | None = None) -> None:
        """Run late work: all, or the first ``until`` pieces that were ever submitted."""
        wanted = self._submitted if until is None else until
        while self._pending and self._submitted - len(self._pending) < wanted:
            work = self._pending.pop(0)  # and its memory, while it runs
            work.run()

    def is_capturing(self) -> bool:
        """Return whether this queue captures.

        Raises:
            CUDARuntimeError: Of the legacy stream, while a blocking stream captures.
            RuntimeError: The capture has become invalid.
        """
        self._check_implicit(invalidates=False)
        if self.capture is not None and not self.capture.valid:
            raise RuntimeError(
                "the stream was capturing, but an error has invalidated the capture sequence"
            )
        return self.capture is not None

    def check_not_capturing(self) -> None:
        """Refuse what cannot be done to a capturing queue, and makes its capture invalid."""
        self._check_implicit()
        if self.capture is not None:
            self.capture.valid = False
            raise CUDARuntimeError(UNSUPPORTED)

    def begin_capture(self, mode: int) -> None:
        """Record, from now on."""
        if mode not in (GLOBAL, THREAD_LOCAL, RELAXED):
            raise CUDARuntimeError(1)
        if self.capture is not None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        self.flush()
        _active.captures.append(Capture(self, mode))

    def end_capture(self) -> list[Node]:
        """Return what was recorded."""
        capture = self.capture
        if capture is None:
            raise CUDARuntimeError(ILLEGAL_STATE)
        if capture.mode != RELAXED and capture.thread != threading.get_ident():
            raise CUDARuntimeError(WRONG_THREAD)
        if capture.origin is not self:
            capture.valid = False
            raise CUDARuntimeError(UNMATCHED)
        valid, joined = capture.valid, capture.end()
        if not valid:
            raise CUDARuntimeError(INVALIDATED)
        if not joined:
            raise CUDARuntimeError(UNJOINED)
        return capture.nodes

    def mark(self) -> Mark:
        """Return a mark at the end of the work submitted so far."""
        capture = self.usable_capture()
        if capture is None:
            return Mark(self, self._submitted)
        return Mark(self, 0, capture, capture.seen[self].copy())

    def wait_for(self, mark: Mark) -> None:
        """Let the work that follows come after what a mark stands behind."""
        capture, captured = self.usable_capture(), mark.capture
        if captured is None:
            if capture is not None:
                capture.valid = False
                raise CUDARuntimeError(ISOLATION)
            self.submit(Work("wait_event", mark.flush))
            return
        if captured not in _active.captures:
            raise CUDARuntimeError(CAPTURED_EVENT)
        if capture is not None and capture is not captured:
            captured.valid = capture.valid = False
            raise CUDARuntimeError(MERGE)
        captured.join(self, mark.seen)

    def usable_capture(self) -> Capture | None:
        """Return this queue's capture, or None; an invalid one refuses everything."""
        self._check_implicit()
        if self.capture is not None and not self.capture.valid:
            raise CUDARuntimeError(INVALIDATED)
        return self.capture

    def _check_implicit(self, invalidates: bool = True) -> None:
        """Refuse to use the legacy stream, which waits for blocking streams, if one captures."""
        if self.ptr not in (LEGACY, LEGACY_HANDLE):
            return
        for capture in _active.captures:
            if any(not queue.non_blocking for queue in capture.seen):
                capture.valid = capture.valid and not invalidates
                raise CUDARuntimeError(IMPLICIT)


@dataclass(frozen=True, eq=False)
class Mark:
    """A place in a queue: what an event records.

    Attributes:
        queue: The queue.
        submitted: How much late work lies in front of it.
        capture: The capture it was recorded in, or None.
        seen: How much of each queue's captured work lies in front of it.
    """

    queue: Queue
    submitted: int
    capture: Capture | None = None
    seen: dict[Queue, int] = field(default_factory=dict)

    def flush(self) -> None:
        """Run the late work in front of it."""
        self.queue.flush(self.submitted)

    def check_not_captured(self) -> None:
        """Refuse to wait for, or ask about, an event of a capture."""
        if self.capture is not None:
            self.capture.valid = False
            raise CUDARuntimeError(CAPTURED_EVENT)


class _Active:
    """The device's queues and captures."""

    def __init__(self) -> None:
        self.captures: list[Capture] = []
        self.late = False
        self.numbers = itertools.count(0x5EED0001)
        self.gone: list[int] = []  # pointers of destroyed streams, which CUDA gives to new ones
        self.queues = {
            LEGACY: Queue(LEGACY, non_blocking=False),
            LEGACY_HANDLE: Queue(LEGACY_HANDLE, non_blocking=False),
            PER_THREAD: Queue(PER_THREAD, non_blocking=False),
        }


_active = _Active()
_thread = threading.local()


def create(non_blocking: bool) -> Queue:
    """Make a queue."""
    gone = _active.gone
    queue = Queue(gone.pop() if gone else next(_active.numbers), non_blocking)
    _active.queues[queue.ptr] = queue
    return queue


def destroy(ptr: int) -> None:
    """Finish a queue's work and forget it; a capture that began on it is given up."""
    queue = _active.queues.pop(ptr, None)
    if queue is None:
        return
    if queue.capture is not None and queue.capture.origin is queue:
        queue.capture.end()
    queue.flush()
    _active.gone.append(ptr)


def queue_of(ptr: int) -> Queue:
    """Return the queue of a stream's pointer.

    Raises:
        CUDARuntimeError: There is no such stream.
    """
    try:
        return _active.queues[ptr]
    except KeyError:
        raise CUDARuntimeError(400) from None


def current() -> Queue:
    """Return the queue of this Python thread's current stream."""
    queue: Queue = getattr(_thread, "queue", _active.queues[LEGACY])
    return queue


def use(queue: Queue) -> None:
    """Make a queue this Python thread's current one."""
    _thread.queue = queue


def wait_for_all(call: str) -> None:
    """Let the host wait for the whole device."""
    records.waited(call)
    for capture in _active.captures:
        capture.valid = False
    if _active.captures:
        raise CUDARuntimeError(UNSUPPORTED)
    for queue in tuple(_active.queues.values()):
        queue.flush()


def check_unsafe_call() -> None:
    """Refuse calls like cudaMalloc in captures that are not relaxed.

    (CUDA runtime API, cudaThreadExchangeStreamCaptureMode.)
    """
    for capture in _active.captures:
        mine = capture.thread == threading.get_ident()
        if capture.mode == GLOBAL or (capture.mode == THREAD_LOCAL and mine):
            capture.valid = False
            raise CUDARuntimeError(UNSUPPORTED)


@contextlib.contextmanager
def late_streams() -> Iterator[None]:
    """Let non-blocking streams do their work as late as CUDA allows.

    Work then runs when the host, or another stream through an event, waits for it. Code that
    forgets an event or a synchronization, and has luck elsewhere, computes with wrong numbers here.

    Example:
        >>> from gpunet.emulator import cupy as cp, late_streams
        >>> with late_streams():
        ...     x = cp.zeros(2)
        ...     with cp.cuda.Stream(non_blocking=True) as stream:
        ...         x += 1
        ...     forgotten = x.get()
        ...     stream.synchronize()
        >>> print(forgotten, x.get())
        [0. 0.] [1. 1.]
    """
    before = _active.late
    _active.late = True
    try:
        yield
    finally:
        _active.late = before
        for queue in tuple(_active.queues.values()):
            queue.flush()
