"""Convolutions over one, two or three spatial dimensions: three ops serve all layers.

Arrays are channels last and always have depth, height and width; fewer dimensions have size 1. One
relation between a fine side x (batch, *inputs, channels), a coarse side y (batch, *outputs,
filters) and a kernel (*window, channels / groups, filters) defines all three: the element of
window w links output o to input

    i = o * strides + w * dilation - padding

along each axis; what lies outside of x is zero. Each of ``strides``, ``dilation`` and ``padding``
(before the first element) is (depth, height, width); what padding there is behind the last element
follows from the sizes. Group g of the filters sees group g of the channels; a depthwise convolution
has as many groups as channels.

The gradient of a `convolution` with respect to x is a `transposed_convolution` and the reverse; the
gradient of both with respect to the kernel is `convolution_kernel_gradient`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from gpunet.backend.spec import In, Out, Scratch, Shapes, Sum, op
from gpunet.errors import ArgumentError, ShapeError

AXES = 3
# Four sums with 36 numbers for each 9 of the kernel (Winograd), and a summand for each of two
# threads; large ones are summed directly.
_KERNEL_COPIES, _FEW_COPIES, _LARGEST_KERNEL = 24, 5, 9 * 256 * 256
_LARGEST_BLOCK = 1 << 21  # elements: 8 MiB of float32


def _fits(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    for key, least in (("strides", 1), ("dilation", 1), ("padding", 0)):
        check_triple(name, key, attributes[key], least)
    kernel = shapes["kernel" if "kernel" in shapes else "dkernel"]
    channels = shapes["y" if name == "transposed_convolution" else "x"][-1]
    group_channels, filters, groups = kernel[-2], kernel[-1], attributes.get("groups", 1)
    if groups < 1 or channels != groups * group_channels or filters % groups:
        raise ShapeError(
            f"op {name} with {groups} groups takes a multiple of {groups} channels and filters "
            f"and a kernel of shape (..., channels / groups, filters), got {channels} channels "
            f"and a kernel of shape {kernel}."
        )


def check_triple(name: str, key: str, value: Any, least: int) -> None:
    """Raise an ArgumentError if an attribute is not one integer of at least ``least`` an axis."""
    if len(value) != AXES or not all(isinstance(v, int) and v >= least for v in value):
        raise ArgumentError(
            f"op {name} takes {key} (depth, height, width) of at least {least}, got {value!r}."
        )


def _scratch(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """Room for the kernel in other layouts, and for blocks of patches: a row of them at least."""
    kernel = shapes["kernel" if "kernel" in shapes else "dkernel"]
    arrays = [shapes[name] for name in ("x", "y", "dy") if name in shapes]
    channels, width = (max(array[axis] for array in arrays) for axis in (4, 3))
    reach = width * attributes["strides"][2] + (kernel[2] - 1) * attributes["dilation"][2]
    planes = ((kernel[axis] - 1) * attributes["dilation"][axis] + 1 for axis in (0, 1))
    row = (width * (prod(kernel[:AXES]) + 4) + reach * prod(planes)) * channels
    rows = max(prod(array[:AXES]) for array in arrays)
    copies = _KERNEL_COPIES if prod(kernel) <= _LARGEST_KERNEL else _FEW_COPIES
    return int(copies * prod(kernel) + 2 * row + min(rows * row, _LARGEST_BLOCK))


@op(
    _fits,
    _scratch,
    y="batch out_depth out_height out_width filters",
    x="batch depth height width channels",
    kernel="window_depth window_height window_width group_channels filters",
    bias="filters",
    scratch="full: scratch_size",
)
def convolution(
    y: Out,
    x: In,
    kernel: In,
    bias: In | None = None,
    scratch: Scratch = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
) -> None:
    """y = activation(x * kernel + bias): each y[o] is the sum of kernel[w] x[i] over all w.

    ``activation`` and ``parameters`` are those of `bias_act`.
    """


@op(
    _fits,
    _scratch,
    y="batch depth height width channels",
    x="batch out_depth out_height out_width filters",
    kernel="window_depth window_height window_width group_channels filters",
    bias="channels",
    scratch="full: scratch_size",
)
def transposed_convolution(
    y: Out,
    x: In,
    kernel: In,
    bias: In | None = None,
    scratch: Scratch = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
) -> None:
    """y = activation(x *^T kernel + bias): each y[i] is the sum of kernel[w] x[o] over all w.

    Here x is the coarse side and y the fine one: x[o] is spread over y[o * strides + ...].
    """


@op(
    _fits,
    _scratch,
    dkernel="window_depth window_height window_width group_channels filters",
    x="batch depth height width channels",
    dy="batch out_depth out_height out_width filters",
    scratch="full: scratch_size",
)
def convolution_kernel_gradient(
    dkernel: Sum,
    x: In,
    dy: In,
    scratch: Scratch = None,
    *,
    strides: tuple[int, int, int],
    dilation: tuple[int, int, int],
    padding: tuple[int, int, int],
    groups: int = 1,
    accumulate: bool = False,
) -> None:
    """dkernel[w] = sum of x[i] dy[o] over batch and outputs.

    For a transposed convolution x is the gradient of its output, dy its input.
    """
