"""Layers that change the size of sequences, images and volumes: upsampling, padding, cropping."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, ClassVar

from gpunet.arguments import is_integer
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.channels import check_data_format

Triple = tuple[int, int, int]


class _Spatial(Layer):
    """Base class: inputs (batch, ..., channels), or (batch, channels, ...) if channels_first."""

    spatial: ClassVar[int] = 2
    """How many axes of space there are."""

    def __init__(self, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format(type(self).__name__, data_format)

    @property
    def _first(self) -> int:
        """The first axis of space."""
        return 1 if self.data_format == "channels_last" else 2

    def resized(self, sizes: Sequence[int]) -> list[int]:
        """The sizes of space behind the layer."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Another size along the axes of space."""
        if len(input_shape) != self.spatial + 2:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects inputs of {self.spatial + 2} axes, "
                f"{self.data_format}, got {input_shape}."
            )
        first, end = self._first, self._first + self.spatial
        sizes = self.resized([size or 0 for size in input_shape[first:end]])
        if min(sizes) < 1:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} leaves nothing of inputs {input_shape}; "
                "crop less, or feed larger ones."
            )
        return (*input_shape[:first], *sizes, *input_shape[end:])

    def five(self, buffer: Buffer) -> Buffer:
        """The buffer as (outer, depth, height, width, inner); missing axes are 1."""
        shape, first = buffer.shape, self._first
        sizes = shape[first : first + self.spatial]
        ones = (1,) * (3 - self.spatial)
        inner = shape[-1] if self.data_format == "channels_last" else 1
        return buffer.reshape(prod(shape[:first]), *ones, *sizes, inner)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


# ------------------------------------------------------------------------------- upsampling


