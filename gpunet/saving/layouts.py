"""How the weights of a layer are laid out elsewhere: one table for PyTorch and one for ONNX.

gpunet's own layout is Keras': channels last, the filters of a kernel as its last axis.

=====================  ==============================  ==============================
layer                  gpunet and Keras                PyTorch and ONNX
=====================  ==============================  ==============================
Dense                  (features, units)               (units, features)
Conv                   (*window, channels, filters)    (filters, channels, *window)
ConvTranspose          (*window, filters, channels)    (channels, filters, *window)
DepthwiseConv          (*window, channels, m)          (channels * m, 1, *window)
LSTM's gates           i f c o                         i f g o; ONNX i o f c
GRU's gates            z r h (with reset_after)        r z n; ONNX z r h
=====================  ==============================  ==============================

No kernel is flipped: in all three frameworks a convolution is a correlation, and a transposed one
its gradient. A dense kernel of ONNX is that of Gemm without transB, (features, units).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]


class Row(NamedTuple):
    """One or more weights of a layer, and the arrays that say the same elsewhere.

    Attributes:
        ours: the weights' names.
        theirs: the arrays' names; before a dot stands that of a module within the module.
        there: gives their arrays from ours.
        back: gives our weights from their arrays; it also gets our weights' shapes.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    there: Callable[..., Sequence[Array]]
    back: Callable[..., Sequence[Array]]


def _one(ours: str, theirs: str, there: Callable[..., Array], back: Callable[..., Array]) -> Row:
    """A weight that is one array there."""
    return Row(
        (ours,),
        (theirs,),
        lambda array: [there(array)],
        lambda array, shapes: [back(array, *shapes)],
    )


def same(ours: str, theirs: str) -> Row:
    """A weight that is the same there, but for axes of size 1."""
    return _one(ours, theirs, lambda a: a, lambda a, shape: a)


def vector(ours: str, theirs: str) -> Row:
    """A weight (1, ..., channels) that is a vector there."""
    return _one(ours, theirs, lambda a: a.reshape(-1), lambda a, shape: a.reshape(shape))


def filters_first(ours: str, theirs: str) -> Row:
    """(*window, a, b) is (b, a, *window) there: dense layers and convolutions of both kinds."""

    def there(array: Array) -> Array:
        *window, first, second = range(array.ndim)
        return array.transpose(second, first, *window)

    def back(array: Array, shape: Shape) -> Array:
        second, first, *window = range(array.ndim)
        return array.transpose(*window, first, second)

    return _one(ours, theirs, there, back)


def each_channel(ours: str, theirs: str) -> Row:
    """(*window, channels, m) is (channels * m, 1, *window) there: as many groups as channels."""

    def there(array: Array) -> Array:
        *window, channels, multiplier = array.shape
        moved = np.moveaxis(array, (-2, -1), (0, 1))
        return moved.reshape(channels * multiplier, 1, *window)

    def back(array: Array, shape: Shape) -> Array:
        *window, channels, multiplier = shape
        return np.moveaxis(array.reshape(channels, multiplier, *window), (0, 1), (-2, -1))

    return _one(ours, theirs, there, back)


def reordered(array: Array, order: Sequence[int]) -> Array:
    """The gates, which are parts of the last axis, in another order."""
    gates = np.split(array, len(order), axis=-1)
    return np.concatenate([gates[gate] for gate in order], axis=-1)


def gates(ours: str, theirs: str, order: Sequence[int], directions: bool) -> Row:
    """(rows, gates * units) is (gates * units, rows) there, or behind an axis of directions.

    ``order`` says which of our gates stands at each place there.
    """

    def there(array: Array) -> Array:
        turned = reordered(array, order).T
        return turned[np.newaxis] if directions else turned

    def back(array: Array, shape: Shape) -> Array:
        turned = array.reshape(shape[1], shape[0]).T
        return reordered(turned, np.argsort(order).tolist())

    return _one(ours, theirs, there, back)


def biases(theirs: Sequence[str], order: Sequence[int]) -> Row:
    """One bias, or one of the inputs and one of the state, are always two there.

    They are two arrays, or, where ``theirs`` is one name, (1, 2 * gates * units).
    """

    def there(array: Array) -> list[Array]:
        two = np.stack([array, np.zeros_like(array)]) if array.ndim == 1 else array
        two = reordered(two, order)
        return [two[0], two[1]] if len(theirs) == 2 else [two.reshape(1, -1)]

    def back(*arguments: Any) -> list[Array]:
        *arrays, (shape,) = arguments
        two = np.concatenate([array.reshape(-1) for array in arrays]).reshape(2, -1)
        two = reordered(two, np.argsort(order).tolist())
        return [two.sum(axis=0) if len(shape) == 1 else two]

    return Row(("bias",), tuple(theirs), there, back)


