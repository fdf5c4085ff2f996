"""The input of a model, and the layer that stands for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.arguments import is_integer
from gpunet.engine.graph import DTYPES, Shape, Tensor
from gpunet.errors import ArgumentError, UsageError
from gpunet.layers.base import Layer
from gpunet.layers.sizes import sample_shape_of


class InputLayer(Layer):
    """An input of a model: it has no weights and runs nothing.

    `Input` makes one; it stands among the layers of a functional model, and may be the first of a
    `Sequential`.

    Args:
        shape: the shape of one sample, without the batch size: ``(784,)``. None stands for a size
            that differs from batch to batch, the length of sequences for example: ``(None, 8)``;
            the model makes a plan for each.
        batch_size: that of all batches. Stateful layers need it; without them batches of any size
            work all the same.
        dtype: "float32" for numbers (uint8 pixels are cast), or an integer dtype for indices; None
            for what the layers that read it take, Embedding integers and others numbers.
        sparse: gpunet has dense arrays alone: None or False.
        ragged: the same; for sequences of different lengths take None in the shape.
        batch_shape: the batch size (or None) and the shape, in the place of both.
        input_tensor: gpunet's symbolic tensors are always its own: None.
        optional: gpunet needs all inputs: False.
        name: a name; given by the model if None (input_layer, input_layer_1, ...).
        input_shape: the shape under the name that older code gives it.

    Attributes:
        output: the symbolic input.
        says_dtype: whether a dtype was given.

    Raises:
        ArgumentError: a dimension is neither a positive integer nor None; a shape and a
            batch_shape, or none of them; what gpunet does not have.

    Example:
        >>> from gpunet import Sequential, layers
        >>> Sequential([layers.InputLayer((4,)), layers.Dense(2)]).count_params()
        10
    """

    def __init__(
        self,
        shape: Sequence[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        input_tensor: None = None,
        optional: bool = False,
        name: str | None = None,
        input_shape: Sequence[int | None] | int | None = None,
    ) -> None:
        super().__init__(name=name)
        unknown = {"sparse": sparse, "ragged": ragged, "optional": optional, "tensor": input_tensor}
        for argument, value in unknown.items():
            if value is not None and value is not False:
                raise ArgumentError(
                    f"Input takes dense arrays of numbers, and each of them, got {argument}="
                    f"{value!r}: leave it out."
                )
        shape = input_shape if shape is None else shape
        both = isinstance(batch_shape, list | tuple) and len(batch_shape) > 0
        if (shape is not None) == both or (batch_shape is not None and not both):
            raise ArgumentError(
                "Input takes a shape, or in its place a batch_shape, got "
                f"shape={shape!r} and batch_shape={batch_shape!r}."
            )
        if batch_shape is not None:
            batch_size, *shape = batch_shape
        if batch_size is not None and (not is_integer(batch_size) or batch_size < 1):
            raise ArgumentError(
                f"Input takes a positive integer for batch_size, got {batch_size!r}."
            )
        self.says_dtype = dtype is not None
        dtype = "float32" if dtype is None else dtype
        if dtype not in DTYPES:
            raise ArgumentError(
                f"Input takes one of the dtypes {', '.join(DTYPES)}, got {dtype!r}."
            )
        self._tensor = Tensor((None, *sample_shape_of(shape)), dtype, self)
        self._tensor.batch_size = batch_size

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """An input is called on nothing.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"{self.label!r} is an input, which is not called; start from its .output, or write "
            "gpunet.Input(shape)."
        )

    @property
    def input(self) -> Tensor:
        """The symbolic input."""
        return self._tensor

    @property
    def output(self) -> Tensor:
        """The symbolic input."""
        return self._tensor

    @property
    def batch_shape(self) -> Shape:
        """The batch size or None, and the shape of one sample."""
        return (self._tensor.batch_size, *self._tensor.shape[1:])

    @property
    def dtype(self) -> str:
        """The dtype of the input."""
        return self._tensor.dtype

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        given = {"batch_shape": list(self.batch_shape), "dtype": self.dtype, "name": self.name}
        return {**given, "sparse": False, "ragged": False, "optional": False}


def Input(  # noqa: N802 (Keras' name)
    shape: Sequence[int | None] | int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
    tensor: None = None,
    optional: bool = False,
) -> Tensor:
    """The symbolic input of a model: a tensor on which layers can be called.

    Args:
        shape: the shape of one sample, without the batch size; see `InputLayer` for all arguments.
        batch_size: that of all batches, or None.
        dtype: "float32" for numbers, or an integer dtype for indices; None for what is read of it.
        sparse: None or False.
        ragged: None or False.
        batch_shape: the batch size (or None) and the shape, in the place of both.
        name: a name; given by the model if None (input_layer, input_layer_1, ...).
        tensor: None.
        optional: False.

    Raises:
        ArgumentError: as `InputLayer`.

    Example:
        >>> from gpunet import Input, Model, layers
        >>> x = Input((4,))
        >>> Model(x, layers.Dense(2)(x)).output_shape
        (None, 2)
    """
    return InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional, name
    ).output


def input_like(tensor: Tensor) -> Tensor:
    """A new input for values as those of a symbolic tensor."""
    says_dtype = not isinstance(tensor.layer, InputLayer) or tensor.layer.says_dtype
    return Input(tensor.shape[1:], tensor.batch_size, tensor.dtype if says_dtype else None)
