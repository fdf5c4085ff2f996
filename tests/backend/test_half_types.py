"""Every op in float16 and bfloat16: each result is the 16-bit number nearest to the float32 one.

That is stricter than the usual criterion for such kernels, at most twice the error of the same
formula computed in 16 bits: whatever that computes is a 16-bit number, too, and not a nearer one.
"""

import importlib.util

import numpy as np
import pytest

from gpunet import ops
from gpunet.backend import backend_named
from gpunet.backend.spec import ACTIVATIONS, OPS
from gpunet.errors import DtypeError
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import guarded_call, with_outputs
from gpunet.testing.op_table import Way, describe, half_step, ways, worst_error

BACKENDS = ["numpy", pytest.param("emulator", marks=pytest.mark.emulator)]
if importlib.util.find_spec("cupy"):
    BACKENDS.append(pytest.param("cupy", marks=pytest.mark.gpu))
on_all_backends = pytest.mark.parametrize("backend", BACKENDS)
in_both_types = pytest.mark.parametrize(
    "dtype", ["float16", pytest.param("bfloat16", marks=pytest.mark.bfloat16)]
)
of_each_op = pytest.mark.parametrize("case", CASES.values(), ids=lambda case: case.op)


def some_calls(case):
    """The first call of a row, the last, and the first whose rows are whole packs of 16 bytes."""

    def is_packed(call):
        arrays = case.arrays(call, "float16").values()
        return all(
            a.size > 0 and a.shape[-1] % 8 == 0 for a in arrays if a.dtype == np.float16
        ) and any(a.dtype == np.float16 for a in arrays)

    packed = [call for call in case.calls if is_packed(call)]
    chosen = [case.calls[0], *packed[:1], case.calls[-1]]
    return [call for place, call in enumerate(chosen) if call not in chosen[:place]]


@on_all_backends
@in_both_types
@of_each_op
def test_results_are_rounded_once(case, backend, dtype, request):
    """At any address, in place, accumulated; within bounds, and the same bits in a plan."""
    backend = backend_named(backend)
    for call in case.calls if request.config.getoption("--long") else some_calls(case):
        for way in ways(case, call, dtype):
            worst = worst_error(backend, case, call, way, dtype)
            assert worst.error <= 1, f"{describe(case, call, way)}: {worst}"
        arrays, attributes = case.arrays(call, dtype), case.attributes(call)
        first = guarded_call(backend, case.op, arrays, attributes)
        for name, values in guarded_call(backend, case.op, arrays, attributes, bound=True).items():
            assert first[name].tobytes() == values.tobytes(), (describe(case, call, Way()), name)


@of_each_op
def test_what_stays_in_full_precision(case):
    arrays = case.arrays(case.calls[0], "float16")
    full = {"labels", "sample_weight", "loss", "correct", "momentums", "velocities"}
    if OPS[case.op].family != "attention":  # whose weights are between queries and keys
        full.add("weights")
    for name in full & set(arrays):
        assert arrays[name].dtype in (np.float32, np.int32), name
    for name in {"dx", "dy", "gradients"} & set(arrays):
        assert arrays[name].dtype == np.float16, name


@pytest.mark.parametrize(
    ("weights", "gradients", "message"),
    [
        ("float32", "float16", None),
        ("float32", "float32", None),
        ("float64", "float64", None),
        ("float16", "float16", "weights must be float32 or float64, got float16"),
        ("float64", "float16", "gradients must be float64, got float16"),
        ("float64", "float32", "gradients must be float64, got float32"),
        ("float32", "float64", "gradients must be float32 or float16 or bfloat16, got float64"),
    ],
)
def test_full_beside_real(weights, gradients, message):
    arrays = CASES["sgd"].arrays(CASES["sgd"].calls[0], "float32")
    arrays["weights"] = arrays["weights"].astype(weights)
    arrays["gradients"] = arrays["gradients"].astype(gradients)
    arrays.pop("velocity", None)
    ordered = [arrays.get(parameter.name) for parameter in OPS["sgd"].parameters]
    if message is None:
        OPS["sgd"].check(ordered, {})
        return
    with pytest.raises(DtypeError, match=message):
        OPS["sgd"].check(ordered, {})


@on_all_backends
@in_both_types
def test_nan_and_infinity_pass_as_in_float32(backend, dtype):
    backend = backend_named(backend)
    x = np.array([[np.nan, np.inf, -np.inf, 0.0, -0.0, 6e4, -6e4]], dtype)
    for activation in ACTIVATIONS:
        y = {}
        for kind in (dtype, "float32"):
            attributes = {"activation": activation}
            arrays = with_outputs("bias_act", {"x": x.astype(kind)}, attributes, kind)
            y[kind] = guarded_call(backend, "bias_act", arrays, attributes)["y"]
        with np.errstate(over="ignore"):
            wanted = y["float32"].astype(dtype)
        np.testing.assert_array_equal(y[dtype].astype(float), wanted.astype(float), activation)
        assert np.isnan(y[dtype][0, 0]), activation


@on_all_backends
def test_what_is_too_large_is_infinite(backend):
    a = np.array([65504, 65504, -65504, 65504], np.float16)
    b = np.array([65504, 16, -16, 15], np.float16)  # 65520 is half way to what would be next
    got = guarded_call(backend_named(backend), "add", {"y": a, "a": a, "b": b}, {})
    assert got["y"].tolist() == [np.inf, np.inf, -np.inf, 65504]


@in_both_types
def test_functions_take_halves(dtype):
    x = np.array([[1.0, 2.0, 4.0]], dtype)
    assert ops.softmax(x).dtype == x.dtype
    loss, dx = ops.softmax_cross_entropy(x, np.array([2]))
    assert (loss.dtype, dx.dtype) == (np.float32, x.dtype)
    with pytest.raises(DtypeError, match=f"op gemm: b must be {dtype}, got float32"):
        ops.gemm(x, np.ones((3, 2), np.float32))


def test_half_steps():
    values = np.array([1.0, 1.5, 1000.0, 1e-7])
    steps = np.spacing(values.astype(np.float16)).astype(float) / 2
    np.testing.assert_array_equal(half_step(values, "float16"), steps)
    assert half_step(values[:1], "bfloat16") == 2.0**-8


def test_truncated_results_are_found():
    class Truncating:
        """The numpy backend, but float16 results are cut off instead of rounded."""

        def __init__(self):
            self._backend = backend_named("numpy")

        def __getattr__(self, name):
            return getattr(self._backend, name)

        def run(self, op, y, *reads):
            wide = np.empty(y.shape, np.float32)
            self._backend.run(op, wide, *(a.astype(np.float32) for a in reads))
            y[...] = (wide.view(np.int32) & ~0x1FFF).view(np.float32)

    case = CASES["softmax"]
    (call,) = (call for call in case.calls if call["x"] == (33, 31))
    assert worst_error(backend_named("numpy"), case, call, Way(), "float16").error <= 1
    assert worst_error(Truncating(), case, call, Way(), "float16").error > 1.5
