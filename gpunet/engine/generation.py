"""A few positions of a sequence at a time, with what earlier positions left in caches.

A sequence that grows by one element a step need not be computed anew each time: in a model whose
layers look at each position by itself, and at earlier ones through causal attention, what was
computed stays right. The plan of a step therefore has the model's ops for a few positions alone,
one as a rule, or those of a whole prompt at first:

- What changes from step to step lies in small arrays on the device: the new elements, and their
  positions. The plan is recorded once, and captured as any other.
- ``c.positions`` tells a layer that it records a step. Most layers need not look at it. Attention
  inserts keys and values at these positions into ``c.cache(...)``, arrays that outlive the step,
  and its queries see what is there up to their own; layers of positions look these up instead of
  counting. What cannot work in steps says so before anything runs (`Layer.can_step`).
- What does not depend on the growing input, such as an encoder and the keys and values that a
  decoder's attention makes of it, is found by following the records, and runs once.

The positions of all samples are the same. Beam search lets some of them go on from others' past:
`Generator.reorder` moves the caches' rows.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gpunet.arguments import is_integer, shown
from gpunet.backend.base import Backend
from gpunet.backend.spec import Array
from gpunet.engine.graph import Graph, Node, Tensor
from gpunet.engine.inputs import model_inputs
from gpunet.engine.passes import Pass
from gpunet.engine.plan import Plan
from gpunet.engine.recorder import Buffer, Record, Recorder, Storage
from gpunet.engine.run import Lease, feed_dtype, model_input_buffers, write
from gpunet.errors import ArgumentError, UsageError
from gpunet.layers.base import Context
from gpunet.structures import Form

if TYPE_CHECKING:
    from gpunet.models import Model


class Caches:
    """The arrays that outlive a step: one for each name that a call of a layer gives.

    Args:
        backend: where they are.
        rows: how many samples there are.
        capacity: how many positions.
        dtype: of what the model computes.
    """

    def __init__(self, backend: Backend, rows: int, capacity: int, dtype: str) -> None:
        self.rows = rows
        self.capacity = capacity
        self.arrays: dict[tuple[int, str], Array] = {}
        self._backend = backend
        self._dtype = dtype

    def buffer(
        self, op: Recorder, node: int, shape: tuple[int, ...], name: str, dtype: str | None
    ) -> Buffer:
        """A handle of the array (rows, capacity, *shape) of this name, made once."""
        key = (node, name)
        if key not in self.arrays:
            full = (self.rows, self.capacity, *shape)
            self.arrays[key] = self._backend.zeros(full, dtype or self._dtype)
        array = self.arrays[key]
        return op.external(f"cache{node}.{name}", array.shape, array.dtype.name, lambda: array)


class PositionsPass(Pass):
    """Forward for a few positions of one of the inputs.

    Args:
        graph: the graph.
        op: the recorder.
        caches: what outlives the step.
        moving: the input that grows from step to step.
        positions: where its elements stand, int32.

    Raises:
        UsageError: a layer needs whole sequences.
    """

    def __init__(
        self, graph: Graph, op: Recorder, caches: Caches, moving: Tensor, positions: Buffer
    ) -> None:
        super().__init__(graph, op, caches.rows, training=False)
        self._caches = caches
        self._positions = positions
        self._moving = {moving}
        for node in graph.nodes:
            if any(graph.origin(tensor) in self._moving for tensor in node.sources):
                self._check(node)
                self._moving |= {*node.outputs, *node.new_masks}

    def _flags(self, node: Node) -> tuple[bool, ...]:
        return tuple(self.graph.origin(tensor) in self._moving for tensor in node.inputs)

    def _check(self, node: Node) -> None:
        if not node.layer.can_step(self._flags(node), node.options):
            raise UsageError(
                f"layer {self.paths[node.layer]!r} ({type(node.layer).__name__}) needs whole "
                "sequences, so that the model cannot generate step by step: between its input and "
                "its output may be layers that look at each position alone, and attention with "
                "use_causal_mask=True."
            )

    def shapes(self, inputs: Sequence[tuple[int, ...]]) -> dict[Tensor, tuple[int, ...]]:
        """The shapes of all tensors: of what moves, so many positions."""
        capacity, steps = self._caches.capacity, self._positions.size
        moves = [tensor in self._moving for tensor in self.graph.inputs]
        whole = [
            (shape[0], capacity, *shape[2:]) if moving else shape
            for moving, shape in zip(moves, inputs, strict=True)
        ]
        shapes = super().shapes(whole)
        moving = {tensor for tensor in shapes if self.graph.origin(tensor) in self._moving}
        return {
            tensor: (shape[0], steps, *shape[2:]) if tensor in moving else shape
            for tensor, shape in shapes.items()
        }

    def _context(self, node: Node, number: int) -> Context:
        context = super()._context(node, number)
        if node.output in self._moving:
            context.positions = self._positions
            context.moving = self._flags(node)
            context.caches = lambda *of: self._caches.buffer(self.op, *of)
        return context


class PositionsPlan:
    """The plan of some positions.

    Args:
        model: the model.
        shapes: the shape of a batch of each input; of the growing one with so many positions.
        dtypes: the dtypes in which they come.
        moving: the number of the input that grows.
        caches: what outlives the step.

    Attributes:
        once: the ops that depend on nothing that grows.
        each: the others.
    """

    def __init__(
        self,
        model: Model,
        shapes: Sequence[tuple[int, ...]],
        dtypes: Sequence[str],
        moving: int,
        caches: Caches,
    ) -> None:
        op = Recorder(model.dtype)
        self.positions = op.scratch(shapes[moving][1:2], "int32", name="positions")
        one_pass = PositionsPass(
            model.graph, op, caches, model.graph.inputs[moving], self.positions
        )
        self.inputs, casts = model_input_buffers(op, model, shapes, dtypes)
        (self.output,) = one_pass.forward(casts)
        # Random numbers are for layers that were called with training=True.
        self.random = one_pass.random if one_pass.draws else None
        grows = [self.inputs[moving], self.positions, *([self.random] if self.random else [])]
        kept = [*self.inputs, *grows, self.output]
        changes = {buffer.storage for buffer in grows}
        once, each = _split(op.records, changes)
        made = {storage for record in once for storage in record.writes()}
        read = {b.storage: b for record in each for _, b in record.items() if b.storage in made}
        self.plan = Plan(op.records, [*kept, *read.values()])
        self.once, self.each = _split(self.plan.records, changes)


def _split(records: Sequence[Record], changes: set[Storage]) -> tuple[list[Record], list[Record]]:
    """The records that what changes from step to step has no part in, and the others.

    What lies outside of the arena and is written by one of the others, a cache, changes, too.
    """
    changing, once, each = set(changes), list[Record](), list[Record]()
    for record in records:
        moves = any(storage in changing for storage in (*record.reads(), *record.writes()))
        (each if moves else once).append(record)
        if moves:
            changing.update(record.writes())
    return once, each


class Generator:
    """A model that goes through growing sequences step by step.

    Args:
        model: a model with one output (batch, length, ...) and an input that grows, (batch,
            length) or (batch, length, ...).
        rows: how many sequences grow at the same time.
        capacity: how many positions they may have; that of the model's input if it says one.
        inputs: the other inputs of the model by name, with ``rows`` samples each.

    Attributes:
        model: the model.
        rows: how many sequences there are.
        capacity: how many positions they may have.
        position: how many they have so far.

    Raises:
        UsageError: a layer needs whole sequences; the model is not built.
        ArgumentError: not exactly one input is left out; no capacity, or too large a one.

    Example:
        >>> import numpy as np
        >>> from gpunet import Input, Model, layers
        >>> tokens = Input((8,), dtype="int32")
        >>> x = layers.Embedding(10, 4)(tokens)
        >>> model = Model(tokens, layers.Dense(10)(layers.TransformerDecoder(8, 2)(x)))
        >>> generator = Generator(model, rows=2)
        >>> first = generator.extend([[1, 2, 3], [4, 5, 6]])  # the logits of three positions
        >>> generator.extend([[7], [8]]).shape  # and of one more
        (2, 1, 10)
    """

    def __init__(
        self,
        model: Model,
        rows: int = 1,
        capacity: int | None = None,
        inputs: dict[str, Any] | None = None,
    ) -> None:
        graph, given = model.graph, inputs or {}
        missing = [name for name in model.input_names if name not in given]
        strangers = [name for name in given if name not in model.input_names]
        if len(missing) != 1 or strangers or len(graph.outputs) != 1:
            raise ArgumentError(
                "step by step generation needs a model with one output, and its inputs "
                f"{', '.join(model.input_names)} by name but for the one that grows, got "
                f"{', '.join(given) or 'none'} and a model with {len(graph.outputs)} output(s)."
            )
        self.model = model
        self._moving = model.input_names.index(missing[0])
        self._tensor = graph.inputs[self._moving]
        self.capacity = _capacity(self._tensor, capacity)
        self.rows = rows
        self._given = given
        self.position = 0
        self.caches = Caches(model.backend, rows, self.capacity, model.dtype)
        self._plans: dict[int, PositionsPlan] = {}
        self._last: PositionsPlan | None = None
        self._lease: Lease = model.arenas.lease(model.backend)
        weakref.finalize(self, model.arenas.release, self._lease)
        self._places = model.places_key()

    def extend(self, elements: Any) -> np.ndarray[Any, Any]:
        """Add some elements to each sequence, and compute the model's output for them.

        Args:
            elements: (rows, positions) or (rows, positions, ...), as the input takes them.

        Returns:
            The output (rows, positions, ...), a NumPy array.

        Raises:
            ShapeError, DtypeError: elements that do not fit the input.
            UsageError: more positions than the capacity; the model was moved or built anew.
        """
        self._check_model()
        values = self._checked(elements)
        count = values.shape[1]
        if self.position + count > self.capacity:
            raise UsageError(
                f"{self.position} positions and {count} more do not fit the {self.capacity} that "
                "the generator has; make it, or the model's input, longer."
            )
        one = self._plan(values[:, :1])
        if count > 1 and one.once:  # which would be done once more in the plan of several
            return np.concatenate([self.extend(values[:, i : i + 1]) for i in range(count)], axis=1)
        plan = self._plan(values)
        backend = self._lease.backend
        self._lease.grow(plan.plan.nbytes)
        each = self._lease.bound(plan.plan, "each", plan.each)
        if plan is not self._last:
            self._do_once(plan)
            self._last = plan
        write(backend, each[plan.inputs[self._moving]], values)
        places = np.arange(self.position, self.position + count, dtype=np.int32)
        write(backend, each[plan.positions], places)
        if plan.random is not None:
            write(backend, each[plan.random], self.model.next_random_state())
        each.program.run()
        self.position += count
        return backend.to_numpy(each[plan.output])

    def _do_once(self, plan: PositionsPlan) -> None:
        """Write the inputs that stay, and compute what depends on them alone."""
        once = self._lease.bound(plan.plan, "once", plan.once)
        for number, array in enumerate(self._arrays()):
            if number != self._moving:
                write(self._lease.backend, once[plan.inputs[number]], array)
        once.program.run()

    def reorder(self, rows: Sequence[int]) -> None:
        """Let each sequence go on from the past of another one: row i from row rows[i].

        Args:
            rows: for each sequence the number of the one whose past it takes.

        Raises:
            ArgumentError: not one number of a row for each.
        """
        order = np.asarray(rows)
        if order.shape != (self.rows,) or order.dtype.kind not in "iu":
            raise ArgumentError(f"reorder takes {self.rows} numbers of rows, got {shown(rows)}.")
        if not ((order >= 0) & (order < self.rows)).all():
            raise ArgumentError(f"reorder takes rows below {self.rows}, got {shown(rows)}.")
        if (order == np.arange(self.rows)).all():
            return
        backend = self._lease.backend
        indices = backend.from_numpy(order.astype(np.int32))
        for array in self.caches.arrays.values():
            flat = array.reshape(self.rows, -1)
            moved = backend.empty(flat.shape, flat.dtype)
            backend.run("gather", moved, flat, indices)
            backend.run("copy", flat, moved)

    def reset(self) -> None:
        """Begin again with empty sequences."""
        self.position = 0

    def _check_model(self) -> None:
        if self.model.places_key() != self._places:
            raise UsageError(
                "the model was moved to another place after the generator had been made; make a "
                "new one."
            )

    def _checked(self, elements: Any) -> Array:
        """The elements, checked against the input."""
        array = np.asarray(elements)
        if array.ndim < 2 or array.shape[0] != self.rows or array.shape[1] < 1:
            raise ArgumentError(
                f"the generator takes elements ({self.rows}, positions, ...), got the shape "
                f"{array.shape}."
            )
        return self._feed(self._tensor, array)

    def _feed(self, tensor: Tensor, values: Any) -> Array:
        """Values as `predict` takes them, of any length."""
        shape = (None, None, *tensor.shape[2:]) if tensor is self._tensor else tensor.shape
        like = Tensor(shape, tensor.dtype, tensor.layer)
        form = Form(like, [tensor.layer], "input")
        (array,) = model_inputs([like], form, values, self._lease.backend, self.model.name)
        return array

    def _arrays(self) -> list[Array]:
        """The other inputs, with nothing in the place of the growing one."""
        arrays = []
        for name, tensor in zip(self.model.input_names, self.model.graph.inputs, strict=True):
            array = None if tensor is self._tensor else self._feed(tensor, self._given[name])
            if array is not None and len(array) != self.rows:
                raise ArgumentError(
                    f"input {name!r} of the generator must have {self.rows} samples, one for each "
                    f"sequence, got {len(array)}."
                )
            arrays.append(array)
        return arrays

    def _plan(self, values: Array) -> PositionsPlan:
        """The plan of so many positions, made once."""
        count = values.shape[1]
        if count not in self._plans:
            self._plans[count] = self._recorded(values)
        return self._plans[count]

    def _recorded(self, values: Array) -> PositionsPlan:
        arrays = [values if array is None else array for array in self._arrays()]
        shapes = [tuple(array.shape) for array in arrays]
        pairs = zip(arrays, self.model.graph.inputs, strict=True)
        dtypes = [feed_dtype(array, tensor, self.model.dtype) for array, tensor in pairs]
        return PositionsPlan(self.model, shapes, dtypes, self._moving, self.caches)


def _capacity(tensor: Tensor, wanted: int | None) -> int:
    """How many positions there may be.

    Raises:
        ArgumentError: nobody says how many, or more are wanted than the input has.
    """
    length = tensor.shape[1] if len(tensor.shape) > 1 else None
    if len(tensor.shape) < 2 or (length is None and wanted is None):
        raise ArgumentError(
            f"input {tensor.name!r} of shape {tensor.shape} does not say how many positions there "
            "may be; say max_length= (of generate), or capacity= (of a Generator)."
        )
    if wanted is not None and (not is_integer(wanted) or wanted < 1):
        raise ArgumentError(f"the number of positions must be a positive integer, got {wanted!r}.")
    if length is not None and wanted is not None and wanted > length:
        raise ArgumentError(
            f"input {tensor.name!r} has {length} positions, but {wanted} are wanted; make it "
            "longer, or say fewer."
        )
    return wanted or length or 1
