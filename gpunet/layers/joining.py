"""Layers that join inputs along an axis, or multiply them along one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from typing import Any, NamedTuple

from gpunet.engine.graph import Shape, Tensor
from gpunet.engine.moves import move_from_end, move_to_end
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.merge import merged_mask, record_merged_mask

_AT_ONCE = 4  # arrays that the op concatenate takes
_SHORTEST = 1e-7  # vectors are divided by at least this: Keras' epsilon


class Concatenate(Layer):
    """The inputs one behind the other along an axis.

    Args:
        axis: the axis, not that of the batch.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: an axis that is none, or fewer than two inputs.
        ShapeError: inputs that differ along other axes.

    Example:
        >>> from gpunet import Input, layers
        >>> layers.Concatenate()([Input((5, 2)), Input((5, 3))]).shape
        (None, 5, 5)
    """

    inputs = None
    supports_masking = True

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, int) or isinstance(axis, bool) or axis == 0:
            raise ArgumentError(
                f"Concatenate takes an axis other than 0, that of the batch, got {axis!r}."
            )
        self.axis = axis
        self.by_position = axis == -1

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """The sum of the sizes along the axis."""
        name, shapes = f"Concatenate {self.label!r}", ", ".join(map(str, input_shape))
        if len(input_shape) < 2:
            raise ArgumentError(f"{name} takes a list of two or more inputs, got {shapes}.")
        first = input_shape[0]
        axis = self.axis + len(first) if self.axis < 0 else self.axis
        others = {(*shape[:axis], *shape[axis + 1 :]) for shape in input_shape}
        if not 0 < axis < len(first) or len(others) > 1 or len(set(map(len, input_shape))) > 1:
            raise ShapeError(
                f"{name} takes inputs that differ along axis {self.axis} alone, got {shapes}."
            )
        joined = sum(shape[axis] or 0 for shape in input_shape)
        return (*first[:axis], joined, *first[axis + 1 :])

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """Along the steps masks stand behind each other, too; along another axis they merge.

        An input without a mask counts as one whose steps are all there.
        """
        if all(own is None for own in mask):
            return None
        if not self._joins_steps(inputs[0].shape):
            return merged_mask(self, mask)
        steps = [tensor.shape[1] for tensor in inputs]
        return None, None if None in steps else sum(step or 0 for step in steps)

    def _joins_steps(self, shape: Sequence[int | None]) -> bool:
        return self.axis % len(shape) == 1 and len(shape) > 2

    def forward(self, op: Recorder, c: Context) -> None:
        """The inputs behind each other in each row, and their masks."""
        if any(c.mask) and self._joins_steps(c.y.shape):
            self._join_masks(op, c)
        elif None not in c.mask:
            record_merged_mask(op, c)
        rows = self._rows(c.y)
        join(op, c.y.reshape(rows, -1), [x.reshape(rows, -1) for x in c.x])

    def _join_masks(self, op: Recorder, c: Context) -> None:
        """c.new_mask = the masks behind each other, as numbers on the way."""
        parts, batch = [], c.y.shape[0]
        for x, mask in zip(c.x, c.mask, strict=True):
            part = c.scratch((batch, x.shape[1]), "steps")
            if mask is None:
                op.fill(part, value=1.0)
            else:
                op.scale_shift(part, mask, scale=1.0, offset=0.0)
            parts.append(part)
        joined = c.scratch(c.y.shape[:2], "joined")
        join(op, joined, parts)
        c.new_mask = c.scratch(joined.shape, "mask", "uint8")
        op.row_mask(c.new_mask.reshape(-1), joined.reshape(-1, 1))

    def backward(self, op: Recorder, c: Context) -> None:
        """dx_i = its part of dy."""
        rows = self._rows(c.dy)
        dy = c.dy.reshape(rows, 1, 1, -1)
        widths = [dx.size // max(rows, 1) for dx in c.dx]
        total = sum(widths)
        for dx, width, end in zip(c.dx, widths, accumulate(widths), strict=True):
            before, after = (0, 0, end - width), (0, 0, total - end)
            op.crop(dx.reshape(rows, 1, 1, width), dy, before=before, after=after)

    def _rows(self, buffer: Buffer) -> int:
        return prod(buffer.shape[: self.axis])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axis": self.axis}


class _Factor(NamedTuple):
    """What is multiplied of an input of `Dot`: (batch, rows, summed), or (batch, summed, rows).

    Attributes:
        matrices: these matrices.
        transposed: whether the summed axis is the first of them.
        own: whether they are the input's own memory.
        rows: the input's vectors before they were divided by their lengths.
        statistics: what is kept of that.
    """

    matrices: Buffer
    transposed: bool
    own: bool
    rows: Buffer | None = None
    statistics: tuple[Buffer, ...] = ()


def join(op: Recorder, y: Buffer, parts: Sequence[Buffer]) -> None:
    """Each row of y is those of the parts behind each other: four at a time, until one is left."""
    if len(parts) == 1:
        op.copy(y, parts[0])
    while len(parts) > 1:
        groups = [parts[i : i + _AT_ONCE] for i in range(0, len(parts), _AT_ONCE)]
        parts = [_join_group(op, y if len(groups) == 1 else None, group) for group in groups]


def _join_group(op: Recorder, y: Buffer | None, group: Sequence[Buffer]) -> Buffer:
    if len(group) == 1:
        return group[0]
    y = y or op.scratch((group[0].shape[0], sum(part.shape[1] for part in group)))
    op.concatenate(y, *group, *[None] * (_AT_ONCE - len(group)))
    return y


class Dot(Layer):
    """Sums of products along an axis of two inputs, sample by sample.

    y[b, i, j] = sum_k x_0[b, i, k] x_1[b, k, j], where k is the axis of each input that is summed
    over; two inputs (batch, features) give (batch, 1). With normalize each vector along that axis
    is divided by its length first, so that the products are cosines: x / max(|x|, 1e-7).

    Args:
        axes: that axis, or a pair of them: of the first and of the second input.
        normalize: whether to give cosines of angles.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: axes that are none, another number of inputs than two, or a normalize that
            is neither True nor False.
        ShapeError: sizes along the axes that differ, or an input without such an axis.

    Example:
        >>> from gpunet import Input, layers
        >>> queries, keys = Input((7, 16)), Input((9, 16))
        >>> layers.Dot(axes=2)([queries, keys]).shape
        (None, 7, 9)
    """

    inputs = 2

    def __init__(self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pair = [axes, axes] if isinstance(axes, int) else list(axes)
        is_int = all(isinstance(axis, int) and not isinstance(axis, bool) for axis in pair)
        if len(pair) != 2 or not is_int or 0 in pair:
            raise ArgumentError(
                f"Dot takes an axis or a pair of axes, other than 0, that of the batch, got "
                f"{axes!r}."
            )
        if not isinstance(normalize, bool):
            raise ArgumentError(f"Dot takes True or False for normalize, got {normalize!r}.")
        self.axes = axes if isinstance(axes, int) else pair
        self.normalize = normalize
        self._pair: list[int] = pair

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """(batch, the other axes of the first input, those of the second)."""
        kept: list[int | None] = []
        sizes = []
        for shape, axis in zip(input_shape, self._pair, strict=True):
            at = axis + len(shape) if axis < 0 else axis
            if not 0 < at < len(shape):
                raise ShapeError(
                    f"Dot {self.label!r} sums along axis {axis}, got an input {shape}, which has "
                    "no such axis behind that of the batch; choose other axes."
                )
            sizes.append(shape[at])
            kept += [*shape[1:at], *shape[at + 1 :]]
        if sizes[0] != sizes[1]:
            raise ShapeError(
                f"Dot {self.label!r} takes inputs of one size along the axes {self.axes}, got "
                f"{input_shape[0]} and {input_shape[1]}."
            )
        return (None, *(kept or [1]))

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x_0 x_1^T of each pair of matrices."""
        a, b = c.saved = [self._factor(op, *pair) for pair in zip(c.x, self._pair, strict=True)]
        y = self._output(c.y, a)
        op.batched_gemm(y, a.matrices, b.matrices, ta=a.transposed, tb=not b.transposed)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx_0 = dy x_1, dx_1 = dy^T x_0, transposed where x is."""
        a, b = c.saved
        dy = self._output(c.dy, a)
        da, db = (self._target(op, c.dx[i], factor) for i, factor in enumerate(c.saved))
        if a.transposed:
            op.batched_gemm(da, b.matrices, dy, ta=not b.transposed, tb=True)
        else:
            op.batched_gemm(da, dy, b.matrices, tb=b.transposed)
        if b.transposed:
            op.batched_gemm(db, a.matrices, dy, ta=not a.transposed)
        else:
            op.batched_gemm(db, dy, a.matrices, ta=True, tb=a.transposed)
        for dx, axis, factor, dfactor in zip(c.dx, self._pair, c.saved, (da, db), strict=True):
            self._back(op, dx, axis, factor, dfactor)

    def _factor(self, op: Recorder, x: Buffer, axis: int) -> _Factor:
        """An input as matrices whose rows, or columns if transposed, are multiplied."""
        axis %= len(x.shape)
        is_last = axis == len(x.shape) - 1
        if axis == 1 and not is_last and not self.normalize:
            return _Factor(x.reshape(x.shape[0], x.shape[1], -1), transposed=True, own=True)
        moved = x if is_last else move_to_end(op, x, axis)
        matrices = moved.reshape(x.shape[0], -1, x.shape[axis])
        if not self.normalize:
            return _Factor(matrices, transposed=False, own=is_last)
        unit, rows = op.scratch(matrices.shape, name="unit"), matrices.rows
        statistics = op.scratch(rows.shape[:1], name="mean"), op.scratch(rows.shape[:1], name="r")
        op.layer_norm(unit.rows, *statistics, rows, None, None, norm="unit", epsilon=_SHORTEST)
        return _Factor(unit, False, False, rows, statistics)

    def _target(self, op: Recorder, dx: Buffer, factor: _Factor) -> Buffer:
        """Where the gradient of a factor goes: straight into dx if nothing is left to do."""
        if factor.own:
            return dx.reshape(*factor.matrices.shape)
        return op.scratch(factor.matrices.shape, name="dfactor")

    def _back(self, op: Recorder, dx: Buffer, axis: int, factor: _Factor, dfactor: Buffer) -> None:
        """The gradient of an input from that of its factor."""
        if factor.own:
            return
        if factor.rows is not None:
            drows = op.scratch(factor.rows.shape, name="drows")
            arrays = (dfactor.rows, factor.rows, *factor.statistics, None)
            op.layer_norm_backward(drows, None, None, *arrays, norm="unit", epsilon=_SHORTEST)
            dfactor = drows
        move_from_end(op, dx, dfactor, axis % len(dx.shape))

    def _output(self, y: Buffer, a: _Factor) -> Buffer:
        batch, *sizes = a.matrices.shape
        return y.reshape(batch, sizes[1 if a.transposed else 0], -1)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "axes": self.axes, "normalize": self.normalize}


def concatenate(inputs: Sequence[Tensor], axis: int = -1, **kwargs: Any) -> Tensor:
    """``Concatenate(axis, **kwargs)(inputs)``."""
    result: Tensor = Concatenate(axis, **kwargs)(inputs)
    return result


def dot(inputs: Sequence[Tensor], axes: int | Sequence[int] = -1, **kwargs: Any) -> Tensor:
    """``Dot(axes, **kwargs)(inputs)``."""
    result: Tensor = Dot(axes, **kwargs)(inputs)
    return result
