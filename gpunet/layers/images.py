"""Layers that cut and resize images, the same way for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gpunet.arguments import check_count, check_flag
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.channels import (
    ChannelLayer,
    channels_from_end,
    channels_to_end,
    check_data_format,
)

INTERPOLATIONS = ("nearest", "bilinear")
FILL_MODES = ("constant", "nearest", "reflect", "wrap")


class Step(NamedTuple):
    """One pass of `affine_image`: where pixels come from, and how large the result is."""

    matrix: tuple[float, ...]
    height: int
    width: int
    interpolation: str = "nearest"
    fill_mode: str = "constant"
    fill_value: float = 0.0


class ImageLayer(ChannelLayer):
    """Base class of layers on images (batch, height, width, channels).

    Args:
        data_format: None or "channels_last"; or "channels_first" for images (batch, channels,
            height, width).
        kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: another data_format.
    """

    def __init__(self, data_format: str | None, kwargs: dict[str, Any]) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format(type(self).__name__, data_format)

    def build(self, input_shape: Shape) -> None:
        """Check that inputs are images."""
        self.size_of(input_shape)

    def size_of(self, input_shape: Shape) -> tuple[int, int]:
        """Height and width of images.

        Raises:
            ShapeError: inputs that are no images.
        """
        if len(input_shape) != 4 or None in input_shape[1:]:
            names = channels_from_end(("batch", "height", "width", "channels"), self.data_format)
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects images ({', '.join(names)}) of "
                f"known size, got {input_shape}."
            )
        _, height, width, _ = channels_to_end(input_shape, self.channel_axis)
        return height, width

    def shape_of_size(self, input_shape: Shape, height: int, width: int) -> Shape:
        """The shape of images of another size."""
        self.size_of(input_shape)
        batch, _, _, channels = channels_to_end(input_shape, self.channel_axis)
        return channels_from_end((batch, height, width, channels), self.data_format)


class Resampling(ImageLayer):
    """Base class of layers that are a few steps of `affine_image`."""

    def steps(self, height: int, width: int) -> list[Step]:
        """What is done to images of this size."""
        raise NotImplementedError

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """One step after another."""
        record_steps(op, c, self.steps(*c.x.shape[1:3]))

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """The steps' gradients in reverse."""
        record_steps_backward(op, c, self.steps(*c.x.shape[1:3]))


def record_steps(op: Recorder, c: Context, steps: Sequence[Step]) -> None:
    """Record steps from c.x to c.y."""
    x = c.x
    for number, (matrix, height, width, *how) in enumerate(steps, start=1):
        shape = (x.shape[0], height, width, x.shape[3])
        y = c.y if number == len(steps) else c.scratch(shape, "cut")
        interpolation, fill_mode, fill_value = how
        op.affine_image(
            y,
            x,
            None,
            matrix=matrix,
            interpolation=interpolation,
            fill_mode=fill_mode,
            fill_value=fill_value,
        )
        x = y
    if not steps:
        op.copy(c.y, c.x)


def record_steps_backward(op: Recorder, c: Context, steps: Sequence[Step]) -> None:
    """Record the gradients of steps from c.dy to c.dx."""
    batch, *size, channels = c.x.shape
    sizes = [tuple(size), *((step.height, step.width) for step in steps)]
    dy = c.dy
    for number in reversed(range(len(steps))):
        shape = (batch, *sizes[number], channels)
        dx = c.dx if number == 0 else c.scratch(shape, "dcut")
        step = steps[number]
        record_backward(op, c, dx, dy, None, step)
        dy = dx
    if not steps:
        op.copy(c.dx, c.dy)


def record_backward(
    op: Recorder, c: Context, dx: Buffer, dy: Buffer, matrices: Buffer | None, step: Step
) -> None:
    """Record the gradient of one `affine_image`."""
    op.affine_image_backward(
        dx,
        c.scratch(dx.shape, "sums"),
        dy,
        matrices,
        matrix=step.matrix,
        interpolation=step.interpolation,
        fill_mode=step.fill_mode,
    )


def cut(top: int, left: int, height: int, width: int, fill_value: float = 0.0) -> Step:
    """The step that takes a window; what lies beyond the image is fill_value."""
    return Step((1.0, 0.0, left, 0.0, 1.0, top), height, width, fill_value=fill_value)


def resize(before: tuple[int, int], after: tuple[int, int], interpolation: str) -> Step:
    """The step from one size to another; pixels are squares, so (i + 1/2) / size is what agrees."""
    y, x = (old / new for old, new in zip(before, after, strict=True))
    # floor((j + 1/2) x) is (j + 1/2) x - 1/2, rounded, if a bit less than its step is added.
    bits = (0.0, 0.0) if interpolation == "bilinear" else (0.25 / after[0], 0.25 / after[1])
    matrix = (x, 0.0, 0.5 * x - 0.5 + bits[1], 0.0, y, 0.5 * y - 0.5 + bits[0])
    return Step(matrix, *after, interpolation, "nearest")


