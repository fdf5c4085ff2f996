"""Layers with several inputs, merged element by element; sizes of 1 fit any size, as in Keras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.engine.graph import Shape, Tensor
from gpunet.engine.moves import Expansion
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer


class Merge(Layer):
    """Base class: inputs of one shape, up to sizes of 1 and missing axes behind the batch.

    A subclass writes `merge` and `merge_backward` for inputs that have all been brought to the
    shape of the output.

    Raises:
        ArgumentError: fewer than two inputs.
        ShapeError: inputs whose shapes do not fit each other.
    """

    inputs = None
    most_inputs: int | None = None
    supports_masking = True
    by_position = True

    def compute_output_shape(self, input_shape: tuple[Shape, ...]) -> Shape:
        """The largest size along each axis."""
        count = len(input_shape)
        if count < 2 or count > (self.most_inputs or count):
            wanted = "two" if self.most_inputs == 2 else "two or more"
            raise ArgumentError(
                f"{type(self).__name__} {self.label!r} takes a list of {wanted} inputs, got "
                f"{count}."
            )
        rank = max(map(len, input_shape))
        sizes: list[int | None] = [None]
        for dims in zip(*(_full_rank(shape, rank)[1:] for shape in input_shape), strict=True):
            larger = {dim for dim in dims if dim != 1}
            if len(larger) > 1:
                shapes = ", ".join(str(shape) for shape in input_shape)
                raise ShapeError(
                    f"{type(self).__name__} {self.label!r} takes inputs of one shape, got "
                    f"{shapes}; only sizes of 1 fit any other."
                )
            sizes.append(larger.pop() if larger else 1)
        return tuple(sizes)

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The steps that are there in some input; without the mask of one of them none is masked.

        Raises:
            ShapeError: masks of different shapes.
        """
        return merged_mask(self, mask)

    def forward(self, op: Recorder, c: Context) -> None:
        """Bring the inputs to the shape of the output, and merge them."""
        c.expansions = [Expansion(x.shape, c.y.shape) for x in c.x]  # type: ignore[attr-defined]
        pairs = zip(c.expansions, c.x, strict=True)
        c.full = [expansion.forward(op, x) for expansion, x in pairs]  # type: ignore[attr-defined]
        self.merge(op, c, c.full)
        if None not in c.mask:
            record_merged_mask(op, c)

    def backward(self, op: Recorder, c: Context) -> None:
        """The gradients of the inputs, summed over where these were repeated."""
        expansions: list[Expansion] = c.expansions
        pairs = list(zip(expansions, c.dx, strict=True))
        full = [e.target(op, dx) for e, dx in pairs]
        self.merge_backward(op, c, c.full, full)
        for (expansion, dx), part in zip(pairs, full, strict=True):
            expansion.backward(op, dx, part)

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """Record the ops that write c.y."""
        raise NotImplementedError

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """Record the ops that write dxs."""
        raise NotImplementedError


def _full_rank(shape: Shape, rank: int) -> Shape:
    """A shape with sizes of 1 behind the batch, so that it has this rank."""
    return (shape[0], *(1,) * (rank - len(shape)), *shape[1:])


def _chain(op: Recorder, name: str, y: Buffer, xs: Sequence[Buffer]) -> list[Buffer]:
    """y = op(... op(op(x_0, x_1), x_2) ...); returns x_0 and what comes after each op."""
    parts = [xs[0]]
    for i, x in enumerate(xs[1:], start=2):
        target = y if i == len(xs) else op.scratch(y.shape)
        getattr(op, name)(target, parts[-1], x)
        parts.append(target)
    return parts


class Add(Merge):
    """y = x_0 + x_1 + ...

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((4,))
        >>> residual = Model(x, layers.Add()([x, layers.Dense(4)(x)]))
    """

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """y = x_0 + x_1 + ..."""
        _chain(op, "add", c.y, xs)

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """dx_i = dy: copies, which the plan leaves out where dy is not needed any more."""
        for dx in dxs:
            op.copy(dx, c.dy)


class Subtract(Merge):
    """y = x_0 - x_1, of two inputs."""

    most_inputs = 2

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """y = x_0 - x_1."""
        op.subtract(c.y, xs[0], xs[1])

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """dx_0 = dy, dx_1 = -dy."""
        op.copy(dxs[0], c.dy)
        op.scale_shift(dxs[1], c.dy, scale=-1.0, offset=0.0)


