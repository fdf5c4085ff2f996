"""Plain functions: normalization of channels, of arrays (segments, rows, channels)."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_updated, run_op
from gpunet.backend.spec import Array


def channel_moments(
    x: Any,
    moving_mean: Any = None,
    moving_variance: Any = None,
    momentum: float = 0.99,
    mask: Any = None,
) -> tuple[Array, Array]:
    """Mean and variance over the rows of each segment: (segments, channels) each.

    Args:
        x: (segments, rows, channels); one segment for a batch norm.
        moving_mean: (channels,), moved towards the first segment's mean where it is; or None.
        moving_variance: the same for the variance.
        momentum: how much of the moving statistics remains.
        mask: (segments, rows) of uint8, 1 for the rows that count; None: all do.

    >>> mean, variance = channel_moments([[[1.0, 5.0], [3.0, 5.0]]])
    >>> mean, variance
    (array([[2., 5.]], dtype=float32), array([[1., 0.]], dtype=float32))
    >>> mean, variance = channel_moments([[[1.0], [3.0], [9.0]]], mask=[[1, 1, 0]])
    >>> mean.round(3), variance.round(3)
    (array([[2.]], dtype=float32), array([[1.]], dtype=float32))
    """
    arrays = {"x": x, "mask": mask}
    for name, moving in (("moving_mean", moving_mean), ("moving_variance", moving_variance)):
        if moving is not None:
            arrays[name] = as_updated("channel_moments", name, moving)
    written = run_op("channel_moments", arrays, momentum=momentum)
    return written["mean"], written["variance"]


def group_moments(mean: Any, variance: Any, groups: int) -> None:
    """Replace the channels' moments, where they are, by those of groups of neighbours.

    >>> import numpy as np
    >>> mean, variance = np.array([[1.0, 3.0]]), np.array([[0.0, 0.0]])
    >>> group_moments(mean, variance, groups=1)
    >>> mean, variance
    (array([[2., 2.]]), array([[1., 1.]]))
    """
    arrays = {
        "mean": as_updated("group_moments", "mean", mean),
        "variance": as_updated("group_moments", "variance", variance),
    }
    run_op("group_moments", arrays, groups=groups)


def channel_norm(
    x: Any, mean: Any, variance: Any, gamma: Any = None, beta: Any = None, epsilon: float = 1e-3
) -> Array:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta.

    >>> channel_norm([[[1.0], [3.0]]], mean=[[2.0]], variance=[[0.25]], epsilon=0.0)
    array([[[-2.],
            [ 2.]]], dtype=float32)
    """
    arrays = {"x": x, "mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
    return run_op("channel_norm", arrays, epsilon=epsilon)["y"]


def channel_norm_sums(
    dy: Any, x: Any, mean: Any, variance: Any, epsilon: float = 1e-3
) -> tuple[Array, Array, Array]:
    """(sums, dgamma, dbeta): the sums that `channel_norm_backward` needs, and two gradients.

    >>> x = [[[1.0], [3.0]]]
    >>> sums, dgamma, dbeta = channel_norm_sums(x, x, mean=[[2.0]], variance=[[1.0]])
    >>> dgamma.round(2), dbeta
    (array([2.], dtype=float32), array([4.], dtype=float32))
    """
    arrays = {"dy": dy, "x": x, "mean": mean, "variance": variance}
    written = run_op("channel_norm_sums", arrays, epsilon=epsilon)
    return written["sums"], written["dgamma"], written["dbeta"]


def group_sums(sums: Any, gamma: Any = None, groups: int = 1) -> None:
    """Replace sums, where they are, by the means of gamma * sums over groups of channels.

    >>> import numpy as np
    >>> sums = np.array([[[1.0, 3.0]], [[0.0, 2.0]]])
    >>> group_sums(sums, groups=1)
    >>> sums
    array([[[2., 2.]],
    <BLANKLINE>
           [[1., 1.]]])
    """
    arrays = {"sums": as_updated("group_sums", "sums", sums), "gamma": gamma}
    run_op("group_sums", arrays, groups=groups)


def channel_norm_backward(
    dy: Any,
    variance: Any,
    x: Any = None,
    mean: Any = None,
    gamma: Any = None,
    sums: Any = None,
    epsilon: float = 1e-3,
    grouped: bool = False,
    mask: Any = None,
    count: Any = None,
) -> Array:
    """The gradient of x from that of y.

    Args:
        dy: (segments, rows, channels).
        variance: (segments, channels).
        x: as dy; it, mean and sums only where the statistics are those of x.
        mean: (segments, channels).
        gamma: (channels,) or None.
        sums: (2, segments, channels), of `channel_norm_sums` or `group_sums`.
        epsilon: as in the forward pass.
        grouped: whether sums are those of `group_sums`.
        mask: that of `channel_moments`.
        count: (segments,), sum of the mask + 1e-7; needed with a mask.

    >>> channel_norm_backward([[[1.0], [2.0]]], variance=[[0.25]], epsilon=0.0)
    array([[[2.],
            [4.]]], dtype=float32)
    """
    arrays = {"dy": dy, "x": x, "mean": mean, "variance": variance, "gamma": gamma, "sums": sums}
    arrays |= {"mask": mask, "count": count}
    return run_op("channel_norm_backward", arrays, epsilon=epsilon, grouped=grouped)["dx"]
