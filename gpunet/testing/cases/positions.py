"""Op cases: positions in sequences. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import Array, Case, Gradient, Values, given, integers


def waves(
    y: Array,
    positions: Array | None = None,
    max_wavelength: float = 10000.0,
    scale: float = 1.0,
) -> Values:
    """Sines and cosines in turn; neighbours share an angle."""
    length, columns = y.shape
    column = np.arange(columns)
    place = np.arange(length) if positions is None else positions
    frequency = scale / max_wavelength ** (2 * (column // 2) / max(columns, 1))
    angle = place[:, None] * frequency
    return {"y": np.where(column % 2 == 0, np.sin(angle), np.cos(angle))}


def rotary(x: Array, table: Array, inverse: bool = False) -> Values:
    """Each pair as a complex number, times that of its angle."""
    half = x.shape[3] // 2
    turn = table[:, None, 1::2] + (-1j if inverse else 1j) * table[:, None, 0::2]
    turned = (x[..., :half] + 1j * x[..., half:]) * turn
    return {"y": np.concatenate([turned.real, turned.imag], axis=3)}


def position_rows(y: Array, table: Array, positions: Array | None = None) -> Values:
    """One row of the table for each position, NaN where it has none."""
    place = np.arange(y.shape[1]) if positions is None else positions
    inside = (place >= 0) & (place < len(table))
    rows = np.full((y.shape[1], y.shape[2]), np.nan)
    rows[inside] = table[place[inside]]
    return {"y": np.broadcast_to(rows, y.shape)}


def position_rows_backward(dtable: Array, dy: Array) -> Values:
    """The sum over samples, in the rows of the positions."""
    sums = np.zeros(dtable.shape)
    rows = min(len(dtable), dy.shape[1])
    sums[:rows] = dy[:, :rows].sum(axis=0)
    return {"dtable": sums}


# ---------------------------------------------------------------------------------- the rows

# batch, length, heads, size
_HEADS = (
    (2, 5, 3, 14),
    (3, 7, 1, 64),
    (1, 33, 2, 40),
    (2, 1, 2, 2050),
    (0, 3, 2, 4),
    (2, 300, 2, 64),
)
# batch, length, rows, columns
_ROWS = ((2, 7, 7, 33), (3, 5, 9, 64), (1, 9, 4, 1025), (4, 3, 5, 31), (0, 3, 5, 8))

CASES = (
    Case(
        "waves",
        waves,
        (
            {"y": (7, 10)},
            {"y": (130, 33), "scale": 0.25},
            {"y": (5, 64), "max_wavelength": 100.0, "positions": integers(5, high=1000000)},
            {"y": (1, 1)},
            {"y": (0, 8)},
        ),
        float64=1e-9,  # of an angle of a million
    ),
    Case(
        "rotary",
        rotary,
        tuple(
            {"x": shape, "table": shape[1::2], "inverse": inverse}
            for shape in _HEADS
            for inverse in (False, True)
        ),
        (
            Gradient(
                "rotary",
                "y",
                {"y": "x"},
                {"x": "dy", "table": "table"},
                lambda flags: {"inverse": not flags["inverse"]},
            ),
        ),
    ),
    Case(
        "position_rows",
        position_rows,
        (
            *(
                {"y": (batch, length, columns), "table": (rows, columns)}
                for batch, length, rows, columns in _ROWS
            ),
            {"y": (2, 4, 1000), "table": (6, 1000), "positions": given([5, 0, -1, 6], "int32")},
        ),
        (
            Gradient(
                "position_rows_backward",
                "y",
                {"dtable": "table"},
                {"dtable": "table", "dy": "dy"},
            ),
        ),
    ),
    Case(
        "position_rows_backward",
        position_rows_backward,
        tuple(
            {"dtable": (rows, columns), "dy": (batch, length, columns)}
            for batch, length, rows, columns in _ROWS
        ),
    ),
)
