"""Sizes of windows: what a convolution's or a pooling's options mean in the terms of the ops.

The ops know depth, height and width, and the padding before the first element; here stands how
Keras' ``padding="same"`` and the like become that, for one to three dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet.arguments import is_integer
from gpunet.errors import ArgumentError, ShapeError

Triple = tuple[int, int, int]
AXES = ("depth", "height", "width")


class Geometry(NamedTuple):
    """Sizes and options along depth, height and width.

    Attributes:
        fine: the sizes of a convolution's input, or of a transposed convolution's output.
        coarse: those of the other side.
        window: the sizes of the kernel or of the pool.
        strides: how far apart neighbouring windows are on the fine side.
        dilation: how far apart neighbouring elements of a window are there.
        padding: how far the first window hangs over the edge.
    """

    fine: Triple
    coarse: Triple
    window: Triple
    strides: Triple
    dilation: Triple
    padding: Triple

    @property
    def of_convolution(self) -> dict[str, Triple]:
        """What the ops on convolutions take."""
        return {"strides": self.strides, "dilation": self.dilation, "padding": self.padding}

    @property
    def of_pooling(self) -> dict[str, Triple]:
        """What the ops on pools take."""
        return {"window": self.window, "strides": self.strides, "padding": self.padding}


def sizes(where: str, name: str, value: Any, rank: int, least: int = 1) -> tuple[int, ...]:
    """An option as one integer for each of ``rank`` dimensions.

    Raises:
        ArgumentError: it is neither an integer nor so many integers of at least ``least``.
    """
    given = tuple(value) if isinstance(value, list | tuple) else (value,) * rank
    fine = all(is_integer(v) and v >= least for v in given)
    if len(given) != rank or not fine:
        raise ArgumentError(
            f"{where} takes an integer of at least {least} for {name}, or a tuple of {rank}, got "
            f"{value!r}."
        )
    return tuple(map(int, given))


def check_padding(where: str, padding: Any, causal: bool = False) -> str:
    """The name of a padding in lower case.

    Raises:
        ArgumentError: there is no such padding.
    """
    known = ("valid", "same", "causal") if causal else ("valid", "same")
    name = padding.lower() if isinstance(padding, str) else padding
    if name not in known:
        raise ArgumentError(f"{where} takes {' or '.join(known)} for padding, got {padding!r}.")
    return str(name)


def of_windows(
    where: str,
    inputs: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
) -> Geometry:
    """The geometry of a convolution or of pooling.

    "valid" windows lie inside; "same" gives inputs / strides outputs, rounded up, with as much
    padding before as behind, or one less; with "causal" padding no output sees later inputs.

    Raises:
        ShapeError: no window fits into the inputs.
    """
    coarse, before = [], []
    for size, taps, stride, step in zip(inputs, window, strides, dilation, strict=True):
        span = (taps - 1) * step + 1
        total = 0
        if padding == "same":
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
        elif padding == "causal":
            total = span - 1
        before.append(total if padding == "causal" else total // 2)
        coarse.append((size + total - span) // stride + 1)
    if min(coarse) < 1:
        raise ShapeError(
            f"{where} has windows of {tuple(window)} with dilation {tuple(dilation)}, which do "
            f"not fit into inputs of {tuple(inputs)}; use padding='same' or a smaller window."
        )
    return _three(inputs, coarse, window, strides, dilation, before)


def of_transposed(
    inputs: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: str,
    output_padding: Sequence[int] | None,
) -> Geometry:
    """The geometry of a transposed convolution, whose inputs are the coarse side.

    "same" gives inputs * strides outputs. ``output_padding`` are outputs added at the end of the
    smallest number that the window covers, in place of as many as that takes.
    """
    fine, before = [], []
    extras: Sequence[int | None] = output_padding or [None] * len(inputs)
    along = zip(inputs, window, strides, dilation, extras, strict=True)
    for size, taps, stride, step, extra in along:
        span = (taps - 1) * step + 1
        if padding == "valid":
            fine.append(
                (size - 1) * stride + span + (max(stride - span, 0) if extra is None else extra)
            )
            before.append(0)
            continue
        odd = span % 2
        total = stride + span - 2 if extra is None else span + odd - 2 + extra
        fine.append(size * stride if extra is None else (size - 1) * stride + odd + extra)
        before.append(span - 1 - min(-(-total // 2), span - 1))
    return _three(fine, inputs, window, strides, dilation, before)


def _three(
    fine: Sequence[int],
    coarse: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
) -> Geometry:
    return Geometry(
        triple(fine, 1),
        triple(coarse, 1),
        triple(window, 1),
        triple(strides, 1),
        triple(dilation, 1),
        triple(padding, 0),
    )


def triple(values: Sequence[int], fill: int) -> Triple:
    """Depth, height and width, where leading dimensions may be missing."""
    missing = (fill,) * (len(AXES) - len(values))
    depth, height, width = (*missing, *values)
    return depth, height, width
