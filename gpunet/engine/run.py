"""Arenas and runs: memory that is leased for one pass, and one pass in flight."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet import random
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.data import as_numbers
from gpunet.engine.graph import Tensor
from gpunet.engine.inputs import device_dtype
from gpunet.engine.passes import Pass
from gpunet.engine.plan import Plan
from gpunet.engine.program import Program
from gpunet.engine.recorder import Buffer, Record, Recorder
from gpunet.errors import ShapeError, UsageError

if TYPE_CHECKING:
    from gpunet.models.loops import Loops


BOUND_KEPT = 16


class Bound:
    """Some of a plan's records as calls over one arena, and the arrays behind its buffers.

    Attributes:
        calls: one for each record.
        program: the calls.
    """

    def __init__(
        self, plan: Plan, records: Sequence[Record], backend: Backend, arena: Array
    ) -> None:
        self.calls = plan.bind(backend, arena, records)
        self.program = Program(backend, list(zip(records, self.calls, strict=True)))
        self._place = (plan, backend, arena)
        self._arrays: dict[Buffer, Array] = {}

    def __getitem__(self, buffer: Buffer) -> Array:
        """The array behind a buffer, made once: a view costs more than a small op."""
        array = self._arrays.get(buffer)
        if array is None:
            plan, backend, arena = self._place
            array = self._arrays[buffer] = plan.array(buffer, backend, arena)
        return array


class Lease:
    """An arena, lent to one pass at a time, with what was bound to it."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.arena: Array = backend.empty((0,), "uint8")
        self._bound: dict[Any, Bound] = {}
        self._key: Any = None

    def keep_for(self, key: Any) -> None:
        """Drop what was bound under another key: to weights that have moved since, for one."""
        if key != self._key:
            self._bound.clear()
        self._key = key

    def grow(self, nbytes: int) -> None:
        """Make the arena large enough; what was bound to a smaller one is dropped."""
        if self.arena.size < nbytes:
            self._bound.clear()
            self.arena = self.backend.empty((nbytes,), "uint8")

    def bound(self, plan: Plan, key: str, records: Sequence[Record]) -> Bound:
        """Some of a plan's records over this arena; bound once."""
        bound = self._bound.get((plan, key))
        if bound is None:
            self.grow(plan.nbytes)
            while len(self._bound) >= BOUND_KEPT:
                self._bound.pop(next(iter(self._bound)))
            bound = Bound(plan, records, self.backend, self.arena)
            self._bound[plan, key] = bound
        return bound


class ArenaPool:
    """The arenas of one model; as many as there were passes at a time."""

    def __init__(self) -> None:
        self._free: list[Lease] = []
        self._lock = threading.Lock()

    def lease(self, backend: Backend, nbytes: int = 0) -> Lease:
        """An arena of at least this size for one pass."""
        with self._lock:
            lease = self._free.pop() if self._free else Lease(backend)
        if lease.backend is not backend:  # of a pass that ended after the model had moved
            lease = Lease(backend)
        lease.grow(nbytes)
        return lease

    def release(self, lease: Lease) -> None:
        """Give an arena back."""
        with self._lock:
            self._free.append(lease)

    def clear(self) -> None:
        """Drop the arenas and what was bound to them."""
        with self._lock:
            self._free.clear()


class GradientPlan:
    """The plan of a `Run`: forward, then backward from given gradients of the outputs.

    Args:
        model: the model.
        shapes: the shape of a batch of each input.
        dtypes: the dtypes of the inputs.
        training: whether layers such as Dropout act.
    """

    def __init__(
        self,
        model: Loops,
        shapes: Sequence[tuple[int, ...]],
        dtypes: tuple[str, ...],
        training: bool,
    ) -> None:
        op = Recorder(model.dtype)
        graph = model.graph
        one_pass = Pass(graph, op, shapes[0][0], training)
        self.random = one_pass.random
        self.inputs, casts = model_input_buffers(op, model, shapes, dtypes)
        self.totals = op.scratch((2,), "float64", name="penalty")
        regularized = any(layer.activity_regularizer for layer in graph.layers)
        if regularized:
            op.layer, op.direction = "feed", "forward"
            op.fill(self.totals, value=0.0)
        self.outputs = one_pass.forward(casts, self.totals if regularized else None)
        self.dy = [op.scratch(y.shape, name="dy") for y in self.outputs]
        op.layer, op.direction = "output", "backward"
        for y, dy in zip(self.outputs, self.dy, strict=True):
            op.copy(op.gradient_of(y), dy)
        self.dx = [op.gradient_of(x) for x in casts]
        one_pass.backward()
        for dx in self.dx:
            if not op.is_written(dx):
                op.fill(dx, value=0.0)
        self.weight_gradients = one_pass.weight_gradients
        kept = [self.random, *self.inputs, *self.outputs, *self.dy, *self.dx]
        kept += [self.totals] if regularized else []
        self.plan = Plan(op.records, kept)
        self.forward_records = [r for r in self.plan.records if r.direction == "forward"]

    def backward_records(self, weights: bool, inputs: bool) -> list[Record]:
        """The backward ops that are needed for what is wanted."""
        unwanted = ([] if weights else self.weight_gradients) + ([] if inputs else self.dx)
        return [r for r in self.plan.without(unwanted) if r.direction != "forward"]


