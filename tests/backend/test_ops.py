"""Every op on every backend, from the table of op cases."""

import functools
import importlib.util
import os
import shutil

import numpy as np
import pytest

from gpunet.backend import backend_named
from gpunet.backend.spec import OPS
from gpunet.errors import BackendUnavailable
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import guarded_call, label, with_outputs
from gpunet.testing.op_table import expected

BACKENDS = [
    pytest.param("numpy", "float32", id="numpy-float32"),
    pytest.param("numpy", "float64", id="numpy-float64"),
    pytest.param("emulator", "float32", id="emulator", marks=pytest.mark.emulator),
]
COMPILED = set()
if importlib.util.find_spec("numba"):
    from gpunet.backend.cpu.compiled import FUNCTIONS as COMPILED

    for dtype in ("float32", "float64"):
        numba = pytest.param("numba", dtype, id=f"numba-{dtype}", marks=pytest.mark.numba)
        BACKENDS.append(numba)
if importlib.util.find_spec("cupy"):
    BACKENDS.append(pytest.param("cupy", "float32", id="cupy", marks=pytest.mark.gpu))


def on_each_backend(rows):
    """Each of these on every backend; on numba only ops that are not NumPy's own."""
    return [
        pytest.param(*backend.values, *row.values, id=f"{row.id}-{backend.id}", marks=backend.marks)
        for row in rows
        for backend in BACKENDS
        if backend.values[0] != "numba" or row.values[0].op in COMPILED
    ]


CALLS = [
    pytest.param(case, call, id=f"{case.op}-{label(call)}")
    for case in CASES.values()
    for call in case.calls
]


@functools.cache
def usable(name):
    if name == "emulator" and not shutil.which("g++"):
        assert os.environ.get("CI") != "true", "CI has to run the kernels, and there is no g++"
        pytest.skip("the emulator needs g++")
    try:
        return backend_named(name)
    except BackendUnavailable as error:
        if name == "emulator":
            raise
        pytest.skip(str(error))


def as_float64(arrays):
    return {key: a.astype(np.float64) if a.dtype.kind == "f" else a for key, a in arrays.items()}


