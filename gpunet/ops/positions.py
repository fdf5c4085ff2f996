"""Plain functions: positions in sequences."""

from __future__ import annotations

from typing import Any

from gpunet.backend.dispatch import as_array, run_op
from gpunet.backend.spec import Array


def waves(
    length: int,
    columns: int,
    max_wavelength: float = 10000.0,
    scale: float = 1.0,
    positions: Any = None,
) -> Array:
    """Sines and cosines of the positions 0, 1, ..., a row each: (length, columns).

    Columns 2 j and 2 j + 1 are the sine and the cosine of scale * position *
    max_wavelength^(-2 j / columns).

    Args:
        length: how many positions.
        columns: how many numbers for each.
        max_wavelength: the longest wave has (almost) 2 pi times as many positions.
        scale: a factor of all positions.
        positions: int32 (length,): these positions instead of 0, 1, ...

    >>> waves(2, 4).round(3)
    array([[0.   , 1.   , 0.   , 1.   ],
           [0.841, 0.54 , 0.01 , 1.   ]], dtype=float32)
    """
    sizes = {"length": length, "columns": columns}
    numbers = {"max_wavelength": max_wavelength, "scale": scale}
    return run_op("waves", {"positions": positions}, None, sizes, **numbers)["y"]


def rotary(x: Any, table: Any, inverse: bool = False) -> Array:
    """Turn the pairs (x[j], x[size / 2 + j]) of each row by the angle of their position.

    Args:
        x: (batch, length, heads, size), of an even size.
        table: (length, size), which `waves` makes: sine and cosine of each pair's angle in turn.
        inverse: whether to turn back, which is also the gradient.

    >>> rotary([[[[1.0, 0.0]], [[1.0, 0.0]]]], waves(2, 2)).round(3)
    array([[[[1.   , 0.   ]],
    <BLANKLINE>
            [[0.54 , 0.841]]]], dtype=float32)
    """
    return run_op("rotary", {"x": x, "table": table}, inverse=inverse)["y"]


def position_rows(table: Any, batch: int, length: int, positions: Any = None) -> Array:
    """Rows 0, 1, ... of a table, the same for all samples: (batch, length, columns).

    Args:
        table: (rows, columns); positions that it has no row for give rows of NaN.
        batch: how many samples.
        length: how many positions.
        positions: int32 (length,): these positions instead of 0, 1, ...

    >>> position_rows([[1, 2], [3, 4]], batch=2, length=1)
    array([[[1., 2.]],
    <BLANKLINE>
           [[1., 2.]]], dtype=float32)
    """
    arrays = {"table": table, "positions": positions}
    return run_op("position_rows", arrays, None, {"batch": batch, "length": length})["y"]


def position_rows_backward(dy: Any, rows: int) -> Array:
    """The gradient of the table: sums over samples in the rows of the positions, else 0.

    Args:
        dy: (batch, length, columns).
        rows: how many rows the table has.

    >>> position_rows_backward([[[1, 2]], [[3, 4]]], rows=2)
    array([[4., 6.],
           [0., 0.]], dtype=float32)
    """
    arrays = {"dy": as_array(dy)}
    return run_op("position_rows_backward", arrays, None, {"rows": rows})["dtable"]
