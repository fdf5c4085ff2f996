"""LSTM whose products are convolutions: one step."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from gpunet.engine.graph import Shape
from gpunet.engine.moves import move_from_end, move_to_end
from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError, ShapeError
from gpunet.geometry import Geometry, check_padding, of_windows, sizes
from gpunet.layers.base import Context
from gpunet.layers.cells import RecurrentCell, add_bias, bias_gradient, columns, joined, total
from gpunet.layers.channels import channels_from_end, channels_to_end, check_data_format
from gpunet.layers.lstm import LSTMCell, LSTMGates
from gpunet.layers.unrolled import StepContext

_GATE = 2**34  # between the lanes of what the gates drop


class ConvLSTMCell(LSTMCell):
    """One step of a `ConvLSTM2D` (or 1D, 3D): an `LSTMCell` with convolutions for products.

    Args:
        rank: over how many dimensions.
        arguments: those of the layer by Keras' names.
    """

    def __init__(self, rank: int, arguments: dict[str, Any]) -> None:
        who = f"ConvLSTM{rank}D"
        self.rank = rank
        self.filters = self.size("filters", arguments["filters"])
        self.kernel_size = sizes(who, "kernel_size", arguments["kernel_size"], rank)
        self.strides = sizes(who, "strides", arguments["strides"], rank)
        self.dilation_rate = sizes(who, "dilation_rate", arguments["dilation_rate"], rank)
        self.padding = check_padding(who, arguments["padding"])
        self.data_format = check_data_format(who, arguments["data_format"])
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ArgumentError(
                f"{who} takes strides or a dilation_rate, got {self.strides} and "
                f"{self.dilation_rate}; leave one of them at 1."
            )
        RecurrentCell.__init__(self, {**arguments, "units": self.filters}, {})
        self.unit_forget_bias = self.flag("unit_forget_bias", arguments["unit_forget_bias"])

    @property
    def who(self) -> str:
        """What messages call it."""
        return f"ConvLSTM{self.rank}D"

    @property
    def channel_axis(self) -> int:
        """Where the inputs and states of a step have their channels."""
        return 1 if self.data_format == "channels_first" else self.rank + 1

    def kernel_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shapes of kernel and recurrent kernel, for the input of one step."""
        channels = input_shape[self.channel_axis] or 0
        return {
            "kernel": (*self.kernel_size, channels, 4 * self.filters),
            "recurrent": (*self.kernel_size, self.filters, 4 * self.filters),
        }

    def state_shape(self, input_shape: Shape) -> tuple[int, ...]:
        """The shape of h and of c without the batch, for the input of one step.

        Raises:
            ShapeError: sizes that differ from batch to batch.
        """
        inputs = channels_to_end(input_shape, self.channel_axis)[1:-1]
        if None in inputs:
            raise ShapeError(
                f"{self.who} keeps images of one size, got inputs of {input_shape} at each step; "
                "give the Input their sizes."
            )
        coarse = self._of_inputs(tuple(size or 0 for size in inputs)).coarse[3 - self.rank :]
        shape = channels_from_end((None, *coarse, self.filters), self.data_format)[1:]
        return tuple(int(size) for size in shape)

    def _of_inputs(self, inputs: tuple[int, ...]) -> Geometry:
        options = (self.kernel_size, self.strides, self.dilation_rate, self.padding)
        return of_windows(self.who, inputs, *options)

    def _of_state(self, inputs: tuple[int, ...]) -> Geometry:
        once = (1,) * self.rank
        return of_windows(self.who, inputs, self.kernel_size, once, once, "same")

    def forward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """a = x * kernel + h * recurrent_kernel + bias, then the gates of each position."""
        x, h, cell = (self._last(op, array) for array in (c.x, *c.states))
        rates = (self.dropout, self.recurrent_dropout) if c.training else (0.0, 0.0)
        lanes = self.lane(c), self.lane(c) + 2**40
        of_inputs = Convolved(c, c.kernel, self._of_inputs(x.shape[1:-1]), rates[0], lanes[0])
        of_state = Convolved(
            c, c.recurrent_kernel, self._of_state(h.shape[1:-1]), rates[1], lanes[1]
        )
        a = total(op, c, of_inputs.forward(op, x), of_state.forward(op, h))
        a = add_bias(op, c, a, c.bias if self.use_bias else None)
        gates = LSTMGates(c, self)
        targets = c.y, c.new_states[1]
        y, new = (self._inside(c, array, h.shape) for array in targets)
        gates.forward(op, y.rows, new.rows, a, cell.rows)
        self._hand_out(op, targets, (y, new))
        c.new_states = targets
        c.saved = gates, of_inputs, of_state

    def backward(self, op: Recorder, c: StepContext) -> None:  # type: ignore[override]
        """Through the gates, then through the convolutions."""
        gates, of_inputs, of_state = c.saved
        dy, dnew = self._last(op, c.dy), self._last(op, c.dnew_states[1])
        targets = c.dx, *c.dstates
        shapes = of_inputs.x.shape, of_state.x.shape, of_state.x.shape
        pairs = zip(targets, shapes, strict=True)
        dx, dh, dcell = (self._inside(c, array, shape) for array, shape in pairs)
        da = gates.backward(op, dcell.rows, dy.rows, dnew.rows)
        if self.use_bias:
            bias_gradient(op, c, c.dbias, da)
        of_inputs.backward(op, dx, c.dkernel, da)
        of_state.backward(op, dh, c.drecurrent_kernel, da)
        self._hand_out(op, targets, (dx, dh, dcell))

    def _last(self, op: Recorder, array: Buffer) -> Buffer:
        """The array with its channels at the end."""
        return move_to_end(op, array, self.channel_axis)

    def _inside(self, c: Context, array: Buffer, shape: tuple[int, ...]) -> Buffer:
        """What to write where the array has its channels at the end."""
        return array if self.data_format == "channels_last" else c.scratch(shape, "inside")

    def _hand_out(self, op: Recorder, to: Sequence[Buffer], arrays: Sequence[Buffer]) -> None:
        """Move channels to where they belong, if that is not the end."""
        for target, array in zip(to, arrays, strict=True):
            if target is not array:
                move_from_end(op, target, array, self.channel_axis)

    def get_config(self) -> dict[str, Any]:
        """The layer's arguments."""
        config = super().get_config()
        del config["units"]
        return {
            **config,
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
        }


