"""Movements of elements that several layers record: permutations of axes, repetitions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement
from math import prod

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ShapeError


def permute(op: Recorder, y: Buffer, x: Buffer, order: Sequence[int]) -> None:
    """Record y = x with its axes in this order: exchanges of (groups of) axes, one if that does."""
    axes, buffer = list(range(len(x.shape))), x
    steps = _exchanges(axes, list(order))
    if not steps:
        op.copy(y, x.reshape(*y.shape))
    for number, (i, j, k, m) in enumerate(steps, start=1):
        sizes = [x.shape[axis] for axis in axes]
        parts = [prod(sizes[a:b]) for a, b in ((0, i), (i, j), (j, k), (k, m), (m, len(axes)))]
        outer, a, middle, b, inner = parts
        axes = axes[:i] + axes[k:m] + axes[j:k] + axes[i:j] + axes[m:]
        target = y if number == len(steps) else op.scratch(tuple(x.shape[axis] for axis in axes))
        op.swap_axes(target.reshape(outer, b, middle, a, inner), buffer.reshape(*parts))
        buffer = target


def _exchanges(axes: list[int], order: list[int]) -> list[tuple[int, int, int, int]]:
    """Exchanges of axes[i:j] with axes[k:m] that lead to this order: one if one does."""
    if axes == order:
        return []
    for cut in combinations_with_replacement(range(len(axes) + 1), 4):
        i, j, k, m = cut
        if axes[:i] + axes[k:m] + axes[j:k] + axes[i:j] + axes[m:] == order:
            return [cut]
    i = next(i for i, (a, b) in enumerate(zip(axes, order, strict=True)) if a != b)
    k = axes.index(order[i])
    moved = axes[:i] + axes[k : k + 1] + axes[i:k] + axes[k + 1 :]
    return [(i, k, k, k + 1), *_exchanges(moved, order)]


def move_to_end(op: Recorder, x: Buffer, axis: int) -> Buffer:
    """x with one axis behind all others; if it came from such a buffer, that one."""
    outer, size, inner = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    shape = (*x.shape[:axis], *x.shape[axis + 1 :], size)
    form = (outer, size, 1, inner, 1)
    if 1 in (size, inner):
        return x.reshape(*shape)
    last = next((r for r in reversed(op.records) if x.storage in r.writes()), None)
    if last is not None and last.op.name == "swap_axes":
        y, source = last.arrays
        if y is not None and source is not None and y.shape == form:
            return source.reshape(*shape)
    moved = op.scratch(shape, name=x.storage.name)
    op.swap_axes(moved.reshape(outer, inner, 1, size, 1), x.reshape(*form))
    return moved


def move_from_end(op: Recorder, y: Buffer, x: Buffer, axis: int) -> None:
    """Record y = x with its last axis at another place."""
    outer, size, inner = prod(y.shape[:axis]), y.shape[axis], prod(y.shape[axis + 1 :])
    if 1 in (size, inner):
        op.copy(y, x.reshape(*y.shape))
    else:
        op.swap_axes(y.reshape(outer, size, 1, inner, 1), x.reshape(outer, inner, 1, size, 1))


class Expansion:
    """How an array is repeated along axes where it has the size 1, or none, to have a shape.

    Args:
        small: its shape; axes that it lacks come behind its first.
        large: the shape that it is to have.

    Raises:
        ShapeError: more than two groups of neighbouring axes would have to be repeated.
    """

    def __init__(self, small: tuple[int, ...], large: tuple[int, ...]) -> None:
        self.is_needed = small != large
        self._large = large
        small = (small[0], *(1,) * (len(large) - len(small)), *small[1:])
        slots = [1] * 5  # kept, repeated, kept, repeated, kept
        slot = 0
        for before, after in zip(small, large, strict=True):
            if after == 1:
                continue
            slot += (before != after) != slot % 2
            if slot > 4:
                raise ShapeError(
                    f"inputs of shape {small} are repeated along too many axes to have the shape "
                    f"{large}; put them into order with layers.Permute first."
                )
            slots[slot] *= after
        self._times = (slots[1], 1, slots[3])
        self._large_form = tuple(slots)
        self._small_form = (slots[0], 1, slots[2], 1, slots[4])

    def forward(self, op: Recorder, x: Buffer) -> Buffer:
        """Record the repetition; returns the large buffer, or x if that has the shape already."""
        if not self.is_needed:
            return x
        y = op.scratch(self._large)
        op.repeat(y.reshape(*self._large_form), x.reshape(*self._small_form), times=self._times)
        return y

    def target(self, op: Recorder, dx: Buffer) -> Buffer:
        """Where the gradient of the large buffer goes: a buffer for `backward`, or dx itself."""
        return op.scratch(self._large) if self.is_needed else dx

    def backward(self, op: Recorder, dx: Buffer, dy: Buffer) -> None:
        """Record dx = the sum of dy over the repetitions."""
        if self.is_needed:
            op.repeat_backward(
                dx.reshape(*self._small_form), dy.reshape(*self._large_form), times=self._times
            )


def cut(op: Recorder, y: Buffer, x: Buffer, ranges: Sequence[tuple[int, int]]) -> None:
    """Record y = x from start to stop along each axis.

    Raises:
        ShapeError: more than three axes are cut.
    """
    large, small, ends = _boxes(x.shape, ranges)
    if any(ends["before"]) or any(ends["after"]):
        op.crop(y.reshape(*small), x.reshape(*large), **ends)
    else:
        op.copy(y, x.reshape(*y.shape))


def uncut(op: Recorder, dx: Buffer, dy: Buffer, ranges: Sequence[tuple[int, int]]) -> None:
    """Record dx = dy from start to stop along each axis, and 0 elsewhere."""
    large, small, ends = _boxes(dx.shape, ranges)
    if any(ends["before"]) or any(ends["after"]):
        op.pad(dx.reshape(*large), dy.reshape(*small), **ends)
    else:
        op.copy(dx, dy.reshape(*dx.shape))


def _boxes(
    shape: Sequence[int], ranges: Sequence[tuple[int, int]]
) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, tuple[int, ...]]]:
    """A shape before and after it is cut, as the ops see it, and what is cut off.

    An axis that stays whole belongs to the one before it, which is cut, or to the first.
    """
    outer, axes = 1, []  # of each axis that is cut: size, before, after
    for size, (start, stop) in zip(shape, ranges, strict=True):
        if (start, stop) != (0, size):
            axes.append((size, start, size - stop))
        elif axes:
            axes[-1] = (axes[-1][0] * size, axes[-1][1] * size, axes[-1][2] * size)
        else:
            outer *= size
    if len(axes) > 3:
        raise ShapeError(
            f"arrays of shape {tuple(shape)} are cut along more than three axes; cut twice."
        )
    sizes, before, after = zip(*[(1, 0, 0)] * (3 - len(axes)), *axes, strict=True)
    left = [size - b - a for size, b, a in zip(sizes, before, after, strict=True)]
    return (outer, *sizes), (outer, *left), {"before": before, "after": after}
