"""Masks: which steps of sequences are there (1), and which only fill them up (0); uint8."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, op


@op(mask="uint8: rows", x="rows columns | int32: rows columns")
def row_mask(mask: Out, x: In, *, value: float = 0.0) -> None:
    """mask = 1 for rows of x in which some number differs from value (NaN does), else 0."""


@op(y="uint8: ...", a="uint8: ...", b="uint8: ...", in_place="y=a y=b")
def either_mask(y: Out, a: In, b: In) -> None:
    """y = 1 where a or b is 1, else 0."""


@op(y="uint8: ...", a="uint8: ...", b="uint8: ...", in_place="y=a y=b")
def both_mask(y: Out, a: In, b: In) -> None:
    """y = 1 where a and b are 1, else 0."""


@op(y="rows columns", x="rows columns", mask="uint8: rows", in_place="y=x")
def masked_rows(y: Out, x: In, mask: In) -> None:
    """y = x in rows whose mask is 1, else 0, whatever x is there."""


@op(shares="rows columns", mask="uint8: rows columns")
def mask_shares(shares: Out, mask: In) -> None:
    """shares = mask / sum(mask) along each row: the weights of a mean; 0 where nothing is there."""
