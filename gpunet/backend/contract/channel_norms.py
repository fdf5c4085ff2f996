"""Normalization of channels: batch norm, group norm and instance norm.

Channels are the last axis of x (segments, rows, channels): statistics are taken over the rows of
each segment. Batch normalization is one segment; group normalization has one for each sample and
averages the statistics of the channels of a group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, InOut, Out, Shapes, Sum, op
from gpunet.errors import ArgumentError


def mask_with_count(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    """Raise an error if there is a mask without the count of its rows."""
    if "mask" in shapes and "count" not in shapes:
        raise ArgumentError(f"op {name} with a mask needs an array for 'count', got None.")


@op(
    mask_with_count,
    mean="full: segments channels",
    variance="full: segments channels",
    count="full: segments",
    moving_mean="full: channels",
    moving_variance="full: channels",
    x="segments rows channels",
    mask="uint8: segments rows",
)
def channel_moments(
    mean: Out,
    variance: Out,
    count: Out | None,
    moving_mean: InOut | None,
    moving_variance: InOut | None,
    x: In,
    mask: In | None,
    *,
    momentum: float = 0.99,
) -> None:
    """Mean and variance of each channel over the rows of each segment, or those whose mask is 1.

    mean = sum of x / count, variance = sum of (x - mean)^2 / count, where count is the number of
    rows, with a mask sum of mask + 1e-7, as in Keras: of no rows at all they are 0. What x is in
    rows that do not count does not matter.

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
    mask_with_count,
    dx="segments rows channels",
    dy="segments rows channels",
    x="segments rows channels",
    mask="uint8: segments rows",
    mean="full: segments channels",
    variance="full: segments channels",
    count="full: segments",
    gamma="channels",
    sums="full: 2 segments channels",
    in_place="dx=dy dx=x",
)
def channel_norm_backward(
    dx: Out,
    dy: In,
    x: In | None,
    mask: In | None,
    mean: In | None,
    variance: In,
    count: In | None,
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

    With a mask, and its count of `channel_moments`, dx = (gamma * dy - mask * (s + w * t) / count)
    / sqrt(variance + epsilon), w = v - 1e-7 / count * mean / sqrt(variance + epsilon).
    """
