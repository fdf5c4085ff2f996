"""Layers that move images at random in training: each image its own way, at each step anew."""

from __future__ import annotations

from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.layers.base import Context
from gpunet.layers.colors import RandomLayer, factor_range
from gpunet.layers.images import (
    FILL_MODES,
    INTERPOLATIONS,
    Step,
    cut,
    largest_window,
    one_of,
    positive_sizes,
    record_backward,
    record_steps,
    record_steps_backward,
)


class _RandomAffine(RandomLayer):
    """A layer that reads each image through a random matrix."""

    step = Step((), 0, 0, "bilinear", "reflect")

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """The arguments of op random_affine for images of this size."""
        raise NotImplementedError

    def set_sampling(self, fill_mode: Any, interpolation: Any, fill_value: Any) -> None:
        """Take how images are read between and beyond their pixels."""
        self.fill_mode = one_of(self, "fill_mode", fill_mode, FILL_MODES)
        self.interpolation = one_of(self, "interpolation", interpolation, INTERPOLATIONS)
        self.fill_value = float(fill_value)
        self.step = Step((), 0, 0, self.interpolation, self.fill_mode, self.fill_value)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = x at the places that a random matrix says."""
        batch, height, width, _ = c.x.shape
        c.saved = c.scratch((batch, 6), "matrices")
        how = self.motion(height, width)
        lane = self.lane(c)
        op.random_affine(c.saved, c.random, height=height, width=width, node=lane, **how)
        op.affine_image(
            c.y,
            c.x,
            c.saved,
            interpolation=self.step.interpolation,
            fill_mode=self.step.fill_mode,
            fill_value=self.step.fill_value,
        )

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx: each dy goes back to the pixels that it came from."""
        step = self.step._replace(matrix=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
        record_backward(op, c, c.dx, c.dy, c.saved, step)

    def sampling_config(self) -> dict[str, Any]:
        """The arguments that are common to rotation, zoom and translation."""
        names = ("fill_mode", "interpolation", "seed", "fill_value", "data_format")
        return {name: getattr(self, name) for name in names}


class RandomFlip(_RandomAffine):
    """In training, mirror half of the images.

    Args:
        mode: "horizontal" (left and right change places), "vertical", or
            "horizontal_and_vertical": then, as in Keras, an image is mirrored both ways or not.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: another mode.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomFlip("horizontal", input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    step = Step((), 0, 0, "nearest", "nearest")

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, kwargs)
        modes = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = one_of(self, "mode", mode, modes)

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """Along which axes."""
        return {"flip": ("vertical" in self.mode, "horizontal" in self.mode)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"mode": self.mode, "seed": self.seed, "data_format": self.data_format}
        return {**super().get_config(), **own}


class RandomRotation(_RandomAffine):
    """In training, turn each image about its middle.

    Args:
        factor: the largest angle in turns, to both sides (0.1: 36 degrees), or least and largest;
            positive angles turn counter-clockwise.
        fill_mode: what lies beyond the image: "reflect" (mirrored at the edge), "wrap" (the image
            again), "constant" (fill_value) or "nearest" (the pixel at the edge).
        interpolation: "bilinear" or "nearest".
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        fill_value: of "constant".
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomRotation(0.1, input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    def __init__(
        self,
        factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, kwargs)
        self.factor = factor_range(self, "factor", factor, -1.0)
        self.set_sampling(fill_mode, interpolation, fill_value)

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """The range of angles."""
        return {"rotation": self.factor}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"factor": list(self.factor), **self.sampling_config()}
        return {**super().get_config(), **own}


class RandomTranslation(_RandomAffine):
    """In training, shift each image.

    Args:
        height_factor: how far down at most, as a part of the height, and as far up; or least and
            largest: (-0.2, 0.3) is from 20 percent up to 30 percent down.
        width_factor: the same to the right and left.
        fill_mode: what lies beyond the image; see `RandomRotation`.
        interpolation: "bilinear" or "nearest".
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        fill_value: of "constant".
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomTranslation(0.1, 0.1, input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, kwargs)
        self.height_factor = factor_range(self, "height_factor", height_factor, -1.0)
        self.width_factor = factor_range(self, "width_factor", width_factor, -1.0)
        self.set_sampling(fill_mode, interpolation, fill_value)

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """The image moves one way if the places that are read move the other."""
        (up, down), (left, right) = self.height_factor, self.width_factor
        return {"shift": (-down * height, -up * height, -right * width, -left * width)}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"height_factor": list(self.height_factor), "width_factor": list(self.width_factor)}
        return {**super().get_config(), **own, **self.sampling_config()}


class RandomZoom(_RandomAffine):
    """In training, make each image larger or smaller about its middle.

    Args:
        height_factor: by how much at most, as a part of the height: 0.2 shows between 80 and 120
            percent of the height; or least and largest: (-0.3, -0.2) shows 70 to 80 percent.
        width_factor: the same for the width; None for what the height gets.
        fill_mode: what lies beyond the image; see `RandomRotation`.
        interpolation: "bilinear" or "nearest".
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        fill_value: of "constant".
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomZoom(0.2, input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    def __init__(
        self,
        height_factor: Any,
        width_factor: Any = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, kwargs)
        self.height_factor = factor_range(self, "height_factor", height_factor, -1.0)
        self.width_factor = None
        if width_factor is not None:
            self.width_factor = factor_range(self, "width_factor", width_factor, -1.0)
        self.set_sampling(fill_mode, interpolation, fill_value)

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """The range of zooms along both axes."""
        along = (*self.height_factor, *(self.width_factor or (0.0, 0.0)))
        zoom = tuple(1.0 + factor for factor in along)
        return {"zoom": zoom, "same_zoom": self.width_factor is None}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        width = None if self.width_factor is None else list(self.width_factor)
        own = {"height_factor": list(self.height_factor), "width_factor": width}
        return {**super().get_config(), **own, **self.sampling_config()}


class RandomCrop(_RandomAffine):
    """In training, a window of each image at a random place.

    Outside of training, and of images that are not larger than the window, the largest window of
    its shape in the middle, resized.

    Args:
        height: of the window, in pixels.
        width: of the window.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: height or width is no positive integer.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomCrop(6, 6, input_shape=(8, 8, 3))]).output_shape
        (None, 6, 6, 3)
    """

    step = cut(0, 0, 0, 0)

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed, data_format, kwargs)
        self.height, self.width = positive_sizes(self, height, width)

    def passes_through(self, training: bool) -> bool:
        """The size always changes."""
        return False

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """(batch, height, width, channels)."""
        return self.shape_of_size(input_shape, self.height, self.width)

    def motion(self, height: int, width: int) -> dict[str, Any]:
        """Whole pixels, each place as likely as the others."""
        places = (height - self.height + 1, width - self.width + 1)
        return {"shift": (0.0, float(places[0]), 0.0, float(places[1])), "whole": True}

    def _is_random(self, c: Context) -> bool:
        height, width = c.x.shape[1:3]
        return bool(c.training and height >= self.height and width >= self.width)

    def _steps(self, c: Context) -> list[Step]:
        return largest_window(c.x.shape[1:3], (self.height, self.width))

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = a window of x."""
        if self._is_random(c):
            super().forward_channels_last(op, c)
        else:
            record_steps(op, c, self._steps(c))

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = dy within the window, 0 outside."""
        if self._is_random(c):
            super().backward_channels_last(op, c)
        else:
            record_steps_backward(op, c, self._steps(c))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("height", "width", "seed", "data_format")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
