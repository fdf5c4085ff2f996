"""export_step(): the recorded training step as a NumPy script that one can read from top to bottom.

The step itself is written as one call an op, with the arrays' names; below it stands the source of
the ops, taken from `gpunet.backend.cpu`, so that there is one truth and the same bits.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.backend.cpu import FUNCTIONS
from gpunet.backend.spec import SEGMENT_COLUMNS
from gpunet.engine.plan import Plan
from gpunet.engine.recorder import Buffer, Record, Storage
from gpunet.engine.steps import TRAIN, StepPlan
from gpunet.errors import ArgumentError, UsageError
from gpunet.export.formulas import formula
from gpunet.export.names import Names
from gpunet.export.sources import WIDTH, Sources, wrap, wrap_call
from gpunet.optimizers import Optimizer
from gpunet.saving.weights import write_file

if TYPE_CHECKING:
    from gpunet.models import Model

LITERAL = 64
"""An array of this many elements or fewer is written out."""


def export_step(
    model: Model, path: str | os.PathLike[str], batch: Any = 32, overwrite: bool = True
) -> None:
    """Write one training step as a script; see `gpunet.models.Model.export_step`."""
    target = Path(path)
    if target.suffix != ".py":
        raise ArgumentError(f"export_step writes a Python file, step.py, got {str(path)!r}.")
    text = script(model, batch, target.name)
    write_file(target, overwrite, lambda file: file.write(text.encode()))


def script(model: Model, batch: Any, name: str = "step.py") -> str:
    """The text of the script.

    Args:
        model: a compiled model.
        batch: a batch size, or one batch (x, y), whose dtypes the script then takes.
        name: the name of the file, for its description.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2:
        model.prepare(batch[0])
        samples = model.samples(*batch)
        plan = StepPlan(model, TRAIN, samples.count, samples).plan
    elif isinstance(batch, int | np.integer) and batch > 0:
        plan = model.training_plan(int(batch))
    else:
        raise ArgumentError(f"export_step takes a batch size or a batch (x, y), got {batch!r}.")
    for record in plan.needed:
        if record.function is not None:
            raise UsageError(
                f"export_step cannot write layer {record.layer!r}, because it runs Python code of "
                f"its own ({record.op.name}); express it with ops of gpunet's contract."
            )
    reason = _not_constant(model.optimizer)
    if reason:
        raise UsageError(
            f"export_step writes a step that is always the same, but {reason}; export the model "
            "with a plain optimizer."
        )
    model.optimizer.send_hyper()
    return _Script(model, plan, name).text()


def _not_constant(optimizer: Optimizer) -> str:
    """What the host changes between the steps of this optimizer; empty if nothing."""
    if optimizer.gradient_accumulation_steps:
        return "gradient_accumulation_steps makes steps with and without an update"
    if optimizer.use_ema:
        return "use_ema starts from an average that the script does not have"
    before = optimizer.own_values(), optimizer.learning_rate
    later = optimizer.without_state()
    later.count_step()
    if (later.own_values(), later.learning_rate) != before:
        return f"the numbers of {type(optimizer).__name__} change from step to step"
    return ""


