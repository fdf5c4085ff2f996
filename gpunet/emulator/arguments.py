"""Packs a kernel's arguments as CuPy does, and checks what CuPy does not."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.emulator.array import ndarray
from gpunet.emulator.faults import KernelFault
from gpunet.emulator.module import SLOT, Parameter
from gpunet.emulator.pointers import MemoryPointer

# Pointers to these take arrays of any type: they are how kernels look at raw bytes.
_RAW_BYTES = ("void", "uint8")
# 16-bit floats may be held as bit patterns, since NumPy itself has no bfloat16.
_HELD_AS = {"float16": ("uint16",), "bfloat16": ("uint16",), "uint16": ("float16", "bfloat16")}


def pack(kernel: str, parameters: Sequence[Parameter], arguments: Sequence[Any]) -> bytes:
    """Return the arguments' bytes, each at a multiple of `module.SLOT` bytes.

    Args:
        kernel: The kernel's name, for messages.
        parameters: What it takes.
        arguments: What it is launched with.

    Raises:
        KernelFault: Number or types do not fit.
        TypeError: An argument is of a type that CuPy does not take either.
    """
    if len(arguments) != len(parameters):
        raise KernelFault(
            f"kernel {kernel!r} takes {len(parameters)} arguments, got {len(arguments)}."
        )
    packed = b""
    for number, (parameter, argument) in enumerate(zip(parameters, arguments, strict=True)):
        value = _pack_one(f"kernel {kernel!r}, argument {number}", parameter, argument)
        packed += value + bytes(-len(value) % SLOT)
    return packed


def _pack_one(where: str, parameter: Parameter, argument: Any) -> bytes:
    if isinstance(argument, ndarray):
        _check_array(where, parameter, argument)
        return _address(argument.data.ptr)
    if argument is None or isinstance(argument, MemoryPointer):
        if not parameter.is_pointer:
            raise KernelFault(f"{where}: got a pointer, the kernel takes a scalar {parameter}.")
        return _address(0 if argument is None else argument.ptr)
    scalar = _scalar(argument)
    if parameter.is_pointer:
        # np.uint64 and np.intp: the way to hand over an address (or null) to CuPy's kernels.
        if isinstance(argument, np.uint64 | np.int64):
            return bytes(scalar.tobytes())
        raise KernelFault(
            f"{where}: got the {type(argument).__name__} {argument!r}, the kernel takes an array "
            f"({parameter})."
        )
    _check_scalar(where, parameter, argument, scalar)
    return bytes(scalar.tobytes())


def _address(pointer: int) -> bytes:
    return pointer.to_bytes(8, sys.byteorder)


def _scalar(argument: Any) -> Any:
    """Return the NumPy scalar that CuPy packs an argument as.

    (cupy/cuda/function.pyx: _pointer; cupy/_core/_scalar.pyx: numpy_dtype_from_pyscalar, CScalar.)
    """
    if isinstance(argument, np.ndarray):
        if argument.size != 1:
            raise TypeError(
                f"You are trying to pass a numpy.ndarray of shape {argument.shape} as a kernel "
                "parameter. Only numpy.ndarrays of size one can be passed by value. If you meant "
                "to pass a pointer to __global__ memory, you need to pass a cupy.ndarray instead."
            )
        return argument.reshape(-1)[0]
    if isinstance(argument, np.generic) and not argument.dtype.hasobject:
        return argument
    if type(argument) is bool:
        return np.bool_(argument)
    if type(argument) is int:
        return np.uint64(argument) if argument >= 2**63 else np.int64(argument)
    if type(argument) is float:
        return np.float64(argument)
    if type(argument) is complex:
        return np.complex128(argument)
    raise TypeError(f"Unsupported type {type(argument)}")


def _check_array(where: str, parameter: Parameter, array: ndarray) -> None:
    name = array.dtype.name
    if not parameter.is_pointer:
        raise KernelFault(
            f"{where}: got an array of {name}, the kernel takes a scalar {parameter}."
        )
    fits = (
        name == parameter.dtype
        or parameter.dtype in _RAW_BYTES
        or parameter.dtype == ""  # the user's own struct
        or name in _HELD_AS.get(parameter.dtype, ())
    )
    if not fits:
        raise KernelFault(f"{where}: got an array of {name}, the kernel takes a {parameter}.")
    # Vector types are aligned to their size, apart from those of three elements.
    alignment = parameter.pointee_size
    if alignment in (2, 4, 8, 16) and array.data.ptr % alignment:
        raise KernelFault(
            f"{where}: the array's address {array.data.ptr:#x} is no multiple of {alignment} "
            f"bytes, as the kernel's {parameter} needs."
        )


def _check_scalar(where: str, parameter: Parameter, argument: Any, scalar: Any) -> None:
    if parameter.dtype == "":
        fits = scalar.dtype.itemsize == parameter.size
    elif parameter.dtype == "bfloat16":
        fits = scalar.dtype.name in ("bfloat16", "uint16")
    elif parameter.size != np.dtype(parameter.dtype).itemsize:  # float2 and its like, by value
        fits = scalar.dtype.itemsize == parameter.size and scalar.dtype.kind in "cV"
    else:
        wanted = np.dtype(parameter.dtype)
        kinds = "iu" if wanted.kind in "iu" else wanted.kind  # signedness does not matter
        fits = scalar.dtype.itemsize == parameter.size and scalar.dtype.kind in kinds
    if fits:
        return
    advice = f"pass np.{parameter.dtype}(...)" if parameter.dtype else "pass a scalar of that size"
    raise KernelFault(
        f"{where}: got the {type(argument).__name__} {argument!r}, which is packed as "
        f"{scalar.dtype.name}, the kernel takes {parameter}; {advice}."
    )
