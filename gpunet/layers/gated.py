"""What LSTM, GRU and SimpleRNN share: they make their cell, and one product for all inputs."""

from __future__ import annotations

import inspect
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError
from gpunet.layers.base import Context
from gpunet.layers.cells import RecurrentCell
from gpunet.layers.recurrent import Gradients, Recurrent

_CUDNN = ("auto", True, False)  # the numbers are the same


class Gated(Recurrent):
    """A recurrent layer that makes its cell of its own arguments.

    Args:
        arguments: those of the constructor by Keras' names.
        kwargs: name and so on; see `Layer`.
    """

    cell_type: type[RecurrentCell]

    def __init__(self, arguments: dict[str, Any], kwargs: dict[str, Any]) -> None:
        names = [n for n in inspect.signature(self.cell_type).parameters if n in arguments]
        names.remove("kwargs")
        super().__init__(self.cell_type(**{n: arguments[n] for n in names}), arguments, kwargs)
        self.units: int = self.cell.units
        self.use_cudnn = arguments.get("use_cudnn", "auto")
        if self.use_cudnn not in _CUDNN:
            raise ArgumentError(
                f"{type(self).__name__} takes 'auto' or a bool for use_cudnn, got "
                f"{self.use_cudnn!r}."
            )

    def runs_at_once(self, training: bool) -> bool:
        """Whether there is an op for all steps: with tanh and sigmoid, and nothing dropped of h."""
        cell = self.cell
        known = (cell.activation.name, cell.recurrent_activation.name) == ("tanh", "sigmoid")
        return known and not (training and cell.recurrent_dropout > 0)

    # ------------------------------------------------------------ the inputs of all steps

    def inputs_product(self, op: Recorder, c: Context, bias: Buffer | None) -> Buffer:
        """z = x kernel + bias for all steps, (batch, steps, gates * units)."""
        c.hidden = c.x
        if self._drops(c):
            c.hidden = c.scratch(c.x.shape, "dropped")
            self._drop(op, c, c.hidden, c.x)
        shape = (*c.x.shape[:2], c.kernel.shape[1])
        product, z = c.scratch(shape, "product"), c.scratch(shape, "z")
        op.gemm(product, c.hidden, c.kernel)
        if bias is None:
            return product
        op.bias_act(z, product, bias, activation="linear")
        return z

    def inputs_backward(self, op: Recorder, c: Context, dz: Buffer, dbias: Buffer | None) -> None:
        """dkernel = x^T dz, dbias = sums of dz, dx = dz kernel^T, each for all steps at once."""
        if dbias is not None:
            op.gemm_column_sum(c.dkernel, dbias, c.hidden, dz, ta=True)
        else:
            op.gemm(c.dkernel, c.hidden, dz, ta=True)
        if self._drops(c):
            dropped = c.scratch(c.x.shape, "ddropped")
            op.gemm(dropped, dz, c.kernel, tb=True)
            self._drop(op, c, c.dx, dropped)
        else:
            op.gemm(c.dx, dz, c.kernel, tb=True)

    def _drops(self, c: Context) -> bool:
        return c.training and self.cell.dropout > 0

    def _drop(self, op: Recorder, c: Context, y: Buffer, x: Buffer) -> None:
        """Features that are dropped are dropped in all steps."""
        op.spatial_dropout(y, x, c.random, rate=self.cell.dropout, node=self.cell.lane(c))

    # ------------------------------------------------------------ states and outputs

    def sequence(self, c: Context, name: str) -> Buffer:
        """Memory for a number of each unit at each step."""
        return c.scratch((*c.x.shape[:2], self.units), name)

    def state(self, c: Context, name: str) -> Buffer:
        """Memory for a number of each unit."""
        return c.scratch((c.x.shape[0], self.units), name)

    def hides(self, c: Context, first: Buffer | None) -> bool:
        """Whether the output differs from the states.

        As in Keras it is zero at masked steps if zero_output_for_mask is set, else at those before
        the first step that is there.
        """
        return c.mask is not None and (self.zero_output_for_mask or first is not None)

    def targets(self, c: Context, out: Buffer, first: Buffer | None) -> tuple[Buffer, Buffer]:
        """Where the op writes the states of all steps and the last one: the output, if it can."""
        is_output = not self.hides(c, first)
        y = out if is_output and self.return_sequences else self.sequence(c, "states")
        h = out if is_output and not self.return_sequences else self.state(c, "last")
        return y, h

    def hide(self, op: Recorder, c: Context, out: Buffer, x: Buffer, first: Buffer | None) -> None:
        """out = x, but zero where the output is not the state; the gradient is the same."""
        batch, steps = c.x.shape[:2]
        start = 0 if self.return_sequences else steps - 1
        op.masked_steps(
            *(out.reshape(batch, -1, self.units), x.reshape(batch, -1, self.units), None, c.mask),
            first=start,
            reverse=self.go_backwards,
            lasting=not self.zero_output_for_mask,
        )

    def finish(
        self, op: Recorder, c: Context, out: Buffer, y: Buffer, h: Buffer, first: Buffer | None
    ) -> None:
        """Write what is not yet in the output."""
        if self.hides(c, first):
            self.hide(op, c, out, y if self.return_sequences else h, first)

    def state_gradients(
        self,
        op: Recorder,
        c: Context,
        dout: Buffer | None,
        dh: Buffer | None,
        first: Buffer | None,
    ) -> tuple[Buffer | None, Buffer | None]:
        """Gradients of the states of all steps and of the last one, from those of the outputs."""
        if dout is not None and self.hides(c, first):
            hidden = c.scratch(dout.shape, "dstates")
            self.hide(op, c, hidden, dout, first)
            dout = hidden
        if self.return_sequences:
            return dout, dh
        if dout is None or dh is None:
            return None, dh if dout is None else dout
        both = c.scratch(dh.shape, "dlast")
        op.add(both, dout, dh)
        return None, both

    def first_gradients(self, c: Context) -> list[Buffer | None]:
        """Where the op writes the gradients of the first states, if anybody gave them."""
        if c.initial_state is None:
            return [None] * len(self.state_sizes)
        return [self.state(c, "dfirst") for _ in self.state_sizes]

    def add_first_gradients(self, op: Recorder, c: Context, gradients: Gradients) -> None:
        """Hand them on; one tensor may be several states."""
        given = c.dinitial_state
        targets = given if isinstance(given, tuple) else [given]
        for target, gradient in zip(targets, gradients, strict=False):
            if gradient is not None and target is not None:
                op.copy(target, gradient)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**self.cell.get_config(), **super().get_config()}
