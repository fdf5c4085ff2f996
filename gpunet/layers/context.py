"""What a layer's forward and backward work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder
from gpunet.errors import ArgumentError

Buffers = Any  # one Buffer, or a tuple of them where a layer has several inputs


class Context:
    """What forward and backward of one call of a layer work with.

    ``c.x`` and ``c.y`` are the input and the output, ``c.dx`` and ``c.dy`` their gradients (``x``
    and ``dx`` are tuples where the layer has several inputs). Each weight stands under its name
    and its gradient under d + name: ``c.kernel``, ``c.dkernel``. What forward stores on the
    context, backward finds there. They are handles with a shape and a dtype; where a model was
    compiled with run_eagerly=True they also have numbers: ``print(c.x.numpy())``.

    Attributes:
        saved: what forward keeps for backward: arrays of an activation, or statistics.
        hidden: what else a layer of several steps keeps: the result of the first.
        training: whether the pass trains.
        options: what the call of the layer said besides its inputs, by name.
        node: the number of the call in its graph; random streams differ from call to call.
        random: the device array (seed, pass) that random ops read.
        positions: where in longer sequences the few steps at hand stand, int32 (steps,); None where
            sequences are whole.
    """

    x: Buffers
    dx: Buffers
    y: Buffer
    dy: Buffer
    saved: Any
    hidden: Buffer
    training: bool
    options: Mapping[str, bool]
    node: int
    random: Buffer
    positions: Buffer | None = None

    def __init__(
        self,
        op: Recorder,
        training: bool,
        node: int,
        random: Buffer,
        options: Mapping[str, bool] | None = None,
    ) -> None:
        self._op = op
        self.training = training
        self.options = options or {}
        self.node = node
        self.random = random

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"the layer's context has no {name!r}; it has {', '.join(vars(self))}."
        )

    def scratch(self, shape: Sequence[int], name: str = "scratch") -> Buffer:
        """Memory that this layer needs: alive from its first write to its last read, which may
        lie in backward. The plan finds the lifetime by itself."""  # noqa: D205, D209
        return self._op.scratch(tuple(shape), name=name)


def check_options(label: str, known: Sequence[str], options: Mapping[str, Any]) -> None:
    """Check what a call of a layer says besides its inputs.

    Raises:
        ArgumentError: an option that the layer does not know, or that is neither True nor False.
    """
    for name, value in options.items():
        if name not in known or not isinstance(value, bool):
            flags = "".join(f" and {option}=True" for option in known)
            raise ArgumentError(
                f"a call of layer {label!r} takes tensors{flags}, got {name}={value!r}."
            )
