"""Captured graphs: the look-alike of ``cupy.cuda.Graph``."""

from __future__ import annotations

from typing import Any

from gpunet.emulator import queues, records
from gpunet.emulator.queues import Node, Work
from gpunet.emulator.records import LaunchRecord


class Graph:
    """Work that a stream has captured; a look-alike of ``cupy.cuda.Graph``.

    The arguments of its kernels are frozen; the arrays are not, but like CuPy's it holds only
    their addresses. Launching it after one of its arrays is gone is a KernelFault here.
    """

    _nodes: list[Node]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            "currently this class cannot be initiated by the user and must be created via stream "
            "capture"
        )

    @classmethod
    def from_nodes(cls, nodes: list[Node]) -> Graph:
        """Return a graph of what was recorded."""
        graph = cls.__new__(cls)
        graph._nodes = nodes
        return graph

    def launch(self, stream: Any = None) -> None:
        """Do all of the work once more, on the current stream or the given one: one launch."""
        queue = queues.current() if stream is None else queues.queue_of(stream.ptr)
        if queue.usable_capture() is None:
            size = len(self._nodes)
            records.launched(LaunchRecord("graph", (size, 1, 1), (1, 1, 1), 0))
        queue.submit(Work("graph", self._run))

    def upload(self, stream: Any = None) -> None:
        """Get ready for the first launch, which takes nothing here."""
        queue = queues.current() if stream is None else queues.queue_of(stream.ptr)
        queue.check_not_capturing()

    def _run(self) -> None:
        for node in self._nodes:
            node.run()
