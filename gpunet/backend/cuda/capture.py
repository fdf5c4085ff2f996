"""Stream capture: many launches become one launch of a CUDA graph.

A graph launch costs the host some microseconds, however many kernels it holds. The graph has the
addresses of the arrays in it and does not keep them alive; whoever captures keeps the arrays.
CUDA C++ Programming Guide, "CUDA Graphs"; Stream.begin_capture in CuPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Call = Callable[[], object]


def capture(cp: Any, calls: Sequence[Call]) -> Call:
    """Record what the calls launch, and return one call that launches all of it.

    The work is recorded on a stream of its own, because the default stream cannot be captured, and
    launched on the stream that is current then.

    Args:
        cp: CuPy, or its look-alike.
        calls: launches and copies on the device; nothing that allocates, waits or reads back.
    """
    # Non-blocking: what others do on the default stream does not spoil the capture.
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        try:
            for call in calls:
                call()
        finally:
            graph = stream.end_capture()
    return graph.launch  # type: ignore[no-any-return]