def assert_close(actual, wanted, tolerance, name):
    wanted = np.broadcast_to(wanted, actual.shape)
    np.testing.assert_allclose(actual, wanted, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize(("backend", "dtype", "case", "call"), on_each_backend(CALLS))
def test_values(case, call, backend, dtype):
    """Right to the reference, whatever outputs held; within bounds; the same bits in a plan."""
    backend = usable(backend)
    arrays, attributes = case.arrays(call, dtype), case.attributes(call)
    written = guarded_call(backend, case.op, arrays, attributes)
    wanted = expected(case, call, arrays)
    assert set(written) <= set(wanted)
    for name, values in written.items():
        assert_close(values, wanted[name], getattr(case, dtype), name)
    again = guarded_call(backend, case.op, arrays, attributes, bound=True)
    for name, values in written.items():
        assert again[name].tobytes() == values.tobytes(), name


@pytest.mark.parametrize(("backend", "dtype", "case", "call"), on_each_backend(CALLS))
def test_unaligned_arrays(case, call, backend, dtype):
    """Arrays that start one element after a 16-byte boundary."""
    arrays = case.arrays(call, dtype)
    written = guarded_call(usable(backend), case.op, arrays, case.attributes(call), shift=1)
    wanted = expected(case, call, arrays)
    for name, values in written.items():
        assert_close(values, wanted[name], getattr(case, dtype), name)


ALIASED = [
    pytest.param(case, call, pair, id=f"{case.op}-{'='.join(pair)}-{label(call)}")
    for case in CASES.values()
    for call in case.calls
    for pair in OPS[case.op].in_place
    if all(call.get(name, "made") is not None for name in pair)
    and (pair[1] in call or OPS[case.op].name == "copy")
]


@pytest.mark.parametrize(("backend", "dtype", "case", "call", "pair"), on_each_backend(ALIASED))
def test_in_place(case, call, pair, backend, dtype):
    """An output that is the memory of an input, wherever the contract allows it."""
    arrays = case.arrays(call, dtype)
    if arrays[pair[0]].dtype != arrays[pair[1]].dtype:
        return  # one memory cannot hold both
    written = guarded_call(usable(backend), case.op, arrays, case.attributes(call), same=pair)
    for name, wanted in expected(case, call, arrays).items():
        if name in written:
            assert_close(written[name], wanted, getattr(case, dtype), name)


SUMS = [
    pytest.param(case, call, id=f"{case.op}-{label(call)}")
    for case in CASES.values()
    for call in case.calls
    if "accumulate" in OPS[case.op].signature.parameters
]


@pytest.mark.parametrize(("backend", "dtype", "case", "call"), on_each_backend(SUMS))
def test_accumulate(case, call, backend, dtype):
    """accumulate=True adds to what a sum held."""
    arrays = case.arrays(call, dtype)
    sums = {p.name for p in OPS[case.op].parameters if p.role == "sum"} & set(arrays)
    random = np.random.default_rng(1)
    for name in sums:
        arrays[name] = random.standard_normal(arrays[name].shape).astype(arrays[name].dtype)
    attributes = case.attributes(call) | {"accumulate": True}
    written = guarded_call(usable(backend), case.op, arrays, attributes)
    wanted = expected(case, call, arrays)
    for name, values in written.items():
        before = arrays[name].astype(np.float64) if name in sums else 0.0
        assert_close(values, before + wanted[name], getattr(case, dtype), name)


def central_differences(case, call, arrays, name, weights, output):
    """The gradient of sum(weights * output) with respect to one input of the reference."""
    attributes, step = case.attributes(call), 1e-6

    def value(moved):
        return np.sum(weights * case.reference(**{**arrays, name: moved}, **attributes)[output])

    point = arrays[name]
    slopes = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        move = np.zeros_like(point)
        move[index] = step
        slopes[index] = (value(point + move) - value(point - move)) / (2 * step)
    return slopes


GRADIENTS = [
    pytest.param(case, call, gradient, id=f"{case.op}-{number}-{label(call)}")
    for case in CASES.values()
    for call in case.calls
    for number, gradient in enumerate(case.gradients)
    if gradient.attributes(case.attributes(call)) is not None
    and not any(call.get(name, "made") is None for name in gradient.of)
    and sum(a.size for a in case.arrays(call, "float32").values()) < 4000
]


@pytest.mark.parametrize(
    ("backend", "dtype", "case", "call", "gradient"), on_each_backend(GRADIENTS)
)
def test_gradients(case, call, gradient, backend, dtype):
    """Backward ops against central differences of the forward reference."""
    arrays = case.arrays(call, dtype)
    point = case.inputs(as_float64(arrays))
    outputs = case.reference(**point, **case.attributes(call))
    shape = np.shape(outputs[gradient.output])
    attributes = gradient.attributes(case.attributes(call))
    dy = np.random.default_rng(2).standard_normal(shape).astype(dtype)
    if "scale" in attributes:  # a loss
        dy = np.full(shape, attributes["scale"], dtype)

    sources = {**arrays, **outputs, "dy": dy}
    inputs = {
        to: np.asarray(sources[of], arrays[of].dtype if of in arrays else dtype)
        for to, of in gradient.arrays.items()
        if of in sources
    }
    complete = with_outputs(gradient.op, inputs, attributes, dtype)
    written = guarded_call(usable(backend), gradient.op, complete, attributes)
    for name, of in gradient.of.items():
        if of in point:
            wanted = central_differences(case, call, point, of, dy, gradient.output)
            assert_close(written[name], wanted, 1e-6 if dtype == "float64" else 1e-3, name)


EXTREMES = np.array([[-1e4, -90.0, 0.0, 90.0, 1e4], [700.0, 700.0, -700.0, 0.0, 1.0]])


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("name", ["softmax_cross_entropy", "sigmoid_cross_entropy"])
def test_large_logits(name, backend, dtype):
    """No overflow, and no warning of one, where exp(x) is out of range."""
    x, labels = EXTREMES.astype(dtype), np.zeros(EXTREMES.shape, dtype)
    labels[:, 0] = 1.0
    arrays = {"x": x, "labels": labels, "totals": np.zeros(2), "accuracy_totals": np.zeros(2)}
    complete = with_outputs(name, arrays, {"scale": 1.0}, dtype)
    written = guarded_call(usable(backend), name, complete, {"scale": 1.0})
    # For huge x, log(1 + exp(x)) is x, and softmax has a 1 (or halves) at the largest.
    wanted = {
        "softmax_cross_entropy": [2e4, np.log(2.0)],
        "sigmoid_cross_entropy": [
            (2e4 + 90.0 + np.log(2.0)) / 5,
            (700.0 + np.log(2.0) + 1.313262) / 5,
        ],
    }
    np.testing.assert_allclose(written["loss"], wanted[name], rtol=1e-5)
    assert np.isfinite(written["dx"]).all()


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
@pytest.mark.parametrize("activation", ["linear", "relu", "sigmoid", "tanh"])
def test_activations_of_large_numbers_and_nan(activation, backend, dtype):
    """They end at their limits without a warning, and NaN goes through."""
    x = np.array([[-1e4, 1e4, np.nan, 0.0]], dtype)
    attributes = {"activation": activation}
    complete = with_outputs("bias_act", {"x": x}, attributes, dtype)
    y = guarded_call(usable(backend), "bias_act", complete, attributes)["y"]
    limits = {"linear": [-1e4, 1e4], "relu": [0, 1e4], "sigmoid": [0, 1], "tanh": [-1, 1]}
    assert y[0, :2].tolist() == limits[activation]
    assert np.isnan(y[0, 2])


@pytest.mark.parametrize(("backend", "dtype"), BACKENDS)
def test_clipped_probabilities(backend, dtype):
    """At 0 and 1 the loss is that of 1e-7, and the gradient is 0, as in Keras."""
    x, labels = np.array([[0.0], [1.0]], dtype), np.array([[1.0], [0.0]], dtype)
    arrays = {"x": x, "labels": labels, "totals": np.zeros(2), "accuracy_totals": np.zeros(2)}
    complete = with_outputs("binary_cross_entropy", arrays, {"scale": 1.0}, dtype)
    written = guarded_call(usable(backend), "binary_cross_entropy", complete, {"scale": 1.0})
    # 1 - 1e-7 is 1 - 1.19e-7 in float32.
    np.testing.assert_allclose(written["loss"], -np.log(1e-7), rtol=2e-2)
    np.testing.assert_array_equal(written["dx"], 0.0)

    x = np.array([[0.0, 1.0, 3.0], [2.0, 0.0, 0.0]], dtype)
    arrays |= {"x": x, "labels": np.array([0, 0], np.int32)}
    complete = with_outputs("cross_entropy", arrays, {"scale": 1.0}, dtype)
    written = guarded_call(usable(backend), "cross_entropy", complete, {"scale": 1.0})
    np.testing.assert_allclose(written["loss"], [-np.log(1e-7), 1e-7], rtol=0.2, atol=1e-9)
    np.testing.assert_array_equal(written["dx"], 0.0)
