"""Kernels that are right, and CuPy as tests use it: all of this passes."""

import cupy as cp
import numpy as np
import pytest

SOURCE = r"""
extern "C" {
__global__ void reverse(float* x) {
    __shared__ float s[256];
    s[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    x[threadIdx.x] = s[255 - threadIdx.x];
}
// The last block to arrive adds up what the others left, in order.
__global__ void total(const float* x, float* partial, unsigned* arrived, float* y, int n) {
    float sum = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
        sum += x[i];
    for (int offset = 16; offset > 0; offset /= 2)
        sum += __shfl_down_sync(0xffffffffu, sum, offset);
    if (threadIdx.x != 0) return;
    partial[blockIdx.x] = sum;
    __threadfence();
    if (atomicAdd(arrived, 1u) == gridDim.x - 1) {
        __threadfence();
        *y = 0.0f;
        for (unsigned block = 0; block < gridDim.x; ++block) *y += partial[block];
    }
}
}
template <typename T> __global__ void scale(T* x, T factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] *= factor;
}
"""
module = cp.RawModule(code=SOURCE, name_expressions=["scale<float>", "scale<double>"])


def test_reverse(x):
    module.get_function("reverse")((1,), (256,), (x,))
    cp.testing.assert_array_equal(x, cp.arange(255, -1, -1))


def test_total(x):
    y = cp.empty(1, cp.float32)
    arguments = (x, cp.empty(3, cp.float32), cp.zeros(1, cp.uint32), y, cp.int32(256))
    module.get_function("total")((3,), (32,), arguments)
    assert float(y[0]) == 255 * 128


@pytest.mark.parametrize(("name", "dtype"), [("float", "float32"), ("double", "float64")])
def test_templates(name, dtype):
    x = cp.asarray(np.ones(100), dtype)
    module.get_function(f"scale<{name}>")((4,), (32,), (x, x.dtype.type(3), np.int32(100)))
    np.testing.assert_allclose(cp.asnumpy(x), 3)


def test_streams_and_graphs(x):
    stream = cp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        module.get_function("reverse")((1,), (256,), (x,))
        graph = stream.end_capture()
        graph.launch()
    stream.synchronize()
    assert x[0] == 255


def test_cupy_is_here():
    assert pytest.importorskip("cupy", minversion="13") is cp
    from cupy.cuda import runtime

    assert runtime.getDeviceCount() == 1
    assert cp.random.rand(3).shape == (3,)
    with pytest.raises(ImportError):
        import cupyx  # noqa: F401
