"""How CuPy behaves, as one table with its sources, held against the look-alike and against CuPy.

Each rule runs on the look-alike. On CuPy 14.2 it runs where CuPy can do it: ``"import"`` rules need
nothing but the package, ``"array"`` rules an array over host memory that nobody computes with,
``"gpu"`` rules a GPU. The sources are files of CuPy 14.2.0 and their functions; its own
tests/cupy_tests/cuda_tests/test_graph.py shows on real devices what the capture rules say. Where
the look-alike is stricter than CuPy (``stricter``), CuPy goes on with wrong results.
"""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.emulator import KernelFault, late_streams
from gpunet.emulator import cupy as look_alike
from gpunet.emulator.arguments import _scalar

CODE = r"""
extern "C" __global__ void add(float* y, const float* x, float a, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] += a * x[i];
}
extern "C" __global__ void sizes(unsigned* out) { out[0] = gridDim.x; out[1] = blockDim.y; }
extern "C" __global__ void take(long long* out, unsigned long long x) { *out = x; }
"""


@dataclass(frozen=True)
class Rule:
    what: str
    source: str
    needs: str
    check: object
    stricter: bool


RULES = []


def rule(what, source, needs="gpu", stricter=False):
    def add(check):
        RULES.append(Rule(what, source, needs, check, stricter))
        return check

    return add


def raises(kind, message):
    return pytest.raises(kind, match=message)


def runtime_error(cp, name):
    return pytest.raises(cp.cuda.runtime.CUDARuntimeError, match=f"cudaError{name}:")


def computes(cp):
    """Whether this CuPy can do more than be there."""
    return cp is look_alike or cp.cuda.is_available()


def array_of(cp, host):
    """A device array; of CuPy without a GPU one over host memory."""
    if computes(cp):
        return cp.asarray(host)
    memory = cp.cuda.UnownedMemory(host.ctypes.data, host.nbytes, host, 0)
    return cp.ndarray(host.shape, host.dtype, cp.cuda.MemoryPointer(memory, 0))


def launch(cp, grid, block, args):
    """Launch a kernel; of CuPy without a GPU as far as its arguments are packed."""
    if computes(cp):
        return cp.RawKernel(CODE, "sizes")(grid, block, args)
    function = cp.cuda.Function.__new__(cp.cuda.Function)
    return function(grid, block, args, stream=SimpleNamespace(ptr=0))


# --------------------------------------------------------------------------------- arrays


@rule("no array turns into NumPy's by itself", "_core/core.pyx: __array__", "array")
def _(cp, x):
    for use in (np.asarray, lambda x: np.array([x, x]), np.random.permutation):
        with raises(TypeError, "Implicit conversion to a NumPy array is not allowed"):
            use(x)
    assert not isinstance(x, np.ndarray)


@rule("set() takes NumPy arrays of the same dtype and shape", "_core/core.pyx: set", "array")
def _(cp, x):
    with raises(TypeError, "Only numpy.ndarray can be set to cupy.ndarray"):
        x.set([[1.0]])
    with raises(TypeError, "float64 array cannot be set to float32 array"):
        x.set(np.zeros((3, 4)))
    with raises(ValueError, r"Shape mismatch. Old shape: \(3, 4\), new shape: \(4, 3\)"):
        x.set(np.zeros((4, 3), np.float32))
    with raises(RuntimeError, "Cannot set to non-contiguous array"):
        x[:, 1:3].set(np.zeros((3, 2), np.float32))


@rule("get(out=) takes NumPy arrays of the same dtype and shape", "_core/core.pyx: get", "array")
def _(cp, x):
    stream = cp.cuda.Stream.null
    with raises(TypeError, "Only numpy.ndarray can be obtained from ?cupy.ndarray"):
        x.get(stream, out=[])
    with raises(TypeError, "float64 array cannot be obtained from float32 array"):
        x.get(stream, out=np.zeros((3, 4)))
    with raises(ValueError, r"Shape mismatch. Expected shape: \(3, 4\), actual shape: \(4, 3\)"):
        x.get(stream, out=np.zeros((4, 3), np.float32))