def window_of_shape(before: tuple[int, int], after: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest window (top, left, height, width) in the middle, of the shape of ``after``."""
    height = max(min(before[0], int(before[1] * after[0] / after[1])), 1)
    width = max(min(before[1], int(before[0] * after[1] / after[0])), 1)
    return (before[0] - height) // 2, (before[1] - width) // 2, height, width


def largest_window(before: tuple[int, int], after: tuple[int, int]) -> list[Step]:
    """The largest window of the right shape, resized: Keras' smart_resize."""
    window = window_of_shape(before, after)
    return [cut(*window), resize(window[2:], after, "bilinear")]


def positive_sizes(layer: Layer, height: Any, width: Any) -> tuple[int, int]:
    """Height and width.

    Raises:
        ArgumentError: one is no positive integer.
    """
    return check_count(layer, "height", height), check_count(layer, "width", width)


def one_of(layer: Layer, name: str, value: Any, values: Sequence[str]) -> str:
    """The value.

    Raises:
        ArgumentError: it is none of these.
    """
    if value not in values:
        raise ArgumentError(
            f"{type(layer).__name__} takes {' or '.join(map(repr, values))} for {name}, "
            f"got {value!r}."
        )
    return str(value)


class Resizing(Resampling):
    """Images of another size.

    Args:
        height: of the result, in pixels.
        width: of the result.
        interpolation: "bilinear" or "nearest".
        crop_to_aspect_ratio: cut the largest window of the right shape out of the middle first.
        pad_to_aspect_ratio: put the image into the middle of the smallest window of the right
            shape first.
        fill_mode: "constant".
        fill_value: what pad_to_aspect_ratio puts around the image.
        antialias: not supported; as in Keras False.
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument that makes no sense or is not supported.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([Resizing(4, 6, input_shape=(8, 8, 3))]).output_shape
        (None, 4, 6, 3)
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, kwargs)
        self.height, self.width = positive_sizes(self, height, width)
        self.interpolation = one_of(self, "interpolation", interpolation, INTERPOLATIONS)
        self.fill_mode = one_of(self, "fill_mode", fill_mode, ("constant",))
        if antialias or (crop_to_aspect_ratio and pad_to_aspect_ratio):
            raise ArgumentError(
                "Resizing has no antialias and takes only one of crop_to_aspect_ratio and "
                "pad_to_aspect_ratio: leave one out."
            )
        self.crop_to_aspect_ratio = check_flag(self, "crop_to_aspect_ratio", crop_to_aspect_ratio)
        self.pad_to_aspect_ratio = check_flag(self, "pad_to_aspect_ratio", pad_to_aspect_ratio)
        self.fill_value = float(fill_value)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, height, width, channels)."""
        return self.shape_of_size(input_shape, self.height, self.width)

    def steps(self, height: int, width: int) -> list[Step]:
        """Cut or pad, then resize."""
        before, after = (height, width), (self.height, self.width)
        steps = []
        if self.crop_to_aspect_ratio:
            window = window_of_shape(before, after)
            steps, before = [cut(*window)], window[2:]
        elif self.pad_to_aspect_ratio:
            padded_height = max(height, int(width * self.height / self.width))
            padded_width = max(width, int(height * self.width / self.height))
            # As in Keras equally much on both sides, which may be one pixel less than it takes.
            top, left = (padded_height - height) // 2, (padded_width - width) // 2
            before = (height + 2 * top, width + 2 * left)
            steps = [cut(-top, -left, *before, fill_value=self.fill_value)]
        return [*steps, resize(before, after, self.interpolation)]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = [
            *("height", "width", "interpolation", "crop_to_aspect_ratio", "pad_to_aspect_ratio"),
            *("fill_mode", "fill_value", "data_format"),
        ]
        own = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **own, "antialias": False}


class CenterCrop(Resampling):
    """The middle of each image; of smaller ones the largest window of the right shape, resized.

    Args:
        height: of the result, in pixels.
        width: of the result.
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: height or width is no positive integer.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential
        >>> image = np.arange(16.0).reshape(1, 4, 4, 1)
        >>> Sequential([CenterCrop(2, 2, input_shape=(4, 4, 1))])(image).reshape(2, 2)
        array([[ 5.,  6.],
               [ 9., 10.]], dtype=float32)
    """

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format, kwargs)
        self.height, self.width = positive_sizes(self, height, width)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, height, width, channels)."""
        return self.shape_of_size(input_shape, self.height, self.width)

    def steps(self, height: int, width: int) -> list[Step]:
        """Cut, or cut and resize."""
        if height >= self.height and width >= self.width:
            top, left = (height - self.height) // 2, (width - self.width) // 2
            return [cut(top, left, self.height, self.width)]
        return largest_window((height, width), (self.height, self.width))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"height": self.height, "width": self.width, "data_format": self.data_format}
        return {**super().get_config(), **own}