class _UpSampling(_Spatial):
    interpolation = "nearest"

    def __init__(self, size: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.factors = _tuple(type(self).__name__, "size", size, self.spatial, 1)

    def resized(self, sizes: Sequence[int]) -> list[int]:
        """So many times as large."""
        return [size * factor for size, factor in zip(sizes, self.factors, strict=True)]

    @property
    def _times(self) -> Triple:
        ones = (1,) * (3 - self.spatial)
        return (*ones, *self.factors)  # type: ignore[return-value]

    def forward(self, op: Recorder, c: Context) -> None:
        """Each element becomes a block; or there is interpolation between neighbours."""
        y, x = self.five(c.y), self.five(c.x)
        if self.interpolation == "nearest":
            op.repeat(y, x, times=self._times)
        else:
            op.upsample_bilinear(_plane(y), _plane(x), times=self._times[1:])

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = the sum over each block, or the transposed interpolation."""
        dx, dy = self.five(c.dx), self.five(c.dy)
        if self.interpolation == "nearest":
            op.repeat_backward(dx, dy, times=self._times)
        else:
            op.upsample_bilinear_backward(_plane(dx), _plane(dy), times=self._times[1:])


def _plane(five: Buffer) -> Buffer:
    """(outer, height, width, inner) of a buffer without depth."""
    outer, _, height, width, inner = five.shape
    return five.reshape(outer, height, width, inner)


class UpSampling1D(_UpSampling):
    """Each step of a sequence (batch, steps, features) several times.

    Args:
        size: how often.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: size is no positive integer.
    """

    spatial = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(size, None, **kwargs)
        self.size = self.factors[0]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "size": self.size}
        del config["data_format"]
        return config


class UpSampling2D(_UpSampling):
    """Images with several times as many rows and columns.

    Args:
        size: how many times, (rows, columns), or one integer for both.
        data_format: "channels_last", (batch, height, width, channels), or "channels_first".
        interpolation: "nearest", or "bilinear" between four neighbours.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.UpSampling2D()(Input((7, 7, 3))).shape
        (None, 14, 14, 3)
    """

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(size, data_format, **kwargs)
        if interpolation not in ("nearest", "bilinear"):
            raise ArgumentError(
                "UpSampling2D takes 'nearest' or 'bilinear' for interpolation, got "
                f"{interpolation!r}."
            )
        self.size, self.interpolation = self.factors, interpolation

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"size": list(self.size), "interpolation": self.interpolation}
        return {**super().get_config(), **own}


class UpSampling3D(_UpSampling):
    """Volumes with several times as many elements along each axis.

    Args:
        size: how many times, three integers or one.
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
    """

    spatial = 3

    def __init__(
        self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(size, data_format, **kwargs)
        self.size = self.factors

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "size": list(self.size)}


# -------------------------------------------------------------------------- padding, cropping


class _Ends(_Spatial):
    """What is done to both ends of each axis."""

    what = "padding"

    def __init__(self, ends: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(data_format, **kwargs)
        self.ends = _ends(type(self).__name__, self.what, ends, self.spatial)

    def box(self, buffer: Buffer) -> Buffer:
        """(outer, depth, height, width), with the channels behind a place as part of the width."""
        outer, depth, height, width, inner = self.five(buffer).shape
        return buffer.reshape(outer, depth, height, width * inner)

    def ends_for(self, buffer: Buffer) -> dict[str, Triple]:
        """What is before and after on the axes of `box`."""
        inner = self.five(buffer).shape[-1]
        pairs = [(0, 0)] * (3 - self.spatial) + list(self.ends)
        pairs[-1] = (pairs[-1][0] * inner, pairs[-1][1] * inner)
        before, after = zip(*pairs, strict=True)
        return {"before": before, "after": after}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        ends = list(self.ends[0]) if self.spatial == 1 else [list(pair) for pair in self.ends]
        return {**super().get_config(), self.what: ends}


class _ZeroPadding(_Ends):
    def resized(self, sizes: Sequence[int]) -> list[int]:
        """Larger."""
        return [size + sum(pair) for size, pair in zip(sizes, self.ends, strict=True)]

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x within zeros."""
        op.pad(self.box(c.y), self.box(c.x), **self.ends_for(c.x))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy without what belongs to the zeros."""
        op.crop(self.box(c.dx), self.box(c.dy), **self.ends_for(c.x))


class ZeroPadding1D(_ZeroPadding):
    """Zeros before and after a sequence (batch, steps, features).

    Args:
        padding: how many at both ends, or (before, after).
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
    """

    spatial = 1

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(padding, data_format, **kwargs)


class ZeroPadding2D(_ZeroPadding):
    """Rows and columns of zeros around images.

    Args:
        padding: how many on all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
    """

    def __init__(
        self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(padding, data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Zeros around volumes.

    Args:
        padding: how many on all sides, one integer an axis, or one pair (before, after) an axis.
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
    """

    spatial = 3

    def __init__(
        self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(padding, data_format, **kwargs)


class _Cropping(_Ends):
    what = "cropping"

    def resized(self, sizes: Sequence[int]) -> list[int]:
        """Smaller."""
        return [size - sum(pair) for size, pair in zip(sizes, self.ends, strict=True)]

    def forward(self, op: Recorder, c: Context) -> None:
        """y = the middle of x."""
        op.crop(self.box(c.y), self.box(c.x), **self.ends_for(c.x))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy within zeros."""
        op.pad(self.box(c.dx), self.box(c.dy), **self.ends_for(c.x))


class Cropping1D(_Cropping):
    """A sequence (batch, steps, features) without its ends.

    Args:
        cropping: how many steps at both ends, or (before, after).
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: cropping is none of these.
        ShapeError: when called on inputs of which nothing is left.
    """

    spatial = 1

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(cropping, None, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["data_format"]
        return config


class Cropping2D(_Cropping):
    """Images without their edges.

    Args:
        cropping: how many on all sides, (rows, columns), or ((top, bottom), (left, right)).
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
        ShapeError: when called on inputs of which nothing is left.
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)


class Cropping3D(_Cropping):
    """Volumes without their outsides.

    Args:
        cropping: how many on all sides, one integer an axis, or one pair (before, after) an axis.
        data_format: "channels_last" or "channels_first".
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: arguments that are none of these.
        ShapeError: when called on inputs of which nothing is left.
    """

    spatial = 3

    def __init__(
        self,
        cropping: Any = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cropping, data_format, **kwargs)


def _tuple(layer: str, name: str, given: Any, count: int, least: int) -> tuple[int, ...]:
    """So many integers, of one or of as many."""
    numbers = tuple(given) if isinstance(given, list | tuple) else (given,) * count
    if len(numbers) != count or not all(
        is_integer(number) and number >= least for number in numbers
    ):
        raise ArgumentError(
            f"{layer} takes {count} integer(s) of at least {least} for {name}, got {given!r}."
        )
    return numbers


def _ends(layer: str, name: str, given: Any, count: int) -> tuple[tuple[int, int], ...]:
    """(before, after) for each axis."""
    entries = given if isinstance(given, list | tuple) else (given,) * count
    if count == 1:
        entries = [given]
    pairs = [
        tuple(entry) if isinstance(entry, list | tuple) else (entry, entry) for entry in entries
    ]
    fits = all(len(pair) == 2 and all(is_integer(n) and n >= 0 for n in pair) for pair in pairs)
    if len(pairs) != count or not fits:
        raise ArgumentError(
            f"{layer} takes integers of at least 0 for {name}: one, one for each of {count} axes, "
            f"or a pair (before, after) for each, got {given!r}."
        )
    return tuple((pair[0], pair[1]) for pair in pairs)
