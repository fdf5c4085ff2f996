"""Attention in one op: the weights between queries and keys never exist in memory as a whole.

Queries are (batch, length, heads, size), keys (batch, keys, key_heads, size), values (batch, keys,
key_heads, value_size): the layout that their projections have. Where there are fewer key_heads than
heads, heads / key_heads queries' heads in a row share the keys and values of one (grouped queries;
with one key_head multi-query attention).

Query i of a sample sees key j where all of this holds, in which a mask that is None has only ones:

- query_mask[i], key_mask[j] and attention_mask[i, j] are not 0,
- j <= i if causal,
- |i - j| < sliding_window if there is one.

The weights of a query are a softmax over the keys that it sees. A query that sees none takes
nothing: its y is 0. (Keras is at odds with itself there: 0 where MultiHeadAttention returns its
scores or drops some, the mean of all values where it does not. 0 is what says that what is masked
has no effect.)

With a rate above 0 each weight is dropped or divided by 1 - rate: as op `dropout` with this node
would do it to the weights as an array (batch, heads, length, keys).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.backend.spec import In, Out, Scratch, Shapes, op
from gpunet.errors import ArgumentError, ShapeError

LARGEST_SIZE = 128
"""Of a head: a tile of larger ones would not fit a GPU's shared memory."""

_QUERIES = "batch length heads size"
_KEYS = "batch keys key_heads size"
_OUTPUTS = "batch length heads value_size"
_VALUES = "batch keys key_heads value_size"
_ROWS = "full: batch heads length"
_QUERY_MASK = "uint8: batch length"
_KEY_MASK = "uint8: batch keys"
_ATTENTION_MASK = "uint8: batch length keys"
_RANDOM = "uint64: 2"

BLOCK = 64 * 1024
"""Weights that are at hand at the same time on the CPU: 256 KiB of float32; at least those of a
query."""
_BLOCKS = 1 << 20  # elements: 4 MiB of float32, for several threads
_ALIGNMENT = 16


def _fits(name: str, shapes: Shapes, attributes: Mapping[str, Any]) -> None:
    heads, size = shapes["q"][2:]
    key_heads, value_size = shapes["v"][2:]
    if key_heads == 0 or heads % key_heads or max(size, value_size) > LARGEST_SIZE:
        raise ShapeError(
            f"op {name} takes heads of at most {LARGEST_SIZE} numbers and as many heads of queries "
            f"as of keys or a multiple, got {heads} of {size} and {key_heads} of {value_size}."
        )
    rate, window = attributes.get("rate", 0.0), attributes.get("sliding_window")
    if not 0 <= rate < 1 or (window is not None and window < 1):
        raise ArgumentError(
            f"op {name} takes a rate in [0, 1) and a sliding_window of at least 1 or None, got "
            f"{rate} and {window}."
        )
    if rate > 0 and "random" not in shapes:
        raise ArgumentError(f"op {name} needs an array for 'random' where rate > 0, got None.")


def queries_of_block(length: int, group: int, keys: int, sizes: int) -> int:
    """How many queries of a head, or of a group of heads, have a block of weights together."""
    return max(1, min(length, BLOCK // max(1, group * max(keys, sizes))))


def _of_forward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """For blocks of queries, in each of several threads: what a query needs, and its weights."""
    batch, length, heads, size = shapes["q"]
    keys, key_heads, value_size = shapes["v"][1:]
    group, sizes = heads // key_heads, size + value_size
    block = group * queries_of_block(length, group, keys, sizes) * (2 * keys + sizes)
    return 2 * (block + _ALIGNMENT) + min(batch * key_heads * block, _BLOCKS)


def _of_backward(shapes: Shapes, attributes: Mapping[str, Any]) -> int:
    """The same, with all keys of a head beside a block; and a sum of dy y for each query."""
    batch, length, heads, size = shapes["q"]
    keys, key_heads, value_size = shapes["v"][1:]
    group, sizes = heads // key_heads, size + value_size
    largest = max(size, value_size)
    block = group * queries_of_block(length, group, keys, sizes) * (3 * keys + sizes + largest)
    block += keys * largest
    least = 2 * (block + _ALIGNMENT)
    return batch * heads * length + least + min(batch * key_heads * block, _BLOCKS)


@op(
    _fits,
    _of_forward,
    y=_OUTPUTS,
    logsumexp=_ROWS,
    q=_QUERIES,
    k=_KEYS,
    v=_VALUES,
    query_mask=_QUERY_MASK,
    key_mask=_KEY_MASK,
    attention_mask=_ATTENTION_MASK,
    random=_RANDOM,
    scratch="full: scratch_size",
)
def fused_attention(
    y: Out,
    logsumexp: Out,
    q: In,
    k: In,
    v: In,
    query_mask: In | None = None,
    key_mask: In | None = None,
    attention_mask: In | None = None,
    random: In | None = None,
    scratch: Scratch = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """y = dropout(weights) v, where weights = softmax(scale q k^T) over the keys that are seen.

    logsumexp of a query is log(sum(exp(scores))) over its keys, of which backward makes the weights
    again; -inf where it sees none.
    """


@op(
    _fits,
    _of_backward,
    dq=_QUERIES,
    dk=_KEYS,
    dv=_VALUES,
    dy=_OUTPUTS,
    y=_OUTPUTS,
    logsumexp=_ROWS,
    q=_QUERIES,
    k=_KEYS,
    v=_VALUES,
    query_mask=_QUERY_MASK,
    key_mask=_KEY_MASK,
    attention_mask=_ATTENTION_MASK,
    random=_RANDOM,
    scratch="full: scratch_size",
)
def fused_attention_backward(
    dq: Out,
    dk: Out,
    dv: Out,
    dy: In,
    y: In,
    logsumexp: In,
    q: In,
    k: In,
    v: In,
    query_mask: In | None = None,
    key_mask: In | None = None,
    attention_mask: In | None = None,
    random: In | None = None,
    scratch: Scratch = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> None:
    """The gradients of q, k and v from that of y.

    weights = exp(scale q k^T - logsumexp), 0 for keys that are not seen;
    dv = dropout(weights)^T dy;
    dscores = weights (dropout(dy v^T) - sum(dy y)), the sum along each row of y;
    dq = scale dscores k; dk = scale dscores^T q.
    """
