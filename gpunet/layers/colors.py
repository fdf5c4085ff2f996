"""Layers that change brightness and contrast at random, and what all random layers share."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import is_number
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Context, Layer
from gpunet.layers.images import ImageLayer
from gpunet.layers.seeds import check_seed, lane_of

_LARGEST = float(np.finfo(np.float32).max)


class RandomLayer(ImageLayer):
    """A layer that acts in training alone.

    Args:
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        data_format: "channels_last", or "channels_first" at the price of a move in and out.
        kwargs: name and so on; see `Layer`.
    """

    def __init__(self, seed: int | None, data_format: str | None, kwargs: dict[str, Any]) -> None:
        super().__init__(data_format, kwargs)
        self.seed = check_seed(type(self).__name__, seed)

    def passes_through(self, training: bool) -> bool:
        """Images stay as they are outside of training."""
        return not training

    def lane(self, c: Context) -> int:
        """Which random numbers this call draws."""
        return lane_of(c, self.seed)


class _RandomColors(RandomLayer):
    """What random layers that change pixels by a factor have in common.

    Args:
        factor: two numbers, or one for both sides.
        least: what they must not be below.
        value_range: the least and the greatest value of a pixel.
        seed: as in `RandomLayer`.
        kwargs: further arguments of the layer.
    """

    def __init__(
        self, factor: Any, least: float, value_range: Any, seed: int | None, kwargs: Any
    ) -> None:
        super().__init__(seed, kwargs.pop("data_format", None), kwargs)
        self.factor = factor_range(self, "factor", factor, least)
        self.value_range = value_limits(self, value_range)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"factor": list(self.factor), "value_range": list(self.value_range)}
        return {**super().get_config(), **own, "seed": self.seed, "data_format": self.data_format}


class RandomBrightness(_RandomColors):
    """In training, add a number to all pixels of an image: y = clip(x + delta, value_range).

    Args:
        factor: the largest delta, to both sides, as a part of the range; or least and largest.
        value_range: the least and the greatest value of a pixel.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomBrightness(0.2, input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(factor, -1.0, value_range, seed, kwargs)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = clip(x + delta)."""
        (low, high), (x, y) = self.value_range, (as_pixels(c.x), as_pixels(c.y))
        least, largest = (factor * (high - low) for factor in self.factor)
        shift = c.scratch((x.shape[0],), "shift")
        op.random_factors(shift, c.random, low=least, high=largest, node=self.lane(c))
        op.adjust_image(y, x, None, None, shift, low=low, high=high)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dx = dy where nothing was cut off."""
        low, high = self.value_range
        op.clip_backward(c.dx, c.dy, c.y, low=low, high=high)


class RandomContrast(_RandomColors):
    """In training, move pixels away from an image's mean, or towards it, in each channel.

    y = clip((x - mean) * c + mean, value_range), c between 1 - lower and 1 + upper.

    Args:
        factor: lower and upper, or one number for both.
        value_range: the least and the greatest value of a pixel.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([RandomContrast(0.2, input_shape=(8, 8, 3))]).output_shape
        (None, 8, 8, 3)
    """

    def __init__(
        self,
        factor: Any,
        value_range: Any = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        pair = factor if isinstance(factor, list | tuple) else (factor, factor)
        super().__init__(pair, 0.0, value_range, seed, kwargs)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = clip((x - mean) * c + mean)."""
        (low, high), (x, y) = self.value_range, (as_pixels(c.x), as_pixels(c.y))
        c.saved = c.scratch((x.shape[0],), "contrast")
        least, largest = 1.0 - self.factor[0], 1.0 + self.factor[1]
        op.random_factors(c.saved, c.random, low=least, high=largest, node=self.lane(c))
        op.adjust_image(y, x, c.saved, self._mean(op, c, x), None, low=low, high=high)

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """With g = dy where nothing was cut off: dx = (g - mean of g) * c + mean of g."""
        low, high = self.value_range
        dx, dy = as_pixels(c.dx), as_pixels(c.dy)
        g = c.scratch(dy.shape, "g")
        op.clip_backward(g, dy, as_pixels(c.y), low=low, high=high)
        mean = self._mean(op, c, g)
        op.adjust_image(dx, g, c.saved, mean, None, low=-_LARGEST, high=_LARGEST)

    def _mean(self, op: Recorder, c: Context, x: Any) -> Any:
        """The mean of each channel of each image."""
        shape = (x.shape[0], x.shape[2])
        mean, variance = c.scratch(shape, "mean"), c.scratch(shape, "variance")
        op.channel_moments(mean, variance, None, None, None, x, None)
        return mean


def as_pixels(buffer: Any) -> Any:
    """Images as (batch, pixels, channels)."""
    batch, height, width, channels = buffer.shape
    return buffer.reshape(batch, height * width, channels)


def factor_range(layer: Layer, name: str, factor: Any, least: float) -> tuple[float, float]:
    """The least and the largest factor of a number f, (-f, f), or of two.

    Raises:
        ArgumentError: neither a number nor two, or one that is not between least and 1.
    """
    pair = factor if isinstance(factor, list | tuple) else (factor,)
    numbers = [f for f in pair if is_number(f) and least <= f <= 1]
    if len(numbers) != len(pair) or len(pair) not in (1, 2):
        raise ArgumentError(
            f"{type(layer).__name__} takes a number from {least:g} to 1, or two, for {name}, got "
            f"{factor!r}."
        )
    if len(pair) == 1:
        return -abs(float(factor)), abs(float(factor))
    if least == 0:  # lower and upper, which need not be in order
        return float(pair[0]), float(pair[1])
    return float(min(pair)), float(max(pair))


def value_limits(layer: Layer, value_range: Any) -> tuple[float, float]:
    """The least and the greatest value of a pixel.

    Raises:
        ArgumentError: these are not two numbers.
    """
    is_pair = isinstance(value_range, list | tuple) and len(value_range) == 2
    if not is_pair or not all(map(is_number, value_range)):
        raise ArgumentError(
            f"{type(layer).__name__} takes two numbers for value_range, got {value_range!r}."
        )
    return float(min(value_range)), float(max(value_range))