class Multiply(Merge):
    """y = x_0 x_1 ...

    Example:
        >>> from gpunet import Input, layers
        >>> image, gates = Input((8, 8, 3)), Input((1, 1, 3))
        >>> layers.Multiply()([image, gates]).shape
        (None, 8, 8, 3)
    """

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """y = x_0 x_1 ..."""
        c.parts = _chain(op, "multiply", c.y, xs)  # type: ignore[attr-defined]

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """dx_i = dy times the product of the others."""
        parts: list[Buffer] = c.parts
        dpart = c.dy
        for i in range(len(xs) - 1, 0, -1):
            op.multiply(dxs[i], dpart, parts[i - 1])
            target = dxs[0] if i == 1 else op.scratch(c.y.shape)
            op.multiply(target, dpart, xs[i])
            dpart = target


class Average(Merge):
    """y = (x_0 + x_1 + ...) / n, of n inputs."""

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """y = (x_0 + x_1 + ...) / n."""
        total = op.scratch(c.y.shape)
        _chain(op, "add", total, xs)
        op.scale_shift(c.y, total, scale=1.0 / len(xs), offset=0.0)

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """dx_i = dy / n."""
        for dx in dxs:
            op.scale_shift(dx, c.dy, scale=1.0 / len(xs), offset=0.0)


class Maximum(Merge):
    """y = the largest of the inputs; where two are equal each has half of the gradient."""

    largest = True

    def merge(self, op: Recorder, c: Context, xs: Sequence[Buffer]) -> None:
        """y = max(x_0, x_1, ...)."""
        name = "maximum" if self.largest else "minimum"
        c.parts = _chain(op, name, c.y, xs)  # type: ignore[attr-defined]

    def merge_backward(
        self, op: Recorder, c: Context, xs: Sequence[Buffer], dxs: Sequence[Buffer]
    ) -> None:
        """dy goes to the one that was taken."""
        parts: list[Buffer] = c.parts
        dpart = c.dy
        for i in range(len(xs) - 1, 0, -1):
            target = dxs[0] if i == 1 else op.scratch(c.y.shape)
            larger, smaller = (target, dxs[i]) if self.largest else (dxs[i], target)
            op.maximum_backward(larger, smaller, dpart, parts[i - 1], xs[i])
            dpart = target


class Minimum(Maximum):
    """y = the smallest of the inputs; where two are equal each has half of the gradient."""

    largest = False


def merged_mask(layer: Layer, masks: Sequence[Tensor | None]) -> Any:
    """The mask of what is merged of several inputs; see `Layer.compute_mask`.

    Raises:
        ShapeError: masks of different shapes.
    """
    given = [mask for mask in masks if mask is not None]
    if len(given) < len(masks):
        return None
    if len(set(given)) == 1:
        return given[0]
    if len({mask.shape for mask in given}) > 1:
        raise ShapeError(
            f"layer {layer.label!r} merges inputs whose masks have one shape, got "
            f"{', '.join(str(mask.shape) for mask in given)}."
        )
    return given[0].shape


def record_merged_mask(op: Recorder, c: Context) -> None:
    """c.new_mask = 1 where one of the masks is."""
    first, *others = c.mask
    for mask in others:
        c.new_mask = c.scratch(first.shape, "mask", "uint8")
        op.either_mask(c.new_mask, first, mask)
        first = c.new_mask


def add(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Add(**kwargs)(inputs)``."""
    return _call(Add(**kwargs), inputs)


def subtract(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Subtract(**kwargs)(inputs)``."""
    return _call(Subtract(**kwargs), inputs)


def multiply(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Multiply(**kwargs)(inputs)``."""
    return _call(Multiply(**kwargs), inputs)


def average(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Average(**kwargs)(inputs)``."""
    return _call(Average(**kwargs), inputs)


def maximum(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Maximum(**kwargs)(inputs)``."""
    return _call(Maximum(**kwargs), inputs)


def minimum(inputs: Sequence[Tensor], **kwargs: Any) -> Tensor:
    """``Minimum(**kwargs)(inputs)``."""
    return _call(Minimum(**kwargs), inputs)


def _call(layer: Layer, inputs: Sequence[Tensor]) -> Tensor:
    result: Tensor = layer(inputs)
    return result
