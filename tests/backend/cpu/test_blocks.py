"""Ops over large arrays: threads change no bit, and nothing as large as an array is allocated."""

import tracemalloc

import numpy as np
import pytest

from gpunet.backend.cpu import CpuBackend
from gpunet.backend.cpu.blocks import FEW_ROWS, PIECE, each_block, sum_blocks

ROWS, CHANNELS = 30_000, 30  # several blocks, the last of them smaller
MIB = 2**20


def normal(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def channel_norms():
    """Batch norm of one segment, 3.6 MB."""
    x, dy, y, dx = (normal(1, ROWS, CHANNELS) for _ in range(4))
    mean, variance, sums = (
        np.zeros((1, CHANNELS)),
        np.zeros((1, CHANNELS)),
        np.zeros((2, 1, CHANNELS)),
    )
    mean, variance, sums = (a.astype(np.float32) for a in (mean, variance, sums))
    gamma, beta, dgamma, dbeta = (normal(CHANNELS) for _ in range(4))
    how = {"epsilon": 1e-3}
    calls = [
        ("channel_moments", (mean, variance, None, None, None, x, None), {}),
        ("channel_norm", (y, x, mean, variance, gamma, beta), how),
        ("channel_norm_sums", (sums, dgamma, dbeta, dy, x, mean, variance), how),
        ("channel_norm_backward", (dx, dy, x, None, mean, variance, None, gamma, sums), how),
    ]
    return calls, (mean, variance, y, sums, dgamma, dbeta, dx)


def element_wise():
    x, dy, y, dx = (normal(ROWS, CHANNELS) for _ in range(4))
    bias, dbias = normal(CHANNELS), normal(CHANNELS)
    calls = [
        ("bias_act", (y, x, bias), {"activation": "relu"}),
        ("bias_act_backward", (dx, dbias, dy, y), {"activation": "relu", "accumulate": True}),
        ("add", (x, y, dx), {}),
    ]
    return calls, (y, dx, dbias, x)


def pooling(strides):
    x, dx = (normal(16, 1, 61, 61, CHANNELS) for _ in range(2))
    outputs = (16, 1, *(-(-61 // strides),) * 2, CHANNELS)
    y, dy, argmax = np.empty(outputs, np.float32), normal(*outputs), np.empty(outputs, np.uint8)
    how = {"window": (1, 3, 3), "strides": (1, strides, strides), "padding": (0, 1, 1)}
    mean, dmean = np.empty_like(y), np.empty_like(x)
    calls = [
        ("max_pool", (y, argmax, x), how),
        ("max_pool_backward", (dx, dy, argmax), how),
        ("average_pool", (mean, x), how),
        ("average_pool_backward", (dmean, dy), how),
    ]
    return calls, (y, argmax, dx, mean, dmean)


def global_pooling():
    x, dx, dy, y = normal(16, 1, 61, 61, 30), normal(16, 1, 61, 61, 30), *normal(2, 16, 1, 1, 1, 30)
    how = {"window": (1, 61, 61), "strides": (1, 1, 1), "padding": (0, 0, 0)}
    calls = [("average_pool", (y, x), how), ("average_pool_backward", (dx, dy), how)]
    return calls, (y, dx)


FAMILIES = {
    "channel_norms": channel_norms,
    "element_wise": element_wise,
    "pooling": lambda: pooling(2),
    "pooling tiled": lambda: pooling(3),
    "pooling with an overlap": lambda: pooling(1),
    "global pooling": global_pooling,
}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_threads_change_no_bit(family, count):
    found = []
    for number in (1, 2, 3, 40):
        count(number)
        calls, written = family()
        for name, arrays, options in calls:
            CpuBackend().run(name, *arrays, **options)
        found.append([array.tobytes() for array in written])
    assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_nothing_tensor_sized_is_allocated(family, number, count):
    count(number)
    calls, _ = family()
    bound = [CpuBackend().bind(name, *arrays, **options) for name, arrays, options in calls]
    for call in bound * 2:
        call()
    for call in bound:
        tracemalloc.start()
        try:
            call()
            assert tracemalloc.get_traced_memory()[1] < MIB / 2
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("shape", [(0, 3), (7, 3), (1000, 300), (40, PIECE // 4), (9, 2 * PIECE)])
def test_sums_of_blocks_add_up(shape, count):
    count(3)
    x = normal(*shape)
    total, squares = normal(shape[1]), normal(shape[1])

    def work(of_x, of_squares, block):
        np.sum(block, axis=0, out=of_x)
        np.sum(block**2, axis=0, out=of_squares)

    sum_blocks(work, (total, squares), x)
    np.testing.assert_allclose(total, x.sum(axis=0, dtype=np.float64), atol=1e-4)
    np.testing.assert_allclose(squares, (x.astype(np.float64) ** 2).sum(axis=0), rtol=1e-5)


def test_sums_as_long_as_blocks_are_not_kept(count):
    count(3)
    x = normal(4 * FEW_ROWS, PIECE)
    total = normal(PIECE)
    tracemalloc.start()
    try:
        sum_blocks(lambda part, block: np.sum(block, axis=0, out=part), (total,), x)
        assert tracemalloc.get_traced_memory()[1] < 2 * total.nbytes < x.nbytes / 16
    finally:
        tracemalloc.stop()


def test_each_block_is_done_once_and_none_stays_none(count):
    count(3)
    x = np.zeros((PIECE, 9))
    numbers = []

    def work(number, block, nothing):
        assert nothing is None
        numbers.append(number)
        block += 1

    each_block(work, x, None)
    assert (x == 1).all()
    assert sorted(numbers) == [*range(len(numbers))]
    assert len(numbers) > 9
