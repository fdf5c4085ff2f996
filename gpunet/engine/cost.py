"""What an op costs: floating-point operations and the least bytes it must move."""

from __future__ import annotations

from math import prod

from gpunet.engine.recorder import Record

_CONVOLUTIONS = {
    "convolution": ("kernel", "y"),
    "transposed_convolution": ("kernel", "x"),
    "convolution_kernel_gradient": ("dkernel", "dy"),
}
"""The kernel of each op and its coarse side, each element of which is one sum of products."""

_ATTENTION = {
    "attention_scores": ("scores", "q"),
    "attention_weights": ("weights", "q"),
    "attention_values": ("weights", "v"),
    "attention_values_backward": ("weights", "dy"),
}
"""The matrices between queries and keys, and an array whose last axis is the size of a head."""


_FUSED_ATTENTION = {"fused_attention": (1, 1), "fused_attention_backward": (3, 2)}
"""How many products have the size of queries, and how many that of values, as their inner or outer
size: backward makes the weights again."""


def flops(record: Record) -> int:
    """Floating-point operations: 2 m n k for a product, else one an element of the largest array.

    A convolution is the product that it stands for, with what it sees outside of an image; the
    steps of a recurrent layer are their products with the recurrent kernel.

    An element-wise op is counted as one operation, whatever its function: products are what
    matters, and a count that pretends to know the price of exp would be no better.
    """
    if "gemm" in record.op.name:
        c, a = record["c"], record["a"]
        if c is None or a is None:
            return 0
        inner = a.shape[-2] if record.attributes.get("ta") else a.shape[-1]
        return 2 * c.size * inner
    if record.op.name in _CONVOLUTIONS:
        kernel, coarse = (record[name] for name in _CONVOLUTIONS[record.op.name])
        return 0 if kernel is None or coarse is None else 2 * coarse.size * prod(kernel.shape[:-1])
    if record.op.family == "recurrent" and "recurrent_kernel" in record.op.signature.parameters:
        gates, kernel = record["gates"], record["recurrent_kernel"]
        return 0 if gates is None or kernel is None else 2 * gates.size * kernel.shape[0]
    if record.op.name in _ATTENTION:
        weights, rows = (record[name] for name in _ATTENTION[record.op.name])
        return 0 if weights is None or rows is None else 2 * weights.size * rows.shape[-1]
    if record.op.name in _FUSED_ATTENTION:
        return _of_fused_attention(record)
    if record.op.name in ("gather", "copy", "fill"):
        return 0
    return max((buffer.size for _, buffer in record.items()), default=0)


def _of_fused_attention(record: Record) -> int:
    q, v = record["q"], record["v"]
    if q is None or v is None:
        return 0
    batch, length, heads, size = q.shape
    of_queries, of_values = _FUSED_ATTENTION[record.op.name]
    inner = of_queries * size + of_values * v.shape[3]
    return 2 * batch * heads * length * v.shape[1] * inner


def least_bytes(record: Record) -> int:
    """Bytes of each array that is read, once, plus each that is written, once."""
    return record.op.least_bytes(record.arrays, record.attributes)
