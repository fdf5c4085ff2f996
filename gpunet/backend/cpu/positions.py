"""Positions in sequences: waves of many lengths, rotations by them, rows of a table."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import BLOCK, row_blocks
from gpunet.backend.cpu.embedding import embedding
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.spec import Array


def waves(
    y: Array,
    positions: Array | None,
    *,
    max_wavelength: float = 10000.0,
    scale: float = 1.0,
) -> None:
    """y[i, c] = sin(angle) where c is even, cos(angle) where it is odd."""
    length, columns = y.shape
    places = np.arange(length) if positions is None else positions
    pairs = np.arange((columns + 1) // 2)
    frequencies = scale * max_wavelength ** (-2.0 * pairs / max(columns, 1))
    for y_, places_ in row_blocks(y, places, size=BLOCK // 2):
        angles = np.outer(places_, frequencies)  # (length, pairs), float64
        y_[:, 0::2] = np.sin(angles)
        y_[:, 1::2] = np.cos(angles[:, : columns // 2])


@prepared
def rotary(y: Array, x: Array, table: Array, *, inverse: bool = False) -> Call:
    """Turn the pairs (x[j], x[size / 2 + j]) of each row by the angle of their position."""
    half = x.shape[3] // 2
    combine = (np.add, np.subtract) if inverse else (np.subtract, np.add)

    def turn(y_: Array, x_: Array, table_: Array) -> None:
        sin, cos = table_[:, None, 0::2], table_[:, None, 1::2]  # (length, 1, half)
        x1, x2, y1, y2 = x_[..., :half], x_[..., half:], y_[..., :half], y_[..., half:]
        first, second = x1 * sin, x2 * sin
        np.multiply(x1, cos, out=y1)
        np.multiply(x2, cos, out=y2)
        combine[0](y1, second, out=y1)
        combine[1](y2, first, out=y2)

    def run() -> None:
        if x[:1].size <= BLOCK:
            for y_, x_ in row_blocks(y, x):
                turn(y_, x_, table)
        else:
            for y_, x_ in zip(y, x, strict=True):
                for block in row_blocks(y_, x_, table):
                    turn(*block)

    return run


def position_rows(y: Array, table: Array, positions: Array | None) -> None:
    """y[b, i] = table[position] for all samples b."""
    batch, length, _ = y.shape
    if positions is None and length <= len(table):
        np.copyto(y, table[:length])
    elif batch:
        places = np.arange(length, dtype=np.int32) if positions is None else positions
        embedding(y[0], table, places)
        np.copyto(y[1:], y[0])


def position_rows_backward(dtable: Array, dy: Array, *, accumulate: bool = False) -> None:
    """dtable[i] = the sum of dy[b, i] over all samples b; 0 in the other rows."""
    rows = min(len(dtable), dy.shape[1])
    if not accumulate:
        np.sum(dy[:, :rows], axis=0, out=dtable[:rows])
        dtable[rows:] = 0.0
        return
    for sample in dy:
        np.add(dtable[:rows], sample[:rows], out=dtable[:rows])
