"""Op cases: images. The references go pixel by pixel, as the formulas in the contract read."""

from __future__ import annotations

from itertools import product
from math import floor
from typing import Any

import numpy as np

from gpunet.testing.op_checks import Array, Case, Maker, Values, given, uniform

ROWS = 3000
"""Samples of the random ops; their references are not told."""
OUT, SIZE = (5, 6), (7, 4)
"""Height and width of what affine_image and its gradient make."""


def numbers(random: Array, node: int, rows: int) -> Array:
    """Eight numbers for each sample, from NumPy's own generator."""
    seed, number = (int(word) for word in random)
    philox = np.random.Philox(key=[seed, 0], counter=[0, node, number, 0])
    return np.random.Generator(philox).random((rows, 8), np.float32).astype(np.float64)


def random_factors(random: Array, low: float, high: float, node: int) -> Values:
    """The first number of each sample."""
    return {"factors": low + (high - low) * numbers(random, node, ROWS)[:, 0]}


def random_affine(
    random: Array,
    height: int,
    width: int,
    node: int,
    flip: tuple[bool, bool] = (False, False),
    rotation: tuple[float, float] = (0.0, 0.0),
    zoom: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    same_zoom: bool = False,
    shift: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    whole: bool = False,
) -> Values:
    """A product of matrices for each sample: shift, centre, mirror, zoom, rotation, centre back."""
    matrices = []
    for u in numbers(random, node, ROWS):
        angle = 2 * np.pi * (rotation[0] + (rotation[1] - rotation[0]) * u[1])
        zoom_y = zoom[0] + (zoom[1] - zoom[0]) * u[2]
        zoom_x = zoom_y if same_zoom else zoom[2] + (zoom[3] - zoom[2]) * u[3]
        move = np.eye(3)
        move[0, 2] = shift[2] + (shift[3] - shift[2]) * u[5]
        move[1, 2] = shift[0] + (shift[1] - shift[0]) * u[4]
        if whole:
            move = np.floor(move)
        center, mirror = np.eye(3), np.eye(3)
        center[:2, 2] = (width - 1) / 2, (height - 1) / 2
        mirror[0, 0] = -1 if flip[1] and u[0] <= 0.5 else 1
        mirror[1, 1] = -1 if flip[0] and u[0] <= 0.5 else 1
        turn = np.eye(3)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        scale = np.diag([zoom_x, zoom_y, 1.0])
        whole_matrix = move @ center @ mirror @ scale @ turn @ np.linalg.inv(center)
        matrices.append(whole_matrix[:2].reshape(-1))
    return {"matrices": np.array(matrices).reshape(-1, 6)}


def _beyond(index: int, size: int, fill_mode: str) -> int | None:
    """The pixel that stands for one beyond the image, by walking there."""
    if 0 <= index < size:
        return index
    if fill_mode == "constant":
        return None
    if fill_mode == "nearest":
        return 0 if index < 0 else size - 1
    line = list(range(size)) if fill_mode == "wrap" else [*range(size), *reversed(range(size))]
    return line[index % len(line)]


def _weights(
    shape: tuple[int, ...],
    out: tuple[int, int],
    matrices: Array,
    interpolation: str,
    fill_mode: str,
) -> tuple[Array, Array]:
    """How much each input pixel adds to each output pixel, and how much fill_value does."""
    images, height, width = shape
    weights = np.zeros((images, *out, height, width))
    filled = np.zeros((images, *out))
    for n, i, j in product(range(images), *map(range, out)):
        a, b, c, d, e, f = matrices[n]
        places = (d * j + e * i + f, a * j + b * i + c)
        nodes = []
        for place in places:
            if interpolation == "nearest":
                nodes.append([(round(place), 1.0)])
            else:
                low = floor(place)
                nodes.append([(low, 1.0 - (place - low)), (low + 1, place - low)])
        for (v, v_weight), (h, h_weight) in product(*nodes):
            pixel = _beyond(v, height, fill_mode), _beyond(h, width, fill_mode)
            if None in pixel:
                filled[n, i, j] += v_weight * h_weight
            else:
                weights[n, i, j, pixel[0], pixel[1]] += v_weight * h_weight
    return weights, filled


