"""Kernels that are wrong: each of these tests fails, most of them in spite of a right result."""

import cupy as cp
import pytest

SOURCE = r"""
extern "C" {
__global__ void race_in_a_block(const float* x, float* y) {
    __shared__ float s[256];
    int t = threadIdx.x;
    s[t] = x[t];
    y[t] = t > 0 ? s[t] - s[t - 1] : s[t];
}
__global__ void race_between_blocks(float* x) {
    if (threadIdx.x == 0) x[0] += 1.0f;
}
__global__ void past_the_end(const float* x, float* y) {
    y[threadIdx.x] = x[threadIdx.x + 1] - x[threadIdx.x];
}
__global__ void missed_barrier(float* x) {
    if (threadIdx.x < 100) __syncthreads();
}
__global__ void wrong_result(float* x) { x[threadIdx.x] = 2.0f; }
}
"""
module = cp.RawModule(code=SOURCE)


def launch(name, grid, *arguments):
    module.get_function(name)((grid,), (256,), arguments)


def test_race_in_a_block(x):
    y = cp.empty_like(x)
    launch("race_in_a_block", 1, x, y)
    assert (y[1:] == 1).all()


def test_race_between_blocks(x):
    launch("race_between_blocks", 2, x)
    assert x[0] == 2


def test_past_the_end(x):
    launch("past_the_end", 1, x, cp.empty_like(x))


def test_missed_barrier(x):
    launch("missed_barrier", 1, x)


def test_memory_never_written(x):
    launch("race_between_blocks", 1, cp.empty(4, cp.float32))


def test_wrong_result(x):
    launch("wrong_result", 1, x)
    assert x[3] == 3


@pytest.fixture
def faulty(x):
    launch("missed_barrier", 1, x)


def test_fault_in_a_fixture(faulty):
    pass
