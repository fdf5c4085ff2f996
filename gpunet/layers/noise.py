"""Layers that act in training only: noise, and dropout that suits it or drops whole channels."""

from __future__ import annotations

from math import prod, sqrt
from typing import Any, ClassVar

from gpunet.arguments import AT_LEAST_0
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Recorder
from gpunet.errors import ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.channels import check_data_format
from gpunet.layers.regularization import Dropout, RateLayer
from gpunet.layers.seeds import check_seed, lane_of

_ALPHA_P = -1.6732632423543772 * 1.0507009873554805  # what selu tends to on the left


class GaussianNoise(Layer):
    """In training, y = x + stddev n, where n is normal.

    Args:
        stddev: the standard deviation of the noise, at least 0.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: stddev is no number of at least 0.
    """

    supports_masking = True
    by_position = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stddev = AT_LEAST_0.check(self, "stddev", stddev)
        self.seed = check_seed("GaussianNoise", seed)

    def passes_through(self, training: bool) -> bool:
        """Nothing is added outside of training."""
        return not training or self.stddev == 0

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x + stddev n."""
        op.gaussian_noise(c.y, c.x, c.random, stddev=self.stddev, node=lane_of(c, self.seed))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy."""
        op.copy(c.dx, c.dy)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}


class GaussianDropout(RateLayer):
    """In training, y = x (1 + stddev n), where n is normal and stddev = sqrt(rate / (1 - rate)).

    Args:
        rate: that of a Dropout with the same standard deviation, in [0, 1).
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1).

    Source: Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html, section 10.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, seed, kwargs)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x (1 + stddev n)."""
        op.gaussian_dropout(c.y, c.x, c.random, stddev=self._stddev, node=lane_of(c, self.seed))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy (1 + stddev n)."""
        op.gaussian_dropout(c.dx, c.dy, c.random, stddev=self._stddev, node=lane_of(c, self.seed))

    @property
    def _stddev(self) -> float:
        return sqrt(self.rate / (1.0 - self.rate))


class AlphaDropout(Dropout):
    """Dropout behind selu: what is dropped becomes selu's limit, mean and variance stay.

    In training y = a x where u >= rate, else a p, plus b: p = -1.7581, a = ((1 - rate) (1 + rate
    p^2))^(-1/2), b = -a rate p.

    Args:
        rate: the share of elements to drop, in [0, 1).
        noise_shape: as in `Dropout`: None.
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1).

    Source: Klambauer et al., 2017, arXiv:1706.02515.
    """

    def forward(self, op: Recorder, c: Context) -> None:
        """y = a (p + mask (x - p)) + b."""
        scale, offset = self._line
        shifted, dropped = c.scratch(c.y.shape), c.scratch(c.y.shape)
        op.scale_shift(shifted, c.x, scale=1.0, offset=-_ALPHA_P)
        op.dropout(dropped, shifted, c.random, rate=self.rate, node=lane_of(c, self.seed))
        keep = 1.0 - self.rate
        op.scale_shift(c.y, dropped, scale=scale * keep, offset=scale * _ALPHA_P + offset)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = a mask dy."""
        dropped = c.scratch(c.y.shape)
        op.dropout(dropped, c.dy, c.random, rate=self.rate, node=lane_of(c, self.seed))
        op.scale_shift(c.dx, dropped, scale=self._line[0] * (1.0 - self.rate), offset=0.0)

    @property
    def _line(self) -> tuple[float, float]:
        """a and b."""
        a = ((1.0 - self.rate) * (1.0 + self.rate * _ALPHA_P**2)) ** -0.5
        return a, -a * self.rate * _ALPHA_P


class _SpatialDropout(RateLayer):
    """Drops whole channels: one number for all places of a channel of a sample."""

    rank: ClassVar[int] = 3

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, kwargs)
        self.data_format = check_data_format(type(self).__name__, data_format)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """That of the input."""
        if len(input_shape) != self.rank:
            raise ShapeError(
                f"{type(self).__name__} {self.label!r} expects inputs of {self.rank} axes, got "
                f"{input_shape}."
            )
        return tuple(input_shape)

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x / (1 - rate) for the channels that are kept, else 0."""
        self._drop(op, c, c.y, c.x)

    def backward(self, op: Recorder, c: Context) -> None:
        """The same of dy."""
        self._drop(op, c, c.dx, c.dy)

    def _drop(self, op: Recorder, c: Context, y: Any, x: Any) -> None:
        batch = x.shape[0]
        if self.data_format == "channels_last":
            y, x = (buffer.reshape(batch, -1, buffer.shape[-1]) for buffer in (y, x))
            op.spatial_dropout(y, x, c.random, rate=self.rate, node=lane_of(c, self.seed))
            return
        channels, places = x.shape[1], prod(x.shape[2:])
        ones, kept = c.scratch((batch, channels)), c.scratch((batch, channels))
        op.fill(ones, value=1.0)
        op.dropout(kept, ones, c.random, rate=self.rate, node=lane_of(c, self.seed))
        factors = c.scratch(x.shape)
        small, large = kept.reshape(-1, 1, 1, 1, 1), factors.reshape(batch * channels, 1, 1, -1, 1)
        op.repeat(large, small, times=(1, 1, places))
        op.multiply(y, x, factors)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "data_format": self.data_format}


class SpatialDropout1D(_SpatialDropout):
    """In training, drop whole features of sequences (batch, steps, features).

    Args:
        rate: the share of features to drop, in [0, 1).
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1).

    Source: Tompson et al., 2015, arXiv:1411.4280.
    """

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(rate, None, seed, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["data_format"]
        return config


class SpatialDropout2D(_SpatialDropout):
    """In training, drop whole channels of images; neighbouring pixels say nearly the same.

    Args:
        rate: the share of channels to drop, in [0, 1).
        data_format: "channels_last" or "channels_first".
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1), or another data_format.

    Source: Tompson et al., 2015, arXiv:1411.4280.
    """

    rank = 4


class SpatialDropout3D(_SpatialDropout):
    """In training, drop whole channels of volumes.

    Args:
        rate: the share of channels to drop, in [0, 1).
        data_format: "channels_last" or "channels_first".
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1), or another data_format.

    Source: Tompson et al., 2015, arXiv:1411.4280.
    """

    rank = 5
