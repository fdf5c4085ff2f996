"""compare(): one training step on two backends, op by op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.backend.base import Backend
from gpunet.engine.recorder import Record
from gpunet.engine.steps import TRAIN, StepPlan
from gpunet.errors import UsageError
from gpunet.models import Model

Values = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Difference:
    """How one array that an op writes differs between two backends.

    Attributes:
        number: which op of the plan, counted from 0.
        layer: the layer that recorded it.
        op: the op.
        array: the name of the array in the contract.
        index: the element that differs most.
        first: its value on the first backend.
        second: its value on the second.
        error: |first - second| / max(1, largest |first|); infinity where one of them is NaN.
    """

    number: int
    layer: str
    op: str
    array: str
    index: tuple[int, ...]
    first: float
    second: float
    error: float

    def __str__(self) -> str:
        return (
            f"op {self.number} ({self.layer}: {self.op}), {self.array}{list(self.index)}: "
            f"{self.first!r} against {self.second!r}, error {self.error:.1e}"
        )


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    Attributes:
        backends: the names of the two.
        differences: one for each array that each op wrote, in order.
        tolerance: the largest error that counts as equal.
    """

    backends: tuple[str, str]
    differences: tuple[Difference, ...]
    tolerance: float

    @property
    def first_difference(self) -> Difference | None:
        """The first array that differs by more than the tolerance, or None."""
        return next((d for d in self.differences if not d.error <= self.tolerance), None)

    @property
    def ok(self) -> bool:
        """Whether nothing differs by more than the tolerance."""
        return self.first_difference is None

    def __str__(self) -> str:
        first, worst = self.first_difference, max(d.error for d in self.differences)
        pair = " and ".join(self.backends)
        if first is None:
            count = len({d.number for d in self.differences})
            return f"{pair} agree in {count} ops; largest error {worst:.1e}."
        return f"{pair} differ first at {first}."


def compare(
    model: Model, first: str, second: str, x: Any, y: Any, tolerance: float = 1e-5
) -> Comparison:
    """Run one training step on two backends and compare what each op writes.

    Weights, slots and counters are as before afterwards. Both runs draw the same random numbers.

    Args:
        model: a compiled model.
        first: the backend to trust, "numpy".
        second: the backend to check, "emulator" or "cupy".
        x: one batch.
        y: its targets.
        tolerance: the largest error, relative to the largest element, that counts as equal.

    Returns:
        The comparison; print it, or look at ``ok`` and ``first_difference``.

    Raises:
        UsageError: the model is not compiled.
        BackendUnavailable: one of the backends cannot be used here.
    """
    if not model.is_compiled:
        raise UsageError("compare replays a training step: call model.compile first.")
    model.ensure_built(x)
    home, weights, optimizer, passes = (
        model.backend,
        model.get_weights(),
        model.optimizer,
        model.passes,
    )
    traces, names = [], []
    try:
        for backend in (first, second):
            model.optimizer = optimizer.without_state()
            model.to(backend)
            model.set_weights(weights)
            model.passes = passes
            traces.append(_trace(model, x, y))
            names.append(model.backend.name)
    finally:
        model.optimizer = optimizer
        model.to(home)
        model.set_weights(weights)
        model.passes = passes
    differences = [
        _difference(number, record, name, a, b)
        for number, ((record, ours), (_, theirs)) in enumerate(zip(*traces, strict=True))
        for (name, a), (_, b) in zip(ours, theirs, strict=True)
    ]
    return Comparison((names[0], names[1]), tuple(differences), tolerance)


def _trace(model: Model, x: Any, y: Any) -> list[tuple[Record, list[tuple[str, Values]]]]:
    """Each op of a training step with copies of what it wrote."""
    model.prepare(x)
    samples = model.samples(x, y)
    step_plan = StepPlan(model, TRAIN, samples.count, samples)
    step_plan.fill(samples)
    plan, backend = step_plan.plan, model.backend
    arena = backend.empty((plan.nbytes,), "uint8")
    order = np.arange(samples.count, dtype=np.int32)
    backend.write(plan.array(step_plan.indices, backend, arena), order)
    backend.write(plan.array(step_plan.random, backend, arena), model.next_pass())
    model.optimizer.send_hyper()
    trace = []
    for record in plan.records:
        for call in plan.bind(backend, arena, [record]):
            call()
        written = [
            (parameter.name, _host(backend, plan.array(buffer, backend, arena)))
            for parameter, buffer in record.items()
            if parameter.written
        ]
        trace.append((record, written))
    return trace


def _host(backend: Backend, array: Any) -> Values:
    return backend.to_numpy(array)


def _difference(number: int, record: Record, name: str, a: Values, b: Values) -> Difference:
    ours, theirs = np.atleast_1d(a).astype(np.float64), np.atleast_1d(b).astype(np.float64)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    scale = max(1.0, float(np.abs(ours[np.isfinite(ours)]).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        errors = np.where(same, 0.0, np.abs(ours - theirs) / scale)
    errors[np.isnan(errors)] = np.inf
    if errors.size == 0:
        return Difference(number, record.layer, record.op.name, name, (), 0.0, 0.0, 0.0)
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    return Difference(
        number,
        record.layer,
        record.op.name,
        name,
        index,
        float(ours[index]),
        float(theirs[index]),
        float(errors[index]),
    )
