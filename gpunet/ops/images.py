"""Plain functions: images."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.backend import backend_of
from gpunet.backend.dispatch import as_array, run_op
from gpunet.backend.spec import Array, full_of

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def random_factors(
    samples: int, low: float, high: float, seed: int = 0, node: int = 0, number: int = 0
) -> Array:
    """A number between low and high for each sample; the same seed gives the same numbers.

    >>> random_factors(3, low=0.0, high=1.0, seed=1).round(2)
    array([0.46, 0.74, 0.82], dtype=float32)
    """
    arrays = {
        "factors": np.empty(samples, np.float32),
        "random": np.array([seed, number], np.uint64),
    }
    return run_op("random_factors", arrays, low=low, high=high, node=node)["factors"]


def random_affine(
    samples: int,
    height: int,
    width: int,
    seed: int = 0,
    node: int = 0,
    number: int = 0,
    **how: Any,
) -> Array:
    """Matrices (samples, 6) for `affine_image`.

    Args:
        samples: how many.
        height: of the images.
        width: of the images.
        seed: the same seed, node and number give the same matrices.
        node: as seed.
        number: as seed.
        **how: flip, rotation, zoom, same_zoom, shift and whole, as in the contract.

    >>> random_affine(1, height=4, width=4, shift=(1.0, 1.0, 2.0, 2.0))
    array([[ 1., -0.,  2.,  0.,  1.,  1.]], dtype=float32)
    """
    arrays = {
        "matrices": np.empty((samples, 6), np.float32),
        "random": np.array([seed, number], np.uint64),
    }
    written = run_op("random_affine", arrays, height=height, width=width, node=node, **how)
    return written["matrices"]


def affine_image(
    x: Any,
    matrices: Any = None,
    matrix: tuple[float, ...] = IDENTITY,
    size: tuple[int, int] | None = None,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> Array:
    """Images read at column a j + b i + c and row d j + e i + f for row i and column j.

    Args:
        x: (images, height, width, colors).
        matrices: (images, 6), each (a, b, c, d, e, f); or None.
        matrix: one of them for all images.
        size: height and width of the result; None for those of x.
        interpolation: "nearest" or "bilinear".
        fill_mode: "constant", "nearest", "reflect" or "wrap", for what lies beyond the image.
        fill_value: of "constant".

    >>> affine_image([[[[1.0], [2.0], [3.0]]]], matrix=(-1, 0, 2, 0, 1, 0)).reshape(-1)
    array([3., 2., 1.], dtype=float32)
    """
    x = _images(x)
    shape = (x.shape[0], *(size or x.shape[1:3]), x.shape[3])
    arrays = {"y": backend_of(x).empty(shape, x.dtype), "x": x, "matrices": matrices}
    how: dict[str, Any] = {"interpolation": interpolation, "fill_mode": fill_mode}
    how["fill_value"] = fill_value
    return run_op("affine_image", arrays, matrix=tuple(matrix), **how)["y"]


def affine_image_backward(
    dy: Any,
    matrices: Any = None,
    matrix: tuple[float, ...] = IDENTITY,
    size: tuple[int, int] | None = None,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
) -> Array:
    """The gradient of `affine_image`'s x, images of this size, from that of its result.

    >>> affine_image_backward([[[[1.0], [2.0], [3.0]]]], matrix=(-1, 0, 2, 0, 1, 0)).reshape(-1)
    array([3., 2., 1.], dtype=float32)
    """
    dy = _images(dy)
    shape = (dy.shape[0], *(size or dy.shape[1:3]), dy.shape[3])
    dtype, empty = np.dtype(dy.dtype).name, backend_of(dy).empty
    outputs = {"dx": empty(shape, dtype), "sums": empty(shape, full_of(dtype))}
    arrays = {**outputs, "dy": dy, "matrices": matrices}
    how: dict[str, Any] = {"interpolation": interpolation, "fill_mode": fill_mode}
    return run_op("affine_image_backward", arrays, matrix=tuple(matrix), **how)["dx"]


def _images(x: Any) -> Array:
    """An array; numbers in lists become float32."""
    if not isinstance(x, list | tuple):
        return as_array(x)
    return np.asarray(x, np.float32)


def adjust_image(
    x: Any,
    factor: Any = None,
    mean: Any = None,
    shift: Any = None,
    low: float = -np.inf,
    high: float = np.inf,
) -> Array:
    """(x - mean) * factor + mean + shift, cut off at low and high.

    Args:
        x: (images, pixels, colors).
        factor: one for each image, or None.
        mean: (images, colors) or None.
        shift: one for each image, or None.
        low: the least value.
        high: the greatest value.

    >>> adjust_image([[[1.0], [3.0]]], factor=[2.0], mean=[[2.0]], high=3.5).reshape(-1)
    array([0. , 3.5], dtype=float32)
    """
    arrays = {"x": x, "factor": factor, "mean": mean, "shift": shift}
    return run_op("adjust_image", arrays, low=low, high=high)["y"]


def clip_backward(dy: Any, y: Any, low: float, high: float) -> Array:
    """dy where low < y < high, else 0.

    >>> clip_backward([1.0, 1.0], y=[0.5, 1.0], low=0.0, high=1.0)
    array([1., 0.], dtype=float32)
    """
    return run_op("clip_backward", {"dy": dy, "y": y}, low=low, high=high)["dx"]
