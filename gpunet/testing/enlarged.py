"""Calls of the table of op cases with arrays as large as they are to be timed or counted at."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from gpunet.backend.spec import Op
from gpunet.testing.op_checks import Array, Case, Values


def largest_call(case: Case) -> Values:
    """The largest of the calls that have the same arrays and flags as the first."""

    def size(call: Values) -> int:
        return sum(array.size for array in case.arrays(call, "float32").values())

    keys = case.calls[0].keys()
    return max((call for call in case.calls if call.keys() == keys), key=size)


def enlarged(
    op: Op,
    arrays: Mapping[str, Array],
    attributes: Values,
    *,
    elements: int,
    columns: int,
    product: int,
) -> dict[str, Array]:
    """Arrays of a call with their values repeated until they have these sizes.

    Sizes that follow from none of these (classes, thresholds, groups) stay as they are.

    Args:
        op: what is to be called.
        arrays: the call's arrays by name.
        attributes: its keyword arguments.
        elements: of a matrix or a flat buffer.
        columns: of a matrix.
        product: rows and columns of all factors of a product.
    """
    dims = {
        p.name: next(d for _, d in p.forms if d == ("...",) or len(d) == arrays[p.name].ndim)
        for p in op.parameters
        if p.name in arrays
    }
    sizes = _sizes(elements, columns)
    if op.family == "gemm":
        sizes = dict.fromkeys(("m", "n", "k"), product)
    named = {dim for of in dims.values() for dim in of}
    sequences = ("attention", "caching", "fused_attention", "recurrent")
    keeps_samples = op.family in (*sequences, "convolution", "pooling")
    keeps_samples |= op.family in ("positions", "sequence_losses") and "batch" in named
    if keeps_samples:  # images and sequences stay as they are, there are only more of them
        of_one = max(math.prod(a.shape[1:]) for name, a in arrays.items() if "batch" in dims[name])
        sizes = {"batch": -(-elements // of_one)}
    elif op.family == "positions":
        sizes["length"] = sizes["rows"]
    elif not named & {"columns", "channels"}:
        sizes["rows"] = elements
    if "channels" in named and "rows" not in named and not keeps_samples:
        sizes["segments"] = sizes["rows"]
    large = {}
    for name, of in dims.items():
        before = arrays[name]
        kept = before.shape if len(of) == before.ndim else (before.size,)
        shape = tuple(sizes.get(dim, size) for dim, size in zip(of, kept, strict=True))
        large[name] = np.resize(before, shape)
        if name in ("segments", "penalties"):  # rows of (offset, size, ...) that cover n
            large[name][-1, 1] = sizes["n"] - large[name][-1, 0]
        elif name == "indices":
            random = np.random.default_rng(0)
            large[name] = random.permutation(sizes["samples"]).astype(before.dtype)
    if op.scratch is not None:
        ordered = [None if p.role == "scratch" else large.get(p.name) for p in op.parameters]
        large["scratch"] = np.zeros(op.scratch_shape(ordered, attributes), np.float32)
    return large


def _sizes(elements: int, columns: int) -> dict[str, int]:
    """What the contract's names of sizes mean."""
    rows, outer = max(1, elements // columns), 16
    return {
        "rows": rows,
        "columns": columns,
        "channels": columns,
        "batch": rows,
        "samples": rows,
        "tokens": rows,
        "outer": outer,
        "reduced": max(1, rows // outer),
        "inner": columns,
        "n": elements,
        "...": elements,
    }
