"""How an op is held against its reference: the rows of the table of cases, and one guarded call.

`Case`, `Gradient` and the makers of arrays are what the table in ``cases`` is written in.
`GuardedCall` runs one op of one backend on arrays that lie between bands of a pattern, so that a
write outside of an array, or a read of what an output held before, cannot go unseen.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.backend.contract import OPS
from gpunet.backend.dispatch import output_shape
from gpunet.backend.spec import dtype_of_kind

Array = np.ndarray[Any, Any]
Values = dict[str, Any]

SHAPES = ((1, 1), (33, 31), (5, 1023), (0, 31), (1023, 1), (37, 1025), (17, 64))
"""Matrices that are awkward on purpose, and one whose rows are whole packs of 16 bytes."""


@dataclass(frozen=True)
class Maker:
    """An array to be made: what a test's id says of it, and a function of a random generator."""

    label: str
    make: Callable[[np.random.Generator], np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Gradient:
    """An op that computes the gradient of sum(dy * output) of the op in whose row it stands.

    Attributes:
        op: the op that computes it.
        output: the output of the forward op that is differentiated.
        of: array that ``op`` writes -> the input of the forward op whose gradient it is.
        arrays: array that ``op`` reads -> "dy", or an array of the forward op.
        attributes: the keyword arguments of ``op`` from those of the forward op; None if this
            gradient does not apply to them.
    """

    op: str
    output: str
    of: Mapping[str, str]
    arrays: Mapping[str, str]
    attributes: Callable[[Values], Values | None] = lambda flags: flags


@dataclass(frozen=True)
class Case:
    """One row of the table: an op with its reference and the arguments it is tried on.

    Attributes:
        op: the op's name.
        reference: function of the arrays that are read (in float64) and of the keyword arguments,
            all by name; returns what is written, by name. Sums are without what they add to.
        calls: the arguments, as the module's docstring describes them.
        gradients: what to check against central differences of the reference.
        float32: the allowed error in float32, relative to 1 + |expected|.
        float64: the same in float64.
    """

    op: str
    reference: Callable[..., Values]
    calls: tuple[Values, ...]
    gradients: tuple[Gradient, ...] = ()
    float32: float = 1e-5
    float64: float = 1e-12

    def arrays(self, call: Values, dtype: str) -> dict[str, np.ndarray[Any, Any]]:
        """The arrays of one call by name, in which the contract's ``real`` is ``dtype``."""
        random = np.random.default_rng(zlib.crc32(f"{self.op} {label(call)}".encode()))
        arrays = {}
        for parameter in OPS[self.op].parameters:
            value = call.get(parameter.name)
            if value is None:
                continue
            made = (normal(*value) if isinstance(value, tuple) else value).make(random)
            if made.dtype == np.float64:  # int32 is of labels, which may also be numbers
                kind = next(kind for kind, _ in parameter.forms if kind != "int32")
                made = made.astype(dtype_of_kind(kind, dtype))
            arrays[parameter.name] = made
        without = tuple(name for name, value in call.items() if value is None)
        return with_outputs(self.op, arrays, self.attributes(call), dtype, without)

    def inputs(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """What the reference gets: what the op reads, and outputs whose shape it asks for."""
        wanted = {p.name for p in OPS[self.op].parameters if p.read}
        wanted.update(inspect.signature(self.reference).parameters)
        return {name: array for name, array in arrays.items() if name in wanted}

    def attributes(self, call: Values) -> Values:
        """The keyword arguments of one call."""
        arrays = {parameter.name for parameter in OPS[self.op].parameters}
        return {name: value for name, value in call.items() if name not in arrays}


def label(call: Values) -> str:
    """A short name of a call for a test's id: shapes and keyword arguments."""
    words = []
    for name, value in call.items():
        if isinstance(value, tuple):
            words.append("x".join(map(str, value)))
        elif isinstance(value, Maker):
            words.append(value.label)
        else:
            words.append(f"no_{name}" if value is None else f"{name}={value}")
    return "-".join(words)


# --------------------------------------------------------------------------------- makers


def normal(*shape: int) -> Maker:
    """Normal random numbers."""
    return Maker("x".join(map(str, shape)), lambda random: random.standard_normal(shape))


def uniform(*shape: int) -> Maker:
    """Numbers in (0.05, 0.95): probabilities, weights, squares."""
    return Maker("u" + "x".join(map(str, shape)), lambda random: random.uniform(0.05, 0.95, shape))


def integers(*shape: int, high: int, low: int = 0, dtype: str = "int32") -> Maker:
    """Integers in [low, high), of any number type."""
    text = f"{dtype}_{'x'.join(map(str, shape))}"
    return Maker(text, lambda random: random.integers(low, high, shape).astype(dtype))


def given(values: Any, dtype: str = "float64", label: str = "given") -> Maker:
    """These values."""
    return Maker(label, lambda random: np.array(values, dtype))


def segments(*rows: tuple[int, int, float, int]) -> Maker:
    """A segment table with rows of (offset, size, learning_rate_factor, trainable)."""
    return segment_table(*((offset, size, 0.0, factor, on, 0) for offset, size, factor, on in rows))


def segment_table(*rows: tuple[int, int, float, float, int, int]) -> Maker:
    """A segment table with rows of all `gpunet.backend.spec.SEGMENT_COLUMNS`."""
    return given(rows, label=f"{len(rows)}segments")


def classes(rows: int, columns: int) -> Maker:
    """Labels as class numbers."""
    return integers(rows, high=columns)


def shares(rows: int, columns: int) -> Maker:
    """Labels as probabilities: positive numbers whose rows add up to 1."""

    def make(random: np.random.Generator) -> np.ndarray[Any, Any]:
        values = random.uniform(0.05, 1.0, (rows, columns))
        return np.asarray(values / values.sum(axis=1, keepdims=True))

    return Maker(f"p{rows}x{columns}", make)


def with_outputs(
    name: str,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    attributes: Values,
    dtype: str,
    without: tuple[str, ...] = (),
) -> dict[str, np.ndarray[Any, Any]]:
    """These arrays of an op, and zeros for the outputs that are not among them."""
    op = OPS[name]
    complete = dict(arrays)
    for parameter in op.parameters:
        if parameter.role in ("out", "sum") and parameter.name not in (*arrays, *without):
            kind = parameter.forms[0][0]
            shape = output_shape(op, parameter, arrays, attributes)
            complete[parameter.name] = np.zeros(shape, dtype_of_kind(kind, dtype))
    if op.scratch is not None:
        ordered = [complete.get(parameter.name) for parameter in op.parameters]
        op.check(ordered, attributes)
        shape = op.scratch_shape(ordered, attributes)
        complete["scratch"] = np.zeros(shape, dtype_of_kind("full", dtype))
    return complete


# --------------------------------------------------------------------------- guarded calls

GUARD = 64
"""Bytes of 0xFF before and after each array: NaN in every float type, -1 in every integer type."""


class GuardedArray:
    """An array of a backend between two guard bands, holding values or nothing but the pattern."""

    def __init__(self, backend: Backend, like: np.ndarray[Any, Any], *, shift: int) -> None:
        start = GUARD + shift * like.itemsize
        self._before = np.full(start + like.nbytes + GUARD, 0xFF, np.uint8)
        self._inside = slice(start, start + like.nbytes)
        self._backend, self._flat = backend, backend.from_numpy(self._before.copy())
        self.array = backend.view(self._flat, start, like.shape, like.dtype)

    def fill(self, values: np.ndarray[Any, Any]) -> None:
        """Write these values."""
        self._before[self._inside] = np.frombuffer(values.tobytes(), np.uint8)
        self._backend.write(self.array, values)

    def values(self) -> np.ndarray[Any, Any]:
        """A copy of what the array holds now."""
        return self._backend.to_numpy(self.array)

    def changed(self, *, inside: bool) -> bool:
        """Whether any byte of the guard bands (or, if inside, of all) is not what it was."""
        now = self._backend.to_numpy(self._flat)
        if not inside:
            now[self._inside] = self._before[self._inside]
        return not np.array_equal(now, self._before)


def guarded_call(
    backend: Backend,
    name: str,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    attributes: Values,
    *,
    same: tuple[str, str] | None = None,
    shift: int = 0,
    bound: bool = False,
) -> Values:
    """Run one op on guarded arrays and return what it wrote, by name.

    Args:
        backend: where to run.
        name: the op.
        arrays: its arrays by name; of those that it only writes the shapes and dtypes count.
        attributes: its keyword arguments.
        same: an output and an input that are to be one array.
        shift: by how many elements the arrays miss the best alignment.
        bound: whether to bind the op to the arrays before they hold anything, as a plan does.

    Raises:
        AssertionError: the op wrote outside of an array, or into one that it only reads.
    """
    op = OPS[name]
    guarded: dict[str, GuardedArray] = {}
    for parameter in op.parameters:
        if parameter.name in arrays:
            guarded[parameter.name] = GuardedArray(backend, arrays[parameter.name], shift=shift)
    if same:
        guarded[same[0]] = guarded[same[1]]
    items = [guarded.get(parameter.name) for parameter in op.parameters]
    ordered = [None if item is None else item.array for item in items]
    op.check(ordered, attributes)
    call = backend.bind(name, *ordered, **attributes) if bound else None
    for parameter in op.parameters:
        is_read = parameter.read or bool(attributes.get("accumulate"))
        if is_read and parameter.name in guarded:
            guarded[parameter.name].fill(arrays[parameter.name])
    if call is None:
        backend.run(name, *ordered, **attributes)
    else:
        call()
    backend.synchronize()
    written = [p.name for p in op.parameters if p.written and p.name in guarded]
    for key, item in guarded.items():
        may_write = key == "scratch" or any(item is guarded[other] for other in written)
        if item.changed(inside=not may_write):
            where = "outside of" if may_write else "into or around its input"
            raise AssertionError(f"op {name} on {backend.name} writes {where} {key!r}.")
    return {key: guarded[key].values() for key in written}
