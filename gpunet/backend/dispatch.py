"""One op on whatever arrays a caller has: their backend is found, the outputs are made, it runs.

``gpunet/ops.py`` is written with it. Models do not pass here: they check each op once, while
recording, and have their buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from gpunet.backend import backend_named, backend_of
from gpunet.backend.base import Backend
from gpunet.backend.contract import OPS
from gpunet.backend.spec import REAL, Array, Op, Parameter, dtype_of_kind
from gpunet.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def output_shape(
    op: Op,
    output: Parameter,
    arrays: Mapping[str, Array | None],
    attributes: Mapping[str, Any],
    known: Mapping[str, int] | None = None,
) -> tuple[int, ...]:
    """The shape of one of an op's outputs, which follows from the arrays that it reads.

    A dimension that neither they nor ``known`` tell is 0; `Op.check` then finds the array that does
    not fit.
    """
    sizes: dict[str, Any] = dict(known or {})
    for parameter in op.parameters:
        array = arrays.get(parameter.name)
        if array is None:
            continue
        shape = tuple(array.shape)
        if attributes.get(op.transpose.get(parameter.name, "")):
            shape = shape[:-2] + shape[:-3:-1]
        for _, dims in parameter.forms:
            if dims == ("...",):
                sizes.setdefault("...", shape)
            elif len(dims) == len(shape):
                for dim, size in zip(dims, shape, strict=True):
                    sizes.setdefault(dim, size)
    dims = output.forms[0][1]
    if dims == ("...",):
        return tuple(sizes.get("...", ()))
    return tuple(int(dim) if dim.isdigit() else sizes.get(dim, 0) for dim in dims)


def run_op(
    name: str,
    arrays: Mapping[str, Any],
    dtype: DTypeLike | None = None,
    known: Mapping[str, int] | None = None,
    **attributes: Any,
) -> dict[str, Array]:
    """Run an op into new arrays and return all its arrays by name.

    Args:
        name: the op.
        arrays: what it reads or updates, by the contract's names; None for what is left out.
        dtype: of outputs that may be of several types; by default that of the other arrays.
        known: sizes of dimensions that no array tells, by the contract's names.
        attributes: its keyword arguments.
    """
    op = OPS[name]
    given = {p.name: p for p in op.parameters if arrays.get(p.name) is not None}
    ready = {key: as_array(arrays[key]) for key in given}
    backend = _common_backend(op, ready)
    real = _real_dtype(given.values(), ready)
    for key, parameter in given.items():
        ready[key] = _as_parameter(parameter, backend, ready[key], real)
    for parameter in op.parameters:
        if parameter.role in ("out", "sum") and parameter.name not in ready:
            kind = parameter.forms[0][0]
            chosen = dtype if dtype and kind in ("real", "any") else dtype_of_kind(kind, real)
            shape = output_shape(op, parameter, ready, attributes, known)
            ready[parameter.name] = backend.empty(shape, chosen)
    ordered = [ready.get(parameter.name) for parameter in op.parameters]
    op.check(ordered, attributes)
    if op.scratch is not None:
        ordered[-1] = backend.empty(
            op.scratch_shape(ordered, attributes), dtype_of_kind("full", real)
        )
    backend.run(name, *ordered, **attributes)
    return ready


def empty_beside(array: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """A new array where another is."""
    return (backend_named("numpy") if isinstance(array, _Numbers) else backend_of(array)).empty(
        shape, dtype
    )


def dtype_of(array: Array) -> DTypeLike | None:
    """The dtype that a copy of this array should have; None if it is a list of numbers."""
    return None if isinstance(array, _Numbers) else array.dtype


def as_matrix(name: str, x: Array, rows: int = -1) -> Array:
    """An array of any rank as a matrix, whose rows are the first ``rows`` axes."""
    if x.ndim == 0:
        raise ShapeError(f"op {name} needs an array with at least one axis, got a single number.")
    return x.reshape(prod(x.shape[:rows]), prod(x.shape[rows:]))


def as_updated(name: str, key: str, array: Any) -> Array:
    """An array that an op updates where it is."""
    array = as_array(array)
    writeable = getattr(array.flags, "writeable", True)  # on a device every array is
    if isinstance(array, _Numbers) or not array.flags.c_contiguous or not writeable:
        raise ArgumentError(
            f"op {name} updates {key!r} where it is; it must be a C-contiguous, writeable array."
        )
    return array


class _Numbers(np.ndarray[Any, Any]):
    """An array made of a list or a number: it may take on any dtype and live on any device."""


def as_array(value: Any) -> Array:
    """A NumPy or device array of what a caller gave, without a copy if it is any kind of array."""
    if isinstance(value, np.ndarray):
        return value
    if not hasattr(value, "__dlpack__"):
        array = np.asarray(value)
        return array.view(_Numbers) if isinstance(value, (list, tuple, int, float)) else array
    try:
        backend_of(value)
    except ArgumentError:  # another library's
        on_cpu = value.__dlpack_device__()[0] == _DLPACK_CPU
        return np.from_dlpack(value) if on_cpu else _cupy().from_dlpack(value)
    return value


_DLPACK_CPU = 1


def _cupy() -> Any:
    """CuPy as its backend holds it; an error in one sentence where it cannot be used."""
    return cast(Any, backend_named("cupy")).cp


def _common_backend(op: Op, arrays: Mapping[str, Array]) -> Backend:
    """The one backend that these arrays live on; lists of numbers follow the others."""
    found = {key: backend_of(a) for key, a in arrays.items() if not isinstance(a, _Numbers)}
    names = sorted({backend.name for backend in found.values()})
    if len(names) > 1:
        where = ", ".join(f"{key} on {backend.name}" for key, backend in found.items())
        raise ArgumentError(f"op {op.name} needs all arrays on one device, got {where}.")
    return backend_named(names[0] if names else "numpy")


def _real_dtype(parameters: Iterable[Parameter], arrays: Mapping[str, Array]) -> str:
    """What the contract's ``real`` is in this call: the dtype of the first array that says so.

    Where none does, it is that of the first ``full`` one.
    """
    found: dict[str, str] = {}
    for parameter in parameters:
        array = arrays[parameter.name]
        if not isinstance(array, _Numbers) and str(array.dtype) in REAL:
            for kind, _ in parameter.forms:
                found.setdefault(kind, str(array.dtype))
    return found.get("real") or found.get("full") or "float32"


def _as_parameter(parameter: Parameter, backend: Backend, array: Array, real: str) -> Array:
    """An array as an op takes it: contiguous and, where nothing is lost, of the right dtype."""
    numbers = isinstance(array, _Numbers)
    if numbers:
        array = np.asarray(array)
    kinds = [kind for kind, dims in parameter.forms if len(dims) == array.ndim]
    kind = kinds[0] if kinds else parameter.forms[0][0]
    dtype = dtype_of_kind(kind, real)
    is_integer = np.dtype(array.dtype).kind in "iub"
    if numbers and (is_integer or dtype in REAL):
        array = array.astype(dtype)
    elif is_integer and parameter.name in ("labels", "indices") and array.dtype != dtype:
        array = _as_labels(array, dtype)
    if not array.flags.c_contiguous:
        array = array.copy(order="C")
    return backend.from_numpy(array) if numbers else array


def _as_labels(labels: Array, dtype: str) -> Array:
    """Integers in another dtype; what int32 cannot hold becomes -1, which no class has."""
    if dtype != "int32" or np.dtype(labels.dtype).itemsize < 4:
        return labels.astype(dtype)
    held = (labels >= 0) & (labels < 2**31)
    return labels.astype(dtype) * held - ~held  # np.where would need the array's own library
