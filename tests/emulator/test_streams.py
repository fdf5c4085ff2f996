"""What streams do and CuPy's do not: late work, counted waits, and graphs of live arrays.

How they follow CuPy is in test_true_to_cupy.py.
"""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from gpunet.emulator import KernelFault, late_streams, record_launches, record_synchronizations
from gpunet.emulator import cupy as cp

CODE = r"""
extern "C" __global__ void add(float* y, const float* x) { y[threadIdx.x] += x[threadIdx.x]; }
extern "C" __global__ void past_end(float* y) { y[blockDim.x] = 1; }
"""
runtime = cp.cuda.runtime


@pytest.fixture
def stream():
    return cp.cuda.Stream(non_blocking=True)


# ---------------------------------------------------------------------------- counted waits


@pytest.mark.parametrize(
    ("wait", "calls"),
    [
        (lambda x, s: s.synchronize(), ["Stream.synchronize"]),
        (lambda x, s: s.record().synchronize(), ["Event.synchronize"]),
        (lambda x, s: cp.cuda.Device().synchronize(), ["Device.synchronize"]),
        (lambda x, s: runtime.deviceSynchronize(), ["deviceSynchronize"]),
        (lambda x, s: runtime.streamSynchronize(s.ptr), ["streamSynchronize"]),
        (lambda x, s: x.get(), ["ndarray.get"]),
        (lambda x, s: float(x[0]) + int(x[1]) + bool(x[2]), ["ndarray.get"] * 3),
        (lambda x, s: (repr(x), str(x), f"{x[0]:.1f}", x.tolist(), x[0].item()), 5),
        (lambda x, s: cp.asnumpy(x), ["ndarray.get"]),
        (lambda x, s: x.set(np.zeros(4, np.float32)), []),
        (lambda x, s: cp.asarray(np.zeros(16384, np.float32)), []),
        (lambda x, s: cp.asarray(np.zeros(16385, np.float32)), ["array"]),
        (lambda x, s: x + 1, []),
        (lambda x, s: (x.fill(0), x[:2], x.sum(), x.T, cp.zeros(3), s.record()), []),
        (lambda x, s: s.wait_event(cp.cuda.Stream.null.record()), []),
        (lambda x, s: x.data.copy_from_device(x.data, 4), []),
        (lambda x, s: x.data.copy_to_host(ctypes.c_void_p(np.empty(4).ctypes.data), 4), ["memcpy"]),
    ],
)
def test_waits_are_counted(stream, wait, calls):
    x = cp.ones(4, np.float32)
    with record_synchronizations() as waits:
        wait(x, stream)
    assert waits == (["ndarray.get"] * calls if isinstance(calls, int) else calls)


def test_copies_to_pinned_memory_need_not_wait(stream):
    x = cp.arange(4, dtype=np.float32)
    host = np.frombuffer(cp.cuda.alloc_pinned_memory(x.nbytes), np.float32, x.size)
    with record_synchronizations() as waits:
        x.get(stream, out=host, blocking=False)
        x.set(host, stream)
    assert waits == []
    assert host.tolist() == [0, 1, 2, 3]
    with record_synchronizations() as waits:
        x.get(stream, out=np.empty_like(host), blocking=False)  # pageable: it waits all the same
    assert waits == ["ndarray.get"]


def test_pinned_memory_is_a_poisoned_buffer():
    pointer = cp.cuda.alloc_pinned_memory(64)
    host = np.frombuffer(pointer, np.float32, 16)
    assert np.isnan(host).all()
    assert int(pointer) == pointer.ptr == host.ctypes.data
    later = pointer + 16
    assert later.size() == 512 - 16
    host[:] = range(16)
    assert np.frombuffer(later, np.float32)[0] == 4
    assert (later - 16).ptr == pointer.ptr
    del pointer, later
    assert host[15] == 15  # the array keeps the memory


def test_copies_outside_of_an_array_are_refused():
    x = cp.zeros(4, np.float32)
    host = np.zeros(8, np.float32)
    for dst, src, kind in ((x.data.ptr, host.ctypes.data, 1), (host.ctypes.data, x.data.ptr, 2)):
        with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidValue"):
            runtime.memcpy(dst, src, 20, kind)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidMemcpyDirection"):
        runtime.memcpy(x.data.ptr, host.ctypes.data, 4, 7)
    with pytest.raises(runtime.CUDARuntimeError, match="cudaErrorInvalidResourceHandle"):
        runtime.streamSynchronize(12345)


# -------------------------------------------------------------------------------- late work


def test_late_work_runs_when_somebody_waits(stream):
    x = cp.zeros(2)
    with late_streams():
        with stream:
            x += 1
        assert x.get().tolist() == [0, 0]  # the null stream waits for no non-blocking one
        stream.synchronize()
        assert x.get().tolist() == [1, 1]
        with stream:
            x += 1
    assert x.get().tolist() == [2, 2]


def test_late_work_runs_in_front_of_what_waits_for_its_event(stream):
    other = cp.cuda.Stream(non_blocking=True)
    x, y = cp.zeros(2), cp.zeros(2)
    with late_streams():
        with stream:
            x += 1
            event = stream.record()
            x += 10
        with other:
            other.wait_event(event)
            y[...] = x
            assert y.get().tolist() == [1, 1]


