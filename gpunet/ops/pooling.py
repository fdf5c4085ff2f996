"""Plain functions: pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpunet.backend.dispatch import as_array, empty_beside, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError
from gpunet.geometry import Geometry, check_padding, of_windows, sizes
from gpunet.ops.convolution import INPUTS, OUTPUTS, Sizes

BYTE = 256  # places in windows of so many elements are bytes


def max_pool(
    x: Any, window: Sizes, strides: Sizes | None = None, padding: str = "valid"
) -> tuple[Array, Array]:
    """The largest of each window over one, two or three dimensions, and its place there.

    Args:
        x: (batch, ..., channels).
        window: its size, for all dimensions or for each.
        strides: how far apart windows are; as far as they are large if None.
        padding: "valid" or "same".

    >>> y, places = max_pool([[[1.0], [3.0], [2.0], [0.0]]], 2)
    >>> y.ravel(), places.ravel()
    (array([3., 2.], dtype=float32), array([1, 0], dtype=uint8))
    """
    x = as_array(x)
    geometry = _geometry("max_pool", x.shape, window, strides, padding)
    known = dict(zip(OUTPUTS, geometry.coarse, strict=True))
    arrays = {"x": x.reshape(len(x), *geometry.fine, x.shape[-1])}
    if prod(geometry.window) > BYTE:
        shape = (len(x), *geometry.coarse, x.shape[-1])
        arrays["argmax"] = empty_beside(x, shape, "int32")
    written = run_op("max_pool", arrays, None, known, **geometry.of_pooling)
    return _outer(written["y"], geometry.coarse, x), _outer(written["argmax"], geometry.coarse, x)


def max_pool_backward(
    dy: Any,
    argmax: Any,
    shape: Sequence[int],
    window: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
) -> Array:
    """The gradient of `max_pool`, whose x had this shape, from that of its output.

    >>> _, places = max_pool([[[1.0], [3.0], [2.0], [0.0]]], 2)
    >>> max_pool_backward([[[5.0], [6.0]]], places, (1, 4, 1), 2).ravel()
    array([0., 5., 6., 0.], dtype=float32)
    """
    return _backward("max_pool_backward", dy, shape, window, strides, padding, argmax=argmax)


def average_pool(
    x: Any, window: Sizes, strides: Sizes | None = None, padding: str = "valid"
) -> Array:
    """The mean of what of each window lies inside of x; the arguments are those of `max_pool`.

    >>> average_pool([[[1.0], [3.0], [2.0], [0.0]]], 2).ravel()
    array([2., 1.], dtype=float32)
    """
    x = as_array(x)
    geometry = _geometry("average_pool", x.shape, window, strides, padding)
    known = dict(zip(OUTPUTS, geometry.coarse, strict=True))
    arrays = {"x": x.reshape(len(x), *geometry.fine, x.shape[-1])}
    written = run_op("average_pool", arrays, None, known, **geometry.of_pooling)
    return _outer(written["y"], geometry.coarse, x)


def average_pool_backward(
    dy: Any,
    shape: Sequence[int],
    window: Sizes,
    strides: Sizes | None = None,
    padding: str = "valid",
) -> Array:
    """The gradient of `average_pool`, whose x had this shape, from that of its output.

    >>> average_pool_backward([[[4.0], [6.0]]], (1, 4, 1), 2).ravel()
    array([2., 2., 3., 3.], dtype=float32)
    """
    return _backward("average_pool_backward", dy, shape, window, strides, padding)


def _backward(
    name: str,
    dy: Any,
    shape: Sequence[int],
    window: Sizes,
    strides: Sizes | None,
    padding: str,
    **more: Any,
) -> Array:
    dy = as_array(dy)
    geometry = _geometry(name, shape, window, strides, padding)
    coarse = (len(dy), *geometry.coarse, dy.shape[-1])
    arrays = {"dy": dy.reshape(coarse)}
    arrays |= {key: as_array(array).reshape(coarse) for key, array in more.items()}
    known = dict(zip(INPUTS, geometry.fine, strict=True))
    written = run_op(name, arrays, None, known, **geometry.of_pooling)
    return written["dx"].reshape(shape)


def _geometry(
    name: str, shape: Sequence[int], window: Sizes, strides: Sizes | None, padding: str
) -> Geometry:
    rank = len(shape) - 2
    if not 1 <= rank <= 3:
        raise ShapeError(
            f"op {name} takes x (batch, ..., channels) over 1 to 3 dimensions, got {shape}."
        )
    where = f"op {name}"
    pool = sizes(where, "window", window, rank)
    steps = pool if strides is None else sizes(where, "strides", strides, rank)
    return of_windows(where, shape[1:-1], pool, steps, (1,) * rank, check_padding(where, padding))


def _outer(y: Array, outputs: Sequence[int], x: Array) -> Array:
    """y without the dimensions that x does not have."""
    return y.reshape(len(x), *outputs[5 - x.ndim :], x.shape[-1])
