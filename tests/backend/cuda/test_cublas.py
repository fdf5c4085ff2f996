"""The binding to cuBLAS, against a stand-in that knows cuBLAS' rules."""

import ctypes
import gc
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from gpunet.backend.cuda import cublas
from gpunet.backend.cuda.cublas import Cublas
from gpunet.emulator import KernelFault
from gpunet.errors import KernelError, MissingDependency

pytestmark = pytest.mark.emulator
FLAGS = (False, True)


# ------------------------------------------------------------------- the binding


@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 3), (33, 31, 17), (2, 100, 40)])
@pytest.mark.parametrize("stack", [(), (1,), (4,)])
@pytest.mark.parametrize("ta", FLAGS)
@pytest.mark.parametrize("tb", FLAGS)
@pytest.mark.parametrize("accumulate", FLAGS)
def test_products(cp, handle, shape, stack, ta, tb, accumulate, factors):
    m, n, k = shape
    a, b, wanted = factors(m, n, k, ta, tb, stack)
    c = cp.array(np.full((*stack, m, n), 2.0 if accumulate else np.nan, np.float32))
    flags = {"ta": ta, "tb": tb, "accumulate": accumulate}
    handle.product(c, cp.array(a), cp.array(b), **flags)
    np.testing.assert_allclose(c.get(), wanted + 2.0 * accumulate, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("result", ["float16", "float32"])
def test_half_types_add_up_in_float32(cp, handle, result, factors):
    a, b, wanted = factors(8, 5, 3000, dtype=np.float16)
    c = cp.empty((8, 5), result)
    handle.product(c, cp.array(a), cp.array(b))
    tolerance = 1e-5 if result == "float32" else 1e-3
    np.testing.assert_allclose(c.get(), wanted, rtol=tolerance, atol=tolerance * 100)


def test_parts_of_long_sums_come_together_in_float32(cp, handle, library):
    """By default cuBLAS may add them in the type of c: 2048 + 1/2 is 2048 in 16 bits."""
    a = np.ones((1, 4096), np.float16)
    b = np.repeat([1.0, 3 * 2.0**-11], 2048).astype(np.float16)[:, None]
    c = cp.empty((1, 1), np.float16)
    handle.product(c, cp.array(a), cp.array(b))
    assert c.get().item() == 2052  # 2048 + 3, rounded once
    assert library.cublasSetMathMode(handle._handle, 0) == 0
    handle.product(c, cp.array(a), cp.array(b))
    assert c.get().item() == 2048


def test_a_stream_at_the_address_of_one_that_is_gone_is_another(cp, handle, library, monkeypatch):
    streams = []
    function = library.cublasSetStream_v2
    spy = lambda handle, ptr: (streams.append(ptr), function(handle, ptr))[1]  # noqa: E731
    monkeypatch.setattr(handle._library, "cublasSetStream_v2", spy)
    a, c = cp.zeros((2, 2), np.float32), cp.zeros((2, 2), np.float32)
    for _ in range(2):
        with cp.cuda.Stream(non_blocking=True):
            handle.product(c, a, a)
        gc.collect()
    assert len(streams) == 2


def test_bfloat16(cp, handle, factors):
    """Held as bits, since NumPy has no such type."""
    a, b, _ = factors(4, 5, 6)
    a, b = (x.view(np.uint32) & 0xFFFF0000 for x in (a, b))
    wanted = a.view(np.float32).astype(np.float64) @ b.view(np.float32).astype(np.float64)

    def as_bfloat16(bits):
        array = cp.array((bits >> 16).astype(np.uint16))
        dtype = SimpleNamespace(name="bfloat16")
        return SimpleNamespace(data=array.data, shape=array.shape, ndim=2, dtype=dtype, keep=array)

    c = cp.empty((4, 5), np.float32)
    handle.product(c, as_bfloat16(a), as_bfloat16(b))
    np.testing.assert_allclose(c.get(), wanted, rtol=1e-5, atol=1e-5)
    narrow = as_bfloat16(np.zeros((4, 5), np.uint32))
    handle.product(narrow, as_bfloat16(a), as_bfloat16(b))
    got = (narrow.keep.get().astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(got, wanted, rtol=2**-8, atol=1e-5)


def test_the_handle_follows_the_current_stream(cp, handle, library, monkeypatch, factors):
    calls = []
    for name in ("cublasSetStream_v2", "cublasSetWorkspace_v2"):
        function = getattr(library, name)
        spy = lambda *args, name=name, function=function: (calls.append(name), function(*args))[1]  # noqa: E731
        monkeypatch.setattr(handle._library, name, spy)
    a, b, wanted = (cp.array(x) for x in factors(3, 4, 5))
    c = cp.empty((3, 4), np.float32)
    handle.product(c, a, b)
    handle.product(c, a, b)
    assert calls == ["cublasSetStream_v2", "cublasSetWorkspace_v2"]
    with cp.cuda.Stream(non_blocking=True):
        handle.product(c, a, b)
    handle.product(c, a, b)
    assert calls == ["cublasSetStream_v2", "cublasSetWorkspace_v2"] * 3
    np.testing.assert_allclose(c.get(), wanted.get(), rtol=1e-5, atol=1e-5)


def test_a_product_of_another_thread_waits(cp, handle, library, monkeypatch):
    """Else it would take the stream from under a product that is being captured."""
    a, c, other = (cp.ones((2, 2), np.float32) for _ in range(3))
    thread = threading.Thread(target=handle.product, args=(other, a, a))
    function = library.cublasSetWorkspace_v2

    def interrupted(*args):
        if thread.ident is None:
            thread.start()
            thread.join(0.2)
        return function(*args)

    monkeypatch.setattr(handle._library, "cublasSetWorkspace_v2", interrupted)
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        handle.product(c, a, a)
        graph = stream.end_capture()
        graph.launch()
        stream.synchronize()
    thread.join()
    assert (c.get() == 2).all()
    assert (other.get() == 2).all()


def test_a_captured_product_is_computed_at_each_launch_of_the_graph(cp, handle, factors):
    a, b, _ = (cp.array(x) for x in factors(3, 4, 5))
    c = cp.zeros((3, 4), np.float32)
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        handle.product(c, a, b, accumulate=True)
        graph = stream.end_capture()
        np.testing.assert_array_equal(c.get(), 0)
        for count in (1, 2):
            a *= 2
            graph.launch()
            stream.synchronize()
            wanted = (2, 6)[count - 1] * factors(3, 4, 5)[2]
            np.testing.assert_allclose(c.get(), wanted, rtol=1e-5, atol=1e-5)
    del a
    with pytest.raises(KernelFault, match="touches an array that is gone, in cublasGemmEx"):
        graph.launch()


def test_a_refusal_says_what_was_asked(cp, handle, factors):
    a, b, _ = (cp.array(x) for x in factors(3, 4, 5))
    half = cp.zeros((3, 4), np.float16)
    with pytest.raises(
        KernelError, match=r"cublasGemmEx with shapes .* CUBLAS_STATUS_NOT_SUPPORTED"
    ):
        handle.product(half, a, b)
    with pytest.raises(
        KernelError, match=r"cuBLAS multiplies float32, float16, bfloat16 .* float64"
    ):
        handle.product(cp.zeros((3, 4), np.float64), a, b)


def test_a_library_that_lacks_a_function(cp):
    with pytest.raises(KernelError, match=r"this cuBLAS is too old: .*cublas"):
        Cublas(cp, ctypes.CDLL(None))


def test_places_are_tried_in_turn(monkeypatch, tmp_path):
    monkeypatch.setattr(cublas, "_places", lambda: [str(tmp_path / "none"), "libm.so.6"])
    assert cublas.load_cublas()._name == "libm.so.6"
    monkeypatch.setattr(cublas, "_places", lambda: [str(tmp_path / "none")])
    with pytest.raises(MissingDependency, match=r"no libcublas .*none.*; `pip install 'gpunet\["):
        cublas.load_cublas()


def test_wheels_are_searched_without_pathfinder(monkeypatch, tmp_path):
    folder = tmp_path / "cu13" / "lib"
    folder.mkdir(parents=True)
    (folder / "libcublas.so.13").touch()
    found = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(cublas.importlib.util, "find_spec", lambda name: found)
    assert str(folder / "libcublas.so.13") in cublas._places()


def test_the_real_library_has_these_functions(library):
    """Where there is one, also without a GPU."""
    try:
        real = cublas._declared(cublas.load_cublas())
    except MissingDependency as missing:
        pytest.skip(str(missing))
    for status in (0, 1, 3, 7, 13, 15):
        assert real.cublasGetStatusName(status) == library.cublasGetStatusName(status)
    assert real.cublasSetStream_v2(None, 0) == 1


# ------------------------------------------------------------------- bugs in the binding
#
# Each is a call that is right but for one thing, which the stand-in must notice.


class Call:
    """One cublasGemmEx, or with a stack cublasGemmStridedBatchedEx, of 3 x 4 = 3 x 5 by 5 x 4."""

    def __init__(self, cp, library, stack=0):
        self.library, self.stack, self.cp = library, stack, cp
        count = max(stack, 1)
        self.a, self.b, self.c = (cp.zeros(count * size, np.float32) for size in (15, 20, 12))
        self.handle = ctypes.c_void_p()
        assert library.cublasCreate_v2(ctypes.byref(self.handle)) == 0
        self.stream = cp.cuda.get_current_stream().ptr
        self.space = cp.empty(1 << 16, np.uint8)
        self.alpha, self.beta = ctypes.c_float(1), ctypes.c_float(0)
        self.sizes = {"ta": 0, "tb": 0, "m": 4, "n": 3, "k": 5}
        self.lda, self.ldb, self.ldc = 4, 5, 4
        self.strides = [20, 15, 12]
        self.types = [0, 0, 0]
        self.compute, self.algorithm = 68, -1
        self.pointers = [self.b.data.ptr, self.a.data.ptr, self.c.data.ptr]
        self.prepare = ("stream", "workspace")

    def __call__(self):
        for step in self.prepare:
            if step == "stream":
                self.library.cublasSetStream_v2(self.handle, self.stream)
            else:
                size = self.space.nbytes
                status = self.library.cublasSetWorkspace_v2(self.handle, self.space.data.ptr, size)
                if status:
                    return status
        matrices = []
        for pointer, kind, leading, stride in zip(
            self.pointers, self.types, (self.lda, self.ldb, self.ldc), self.strides, strict=True
        ):
            matrices.append((pointer, kind, leading, *([stride] if self.stack else [])))
        a, b, c = matrices
        alpha, beta = (
            x if x is None or isinstance(x, int) else ctypes.addressof(x)
            for x in (self.alpha, self.beta)
        )
        tail = (self.stack,) if self.stack else ()
        name = "cublasGemmStridedBatchedEx" if self.stack else "cublasGemmEx"
        arguments = (*self.sizes.values(), alpha, *a, *b, beta, *c, *tail)
        function = getattr(self.library, name)
        return function(self.handle, *arguments, self.compute, self.algorithm)


def with_values(**values):
    def plant(call):
        for name, value in values.items():
            if name in call.sizes:
                call.sizes[name] = value
            else:
                setattr(call, name, value)

    return plant


def pointer(number, of):
    def plant(call):
        call.pointers[number] = of(call)

    return plant


def gone(call):
    array = call.cp.zeros(12, np.float32)
    return array.data.ptr


def other_stream(call):
    call.stream = call.cp.cuda.Stream().ptr


def workspace_first(call):
    call.prepare = ("workspace", "stream")


def unaligned_workspace(call):
    call.space = call.space[1:]


def foreign_workspace(call):
    call.space = SimpleNamespace(data=SimpleNamespace(ptr=256), nbytes=1 << 16)


def large_workspace(call):
    call.space = SimpleNamespace(data=call.space.data, nbytes=1 << 17)


def device_scalar(call):
    call.alpha = call.c.data.ptr


def destroyed(call):
    assert call.library.cublasDestroy_v2(call.handle) == 0


INVALID, UNINITIALIZED, UNSUPPORTED, FAILED = 7, 1, 15, 13
HOST = np.zeros(64, np.float32)
BUGS = {
    "lda of the transposed": (with_values(lda=3), INVALID, 0),
    "ldb of the transposed": (with_values(ldb=4), INVALID, 0),
    "ldc of the transposed": (with_values(ldc=3), INVALID, 0),
    "row-major sizes": (with_values(m=3, n=4), FAILED, 0),
    "k forgotten": (with_values(k=-1), INVALID, 0),
    "ta without its leading dimension": (with_values(ta=1), INVALID, 0),
    "tb without its leading dimension": (with_values(tb=1, n=7), INVALID, 0),
    "no such operation": (with_values(ta=7), INVALID, 0),
    "no alpha": (with_values(alpha=None), INVALID, 0),
    "no beta": (with_values(beta=None), INVALID, 0),
    "alpha on the device": (device_scalar, FAILED, 0),
    "lda too large": (with_values(lda=6), FAILED, 0),
    "a shorter than said": (pointer(0, lambda call: call.b.data.ptr + 8), FAILED, 0),
    "a in host memory": (pointer(0, lambda call: HOST.ctypes.data), FAILED, 0),
    "b is null": (pointer(1, lambda call: None), FAILED, 0),
    "c was freed": (pointer(2, gone), FAILED, 0),
    "c is a": (pointer(2, lambda call: call.b.data.ptr), FAILED, 0),
    "c is b": (pointer(2, lambda call: call.a.data.ptr), FAILED, 0),
    "unaligned c": (
        lambda call: (with_values(m=1, n=1)(call), pointer(2, lambda c: c.c.data.ptr + 2)(call)),
        FAILED,
        0,
    ),
    "half types for float32": (with_values(types=[2, 2, 14]), UNSUPPORTED, 0),
    "mixed factors": (with_values(types=[0, 2, 0]), UNSUPPORTED, 0),
    "unknown type": (with_values(types=[1, 1, 1]), UNSUPPORTED, 0),
    "tf32 of half types": (with_values(types=[2, 2, 2], compute=77), UNSUPPORTED, 0),
    "sums in half": (with_values(compute=64), UNSUPPORTED, 0),
    "no such algorithm": (with_values(algorithm=99), UNSUPPORTED, 0),
    "another stream": (other_stream, FAILED, 0),
    "no workspace": (with_values(prepare=("stream",)), FAILED, 0),
    "workspace before stream": (workspace_first, FAILED, 0),
    "unaligned workspace": (unaligned_workspace, INVALID, 0),
    "workspace elsewhere": (foreign_workspace, FAILED, 0),
    "workspace smaller than said": (large_workspace, FAILED, 0),
    "destroyed handle": (destroyed, UNINITIALIZED, 0),
    "no handle": (with_values(handle=None), UNINITIALIZED, 0),
    "strides too large": (with_values(strides=[20, 16, 12]), FAILED, 3),
    "strides of the transposed": (with_values(strides=[15, 20, 12]), FAILED, 3),
    "results on top of each other": (with_values(strides=[20, 15, 11]), FAILED, 3),
    "one result for all": (with_values(strides=[20, 15, 0]), FAILED, 3),
    "a negative stack": (with_values(stack=-1), INVALID, 3),
}


@pytest.mark.parametrize("stack", [0, 1, 3])
def test_the_call_without_a_bug(cp, library, stack):
    assert Call(cp, library, stack)() == 0


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_the_binding_is_found(cp, library, bug):
    plant, status, stack = BUGS[bug]
    call = Call(cp, library, stack)
    plant(call)
    assert call() == status
    if status == FAILED:
        assert len(library.cublasGetStatusString(FAILED)) > 10
