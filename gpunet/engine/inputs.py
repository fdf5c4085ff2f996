"""The inputs of a model: what is accepted for them, in which shape, and what is said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.engine.data import as_batch, check_lengths
from gpunet.engine.graph import Tensor
from gpunet.engine.sequences import Sequences, as_sequences
from gpunet.errors import ArgumentError, DtypeError, ShapeError
from gpunet.structures import Form

_FLOAT32 = np.dtype("float32")


def model_inputs(
    tensors: Sequence[Tensor], form: Form, x: Any, backend: Backend, model: str
) -> list[Any]:
    """One array, or `Sequences`, for each input of a model, checked against its shape.

    Args:
        tensors: the model's symbolic inputs.
        form: how the model was given them.
        x: an array; if there are several, arrays in this form, a list, or a dict by input name.
        backend: the model's backend.
        model: the model's name, for messages.

    Raises:
        ArgumentError: a wrong number or names of arrays.
        ShapeError: samples of another shape, or different numbers of samples.
        DtypeError: something that is not numbers.
    """
    if len(tensors) == 1 and type(x) is np.ndarray and _is_plain(tensors[0], x):
        return [x]  # 3 us less than below, of the 18 that a tiny model takes
    if x is None:
        raise ArgumentError(f"{model} needs inputs x, got None.")
    names, x = form.names, form.flat(x, f"x of {model}")
    if isinstance(x, Mapping):
        values = named_values(x, names, model)
    elif len(tensors) > 1:
        if not isinstance(x, list | tuple) or len(x) != len(tensors):
            got = len(x) if isinstance(x, list | tuple) else type(x).__name__
            raise ArgumentError(f"{model} takes a list of {len(tensors)} arrays, got {got}.")
        values = list(x)
    else:
        rank = len(tensors[0].shape)
        is_list = isinstance(x, list | tuple) and len(x) == 1
        unpack = is_list and (isinstance(x, tuple) or np.ndim(x[0]) == rank)
        values = [x[0] if unpack else x]
    missing = [name for name, value in zip(names, values, strict=True) if value is None]
    if missing:
        raise ArgumentError(
            f"{model} has the inputs {', '.join(names)}, got none for {missing[0]}."
        )
    arrays = [
        _sample_array(tensor, value, backend, model)
        for tensor, value in zip(tensors, values, strict=True)
    ]
    if len(arrays) > 1 or not len(arrays[0]):
        check_lengths(dict(zip(names, arrays, strict=True)), model)
    return arrays


def named_values(given: Mapping[str, Any], names: Sequence[str], model: str) -> list[Any]:
    """The values of a dict by input name, in the order of the names.

    Raises:
        ArgumentError: other names.
    """
    if set(given) != set(names):
        listed = ", ".join(map(str, given)) or "none"
        raise ArgumentError(f"{model} has the inputs {', '.join(names)}, got {listed}.")
    return [given[name] for name in names]


def _is_plain(tensor: Tensor, x: np.ndarray[Any, Any]) -> bool:
    """Whether an array is what an input takes as it is."""
    is_float = x.dtype == _FLOAT32 and tensor.dtype == "float32"
    return is_float and x.ndim > 0 and x.shape[1:] == tensor.shape[1:] and x.shape[0] > 0


def _sample_array(tensor: Tensor, value: Any, backend: Backend, model: str) -> Any:
    where = f"input {tensor.name!r} of {model}"
    sequences = as_sequences(value, where) if tensor.shape[1:2] == (None,) else None
    array: Any = as_batch(value, where, backend) if sequences is None else sequences
    expected = tensor.shape[1:]
    if expected == (1,) and array.ndim == 1:
        array = array.reshape(-1, 1)  # Keras, too, takes a vector for samples of one number
    if not fits(array.shape[1:], expected):
        hint = ""
        if fits(array.shape, expected):
            hint = " For a single sample add a batch axis: x[None]."
        raise ShapeError(
            f"{where} expects samples of shape {expected}, that is an "
            f"array of shape (batch, {', '.join(map(str, expected))}), got {tuple(array.shape)}."
            f"{hint}"
        )
    if tensor.dtype.startswith("int") and np.dtype(array.dtype).kind not in "iu":
        raise DtypeError(
            f"{where} takes integers, got dtype {array.dtype}; write .astype('int32')."
        )
    if tensor.dtype == "bool" and isinstance(array, Sequences):
        raise DtypeError(f"{where} is a mask, which lists cannot have; pad it and the others.")
    if tensor.dtype == "bool" and array.dtype != np.bool_:
        array = array != 0
    return array


def fits(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Whether sizes are the expected ones; None is any size."""
    return len(shape) == len(expected) and all(
        b is None or a == b for a, b in zip(shape, expected, strict=True)
    )


def device_dtype(tensor: Tensor, dtype: str) -> str:
    """What an input is on the device: indices, a mask, or numbers of the model's dtype."""
    if tensor.dtype.startswith("int"):
        return "int32"
    return "uint8" if tensor.dtype == "bool" else dtype