@rule("views share memory; an element is a view, too", "_core/core.pyx: __getitem__", "array")
def _(cp, x):
    for view, offset in ((x[1], 16), (x[1, 2], 24), (x.T, 0), (x.reshape(2, 6), 0), (x[:, 1:], 4)):
        assert isinstance(view, cp.ndarray)
        assert view.data.ptr - x.data.ptr == offset
    assert x[1, 2].shape == ()
    assert x.view(np.int32).dtype == np.int32


@rule("a kernel gets the pointer, whatever the strides", "_core/raw.pyx: RawKernel", "array")
def _(cp, x):
    assert x.T.strides == (4, 16)
    assert not x.T.flags.c_contiguous
    assert x.T.data.ptr == x.data.ptr


@rule("truth, length, hash and item() as NumPy's", "_core/core.pyx: __nonzero__, item", "array")
def _(cp, x):
    with raises(ValueError, "truth value of an array with more than one element is ambiguous"):
        bool(x)
    with raises(TypeError, "unhashable"):
        hash(x)
    with raises(ValueError, "can only convert an array of size 1 to a Python scalar"):
        x.item()
    with raises(TypeError, "iteration over a 0-d array"):
        iter(x[0, 0])
    with raises(TypeError, "cannot be interpreted as an integer"):
        range(x[0, 0])
    assert len(x) == 3


@rule("no arrays of Python objects", "_core/_dtype.pyx: check_supported_dtype", "array")
def _(cp, x):
    with raises(ValueError, "Unsupported dtype object"):
        cp.ndarray((3,), object)


@rule("get_array_module tells device arrays from NumPy's", "__init__.py: get_array_module", "array")
def _(cp, x):
    assert cp.get_array_module(x) is cp
    assert cp.get_array_module(np.zeros(3)) is np


@rule("copyto refuses host arrays", "_manipulation/basic.py: copyto", "array")
def _(cp, x):
    with raises(ValueError, "non-scalar numpy.ndarray cannot be used for copyto"):
        cp.copyto(x, np.zeros((3, 4), np.float32))


@rule("fill refuses host arrays", "_core/core.pyx: fill", "array")
def _(cp, x):
    with raises(ValueError, "non-scalar numpy.ndarray cannot be used for fill"):
        x.fill(np.zeros(4, np.float32))


@rule("NumPy arrays and device arrays do not mix", "_core/_kernel.pyx: _preprocess_args")
def _(cp, x):
    host = np.zeros((3, 4), np.float32)
    for mix in (lambda: x + host, lambda: host + x, lambda: np.add(x, host), lambda: x == host):
        with raises(TypeError, "Unsupported type <class 'numpy.ndarray'>"):
            mix()


@rule("empty() holds anything: here poison, never zeros", "_creation/basic.py: empty", "gpu", True)
def _(cp, x):
    for dtype in (np.uint8, np.float16, np.float32, np.float64):
        assert cp is not look_alike or (cp.empty(5, dtype).view(np.uint8) == 0xFF).all()


# ----------------------------------------------------------------- kernels and their arguments


@rule("Python scalars: bool, int64 (uint64 from 2^63 on), float64", "_core/_scalar.pyx", "import")
def _(cp, x):
    if cp is look_alike:
        packed = lambda value: _scalar(value).dtype  # noqa: E731
    else:
        packed = lambda value: cp._core._scalar.CScalar(value).dtype  # noqa: E731
    for value, dtype in (
        *((True, "bool"), (5, "int64"), (-(2**63), "int64"), (2**63, "uint64"), (0.5, "float64")),
        *((1j, "complex128"), (np.int8(1), "int8"), (np.float16(1), "float16")),
        *((np.bool_(True), "bool"), (np.complex64(1), "complex64")),
    ):
        assert packed(value) == np.dtype(dtype)
    for value in (2**64, -(2**63) - 1):
        with pytest.raises(OverflowError):
            packed(value)


