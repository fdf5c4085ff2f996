"""Every op of the contract on the checked build: no alarm at any shape of the table of op cases.

Unlike in tests/backend/test_ops.py each array is an allocation of its own between red zones, and
what an op writes is memory that nobody has written to before.
"""

from __future__ import annotations

import functools
import zlib

import numpy as np
import pytest

from gpunet.backend.cuda import CudaBackend, kernels
from gpunet.backend.spec import OPS
from gpunet.emulator import KernelFault, checked, cupy
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import label
from gpunet.testing.op_table import Way, expected, ways

pytestmark = pytest.mark.emulator

CALLS = [
    pytest.param(case, call, id=f"{case.op}-{label(call)}")
    for case in CASES.values()
    for call in case.calls
]


@functools.cache
def backend():
    """A backend whose scratch memory is of the checked build, too."""
    with checked():
        return CudaBackend(cupy, "emulator")


def placed(values, filled, shift):
    """A device array of these values, or of none, that misses an alignment by so many elements."""
    start = shift * values.itemsize
    with_gap = backend().empty((start + values.nbytes,), np.uint8)
    array = backend().view(with_gap, start, values.shape, values.dtype)
    if filled:
        backend().write(array, values)
    return array


def checked_call(case, call, way, dtype, seed):
    """Run one op, and return what it wrote and was to write."""
    op, arrays, attributes = OPS[case.op], case.arrays(call, dtype), case.attributes(call)
    if way.accumulate:
        attributes |= {"accumulate": True}
    with checked(seed):
        on_device = {}
        for parameter in op.parameters:
            if parameter.name in arrays:
                filled = parameter.read or (way.accumulate and parameter.role == "sum")
                values = arrays[parameter.name]
                on_device[parameter.name] = placed(values, filled, way.shift)
        if way.same:
            on_device[way.same[0]] = on_device[way.same[1]]
        ordered = [on_device.get(parameter.name) for parameter in op.parameters]
        op.check(ordered, attributes)
        backend().ops[case.op](*ordered, **attributes)
        names = [p.name for p in op.parameters if p.written and p.name in on_device]
        return {name: backend().to_numpy(on_device[name]) for name in names}


def seed_of(*parts):
    """Another order of blocks and threads for every call, the same in every run."""
    return zlib.crc32(repr(parts).encode()) + 1


@pytest.mark.parametrize(("case", "call"), CALLS)
def test_values(case, call):
    """The plain call, in an order of its own, with the right results."""
    written = checked_call(case, call, Way(), "float32", seed_of(case.op, label(call)))
    wanted = expected(case, call, case.arrays(call, "float32"))
    for name, values in written.items():
        np.testing.assert_allclose(
            values, np.broadcast_to(wanted[name], values.shape), case.float32, case.float32, name
        )


def other_ways(case, call):
    return [way for way in ways(case, call) if way != Way()]


@pytest.mark.parametrize(("case", "call"), CALLS)
def test_other_ways(case, call, request):
    """At odd addresses, in place, accumulating; one of them by default, all with --long."""
    found = other_ways(case, call)
    chosen = seed_of(label(call)) % len(found)
    for way in found if request.config.getoption("--long") else [found[chosen]]:
        checked_call(case, call, way, "float32", 0)


HALF_TYPES = ["float16", pytest.param("bfloat16", marks=pytest.mark.bfloat16)]


@pytest.mark.parametrize("dtype", HALF_TYPES)
@pytest.mark.parametrize("name", CASES)
def test_half_types(name, dtype, request):
    """The same kernels for 16-bit elements; a few calls by default, all with --long."""
    calls = CASES[name].calls
    if not request.config.getoption("--long"):
        calls = calls[:: max(1, len(calls) // 3)]
    for call in calls:
        for way in (Way(), Way("at odd addresses", shift=1)):
            checked_call(CASES[name], call, way, dtype, seed_of(label(call)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize(("case", "call"), CALLS)
def test_in_other_orders(case, call, seed):
    for way in ways(case, call):
        checked_call(case, call, way, "float32", seed)


# One word of a kernel changed: (what, into what, op, whose call, at which shift, what is said).
MUTATIONS = {
    "a barrier that protects reused shared memory": (
        "__syncthreads();  // the results of an earlier call have been read",
        "",
        "cosine_similarity",
        "5x1023",
        0,
        r"race on byte \d+ of shared 'of_warp': .*common\.cuh",
    ),
    "a barrier between writing and reading shared memory": (
        "__syncthreads();\n    return warp_reduce(of_warp[",
        "return warp_reduce(of_warp[",
        "softmax",
        "5x1023",
        0,
        r"(never written: byte|race on byte) \d+ of shared 'of_warp'.*common\.cuh",
    ),
    "the fence of the last block": (
        "__threadfence();\n    __syncthreads();",
        "__syncthreads();",
        "bias_act_backward",
        "1023x1-",
        0,
        r"race on 'partials'.*activations\.cu:\d+\], with no __threadfence and atomic",
    ),
    "the end of a loop": (
        "i < n; i += grid_threads()",
        "i <= n; i += grid_threads()",
        "copy",
        "3x11x31",
        0,
        r"out-of-bounds read of 4 bytes, 0 bytes past the end of 'x' \(4092 bytes\)",
    ),
    "the test for alignment": (
        "reinterpret_cast<uint64>(p) % bytes == 0",
        "true",
        "copy",
        "3x11x31",
        1,
        r"misaligned read of 16 bytes at 'x'\[0\].*common\.cuh:\d+ called at memory\.cu",
    ),
    "the case of no accumulation": (
        "if (accumulate)",
        "if (true)",
        "bias_act_backward",
        "33x31",
        0,
        "read of memory that was never written: 'dbias'",
    ),
}


@pytest.mark.parametrize("what", MUTATIONS)
def test_a_bug_in_a_kernel_of_gpunet_is_found(what, monkeypatch):
    old, new, op, shape, shift, message = MUTATIONS[what]
    original = kernels.flattened

    def mutated(*arguments):
        text = original(*arguments)
        assert old in text
        return text.replace(old, new)

    monkeypatch.setattr(kernels, "flattened", mutated)
    monkeypatch.setattr(f"{__name__}.backend", functools.cache(backend.__wrapped__))
    case = CASES[op]
    call = next(call for call in case.calls if shape in label(call) + "-")
    with pytest.raises(KernelFault, match=message):
        checked_call(case, call, Way(shift=shift), "float32", 0)
