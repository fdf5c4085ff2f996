"""Attention in one op: a block of weights at a time, which stays in the cache.

The queries of a block and their heads that share keys are the rows of one matrix, so that grouped
queries need no copies of keys and values. A pass over a block takes 4 us for 64 Ki weights that lie
in the cache, its product 80: copies that would spare passes cost more than they.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunet.backend.contract.fused_attention import BLOCK, queries_of_block
from gpunet.backend.cpu.attention import exponentiate, hide_unseen
from gpunet.backend.cpu.blocks import ZERO
from gpunet.backend.cpu.prepared import Call, prepared
from gpunet.backend.cpu.random import kept_numbers
from gpunet.backend.cpu.slabs import Slab, Task, bind_slabs
from gpunet.backend.cpu.windows import split
from gpunet.backend.spec import Array

FEW_QUERIES = 64
"""Queries of a block if they see only a part of the keys: fewer multiply less in vain, but each
block has its fixed costs."""


class _Block(NamedTuple):
    """Some weights: of which samples and heads of keys, which queries, and which keys."""

    samples: slice
    heads: slice
    queries: slice
    keys: slice

    def of_queries(self, array: Array) -> Array:
        """Its part of an array (batch, key_heads, group, length, ...)."""
        return array[self.samples, self.heads, :, self.queries]

    def of_keys(self, array: Array) -> Array:
        """Its part of an array (batch, key_heads, 1, keys, size), without the group."""
        return array[self.samples, self.heads, 0, self.keys]


class _Weights:
    """What both ops know of the weights: which keys are seen, and which weights are dropped.

    Attributes:
        heads: the shape that is cut into slabs, (batch, key_heads, length).
        keys: how many there are.
        group: how many heads of queries share the keys of one.
        rows: how many queries a block has.
    """

    def __init__(
        self,
        q: Array,
        v: Array,
        masks: tuple[Array | None, Array | None, Array | None],
        random: Array | None,
        options: dict[str, Any],
    ) -> None:
        batch, length, heads, size = q.shape
        key_heads, value_size = v.shape[2:]
        self.keys: int = v.shape[1]
        self.heads = (batch, key_heads, length)
        self.group: int = heads // key_heads
        self.masks = masks
        self.random = random
        self.rate = options["rate"]
        self.node = options["node"]
        self.causal = options["causal"]
        self.window = options["sliding_window"]
        rows = queries_of_block(length, self.group, self.keys, size + value_size)
        if self.causal or self.window is not None:
            rows = min(rows, FEW_QUERIES)
        self.rows: int = rows

    def blocks(self, slab: Slab) -> Iterator[_Block]:
        """Blocks of queries, with the keys that some of them may see, at least one."""
        for start in range(slab[2].start, slab[2].stop, self.rows):
            stop = min(start + self.rows, slab[2].stop)
            first, last = 0, self.keys
            if self.window is not None:
                first, last = start - self.window + 1, stop + self.window - 1
            if self.causal:
                last = min(last, stop)
            first = max(0, min(first, self.keys - 1))
            last = max(first + 1, min(last, self.keys))
            yield _Block(slab[0], slab[1], slice(start, stop), slice(first, last))

    def hide(self, scores: Array, block: _Block) -> None:
        """scores (samples, heads, group, queries, keys) = -inf where a key is not seen."""
        masks = [None if mask is None else mask[block.samples] for mask in self.masks]
        hide_unseen(scores, block.queries, block.keys, masks, self.causal, self.window)

    def factors(self, scratch: Array, like: Array, block: _Block) -> Array:
        """1 / (1 - rate) for each weight that is kept, 0 for the others."""
        factors, _ = split(scratch, *like.shape)  # (samples, heads, group, queries, keys)
        samples, heads, queries, keys = block
        count = (queries.stop - queries.start) * self.keys
        for index in np.ndindex(*factors.shape[:3]):
            head = (heads.start + index[1]) * self.group + index[2]
            row = (samples.start + index[0]) * self.heads[1] * self.group + head
            first = (row * self.heads[2] + queries.start) * self.keys
            kept = kept_numbers(self.random, first, count, rate=self.rate, node=self.node)
            np.copyto(factors[index], kept.reshape(-1, self.keys)[:, keys])
        return np.multiply(factors, 1.0 / (1.0 - self.rate), out=factors)


@prepared
def fused_attention(
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    random: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Call:
    """y = dropout(weights) v, where weights = softmax(scale q k^T) over the keys that are seen."""
    if k.shape[1] == 0:
        return lambda: (y.fill(0.0), logsumexp.fill(-np.inf))
    options = {"rate": rate, "node": node, "causal": causal, "sliding_window": sliding_window}
    weights = _Weights(q, v, (query_mask, key_mask, attention_mask), random, options)
    q_, k_, v_, y_ = (_by_head(array, k.shape[2]) for array in (q, k, v, y))
    logsumexp_ = logsumexp.reshape(y_.shape[:4])

    def attend(slab: Slab, scratch: Array) -> None:
        for block in weights.blocks(slab):
            of_queries = [block.of_queries(array) for array in (y_, logsumexp_, q_)]
            of_keys = [block.of_keys(array) for array in (k_, v_)]
            arrays = (*of_queries, *of_keys)
            _attend(*arrays, scratch=scratch, scale=scale, weights=weights, block=block)

    def cost(samples: int, heads: int, rows: int) -> int:
        of_query: int = 2 * weights.keys + q.shape[3] + v.shape[3]
        return samples * heads * weights.group * min(rows, weights.rows) * of_query

    limit = max(2 * BLOCK, cost(1, 1, 1))
    return bind_slabs([Task(weights.heads, cost, limit, partial(partial, attend))], scratch)


def _attend(
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    *,
    scratch: Array,
    scale: float,
    weights: _Weights,
    block: _Block,
) -> None:
    """Of a block: q and y (samples, heads, group, queries, ...), k and v without a group."""
    rows, rest = _matrices(scratch, q)
    powers, rest = split(rest, *q.shape[:4], k.shape[2])
    np.matmul(rows, k.swapaxes(2, 3), out=_joined(powers))
    np.multiply(powers, scale, out=powers)
    weights.hide(powers, block)
    largest, total = exponentiate(powers)
    if weights.rate > 0:
        np.multiply(powers, weights.factors(rest, powers, block), out=powers)
    _multiply(y, _joined(powers), v, rest)
    np.divide(y, total[..., None], out=y)
    np.add(largest, np.log(total), out=logsumexp)


@prepared
def fused_attention_backward(
    dq: Array,
    dk: Array,
    dv: Array,
    dy: Array,
    y: Array,
    logsumexp: Array,
    q: Array,
    k: Array,
    v: Array,
    query_mask: Array | None = None,
    key_mask: Array | None = None,
    attention_mask: Array | None = None,
    random: Array | None = None,
    scratch: Array = None,
    *,
    scale: float = 1.0,
    rate: float = 0.0,
    node: int = 0,
    causal: bool = False,
    sliding_window: int | None = None,
) -> Call:
    """The gradients of q, k and v; the weights are exp(scale q k^T - logsumexp)."""
    if k.shape[1] == 0:
        return partial(dq.fill, 0.0)
    options = {"rate": rate, "node": node, "causal": causal, "sliding_window": sliding_window}
    weights = _Weights(q, v, (query_mask, key_mask, attention_mask), random, options)
    queries = [_by_head(array, k.shape[2]) for array in (dq, dy, y, q)]
    queries.append(logsumexp.reshape(queries[0].shape[:4]))
    keys = [_by_head(array, k.shape[2]) for array in (dk, dv)]
    keys += [_by_head(array, k.shape[2]) for array in (k, v)]

    def add_gradients(slab: Slab, scratch: Array) -> None:
        blocks = list(reversed(list(weights.blocks(slab))))
        whole = blocks[0].keys == slice(0, weights.keys)  # the last queries see the most
        if not whole:
            for array in keys[:2]:
                array[slab[:2]].fill(0.0)
        for number, block in enumerate(blocks):
            of_queries = [block.of_queries(array) for array in queries]
            of_keys = [block.of_keys(array) for array in keys]
            arrays = (*of_queries, *of_keys)
            adds = number > 0 or not whole
            _gradients(
                *arrays, adds=adds, scratch=scratch, scale=scale, weights=weights, block=block
            )

    def cost(samples: int, heads: int, rows: int) -> int:
        del rows  # all: they add to the gradients of the same keys
        largest: int = max(q.shape[3], v.shape[3])
        of_query: int = 3 * weights.keys + q.shape[3] + v.shape[3] + largest
        of_queries = weights.group * weights.rows * of_query
        return samples * heads * (weights.keys * largest + of_queries)

    limit = max(4 * BLOCK, cost(1, 1, 1))
    return bind_slabs([Task(weights.heads, cost, limit, partial(partial, add_gradients))], scratch)


def _gradients(
    dq: Array,
    dy: Array,
    y: Array,
    q: Array,
    logsumexp: Array,
    dk: Array,
    dv: Array,
    k: Array,
    v: Array,
    *,
    adds: bool,
    scratch: Array,
    scale: float,
    weights: _Weights,
    block: _Block,
) -> None:
    """Of a block, as in `_attend`; dk and dv are written, or added to."""
    shift = np.where(np.isneginf(logsumexp), ZERO, logsumexp)  # where no key is seen
    sums = np.einsum("...s,...s->...", dy, y)
    rows, rest = _matrices(scratch, q)
    dy_rows, rest = _matrices(rest, dy)
    powers, rest = split(rest, *q.shape[:4], k.shape[2])
    dscores, rest = split(rest, *powers.shape)
    np.matmul(rows, k.swapaxes(2, 3), out=_joined(powers))
    np.multiply(powers, scale, out=powers)
    weights.hide(powers, block)
    np.subtract(powers, shift[..., None], out=powers)
    np.exp(powers, out=powers)
    np.matmul(dy_rows, v.swapaxes(2, 3), out=_joined(dscores))
    if weights.rate > 0:
        factors = weights.factors(rest, powers, block)
        np.multiply(dscores, factors, out=dscores)
    np.subtract(dscores, sums[..., None], out=dscores)
    np.multiply(dscores, powers, out=dscores)
    np.multiply(dscores, scale, out=dscores)
    if weights.rate > 0:
        np.multiply(powers, factors, out=powers)  # whose memory is free from here on
    _multiply(dq, _joined(dscores), k, rest)
    for total, of_rows, matrix in ((dk, dscores, rows), (dv, powers, dy_rows)):
        product = split(rest, *total.shape)[0] if adds else total
        np.matmul(_joined(of_rows).swapaxes(2, 3), matrix, out=product)
        if adds:
            np.add(total, product, out=total)


def _by_head(array: Array, key_heads: int) -> Array:
    """A view (batch, key_heads, group, length, size) of (batch, length, heads, size)."""
    batch, length, heads, size = array.shape
    grouped = array.reshape(batch, length, key_heads, heads // key_heads, size)
    return grouped.transpose(0, 2, 3, 1, 4)


def _joined(array: Array) -> Array:
    """(samples, heads, group, queries, n) as matrices (samples, heads, group * queries, n)."""
    samples, heads, group, queries, columns = array.shape
    return array.reshape(samples, heads, group * queries, columns)


def _matrices(scratch: Array, array: Array) -> tuple[Array, Array]:
    """`_joined` of any array, a copy if groups share keys; the rest of the scratch memory."""
    if array.shape[2] == 1:
        return array[:, :, 0], scratch
    copied, rest = split(scratch, *array.shape)
    np.copyto(copied, array)
    return _joined(copied), rest


def _multiply(y: Array, matrices: Array, factors: Array, scratch: Array) -> None:
    """y (samples, heads, group, queries, n) = the products of matrices."""
    if y.shape[2] == 1:
        np.matmul(matrices, factors, out=y[:, :, 0])
        return
    product, _ = split(scratch, *y.shape)
    np.matmul(matrices, factors, out=_joined(product))
    np.copyto(y, product)