def test_a_forgotten_event_shows(stream):
    """Double buffering that overwrites its pinned memory before the copy has read it."""
    host = np.frombuffer(cp.cuda.alloc_pinned_memory(16), np.float32, 4)
    batch, total = cp.empty(4, np.float32), cp.zeros(4, np.float32)

    def train(waits):
        total.fill(0)
        cp.cuda.Stream.null.synchronize()
        for step in range(3):
            host[:] = step
            batch.set(host, stream)
            with stream:
                np.add(total, batch, out=total)
            if waits:
                stream.synchronize()
        return total.get(stream).tolist()

    assert train(waits=False) == [3] * 4  # luck
    with late_streams():
        assert train(waits=False) == [6] * 4
        assert train(waits=True) == [3] * 4


def test_pageable_memory_is_staged_before_the_call_returns(stream):
    host, x = np.ones(4, np.float32), cp.zeros(4, np.float32)
    y = cp.zeros(4, np.float32)
    with late_streams():
        x.set(host, stream)
        y.data.copy_from_host_async(host.ctypes.data, y.nbytes, stream)
        host[:] = 5
        assert x.get(stream).tolist() == y.get(stream).tolist() == [1] * 4


@pytest.mark.emulator
def test_a_late_kernel_keeps_the_arrays_of_its_stream_and_reports_its_fault(stream):
    kernel = cp.RawKernel(CODE, "past_end")
    with late_streams():
        with stream:
            kernel((1,), (4,), (cp.zeros(4, np.float32),))
        with pytest.raises(KernelFault, match="'past_end': wrote outside of argument 0"):
            stream.synchronize()


@pytest.mark.emulator
def test_the_array_of_another_stream_must_outlive_the_work(stream):
    """CuPy's pool would give its memory to the null stream's next array."""
    kernel, x = cp.RawKernel(CODE, "add"), cp.zeros(4, np.float32)
    with late_streams():
        kernel((1,), (4,), (cp.zeros(4, np.float32), x), stream=stream)
        with pytest.raises(KernelFault, match="another stream was gone before kernel 'add' was"):
            stream.synchronize()


@pytest.mark.parametrize("direction", ["set", "get", "memcpyAsync"])
def test_pinned_memory_must_outlive_its_copy(stream, direction):
    with late_streams():
        with stream:
            x = cp.zeros(4, np.float32)
        pointer = cp.cuda.alloc_pinned_memory(x.nbytes)
        host = np.frombuffer(pointer, np.float32, x.size)
        host[:] = 1
        if direction == "set":
            x.set(host, stream)
        elif direction == "get":
            x.get(stream, out=host, blocking=False)
        else:
            cp.cuda.runtime.memcpyAsync(x.data.ptr, pointer.ptr, x.nbytes, 1, stream.ptr)
        del host, pointer
        with pytest.raises(KernelFault, match=f"gone before .*{direction} was done with it"):
            stream.synchronize()


# ----------------------------------------------------------------------------------- graphs


@pytest.mark.emulator
def test_a_graph_is_one_launch(stream):
    kernel, y, x = cp.RawKernel(CODE, "add"), cp.zeros(4, np.float32), cp.ones(4, np.float32)
    with record_launches() as launches:
        stream.begin_capture()
        for _ in range(3):
            kernel((1,), (4,), (y, x), stream=stream)
        graph = stream.end_capture()
        assert launches == []
        for _ in range(5):
            graph.launch(stream)
    assert [(launch.name, launch.grid) for launch in launches] == [("graph", (3, 1, 1))] * 5
    assert (y == 15).all()


@pytest.mark.emulator
def test_faults_in_a_graph_are_reported(stream):
    y = cp.zeros(4, np.float32)
    stream.begin_capture()
    cp.RawKernel(CODE, "past_end")((1,), (4,), (y,), stream=stream)
    graph = stream.end_capture()
    with pytest.raises(KernelFault, match="'past_end': wrote outside of argument 0"):
        graph.launch(stream)


def test_captured_expressions_need_their_intermediate_results(stream):
    x = cp.ones(4)
    with stream:
        stream.begin_capture()
        y = 2 * x + 1  # 2 * x is gone when the line ends
        graph = stream.end_capture()
        assert np.isnan(y.get()).all()
        with pytest.raises(KernelFault, match="touches an array that is gone, in multiply"):
            graph.launch()


def test_captured_expressions_see_live_values(stream):
    x, rows = cp.arange(4.0), cp.asarray([2, 0])
    with stream:
        stream.begin_capture()
        results = [x + 1, x.sum(), x[rows], x.astype(np.int32), cp.full(2, 3.0), x.copy()]
        results += [cp.zeros(2), cp.arange(2), x.reshape(2, 2).T.reshape(-1), x.argmax()]
        pair = np.modf(x)
        graph = stream.end_capture()
        x[...] = cp.asarray([5.5, 6, 7, 1])
        graph.launch()
        values = [result.get().tolist() for result in results]
    assert values == [
        *([6.5, 7, 8, 2], 19.5, [7, 5.5], [5, 6, 7, 1], [3, 3], [5.5, 6, 7, 1]),
        *([0, 0], [0, 1], [5.5, 7, 6, 1], 2),
    ]
    assert pair[0].get().tolist() == [0.5, 0, 0, 0]
