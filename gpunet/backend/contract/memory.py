"""Filling, copying, adding, scaling, choosing and gathering mini-batches."""

from __future__ import annotations

from gpunet.backend.spec import In, InOut, Out, op


@op(y="any: ...")
def fill(y: Out, *, value: float) -> None:
    """y = value."""


@op(y="any: ...", x="any: ...", in_place="y=x")
def copy(y: Out, x: In) -> None:
    """y = x, both of one dtype."""


@op(y="...", a="...", b="...", in_place="y=a y=b")
def add(y: Out, a: In, b: In) -> None:
    """y = a + b."""


@op(y="...", x="any: ...", in_place="y=x")
def scale_shift(y: Out, x: In, *, scale: float, offset: float) -> None:
    """y = scale * x + offset, where x may be of any number type (uint8 pixels, for example)."""


@op(y="any: batch columns", x="any: samples columns", indices="int32: batch")
def gather(y: Out, x: In, indices: In, *, scale: float = 1.0, offset: float = 0.0) -> None:
    """y[i] = scale * x[indices[i]] + offset: a mini-batch out of a data set.

    x may be of any number type and is converted to y's. Indices must lie in [0, samples).
    """


@op(indices="int32: batch", state="uint64: 3", order="int32: samples")
def next_batch(indices: Out, state: InOut, order: In) -> None:
    """indices[i] = order[position + i], then position += batch and pass += 1.

    state = (position, seed, pass): which samples of an epoch come next, and what random ops read.
    Behind its last entry the order begins again.
    """
