"""Normalization of channels: batch norm, group norm and instance norm.

Channels are the last axis of x (segments, rows, channels): statistics are taken over the rows of
each segment. Batch normalization is one segment; group normalization has one for each sample and
averages the statistics of the channels of a group.
"""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, Sum, op


@op(
    mean="full: segments channels",
    variance="full: segments channels",
    moving_mean="full: channels",
    moving_variance="full: channels",
    x="segments rows channels",
)
def channel_moments(
    mean: Out,
    variance: Out,
    moving_mean: InOut | None,
    moving_variance: InOut | None,
    x: In,
    *,
    momentum: float = 0.99,
) -> None:
    """Mean and variance (divided by rows) of each channel over the rows of each segment.

    moving = momentum * moving + (1 - momentum) * that of the first segment, for both.
    """


@op(mean="full: segments channels", variance="full: segments channels")
def group_moments(mean: InOut, variance: InOut, *, groups: int) -> None:
    """Replace each channel's mean and variance by those of all numbers of its group.

    The groups are equally many neighbouring channels each.
    """


@op(
    y="segments rows channels",
    x="segments rows channels",
    mean="full: segments channels",
    variance="full: segments channels",
    gamma="channels",
    beta="channels",
    in_place="y=x",
)
def channel_norm(
    y: Out, x: In, mean: In, variance: In, gamma: In | None, beta: In | None, *, epsilon: float
) -> None:
    """y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""


@op(
    sums="full: 2 segments channels",
    dgamma="channels",
    dbeta="channels",
    dy="segments rows channels",
    x="segments rows channels",
    mean="full: segments channels",
    variance="full: segments channels",
)
def channel_norm_sums(
    sums: Out,
    dgamma: Sum | None,
    dbeta: Sum | None,
    dy: In,
    x: In,
    mean: In,
    variance: In,
    *,
    epsilon: float,
    accumulate: bool = False,
) -> None:
    """Sums of dy and of dy * v over rows, v = (x - mean) / sqrt(variance + epsilon).

    dbeta and dgamma are these, summed over segments, too; ``accumulate`` concerns them alone.
    """


@op(sums="full: 2 segments channels", gamma="channels")
def group_sums(sums: InOut, gamma: In | None, *, groups: int) -> None:
    """sums = mean over the channels of a group of gamma * sums, for all channels of the group."""


@op(
    dx="segments rows channels",
    dy="segments rows channels",
    x="segments rows channels",
    mean="full: segments channels",
    variance="full: segments channels",
    gamma="channels",
    sums="full: 2 segments channels",
    in_place="dx=dy dx=x",
)
def channel_norm_backward(
    dx: Out,
    dy: In,
    x: In | None,
    mean: In | None,
    variance: In,
    gamma: In | None,
    sums: In | None,
    *,
    epsilon: float,
    grouped: bool = False,
) -> None:
    """dx = (gamma * dy - (s + v * t) / rows) / sqrt(variance + epsilon), the gradient of x.

    v = (x - mean) / sqrt(variance + epsilon), and s, t = gamma * sums of `channel_norm_sums`, or
    ``grouped`` those of `group_sums` as they are. Without sums, where the statistics do not depend
    on x, s = t = 0; then x and mean may be None.
    """
