"""Arrays that users pass in: what is accepted, in which shape, and what is said otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.arguments import is_integer, is_number, shown
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.graph import DTYPES
from gpunet.errors import ArgumentError, DtypeError, ShapeError

_DTYPES = frozenset(map(np.dtype, DTYPES))


def as_numbers(value: Any, where: str) -> np.ndarray[Any, Any]:
    """A NumPy array of numbers or booleans.

    Args:
        value: anything that NumPy takes.
        where: what it is, for the message.

    Raises:
        DtypeError: text, objects, complex numbers, or an array on another device.
        ArgumentError: a masked array that has masked values.
    """
    if isinstance(value, np.ndarray) and type(value) is not np.ndarray and np.ma.is_masked(value):
        raise ArgumentError(
            f"{where} is a masked array, whose masked values would be used like the others; put "
            "numbers in their place with .filled(...)."
        )
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise DtypeError(
            f"{where} must be an array of numbers, got rows of different lengths: {error}."
        ) from None
    except TypeError:
        raise DtypeError(
            f"{where} is a {type(value).__module__}.{type(value).__name__} on another device than "
            "the model; copy it to the host first, or move the model with model.to(...)."
        ) from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise DtypeError(f"{where} must be an array of numbers, got {_what_else(value, array)}.")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _what_else(value: Any, array: np.ndarray[Any, Any]) -> str:
    """What was passed in place of numbers, and what to do about it."""
    if array.dtype.kind == "O" and array.ndim == 0:
        return f"an object of type {type(value).__name__}; make a NumPy array of it"
    text = f"dtype {array.dtype}"
    if array.dtype.kind in "OU":
        numbers = array.astype(object).flat  # Python's strings, which look like themselves
        wrong = [entry for entry in numbers if not is_number(entry)]
        text += f" with {shown(wrong[0])} in it" if wrong else "; write .astype('float32')"
    elif array.dtype.kind == "f":  # of more than 64 bits
        text += "; write .astype('float32')"
    return text


def as_batch(value: Any, where: str, backend: Backend) -> Array:
    """An array that the backend can gather from: its own array, or a host array of numbers.

    Raises:
        DtypeError: as `as_numbers`.
        ShapeError: a single number instead of an array of samples.
    """
    on_device = backend.owns(value) and not isinstance(value, np.ndarray)
    array = value if on_device else as_numbers(value, where)
    if array.ndim == 0:
        raise ShapeError(f"{where} must hold one entry a sample, got the single number {value!r}.")
    if array.dtype not in _DTYPES:
        array = array.astype("float64" if array.dtype.itemsize > 4 else "float32")
    return array


def check_lengths(arrays: Mapping[str, Array], model: str) -> int:
    """The number of samples that all arrays have.

    Raises:
        ShapeError: different numbers.
        ArgumentError: no samples.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listing = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ShapeError(f"{model} needs as many entries in each array, but {listing}.")
    count = next(iter(lengths.values()))
    if count == 0:
        raise ArgumentError(f"{model} got arrays without samples.")
    return count


def sparse_labels(
    y: Any, shape: tuple[int, ...], where: str, ignored: int | None = None
) -> np.ndarray[Any, Any]:
    """Class numbers as int32 of the given shape, checked against the number of classes.

    Args:
        y: integers, one for each row of predictions; a last axis of length 1 is dropped.
        shape: the shape of the predictions, (samples, ..., classes).
        where: for messages.
        ignored: a class number that is allowed beside them.

    Raises:
        ShapeError: another shape, one-hot rows for example.
        ArgumentError: labels that are no integers, negative or too large.
    """
    labels = as_numbers(y, where)
    classes = shape[-1]
    if labels.ndim == len(shape) and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.shape[1:] != shape[1:-1]:
        hint = ""
        if labels.shape[1:] == shape[1:]:
            hint = " For one-hot rows use the loss 'categorical_crossentropy'."
        raise ShapeError(
            f"{where} must be class numbers of shape (samples{_dims(shape[1:-1])}), "
            f"got {labels.shape}.{hint}"
        )
    if labels.dtype.kind == "f" and not np.array_equal(np.floor(labels), labels):
        raise ArgumentError(f"{where} must be class numbers, got fractions or NaN.")
    valid = labels if ignored is None else labels[labels != ignored]
    if valid.size and (valid.min() < 0 or valid.max() >= classes):
        raise ArgumentError(
            f"{where} must be class numbers from 0 to {classes - 1}, as the model has {classes} "
            f"outputs, got numbers from {valid.min()} to {valid.max()}."
        )
    return labels.astype(np.int32)