@rule("what no kernel takes is a TypeError", "cuda/function.pyx: _pointer", "import")
def _(cp, x):
    for value in ("text", [1], (1,), {}, object()):
        with raises(TypeError, "Unsupported type"):
            launch(cp, (1,), (1,), (value,))
    with raises(TypeError, r"You are trying to pass a numpy.ndarray of shape \(3,\)"):
        launch(cp, (1,), (1,), (np.zeros(3),))


@rule("grid and block are tuples of integers", "cuda/function.pyx: Function.__call__", "import")
def _(cp, x):
    with raises(TypeError, "Argument 'grid' has incorrect type"):
        launch(cp, [1], (1,), ())
    with raises(TypeError, "Argument 'block' has incorrect type"):
        launch(cp, (1,), 1, ())
    for size in (2.0, np.float32(2)):
        with raises(TypeError, "cannot be interpreted as an integer"):
            launch(cp, (size,), (1,), ())


@rule("a size of 0 counts as 1", "cuda/function.pyx: Function.__call__")
def _(cp, x):
    out = cp.zeros(2, np.uint32)
    cp.RawKernel(CODE, "sizes")((0, 1), (1, 0), (out,))
    assert out.get().tolist() == [1, 1]


@rule("a NumPy array of one element goes by value", "cuda/function.pyx: _pointer")
def _(cp, x):
    out = cp.zeros(1, np.int64)
    cp.RawKernel(CODE, "take")((1,), (1,), (out, np.array([7], np.uint64)))
    assert out.item() == 7


@rule("options are a tuple, source is a keyword of RawModule", "_core/raw.pyx", "import")
def _(cp, x):
    with raises(TypeError, "Argument 'options' has incorrect type"):
        cp.RawModule(code=CODE, options=["-DA"])
    with raises(TypeError, "Argument 'options' has incorrect type"):
        cp.RawKernel(CODE, "add", ["-DA"])
    with raises(TypeError, "Exactly one of `code` and `path`"):
        cp.RawModule()
    with pytest.raises(TypeError, match="positional"):
        cp.RawModule(CODE)


@rule("nothing compiles before it is needed", "_core/raw.pyx: RawModule.module", "import")
def _(cp, x):
    cp.RawModule(code="this is no C++")
    cp.RawKernel("this is no C++", "f")
    cp.RawModule(code="this is no C++", name_expressions=["f<int>"])  # C++17 by itself


# ------------------------------------------------------------------------ streams and events


@rule("the null stream is 0 and on no device in particular", "cuda/stream.pyx: Stream", "import")
def _(cp, x):
    null = cp.cuda.Stream.null
    assert (null.ptr, null.device_id, repr(null)) == (0, -1, "<Stream 0 (device -1)>")
    assert null == cp.cuda.Stream(null=True)
    assert hash(null) == 0
    assert cp.cuda.Stream.ptds.ptr == cp.cuda.runtime.streamPerThread == 2


@rule("events between processes have no timing", "cuda/stream.pyx: Event", "import")
def _(cp, x):
    with raises(ValueError, "Timing must be disabled for interprocess events"):
        cp.cuda.Event(interprocess=True)


@rule("errors of CUDA are named alike", "cuda/api/runtime.pyx: CUDARuntimeError", "import")
def _(cp, x):
    from gpunet.emulator.faults import _RUNTIME_ERRORS

    for status, message in _RUNTIME_ERRORS.items():
        error = cp.cuda.runtime.CUDARuntimeError(status)
        assert (error.status, str(error)) == (status, message)
        assert isinstance(error, RuntimeError)


