"""The table of op cases, run on one backend: how each call is made, and how far off it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.contract import OPS
from gpunet.backend.spec import HALF, REAL
from gpunet.testing.op_checks import Array, Case, Values, guarded_call, label


@dataclass(frozen=True)
class Way:
    """One way to make a call of the table.

    Attributes:
        words: what is special about it, for a message; empty for the plain call.
        shift: by how many elements the arrays miss the best alignment.
        same: an output and an input that are one array.
        accumulate: whether sums are added to what their arrays held.
    """

    words: str = ""
    shift: int = 0
    same: tuple[str, str] | None = None
    accumulate: bool = False


@dataclass(frozen=True)
class Worst:
    """The element of a call's outputs that is furthest off.

    Attributes:
        error: its error in units of what is allowed, so that more than 1 is wrong; infinity where
            only one of the two numbers is NaN.
        array: the output's name.
        index: where in it.
        actual: the number that the backend wrote.
        expected: the reference's.
    """

    error: float = 0.0
    array: str = ""
    index: tuple[int, ...] = ()
    actual: float = 0.0
    expected: float = 0.0


def ways(case: Case, call: Values, dtype: str = "float32") -> Iterator[Way]:
    """The ways to make a call that its op allows; the plain one comes first."""
    op = OPS[case.op]
    yield Way()
    yield Way("at odd addresses", shift=1)
    arrays = case.arrays(call, dtype)
    for output, source in op.in_place:
        both = output in arrays and source in arrays
        if both and arrays[output].dtype == arrays[source].dtype:
            yield Way(f"with {output} in place of {source}", same=(output, source))
    if "accumulate" in op.signature.parameters:
        yield Way("with accumulate=True", accumulate=True)


def expected(case: Case, call: Values, arrays: Mapping[str, Array]) -> Values:
    """The reference's values for what is read of these arrays, in float64."""
    inputs = {
        key: array.astype(np.float64) if array.dtype.name in REAL else array
        for key, array in case.inputs(arrays).items()
    }
    return case.reference(**inputs, **case.attributes(call))


def worst_error(
    backend: Backend, case: Case, call: Values, way: Way, dtype: str = "float32"
) -> Worst:
    """Make a call and hold what it writes against the reference.

    Of a number of 16 bits half the distance to its neighbours is allowed besides: it must be the
    one nearest to what float32 gives. Nothing that computes in 16 bits can come nearer.

    Raises:
        AssertionError: the op wrote outside of an array, or into one that it only reads.
        Exception: whatever the backend raises.
    """
    arrays, attributes = case.arrays(call, dtype), case.attributes(call)
    wanted = expected(case, call, arrays)
    if way.accumulate:
        attributes["accumulate"] = True
        sums = [p.name for p in OPS[case.op].parameters if p.role == "sum" and p.name in arrays]
        for name in sums:
            arrays[name] = np.full_like(arrays[name], 0.5)
            wanted[name] = 0.5 + np.asarray(wanted[name])
    written = guarded_call(backend, case.op, arrays, attributes, same=way.same, shift=way.shift)
    tolerance = case.float64 if dtype == "float64" else case.float32
    found = [_worst(name, values, wanted[name], tolerance) for name, values in written.items()]
    return max(found, key=lambda worst: worst.error, default=Worst())


def _worst(name: str, actual: Array, wanted: Any, tolerance: float) -> Worst:
    wanted = np.broadcast_to(np.asarray(wanted, np.float64), actual.shape)
    if actual.size == 0:
        return Worst(array=name)
    allowed = tolerance * (1.0 + np.abs(wanted))
    if actual.dtype.name in HALF:
        allowed += half_step(wanted, actual.dtype.name)
        with np.errstate(over="ignore"):
            rounded = wanted.astype(actual.dtype).astype(np.float64)
        wanted = np.where(np.isinf(rounded), rounded, wanted)
    actual = actual.astype(np.float64)
    same = (actual == wanted) | (np.isnan(actual) & np.isnan(wanted))
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.abs(actual - wanted) / allowed
    errors = np.where(same, 0.0, np.where(np.isnan(errors), np.inf, errors))
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    return Worst(float(errors[index]), name, index, float(actual[index]), float(wanted[index]))


def half_step(values: Array, dtype: str) -> Array:
    """Half the distance between the numbers of a 16-bit type that lie next to these values."""
    digits, lowest = {"float16": (11, -13), "bfloat16": (8, -125)}[dtype]
    exponents = np.maximum(np.frexp(values)[1], lowest)  # below, the distance stays the same
    return np.asarray(np.ldexp(0.5, exponents - digits))


def describe(case: Case, call: Values, way: Way) -> str:
    """A call in a few words, for a message."""
    return " ".join(filter(None, (f"{case.op}({label(call)})", way.words)))
