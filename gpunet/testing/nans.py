"""find_nan(): the op of a training step where the first NaN or infinity arises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.engine.recorder import Record
from gpunet.engine.replay import Replay, unchanged
from gpunet.models import Model

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class NonFinite:
    """Where the first NaN or infinity of a training step stands.

    Attributes:
        number: which op of the plan, counted from 0.
        layer: the layer that recorded it.
        op: the op.
        array: the name of the array in the contract.
        buffer: its name in the plan, "dense.kernel" for example.
        index: the first element that is not finite.
        value: that element.
        written: whether the op wrote it; if not, it was there before the step: in the data or in a
            weight.
        inputs: the smallest and the largest number of each array that the op read, by name.
    """

    number: int
    layer: str
    op: str
    array: str
    buffer: str
    index: tuple[int, ...]
    value: float
    written: bool
    inputs: dict[str, tuple[float, float]]

    def __str__(self) -> str:
        where = f"op {self.number} ({self.layer}: {self.op})"
        what = f"{self.array} = {self.buffer}{list(self.index)} is {self.value}"
        if not self.written:
            return f"{where} reads the first number that is not finite: {what} before the step."
        inputs = ", ".join(
            f"{name} from {low:.3g} to {high:.3g}" for name, (low, high) in self.inputs.items()
        )
        hint = "; look at the data set" if self.op == "gather" else f"; it read {inputs}"
        return f"{where} writes the first number that is not finite: {what}{hint}."


def find_nan(model: Model, x: Any, y: Any) -> NonFinite | None:
    """Run one training step op by op and find where the first NaN or infinity arises.

    The step runs on the model's backend; weights and counters are as before afterwards.

    Args:
        model: a compiled model.
        x: one batch.
        y: its targets.

    Returns:
        The first array that is not finite, though all that its op read was, or what was not finite
        from the start; print it. None if all numbers of the step are finite.

    Raises:
        UsageError: the model is not compiled.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential, layers
        >>> model = Sequential([layers.Dense(1, input_dim=1)])
        >>> model.compile(loss="mse")
        >>> model.set_weights([[[1e30]], [0]])
        >>> print(find_nan(model, np.ones((1, 1)), np.zeros((1, 1))).array)
        loss
    """
    model.ensure_built(x)
    with unchanged(model, "find_nan"):
        replay = Replay(model, x, y)
        for number, (record, call) in enumerate(zip(replay.records, replay.calls, strict=True)):
            read = _arrays(replay, record, written=False)
            found = _first(number, record, read, read, written=False)
            if found is None:
                with np.errstate(all="ignore"):
                    call()
                written = _arrays(replay, record, written=True)
                found = _first(number, record, written, read, written=True)
            if found is not None:
                return found
    return None


def _arrays(replay: Replay, record: Record, written: bool) -> dict[str, Values]:
    """Copies of the floating-point arrays that an op writes, or of those whose values it reads."""
    adds = record.attributes.get("accumulate", False)
    arrays = {}
    for parameter, buffer in record.items():
        reads = parameter.read or (parameter.role == "sum" and adds)
        from_data = record.op.name == "gather" and parameter.name == "x"
        if (parameter.written if written else reads) and not from_data:
            array = replay.backend.to_numpy(replay.array(buffer))
            # In hyper a clip that is not wanted is infinite.
            if array.dtype.kind == "f" and parameter.name != "hyper":
                arrays[parameter.name] = array
    return arrays


def _first(
    number: int,
    record: Record,
    arrays: dict[str, Values],
    read: dict[str, Values],
    written: bool,
) -> NonFinite | None:
    for name, values in arrays.items():
        finite = np.isfinite(values)
        if not finite.all():
            index = tuple(int(i) for i in np.unravel_index(finite.argmin(), finite.shape))
            ranges = {n: (float(a.min()), float(a.max())) for n, a in read.items() if a.size}
            buffer = record[name]
            label = "" if buffer is None else buffer.storage.name
            return NonFinite(
                number=number,
                layer=record.layer,
                op=record.op.name,
                array=name,
                buffer=label,
                index=index,
                value=float(values[index]),
                written=written,
                inputs=ranges,
            )
    return None
