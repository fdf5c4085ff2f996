"""Attention step by step: keys and values of earlier positions wait in a cache.

A cache (batch, capacity, ...) has a row for each position of a sequence. The few positions that are
computed at a time, ``positions``, lie on the device: their rows are inserted, and their queries see
all rows up to their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, InOut, Out, Scratch, Shapes, op
from gpunet.errors import ShapeError


@op(
    cache="any: batch capacity columns",
    x="any: batch length columns",
    positions="int32: length",
)
def insert_rows(cache: InOut, x: In, positions: In) -> None:
    """cache[b, positions[i]] = x[b, i], both of one dtype.

    Positions outside of [0, capacity) are left out.
    """


def _grouped(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    heads, key_heads = shapes["q"][2], shapes["keys"][2]
    if key_heads == 0 or heads % key_heads:
        raise ShapeError(
            f"op {name} takes as many heads of queries as of keys or a multiple, got {heads} and "
            f"{key_heads}."
        )


def _scores(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    batch, length, heads, _ = shapes["q"]
    return batch * length * heads * shapes["keys"][1]


@op(
    _grouped,
    _scores,
    y="batch length heads value_size",
    q="batch length heads size",
    keys="batch capacity key_heads size",
    values="batch capacity key_heads value_size",
    positions="int32: length",
    mask="uint8: batch capacity",
    scratch="full: scratch_size",
)
def cached_attention(
    y: Out,
    q: In,
    keys: In,
    values: In,
    positions: In,
    mask: In | None = None,
    scratch: Scratch = None,
    *,
    scale: float = 1.0,
    sliding_window: int | None = None,
) -> None:
    """y = softmax(scale q keys^T) values over the rows j that query i sees, for each head.

    These are the rows j <= positions[i] whose mask is not 0, with positions[i] - j < sliding_window
    if there is one. A query that sees none has y = 0. Where there are fewer heads of keys than of
    queries, neighbouring heads of queries share one.
    """
