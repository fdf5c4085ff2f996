"""Positions in sequences: waves of many lengths, rotations by them, rows of a table of positions.

The position of row i of a sequence is i, or positions[i] where an array says it: so a few rows of
longer sequences are computed as if the others were there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, Out, Shapes, Sum, op
from gpunet.errors import ShapeError


@op(y="length columns", positions="int32: length")
def waves(
    y: Out,
    positions: In | None,
    *,
    max_wavelength: float = 10000.0,
    scale: float = 1.0,
) -> None:
    """y[i, c] = sin(angle) where c is even, cos(angle) where it is odd.

    angle = scale * position * max_wavelength^(-2 (c // 2) / columns): neighbours share an angle. It
    is computed in float64 and reduced to one turn before anything is rounded.
    """


def _pairs(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    if shapes["x"][3] % 2:
        raise ShapeError(
            f"op {name} turns pairs of elements; got rows of {shapes['x'][3]}, which is odd."
        )


@op(
    _pairs,
    y="batch length heads size",
    x="batch length heads size",
    table="full: length size",
    in_place="y=x",
)
def rotary(y: Out, x: In, table: In, *, inverse: bool = False) -> None:
    """Turn the pairs (x[j], x[size / 2 + j]) of each row by the angle of their position.

    The table is that of `waves`: (sin, cos) of each pair's angle in turn. The gradient is the
    rotation by the negative angle, ``inverse``.
    """


@op(y="batch length columns", table="rows columns", positions="int32: length")
def position_rows(y: Out, table: In, positions: In | None) -> None:
    """y[b, i] = table[position] for all samples b; a row of NaN where the table has no such row."""


@op(dtable="rows columns", dy="batch length columns")
def position_rows_backward(dtable: Sum, dy: In, *, accumulate: bool = False) -> None:
    """dtable[i] = the sum of dy[b, i] over all samples b; 0 in the other rows."""
