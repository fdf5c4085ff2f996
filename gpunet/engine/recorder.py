"""The recorder: runs each layer's forward and backward once and writes down the ops.

`Recorder` is the ``op`` that a layer gets: ``op.gemm(c.y, c.x, c.kernel)`` checks the call against
the contract and appends a `Record`. Nothing is computed; buffers are handles. It also sees to
accumulation: the first write of a gradient overwrites, later ones add.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import Signature
from typing import Any

import numpy as np

from gpunet.backend.contract import OPS
from gpunet.backend.contract.fused_attention import LARGEST_SIZE
from gpunet.backend.spec import Array, Op, Parameter, dtype_of_kind
from gpunet.errors import ArgumentError, UsageError

LARGEST_HEAD = LARGEST_SIZE
"""The size of heads up to which attention is one op."""


class Storage:
    """Memory that a plan will need: a place in the arena, or an array that lives elsewhere.

    Attributes:
        name: for messages and listings.
        nbytes: its size in bytes.
        resolve: gives the array when the plan is bound; None for the arena's own storages.
        gradient: whether writes accumulate.
        reader: gives the numbers of a buffer in it; None where ops are recorded and not run.
    """

    def __init__(
        self,
        name: str,
        nbytes: int,
        resolve: Callable[[], Array] | None = None,
        gradient: bool = False,
    ) -> None:
        self.name = name
        self.nbytes = nbytes
        self.resolve = resolve
        self.gradient = gradient
        self.reader: Callable[[Buffer], np.ndarray[Any, Any]] | None = None

    def __repr__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Buffer:
    """A handle of memory with a shape and a dtype; several buffers may view one storage."""

    storage: Storage
    shape: tuple[int, ...]
    dtype: str

    def __hash__(self) -> int:
        return hash(self.storage)  # of all three it would take a microsecond

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    def reshape(self, *shape: int) -> Buffer:
        """The same memory under another shape; one entry may be -1."""
        if -1 in shape:
            known = int(np.prod([dim for dim in shape if dim != -1], dtype=np.int64))
            shape = tuple(self.size // max(known, 1) if dim == -1 else dim for dim in shape)
        return Buffer(self.storage, tuple(shape), self.dtype)

    @property
    def rows(self) -> Buffer:
        """The same memory as a matrix: all leading axes merged into rows."""
        columns = self.shape[-1] if self.shape else 1
        return Buffer(self.storage, (self.size // max(columns, 1), columns), self.dtype)

    def numpy(self) -> np.ndarray[Any, Any]:
        """A copy of the numbers, for ``print(c.x.numpy())`` within a layer's forward or backward.

        Raises:
            UsageError: the model was not compiled with run_eagerly=True, or nothing has been
                written there yet.
        """
        if self.storage.reader is None:
            raise UsageError(
                f"{self!r} has no numbers while the ops are recorded, before any of them runs; "
                "compile with run_eagerly=True and call fit, evaluate or predict to see them."
            )
        return self.storage.reader(self)

    def __repr__(self) -> str:
        return f"{self.storage.name}{list(self.shape)}"


@dataclass(eq=False)
class Record:
    """One op of a plan.

    Attributes:
        op: the contract's entry.
        arrays: buffers (or None) in the contract's order.
        attributes: the keyword arguments.
        layer: the name of the layer that recorded it, or "loss", "feed", "optimizer", or a metric.
        direction: "forward" or "backward"; outside of layers "loss", "feed", "regularizer",
            "accumulation" and "update", which is left out of a step that only adds up gradients.
        function: the Python function of an `op.python` record.
    """

    op: Op
    arrays: list[Buffer | None]
    attributes: dict[str, Any]
    layer: str
    direction: str
    function: Callable[..., None] | None = field(default=None)

    def given(self) -> dict[str, Any]:
        """The attributes that differ from their defaults."""
        defaults = self.op.signature.parameters
        return {n: v for n, v in self.attributes.items() if defaults[n].default != v}

    def items(self) -> list[tuple[Parameter, Buffer]]:
        """Each array that is there with what the contract says of it."""
        pairs = zip(self.op.parameters, self.arrays, strict=True)
        return [(parameter, buffer) for parameter, buffer in pairs if buffer is not None]

    def reads(self) -> list[Storage]:
        """The storages whose contents this op uses."""
        adds = self.attributes.get("accumulate", False)
        return [
            buffer.storage
            for parameter, buffer in self.items()
            if parameter.read or (parameter.role == "sum" and adds)
        ]

    def writes(self) -> list[Storage]:
        """The storages that this op changes."""
        return [buffer.storage for parameter, buffer in self.items() if parameter.written]

    def __getitem__(self, name: str) -> Buffer | None:
        """The buffer of one parameter by its name in the contract."""
        names = [parameter.name for parameter in self.op.parameters]
        return self.arrays[names.index(name)]

    def __repr__(self) -> str:
        arguments = [repr(buffer) for buffer in self.arrays]
        arguments += [f"{name}={value!r}" for name, value in self.given().items()]
        return f"{self.layer:12} {self.op.name}({', '.join(arguments)})"


class Recorder:
    """Writes down ops; hands out buffers.

    Args:
        dtype: the floating-point type that the plan computes in.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype
        self.records: list[Record] = []
        self.layer = ""
        self.direction = "forward"
        self._written: set[Storage] = set()
        self._gradients: dict[Storage, Storage] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Every op of the contract is a method: ``op.softmax(y, x)``."""
        if name not in OPS:
            raise AttributeError(f"the contract has no op {name!r}; it has {', '.join(OPS)}.")
        op = OPS[name]

        def record(*args: Any, **kwargs: Any) -> None:
            try:
                call = op.signature.bind(*args, **kwargs)
            except TypeError as error:
                raise ArgumentError(f"op {name}{op.signature}: {error}.") from None
            call.apply_defaults()
            arrays = [_as_matrix(p, call.arguments.pop(p.name)) for p in op.parameters]
            self.append(op, arrays, dict(call.arguments))

        return record

    def python(
        self, function: Callable[..., None], outs: Sequence[Buffer], ins: Sequence[Buffer]
    ) -> None:
        """Record a Python function that gets the real arrays: ``function(*outs, *ins)``.

        For work that has no kernel. It must fill its outs completely and keep its ins.
        """
        names = [f"out{i}" for i in range(len(outs))] + [f"in{i}" for i in range(len(ins))]
        forms = (("any", ("...",)),)
        parameters = tuple(
            Parameter(name, "out" if i < len(outs) else "in", False, forms)
            for i, name in enumerate(names)
        )
        # Not the bare name: a function called "copy" must not be taken for the contract's copy.
        name = f"python {getattr(function, '__name__', type(function).__name__)}"
        op = Op(name, "python", Signature(), parameters, (), {}, function.__doc__ or "")
        self._append_checked(op, [*outs, *ins], {}, function)

    def append(self, op: Op, arrays: Sequence[Buffer | None], attributes: dict[str, Any]) -> None:
        """Check one op against the contract and write it down."""
        op.check(arrays, attributes)
        if op.scratch is not None:
            shape = op.scratch_shape(arrays, attributes)
            arrays = [*arrays[:-1], self.scratch(shape, dtype_of_kind("full", self.dtype))]
        self._append_checked(op, arrays, attributes, None)

    def _append_checked(
        self,
        op: Op,
        arrays: Sequence[Buffer | None],
        attributes: dict[str, Any],
        function: Callable[..., None] | None,
    ) -> None:
        record = Record(op, list(arrays), attributes, self.layer, self.direction, function)
        repeated = self._accumulate(record)
        self._written.update(record.writes())
        self._take(record)
        for target, partial in repeated:
            self.append(OPS["add"], [target, target, partial], {})

    def _take(self, record: Record) -> None:
        """Do with a complete record what this recorder is for: write it down."""
        self.records.append(record)

    def _storage(
        self,
        name: str,
        nbytes: int,
        resolve: Callable[[], Array] | None = None,
        gradient: bool = False,
    ) -> Storage:
        return Storage(name, nbytes, resolve, gradient)

    def _accumulate(self, record: Record) -> list[tuple[Buffer, Buffer]]:
        """Turn writes of gradients that already hold a part into additions.

        An op with ``accumulate`` adds by itself if all its sums are there already; otherwise its
        output goes to a buffer of its own, to be added afterwards: (gradient, buffer) pairs.
        """
        if record.op.name == "add" and record.arrays[0] == record.arrays[1]:
            return []
        targets = [
            (i, parameter, buffer)
            for i, (parameter, buffer) in enumerate(
                zip(record.op.parameters, record.arrays, strict=True)
            )
            if buffer is not None and parameter.written and buffer.storage.gradient
        ]
        storages = [buffer.storage for _, _, buffer in targets]
        again = [
            target
            for place, target in enumerate(targets)  # an op may write one gradient twice
            if storages[place] in self._written or storages[place] in storages[:place]
        ]
        self._written.update(storages)
        sums = [t for t in targets if t[1].role == "sum"]
        is_sum = again == sums and len(set(storages)) == len(storages)
        if again and "accumulate" in record.attributes and is_sum:
            record.attributes["accumulate"] = True
            return []
        repeated = []
        for index, parameter, buffer in again:
            partial = self.scratch(buffer.shape, name=f"{buffer.storage.name}.{parameter.name}")
            record.arrays[index] = partial
            repeated.append((buffer, partial))
        return repeated

    def scratch(
        self, shape: tuple[int, ...], dtype: str | None = None, name: str = "scratch"
    ) -> Buffer:
        """A buffer in the arena, alive from its first write to its last read."""
        dtype = dtype or self.dtype
        size = int(np.prod(shape, dtype=np.int64))
        return Buffer(self._storage(name, size * np.dtype(dtype).itemsize), tuple(shape), dtype)

    def external(
        self, name: str, shape: tuple[int, ...], dtype: str, resolve: Callable[[], Array]
    ) -> Buffer:
        """A buffer that lives outside of the arena: weights, data, counters."""
        size = int(np.prod(shape, dtype=np.int64))
        storage = self._storage(name, size * np.dtype(dtype).itemsize, resolve)
        return Buffer(storage, tuple(shape), dtype)

    def gradient_of(self, buffer: Buffer) -> Buffer:
        """The gradient with respect to a buffer; views of one storage share one gradient."""
        storage = buffer.storage
        if storage not in self._gradients:
            size = storage.nbytes // np.dtype(buffer.dtype).itemsize
            nbytes = size * np.dtype(self.dtype).itemsize
            self._gradients[storage] = self._storage(f"d{storage.name}", nbytes, gradient=True)
        return Buffer(self._gradients[storage], buffer.shape, self.dtype)

    def is_written(self, buffer: Buffer) -> bool:
        """Whether some op has written this."""
        return buffer.storage in self._written


def _as_matrix(parameter: Parameter, buffer: Buffer | None) -> Buffer | None:
    """Merge the leading axes where the contract wants a matrix: an op works on rows."""
    wants_matrix = all(len(dims) == 2 for _, dims in parameter.forms)
    if buffer is not None and wants_matrix and len(buffer.shape) > 2:
        return buffer.rows
    return buffer