class _Script:
    """The parts of the script, one method each."""

    def __init__(self, model: Model, plan: Plan, name: str) -> None:
        self._model = model
        self._name = name
        self._plan = plan
        self._records = plan.records
        used = {r.attributes["activation"] for r in self._records if "activation" in r.attributes}
        self._sources = Sources(used)
        for record in self._records:
            self._sources.add(FUNCTIONS[record.op.name])
        self._names = Names(model, plan, {*self._sources.names, *_RESERVED})
        choice, *gathers = [record for record in self._records if record.direction == "feed"]
        self._data = [buffer for record in gathers if (buffer := record["x"]) is not None]
        self._order, self._state = choice["order"], choice["state"]
        self._rows = choice["indices"].size  # type: ignore[union-attr]
        one_input = len(model.graph.inputs) == 1
        for buffer in self._data:
            key = "x" if one_input else buffer.storage.name
            self._names.call(buffer, "y" if buffer is self._data[-1] else key)

    def text(self) -> str:
        """All parts in order."""
        imports = {"import sys", *self._sources.imports} - {_NUMPY}
        main = _MAIN.format(**self._words())
        parts = [
            *self._header(),
            *("", *sorted(imports, key=lambda line: (line.startswith("from"), line)), "", _NUMPY),
            *(_banner("Memory: every array is made once, here"), *self._memory()),
            *(_banner("One training step"), *self._step()),
            *(_banner("Weights, data and the loop"), *main.splitlines()),
            *(_banner("The ops: the code that gpunet runs on the CPU"), ""),
            "\n\n\n".join(self._sources.parts),
            *("\n", 'if __name__ == "__main__":', "    main(sys.argv[1:])", ""),
        ]
        return "\n".join(parts)

    # ------------------------------------------------------------------------- header

    def _header(self) -> list[str]:
        lines = ['"""A training step, written out by gpunet.', ""]
        lines += textwrap.wrap(
            f"This is what train_on_batch of {self._model.name} does with a batch of {self._rows}: "
            f"{len(self._records)} ops, each with its formula above it. It needs NumPy and nothing "
            "else, and the weights come out as gpunet's on the CPU, bit for bit.",
            WIDTH,
        )
        lines += ["", f"    {'layer':20}{'output':20}weights"]
        paths = self._model.graph.paths
        for node in self._model.graph.nodes:
            weights = ", ".join(f"{p.name} {_tuple(p.shape)}" for p in node.layer.parameters)
            shape = _tuple(node.output.batch_shape(self._rows))
            lines.append(f"    {paths[node.layer]:20}{shape:20}{weights}".rstrip())
        usage = _USAGE.format(script=self._name).splitlines()
        data = textwrap.wrap(
            f"data.npz holds {', '.join(map(self._shape, self._data))}; samples that fill no batch "
            "are left out. The optimizer starts anew.",
            WIDTH,
        )
        printable = [_printable(line).replace('"', "'") for line in lines[1:]]
        return [lines[0], *printable, *usage, "", *data, '"""']

    def _shape(self, buffer: Buffer) -> str:
        """A name with a shape; the script may be given more data than the plan was made for."""
        shape = _tuple(buffer.shape)
        if buffer == self._order:
            shape = "(samples,)"
        elif buffer in self._data:
            shape = f"(samples, {buffer.shape[1]})"
        return f"{self._names[buffer]} {shape}"

    # ------------------------------------------------------------------------- memory

    def _memory(self) -> list[str]:
        views, weights = self._views()
        done = {line.split(" = ")[0] for line in views}
        outside, inside = [], []
        for storage, buffer in self._names.arrays.items():
            name = self._names[buffer]
            if name in done or buffer in (self._order, *self._data):
                continue
            if storage.resolve is None:
                inside.append(f"{name} = {_zeros(buffer.shape, buffer.dtype)}")
            else:
                outside += self._outside(name, storage, buffer)
        table = [f"    {_literal(key)}: {name}," for key, name in weights.items()]
        totals = [
            f"{_literal(storage.name.removesuffix('.state'))}: {self._names[buffer]}"
            for storage, buffer in self._names.arrays.items()
            if storage.name.endswith(".state") and buffer.shape == (2,)
        ]
        return [
            "# Weights and gradients: one piece each, so that one call updates all.",
            *views,
            *("WEIGHTS = {", *table, "}", "", "# What the steps count, read and add up."),
            *outside,
            f"TOTALS = {{{', '.join(totals)}}}",
            *("", "# The batch, what the layers compute, and the gradients of it (d_).", *inside),
        ]

    def _views(self) -> tuple[list[str], dict[str, str]]:
        """The flat weights and gradients with a view for each weight; file key -> weight."""
        flats: dict[str, list[str]] = {"weights": [], "gradients": []}
        for storage, buffer in self._names.arrays.items():
            if storage.name in flats and storage.resolve is not None:
                flats[storage.name].append(self._names[buffer])
        named = {s.name: self._names[b] for s, b in self._names.arrays.items()}
        lines: list[str] = []
        keys: dict[str, str] = {}
        paths = self._model.graph.paths
        for span, weights, gradients in zip(self._model.spans, *flats.values(), strict=True):
            size, dtype = span.stop - span.start, span.block.dtype
            lines += [f"{name} = {_zeros((size,), dtype)}" for name in (weights, gradients)]
            for p in span.parameters:
                start = p.offset - span.start
                view = f"[{start}:{start + p.size}]"
                if len(p.shape) != 1:
                    view += f".reshape{_tuple(p.shape)}"
                label = paths.get(p.layer, p.layer.label)
                name = named.get(f"{label}.{p.name}") or self._names.new(f"{label}_{p.name}")
                keys[f"{label}/{p.name}"] = name
                lines.append(f"{name} = {weights}{view}")
                if f"{label}.d{p.name}" in named:
                    lines.append(f"{named[f'{label}.d{p.name}']} = {gradients}{view}")
        return lines, keys

    def _outside(self, name: str, storage: Storage, buffer: Buffer) -> list[str]:
        """What lives outside of the arena: counters, hyper-parameters, totals, slots."""
        zeros = f"{name} = {_zeros(buffer.shape, buffer.dtype)}"
        if storage.name == "state":
            meaning = "position in the order, seed, number of the pass"
            numbers = f"0, {random.seed()}, {self._model.passes}"
            return [f"{name} = np.array([{numbers}], np.uint64)  # {meaning}"]
        if storage.name == "random":
            return [f"{name} = {self._names.text(self._state)}[1:]"]
        if storage.resolve is None or storage.name == "step":
            return [zeros]
        optimizer = self._model.optimizer
        if storage.name in optimizer.slots:
            first = optimizer.slots[storage.name]
            if first:
                zeros = f"{name} = np.full({_tuple(buffer.shape)}, {first}, {_dtype(buffer.dtype)})"
            return [zeros]
        if storage.name.endswith(".state"):
            meaning = "the sum over the samples, and how many they are"
            return [f"{zeros}  # {meaning}" if buffer.shape == (2,) else zeros]
        hypers = ("learning_rate", "weight_decay", "clip", *optimizer.hypers)
        meanings = {"hyper": hypers, "segments": SEGMENT_COLUMNS}
        columns = meanings.get(storage.name)
        if columns is None and buffer.size > LITERAL:
            raise UsageError(
                f"export_step does not know where {storage.name}, an array of {buffer.size} "
                "elements, gets its values from."
            )
        comment = [] if columns is None else [f"# {name}: {', '.join(columns)}"]
        values = self._model.backend.to_numpy(storage.resolve()).reshape(buffer.shape).tolist()
        if len(buffer.shape) == 1:
            listed = str(values).replace("inf", "np.inf")
            return [*comment, f"{name} = np.array({listed}, {_dtype(buffer.dtype)})"]
        table = [f"        {row}," for row in values]
        end = ["    ],", f"    {_dtype(buffer.dtype)},", ")"]
        return [*comment, f"{name} = np.array(", "    [", *table, *end]

    # --------------------------------------------------------------------------- step

    def _step(self) -> list[str]:
        arguments = ", ".join(self._names.text(buffer) for buffer in (self._order, *self._data))
        lines = [
            *("", f"def training_step({arguments}):"),
            f'    """Train on the {self._rows} samples of the data that come next in the order."""',
        ]
        groups = groupby(self._records, key=lambda record: (record.layer, record.direction))
        for (layer, direction), records in groups:
            title = _printable(layer if layer == direction else f"{layer}: {direction}")
            lines += ["", f"    # {f' {title} ':-^{WIDTH - 6}}"]
            for record in records:
                lines += self._call(record)
        return lines

    def _call(self, record: Record) -> list[str]:
        """One op: its formula, the shapes, the call."""
        arrays = [self._names.text(buffer) for buffer in record.arrays]
        flags = [f"{name}={_literal(value)}" for name, value in record.given().items()]
        shapes = list(dict.fromkeys(self._shape(buffer) for _, buffer in record.items()))
        comments = [formula(record, self._names), ", ".join(shapes)]
        if record.direction == "update":
            comments = [" ".join(part.split()) for part in record.op.doc.split("\n\n")]
        if record.direction == "loss" and "scale" in record.attributes:
            comments.insert(
                1, "The gradient is times scale, 1 / rows: that of the mean of the loss."
            )
        prefix = "    # "
        return [
            *(line for text in comments for line in wrap(text, prefix, prefix + "    ")),
            *wrap_call(f"    {record.op.name}", ", ".join([*arrays, *flags]), ")"),
        ]

    # --------------------------------------------------------------------------- main

    def _words(self) -> dict[str, Any]:
        """What the text of main() depends on."""
        names = self._names
        data = [names[buffer] for buffer in self._data]
        loads = [f'{names[b]} = matrix(file["{names[b]}"], {_dtype(b.dtype)})' for b in self._data]
        demo = [f"{names[b]} = {self._random_numbers(b)}" for b in self._data]
        return {
            "order": names.text(self._order),
            "data": ", ".join(data),
            "first": data[0],
            "rows": self._rows,
            "loads": "\n        ".join(loads),
            "demo": "\n    ".join(demo),
        }

    def _random_numbers(self, buffer: Buffer) -> str:
        """An expression that makes data for the demonstration."""
        columns, dtype, count = buffer.shape[1], _dtype(buffer.dtype), 4 * self._rows
        heads = self._model.heads
        of_labels = ["labels"] if len(heads) == 1 else [f"{head.name}.labels" for head in heads]
        if buffer.storage.name not in of_labels:
            if np.dtype(buffer.dtype).kind != "f":
                return f"rng.integers(0, 2, ({count}, {columns})).astype({dtype})"
            return f"rng.standard_normal(({count}, {columns})).astype({dtype})"
        head = heads[of_labels.index(buffer.storage.name)]
        if head.loss.sparse:
            classes = self._model.graph.outputs[head.output].shape[-1]
            return f"rng.integers(0, {classes}, ({count}, {columns})).astype({dtype})"
        return f"np.eye({columns}, dtype={dtype})[rng.integers(0, {columns}, {count})]"


