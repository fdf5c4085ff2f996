"""Plain functions: moving elements about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.backend.dispatch import as_array, as_matrix, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ArgumentError, ShapeError

_AXES = ("d", "h", "w")


def swap_axes(x: Any, first: int, second: int) -> Array:
    """x with two axes exchanged, in new memory.

    >>> swap_axes([[1, 2, 3], [4, 5, 6]], 0, 1).tolist()
    [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    """
    x = as_array(x)
    axes = sorted(axis + x.ndim if axis < 0 else axis for axis in (first, second))
    if not 0 <= axes[0] < axes[1] < x.ndim:
        raise ArgumentError(
            f"op swap_axes takes two different axes of an array of shape {tuple(x.shape)}, got "
            f"{first} and {second}."
        )
    a, b = axes
    shape = tuple(x.shape)
    parts = (_size(shape[:a]), shape[a], _size(shape[a + 1 : b]), shape[b], _size(shape[b + 1 :]))
    y = run_op("swap_axes", {"x": x.reshape(parts)})["y"]
    return y.reshape(*shape[:a], shape[b], *shape[a + 1 : b], shape[a], *shape[b + 1 :])


def concatenate(a: Any, b: Any, c: Any = None, d: Any = None) -> Array:
    """Two to four arrays one behind the other along the last axis.

    >>> concatenate([[1, 2], [3, 4]], [[5], [6]]).tolist()
    [[1.0, 2.0, 5.0], [3.0, 4.0, 6.0]]
    """
    parts = {
        key: as_array(part)
        for key, part in zip("abcd", (a, b, c, d), strict=True)
        if part is not None
    }
    matrices = {key: as_matrix("concatenate", part) for key, part in parts.items()}
    total = sum(int(part.shape[1]) for part in matrices.values())
    y = run_op("concatenate", matrices, known={"total": total})["y"]
    return y.reshape(*parts["a"].shape[:-1], total)


def pad(x: Any, before: Sequence[int], after: Sequence[int]) -> Array:
    """x (outer, d, h, w) with so many zeros before and after each of the last three axes.

    >>> pad([[[[1, 2]]]], before=(0, 0, 1), after=(0, 1, 0)).tolist()
    [[[[0.0, 1.0, 2.0], [0.0, 0.0, 0.0]]]]
    """
    return _box("pad", x, before, after, 1)


def crop(x: Any, before: Sequence[int], after: Sequence[int]) -> Array:
    """x (outer, d, h, w) without so many elements at both ends of the last three axes.

    >>> crop([[[[1, 2, 3]]]], before=(0, 0, 1), after=(0, 0, 1)).tolist()
    [[[[2.0]]]]
    """
    return _box("crop", x, before, after, -1)


def _box(name: str, x: Any, before: Sequence[int], after: Sequence[int], sign: int) -> Array:
    x = _of_rank(name, x, 4)
    ends = [_integers(name, "before", before, 3, 0), _integers(name, "after", after, 3, 0)]
    sizes = [n + sign * (b + a) for n, b, a in zip(x.shape[1:], *ends, strict=True)]
    if min(sizes) < 0:
        raise ShapeError(f"op {name} leaves nothing of an array of shape {tuple(x.shape)}.")
    known = {f"y{axis}": size for axis, size in zip(_AXES, sizes, strict=True)}
    return run_op(name, {"x": x}, known=known, before=ends[0], after=ends[1])["y"]


def repeat(x: Any, times: Sequence[int]) -> Array:
    """x (outer, d, h, w, inner) with each element of the three middle axes made a block.

    >>> repeat([[[[[1], [2]]]]], times=(1, 1, 2)).reshape(-1)
    array([1., 1., 2., 2.], dtype=float32)
    """
    x, factors = _of_rank("repeat", x, 5), _integers("repeat", "times", times, 3, 1)
    known = {f"y{a}": n * t for a, n, t in zip(_AXES, x.shape[1:4], factors, strict=True)}
    return run_op("repeat", {"x": x}, known=known, times=factors)["y"]


def repeat_backward(dy: Any, times: Sequence[int]) -> Array:
    """The sum of dy (outer, d, h, w, inner) over each block.

    >>> repeat_backward([[[[[1], [2], [3], [4]]]]], times=(1, 1, 2)).reshape(-1)
    array([3., 7.], dtype=float32)
    """
    dy = _of_rank("repeat_backward", dy, 5)
    factors = _integers("repeat_backward", "times", times, 3, 1)
    known = _small("repeat_backward", dy.shape[1:4], factors, _AXES)
    return run_op("repeat_backward", {"dy": dy}, known=known, times=factors)["dx"]


def upsample_bilinear(x: Any, times: Sequence[int]) -> Array:
    """x (outer, height, width, inner) interpolated to times as many rows and columns.

    >>> upsample_bilinear([[[[0], [4]]]], times=(1, 2)).reshape(-1)
    array([0., 1., 3., 4.], dtype=float32)
    """
    x = _of_rank("upsample_bilinear", x, 4)
    factors = _integers("upsample_bilinear", "times", times, 2, 1)
    known = {f"y{a}": n * t for a, n, t in zip("hw", x.shape[1:3], factors, strict=True)}
    return run_op("upsample_bilinear", {"x": x}, known=known, times=factors)["y"]


def upsample_bilinear_backward(dy: Any, times: Sequence[int]) -> Array:
    """The gradient of `upsample_bilinear`.

    >>> upsample_bilinear_backward([[[[1], [1], [1], [1]]]], times=(1, 2)).reshape(-1)
    array([2., 2.], dtype=float32)
    """
    dy = _of_rank("upsample_bilinear_backward", dy, 4)
    factors = _integers("upsample_bilinear_backward", "times", times, 2, 1)
    known = _small("upsample_bilinear_backward", dy.shape[1:3], factors, ("h", "w"))
    return run_op("upsample_bilinear_backward", {"dy": dy}, known=known, times=factors)["dx"]


def _size(shape: Sequence[int]) -> int:
    size = 1
    for dim in shape:
        size *= dim
    return size


def _of_rank(name: str, x: Any, rank: int) -> Array:
    array = as_array(x)
    if array.ndim != rank:
        raise ShapeError(f"op {name} takes arrays of {rank} axes, got {tuple(array.shape)}.")
    return array


def _integers(name: str, key: str, given: Sequence[int], count: int, least: int) -> tuple[int, ...]:
    numbers = tuple(given) if isinstance(given, list | tuple) else ()
    if len(numbers) != count or not all(isinstance(n, int) and n >= least for n in numbers):
        raise ArgumentError(
            f"op {name} takes {count} integers of at least {least} for {key}, got {given!r}."
        )
    return numbers


def _small(
    name: str, large: Sequence[int], times: Sequence[int], axes: Sequence[str]
) -> dict[str, int]:
    if any(n % t for n, t in zip(large, times, strict=True)):
        raise ShapeError(f"op {name}: {tuple(large)} are no multiples of times={tuple(times)}.")
    return {f"x{axis}": n // t for axis, n, t in zip(axes, large, times, strict=True)}
