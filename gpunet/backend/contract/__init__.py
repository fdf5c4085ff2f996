"""The contract: every op once, with its roles, shapes, dtypes, aliasing and formula.

An op is a function that reads and writes buffers which its caller gives; it returns None and
allocates nothing tensor-sized. Each op is written once per backend under the same name and with
the same signature (``backend/cpu``, ``backend/cuda``), has a kernel of the same name in
``kernels/`` and a row in the table of op cases (``gpunet/testing/cases``). Its family, the file
that it stands in here, has the same name in each of these places.

Arguments come in this order: arrays that are written, arrays that are read, then keyword-only
sizes and flags. All arrays are C-contiguous. The role of an array stands in its annotation:

===========  ==========================================================================
``Out``      written completely, whatever it held before
``Sum``      an output that ``accumulate=True`` adds to instead of overwriting (gradients)
``InOut``    read and updated
``In``       only read
``Scratch``  memory for the op's own use: means nothing before and nothing after
===========  ==========================================================================

The decorator gives each array's shape as names (``"rows columns"``; a name stands for the same
size everywhere in one op, a number for itself, ``...`` for one and the same shape of any rank)
and, before a colon, its dtype; ``|`` separates alternatives. Without one the dtype is ``real``:
any floating-point type of 16 to 64 bits, the same for all such arrays of a call. ``full`` is
float32, or float64 where real is: what stays in full precision beside float16 or bfloat16, which
are the weights that an optimizer updates and its state, labels, class numbers and sample weights,
and what losses and metrics make of rows. ``any`` is any number type. Whatever the types are, sums
and formulas are computed in float32 at least, and each result is rounded once, to nearest and even.
``in_place="y=x"`` allows output y to be the very same memory as input x. Before all
this there may be a function that checks what names of dimensions cannot say, and one that says how
many elements of scratch memory an op needs: its last array, which the recorder and `gpunet.ops` add
by themselves.
"""

from gpunet.backend.contract import (
    activations,
    attention,
    caching,
    channel_norms,
    constraints,
    convolution,
    embedding,
    focal_losses,
    fused_attention,
    gemm,
    images,
    losses,
    masks,
    memory,
    merging,
    metrics,
    optimizers,
    overlap_losses,
    pooling,
    positions,
    random,
    recurrent,
    regularizers,
    row_losses,
    row_norms,
    sequence_losses,
    shapes,
)
from gpunet.backend.spec import OPS

__all__ = [
    "OPS",
    "activations",
    "attention",
    "caching",
    "channel_norms",
    "constraints",
    "convolution",
    "embedding",
    "focal_losses",
    "fused_attention",
    "gemm",
    "images",
    "losses",
    "masks",
    "memory",
    "merging",
    "metrics",
    "optimizers",
    "overlap_losses",
    "pooling",
    "positions",
    "random",
    "recurrent",
    "regularizers",
    "row_losses",
    "row_norms",
    "sequence_losses",
    "shapes",
]
