"""Normalization of channels: over the batch, and over groups of channels of each sample."""

from __future__ import annotations

from math import prod
from typing import Any

from gpunet import initializers
from gpunet.arguments import FROM_0_TO_1, is_integer
from gpunet.engine.graph import Shape
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.affine import Affine
from gpunet.layers.base import Context
from gpunet.layers.channels import ChannelLayer


class ChannelNormalization(ChannelLayer, Affine):
    """Base class: gamma and beta have a number for each channel, which stand along ``axis``."""

    axis: int

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return self.axis

    def channels(self, input_shape: Shape) -> tuple[int]:
        """The number of channels, as the shape of gamma.

        Raises:
            ArgumentError: axis is no integer.
            ShapeError: there is no such axis, or it has an unknown size.
        """
        where, rank = f"{type(self).__name__} {self.label!r}", len(input_shape)
        if not isinstance(self.axis, int) or isinstance(self.axis, bool):
            raise ArgumentError(f"{where} takes an integer for axis, got {self.axis!r}.")
        if self.axis not in (*range(1, rank), *range(1 - rank, 0)) or not input_shape[self.axis]:
            raise ShapeError(
                f"{where} expects inputs with channels of known size along axis {self.axis}, which "
                f"is not that of the batch, got {input_shape}; choose another axis."
            )
        return (input_shape[self.axis] or 0,)


class BatchNormalization(ChannelNormalization):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, for each channel.

    In training, mean and variance are those of the batch, and the moving statistics, which are
    used otherwise, follow them: moving = momentum moving + (1 - momentum) batch. With
    trainable=False the layer always uses the moving statistics, and leaves them as they are.

    Where the input has a mask, the batch's statistics are those of the steps that are there: sums
    are divided by their number + 1e-7 (of none the mean and variance are 0). Masked steps are
    normalized with them all the same, and the mask goes on.

    Args:
        axis: the axis of the channels: what else there is belongs to the batch. Channels that
            are not last (axis=1 for images with channels first) are moved to the end and back, an
            extra pass over inputs and outputs each unless the neighbour does the same.
        momentum: how much of the moving statistics remains at each step.
        epsilon: what is added to the variance.
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        beta_initializer: first values of beta, (channels,).
        gamma_initializer: first values of gamma, (channels,).
        moving_mean_initializer: first values of the moving mean.
        moving_variance_initializer: first values of the moving variance.
        beta_regularizer: a penalty on beta, such as "l2".
        gamma_regularizer: a penalty on gamma.
        beta_constraint: what beta must keep to after each step.
        gamma_constraint: what gamma must keep to.
        renorm: not supported; as in Keras False.
        renorm_clipping: not supported.
        renorm_momentum: not supported.
        synchronized: not supported; as in Keras False.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an argument of a type or value that makes no sense, or that is not supported.
        ShapeError: channels of unknown size, an axis that is not there, or a mask with other axes
            than those before the channels.

    Source: Ioffe and Szegedy, 2015, arXiv:1502.03167.

    Example:
        >>> from gpunet import Sequential
        >>> model = Sequential([BatchNormalization(input_shape=(8, 8, 3))])
        >>> [weight.shape for weight in model.get_weights()]
        [(3,), (3,), (3,), (3,)]
    """

    supports_masking = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        moving_mean_initializer: object = "zeros",
        moving_variance_initializer: object = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Any = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, locals(), kwargs)
        if renorm or synchronized:
            raise ArgumentError(
                "BatchNormalization has neither renorm nor synchronized: leave them out."
            )
        self.axis = axis
        self.momentum = FROM_0_TO_1.check(self, "momentum", momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.renorm_clipping = renorm_clipping
        self.renorm_momentum = renorm_momentum

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """That of the input.

        Raises:
            ShapeError: it is not one of all axes but that of the channels, the last.
        """
        if mask is not None:
            shape, rank = inputs.shape, len(inputs.shape)
            if len(mask.shape) != rank - 1 or self.axis not in (-1, rank - 1):
                raise ShapeError(
                    f"BatchNormalization {self.label!r} with axis={self.axis} expects a mask for "
                    f"all axes but the last, which must be that of the channels, got inputs "
                    f"{shape} with a mask {mask.shape}; leave the mask out with mask=None, or put "
                    "the channels last."
                )
        return super().compute_mask(inputs, mask)

    def build(self, input_shape: Shape) -> None:
        """Make gamma, beta and the moving statistics, (channels,) each."""
        channels = self.channels(input_shape)
        if self.scale:
            self.add_affine("gamma", channels)
        if self.center:
            self.add_affine("beta", channels)
        for name in ("moving_mean", "moving_variance"):
            initializer = getattr(self, f"{name}_initializer")
            self.add_weight(name, channels, initializer, trainable=False)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = gamma (x - mean) / sqrt(variance + epsilon) + beta."""
        x, y = self._batch(c.x), self._batch(c.y)  # (1, rows, channels)
        mean, variance = c.moving_mean.reshape(1, -1), c.moving_variance.reshape(1, -1)
        mask = count = None
        if c.training and self.trainable:
            mean = c.scratch((1, x.shape[2]), "mean")
            variance = c.scratch((1, x.shape[2]), "variance")
            if c.mask is not None:
                mask, count = c.mask.reshape(1, -1), c.scratch((1,), "count")
            moments = mean, variance, count, c.moving_mean, c.moving_variance
            op.channel_moments(*moments, x, mask, momentum=self.momentum)
        gamma, beta = c.gamma if self.scale else None, c.beta if self.center else None
        op.channel_norm(y, x, mean, variance, gamma, beta, epsilon=self.epsilon)
        c.saved = mask, mean, variance, count

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dgamma and dbeta; dx through the batch's mean and variance, too, if those were used."""
        dx, dy, x = self._batch(c.dx), self._batch(c.dy), self._batch(c.x)
        mask, mean, variance, count = c.saved
        sums = c.scratch((2, *mean.shape), "sums")
        dgamma, dbeta = c.dgamma if self.scale else None, c.dbeta if self.center else None
        gamma, epsilon = c.gamma if self.scale else None, self.epsilon
        op.channel_norm_sums(sums, dgamma, dbeta, dy, x, mean, variance, epsilon=epsilon)
        arrays: tuple[Buffer | None, ...]
        if c.training and self.trainable:
            arrays = (x, mask, mean, variance, count, gamma, sums)
        else:
            arrays = (None, None, None, variance, None, gamma, None)
        op.channel_norm_backward(dx, dy, *arrays, epsilon=epsilon)

    def _batch(self, buffer: Buffer) -> Buffer:
        """One segment: all axes but the last are the rows."""
        return buffer.reshape(1, -1, buffer.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "axis": self.axis,
            "momentum": self.momentum,
            **self.affine_config(),
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
            "renorm": False,
            "renorm_clipping": self.renorm_clipping,
            "renorm_momentum": self.renorm_momentum,
            "synchronized": False,
        }


