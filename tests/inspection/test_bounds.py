"""How far the kernels are from the least that they could move: bounds, held on the emulator.

The op cases run with larger arrays, on one multiprocessor instead of the emulator's four: 2^16
elements are for it what 8.6 million are for the 132 of an H100.
"""

import numpy as np
import pytest

from gpunet import layers, optimizers
from gpunet.backend import backend_named
from gpunet.backend.contract import OPS
from gpunet.emulator import record_launches
from gpunet.inspection.measure import measure, variants
from gpunet.models import Sequential
from gpunet.testing.cases import CASES
from gpunet.testing.cases.fused_attention import (
    DROPPED,
    arguments_of_backward,
    arguments_of_both,
)
from gpunet.testing.enlarged import largest_call
from gpunet.testing.op_checks import label, normal

pytestmark = pytest.mark.emulator

ELEMENTS = 2**16
FLAT = (
    *("fill", "copy", "add", "scale_shift", "dropout"),
    *("gaussian_noise", "gaussian_dropout", "spatial_dropout"),
    *("moving_average", "sgd", "adam", "nadam", "adamax"),
    *("rmsprop", "adagrad", "adadelta", "lion", "squared_norms"),
)
ELEMENTWISE = ("bias_act", "bias_act_backward", "prelu", "prelu_backward", "elementwise_loss")
ROWS = (
    *("softmax", "softmax_backward", "log_softmax", "log_softmax_backward", "sparsemax_backward"),
    *("softmax_cross_entropy", "cross_entropy", "sigmoid_cross_entropy", "binary_cross_entropy"),
)
# Of single rows of 40 bytes, and of halves of rows, a GPU cannot read less than the sectors that
# they lie in: these are held to the bounds where rows begin and end with sectors.
ALIGNED_ONLY = ("gather", "glu", "glu_backward")
# Goes over a row until its threshold stays: how often depends on the values.
ITERATED = ("sparsemax",)
NARROW, MIDDLE, WIDE = (8, 10, 16, 32), (64, 96, 128, 512, 1024, 4096, 8192), (16384, 32768)
ALWAYS = (10, 64, 8192, 32768)