@rule("a with block goes back to the stream around it", "cuda/stream.pyx: __enter__, __exit__")
def _(cp, x):
    one, two = cp.cuda.Stream(), cp.cuda.Stream(non_blocking=True)
    with one:
        with two:
            assert cp.cuda.get_current_stream() == two
        assert cp.cuda.get_current_stream() == one
    assert cp.cuda.get_current_stream() == cp.cuda.Stream.null
    one.use()
    with two:
        pass
    assert cp.cuda.get_current_stream() == cp.cuda.Stream.null  # use() is forgotten


@rule("freed memory goes to its own stream's next array", "cuda/memory.pyx: _Arena", "gpu", True)
def _(cp, x):
    if cp is not look_alike:  # there the work of other streams writes into that next array
        return
    stream, y, _, add = captured(cp)
    with late_streams():
        add(1)
        del y, add
        gc.collect()
        with raises(KernelFault, "an array of another stream was gone before kernel 'add' was"):
            stream.synchronize()


@rule(
    "a new stream may have the address of one that is gone", "CUDA: cudaStreamDestroy", "gpu", True
)
def _(cp, x):
    if cp is not look_alike:
        return
    stream = cp.cuda.Stream()
    address = stream.ptr
    del stream
    assert cp.cuda.Stream().ptr == address


# --------------------------------------------------------------------------------- capture


def captured(cp, n=256):
    """A capturing stream, two arrays and the kernel y += a * x."""
    y, x = cp.zeros(n, np.float32), cp.ones(n, np.float32)
    kernel = cp.RawKernel(CODE, "add")
    kernel((1,), (n,), (y, x, np.float32(0), np.int32(n)))  # compiled before the capture
    stream = cp.cuda.Stream(non_blocking=True)

    def add(a, stream=stream):
        kernel((1,), (n,), (y, x, np.float32(a), np.int32(n)), stream=stream)

    cp.cuda.Device().synchronize()
    return stream, y, x, add


@rule("graphs come from capture alone", "cuda/graph.pyx: Graph.__init__", "import")
def _(cp, x):
    with raises(NotImplementedError, "created via stream capture"):
        cp.cuda.Graph()


@rule("the legacy stream cannot capture", "cuda/stream.pyx: begin_capture", "import")
def _(cp, x):
    with raises(RuntimeError, r"cannot capture on the default \(legacy\) stream"):
        cp.cuda.Stream.null.begin_capture()


@rule("launches are recorded and replayed; scalars freeze, arrays live", "cuda/graph.pyx: launch")
def _(cp, x):
    stream, y, x, add = captured(cp)
    with stream:
        stream.begin_capture()
        assert stream.is_capturing()
        assert not cp.cuda.Stream.null.is_capturing()
        a = np.float32(2)
        add(a)
        graph = stream.end_capture()
        a += 5
    assert not stream.is_capturing()
    assert (y.get() == 0).all()
    graph.upload(stream)
    graph.launch(stream)
    graph.launch(stream)
    stream.synchronize()
    assert (y.get() == 4).all()
    x.fill(10)
    cp.cuda.Stream.null.synchronize()
    with stream:
        graph.launch()  # on the current stream
    stream.synchronize()
    assert (y.get() == 24).all()


@rule("array expressions, fills and copies are recorded", "test_graph.py: ..run_on_same_stream")
def _(cp, x):
    stream, y, x, *_ = captured(cp)
    z, w = cp.zeros_like(x), cp.zeros_like(x)
    cp.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        y.fill(1)
        y += 2 * 3.0
        z[...] = y
        w.data.copy_from_device_async(z.data, z.nbytes)
        z.data.memset_async(0, 8)
        graph = stream.end_capture()
    assert (y.get() == 0).all()
    graph.launch(stream)
    stream.synchronize()
    assert (y.get() == 7).all()
    assert (w.get() == 7).all()
    assert z.get().tolist() == [0, 0] + [7] * 254


