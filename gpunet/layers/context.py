"""What a layer's forward and backward work with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpunet.engine.recorder import Buffer, Recorder

Buffers = Any  # one Buffer, or a tuple of them where a layer has several inputs or outputs


class Context:
    """What forward and backward of one call of a layer work with.

    ``c.x`` and ``c.y`` are the input and the output, ``c.dx`` and ``c.dy`` their gradients. Where
    the layer has several inputs x and dx are tuples, where it has several outputs y and dy, and
    None stands in dy for what nobody needs. Each weight stands under its name
    and its gradient under d + name: ``c.kernel``, ``c.dkernel``. What forward stores on the
    context, backward finds there. They are handles with a shape and a dtype; where a model was
    compiled with run_eagerly=True they also have numbers: ``print(c.x.numpy())``.

    Attributes:
        saved: what forward keeps for backward: arrays of an activation, or statistics.
        hidden: what else a layer of several steps keeps: results of the first ones.
        mask: which steps of the input are there, uint8 (batch, steps), or None where all are; a
            tuple where the layer has several inputs.
        new_mask: the mask of the output, if the layer makes one; see `Layer.compute_mask`.
        training: whether the pass trains.
        options: what the call of the layer said besides its inputs, by name.
        node: the number of the call in its graph; random streams differ from call to call.
        random: the device array (seed, pass) that random ops read.
        positions: where in longer sequences the few steps at hand stand, int32 (steps,); None where
            sequences are whole. See `Layer.can_step`.
        moving: beside positions, for each input whether it has these steps alone.
    """

    x: Buffers
    dx: Buffers
    y: Buffers
    dy: Buffers
    mask: Any
    new_mask: Buffer
    saved: Any
    hidden: Any
    training: bool
    options: Mapping[str, bool]
    node: int
    random: Buffer
    positions: Buffer | None = None
    moving: Sequence[bool] = ()
    caches: Any = None

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

    def scratch(
        self, shape: Sequence[int], name: str = "scratch", dtype: str | None = None
    ) -> Buffer:
        """Memory that this layer needs: alive from its first write to its last read, which may
        lie in backward. The plan finds the lifetime by itself."""  # noqa: D205, D209
        return self._op.scratch(tuple(shape), dtype, name=name)

    def cache(self, shape: Sequence[int], name: str, dtype: str | None = None) -> Buffer:
        """Memory (batch, all positions, *shape) that stays from step to step, beside positions."""
        cached: Buffer = self.caches(self.node, tuple(shape), name, dtype)
        return cached
