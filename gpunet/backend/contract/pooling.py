"""Pooling over one, two or three spatial dimensions.

Arrays are (batch, depth, height, width, channels), as those of convolutions. Element w of the
window of output o lies at input i = o * strides + w - padding along each axis; what lies outside of
x does not count: neither for a maximum nor for a mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.contract.convolution import check_triple
from gpunet.backend.spec import In, Out, Shapes, op
from gpunet.errors import ShapeError

_X = "batch depth height width channels"
_Y = "batch out_depth out_height out_width channels"


def _fits(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    for key, least in (("window", 1), ("strides", 1), ("padding", 0)):
        check_triple(name, key, attributes[key], least)
    fine, coarse = ("dx", "dy") if "dx" in shapes else ("x", "y")
    window, strides, padding = (attributes[key] for key in ("window", "strides", "padding"))
    for axis in range(3):
        size, outputs = shapes[fine][axis + 1], shapes[coarse][axis + 1]
        last = (outputs - 1) * strides[axis] - padding[axis]
        if padding[axis] >= window[axis] or last >= max(size, 1):
            raise ShapeError(
                f"op {name}: windows {window} with strides {strides} and padding {padding} must "
                f"all overlap with the input, got inputs {shapes[fine]} and outputs "
                f"{shapes[coarse]}."
            )


@op(_fits, y=_Y, argmax=f"uint8: {_Y} | int32: {_Y}", x=_X)
def max_pool(
    y: Out,
    argmax: Out | None,
    x: In,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the largest x in each window; argmax = the place of the first such x in the window.

    Places count along width, then height, then depth. They are int32 where windows have more than
    256 elements.
    """


@op(_fits, dx=_X, dy=_Y, argmax=f"uint8: {_Y} | int32: {_Y}")
def max_pool_backward(
    dx: Out,
    dy: In,
    argmax: In,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy over the windows whose largest x stood here."""


@op(_fits, y=_Y, x=_X)
def average_pool(
    y: Out,
    x: In,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """y = the mean of x over what of each window lies inside of x."""


@op(_fits, dx=_X, dy=_Y)
def average_pool_backward(
    dx: Out,
    dy: In,
    *,
    window: tuple[int, int, int],
    strides: tuple[int, int, int],
    padding: tuple[int, int, int],
) -> None:
    """dx = sum of dy / n over the windows that x lies in, n elements of each inside."""