def model_input_buffers(
    op: Recorder, model: Loops, shapes: Sequence[tuple[int, ...]], dtypes: Sequence[str]
) -> tuple[list[Buffer], list[Buffer]]:
    """Buffers for a batch written from outside, and what the graph reads: cast on the device."""
    inputs, casts = [], []
    op.layer, op.direction = "feed", "forward"
    for tensor, shape, dtype in zip(model.graph.inputs, shapes, dtypes, strict=True):
        x = op.scratch(shape, dtype, name=tensor.name)
        cast = x
        if dtype != device_dtype(tensor, op.dtype):
            cast = op.scratch(shape, name=f"{tensor.name}.cast")
            op.scale_shift(cast, x, scale=1.0, offset=0.0)
        inputs.append(x)
        casts.append(cast)
    return inputs, casts


def feed_dtype(array: Array, tensor: Tensor, dtype: str) -> str:
    """The dtype in which a batch travels to the device: small types as they are."""
    wanted = device_dtype(tensor, dtype)
    if wanted != dtype:
        return wanted
    return str(array.dtype.name) if array.dtype.itemsize < np.dtype(dtype).itemsize else dtype


class Run:
    """One pass of a model in flight: outputs now, gradients when asked for.

    A run leases an arena and gives it back when it is collected or closed, so several runs may be
    alive at once (siamese networks, policy gradients).

    Attributes:
        y: the output, or a list of outputs, on the model's device.
        penalty: what activity regularizers add to the loss; backward adds their gradients.

    Example:
        >>> import numpy as np
        >>> from gpunet import Sequential, layers
        >>> model = Sequential([layers.Dense(2, input_dim=3)])
        >>> run = model.run(np.ones((4, 3), np.float32), training=True)
        >>> dx = run.backward(np.ones_like(run.y))
        >>> dx.shape
        (4, 3)
    """

    def __init__(
        self,
        model: Loops,
        plan: GradientPlan,
        arrays: Sequence[Array],
        pass_number: int,
    ) -> None:
        self._model = model
        self._plan = plan
        self._lease = model.arenas.lease(model.backend, plan.plan.nbytes)
        self._finalizer = weakref.finalize(self, model.arenas.release, self._lease)
        self._did_backward = False
        backend = self._lease.backend
        bound = self._bound = self._lease.bound(plan.plan, "forward", plan.forward_records)
        for buffer, array in zip(plan.inputs, arrays, strict=True):
            write(backend, bound[buffer], array)
        self._write_random(pass_number)
        bound.program.run()
        self.y = single([self._copy(buffer) for buffer in plan.outputs])
        self.penalty = 0.0
        if plan.totals.storage in plan.plan.offsets:
            self.penalty = float(backend.to_numpy(bound[plan.totals])[0])

    def _write_random(self, pass_number: int) -> None:
        if self._plan.random.storage in self._plan.plan.offsets:
            state = np.array([random.seed(), pass_number], np.uint64)
            self._lease.backend.write(self._bound[self._plan.random], state)

    def _copy(self, buffer: Buffer) -> Array:
        """A copy that outlives the lease."""
        backend = self._lease.backend
        array = backend.empty(buffer.shape, buffer.dtype)
        backend.ops["copy"](array, self._bound[buffer])
        return array

    def backward(self, dy: Any, weights: bool = True, inputs: bool = True) -> Any:
        """The gradients with respect to weights and inputs, given those of the outputs.

        Gradients of weights overwrite those of an earlier optimizer step and add to those of
        other runs since then, so that micro-batches sum up.

        Args:
            dy: the gradient of each output (a list where there are several).
            weights: whether the weights' gradients are wanted.
            inputs: whether the inputs' gradients are wanted.

        Returns:
            The gradient of the input (a list where there are several), or None if not wanted.

        Raises:
            UsageError: backward was called on this run before, or it is closed.
            ShapeError: dy has another shape than the output.
        """
        if self._did_backward or not self._finalizer.alive:
            raise UsageError(
                "backward can be called once on a run, because it reuses the run's memory; start "
                "another run with model.run(x, training=True)."
            )
        gradients = list(dy) if isinstance(dy, list | tuple) else [dy]
        self._check_gradients(gradients)
        self._did_backward = True
        plan, lease = self._plan, self._lease
        for buffer, gradient in zip(plan.dy, gradients, strict=True):
            write(lease.backend, self._bound[buffer], gradient)
        key = f"backward {weights} {inputs}"
        bound = lease.bound(plan.plan, key, plan.backward_records(weights, inputs))
        self._model.add_gradients(bound.program, weights)
        return single([self._copy(dx) for dx in plan.dx]) if inputs else None

    def _check_gradients(self, gradients: Sequence[Any]) -> None:
        owns = self._lease.backend.owns
        shapes = [
            tuple(g.shape)
            if owns(g) and not isinstance(g, np.ndarray)
            else as_numbers(g, "the gradient that backward gets").shape
            for g in gradients
        ]
        expected = [buffer.shape for buffer in self._plan.outputs]
        if shapes != expected:
            raise ShapeError(
                f"backward expects gradients of the outputs' shapes {expected}, got {shapes}."
            )

    def close(self) -> None:
        """Give the memory back before the run is collected."""
        self._finalizer()


def write(backend: Backend, target: Array, values: Any) -> None:
    """Copy values, from this device or from the host, into an array of the device."""
    if isinstance(values, np.ndarray) or not backend.owns(values):
        backend.write(target, np.asarray(values))
    elif values.dtype == target.dtype and values.flags.c_contiguous:
        backend.ops["copy"](target, values)
    else:
        backend.write(target, backend.to_numpy(values))


def single(values: list[Any]) -> Any:
    """The value itself if there is one, else the list."""
    return values[0] if len(values) == 1 else values
