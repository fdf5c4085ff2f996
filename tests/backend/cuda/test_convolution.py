"""Launches of convolutions that the ordinary op cases do not reach: each tile, many shares."""

import numpy as np
import pytest

from gpunet.backend import backend_named
from gpunet.backend.cuda.convolution import _shares, _tile
from gpunet.emulator import record_launches
from gpunet.testing.cases import CASES
from gpunet.testing.cases.convolution import shape_of
from gpunet.testing.op_checks import guarded_call
from gpunet.testing.op_table import expected

pytestmark = pytest.mark.emulator

FLAGS = ("strides", "dilation", "padding", "groups")


@pytest.fixture
def emulator(monkeypatch):
    """The emulator, seeming to have as many multiprocessors as a test asks for."""
    backend = backend_named("emulator")

    def of(multiprocessors):
        monkeypatch.setattr(backend.device, "multiprocessors", multiprocessors)
        return backend

    return of


def check(backend, op, call):
    """Hold one call against its reference; returns the names of the kernels that it launched."""
    case = CASES[op]
    arrays, attributes = case.arrays(call, "float32"), case.attributes(call)
    with record_launches() as launches:
        got = guarded_call(backend, op, arrays, attributes)
    for name, wanted in expected(case, call, arrays).items():
        np.testing.assert_allclose(got[name], wanted, rtol=case.float32, atol=case.float32)
    return [launch.name for launch in launches]


def calls(shape, activation="linear"):
    flags = {key: shape[key] for key in FLAGS}
    fine, coarse, kernel = shape["fine"], shape["coarse"], shape["kernel"]
    act = {"activation": activation}
    return {
        "convolution": {"y": coarse, "x": fine, "kernel": kernel, **flags, **act},
        "transposed_convolution": {"y": fine, "x": coarse, "kernel": kernel, **flags, **act},
        "convolution_kernel_gradient": {"dkernel": kernel, "x": fine, "dy": coarse, **flags},
    }


@pytest.mark.parametrize(("multiprocessors", "tile"), [(10**6, 32), (15, 64), (1, 128)])
def test_tiles(emulator, multiprocessors, tile):
    backend = emulator(multiprocessors)
    shape = shape_of(2, (1, 18, 17), (1, 3, 3), 72, 72, padding=(0, 1, 1))
    for op, call in calls(shape).items():
        names = check(backend, op, call)
        assert names[0] == f"{op}_tile{tile}"


@pytest.mark.parametrize("multiprocessors", [1, 8, 200])
def test_shares_of_a_kernel_gradient(emulator, multiprocessors):
    backend = emulator(multiprocessors)
    for groups in (1, 8):
        call = calls(shape_of(3, (1, 28, 30), (1, 3, 3), 8, 8, groups=groups))
        names = check(backend, "convolution_kernel_gradient", call["convolution_kernel_gradient"])
        shared = multiprocessors > 1
        assert len(names) == 1 + shared
        assert names[-1].startswith("convolution_sum_of_parts" if shared else "")


@pytest.mark.parametrize("positions", [1, 31, 257, 5000, 10**6])
@pytest.mark.parametrize("blocks", [1, 7, 1000])
def test_shares_cover_all_positions_once(emulator, positions, blocks):
    device = emulator(132).device
    for most in (1, 3, 100):
        count, length = _shares(device, positions, blocks, most)
        assert 1 <= count <= most
        assert (count - 1) * length < positions <= count * length
        assert count == 1 or length % 32 == 0


def test_narrow_products_get_the_smallest_tile(emulator):
    device = emulator(1).device
    assert _tile(device, 10**6, 8, 1) == 32
    assert _tile(device, 10**6, 64, 1) == 64
    assert _tile(device, 10**6, 65, 1) == 128
