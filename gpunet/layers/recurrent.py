"""What recurrent layers share: a cell, its steps over a sequence, states and masks."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import check_flag
from gpunet.engine.graph import Shape, Tensor
from gpunet.engine.parameters import Parameter
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Context, Layer
from gpunet.layers.cells import sizes_of
from gpunet.layers.unrolled import Unrolled, zeros
from gpunet.layers.weights import read_parameter, write_parameters

_FLAGS = (
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
)

Gradients = list[Buffer | None]


class Recurrent(Layer):
    """A cell's steps over a sequence.

    Args:
        cell: what is done at each step.
        arguments: those of the constructor by Keras' names, of which these flags are taken here.
        kwargs: name and so on; see `Layer`.
    """

    supports_masking = True
    call_tensors = ("initial_state",)
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool

    def __init__(self, cell: Any, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        super().__init__(activity_regularizer=arguments.get("activity_regularizer"), **kwargs)
        for name in _FLAGS:
            setattr(self, name, check_flag(self, name, arguments.get(name, False)))
        self.cell: Any = cell
        self.state_sizes: list[int] = sizes_of(self.cell.state_size)
        self.batch_size: int | None = None  # of the states that a stateful layer keeps

    # ------------------------------------------------------------------ calls and shapes

    def __call__(  # type: ignore[override]  # Keras' arguments
        self,
        sequences: Any,
        initial_state: Any = None,
        mask: Any = None,
        training: bool | None = None,
    ) -> Any:
        """Call the layer on a symbolic tensor (batch, steps, features).

        Args:
            sequences: the inputs.
            initial_state: the states before the first step, a tensor (batch, size) or a list of
                them; None for zeros, or for what a stateful layer kept.
            mask: a tensor of dtype "bool", (batch, steps): False where there is no step; None for
                the mask that the inputs have, if any.
            training: see `Layer`.

        Returns:
            The output; with return_state a list: the output and the last states.

        Raises:
            ArgumentError: a wrong number of states; a stateful layer on an Input without a batch
                size.
            ShapeError: inputs or states of a shape that does not fit.
        """
        if self.stateful and isinstance(sequences, Tensor):
            self.batch_size = self.batch_size or self._batch_size_of(sequences)
        if initial_state is None:
            return super().__call__(sequences, mask=mask, training=training)
        states = _flat(initial_state)
        self._check_states(states, getattr(sequences, "shape", ()))
        return super().__call__(sequences, mask=mask, training=training, initial_state=states)

    def _check_states(self, states: list[Any], input_shape: Shape) -> None:
        if len(states) != len(self.state_sizes):
            raise ArgumentError(
                f"{self.where} has {len(self.state_sizes)} state(s), got an initial_state of "
                f"{len(states)}."
            )
        if None in input_shape[2:]:
            return  # sizes of images that differ from batch to batch
        for state, shape in zip(states, self.state_shapes(input_shape), strict=True):
            if isinstance(state, Tensor) and state.shape[1:] != shape:
                raise ShapeError(
                    f"{self.where} takes an initial_state of shape {(None, *shape)}, got "
                    f"{state.shape}."
                )

    def _batch_size_of(self, tensor: Tensor) -> int:
        """The batch size of the Input that a tensor comes from."""
        seen = tensor
        while seen.node is not None:
            seen = seen.node.inputs[0]
        if seen.batch_size is None:
            raise ArgumentError(
                f"{self.where} is stateful, so that its Input must say for how many samples it "
                "keeps a state: Input(shape, batch_size=...)."
            )
        return seen.batch_size

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{type(self).__name__} {self.label!r}"

    def state_shapes(self, input_shape: Shape) -> list[tuple[int, ...]]:
        """The shapes of the states without the batch."""
        del input_shape
        return [(size,) for size in self.state_sizes]

    def step_shape(self, input_shape: Shape) -> Shape:
        """The shape of the inputs of one step.

        Raises:
            ShapeError: they are no sequences.
        """
        if len(input_shape) != 3:
            raise ShapeError(
                f"{self.where} expects inputs (batch, steps, features), "
                f"got {input_shape}; put a Reshape before it, or return_sequences=True into the "
                "recurrent layer before."
            )
        return (input_shape[0], *input_shape[2:])

    def output_shape_of_step(self, input_shape: Shape) -> tuple[int, ...]:
        """The shape of the output of one step, without the batch."""
        del input_shape
        size = getattr(self.cell, "output_size", None)
        return (self.state_sizes[0] if size is None else size,)

    def build(self, input_shape: Shape) -> None:
        """Build the cell, whose weights become those of this layer, and the states to be kept."""
        self.cell.ensure_built(self.step_shape(input_shape))
        self.parameters = list(self.cell.parameters)
        for parameter in self.parameters:
            parameter.trainable = parameter.trainable and self.cell.trainable
            parameter.layer = self  # which is the layer that the model knows
        if self.stateful:
            for number, shape in enumerate(self.state_shapes(input_shape)):
                shape = (self.batch_size or 1, *shape)
                state = self.add_weight(f"state{number}", shape, "zeros", trainable=False)
                state.is_state = True

    def forget_build(self) -> None:
        """Go back to before the first call."""
        super().forget_build()
        self.cell.forget_build()

    def compute_output_shape(self, input_shape: Shape) -> Any:
        """(batch, steps, size), or without return_sequences (batch, size); and of the states."""
        steps = input_shape[1:2] if self.return_sequences else ()
        shape = (input_shape[0], *steps, *self.output_shape_of_step(input_shape))
        if not self.return_state:
            return shape
        return [shape, *((input_shape[0], *state) for state in self.state_shapes(input_shape))]

    def compute_mask(self, inputs: Any, mask: Any) -> Any:
        """The mask of the inputs goes on where the output has steps."""
        del inputs
        return mask if self.return_sequences else None

    # ------------------------------------------------------------------ states that are kept

    @property
    def states(self) -> list[Any]:
        """The states that a stateful layer keeps, as NumPy arrays (batch, size)."""
        return [read_parameter(parameter) for parameter in self._kept_states()]

    def reset_state(self, states: Any = None) -> None:
        """Set the states that a stateful layer keeps.

        Args:
            states: what to set them to, a list of arrays such as ``layer.states``; None for zeros.

        Raises:
            ShapeError: another number of states, or another shape.
        """
        kept = self._kept_states()
        values = [np.zeros(parameter.shape) for parameter in kept]
        write_parameters(self.where, kept, values if states is None else _flat(states))

    def reset_states(self, states: Any = None) -> None:
        """Keras' other name of `reset_state`."""
        self.reset_state(states)

    def _kept_states(self) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.is_state]

    # ------------------------------------------------------------------ forward and backward

    def forward(self, op: Recorder, c: Context) -> None:
        """The steps, at once if there is an op for the cell; then the states that are kept."""
        out, *wanted = c.y if self.return_state else [c.y]
        first = self._first_states(op, c)
        if self.runs_at_once(c.training):
            last = self.steps_forward(op, c, out, first)
        else:
            last = self._unrolled_forward(op, c, out, first)
        for state, final in zip(wanted, last, strict=False):
            op.copy(state, final)
        for parameter, final in zip(self._kept_states(), last, strict=False):
            op.copy(getattr(c, parameter.name), final)

    def backward(self, op: Recorder, c: Context) -> None:
        """The steps in reverse order."""
        dout, *dlast = c.dy if self.return_state else [c.dy]
        if not isinstance(c.saved, Unrolled):
            dlast = dlast or [None] * len(self.state_sizes)
            self.steps_backward(op, c, dout, dlast)
        else:
            self._unrolled_backward(op, c, dout, dlast)

    def runs_at_once(self, training: bool) -> bool:
        """Whether all steps are one op."""
        del training
        return False

    def steps_forward(
        self, op: Recorder, c: Context, out: Buffer, first: list[Buffer | None]
    ) -> list[Buffer]:
        """All steps as one op, from the first states (None is zero); returns the last ones."""
        raise NotImplementedError

    def steps_backward(
        self, op: Recorder, c: Context, dout: Buffer | None, dlast: Gradients
    ) -> None:
        """The gradients, given those of the output and of the last states."""
        raise NotImplementedError

    def _first_states(self, op: Recorder, c: Context) -> list[Buffer | None]:
        if c.initial_state is not None:
            given = c.initial_state
            return list(given) if isinstance(given, tuple) else [given]
        first: list[Buffer | None] = [None] * len(self.state_sizes)
        for number, parameter in enumerate(self._kept_states()):
            kept = getattr(c, parameter.name)
            if kept.shape[0] != c.x.shape[0]:
                raise ShapeError(
                    f"{self.where} keeps states of {kept.shape[0]} samples, got a batch of "
                    f"{c.x.shape[0]}; feed batches of {kept.shape[0]}."
                )
            before = c.scratch(kept.shape, "before")  # what is kept changes before backward
            op.copy(before, kept)
            first[number] = before
        return first

    def _unrolled_forward(
        self, op: Recorder, c: Context, out: Buffer, first: list[Buffer | None]
    ) -> list[Buffer]:
        batch = c.x.shape[0]
        shapes = self.state_shapes(c.x.shape)
        states = tuple(
            zeros(op, c, (batch, *shape)) if state is None else state
            for state, shape in zip(first, shapes, strict=True)
        )
        shape = out.shape[2:] if self.return_sequences else out.shape[1:]
        c.saved = steps = Unrolled(
            op, c, self.cell, states, shape, self.go_backwards, self.zero_output_for_mask
        )
        steps.forward()
        if self.return_sequences:
            steps.join_outputs(out)
        else:
            op.copy(out, steps.ys[-1])
        return list(steps.states[-1])

    def _unrolled_backward(
        self, op: Recorder, c: Context, dout: Buffer | None, dlast: Gradients
    ) -> None:
        steps: Unrolled = c.saved
        if dout is not None and self.return_sequences:
            steps.add_output_gradients(dout)
        elif dout is not None:
            op.copy(op.gradient_of(steps.ys[-1]), dout)
        for state, gradient in zip(steps.states[-1], dlast, strict=False):
            if gradient is not None:
                op.copy(op.gradient_of(state), gradient)
        steps.backward(c.dx)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in _FLAGS}}


def _flat(states: Any) -> list[Any]:
    """States, also of cells in cells, as one list."""
    if isinstance(states, list | tuple):
        return [state for item in states for state in _flat(item)]
    return [states]