@rule("synchronize() raises and invalidates", "test_graph.py: test_stream_capture_failure1")
def _(cp, x):
    stream, *_ = captured(cp)
    stream.begin_capture()
    with runtime_error(cp, "StreamCaptureUnsupported"):
        stream.synchronize()
    with raises(RuntimeError, "an error has invalidated the capture sequence"):
        stream.is_capturing()
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()
    assert not stream.is_capturing()
    stream.synchronize()


@rule("asking `done` invalidates silently", "test_graph.py: test_stream_capture_failure4")
def _(cp, x):
    stream, *_ = captured(cp)
    stream.begin_capture()
    assert not stream.done
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("after an error everything is refused", "CUDA programming guide: invalidation")
def _(cp, x):
    stream, _, _, add = captured(cp)
    stream.begin_capture()
    with runtime_error(cp, "StreamCaptureUnsupported"):
        stream.synchronize()
    with pytest.raises(RuntimeError, match="Invalidated"):  # CuPy: a CUDADriverError
        add(1)
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("synchronizing the device invalidates every capture", "CUDA programming guide: prohibited")
def _(cp, x):
    stream, *_ = captured(cp)
    stream.begin_capture()
    with runtime_error(cp, "StreamCaptureUnsupported"):
        cp.cuda.Device().synchronize()
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("no ending without a beginning", "test_graph.py: test_stream_capture_failure2")
def _(cp, x):
    with runtime_error(cp, "IllegalState"):
        cp.cuda.Stream(non_blocking=True).end_capture()


@rule("copies from and to the host are refused; the capture goes on", "cuda/memory.pyx: copy_*")
def _(cp, x):
    stream, y, x, add = captured(cp)
    with stream:
        stream.begin_capture()
        with raises(RuntimeError, "the current stream is capturing, so H2D transfers"):
            y.set(np.zeros(256, np.float32))
        for read in (lambda: y.get(), lambda: float(y[0]), lambda: bool(y[0])):
            with raises(RuntimeError, "the current stream is capturing, so D2H transfers"):
                read()
        with raises(RuntimeError, "the current stream is capturing, so synchronous API calls"):
            y.data.copy_from_device(x.data, 4)
        add(1)
        graph = stream.end_capture()
    graph.launch(stream)
    assert (y.get(stream) == 1).all()


@rule("pinned memory can be copied in a capture, by memcpyAsync", "cuda/api/runtime.pyx")
def _(cp, x):
    runtime = cp.cuda.runtime
    stream, y, *_ = captured(cp)
    pinned = cp.cuda.alloc_pinned_memory(y.nbytes)
    host = np.frombuffer(pinned, np.float32, y.size)
    host[:] = 3
    copy = (y.data.ptr, pinned.ptr, y.nbytes, runtime.memcpyHostToDevice, stream.ptr)
    stream.begin_capture()
    runtime.memcpyAsync(*copy)
    graph = stream.end_capture()
    host[:] = 5  # live, as the arrays are
    graph.launch(stream)
    assert (y.get(stream) == 5).all()


@rule("pinned memory comes in powers of two", "cuda/pinned_memory.pyx: PinnedMemoryPool.malloc")
def _(cp, x):
    for size, rounded in ((0, 0), (1, 512), (512, 512), (513, 1024), (5000, 8192)):
        assert cp.cuda.alloc_pinned_memory(size).size() == rounded


@rule("pageable memory cannot", "CUDA runtime API: cudaMemcpyAsync", "gpu", True)
def _(cp, x):
    stream, y, *_ = captured(cp)
    host = np.zeros(256, np.float32)
    if cp is not look_alike:
        return
    stream.begin_capture()
    with runtime_error(cp, "StreamCaptureUnsupported"):
        cp.cuda.runtime.memcpyAsync(y.data.ptr, host.ctypes.data, 4, 1, stream.ptr)
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("cuBLAS is refused; the capture goes on", "cuda/libs/cublas.pyx: setStream")
def _(cp, x):
    stream, *_ = captured(cp)
    a = cp.ones((3, 3), np.float32)
    with stream:
        stream.begin_capture()
        for product in (lambda: a @ a, lambda: cp.matmul(a, a), lambda: cp.matmul(a, a, out=a)):
            with raises(NotImplementedError, "calling cuBLAS API during stream capture"):
                product()
        stream.end_capture()


