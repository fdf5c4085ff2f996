"""__half and __nv_bfloat16 convert as on the device: every number, every tie, all around it."""

import numpy as np
import pytest

from gpunet.emulator import cupy as cp

pytestmark = pytest.mark.emulator

SOURCE = r"""
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#define CONVERSIONS(NAME, T, FROM_FLOAT, FROM_DOUBLE, TO_FLOAT)                                   \
    extern "C" __global__ void widen_##NAME(float* out, const T* in, int n) {                     \
        for (int i = threadIdx.x; i < n; i += blockDim.x) {                                       \
            out[i] = (float)in[i];                                                                \
            out[n + i] = TO_FLOAT(in[i]);                                                         \
        }                                                                                         \
    }                                                                                             \
    extern "C" __global__ void narrow_float32_##NAME(T* out, const float* in, int n) {            \
        for (int i = threadIdx.x; i < n; i += blockDim.x) {                                       \
            out[i] = (T)in[i];                                                                    \
            out[n + i] = FROM_FLOAT(in[i]);                                                       \
        }                                                                                         \
    }                                                                                             \
    extern "C" __global__ void narrow_float64_##NAME(T* out, const double* in, int n) {           \
        for (int i = threadIdx.x; i < n; i += blockDim.x) {                                       \
            out[i] = (T)in[i];                                                                    \
            out[n + i] = FROM_DOUBLE(in[i]);                                                      \
        }                                                                                         \
    }
CONVERSIONS(float16, __half, __float2half, __double2half, __half2float)
CONVERSIONS(bfloat16, __nv_bfloat16, __float2bfloat16, __double2bfloat16, __bfloat162float)
"""
PATTERNS = np.arange(2**16, dtype=np.uint16)
DIGITS = {"float16": 11, "bfloat16": 8}
LOWEST = {"float16": -13, "bfloat16": -125}  # the exponent, as of frexp, of the least normal number
NAN = 0x7FFF  # the one that the device writes, whatever NaN was converted


def decoded(patterns, dtype):
    if dtype == "float16":
        return patterns.view(np.float16).astype(np.float32)
    return (patterns.astype(np.uint32) << 16).view(np.float32)


def nearest(values, dtype):
    """The nearest number of this type, in float64, the even one of two; too large is infinite."""
    values = np.asarray(values, np.float64)
    step = np.ldexp(1.0, np.maximum(np.frexp(values)[1], LOWEST[dtype]) - DIGITS[dtype])
    rounded = np.rint(values / step) * step
    too_large = np.abs(rounded) > finite_numbers(dtype)[-1]
    return np.where(too_large, np.copysign(np.inf, values), rounded)


def finite_numbers(dtype):
    """All of them once, in order."""
    numbers = decoded(PATTERNS, dtype)
    return np.unique(numbers[np.isfinite(numbers)]).astype(np.float64)


@pytest.fixture(scope="module")
def module():
    return cp.RawModule(code=SOURCE)


def run(module, name, values, dtype):
    out = cp.empty((2, values.size), dtype)
    module.get_function(name)((1,), (256,), (out, cp.asarray(values), np.int32(values.size)))
    return out.get()


@pytest.mark.parametrize("dtype", DIGITS)
def test_every_number_becomes_a_float(module, dtype):
    wanted = decoded(PATTERNS, dtype)
    for got in run(module, f"widen_{dtype}", PATTERNS, np.float32):
        np.testing.assert_array_equal(got, wanted)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(wanted))


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("dtype", DIGITS)
def test_every_number_and_every_tie_is_rounded_to_the_nearest(module, dtype, source):
    numbers = finite_numbers(dtype)
    beyond = 2 * numbers[-1] - numbers[-2]  # where the next number would be
    ends = np.concatenate(([-beyond], numbers, [beyond]))
    ties = ((ends[1:] + ends[:-1]) / 2).astype(source)
    values = np.concatenate(
        (
            numbers.astype(source),
            [np.asarray(-0.0, source)],
            ties,
            np.nextafter(ties, np.asarray(np.inf, source)),
            np.nextafter(ties, np.asarray(-np.inf, source)),
            np.array([np.inf, -np.inf, np.finfo(source).max, np.finfo(source).min], source),
            np.array([np.finfo(source).tiny, -np.finfo(source).smallest_subnormal], source),
        )
    )
    with np.errstate(invalid="ignore", over="ignore"):
        wanted = np.where(np.isinf(values), values, nearest(values, dtype))
    if dtype == "float16":
        with np.errstate(over="ignore", under="ignore"):
            np.testing.assert_array_equal(values.astype(np.float16), wanted)
    for got in run(module, f"narrow_{source}_{dtype}", values, np.uint16):
        np.testing.assert_array_equal(decoded(got, dtype), wanted)
        np.testing.assert_array_equal(got >> 15, np.signbit(values))


@pytest.mark.parametrize("source", ["float32", "float64"])
@pytest.mark.parametrize("dtype", DIGITS)
def test_every_nan_becomes_the_devices(module, dtype, source):
    nans = np.array([np.nan, -np.nan, np.nan], source)
    bits = nans.view(f"uint{8 * nans.itemsize}")
    bits[2] += 5  # with a payload
    assert (run(module, f"narrow_{source}_{dtype}", nans, np.uint16) == NAN).all()
