"""The cases of torch.npz: layers of gpunet, and the modules of PyTorch that do the same.

``python make_torch.py`` writes PyTorch's numbers; the tests read them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PATH = Path(__file__).with_name("torch.npz")
BATCH = 2


class Case(NamedTuple):
    """A layer, a module, and the shape of a sample with channels last.

    Attributes:
        layer: the class, and its arguments; of image layers without data_format.
        module: the same for torch.nn; several pairs are put one behind the other.
        shape: of one sample, with channels last.
        spatial: whether PyTorch has channels first.
    """

    layer: tuple[str, dict[str, Any]]
    module: list[tuple[str, list[Any], dict[str, Any]]]
    shape: tuple[int, ...]
    spatial: bool = True


def case(
    layer: str, arguments: dict[str, Any], module: str, given: list[Any], **options: Any
) -> Case:
    shape = options.pop("shape")
    spatial = options.pop("spatial", True)
    return Case((layer, arguments), [(module, given, options)], shape, spatial)


LINE, PLANE, SPACE = (7, 4), (6, 7, 4), (2, 3, 4, 2)


def conv(rank: int, torch: dict[str, Any], shape: tuple[int, ...], **ours: Any) -> Case:
    size = ours.setdefault("kernel_size", 3)
    arguments = {"filters": 6, **ours}
    given = [shape[-1], arguments["filters"], size]
    return case(f"Conv{rank}D", arguments, f"Conv{rank}d", given, **torch, shape=shape)


def transposed(rank: int, torch: dict[str, Any], shape: tuple[int, ...], **ours: Any) -> Case:
    arguments, given = {"filters": 3, **ours}, [shape[-1], 3, ours["kernel_size"]]
    return case(
        f"Conv{rank}DTranspose", arguments, f"ConvTranspose{rank}d", given, **torch, shape=shape
    )


def depthwise(rank: int, torch: dict[str, Any], shape: tuple[int, ...], **ours: Any) -> Case:
    channels, filters = shape[-1], shape[-1] * ours.get("depth_multiplier", 1)
    given, groups = [channels, filters, ours["kernel_size"]], {"groups": channels, **torch}
    return case(f"DepthwiseConv{rank}D", ours, f"Conv{rank}d", given, **groups, shape=shape)


def separable(rank: int, torch: dict[str, Any], shape: tuple[int, ...], **ours: Any) -> Case:
    channels, inner = shape[-1], shape[-1] * ours.get("depth_multiplier", 1)
    name = f"Conv{rank}d"
    first = (
        name,
        [channels, inner, ours["kernel_size"]],
        {"groups": channels, "bias": False, **torch},
    )
    return Case(
        (f"SeparableConv{rank}D", {"filters": 5, **ours}), [first, (name, [inner, 5, 1], {})], shape
    )


def pool(kind: str, rank: int, given: list[Any], shape: tuple[int, ...], **ours: Any) -> Case:
    name = {"Max": "MaxPool", "Average": "AvgPool"}[kind]
    return case(f"{kind}Pooling{rank}D", ours, f"{name}{rank}d", given, shape=shape)


SAME = {"padding": "same"}

CASES = [
    conv(1, {"stride": 2}, LINE, strides=2),
    conv(1, {"padding": 2, "dilation": 2, "groups": 2}, LINE, dilation_rate=2, groups=2, **SAME),
    conv(2, {}, PLANE),
    conv(2, {"padding": 1}, PLANE, **SAME),
    conv(2, {"stride": (2, 3)}, PLANE, strides=(2, 3), kernel_size=(3, 2)),
    conv(2, {"padding": "same", "dilation": 2}, PLANE, dilation_rate=2, **SAME),
    conv(2, {"groups": 2, "bias": False}, PLANE, groups=2, use_bias=False),
    conv(2, {"padding": 1}, (4, 8, 16), filters=16, **SAME),  # wide enough for Winograd in float32
    conv(3, {"padding": 1}, SPACE, **SAME),
    conv(3, {"stride": 2}, SPACE, kernel_size=2, strides=2),
    transposed(1, {"stride": 2}, LINE, kernel_size=3, strides=2),
    transposed(2, {"stride": 2, "padding": 1}, PLANE, kernel_size=4, strides=2, **SAME),
    transposed(2, {"dilation": 2}, PLANE, kernel_size=(3, 2), dilation_rate=2),
    transposed(2, {"stride": 3, "output_padding": 1}, PLANE, kernel_size=2, strides=3),
    transposed(3, {"stride": 2}, SPACE, kernel_size=2, strides=2),
    depthwise(1, {"padding": 1}, LINE, kernel_size=3, depth_multiplier=2, **SAME),
    depthwise(2, {"stride": 2}, PLANE, kernel_size=3, strides=2),
    depthwise(2, {"dilation": 2}, PLANE, kernel_size=(2, 3), dilation_rate=2, depth_multiplier=3),
    separable(1, {}, LINE, kernel_size=3),
    separable(2, {"padding": 1}, PLANE, kernel_size=3, depth_multiplier=2, **SAME),
    pool("Max", 1, [2], LINE),
    pool("Max", 2, [3, 2], PLANE, pool_size=3, strides=2),
    pool("Max", 3, [2], SPACE),
    pool("Average", 1, [3, 1], LINE, pool_size=3, strides=1),
    pool("Average", 2, [(2, 3)], PLANE, pool_size=(2, 3)),
    pool("Average", 3, [2], SPACE),
    case("GlobalMaxPooling2D", {"keepdims": True}, "AdaptiveMaxPool2d", [1], shape=PLANE),
    case("GlobalAveragePooling1D", {"keepdims": True}, "AdaptiveAvgPool1d", [1], shape=LINE),
    case("GlobalAveragePooling2D", {"keepdims": True}, "AdaptiveAvgPool2d", [1], shape=PLANE),
    case("GlobalAveragePooling3D", {"keepdims": True}, "AdaptiveAvgPool3d", [1], shape=SPACE),
    case("UpSampling2D", {"size": (2, 3)}, "Upsample", [], scale_factor=(2, 3), shape=PLANE),
    case(
        "UpSampling2D",
        {"size": 2, "interpolation": "bilinear"},
        "Upsample",
        [],
        scale_factor=2,
        mode="bilinear",
        shape=PLANE,
    ),
    case("ZeroPadding2D", {"padding": ((1, 2), (0, 3))}, "ZeroPad2d", [(0, 3, 1, 2)], shape=PLANE),
    case("BatchNormalization", {"epsilon": 1e-5}, "BatchNorm2d", [4], shape=PLANE),
    case("GroupNormalization", {"groups": 2, "epsilon": 1e-5}, "GroupNorm", [2, 4], shape=PLANE),
    case("PReLU", {"shared_axes": [1, 2]}, "PReLU", [4], shape=PLANE),
    case("LayerNormalization", {"epsilon": 1e-5}, "LayerNorm", [4], shape=LINE, spatial=False),
    case("RMSNormalization", {"epsilon": 1e-6}, "RMSNorm", [4, 1e-6], shape=LINE, spatial=False),
    case("Dense", {"units": 5}, "Linear", [4, 5], shape=LINE, spatial=False),
    case(
        "SimpleRNN",
        {"units": 5, "return_sequences": True},
        "RNN",
        [4, 5],
        shape=LINE,
        spatial=False,
    ),
    case("LSTM", {"units": 5, "return_sequences": True}, "LSTM", [4, 5], shape=LINE, spatial=False),
    case("GRU", {"units": 5, "return_sequences": True}, "GRU", [4, 5], shape=LINE, spatial=False),
    case(
        "LSTM",
        {"units": 3, "return_sequences": True, "use_bias": False},
        "LSTM",
        [4, 3],
        bias=False,
        shape=LINE,
        spatial=False,
    ),
    case(
        "GRU",
        {"units": 3, "return_sequences": True, "use_bias": False},
        "GRU",
        [4, 3],
        bias=False,
        shape=LINE,
        spatial=False,
    ),
]
NETWORK = (
    ("Conv2d", [3, 6, 3], {"padding": 1}),
    ("ReLU", [], {}),
    ("MaxPool2d", [2], {}),
    ("BatchNorm2d", [6], {}),
    ("Flatten", [], {}),
    ("Linear", [6 * 2 * 3, 8], {}),
    ("Tanh", [], {}),
    ("Linear", [8, 8], {}),
    ("Linear", [8, 4], {}),
)
"""A network whose Flatten puts features into another order than channels last does."""
NETWORK_SHAPE = (4, 6, 3)
STACKS = {
    kind: [(kind, [4, 3], {"num_layers": 2, "bidirectional": True})] for kind in ("LSTM", "GRU")
}
"""Two recurrent layers of two directions, on samples of the shape LINE."""
ATTENTION = [("MultiheadAttention", [4, 2], {})]
"""Self-attention of two heads on samples of this shape."""

NUMBERS: Any = np.load(PATH, allow_pickle=False) if PATH.exists() else {}


def name(number: int) -> str:
    """A case in a few words."""
    layer, arguments = CASES[number].layer
    return "-".join([layer, *(f"{k}={v}" for k, v in arguments.items())]).replace(" ", "")


def inputs(shape: tuple[int, ...]) -> np.ndarray:
    """x for samples of this shape, as gpunet has it."""
    return np.random.default_rng(1).standard_normal((BATCH, *shape))


def output_gradient(shape: tuple[int, ...]) -> np.ndarray:
    """dy for a y of this shape, as gpunet has it."""
    return np.cos(np.arange(np.prod(shape))).reshape(shape)


def to_first(array: np.ndarray) -> np.ndarray:
    """(batch, ..., channels) as (batch, channels, ...)."""
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim > 2 else array


def saved(number: int | str) -> dict[str, Any]:
    """What stands in the file for a case; "state." and "gradient." begin a module's arrays."""
    prefix = f"{number}/"
    return {k.removeprefix(prefix): NUMBERS[k] for k in NUMBERS if k.startswith(prefix)}


def beginning(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The arrays whose names begin like this, under the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