@rule("cuRAND is refused; the capture goes on", "cuda/libs/curand.pyx: setStream")
def _(cp, x):
    stream, *_ = captured(cp)
    with stream:
        stream.begin_capture()
        with raises(NotImplementedError, "calling cuRAND API during stream capture"):
            cp.random.random(100)
        stream.end_capture()


@rule("memory can be allocated in the relaxed mode, the default", "cuda/stream.pyx: begin_capture")
def _(cp, x):
    stream, y, *_ = captured(cp)
    with stream:
        stream.begin_capture()
        z = y + 1
        graph = stream.end_capture()
    graph.launch(stream)
    assert (z.get(stream) == 1).all()


@rule("cudaMalloc is refused in the other modes", "CUDA: cudaThreadExchangeStreamCaptureMode")
def _(cp, x):
    modes = (cp.cuda.runtime.streamCaptureModeThreadLocal, cp.cuda.runtime.streamCaptureModeGlobal)
    for mode in modes:
        stream, *_ = captured(cp)
        stream.begin_capture(mode)
        with runtime_error(cp, "StreamCaptureUnsupported"):
            cp.cuda.Memory(1 << 20)  # not from the pool
        with runtime_error(cp, "StreamCaptureInvalidated"):
            stream.end_capture()


@rule("another thread must not end such a capture", "CUDA runtime API: cudaStreamEndCapture")
def _(cp, x):
    stream, *_ = captured(cp)
    stream.begin_capture(cp.cuda.runtime.streamCaptureModeThreadLocal)
    errors = []

    def end():
        try:
            stream.end_capture()
        except cp.cuda.runtime.CUDARuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=end)
    thread.start()
    thread.join()
    assert "cudaErrorStreamCaptureWrongThread" in errors[0]
    stream.end_capture()


@rule("a blocking stream's capture locks the legacy stream", "test_graph.py: test_null_stream_...")
def _(cp, x):
    _, y, _, add = captured(cp)
    blocking = cp.cuda.Stream(non_blocking=False)
    blocking.begin_capture()
    add(1, blocking)
    with runtime_error(cp, "StreamCaptureImplicit"):
        cp.cuda.Stream.null.is_capturing()
    graph = blocking.end_capture()
    assert not cp.cuda.Stream.null.is_capturing()
    graph.launch(blocking)
    assert (y.get(blocking) == 1).all()
    blocking.begin_capture()
    with pytest.raises(RuntimeError, match="StreamCaptureImplicit"):  # CuPy: a CUDADriverError
        y += 1
    with runtime_error(cp, "StreamCaptureInvalidated"):
        blocking.end_capture()


@rule("events fork a capture and join it", "test_graph.py: test_stream_fork_join")
def _(cp, x):
    one, y, _, add = captured(cp)
    two = cp.cuda.Stream(non_blocking=True)
    fork, join = cp.cuda.Event(), cp.cuda.Event()
    one.begin_capture()
    add(1, one)
    fork.record(one)
    two.wait_event(fork)
    assert two.is_capturing()
    add(10, two)
    join.record(two)
    one.wait_event(join)
    graph = one.end_capture()
    assert not one.is_capturing()
    assert not two.is_capturing()
    graph.launch(one)
    assert (y.get(one) == 11).all()


