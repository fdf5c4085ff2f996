"""Compiling, packing arguments and launching through the look-alike's RawModule and RawKernel."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpunet.emulator import KernelFault, record_launches
from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

CODE = r"""
#include <cuda_fp16.h>
#include <cuda_bf16.h>
struct Pair { int a; float b; };
#define KERNEL extern "C" __global__ void
KERNEL scalars(double* out, int a, long long b, float c, double d, bool e, unsigned char f,
               size_t g, short h, __half i) {
    double all[] = {double(a), double(b), c, d, double(e), double(f), double(g), double(h),
                    __half2float(i)};
    for (int n = 0; n < 9; ++n) out[n] = all[n];
}
KERNEL floats(const float* __restrict__ x) {}
KERNEL vectors(const float4* x) {}
KERNEL raw(void* x, unsigned char* y) {}
KERNEL unsigned_ints(unsigned* x) {}
KERNEL sixteen(__half* x, __nv_bfloat16* y, __half2* z, unsigned short* w) {}
KERNEL structs(Pair* x) {}
KERNEL by_value(float* y, float2 a, Pair b, float4 c, int d) {
    float all[] = {a.x, a.y, float(b.a), b.b, c.x, c.y, c.w, float(d)};
    for (int n = 0; n < 8; ++n) y[n] = all[n];
}
KERNEL is_null(const float* x, int* out) { *out = x == nullptr; }
KERNEL fill(int* out, int value) { out[blockIdx.x * blockDim.x + threadIdx.x] = value; }
KERNEL nothing() {}
KERNEL __launch_bounds__(64, 2) bounded() {}
KERNEL dynamic(int* out, int n) {
    extern __shared__ int s[];
    s[n - 1] = n;
    *out = s[n - 1];
}
KERNEL speak(int n) {
    if (threadIdx.x == 0) printf("block %d of %u: %s %.1f\n", n, gridDim.x, "x", 0.5);
}
__global__ void mangled() {}
"""


@pytest.fixture(scope="module")
def module():
    return cp.RawModule(code=CODE)


def launch(module, name, *args, grid=(1,), block=(1,), **keywords):
    module.get_function(name)(grid, block, args, **keywords)


def test_scalars_are_packed_as_cupy_packs_them(module):
    out = cp.empty(9, np.float64)
    scalars = (np.int32(-3), 2**40, np.float32(0.5), 0.25, True, np.uint8(200))
    launch(module, "scalars", out, *scalars, 7, np.int16(-9), np.float16(1.5))
    assert out.get().tolist() == [-3, 2**40, 0.5, 0.25, 1, 200, 7, -9, 1.5]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (1, 3, "argument 1: got the int 3, which is packed as int64, the kernel takes int32"),
        (2, np.int32(3), r"argument 2: .* packed as int32, the kernel takes int64; pass np.int64"),
        (3, 0.5, "argument 3: .* packed as float64, the kernel takes float32"),
        (3, np.int32(1), "argument 3: .* packed as int32, the kernel takes float32"),
        (4, 1, "argument 4: .* packed as int64, the kernel takes float64"),
        (5, 1, "argument 5: .* packed as int64, the kernel takes bool"),
        (1, cp.zeros(1), "argument 1: got an array of float64, the kernel takes a scalar int32"),
        (0, 1.0, "argument 0: got the float 1.0, the kernel takes an array"),
        (9, np.uint16(3), "argument 9: .* packed as uint16, the kernel takes float16"),
    ],
)
def test_scalars_of_the_wrong_type_are_refused(module, position, value, message):
    args = [cp.empty(9), np.int32(1), 2, np.float32(3), 4.0, True, np.uint8(6), 7]
    args += [np.int16(8), np.float16(9)]
    args[position] = value
    with pytest.raises(KernelFault, match=f"kernel 'scalars', {message}"):
        launch(module, "scalars", *args)


@pytest.mark.parametrize(
    ("name", "arrays"),
    [
        ("floats", ["float32"]),
        ("vectors", ["float32"]),
        ("raw", ["float32", "int64"]),
        ("sixteen", ["float16", "uint16", "float16", "float16"]),
        ("sixteen", ["uint16", "uint16", "uint16", "uint16"]),
        ("structs", ["uint8"]),
    ],
)
def test_arrays_that_fit(module, name, arrays):
    launch(module, name, *(cp.zeros(8, dtype) for dtype in arrays))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("floats", "float64", "got an array of float64, the kernel takes a pointer to float32"),
        ("floats", "int32", "got an array of int32, the kernel takes a pointer to float32"),
        ("vectors", "float16", "got an array of float16, the kernel takes a pointer to float32"),
        ("unsigned_ints", "int32", "got an array of int32, the kernel takes a pointer to uint32"),
    ],
)
def test_arrays_of_the_wrong_type_are_refused(module, name, array, message):
    with pytest.raises(KernelFault, match=f"argument 0: {message}"):
        launch(module, name, cp.zeros(8, array))


def test_misaligned_vectors_are_refused(module):
    with pytest.raises(KernelFault, match="no multiple of 16 bytes"):
        launch(module, "vectors", cp.zeros(8, np.float32)[1:])


@pytest.mark.parametrize("value", [1j, np.complex64(1), np.zeros(1, np.float32)])
def test_what_cupy_takes_and_the_kernel_does_not(module, value):
    with pytest.raises(KernelFault, match=r"argument 0: got the .* the kernel takes an array"):
        launch(module, "floats", value)


def test_vectors_and_structs_by_value(module):
    out = cp.zeros(8, np.float32)
    pair = np.array((7, 0.5), [("a", np.int32), ("b", np.float32)])
    four = np.array([(1, 2, 3, 4)], "f4,f4,f4,f4")
    launch(module, "by_value", out, np.complex64(5 + 6j), pair, four, np.int32(9))
    assert out.get().tolist() == [5, 6, 7, 0.5, 1, 2, 4, 9]
    with pytest.raises(KernelFault, match=r"argument 1: .* packed as float64"):
        launch(module, "by_value", out, np.float64(5), pair, four, np.int32(9))


@pytest.mark.parametrize("null", [None, np.uint64(0), np.intp(0)])
def test_null_pointers(module, null):
    out = cp.zeros(1, np.int32)
    launch(module, "is_null", null, out)
    assert out.item() == 1
    launch(module, "is_null", cp.zeros(1, np.float32).data, out)
    assert out.item() == 0


def test_the_number_of_arguments_counts(module):
    with pytest.raises(KernelFault, match="'floats' takes 1 arguments, got 2"):
        launch(module, "floats", cp.zeros(1, np.float32), 1)


@pytest.mark.parametrize(
    ("name", "grid", "block", "message"),
    [
        ("nothing", (1,), (1025,), "has 1025 threads, a block may have 1024"),
        ("nothing", (1,), (4, 4, 65), "has 1040 threads"),
        ("nothing", (1,), (1, 1, 65), "over the limit"),
        ("nothing", (1, 65536), (1,), r"grid \(1, 65536, 1\) is over the limit"),
        ("bounded", (1,), (65,), r"over __launch_bounds__\(64\)"),
    ],
)
def test_launch_limits(module, name, grid, block, message):
    with pytest.raises(KernelFault, match=f"kernel '{name}': .*{message}"):
        launch(module, name, grid=grid, block=block)


@pytest.mark.parametrize(("grid", "block"), [((0,), (1,)), ((1,), (1, 0))])
def test_a_size_of_zero_counts_as_one_as_in_cupy(module, grid, block):
    with record_launches() as launches:
        launch(module, "nothing", grid=grid, block=block)
    assert [(record.grid, record.block) for record in launches] == [((1, 1, 1), (1, 1, 1))]


def test_dynamic_shared_memory_over_48_kb_has_to_be_allowed(module):
    kernel, out = module.get_function("dynamic"), cp.empty(1, np.int32)
    n = np.int32(25000)
    with pytest.raises(KernelFault, match="shared_mem=100000 is over the limit 49152"):
        kernel((1,), (1,), (out, n), shared_mem=100_000)
    kernel.max_dynamic_shared_size_bytes = 100_000
    assert kernel.max_dynamic_shared_size_bytes == 100_000
    kernel((1,), (1,), (out, n), shared_mem=100_000)
    assert out.item() == 25000
    with pytest.raises(cp.cuda.driver.CUDADriverError):
        kernel.max_dynamic_shared_size_bytes = 200_000


@pytest.mark.parametrize("name", ["missing", "mangled"])
def test_unknown_names(module, name):
    with pytest.raises(cp.cuda.driver.CUDADriverError, match="CUDA_ERROR_NOT_FOUND"):
        module.get_function(name)


def test_launches_are_recorded(module):
    out = cp.zeros(6, np.int32)
    with record_launches() as launches:
        launch(module, "nothing")
        with record_launches() as inner:
            launch(module, "fill", out, np.int32(3), grid=(2,), block=(3,), shared_mem=8)
    launch(module, "nothing")
    assert [record.name for record in launches] == ["nothing", "fill"]
    assert inner == launches[1:]
    assert (inner[0].grid, inner[0].block, inner[0].shared_mem) == ((2, 1, 1), (3, 1, 1), 8)
    assert inner[0].arguments == np.array([out.data.ptr, 3], np.int64).tobytes()
    assert (out == 3).all()


def test_printf_goes_to_sys_stdout(module, capsys):
    launch(module, "speak", np.int32(4), grid=(2,), block=(8,))
    assert capsys.readouterr().out == "block 4 of 2: x 0.5\n" * 2


def test_launches_from_several_threads(module):
    outs = [cp.zeros(2048, np.int32) for _ in range(4)]

    def work(number):
        for _ in range(20):
            launch(module, "fill", outs[number], np.int32(number), grid=(8,), block=(256,))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((out == number).all() for number, out in enumerate(outs))


def test_two_million_threads(module):
    out = cp.empty(8192 * 256, np.int32)
    launch(module, "fill", out, np.int32(7), grid=(8192,), block=(256,))
    assert (out == 7).all()


def test_raw_kernel_with_options():
    code = 'extern "C" __global__ void k(float* x) { x[0] = VALUE; x[1] = FLAG; x[2] = ADD(1, 2); }'
    options = ("-DVALUE=2.5f", "-D", "FLAG", "--define-macro=ADD(a,b)=a+b", "--use_fast_math")
    x = cp.zeros(3, np.float32)
    kernel = cp.RawKernel(code, "k", options, backend="nvrtc")
    kernel((1,), (1,), (x,), stream=cp.cuda.Stream())
    assert x.get().tolist() == [2.5, 1, 3]


def test_modules_compile_when_needed():
    broken = cp.RawModule(code="this is no C++")
    with pytest.raises(cp.cuda.compiler.CompileException, match=r"kernel\.cu:1") as caught:
        broken.compile()
    assert caught.value.source == "this is no C++"