def affine_image(
    x: Array,
    matrices: Array | None = None,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> Values:
    """A weighted sum of input pixels for each output pixel."""
    rows = np.tile(matrix, (len(x), 1)) if matrices is None else matrices
    weights, filled = _weights(x.shape[:3], OUT, rows, interpolation, fill_mode)
    y = np.einsum("nijvh,nvhc->nijc", weights, x)
    return {"y": y + fill_value * filled[..., None]}


def affine_image_backward(
    dy: Array,
    matrices: Array | None = None,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
) -> Values:
    """The same weights the other way round."""
    rows = np.tile(matrix, (len(dy), 1)) if matrices is None else matrices
    weights, _ = _weights((len(dy), *SIZE), dy.shape[1:3], rows, interpolation, fill_mode)
    dx = np.einsum("nijvh,nijc->nvhc", weights, dy)
    return {"dx": dx, "sums": dx}


def adjust_image(
    x: Array,
    low: float,
    high: float,
    factor: Array | None = None,
    mean: Array | None = None,
    shift: Array | None = None,
) -> Values:
    """Around the mean, then moved, then cut off."""
    factors = 1.0 if factor is None else factor[:, None, None]
    means = 0.0 if mean is None else mean[:, None]
    shifts = 0.0 if shift is None else shift[:, None, None]
    return {"y": np.clip((x - means) * factors + means + shifts, low, high)}


def clip_backward(dy: Array, y: Array, low: float, high: float) -> Values:
    """Nothing passes where the value was cut off."""
    return {"dx": np.where((y > low) & (y < high), dy, 0.0)}


# ---------------------------------------------------------------------------------- the rows

_A_SEED = given([7, 3], "uint64", "random")
_SIZES = {"height": 9, "width": 6, "node": 4, "random": _A_SEED, "matrices": (ROWS, 6)}


def matrices(images: int) -> Maker:
    """Rotations, zooms and shifts that reach beyond small images."""

    def make(random: np.random.Generator) -> Array:
        return np.asarray(random.standard_normal((images, 6)) * [1, 1, 6, 1, 1, 6])

    return Maker(f"matrices{images}", make)


def sampled(x: tuple[int, ...], **flags: Any) -> Values:
    """A call of affine_image."""
    return {"y": (x[0], *OUT, x[3]), "x": x, "matrices": matrices(x[0]), **flags}


def sampled_back(dy: tuple[int, ...], **flags: Any) -> Values:
    """A call of its gradient."""
    dx = (dy[0], *SIZE, dy[3])
    return {"dx": dx, "sums": dx, "dy": dy, "matrices": matrices(dy[0]), **flags}


_HOW = [
    {"interpolation": interpolation, "fill_mode": fill_mode}
    for interpolation in ("nearest", "bilinear")
    for fill_mode in ("constant", "nearest", "reflect", "wrap")
]
_HALF = (0.5, 0.0, -0.25, 0.0, 0.75, 1.0)
_COLOURS = ((1, 1, 1), (3, 31, 3), (2, 7, 8), (0, 4, 2), (8, 700, 3))


CASES = (
    Case(
        "random_factors",
        random_factors,
        tuple(
            {"factors": (ROWS,), "random": _A_SEED, "low": low, "high": high, "node": 2}
            for low, high in ((-0.5, 1.5), (0.25, 0.25))
        ),
    ),
    Case(
        "random_affine",
        random_affine,
        (
            _SIZES,
            {**_SIZES, "flip": (True, False)},
            {**_SIZES, "flip": (True, True)},
            {**_SIZES, "rotation": (-0.2, 0.7)},
            {**_SIZES, "zoom": (0.5, 1.5, 0.8, 0.9)},
            {**_SIZES, "zoom": (0.5, 1.5, 1.0, 1.0), "same_zoom": True},
            {**_SIZES, "shift": (-2.0, 3.0, 0.5, 1.0)},
            {**_SIZES, "shift": (0.0, 4.0, 0.0, 7.0), "whole": True},
        ),
    ),
    Case(
        "affine_image",
        affine_image,
        (
            *(sampled((3, 4, 7, 3), **how, fill_value=0.5) for how in _HOW),
            *(sampled((2, 8, 3, 8), **how) for how in _HOW),
            sampled((1, 1, 1, 1), fill_mode="reflect"),
            sampled((0, 3, 4, 2)),
            sampled((4, 40, 30, 5), **_HOW[-1], fill_value=0.0),
            {**sampled((3, 4, 7, 3)), "matrices": None, "matrix": _HALF},
            {**sampled((2, 5, 6, 4)), "matrices": None, "interpolation": "nearest"},
        ),
        float32=1e-4,
    ),
    Case(
        "affine_image_backward",
        affine_image_backward,
        (
            *(sampled_back((3, 4, 7, 3), **how) for how in _HOW),
            sampled_back((0, 3, 4, 2)),
            sampled_back((4, 40, 30, 5), **_HOW[-1]),
            {**sampled_back((3, 4, 7, 3)), "matrices": None, "matrix": _HALF},
        ),
        float32=1e-4,
    ),
    Case(
        "adjust_image",
        adjust_image,
        (
            *(
                {
                    "x": s,
                    "factor": (s[0],),
                    "mean": (s[0], s[2]),
                    "shift": (s[0],),
                    "low": -0.5,
                    "high": 1.0,
                }
                for s in _COLOURS
            ),
            {"x": (3, 31, 3), "shift": (3,), "low": 0.0, "high": 1.0},
            {"x": (3, 31, 4), "factor": uniform(3), "mean": (3, 4), "low": -9.0, "high": 9.0},
        ),
    ),
    Case(
        "clip_backward",
        clip_backward,
        tuple(
            {"dy": s, "y": s, "low": -0.5, "high": 1.0}
            for s in ((1, 1), (3, 31, 3), (0, 4), (7, 4096))
        ),
    ),
)
