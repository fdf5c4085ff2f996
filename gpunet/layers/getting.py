"""A part of each sample by indices and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any, TypeAlias

from gpunet.arguments import is_integer, shown
from gpunet.engine.graph import Shape
from gpunet.engine.moves import cut, uncut
from gpunet.engine.recorder import Recorder
from gpunet.errors import ArgumentError, DtypeError, ShapeError
from gpunet.layers.base import Context, Layer

Part: TypeAlias = "int | slice | EllipsisType | None"


class GetItem(Layer):
    """y = x[key], what the symbolic tensor ``x[:, -1]`` or ``x[:, 1:, None]`` is made by.

    Args:
        key: an index, a slice, None for a new axis of size 1, or ``...``; or a tuple of them, as
            they stand in brackets. The first takes all samples: ``:`` or ``...``.
        **kwargs: name and so on; see `Layer`.

    Raises:
        ArgumentError: a key that is none, picks samples, or has a step other than 1.
        DtypeError: integers, when the model runs.
        ShapeError: an index that the inputs do not have, too many of them, nothing that is left,
            or more than three axes to be cut.

    Example:
        >>> from gpunet import Input
        >>> words = Input((10, 64))
        >>> words[:, -1].shape, words[:, 1:, :8].shape
        ((None, 64), (None, 9, 8))
    """

    supports_masking = True

    def __init__(self, key: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.key = tuple(_part(part) for part in (key if isinstance(key, list | tuple) else [key]))
        first = self.key[0] if self.key else None
        if first != slice(None) and first is not Ellipsis:
            raise ArgumentError(
                f"GetItem takes ':' first, as samples stay apart, got {_written(self.key)}; write "
                f"x[:, ...] for a part of each sample."
            )
        if sum(part is Ellipsis for part in self.key) > 1:
            raise ArgumentError(f"GetItem takes '...' once, got {_written(self.key)}.")

    def passes_through(self, training: bool) -> bool:
        """The memory stays as it is where there are new axes alone."""
        return all(part in (None, Ellipsis, slice(None)) for part in self.key)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """The sizes of slices, without axes that have an index, and with new ones."""
        sizes: list[int | None] = [None]
        ranges = iter(self._ranges(input_shape)[1:])
        for part in self._parts(len(input_shape))[1:]:
            start, stop = (0, 1) if part is None else next(ranges)
            if not isinstance(part, int):
                sizes.append(stop - start)
        return tuple(sizes)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask of the steps that are left; None behind an index of one step."""
        steps = self._parts(len(inputs.shape))[1]
        if mask is None or not isinstance(steps, slice):
            return None
        return mask if steps == slice(None) else (None, self.shapes_out([inputs.shape], {})[0][1])

    def forward(self, op: Recorder, c: Context) -> None:
        """y = x[key]."""
        if c.x.dtype != c.y.dtype:
            raise DtypeError(
                f"GetItem {self.label!r} takes numbers, got {c.x.dtype}; cut the arrays that the "
                "model is given, or what a layer such as Embedding makes of them."
            )
        ranges = self._ranges(c.x.shape)
        cut(op, c.y, c.x, ranges)
        if c.mask is not None and self._parts(len(c.x.shape))[1] not in (slice(None), None):
            self._cut_mask(op, c, ranges)

    def backward(self, op: Recorder, c: Context) -> None:
        """dx[key] = dy, and 0 elsewhere."""
        uncut(op, c.dx, c.dy, self._ranges(c.x.shape))

    def _cut_mask(self, op: Recorder, c: Context, ranges: Sequence[tuple[int, int]]) -> None:
        """c.new_mask = mask[key], as numbers on the way."""
        start, stop = ranges[1]
        whole = c.scratch(c.mask.shape, "steps")
        part = c.scratch((c.mask.shape[0], stop - start), "part")
        op.scale_shift(whole, c.mask, scale=1.0, offset=0.0)
        cut(op, part, whole, ranges[:2])
        c.new_mask = c.scratch(part.shape, "mask", "uint8")
        op.row_mask(c.new_mask.reshape(-1), part.reshape(-1, 1))

    def _parts(self, rank: int) -> list[Part]:
        """One part for each axis of inputs of this rank, and None for new ones."""
        taken = sum(part is not None and part is not Ellipsis for part in self.key)
        if taken > rank:
            raise ShapeError(
                f"GetItem {self.label!r} takes {_written(self.key)} of inputs with {rank} axes, "
                "the batch's among them, which are too few."
            )
        key = self.key if Ellipsis in self.key else (*self.key, Ellipsis)
        at = key.index(Ellipsis)
        return [*key[:at], *[slice(None)] * (rank - taken), *key[at + 1 :]]

    def _ranges(self, shape: Sequence[int | None]) -> list[tuple[int, int]]:
        """From where to where each axis is taken."""
        parts = [part for part in self._parts(len(shape)) if isinstance(part, int | slice)]
        ranges = [(0, shape[0] or 0)]
        for size, part in zip(shape[1:], parts[1:], strict=True):
            size = size or 0
            if isinstance(part, slice):
                start, stop, _ = part.indices(size)
            else:
                start = part + size if part < 0 else part
                stop = start + 1
            if not 0 <= start < stop <= size:
                raise ShapeError(
                    f"GetItem {self.label!r} takes {_written(self.key)} of inputs {tuple(shape)}, "
                    "which leaves nothing; choose indices within the sizes."
                )
            ranges.append((start, stop))
        return ranges

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as Keras writes them."""
        return {**super().get_config(), "key": [_described(part) for part in self.key]}


def _part(part: Any) -> Part:
    """A part of a key, or what a config says of it.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(part, Mapping) and part.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(part, Mapping) and isinstance(part.get("config"), Mapping):
        part = slice(*(part["config"].get(name) for name in ("start", "stop", "step")))
    if part is None or part is Ellipsis:
        return part
    numbers = [part.start, part.stop, part.step] if isinstance(part, slice) else [part]
    if not all(n is None or is_integer(n) for n in numbers):
        raise ArgumentError(
            f"GetItem takes whole numbers, slices of them, None and '...', got {shown(part)}; "
            "layers.Embedding picks rows by numbers that are only known at run time."
        )
    if not isinstance(part, slice):
        return int(part)
    if part.step not in (None, 1):
        raise ArgumentError(
            f"GetItem takes slices with the step 1, got {part.step}; MaxPooling1D(1, strides=2) "
            "takes every second step, and recurrent layers have go_backwards."
        )
    start, stop = (None if n is None else int(n) for n in (part.start, part.stop))
    return slice(None if start == 0 else start, stop)


def _described(part: Part) -> Any:
    if isinstance(part, slice):
        config = {"start": part.start, "stop": part.stop, "step": None}
        return {"class_name": "__slice__", "config": config}
    return {"class_name": "__ellipsis__", "config": {}} if part is Ellipsis else part


def _written(key: Sequence[Part]) -> str:
    """As it stands in the source: [:, -1, 2:4]."""

    def text(part: Part) -> str:
        if isinstance(part, slice):
            return ":".join("" if n is None else str(n) for n in (part.start, part.stop))
        return "..." if part is Ellipsis else str(part)

    return f"[{', '.join(map(text, key))}]"
