"""The look-alike arrays: what they do, and what they refuse as CuPy does. Needs no compiler."""

from __future__ import annotations

import copy
import gc

import numpy as np
import pytest

from gpunet.emulator import cupy as cp

HOST = np.arange(12, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def device():
    return cp.asarray(HOST)


def test_an_array_is_no_numpy_array(device):
    assert not isinstance(device, np.ndarray)
    assert cp.get_array_module(device) is cp
    assert cp.get_array_module(HOST) is np


@pytest.mark.parametrize(
    "use",
    [np.asarray, np.array, lambda x: np.array([x, x]), lambda x: HOST.astype(np.int32) @ [x, x]],
)
def test_no_implicit_conversion(device, use):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        use(device)


@pytest.mark.parametrize(
    "mix",
    [
        lambda d: d + HOST,
        lambda d: HOST + d,
        lambda d: HOST @ d.T,
        lambda d: d == HOST,
        lambda d: np.add(d, HOST),
        lambda d: d.__setitem__(slice(None), HOST),
        lambda d: d.__iadd__(HOST),
        lambda d: cp.copyto(HOST.copy(), d),
    ],
)
def test_host_arrays_do_not_mix_with_device_arrays(device, mix):
    with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
        mix(device)


@pytest.mark.parametrize(
    "expression",
    [
        lambda x: x + 1,
        lambda x: 2 * x - x / 3,
        lambda x: -x // 2 % 5,
        lambda x: x**2,
        lambda x: x @ x.T,
        lambda x: (x > 3) & (x <= 7),
        lambda x: np.float32(2) * x,
        lambda x: np.exp(x),
        lambda x: abs(x - 5),
        lambda x: x[1],
        lambda x: x[1, 2],
        lambda x: x[..., ::2],
        lambda x: x[:, None, 1:3],
        lambda x: x[x > 5],
        lambda x: x[[2, 0]],
        lambda x: x.T,
        lambda x: x.reshape(4, 3),
        lambda x: x.reshape((2, -1)),
        lambda x: x.T.ravel(),
        lambda x: x.view(np.int32),
        lambda x: x.astype(np.float16),
        lambda x: x.sum(),
        lambda x: x.sum(axis=0, keepdims=True),
        lambda x: x.max(axis=1),
        lambda x: x.min(),
        lambda x: x.mean(axis=-1),
        lambda x: x.argmax(axis=1),
        lambda x: (x > 3).any(axis=0),
        lambda x: (x > 3).all(),
    ],
)
def test_expressions_equal_numpys(device, expression):
    result, expected = expression(device), expression(HOST)
    assert isinstance(result, cp.ndarray)
    assert result.dtype == expected.dtype
    assert result.shape == np.shape(expected)
    np.testing.assert_array_equal(result.get(), expected)


@pytest.mark.parametrize(
    "call",
    [
        lambda xp, x: xp.maximum(x, 5),
        lambda xp, x: xp.where(x > 5, x, -x),
        lambda xp, x: xp.concatenate([x, x[:1]]),
        lambda xp, x: xp.stack((x, x), axis=1),
        lambda xp, x: xp.linspace(0, 1, 5),
        lambda xp, x: xp.sum(x, axis=0),
        lambda xp, x: xp.clip(x, 2, 7),
        lambda xp, x: xp.allclose(x, x),
        lambda xp, x: xp.dot(x, x.T),
        lambda xp, x: x.dot(x.T),
        lambda xp, x: x.std(axis=1),
        lambda xp, x: x.clip(1, 3),
        lambda xp, x: x.cumsum(),
        lambda xp, x: np.concatenate([x, x]),  # NumPy hands it over
        lambda xp, x: np.sum(x),
    ],
)
def test_functions_equal_numpys(device, call):
    result, expected = call(cp, device), call(np, HOST)
    assert isinstance(result, cp.ndarray)
    assert result.dtype == np.asarray(expected).dtype
    cp.testing.assert_array_equal(result, expected)


def test_functions_of_several_results_views_and_outputs(device):
    parts = cp.split(device, 3)
    assert [part.data.ptr - device.data.ptr for part in parts] == [0, 16, 32]
    assert cp.transpose(device).data.mem is device.data.mem
    rows, columns = cp.nonzero(device > 9)
    assert (rows.tolist(), columns.tolist()) == ([2, 2], [2, 3])
    out = cp.empty_like(device)
    assert cp.add(device, 1, out=out) is out
    cp.testing.assert_allclose(out, HOST + 1)
    with pytest.raises(TypeError, match="Unsupported type"):
        cp.maximum(device, HOST)
    with pytest.raises(AttributeError, match="has no 'set_printoptions'"):
        cp.set_printoptions(precision=3)


def test_order():
    for make in (cp.empty, cp.zeros, cp.ones):
        assert make((2, 3), np.float32, order="F").flags.f_contiguous
        assert make((2, 3), np.float32).flags.c_contiguous
    assert cp.asarray(HOST, order="F").flags.f_contiguous
    assert cp.asarray(cp.asarray(HOST), order="F").flags.f_contiguous
    np.testing.assert_array_equal(cp.asfortranarray(HOST).get(), HOST)


def test_random_numbers():
    cp.random.seed(3)
    first = cp.random.rand(2, 3)
    cp.random.seed(3)
    cp.testing.assert_array_equal(first, cp.random.random((2, 3)))
    assert cp.random.randn(4, dtype=np.float32).dtype == np.float32
    assert 2 <= int(cp.random.randint(2, 5)) < 5
    assert cp.random.uniform(3, 4, (2,)).min() >= 3
    generator = cp.random.default_rng(1)
    assert generator.random(3, dtype=np.float32).shape == (3,)
    assert int(generator.integers(0, 2, 50).max()) == 1


def test_indexing_with_device_arrays(device):
    rows = cp.asarray([2, 0])
    np.testing.assert_array_equal(device[rows].get(), HOST[[2, 0]])
    device[rows] = 0
    device[device == 5] = -1
    np.testing.assert_array_equal(device.get(), [[0, 0, 0, 0], [4, -1, 6, 7], [0, 0, 0, 0]])


@pytest.mark.parametrize(
    "view", [lambda x: x[1], lambda x: x[1, 2], lambda x: x.T, lambda x: x.reshape(-1)[4:]]
)
def test_views_share_memory(device, view):
    part = view(device)
    assert cp.shares_memory(part, device)
    assert cp.may_share_memory(part, device)
    assert not cp.shares_memory(part, device.copy())
    assert part.data.mem is device.data.mem
    part[...] = -5
    assert (device == -5).sum() == part.size


def test_attributes(device):
    assert (device.size, device.ndim, device.nbytes, device.itemsize) == (12, 2, 48, 4)
    assert device.strides == (16, 4)
    assert device.flags.c_contiguous
    assert not device.T.flags.c_contiguous
    assert device[1:].data.ptr == device.data.ptr + 16
    assert len(device) == 3
    assert repr(device) == repr(HOST)
    assert [float(x) for x in device[0]] == [0, 1, 2, 3]


def test_allocations_are_aligned_and_poisoned():
    for dtype in (np.uint8, np.float16, np.float32, np.float64):
        array = cp.empty((5, 3), dtype)
        assert array.data.ptr % 256 == 0
        assert (array.view(np.uint8) == 0xFF).all()
    assert np.isnan(cp.empty(3).get()).all()
    assert cp.empty(3).dtype == np.float64


def test_creation():
    assert cp.zeros((2, 3), np.int8).get().tolist() == [[0] * 3] * 2
    assert cp.ones(2).dtype == np.float64
    assert cp.full((2,), 7).dtype == np.int64
    assert cp.full(2, 7, cp.float32).get().tolist() == [7, 7]
    assert cp.arange(2, 8, 3).get().tolist() == [2, 5]
    assert cp.zeros_like(HOST).shape == (3, 4)
    assert cp.empty_like(HOST, dtype=np.int16).dtype == np.int16
    assert cp.array([[1, 2]], dtype=cp.uint8).dtype == np.uint8
    assert cp.array([cp.ones(2), cp.zeros(2)]).shape == (2, 2)
    assert cp.zeros(0, np.float32).size == 0
    assert bool(cp.array_equal(cp.ones(3), cp.full(3, 1.0)))
    assert not cp.array_equal(cp.ones(3), cp.zeros(3))


def test_asarray_copies_only_what_it_must(device):
    assert cp.asarray(device) is device
    assert cp.asarray(device, np.float32) is device
    assert cp.asarray(device, np.int32) is not device
    assert cp.array(device) is not device
    assert cp.ascontiguousarray(device) is device
    assert cp.ascontiguousarray(device.T).flags.c_contiguous
    assert device.astype(np.float32, copy=False) is device
    assert copy.deepcopy(device) is not device


def test_transfers(device):
    out = np.empty_like(HOST)
    assert device.get(out=out) is out
    np.testing.assert_array_equal(cp.asnumpy(device), HOST)
    device.set(HOST + 1)
    np.testing.assert_array_equal(device.get(), HOST + 1)
    cp.copyto(device, cp.ones((3, 4), np.float32))
    assert float(device.sum()) == 12
    with pytest.raises(ValueError, match="Shape mismatch"):
        device.set(HOST[0])
    with pytest.raises(TypeError, match="float64 array cannot be set to float32"):
        device.set(HOST.astype(np.float64))
    with pytest.raises(ValueError, match="Unsupported dtype object"):
        cp.asarray(["a", None])


def test_numbers(device):
    assert int(device[0, 3]) == 3
    assert float(device[0, 3]) == 3.0
    assert device[2, 3].item() == 11.0
    assert bool(device[0, 1])
    with pytest.raises(ValueError, match="ambiguous"):
        bool(device)


def test_in_place_operations_keep_the_memory(device):
    before, pointer = device, device.data.ptr
    device += 1
    device *= cp.full(4, 2, np.float32)
    assert device is before
    assert device.data.ptr == pointer
    np.testing.assert_array_equal(device.get(), (HOST + 1) * 2)
    out = cp.empty(3, np.float32)
    assert device.sum(axis=1, out=out) is out
    np.testing.assert_array_equal(out.get(), ((HOST + 1) * 2).sum(1))


def test_dlpack(device):
    with pytest.raises(BufferError, match="Unsupported device"):
        np.from_dlpack(device)
    if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
        np.testing.assert_array_equal(np.from_dlpack(device, device="cpu"), HOST)
    assert cp.from_dlpack(device).data.ptr == device.data.ptr
    source = np.arange(3.0)
    taken = cp.from_dlpack(source)
    taken += 1
    assert source.tolist() == [1, 2, 3]


def test_memory_is_counted():
    gc.collect()
    pool = cp.get_default_memory_pool()
    before = pool.used_bytes()
    array = cp.empty(1000, np.float32)
    view = array[10:]
    assert pool.used_bytes() == before + 4000
    del array
    assert pool.used_bytes() == before + 4000
    del view
    assert pool.used_bytes() == before


def test_device_streams_and_events():
    device = cp.cuda.Device(0)
    assert device.attributes["WarpSize"] == 32
    assert device.attributes["MaxThreadsPerBlock"] == 1024
    assert device.compute_capability == "80"
    assert cp.cuda.runtime.getDeviceCount() == 1
    assert cp.cuda.runtime.getDeviceProperties(0)["major"] == 8
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError, match="invalid device ordinal"):
        cp.cuda.Device(1).use()
    stream = cp.cuda.Stream(non_blocking=True)
    start, end = cp.cuda.Event(), cp.cuda.Event()
    assert cp.cuda.get_current_stream() == cp.cuda.Stream.null
    with device, stream:
        assert cp.cuda.get_current_stream() is stream
        start.record()
        end.record(stream)
    assert cp.cuda.get_current_stream() == cp.cuda.Stream.null
    assert stream.ptr != 0
    stream.synchronize()
    assert cp.cuda.get_elapsed_time(start, end) >= 0
    with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
        cp.cuda.get_elapsed_time(start, cp.cuda.Event())


def test_memory_order_is_cupys(device):
    assert device.T.astype(np.float16).flags.f_contiguous
    assert (device.T + 1).flags.f_contiguous
    assert cp.asarray(np.asfortranarray(HOST)).flags.f_contiguous
    assert device.T.copy().flags.c_contiguous
    np.testing.assert_array_equal((device.T + 1).get(), HOST.T + 1)
