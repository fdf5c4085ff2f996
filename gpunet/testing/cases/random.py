"""Op cases: random. Each reference is the textbook formula in float64."""

from __future__ import annotations

import numpy as np

from gpunet.testing.op_checks import (
    Array,
    Case,
    Gradient,
    Values,
    given,
)


def dropout(x: Array, random: Array, rate: float, node: int) -> Values:
    """Random numbers from NumPy's own generator, as the contract numbers them."""
    seed, number = (int(word) for word in random)
    philox = np.random.Philox(key=[seed, 0], counter=[0, node, number, 0])
    uniform = np.random.Generator(philox).random(x.shape, np.float32)
    return {"y": np.where(uniform >= np.float32(rate), x / (1 - rate), 0.0)}


# ---------------------------------------------------------------------------------- the rows


_A_SEED = given([7, 3], "uint64", "random")


CASES = (
    Case(
        "dropout",
        dropout,
        tuple(
            {"x": shape, "random": _A_SEED, "rate": rate, "node": 5}
            for shape, rate in (((3, 11, 31), 0.3), ((0, 3), 0.5), ((70001,), 0.1), ((9,), 0.0))
        ),
        (Gradient("dropout", "y", {"y": "x"}, {"x": "dy", "random": "random"}),),
    ),
)