_NUMPY = "import numpy as np"

_RESERVED = (
    "WEIGHTS",
    "TOTALS",
    "training_step",
    "main",
    "demonstration",
    "load",
    "matrix",
    "np",
    "sys",
)

_USAGE = """
    python {script}                                 shows it on random numbers
    python {script} weights.npz data.npz            weights of model.save_weights; all batches once
    python {script} weights.npz data.npz after.npz  and saves the new weights"""

_MAIN = '''
def main(arguments):
    """Train on all batches of the data in order."""
    {data} = load(*arguments[:2]) if arguments else demonstration()
    {order} = np.arange(len({first}), dtype=np.int32)
    for _ in range(len({first}) // {rows}):
        for total in TOTALS.values():
            total[:] = 0.0
        training_step({order}, {data})
        print(*(f"{{name}} {{total / count:.4f}}" for name, (total, count) in TOTALS.items()))
    if len(arguments) > 2:
        np.savez(arguments[2], **WEIGHTS)


def load(weights_file, data_file):
    """Put the weights in their place and return the data, as matrices with one row a sample."""
    with np.load(weights_file) as file:
        for name, weight in WEIGHTS.items():
            weight[...] = file[name]
    with np.load(data_file) as file:
        {loads}
    return {data}


def matrix(array, dtype):
    """One row a sample."""
    return np.ascontiguousarray(array.reshape(len(array), -1), dtype)


def demonstration():
    """Random weights, and random data that the steps learn by heart."""
    rng = np.random.default_rng(1)
    for weight in WEIGHTS.values():
        weight[...] = 0.1 * rng.standard_normal(weight.shape)
    {demo}
    return [np.concatenate([array] * 10) for array in ({data})]
'''


def _banner(title: str) -> str:
    return f"\n\n# {f' {title} ':=^{WIDTH - 2}}\n"


def _zeros(shape: Sequence[int], dtype: str) -> str:
    size = str(shape[0]) if len(shape) == 1 else _tuple(shape)
    return f"np.zeros({size}, {_dtype(dtype)})"


def _dtype(name: str) -> str:
    return "np.bool_" if name == "bool" else f"np.{name}"


def _tuple(shape: Sequence[int]) -> str:
    return str(tuple(int(dim) for dim in shape))


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _printable(text: str) -> str:
    """A name as it may stand in a comment, whatever its owner called it."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in text)
