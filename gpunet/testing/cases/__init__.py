"""The table of op cases: for every op of the contract a reference, arguments and gradients.

From this table ``tests/backend/test_ops.py`` makes every test of every backend, so that a new op
needs a reference and a row beside it, in the file of its family, and no new test.

In a row's calls a tuple is the shape of normal random numbers, a `Maker` makes other arrays, and
the rest are the op's keyword arguments. Arrays that the op writes are made from the contract; one
is only named where its shape or dtype does not follow from the others, or as ``name=None`` to leave
it out. Shapes are awkward on purpose: nothing divides by 4 or 32, no rows, one column, rows longer
than a thread block, and arrays of more than one block of the cpu backend.
"""

from __future__ import annotations

from gpunet.testing.cases import (
    activations,
    attention,
    caching,
    channel_norms,
    constraints,
    convolution,
    embedding,
    focal_losses,
    fused_attention,
    gemm,
    images,
    losses,
    masks,
    memory,
    merging,
    metrics,
    optimizers,
    overlap_losses,
    pooling,
    positions,
    random,
    recurrent,
    regularizers,
    row_losses,
    row_norms,
    sequence_losses,
    shapes,
)
from gpunet.testing.op_checks import Case

CASES: dict[str, Case] = {
    case.op: case
    for family in (
        memory,
        masks,
        merging,
        activations,
        channel_norms,
        gemm,
        attention,
        fused_attention,
        caching,
        convolution,
        pooling,
        positions,
        embedding,
        images,
        losses,
        focal_losses,
        row_losses,
        sequence_losses,
        row_norms,
        shapes,
        overlap_losses,
        metrics,
        random,
        recurrent,
        optimizers,
        regularizers,
        constraints,
    )
    for case in family.CASES
}
"""Every op of the contract by name."""