def dense_labels(y: Any, shape: tuple[int, ...], where: str, backend: Backend) -> Array:
    """Targets of the shape of the predictions.

    Raises:
        ShapeError: another shape, class numbers for example.
    """
    labels = as_batch(y, where, backend)
    if labels.ndim == len(shape) - 1 and shape[-1] == 1:
        labels = labels.reshape(*labels.shape, 1)
    if tuple(labels.shape[1:]) != tuple(shape[1:]):
        hint = ""
        if labels.ndim == len(shape) - 1 and shape[-1] > 1:
            hint = (
                " For class numbers use the loss 'sparse_categorical_crossentropy' or "
                "gpunet.utils.to_categorical."
            )
        raise ShapeError(
            f"{where} must have the shape of the outputs, (samples{_dims(shape[1:])}), "
            f"got {tuple(labels.shape)}.{hint}"
        )
    return labels


def row_weights(weights: Any, shape: tuple[int, ...], where: str) -> np.ndarray[Any, Any]:
    """One weight for each row of predictions of this shape, (samples, ...) without the last axis.

    Raises:
        ShapeError: neither one weight a sample nor one a row.
    """
    array = as_numbers(weights, where).astype(np.float32)
    if not np.isfinite(array).all():
        raise ArgumentError(f"{where} must be finite numbers, got NaN or infinity.")
    if array.ndim == len(shape) and array.shape[-1] == 1:
        array = array[..., 0]
    if array.shape[0:1] != shape[0:1] or array.shape[1:] not in ((), shape[1:-1]):
        raise ShapeError(
            f"{where} must have one weight a sample, shape ({shape[0]},), got {array.shape}."
        )
    array = array.reshape(array.shape + (1,) * (len(shape) - 1 - array.ndim))
    return np.ascontiguousarray(np.broadcast_to(array, shape[:-1]))


def class_weights(y: Any, class_weight: Mapping[int, float], classes: int) -> np.ndarray[Any, Any]:
    """The weight of each sample's class; classes that are not named weigh 1.

    Args:
        y: class numbers (samples,), or one-hot rows (samples, classes).
        class_weight: class number -> weight.
        classes: the number of classes.

    Raises:
        ArgumentError: a class that does not exist; labels that are no classes.
    """
    if not isinstance(class_weight, Mapping):
        raise ArgumentError(
            "class_weight must be a dict of class number -> weight, got "
            f"{type(class_weight).__name__}."
        )
    unknown = [key for key in class_weight if key not in range(max(classes, 2))]
    if unknown:
        raise ArgumentError(
            f"class_weight names the class {unknown[0]!r}, but the model has the classes 0 to "
            f"{max(classes, 2) - 1}."
        )
    labels = as_numbers(y, "y")
    if labels.ndim > 1 and labels.shape[-1] > 1:
        labels = labels.argmax(axis=-1)
    elif labels.ndim > 1:
        labels = labels[..., 0]
    if labels.ndim != 1:
        raise ArgumentError("class_weight works with one label a sample; use sample_weight=.")
    table = np.ones(max(classes, 2), np.float32)
    for key, weight in class_weight.items():
        if not is_number(weight):
            raise ArgumentError(f"class_weight must give class {key} a number, got {weight!r}.")
        table[int(key)] = weight
    if labels.size and not (labels.min() >= 0 and labels.max() < len(table)):
        raise ArgumentError(
            f"class_weight needs labels from 0 to {len(table) - 1}, got numbers from "
            f"{labels.min()} to {labels.max()}."
        )
    return np.asarray(table[labels.astype(np.int64)])


def validation_tuple(data: Any) -> tuple[Any, ...]:
    """(x, y) or (x, y, sample_weight).

    Raises:
        ArgumentError: something else.
    """
    if not isinstance(data, list | tuple) or len(data) not in (2, 3):
        raise ArgumentError("validation_data must be (x, y) or (x, y, sample_weight).")
    return tuple(data)


def at_least_0(name: str, value: Any) -> None:
    """Raise an ArgumentError if an argument is no integer from 0 on."""
    if not is_integer(value) or value < 0:
        raise ArgumentError(f"{name} must be an integer of at least 0, got {shown(value)}.")


def positive(name: str, value: int | None, default: int) -> int:
    """An argument that counts something, or its default.

    Raises:
        ArgumentError: not a positive integer.
    """
    if value is None:
        return default
    if not is_integer(value) or value < 1:
        raise ArgumentError(f"{name} must be a positive integer, got {shown(value)}.")
    return int(value)


def _dims(shape: Sequence[int]) -> str:
    return "".join(f", {dim}" for dim in shape)
