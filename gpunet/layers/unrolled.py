"""The steps of a cell, recorded one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.layers.base import Context, Layer
from gpunet.layers.joining import join

States = tuple[Buffer, ...]


class StepContext(Context):
    """What forward and backward of a cell work with at one step.

    ``c.x`` (batch, features) is the input, ``c.states`` are the states before, (batch, size) each.
    Forward writes the output ``c.y`` and ``c.new_states``; where a state is the output itself it
    says so and writes it once: ``c.new_states = (c.y,)``. Backward finds the gradients ``c.dy`` and
    ``c.dnew_states`` (what is one buffer has one gradient, the sum of both) and writes ``c.dx``,
    ``c.dstates`` and those of the weights, which add up over the steps. All else is as in a
    layer's `Context`, and what forward stores on the context backward finds there.

    Attributes:
        states: the states before the step.
        new_states: those behind it.
        dstates: the gradients of the states before.
        dnew_states: those of the states behind.
    """

    states: States
    new_states: States
    dstates: States
    dnew_states: States

    def __init__(self, op: Recorder, c: Context, weights: Mapping[str, str]) -> None:
        """Take the weights of another context under names of their own: own name -> name there."""
        super().__init__(op, c.training, c.node, c.random)
        for own, name in weights.items():
            setattr(self, own, getattr(c, name))
            setattr(self, f"d{own}", getattr(c, f"d{name}"))

    def find_gradients(self, op: Recorder) -> None:
        """Get ready for backward: zero is the gradient of what nobody needs."""
        self.dy = gradient_of(op, self.y)
        self.dnew_states = tuple(gradient_of(op, state) for state in self.new_states)
        self.dx = op.gradient_of(self.x)
        self.dstates = tuple(op.gradient_of(state) for state in self.states)


class Unrolled:
    """A cell's steps over a sequence.

    Args:
        op: the recorder.
        c: the context of the layer, which has the weights of the cell.
        cell: the cell.
        first: the states before the first step, (batch, size) each.
        output_shape: the shape of the output of one step, without the batch.
        reverse: whether the steps are taken from the last input to the first.
        zero_output: whether the output of a masked step is zero, and not the one before.
    """

    def __init__(
        self,
        op: Recorder,
        c: Context,
        cell: Layer,
        first: States,
        output_shape: Sequence[int],
        reverse: bool,
        zero_output: bool,
    ) -> None:
        self.op = op
        self.c = c
        self.cell = cell
        self.weights = {parameter.name: parameter.name for parameter in cell.parameters}
        self.first = first
        self.output_shape = tuple(output_shape)
        self.reverse = reverse
        self.zero_output = zero_output
        self.steps: list[StepContext] = []
        self.ys: list[Buffer] = []  # the output of each step
        self.states: list[States] = [first]  # before each step, and behind the last

    def forward(self) -> None:
        """Record all steps."""
        op, c = self.op, self.c
        batch, count = c.x.shape[:2]
        for number in range(count):
            step = StepContext(op, c, self.weights)
            step.x = c.scratch((batch, *c.x.shape[2:]), "x")
            self._cut(step.x, c.x, self._input(number))
            step.states = self.states[-1]
            step.y = c.scratch((batch, *self.output_shape), "y")
            step.new_states = tuple(c.scratch(s.shape, "state") for s in step.states)
            self.cell.forward(op, step)
            y, states = step.y, step.new_states
            if c.mask is not None:
                last = None if self.zero_output or not number else self.ys[-1]
                y = self._masked(y, last, number)
                pairs = zip(states, self.states[-1], strict=True)
                states = tuple(self._masked(new, old, number) for new, old in pairs)
            self.steps.append(step)
            self.ys.append(y)
            self.states.append(states)

    def join_outputs(self, y: Buffer) -> None:
        """y = the outputs of all steps, in the order in which they were taken."""
        batch = y.shape[0]
        join(self.op, y.reshape(batch, -1), [y_t.reshape(batch, -1) for y_t in self.ys])

    def add_output_gradients(self, dy: Buffer) -> None:
        """The gradients of the outputs are the steps of dy."""
        for number, y in enumerate(self.ys):
            self._cut(self.op.gradient_of(y), dy, number)

    def backward(self, dx: Buffer) -> None:
        """Record the gradients of all steps, given those of outputs and of the last states."""
        op, c = self.op, self.c
        of_inputs: dict[int, Buffer] = {}
        for number, step in reversed(list(enumerate(self.steps))):
            if c.mask is not None:
                self._masked_backward(number, step)
            step.find_gradients(op)
            self.cell.backward(op, step)
            of_inputs[self._input(number)] = gradient_of(op, step.x)
        batch = dx.shape[0]
        parts = [of_inputs[t].reshape(batch, -1) for t in sorted(of_inputs)]
        join(op, dx.reshape(batch, -1), parts)

    def _input(self, number: int) -> int:
        """Which input a step takes."""
        return self.c.x.shape[1] - 1 - number if self.reverse else number

    def _cut(self, y: Buffer, x: Buffer, number: int) -> None:
        """y = one step of x."""
        batch, steps, size = x.shape[0], x.shape[1], prod(x.shape[2:])
        before, after = (0, number, 0), (0, steps - 1 - number, 0)
        whole = x.reshape(batch, 1, steps, size)
        self.op.crop(y.reshape(batch, 1, 1, size), whole, before=before, after=after)

    def _masked(self, new: Buffer | None, old: Buffer | None, number: int) -> Buffer:
        """One of both for each sample; None is zero."""
        shape = (new or old or self.ys[0]).shape
        y = self.c.scratch(shape, "masked")
        self._mask(y, new, old, number)
        return y

    def _mask(self, y: Buffer, new: Buffer | None, old: Buffer | None, number: int) -> None:
        flat = [None if x is None else x.reshape(x.shape[0], 1, -1) for x in (y, new, old)]
        self.op.masked_steps(*flat, self.c.mask, first=number, reverse=self.reverse)

    def _masked_backward(self, number: int, step: StepContext) -> None:
        op = self.op
        old_y = None if self.zero_output or not number else self.ys[number - 1]
        before = self.states[number]
        pairs = [(self.ys[number], step.y, old_y)]
        pairs += list(zip(self.states[number + 1], step.new_states, before, strict=True))
        for masked, new, old in pairs:
            dmasked = op.gradient_of(masked)
            if op.is_written(dmasked):
                self._mask(op.gradient_of(new), dmasked, None, number)
                if old is not None:
                    self._mask(op.gradient_of(old), None, dmasked, number)


def gradient_of(op: Recorder, buffer: Buffer) -> Buffer:
    """The gradient of a buffer; zero if nobody needs it."""
    gradient = op.gradient_of(buffer)
    if not op.is_written(gradient):
        op.fill(gradient, value=0.0)
    return gradient


def zeros(op: Recorder, c: Context, shape: Sequence[int]) -> Any:
    """A buffer of zeros."""
    buffer = c.scratch(tuple(shape), "zeros")
    op.fill(buffer, value=0.0)
    return buffer
