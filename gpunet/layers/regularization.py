"""Layers that act in training only: dropout, and a penalty on what passes."""

from __future__ import annotations

from typing import Any

from gpunet.arguments import BELOW_1, shown
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Context, Layer
from gpunet.layers.seeds import check_seed, lane_of
from gpunet.regularizers import L1L2


class RateLayer(Layer):
    """Base class of layers with a rate that act in training alone.

    Args:
        rate: a number in [0, 1).
        seed: layers with the same seed draw the same numbers; None for numbers of its own.
        kwargs: name and so on; see `Layer`.
    """

    supports_masking = True
    by_position = True

    def __init__(self, rate: float, seed: int | None, kwargs: dict[str, Any]) -> None:
        super().__init__(**kwargs)
        self.rate = BELOW_1.check(self, "rate", rate)
        self.seed = check_seed(type(self).__name__, seed)

    def passes_through(self, training: bool) -> bool:
        """Nothing happens outside of training."""
        return not training or self.rate == 0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class Dropout(RateLayer):
    """In training, set each element to 0 with probability rate and scale the others up.

    y = x / (1 - rate) where u >= rate, else 0. The mask is not stored: u comes from a counter
    (Philox4x64-10), the same numbers on every device, and backward draws them again.

    Args:
        rate: the share of elements to drop, in [0, 1).
        noise_shape: for masks that repeat, which only the SpatialDropout layers have: None.
        seed: layers with the same seed drop the same places; None for places of its own.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: rate outside of [0, 1), a noise_shape, or a seed that is none.

    Source: Srivastava et al., 2014, https://jmlr.org/papers/v15/srivastava14a.html.
    """

    def __init__(
        self, rate: float, noise_shape: None = None, seed: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(rate, seed, kwargs)
        if noise_shape is not None:
            raise ArgumentError(
                f"{type(self).__name__} has no noise_shape, got {shown(noise_shape)}; leave it "
                "out, or take SpatialDropout1D, 2D or 3D to drop whole channels."
            )

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x * mask / (1 - rate)."""
        op.dropout(c.y, c.x, c.random, rate=self.rate, node=lane_of(c, self.seed))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx = dy * mask / (1 - rate)."""
        op.dropout(c.dx, c.dy, c.random, rate=self.rate, node=lane_of(c, self.seed))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "noise_shape": None}


class ActivityRegularization(Layer):
    """y = x, and the loss grows by (l1 sum |x| + l2 sum x^2) / batch size.

    Args:
        l1: the factor of the absolute values, at least 0.
        l2: the factor of the squares, at least 0.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: a factor that is no number of at least 0.
    """

    supports_masking = True
    by_position = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=L1L2(l1, l2), **kwargs)
        self.l1 = l1
        self.l2 = l2

    def passes_through(self, training: bool) -> bool:
        """The memory stays as it is; the penalty is recorded beside it."""
        return True

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "l1": self.l1, "l2": self.l2}
        del config["activity_regularizer"]
        return config