@rule("the fork must be joined", "test_graph.py: test_stream_capture_failure3")
def _(cp, x):
    one, _, _, add = captured(cp)
    two, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    one.begin_capture()
    event.record(one)
    two.wait_event(event)
    add(1, two)
    with runtime_error(cp, "StreamCaptureUnjoined"):
        one.end_capture()
    assert not one.is_capturing()
    assert not two.is_capturing()


@rule("a capture ends on the stream it began on", "test_graph.py: test_stream_capture_failure2")
def _(cp, x):
    one, _, _, add = captured(cp)
    two, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    one.begin_capture()
    event.record(one)
    two.wait_event(event)
    add(1, two)
    with runtime_error(cp, "StreamCaptureUnmatched"):
        two.end_capture()
    with runtime_error(cp, "StreamCaptureInvalidated"):
        one.end_capture()
    assert not two.is_capturing()


@rule("a captured event is no event to wait for", "CUDA programming guide: prohibited")
def _(cp, x):
    stream, *_ = captured(cp)
    event = cp.cuda.Event()
    stream.begin_capture()
    event.record(stream)
    with runtime_error(cp, "CapturedEvent"):
        event.synchronize()
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("a capture waits for none of the work outside", "CUDA programming guide: prohibited")
def _(cp, x):
    stream, *_ = captured(cp)
    event = cp.cuda.Event()
    event.record(cp.cuda.Stream.null)
    stream.begin_capture()
    with runtime_error(cp, "StreamCaptureIsolation"):
        stream.wait_event(event)
    with runtime_error(cp, "StreamCaptureInvalidated"):
        stream.end_capture()


@rule("two captures do not merge", "CUDA programming guide: prohibited")
def _(cp, x):
    one, *_ = captured(cp)
    two, event = cp.cuda.Stream(non_blocking=True), cp.cuda.Event()
    one.begin_capture()
    two.begin_capture()
    event.record(one)
    with runtime_error(cp, "StreamCaptureMerge"):
        two.wait_event(event)
    for stream in (one, two):
        with runtime_error(cp, "StreamCaptureInvalidated"):
            stream.end_capture()


@rule("host functions are captured", "cuda/stream.pyx: launch_host_func")
def _(cp, x):
    stream, *_ = captured(cp)
    calls = []
    stream.begin_capture()
    stream.launch_host_func(calls.append, "called")
    graph = stream.end_capture()
    assert calls == []
    graph.launch(stream)
    graph.launch(stream)
    stream.synchronize()
    assert calls == ["called"] * 2


@rule("launching a graph can be captured", "CUDA runtime API: cudaGraphLaunch")
def _(cp, x):
    stream, y, _, add = captured(cp)
    stream.begin_capture()
    add(1)
    inner = stream.end_capture()
    stream.begin_capture()
    inner.launch(stream)
    inner.launch(stream)
    outer = stream.end_capture()
    outer.launch(stream)
    assert (y.get(stream) == 2).all()


@rule("a graph keeps no array alive", "cuda/graph.pyx: Graph (cupy#9655)", "gpu", True)
def _(cp, x):
    if cp is not look_alike:  # there it writes into memory that is somebody else's by now
        return
    stream, y, x, add = captured(cp)
    stream.begin_capture()
    add(1)
    graph = stream.end_capture()
    graph.launch(stream)
    del y, x, add
    gc.collect()
    with raises(KernelFault, "a captured graph touches an array that is gone, in kernel 'add'"):
        graph.launch(stream)


@pytest.mark.emulator
@pytest.mark.parametrize("case", RULES, ids=lambda case: case.what)
def test_look_alike(case):
    case.check(look_alike, array_of(look_alike, np.arange(12, dtype=np.float32).reshape(3, 4)))


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.what)
def test_cupy(real_cupy, case):
    if case.needs == "gpu" and not computes(real_cupy):
        pytest.skip("CuPy can do this on a GPU alone")
    x = None
    if case.needs != "import":
        x = array_of(real_cupy, np.arange(12, dtype=np.float32).reshape(3, 4))
    case.check(real_cupy, x)
