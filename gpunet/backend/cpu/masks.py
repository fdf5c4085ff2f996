"""Masks: which steps of sequences are there (1), and which only fill them up (0)."""

from __future__ import annotations

import numpy as np

from gpunet.backend.cpu.blocks import row_blocks
from gpunet.backend.spec import Array


def row_mask(mask: Array, x: Array, *, value: float = 0.0) -> None:
    """mask = 1 for rows of x in which some number differs from value (NaN does), else 0."""
    wanted = x.dtype.type(value)
    for x_, mask_ in row_blocks(x, mask):
        (x_ != wanted).any(axis=1, out=mask_.view(np.bool_))


def either_mask(y: Array, a: Array, b: Array) -> None:
    """y = 1 where a or b is 1, else 0."""
    np.bitwise_or(a, b, out=y)


def both_mask(y: Array, a: Array, b: Array) -> None:
    """y = 1 where a and b are 1, else 0."""
    np.bitwise_and(a, b, out=y)


def masked_rows(y: Array, x: Array, mask: Array) -> None:
    """y = x in rows whose mask is 1, else 0, whatever x is there."""
    for y_, x_, mask_ in row_blocks(y, x, mask):
        if y is not x:
            np.copyto(y_, x_)
        y_[mask_ == 0] = 0


def mask_shares(shares: Array, mask: Array) -> None:
    """shares = mask / sum(mask) along each row; 0 where nothing is there."""
    for shares_, mask_ in row_blocks(shares, mask):
        count = mask_.sum(axis=1, keepdims=True, dtype=np.float64)
        np.divide(mask_, np.maximum(count, 1.0), out=shares_, casting="same_kind")
