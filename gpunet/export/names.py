"""Readable names for the arrays of a plan: dense_kernel, dense_y, d_dense_kernel."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from gpunet.engine.plan import Plan
from gpunet.engine.recorder import Buffer, Record, Storage

if TYPE_CHECKING:
    from gpunet.models import Model


class Names:
    """The name of each array that a plan's ops work on, and its shape where it is made.

    Args:
        model: the model.
        plan: its plan.
        taken: names that must not be used.

    Attributes:
        arrays: each storage with its first buffer, in the order of the ops.
    """

    def __init__(self, model: Model, plan: Plan, taken: set[str]) -> None:
        self.arrays: dict[Storage, Buffer] = {}
        self._taken = set(taken)
        self._names: dict[Storage, str] = {}
        self._homes: dict[Storage, Storage] = {}
        self._kept = plan.kept
        # Ops may see a weight in another shape, a kernel (1, height, width, ...) for example.
        paths = model.graph.paths
        self._shapes = {
            f"{paths.get(p.layer, p.layer.label)}.{d}{p.name}": p.shape
            for p in model.parameters
            for d in ("", "d")
        }
        self._labels = {layer.label for layer in model.graph.layers}
        self._recorded = {b.storage.name for record in plan.recorded for _, b in record.items()}
        self._owners = self._find_owners([*plan.recorded, *plan.needed])
        launched = set(plan.records)
        for record in plan.needed:
            if record in launched:
                for parameter, buffer in record.items():
                    self._add(buffer, parameter.name)
            else:  # a copy that the plan left out, because both sides share their memory
                (_, y), (_, x) = record.items()
                self._homes[y.storage] = self._home(x)

    def text(self, buffer: Buffer | None) -> str:
        """What stands for a buffer in the script."""
        if buffer is None:
            return "None"
        name, made = self[buffer], self.arrays[self._home(buffer)]
        if buffer.shape == made.shape:
            return name
        return f"{name}.reshape({', '.join(map(str, buffer.shape))})"

    def __getitem__(self, buffer: Buffer) -> str:
        return self._names[self._home(buffer)]

    def call(self, buffer: Buffer, name: str) -> None:
        """Give an array another name."""
        self._taken.discard(self[buffer])
        self._names[buffer.storage] = self.new(name)

    def _home(self, buffer: Buffer) -> Storage:
        return self._homes.get(buffer.storage, buffer.storage)

    def _add(self, buffer: Buffer, parameter: str) -> None:
        storage = self._home(buffer)
        if storage not in self.arrays:
            shape = self._shapes.get(storage.name) if storage.resolve is not None else None
            self.arrays[storage] = buffer if shape is None else buffer.reshape(*shape)
            # An optimizer's slots have the op's names: velocity, momentums.
            raw = parameter if storage.name.startswith("slot_") else storage.name
            self._names[storage] = self.new(self._readable(raw, self._owners.get(storage, "")))

    def _find_owners(self, records: list[Record]) -> dict[Storage, str]:
        """The first layer of the graph that works on each array of the arena."""
        owners: dict[Storage, str] = {}
        for record in records:
            if record.layer in self._labels:
                for _, buffer in record.items():
                    if buffer.storage.resolve is None and buffer.storage not in self._kept:
                        owners.setdefault(buffer.storage, record.layer)
        return owners

    def _readable(self, raw: str, owner: str) -> str:
        """dense.y -> dense_y; dz -> d_dense_z; dense.dkernel -> d_dense_kernel."""
        head, dot, tail = raw.rpartition(".")
        if raw[0] == "d" and raw[1:] in self._recorded:
            return f"d_{self._readable(raw[1:], owner)}"
        if dot and tail[0] == "d" and f"{head}.{tail[1:]}" in self._recorded:
            return f"d_{self._readable(f'{head}.{tail[1:]}', owner)}"
        return raw if dot or not owner else f"{owner}.{raw}"

    def new(self, name: str) -> str:
        """This name as an identifier, or a similar one that nothing else has."""
        name = re.sub(r"\W", "_", name)
        name = f"_{name}" if name[0].isdigit() or keyword.iskeyword(name) else name
        number, new = 1, name
        while new in self._taken:
            number += 1
            new = f"{name}_{number}"
        self._taken.add(new)
        return new