_HEADS = ("query", "key", "value")


def _stacked_heads(*arrays: Array) -> list[Array]:
    """Kernels (features, heads, size) as (3 * heads * size, features); biases without features."""
    flat = [a.reshape(-1) if a.ndim == 2 else a.reshape(a.shape[0], -1).T for a in arrays]
    return [np.concatenate(flat)]


def _apart_heads(array: Array, shapes: Sequence[Shape]) -> list[Array]:
    parts = np.split(array, len(shapes))
    return [part.T.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _output_there(array: Array) -> Array:
    """(heads, size, features) as (features, heads * size)."""
    return array.reshape(-1, array.shape[-1]).T


ATTENTION = (
    Row(
        tuple(f"{head}_kernel" for head in _HEADS),
        ("in_proj_weight",),
        _stacked_heads,
        _apart_heads,
    ),
    Row(tuple(f"{head}_bias" for head in _HEADS), ("in_proj_bias",), _stacked_heads, _apart_heads),
    _one("output_kernel", "out_proj.weight", _output_there, lambda a, shape: a.T.reshape(shape)),
    same("output_bias", "out_proj.bias"),
)

Table = dict[str, tuple[Row, ...]]


def _by_rank(name: str, ranks: Sequence[int], rows: tuple[Row, ...]) -> Table:
    """The same rows for one, two and three dimensions."""
    return {name.replace("ND", f"{rank}D"): rows for rank in ranks}


def _separable(kernel: str, bias: str) -> tuple[Row, ...]:
    return (
        each_channel("depthwise_kernel", f"depthwise.{kernel}"),
        filters_first("pointwise_kernel", f"pointwise.{kernel}"),
        same("bias", f"pointwise.{bias}"),
    )


def _convolutions(kernel: str, bias: str) -> Table:
    plain = (filters_first("kernel", kernel), same("bias", bias))
    depthwise = (each_channel("kernel", kernel), same("bias", bias))
    return {
        **_by_rank("ConvND", (1, 2, 3), plain),
        **_by_rank("ConvNDTranspose", (1, 2, 3), plain),
        **_by_rank("DepthwiseConvND", (1, 2), depthwise),
        **_by_rank("SeparableConvND", (1, 2), _separable(kernel, bias)),
    }


def _norm(factor: str, offset: str) -> tuple[Row, ...]:
    return same("gamma", factor), same("beta", offset)


def _torch_gates(order: Sequence[int]) -> tuple[Row, ...]:
    return (
        gates("kernel", "weight_ih_l0", order, directions=False),
        gates("recurrent_kernel", "weight_hh_l0", order, directions=False),
        biases(("bias_ih_l0", "bias_hh_l0"), order),
    )


def _onnx_gates(order: Sequence[int]) -> tuple[Row, ...]:
    return (
        gates("kernel", "W", order, directions=True),
        gates("recurrent_kernel", "R", order, directions=True),
        biases(("B",), order),
    )


TORCH: Table = {
    "Dense": (filters_first("kernel", "weight"), same("bias", "bias")),
    **_convolutions("weight", "bias"),
    "Embedding": (same("embeddings", "weight"),),
    "BatchNormalization": (
        *_norm("weight", "bias"),
        same("moving_mean", "running_mean"),
        same("moving_variance", "running_var"),
    ),
    "LayerNormalization": _norm("weight", "bias"),
    "GroupNormalization": _norm("weight", "bias"),
    "RMSNormalization": (same("scale", "weight"),),
    "PReLU": (vector("alpha", "weight"),),
    "SimpleRNN": _torch_gates((0,)),
    "LSTM": _torch_gates((0, 1, 2, 3)),
    "GRU": _torch_gates((1, 0, 2)),
    "MultiHeadAttention": ATTENTION,
}
"""For each layer the arrays of PyTorch's module of the same kind, as its state_dict names them."""

ONNX: Table = {
    "Dense": (same("kernel", "B"), same("bias", "C")),
    **_convolutions("W", "B"),
    "Embedding": (same("embeddings", "data"),),
    "BatchNormalization": (
        *_norm("scale", "B"),
        same("moving_mean", "input_mean"),
        same("moving_variance", "input_var"),
    ),
    "LayerNormalization": _norm("Scale", "B"),
    "GroupNormalization": _norm("scale", "bias"),
    "PReLU": (vector("alpha", "slope"),),
    "SimpleRNN": _onnx_gates((0,)),
    "LSTM": _onnx_gates((0, 3, 1, 2)),
    "GRU": _onnx_gates((0, 1, 2)),
}
"""For each layer the inputs of ONNX' operator, as its specification names them."""
