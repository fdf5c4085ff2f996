"""Looking up rows of a table by number, and the gradient of the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, Out, Scratch, Shapes, Sum, op

CHUNK = 1024
"""Numbers that are sorted at a time, in shared memory."""


@op(y="tokens columns", table="rows columns", indices="int32: tokens")
def embedding(y: Out, table: In, indices: In) -> None:
    """y[i] = table[indices[i]].

    A number outside of [0, rows) gives a row of NaN.
    """


def _scratch(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """Room to sort: twice a number and its place, in whole chunks."""
    return 4 * -(-shapes["indices"][0] // CHUNK) * CHUNK


@op(
    None,
    _scratch,
    dtable="rows columns",
    dy="tokens columns",
    indices="int32: tokens",
    scratch="full: scratch_size",
)
def embedding_backward(
    dtable: Sum, dy: In, indices: In, scratch: Scratch = None, *, accumulate: bool = False
) -> None:
    """dtable[k] = the sum of dy[i] over all i with indices[i] = k.

    Numbers outside of [0, rows) add to no row.
    """
