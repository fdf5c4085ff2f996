"""Backends, the table of op cases and the contract say the same things."""

import functools
import inspect
import tracemalloc

import numpy as np
import pytest

import gpunet.backend.cpu
import gpunet.backend.cuda
from gpunet.backend.cpu import CpuBackend
from gpunet.backend.cpu.threads import blas
from gpunet.backend.spec import ACTIVATIONS, ELEMENTWISE_LOSSES, OPS, dtype_of_kind
from gpunet.errors import ArgumentError, DtypeError, ShapeError
from gpunet.testing.cases import CASES
from gpunet.testing.op_checks import label

NAMES = list(OPS)


def parameters(function):
    """Name, kind and default of each parameter."""
    signature = inspect.signature(function)
    return [(p.name, p.kind, p.default) for p in signature.parameters.values()]


def test_every_op_has_a_row_of_cases_and_both_backends():
    assert set(CASES) == set(NAMES)
    assert set(gpunet.backend.cpu.FUNCTIONS) == set(NAMES)
    assert set(gpunet.backend.cuda.FUNCTIONS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_signatures(name):
    contract = [(p.name, p.kind, p.default) for p in OPS[name].signature.parameters.values()]
    assert parameters(gpunet.backend.cpu.FUNCTIONS[name]) == contract
    device, *others = parameters(gpunet.backend.cuda.FUNCTIONS[name])
    assert device[0] == "device"
    assert others == contract


@pytest.mark.parametrize("name", NAMES)
def test_every_flag_and_optional_array_is_tried(name):
    """The calls of a row use each value of each flag, and leave out each optional array."""
    calls = CASES[name].calls
    for parameter in OPS[name].parameters:
        if parameter.optional:
            assert any(call.get(parameter.name, "made") is None for call in calls) or any(
                parameter.role == "in" and parameter.name not in call for call in calls
            ), parameter.name
    for key, parameter in OPS[name].signature.parameters.items():
        if isinstance(parameter.default, bool) and key != "accumulate":
            assert {call.get(key, parameter.default) for call in calls} == {True, False}, key
        if key == "activation":
            assert {call[key] for call in calls} == set(ACTIVATIONS)
        if key == "parameters":
            assert {call["activation"] for call in calls if key in call} == {
                name for name, entry in ACTIVATIONS.items() if entry.parameters
            }
        if key == "kind":
            assert {call[key] for call in calls} == set(ELEMENTWISE_LOSSES)


def first_call(name):
    case = CASES[name]
    call = next(call for call in case.calls if "x0" not in label(call))
    return case.arrays(call, "float32"), case.attributes(call)


def ordered(name, arrays):
    return [arrays.get(parameter.name) for parameter in OPS[name].parameters]


@pytest.mark.parametrize("name", NAMES)
def test_wrong_rank(name):
    arrays, attributes = first_call(name)
    for parameter in OPS[name].parameters:
        if parameter.name in arrays and parameter.forms[0][1] != ("...",):
            wrong = {**arrays, parameter.name: arrays[parameter.name][None, None]}
            with pytest.raises(ShapeError, match=f"op {name}: {parameter.name} must have"):
                OPS[name].check(ordered(name, wrong), attributes)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_size(name):
    arrays, attributes = first_call(name)
    parameters = [p for p in OPS[name].parameters if p.name in arrays]
    dims = [dim for p in parameters for dim in set(p.forms[0][1])]
    tied = [p for p in parameters if any(d.isdigit() or dims.count(d) > 1 for d in p.forms[0][1])]
    if tied:
        last = tied[-1].name
        larger = np.zeros([size + 1 for size in arrays[last].shape], arrays[last].dtype)
        with pytest.raises(ShapeError, match=f"op {name}: {last} of shape"):
            OPS[name].check(ordered(name, {**arrays, last: larger}), attributes)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_dtype(name):
    arrays, attributes = first_call(name)
    for parameter in OPS[name].parameters:
        if parameter.name in arrays and all(kind != "any" for kind, _ in parameter.forms):
            wrong = {**arrays, parameter.name: np.zeros(arrays[parameter.name].shape, np.int8)}
            with pytest.raises(DtypeError, match=f"op {name}: {parameter.name} must be"):
                OPS[name].check(ordered(name, wrong), attributes)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_arguments(name):
    arrays, attributes = first_call(name)
    with pytest.raises(ArgumentError, match="needs an array"):
        OPS[name].check([None for _ in OPS[name].parameters], attributes)
    with pytest.raises(ArgumentError, match="arrays"):
        OPS[name].check(ordered(name, arrays)[1:], attributes)
    with pytest.raises(ArgumentError, match="sclae"):
        OPS[name].check(ordered(name, arrays), attributes | {"sclae": 1.0})
    for key in attributes:
        if OPS[name].signature.parameters[key].default is inspect.Parameter.empty:
            fewer = {other: value for other, value in attributes.items() if other != key}
            with pytest.raises(ArgumentError, match=key):
                OPS[name].check(ordered(name, arrays), fewer)


# --------------------------------------------------------- what is special to the cpu backend

ROWS, COLUMNS = 4096, 256  # 4 MiB of float32


def large(shape, dtype=np.float32):
    """Positive numbers: fit for logarithms, squares and probabilities alike."""
    return np.full(shape, 0.5, dtype)


AXES = ("depth", "height", "width")


def large_arguments(name):
    """Arrays of 4 MiB for an op, by its contract; labels and indices are all 0."""
    sizes = {"rows": ROWS, "batch": ROWS, "samples": ROWS, "columns": COLUMNS, "n": COLUMNS}
    sizes |= {"m": ROWS, "k": 16, "...": (ROWS, COLUMNS), "segments": 1, "penalties": 1}
    sizes |= {"groups": 1, "thresholds": 200, "classes": 10, "channels": COLUMNS, "tokens": ROWS}
    sizes |= dict.fromkeys(("images", "height", "width", "out_height", "out_width"), 64)
    sizes |= {"colors": 4, "pixels": 64 * 64, "vectors": 1024}
    sizes |= {"outer": 4, "reduced": ROWS // 4, "inner": COLUMNS}
    if OPS[name].family in ("convolution", "pooling"):
        window = {f"window_{axis}": size for axis, size in zip(AXES, (1, 3, 3), strict=True)}
        image = {"batch": 64, "depth": 1, "height": 32, "width": 32}
        outputs = {f"out_{axis}": size for axis, size in zip(AXES, (1, 32, 32), strict=True)}
        sizes |= window | image | outputs | {"channels": 16, "group_channels": 4, "filters": 16}
    if OPS[name].family == "shapes":
        sizes |= dict.fromkeys(("a", "b", "c", "d"), 32) | {"total": 128, "middle": ROWS // 32}
        sizes |= {"xd": 1, "yd": 1, "xh": ROWS // 4, "yh": ROWS // 4, "xw": 64, "yw": 64}
        sizes["inner"] = COLUMNS // 64
    if name == "batched_gemm":
        sizes |= {"batch": 4, "m": ROWS // 4}
    if name == "spatial_dropout":
        sizes |= {"positions": 8, "channels": COLUMNS // 8}
    if OPS[name].family == "sequence_losses":
        sizes |= {"batch": 16, "steps": 64, "classes": 1024, "length": 8}
    if OPS[name].family == "recurrent":
        sizes |= {"batch": 128, "steps": 32, "units": 64, "inputs": 32}
        sizes["gate_units"] = 64 * (4 if name.startswith("lstm") else 3)
    if OPS[name].family in ("attention", "fused_attention"):
        sizes |= {"batch": 16, "heads": 4, "length": 128, "keys": 128, "size": 128}
        sizes |= {"key_heads": 2, "value_size": 128}
    if OPS[name].family == "caching":
        sizes |= {"batch": 8, "length": 2, "heads": 8, "key_heads": 8, "capacity": 1024}
        sizes |= {"size": 16, "value_size": 16}
    if OPS[name].family == "positions":
        sizes |= {"batch": 4, "length": 1024, "heads": 2, "size": 128}
    if OPS[name].family == "optimizers" or name == "weight_penalty":
        sizes["n"] = ROWS * COLUMNS
    arrays = []
    for parameter in OPS[name].parameters:
        kind, dims = parameter.forms[0 if parameter.name == "argmax" else -1]
        if parameter.role == "scratch":
            sizes["scratch_size"] = OPS[name].scratch_shape([*arrays, None], ATTRIBUTES)[0]
        shape = sizes["..."] if dims == ("...",) else ()
        shape = shape or tuple(int(d) if d.isdigit() else sizes[d] for d in dims)
        dtype = dtype_of_kind(kind, "float32")
        arrays.append(large(shape, dtype))
        if parameter.name == "segments":
            arrays[-1][:] = [[0, sizes["n"], 0, 1, 1, 0]]
        if parameter.name == "penalties":
            arrays[-1][:] = [[0, sizes["n"], 0.1, 0.1]]
        if parameter.name == "hyper":
            arrays[-1][:] = [0.1, 0.01, 1.0, 0.9, 0.999, 1e-7, 0.5][: len(arrays[-1])]
    return arrays


ATTRIBUTES = {"value": 1.0, "scale": 0.5, "offset": 0.5, "rate": 0.5, "node": 1, "k": 3} | {
    "activation": "sigmoid",
    "accumulate": True,
    "kind": "log_cosh",
    "alpha": 0.5,
    "beta": 0.5,
    "gamma": 2.0,
    "factor": 0.5,
    "epsilon": 1e-7,
}
ATTRIBUTES |= {"strides": (1, 1, 1), "dilation": (1, 1, 1), "padding": (0, 1, 1), "groups": 4}
ATTRIBUTES |= {"window": (1, 3, 3)}
ATTRIBUTES |= {"norm": "layer", "low": 0.1, "high": 0.9, "height": 5, "width": 7}
ATTRIBUTES |= {"norm": "layer"}
ATTRIBUTES |= {"stddev": 0.1, "before": (0, 0, 0), "after": (0, 0, 0), "times": (1, 1, 1)}
ATTRIBUTES |= {"l1": 0.1, "l2": 0.1, "count": 1, "min_value": 0.0, "max_value": 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_cpu_allocates_nothing_tensor_sized(name):
    """4 MiB arrays are worked on with scratch of a few blocks (one for threads is 512 KiB)."""
    wanted = OPS[name].signature.parameters
    arrays = {parameter.name for parameter in OPS[name].parameters}
    attributes = {k: v for k, v in ATTRIBUTES.items() if k in wanted and k not in arrays}
    if "bilinear" in name:
        attributes["times"] = (1, 1)
    assert peak_memory(name, attributes) < 640_000


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", ["bias_act", "bias_act_backward"])
def test_cpu_activations_need_no_more_than_a_few_blocks(name, activation):
    """The longest formulas have three temporaries of a block, an eighth of the array."""
    assert peak_memory(name, {"activation": activation}) < 1_600_000


def peak_memory(name, attributes):
    """What an op allocates on large arrays in one thread, in bytes; each has blocks of its own."""
    arguments = large_arguments(name)
    OPS[name].check(arguments, attributes)
    run = functools.partial(CpuBackend().ops[name], *arguments, **attributes)
    with blas():  # as beside another op, which leaves it one thread
        run()
        tracemalloc.start()
        try:
            run()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, 5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_cpu_memory(shape, dtype):
    backend = CpuBackend()
    array = backend.empty(shape, dtype)
    assert (array.shape, array.dtype) == (shape, dtype)
    assert array.flags.c_contiguous
    assert array.size == 0 or array.ctypes.data % 64 == 0
    assert not backend.zeros(shape, dtype).any()
    backend.write(array, np.ones(shape))
    copied = backend.to_numpy(array)
    backend.write(array, np.zeros(shape))
    assert (copied == 1).all()


def test_cpu_takes_numpy_arrays_as_they_are():
    backend = CpuBackend()
    values = np.arange(6.0).reshape(2, 3)
    assert backend.from_numpy(values) is values
    assert backend.from_numpy(values.T).flags.c_contiguous
    assert backend.owns(values)
    assert not backend.owns([1.0])
    assert repr(backend).startswith("<backend numpy: NumPy ")


def test_cpu_dropout_is_the_same_in_blocks_and_in_float64():
    """The mask of element i depends on nothing but i and the counter."""
    random = np.array([2**63 + 5, 9], np.uint64)
    masks = []
    for size, dtype in ((100_001, np.float32), (100_001, np.float64), (1001, np.float32)):
        y = np.empty(size, dtype)
        CpuBackend().ops["dropout"](y, np.ones(size, dtype), random, rate=0.4, node=3)
        masks.append(y[:1001] > 0)
    assert (masks[0] == masks[1]).all()
    assert (masks[0] == masks[2]).all()
