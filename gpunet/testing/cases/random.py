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
    uniform = uniform_numbers(x.shape, random, node)
    return {"y": np.where(uniform >= np.float32(rate), x / (1 - rate), 0.0)}


def uniform_numbers(shape: tuple[int, ...], random: Array, node: int) -> Array:
    """As many as an array of this shape has, in the order of its elements."""
    seed, number = (int(word) for word in random)
    philox = np.random.Philox(key=[seed, 0], counter=[0, node, number, 0])
    return np.random.Generator(philox).random(shape, np.float32)


def spatial_dropout(x: Array, random: Array, rate: float, node: int) -> Values:
    """One number for all positions."""
    uniform = uniform_numbers((x.shape[0], 1, x.shape[2]), random, node)
    return {"y": np.where(uniform >= np.float32(rate), x / (1 - rate), 0.0)}


def _normal(shape: tuple[int, ...], random: Array, node: int) -> Array:
    """Box and Muller's pairs."""
    size = int(np.prod(shape))
    uniform = uniform_numbers((size + size % 2,), random, node).astype(np.float64).reshape(-1, 2)
    radius, angle = np.sqrt(-2.0 * np.log(1.0 - uniform[:, 0])), 2.0 * np.pi * uniform[:, 1]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)[:size].reshape(shape)


def gaussian_noise(x: Array, random: Array, stddev: float, node: int) -> Values:
    """Normal numbers added."""
    return {"y": x + stddev * _normal(x.shape, random, node)}


def gaussian_dropout(x: Array, random: Array, stddev: float, node: int) -> Values:
    """Normal numbers around 1 as factors."""
    return {"y": x * (1.0 + stddev * _normal(x.shape, random, node))}


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
    Case(
        "spatial_dropout",
        spatial_dropout,
        tuple(
            {"x": shape, "random": _A_SEED, "rate": 0.4, "node": 3}
            for shape in ((3, 11, 31), (2, 0, 3), (5, 700, 8), (1, 9, 3), (300, 3, 16))
        ),
        (Gradient("spatial_dropout", "y", {"y": "x"}, {"x": "dy", "random": "random"}),),
    ),
    Case(
        "gaussian_noise",
        gaussian_noise,
        tuple(
            {"x": shape, "random": _A_SEED, "stddev": 0.3, "node": 5}
            for shape in ((3, 11, 31), (0, 3), (70001,), (9,))
        ),
    ),
    Case(
        "gaussian_dropout",
        gaussian_dropout,
        tuple(
            {"x": shape, "random": _A_SEED, "stddev": 0.3, "node": 5}
            for shape in ((3, 11, 31), (0, 3), (70001,), (9,))
        ),
        (Gradient("gaussian_dropout", "y", {"y": "x"}, {"x": "dy", "random": "random"}),),
    ),
)