@pytest.fixture
def device(monkeypatch):
    """The emulator as a device that seems to have one multiprocessor."""
    emulator = backend_named("emulator")
    monkeypatch.setattr(emulator.device, "multiprocessors", 1)
    monkeypatch.setattr(emulator.device, "max_blocks", emulator.device.max_blocks // 4)
    return emulator


def training_calls(op):
    """The calls of an op that say different things of its arrays.

    Without those that leave dx out or ignore a class: there the least depends on the values.
    """
    for call in variants(CASES[op]):
        if call.get("dx", ...) is not None and "ignore_class" not in call:
            yield pytest.param(op, call, id=f"{op}-{label(call)}")


def calls_of(*names):
    return [call for op in names for call in training_calls(op)]


def each(widths):
    return [w if w in ALWAYS else pytest.param(w, marks=pytest.mark.slow) for w in widths]


def hold(measured, columns, most_sectors):
    assert measured.touched <= 1.05
    assert measured.sectors <= most_sectors
    assert measured.counts.bank_conflicts <= 1.1
    if columns % 8 == 0:
        assert measured.counts.coalescing == 1.0


# Halves have the bytes of floats in twice as many elements.
BOTH_TYPES = pytest.mark.parametrize(
    ("dtype", "elements"), [("float32", ELEMENTS), ("float16", 2 * ELEMENTS)]
)


@BOTH_TYPES
@pytest.mark.parametrize(("op", "call"), calls_of(*FLAT))
def test_flat_buffers(device, op, call, dtype, elements):
    measured = measure(device, CASES[op], call, elements=elements, dtype=dtype)
    several_segments = "segments" in call and len(CASES[op].arrays(call, "float32")["segments"]) > 1
    # Segments that begin between sectors share one with their neighbours.
    hold(measured, 9 if several_segments else 8, most_sectors=1.1)
    assert measured.moved <= 1.05


@pytest.mark.parametrize("columns", each(NARROW))
@pytest.mark.parametrize(("op", "call"), calls_of(*ELEMENTWISE, *ROWS, *ITERATED))
def test_narrow_rows(device, op, call, columns):
    hold(measure(device, CASES[op], call, elements=ELEMENTS, columns=columns), columns, 1.3)


@pytest.mark.parametrize("columns", each(MIDDLE))
@pytest.mark.parametrize(("op", "call"), calls_of(*ELEMENTWISE, *ROWS, *ITERATED, *ALIGNED_ONLY))
def test_rows_that_fit_on_chip(device, op, call, columns):
    if op == "gather" and columns < 128 and "uint8" in label(call):
        pytest.skip("rows of less than 128 bytes")
    measured = measure(device, CASES[op], call, elements=ELEMENTS, columns=columns)
    hold(measured, columns, most_sectors=1.1)


@pytest.mark.parametrize("columns", each(WIDE))
@pytest.mark.parametrize(("op", "call"), calls_of(*ELEMENTWISE, *ROWS, *ALIGNED_ONLY))
def test_wide_rows(device, op, call, columns):
    measured = measure(device, CASES[op], call, elements=ELEMENTS, columns=columns)
    hold(measured, columns, most_sectors=1.55)


@pytest.mark.parametrize(("columns", "most_sectors"), [(16, 1.3), (64, 1.1), (8192, 1.1)])
@pytest.mark.parametrize(("op", "call"), calls_of(*ELEMENTWISE, *ROWS, *ITERATED))
def test_rows_of_halves(device, op, call, columns, most_sectors):
    """The bounds of floats; rows that are no whole sectors, as 10 halves, are not held to them."""
    how = {"elements": 2 * ELEMENTS, "columns": columns, "dtype": "float16"}
    measured = measure(device, CASES[op], call, **how)
    # A thread's 8 partial sums, which are floats, go in two stores of half a sector each.
    adds_up = op in ("bias_act_backward", "prelu_backward")
    hold(measured, 9 if adds_up else columns, most_sectors)
    assert measured.counts.coalescing >= 0.98


@pytest.mark.parametrize("op", ["rotary", "position_rows", "position_rows_backward"])
def test_positions(device, op):
    call = next(call for call in CASES[op].calls if "64" in label(call))
    measured = measure(device, CASES[op], call, elements=ELEMENTS)
    assert measured.touched <= 1.05
    assert measured.sectors <= 1.3  # tables are read by more than one thread, half a sector each
    assert measured.counts.coalescing >= 0.85


def test_a_step_of_attention_reads_its_cache_once(device):
    """Beside keys and values there are the scores, one number for each row of 64 of both."""
    call = next(call for call in CASES["cached_attention"].calls if "one" in label(call))
    measured = measure(device, CASES["cached_attention"], call, elements=ELEMENTS)
    assert measured.touched <= 1.05
    assert measured.sectors <= 1.2
    assert measured.counts.coalescing >= 0.9


@pytest.mark.parametrize("multiprocessors", [1, 4, 16], ids=["tile128", "tile64", "tile32"])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_products_have_no_bank_conflicts_and_coalesce(device, multiprocessors, ta, tb, dtype):
    device.device.multiprocessors = multiprocessors
    call = {**largest_call(CASES["gemm"]), "ta": ta, "tb": tb}
    measured = measure(device, CASES["gemm"], call, product=128, dtype=dtype)
    (launch,) = measured.launches
    assert launch.kernel == f"gemm_tile{128 // {1: 1, 4: 2, 16: 4}[multiprocessors]}"
    assert measured.touched == 1.0
    assert measured.counts.coalescing == 1.0
    # The smallest tile stores pairs of floats; all store four halves.
    assert measured.counts.wide_share >= (0.85 if dtype == "float32" else 0.65)
    assert measured.counts.bank_conflicts <= 1.2


_SIZES = (1, 1, 8, 16, 64)  # images of 128 places with 64 channels
_THREE = normal(1, 3, 3, 64, 64)
CONVOLUTIONS = {
    "convolution": {"y": normal(*_SIZES), "x": normal(*_SIZES), "kernel": _THREE},
    "transposed_convolution": {"y": normal(*_SIZES), "x": normal(*_SIZES), "kernel": _THREE},
    "convolution_kernel_gradient": {"dkernel": _THREE, "x": normal(*_SIZES), "dy": normal(*_SIZES)},
}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("op", CONVOLUTIONS)
def test_convolutions_of_64_channels(device, op, dtype):
    """What is touched is the least: patches, and sums of parts, cost no memory.

    What is asked for is more, and comes from the caches: each of a patch's nine places of x, and
    for each tile of 64 places the kernel (or for each 64 rows of a kernel's gradient dy).
    """
    windows = {"strides": (1, 1, 1), "dilation": (1, 1, 1), "padding": (0, 1, 1)}
    call = {**CONVOLUTIONS[op], **windows}
    measured = measure(device, CASES[op], call, elements=2 * 128 * 64, dtype=dtype)
    assert measured.touched <= 1.5
    assert measured.sectors <= measured.moved * 1.05
    assert measured.counts.coalescing == 1.0
    assert measured.counts.wide_share >= (1.0 if dtype == "float32" else 0.8)
    assert measured.counts.bank_conflicts <= 1.2


# Queries, keys and heads' sizes with whole tiles; what each visit of a tile must move in numbers
# of a head. Forward a tile of queries moves itself, its outputs, and all keys and values that it
# sees; backward the same holds for the tiles of queries, and then for those of keys.
LENGTH, SIZE, TILE = 192, 64, 64


def attention_bytes(causal, forward):
    tiles = LENGTH // TILE
    visits = tiles * (tiles + 1) // 2 if causal else tiles**2
    own, passing = (2, 2) if forward else (4 + 4, 2 + 2)
    of_tile = 4 * TILE * SIZE
    return of_tile * (own * tiles + passing * visits)


@pytest.mark.parametrize("flags", [{}, {"causal": True}, DROPPED], ids=["plain", "causal", "rate"])
@pytest.mark.parametrize("op", ["fused_attention", "fused_attention_backward"])
def test_attention_moves_keys_and_values_once_for_each_tile_of_queries(device, op, flags):
    call = arguments_of_both((1, LENGTH, 1, SIZE, LENGTH, 1, SIZE), **flags)
    if op == "fused_attention_backward":
        call = arguments_of_backward(call)
    measured = measure(device, CASES[op], call, elements=1)
    least = attention_bytes("causal" in flags, forward=op == "fused_attention")
    assert measured.counts.moved <= 1.1 * least
    assert measured.counts.sectors * 32 <= 1.1 * least
    assert measured.counts.wide_share >= 0.95
    assert measured.counts.bank_conflicts <= 1.1


def test_attention_masks_cost_little(device):
    masks = ("query_mask", "key_mask", "attention_mask")
    call = arguments_of_both((1, LENGTH, 1, SIZE, LENGTH, 1, SIZE), *masks)
    measured = measure(device, CASES["fused_attention"], call, elements=1)
    assert measured.counts.sectors * 32 <= 1.3 * attention_bytes(causal=False, forward=True)


# Beside the rows there are gamma, beta and the sums for their gradients, some rows in all; where
# those sums do not fit on chip, they cost reading dy and x a second time.
@BOTH_TYPES
@pytest.mark.parametrize(("columns", "most_touched"), [(64, 1.05), (256, 1.05), (8192, 1.67)])
@pytest.mark.parametrize(("op", "call"), calls_of("layer_norm", "layer_norm_backward"))
def test_row_norms(device, op, call, columns, most_touched, dtype, elements):
    how = {"elements": elements, "columns": columns, "dtype": dtype}
    measured = measure(device, CASES[op], call, **how)
    assert measured.touched <= most_touched
    assert measured.counts.bank_conflicts <= 1.1
    assert measured.counts.coalescing >= 0.97


CHANNEL_NORMS = ("channel_moments", "channel_norm", "channel_norm_sums", "channel_norm_backward")


@pytest.mark.parametrize("columns", [64, 256, 1024])
@BOTH_TYPES
@pytest.mark.parametrize(
    ("op", "call"), [call for call in calls_of(*CHANNEL_NORMS) if "mask" not in call.values[1]]
)
def test_channel_norms(device, op, call, dtype, elements, columns):
    how = {"elements": elements, "columns": columns, "dtype": dtype}
    hold(measure(device, CASES[op], call, **how), columns, most_sectors=1.1)


@BOTH_TYPES
@pytest.mark.parametrize(
    ("op", "most"), [("channel_moments", 0.8), ("channel_norm_backward", 0.95)]
)
def test_channel_norms_do_not_read_rows_that_do_not_count(device, op, most, dtype, elements):
    """Half of them do not: of 4 bytes then 2 are read, of 12 10."""
    call = next(c for c in CASES[op].calls if "1x33x31" in label(c) and "first_hidden" in label(c))
    how = {"elements": elements, "columns": 256, "dtype": dtype}
    measured = measure(device, CASES[op], call, **how)
    assert measured.sectors <= most
    assert measured.counts.bank_conflicts <= 1.1


def test_a_kernel_that_wastes_sectors_exceeds_the_bounds(device):
    measured = measure(device, CASES["glu"], largest_call(CASES["glu"]), columns=10)
    with pytest.raises(AssertionError):
        hold(measured, 10, most_sectors=1.3)


def test_every_op_of_these_families_is_held_to_a_bound():
    held = {*FLAT, *ELEMENTWISE, *ROWS, *ITERATED, *ALIGNED_ONLY}
    held.add("next_batch")  # of a few numbers a batch
    for family in ("memory", "activations", "optimizers", "random"):
        assert {op.name for op in OPS.values() if op.family == family} <= held


def test_launches_of_a_training_step():
    stack = [layers.Dense(512, "relu", input_dim=784), layers.Dense(512, "relu")]
    model = Sequential([*stack, layers.Dense(10, "softmax")])
    model.compile(
        optimizers.SGD(0.1, momentum=0.9), "sparse_categorical_crossentropy", metrics=["acc"]
    )
    model.to("emulator")
    x, y = np.zeros((64, 784), np.float32), np.zeros(64, np.int32)
    with record_launches() as once:
        model.fit(x, y, batch_size=32, epochs=1, shuffle=False, verbose=0)
    with record_launches() as twice:
        model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0)
    steps = 2
    assert len(twice) - len(once) <= 16 * steps
