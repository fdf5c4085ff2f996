"""Sliding windows over (batch, depth, height, width, channels): what convolution and pooling share.

For a slab of outputs `bind_region` gives the inputs that its windows touch, with zeros where they
hang over the edge, and `windows` a view of them with one window for each output.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.slabs import Slab
from gpunet.backend.spec import Array


class Axis(NamedTuple):
    """Windows along one axis: element t of output o lies at input first + o * stride + t * step."""

    first: int
    stride: int
    step: int
    taps: int

    def span(self, outputs: int) -> int:
        """How many inputs neighbouring outputs touch, from the first to the last."""
        return (outputs - 1) * self.stride + (self.taps - 1) * self.step + 1

    def start(self, output: int) -> int:
        """The first input that an output touches."""
        return self.first + output * self.stride


def axes_of(
    window: Sequence[int],
    strides: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int] = (1, 1, 1),
) -> tuple[Axis, ...]:
    """The three axes of an op's attributes."""
    parts = zip(window, strides, padding, dilation, strict=False)  # window: the kernel's shape
    return tuple(Axis(-before, stride, step, taps) for taps, stride, before, step in parts)


def region_size(counts: Sequence[int], width: int, axes: Sequence[Axis], channels: int) -> int:
    """The elements of a region for so many images, planes and rows of outputs of this width."""
    spans = (axis.span(n) for axis, n in zip(axes, (*counts[1:], width), strict=True))
    return counts[0] * prod(spans) * channels


def bind_region(
    x: Array, slab: Slab, width: int, axes: Sequence[Axis], scratch: Array
) -> tuple[Array, Array, Call]:
    """The inputs that the windows of a slab touch, the rest of the scratch memory, and the call
    that copies them with zeros around into the first of it; where none are needed, a view of x and
    a call that does nothing."""  # noqa: D205, D209
    outputs = (*slab[1:], slice(0, width))
    starts = [axis.start(part.start) for axis, part in zip(axes, outputs, strict=True)]
    stops = [
        start + axis.span(part.stop - part.start)
        for axis, part, start in zip(axes, outputs, starts, strict=True)
    ]
    sizes = x.shape[1:4]
    inside = tuple(
        slice(max(start, 0), max(min(stop, size), max(start, 0)))
        for start, stop, size in zip(starts, stops, sizes, strict=True)
    )
    found = x[slab[0], inside[0], inside[1], inside[2]]
    shape = tuple(stop - start for start, stop in zip(starts, stops, strict=True))
    if found.shape[1:4] == shape:
        return found, scratch, lambda: None
    padded, rest = split(scratch, len(found), *shape, x.shape[4])
    within = [
        slice(part.start - start, part.stop - start)
        for part, start in zip(inside, starts, strict=True)
    ]
    target = padded[(slice(None), *within)]
    edges = [
        padded[(slice(None),) * (axis + 1) + (beside,)]
        for axis, part in enumerate(within)
        for beside in (slice(0, part.start), slice(part.stop, None))
    ]
    edges = [edge for edge in edges if edge.size] if found.size else [padded]

    def copy() -> None:
        for edge in edges:
            edge.fill(0.0)
        np.copyto(target, found)

    return padded, rest, copy


def windows(inputs: Array, counts: Sequence[int], width: int, axes: Sequence[Axis]) -> Array:
    """A view (images, planes, rows, width, *taps, channels) of a region, one window an output."""
    batch, *along, channel = inputs.strides
    outer = [axis.stride * stride for axis, stride in zip(axes, along, strict=True)]
    inner = [axis.step * stride for axis, stride in zip(axes, along, strict=True)]
    shape = (*counts, width, *(axis.taps for axis in axes), inputs.shape[4])
    strides = (batch, *outer, *inner, channel)
    return np.lib.stride_tricks.as_strided(inputs, shape, strides)


def split(scratch: Array, *shape: int) -> tuple[Array, Array]:
    """The first elements of flat memory as an array, and the rest of it."""
    size = prod(shape)
    return scratch[:size].reshape(shape), scratch[size:]