class GroupNormalization(ChannelNormalization):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, over groups of a sample's channels.

    Mean and variance are those of all numbers of a sample that belong to a group of neighbouring
    channels; gamma and beta are there for each channel.

    Args:
        groups: the number of groups; -1 for a group for each channel (instance normalization).
        axis: the axis of the channels; if not the last, as in `BatchNormalization`.
        epsilon: what is added to the variance.
        center: whether there is an offset beta.
        scale: whether there is a factor gamma.
        beta_initializer: first values of beta, (channels,).
        gamma_initializer: first values of gamma, (channels,).
        beta_regularizer: a penalty on beta, such as "l2".
        gamma_regularizer: a penalty on gamma.
        beta_constraint: what beta must keep to after each step.
        gamma_constraint: what gamma must keep to.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: groups is neither a positive integer nor -1.
        ShapeError: the channels cannot be divided into that many groups.

    Source: Wu and He, 2018, arXiv:1803.08494.

    Example:
        >>> from gpunet import Sequential
        >>> Sequential([GroupNormalization(groups=2, input_shape=(8, 8, 6))]).output_shape
        (None, 8, 8, 6)
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: object = "zeros",
        gamma_initializer: object = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(epsilon, center, scale, locals(), kwargs)
        if not is_integer(groups) or groups < -1 or groups == 0:
            raise ArgumentError(
                f"GroupNormalization takes a positive integer or -1 for groups, got {groups!r}."
            )
        self.groups = int(groups)
        self.axis = axis

    def build(self, input_shape: Shape) -> None:
        """Make gamma and beta, (channels,) each."""
        channels = self.channels(input_shape)
        if channels[0] % self._groups(channels[0]):
            raise ShapeError(
                f"GroupNormalization {self.label!r} cannot divide {channels[0]} channels into "
                f"{self.groups} groups of one size; choose groups that divide {channels[0]}."
            )
        if self.scale:
            self.add_affine("gamma", channels)
        if self.center:
            self.add_affine("beta", channels)

    def forward_channels_last(self, op: Recorder, c: Context) -> None:
        """y = gamma (x - mean) / sqrt(variance + epsilon) + beta."""
        x, y = self._samples(c.x), self._samples(c.y)  # (batch, positions, channels)
        statistics = (x.shape[0], x.shape[2])  # of a group, for each of its channels
        mean, variance = c.scratch(statistics, "mean"), c.scratch(statistics, "variance")
        op.channel_moments(mean, variance, None, None, None, x, None)
        op.group_moments(mean, variance, groups=self._groups(x.shape[2]))
        gamma, beta = c.gamma if self.scale else None, c.beta if self.center else None
        op.channel_norm(y, x, mean, variance, gamma, beta, epsilon=self.epsilon)
        c.saved = mean, variance

    def backward_channels_last(self, op: Recorder, c: Context) -> None:
        """dgamma and dbeta; dx directly and through mean and variance."""
        dx, dy, x = self._samples(c.dx), self._samples(c.dy), self._samples(c.x)
        mean, variance = c.saved
        sums = c.scratch((2, *mean.shape), "sums")
        dgamma, dbeta = c.dgamma if self.scale else None, c.dbeta if self.center else None
        gamma, epsilon = c.gamma if self.scale else None, self.epsilon
        op.channel_norm_sums(sums, dgamma, dbeta, dy, x, mean, variance, epsilon=epsilon)
        op.group_sums(sums, gamma, groups=self._groups(x.shape[2]))
        vectors = mean, variance, None, gamma, sums
        op.channel_norm_backward(dx, dy, x, None, *vectors, epsilon=epsilon, grouped=True)

    def _groups(self, channels: int) -> int:
        return channels if self.groups == -1 else self.groups

    def _samples(self, buffer: Buffer) -> Buffer:
        """A segment for each sample: the axes in between are its rows."""
        return buffer.reshape(buffer.shape[0], prod(buffer.shape[1:-1]), buffer.shape[-1])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"groups": self.groups, "axis": self.axis}
        return {**super().get_config(), **own, **self.affine_config()}