class Convolved:
    """z = x * kernel for the four gates, of which each may see x without another share of it."""

    def __init__(
        self, c: Context, kernel: Buffer, geometry: Geometry, rate: float, lane: int
    ) -> None:
        self.c = c
        self.kernel = kernel
        self.geometry = geometry
        self.rate = rate
        self.lane = lane
        self.x: Buffer
        self.factors: list[tuple[Buffer, Buffer]]  # what was convolved, of all gates or of each

    def forward(self, op: Recorder, x: Buffer) -> Buffer:
        """z as a matrix, (batch * positions, 4 * filters)."""
        self.x = x
        self.factors = [(x, self.kernel)]
        if self.rate > 0:
            parts = columns(op, self.c, self.kernel.rows, *[self.kernel.shape[-1] // 4] * 4)
            self.factors = []
            for gate, part in enumerate(parts):
                self.factors.append((self._drop(op, x, gate), part))
        return self._joined(op, [self._convolve(op, *pair) for pair in self.factors])

    def backward(self, op: Recorder, dx: Buffer, dkernel: Buffer, dz: Buffer) -> None:
        """dkernel and dx."""
        count = len(self.factors)
        dzs = columns(op, self.c, dz, *[dz.shape[1] // 4] * 4) if count > 1 else [dz]
        dkernels, dxs = [], []
        for gate, ((x, kernel), dz_gate) in enumerate(zip(self.factors, dzs, strict=True)):
            y = self._output(dz_gate)
            kernel = self._window(kernel)
            dk = self._window(dkernel if count == 1 else self.c.scratch(kernel.shape, "dk"))
            op.convolution_kernel_gradient(
                dk, self._input(x), y, groups=1, **self.geometry.of_convolution
            )
            dropped = dx if count == 1 else self.c.scratch(dx.shape, "ddropped")
            op.transposed_convolution(
                self._input(dropped), y, kernel, groups=1, **self.geometry.of_convolution
            )
            dkernels.append(dk.rows)
            dxs.append(dropped if count == 1 else self._drop(op, dropped, gate))
        if count > 1:
            op.concatenate(dkernel.rows, *dkernels)
            first, second = (total(op, self.c, *pair) for pair in (dxs[:2], dxs[2:]))
            op.add(dx, first, second)

    def _convolve(self, op: Recorder, x: Buffer, kernel: Buffer) -> Buffer:
        rows = x.shape[0] * prod(self.geometry.coarse)
        z = self.c.scratch((rows, kernel.shape[-1]), "z")
        window, geometry = self._window(kernel), self.geometry.of_convolution
        op.convolution(self._output(z), self._input(x), window, groups=1, **geometry)
        return z

    def _joined(self, op: Recorder, parts: list[Buffer]) -> Buffer:
        return parts[0] if len(parts) == 1 else joined(op, self.c, *parts)

    def _drop(self, op: Recorder, x: Buffer, gate: int) -> Buffer:
        y = self.c.scratch(x.shape, "dropped")
        op.dropout(y, x, self.c.random, rate=self.rate, node=self.lane + gate * _GATE)
        return y

    def _input(self, x: Buffer) -> Buffer:
        return x.reshape(x.shape[0], *self.geometry.fine, x.shape[-1])

    def _output(self, z: Buffer) -> Buffer:
        return z.reshape(self.x.shape[0], *self.geometry.coarse, z.shape[-1])

    def _window(self, kernel: Buffer) -> Buffer:
        channels = self.kernel.shape[-2]
        return kernel.reshape(*self.geometry.window, channels, kernel.shape[-1])
