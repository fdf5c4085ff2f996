"""What is special to convolutions on NumPy: threads, tiles of Winograd's, and memory."""

import tracemalloc

import numpy as np
import pytest

import gpunet
from gpunet.backend.cpu import CpuBackend, winograd
from gpunet.backend.cpu.windows import axes_of
from gpunet.backend.spec import OPS

FLAGS = {"strides": (1, 1, 1), "dilation": (1, 1, 1), "padding": (0, 1, 1)}
NAMES = ("convolution", "transposed_convolution", "convolution_kernel_gradient")


def call(name, fine, coarse, kernel, flags=FLAGS, dtype=np.float32):
    """Run an op on the same random numbers each time; returns what it wrote."""
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape).astype(dtype) for shape in (coarse, fine, kernel)]
    arrays = {
        "convolution": [*arrays, None],
        "transposed_convolution": [arrays[1], arrays[0], arrays[2], None],
        "convolution_kernel_gradient": [arrays[2], arrays[1], arrays[0]],
    }[name]
    op = OPS[name]
    scratch = np.full(op.scratch_shape([*arrays, None], flags), np.nan, dtype)
    CpuBackend().run(name, *arrays, scratch, **flags)
    return arrays[0]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("groups", [1, 2, 16])
@pytest.mark.parametrize("size", [(20, 17), (40, 34)])
def test_any_number_of_threads_gives_the_same_bits(name, groups, size, count):
    kernel = (1, 3, 3, 16 // groups, 16)
    shapes = ((9, 1, *size, 16), (9, 1, *size, 16), kernel)
    found = []
    for number in (1, 2, 3, 40):
        count(number)
        found.append(call(name, *shapes, {**FLAGS, "groups": groups}).tobytes())
    assert set(found) == {found[0]}


# What gpunet/backend/precision.py promises: the largest error, as a part of the largest output.
DIRECT, TILED = 1e-6, 2e-5


@pytest.fixture
def direct():
    """Choose between sums of products and tiles."""
    yield lambda yes: gpunet.set_matmul_precision("direct" if yes else "ieee")
    gpunet.set_matmul_precision("ieee")


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("channels", [16, 64, 256])
@pytest.mark.parametrize("name", NAMES)
def test_errors_of_both_ways_are_what_is_documented(name, channels, positive, direct):
    random = np.random.default_rng(channels)
    shape = (2, 1, 16, 16, channels)
    x, dy = (random.standard_normal(shape).astype(np.float32) for _ in range(2))
    if positive:  # as behind a relu
        x, dy = np.abs(x), np.abs(dy)
    kernel = random.standard_normal((1, 3, 3, channels, channels)).astype(np.float32)

    def run(dtype):
        gradient = name == "convolution_kernel_gradient"
        arrays = [kernel, x, dy] if gradient else [dy, x, kernel]
        arrays = [array.astype(dtype) for array in arrays] + ([] if gradient else [None])
        scratch = np.empty(OPS[name].scratch_shape([*arrays, None], FLAGS), dtype)
        CpuBackend().run(name, *arrays, scratch, **FLAGS)
        return arrays[0]

    exact = run(np.float64)
    errors = []
    for yes in (True, False):
        direct(yes)
        errors.append(np.abs(run(np.float32) - exact).max() / np.abs(exact).max())
    assert errors[0] < DIRECT
    assert errors[0] < errors[1] < TILED  # which also shows that both ways were taken
    np.testing.assert_array_equal(run(np.float64), exact)


def test_beside_a_large_input_tiles_are_less_exact_than_direct_sums(direct):
    """1e-3 of the terms of a sum where a neighbour is 10,000 times as large."""
    x = np.ones((1, 1, 8, 8, 16), np.float32)
    x[0, 0, 3, 3] = 1e4
    kernel = np.random.default_rng(0).standard_normal((1, 3, 3, 16, 16)).astype(np.float32)

    def run(dtype):
        arrays = [np.zeros(x.shape, dtype), x.astype(dtype), kernel.astype(dtype), None]
        scratch = np.empty(OPS["convolution"].scratch_shape([*arrays, None], FLAGS), dtype)
        CpuBackend().run("convolution", *arrays, scratch, **FLAGS)
        return arrays[0][0, 0, 0]  # does not see the large one, but shares tiles with it

    exact = run(np.float64)
    terms = np.abs(kernel).sum(axis=(0, 1, 2, 3))
    errors = []
    for yes in (True, False):
        direct(yes)
        errors.append((np.abs(run(np.float32) - exact) / terms).max())
    assert errors[0] < 1e-6 < 1e-5 < errors[1] < 1e-3


@pytest.mark.parametrize("size", [(4, 4), (5, 11), (16, 18), (33, 7)])
@pytest.mark.parametrize("name", NAMES)
def test_tiles_sum_up_to_what_the_direct_sum_does(name, size):
    """At most 1e-5 of the largest number, ten times float32's rounding of 144 summands."""
    height, width = size
    shapes = ((3, 1, height + 2, width + 2, 16), (3, 1, height, width, 24), (1, 3, 3, 16, 24))
    flags = {**FLAGS, "padding": (0, 0, 0)}
    assert winograd.fits_winograd(
        np.zeros(shapes[1], np.float32), np.zeros(shapes[0]), axes(shapes[2]), 1
    )
    exact = call(name, *shapes, flags, np.float64)
    tiled = call(name, *shapes, flags)
    assert np.abs(tiled - exact).max() < 1e-5 * np.abs(exact).max()


def axes(kernel):
    return axes_of(kernel, (1, 1, 1), (0, 0, 0))


def test_who_takes_tiles(direct):
    def fits(window=(1, 3, 3), shape=(3, 1, 8, 8, 16), filters=16, dtype=np.float32, groups=1):
        y = np.zeros((*shape[:4], filters), dtype)
        return winograd.fits_winograd(y, np.zeros(shape, dtype), axes(window), groups)

    assert fits()
    assert fits(filters=4096)
    assert not fits(dtype=np.float64)
    assert not fits(window=(1, 3, 5))
    assert not fits(window=(3, 3, 3))
    assert not fits(filters=15)
    assert not fits(filters=4097)
    assert not fits(groups=2)
    assert not fits(shape=(3, 1, 3, 8, 16))
    wide = np.zeros((3, 1, 8, 8, 16), np.float32)
    for strides, dilation in (((1, 2, 1), (1, 1, 1)), ((1, 1, 1), (1, 2, 2))):
        steps = axes_of((1, 3, 3), strides, (0, 1, 1), dilation)
        assert not winograd.fits_winograd(wide, wide, steps, 1)
    direct(True)
    assert not fits()


def test_a_model_takes_the_way_that_was_chosen_last(direct):
    model = gpunet.Sequential([gpunet.layers.Conv2D(16, 3, input_shape=(9, 9, 16))])
    x = np.random.default_rng(1).standard_normal((2, 9, 9, 16)).astype(np.float32)
    tiled = model.predict(x, verbose=0)
    direct(True)
    assert not np.array_equal(model.predict(x, verbose=0), tiled)
    direct(False)
    np.testing.assert_array_equal(model.predict(x, verbose=0), tiled)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_tensor_sized_is_allocated(name, number, count):
    count(number)
    shapes = ((16, 1, 64, 64, 32), (16, 1, 64, 64, 32), (1, 3, 3, 32, 32))  # 8 MiB each
    random = np.random.default_rng(0)
    coarse, fine, kernel = (random.standard_normal(s).astype(np.float32) for s in shapes)
    arrays = {
        "convolution": [coarse, fine, kernel, None],
        "transposed_convolution": [fine, coarse, kernel, None],
        "convolution_kernel_gradient": [kernel, fine, coarse],
    }[name]
    scratch = np.empty(OPS[name].scratch_shape([*arrays, None], FLAGS), np.float32)
    run = CpuBackend().bind(name, *arrays, scratch, **FLAGS)
    run()
    tracemalloc.start()
    try:
        run()
        assert tracemalloc.get_traced_memory()[1] < 500_000  # views of slabs that changed threads
    finally:
        tracemalloc.stop()
