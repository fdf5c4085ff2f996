"""3x3 convolutions with fewer multiplications: Winograd's F(4x4, 3x3).

A tile of 4x4 outputs sees 6x6 inputs. Both are transformed so that the convolution becomes 36
products, one for each element of the transformed tile: 2.25 multiplications an output, not 9. With
D the inputs, K the kernel and Y the outputs of a tile,

    Y = A^T [(G K G^T) * (B^T D B)] A

(Lavin and Gray, 2015, https://arxiv.org/abs/1509.09308). The transforms of all tiles and channels
are one matrix product with the Kronecker square of A, B or G each, and the 36 products one batched
product.

Who takes it: float32 convolutions with 3x3 windows, strides and dilation of 1, and as many channels
and filters as `FEWEST` and `MOST` say; their gradients, too. float64 is always summed directly, and
all is after ``gpunet.set_matmul_precision("direct")``. Errors are about ten times those of the sum
of products: `gpunet.backend.precision` says how large, and a test holds both to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpunet.backend.cpu.epilogue import Epilogue, bind_finish
from gpunet.backend.cpu.prepared import Call
from gpunet.backend.cpu.slabs import Cost, Slab, SumTask, Task, bind_sum, counts_of
from gpunet.backend.cpu.windows import Axis, bind_region, region_size, split
from gpunet.backend.precision import get_matmul_precision
from gpunet.backend.spec import Array

TILE = 4  # outputs along each side
EDGE = TILE + 2  # inputs
FEWEST, MOST = 16, 256 * 256
"""Channels and filters there must be at least, and their product at most: with few the transforms
take longer than what they save, with many the transformed kernels do not stay in the cache."""
SLAB = 1024 * 1024
"""Elements of scratch for a slab: two images of 32x32x64. With 384 Ki it takes 10 % longer."""

_B = (
    *((4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0)),
    *((0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1)),
)
_G = ((6, 0, 0), (-4, -4, -4), (-4, 4, -4), (1, 2, 4), (1, -2, 4), (0, 0, 24))  # times 24
_A = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))


def _square(matrix: Sequence[Sequence[int]], divisor: int = 1) -> Array:
    """The Kronecker product of a matrix with itself, which transforms both axes of a flat tile."""
    one = np.array(matrix, np.float64) / divisor
    both = np.kron(one, one).astype(np.float32)
    both.setflags(write=False)
    return both


INPUTS, KERNELS, OUTPUTS = _square(_B), _square(_G, 24), _square(_A)  # (36, 36), (36, 9), (16, 36)


def fits_winograd(y: Array, x: Array, axes: Sequence[Axis], groups: int) -> bool:
    """Whether these arrays, in a convolution over these axes, are best convolved like this."""
    channels, filters = x.shape[4], y.shape[4]
    return (
        get_matmul_precision() != "direct"
        and [(axis.stride, axis.step, axis.taps) for axis in axes[1:]] == [(1, 1, 3)] * 2
        and axes[0].taps == 1
        and axes[0].stride == 1
        and groups == 1
        and min(channels, filters) >= FEWEST
        and channels * filters <= MOST
        and min(y.shape[2:4]) >= TILE
        and y.dtype == np.float32
    )


def winograd(
    y: Array, x: Array, matrix: Array, axes: Sequence[Axis], epilogue: Epilogue, scratch: Array
) -> tuple[Task, Array]:
    """y[o] = epilogue(sum over t of x[first + o * stride + t * step] matrix[t])."""
    channels, filters = x.shape[4], y.shape[4]
    kernels, scratch = split(scratch, EDGE * EDGE, channels, filters)
    by_element = kernels.reshape(EDGE * EDGE, -1)
    before = partial(np.matmul, KERNELS, matrix.reshape(9, -1), out=by_element)

    def multiply(slab: Slab, scratch: Array) -> Call:
        transformed, rest, transform = _bind_inputs(x, y, slab, axes, scratch)
        tiles = transformed.shape[1]
        products, rest = split(rest, EDGE * EDGE, tiles, filters)
        outputs, _ = split(rest, TILE * TILE, tiles * filters)
        flat = products.reshape(EDGE * EDGE, -1)
        finish = bind_finish(outputs.reshape(-1, filters), epilogue)
        elements = _elements(y, slab, outputs)

        def run() -> None:
            transform()
            np.matmul(transformed, kernels, out=products)
            np.matmul(OUTPUTS, flat, out=outputs)
            finish()
            for of_image, of_tiles in elements:
                np.copyto(of_image, of_tiles)

        return run

    return Task(_tiled_shape(y), _cost(y, x, axes), SLAB, multiply, before), scratch


def sum_winograd(
    store: Callable[[Array], None], x: Array, dy: Array, axes: Sequence[Axis], scratch: Array
) -> Call:
    """The call that stores t (9 c, f): the sum of x[first + o * stride + t * step] dy[o]."""
    channels, filters = x.shape[4], dy.shape[4]
    whole = not (dy.shape[2] % TILE or dy.shape[3] % TILE)

    def multiply(part: Array, slab: Slab, scratch: Array) -> Call:
        transformed, rest, transform = _bind_inputs(x, dy, slab, axes, scratch)
        tiles = transformed.shape[1]
        outputs, rest = split(rest, TILE * TILE, tiles * filters)
        gradients, _ = split(rest, EDGE * EDGE, tiles, filters)
        flat, by_channel = gradients.reshape(EDGE * EDGE, -1), transformed.transpose(0, 2, 1)
        elements = _elements(dy, slab, outputs)

        def run() -> None:
            transform()
            if not whole:
                outputs.fill(0.0)  # what of the last tiles lies outside
            for of_image, of_tiles in elements:
                np.copyto(of_tiles, of_image)
            np.matmul(OUTPUTS.T, outputs, out=flat)
            np.matmul(by_channel, gradients, out=part)

        return run

    def bind_store(sums: Array, scratch: Array) -> Call:
        flat = sums.reshape(EDGE * EDGE, -1)
        total, _ = split(scratch, 9, channels * filters)
        result = total.reshape(9 * channels, filters)

        def run() -> None:
            np.matmul(KERNELS.T, flat, out=total)
            store(result)

        return run

    task = SumTask(_tiled_shape(dy), _cost(dy, x, axes), SLAB, multiply, bind_store)
    return bind_sum((EDGE * EDGE, channels, filters), task, scratch)


def _tiles(y: Array) -> tuple[int, int]:
    """How many tiles cover a plane of y, along height and width."""
    return -(-y.shape[2] // TILE), -(-y.shape[3] // TILE)


def _tiled_shape(y: Array) -> tuple[int, int, int]:
    """(batch, depth, rows of tiles): slabs are cut between tiles."""
    return y.shape[0], y.shape[1], _tiles(y)[0]


def _cost(y: Array, x: Array, axes: Sequence[Axis]) -> Cost:
    """The elements of scratch that so many images, planes and rows of tiles need."""
    across = _tiles(y)[1]

    def cost(images: int, planes: int, rows: int) -> int:
        tiles = images * planes * rows * across
        before = tiles * EDGE**2 * x.shape[4]  # the inputs' tiles; as much when transformed
        counts = (images, planes, rows * TILE)
        before += region_size(counts, across * TILE, axes, x.shape[4])
        after = tiles * (EDGE**2 + TILE**2) * y.shape[4]  # lies where the inputs were
        return int(tiles * EDGE**2 * x.shape[4] + max(before, after))

    return cost


def _bind_inputs(
    x: Array, y: Array, slab: Slab, axes: Sequence[Axis], scratch: Array
) -> tuple[Array, Array, Call]:
    """B^T D B of each tile of a slab, (36, tiles, channels), the rest of the scratch memory, and
    the call that computes it."""  # noqa: D205, D209
    images, planes, rows = counts_of(slab)
    across, channels = _tiles(y)[1], x.shape[4]
    transformed, scratch = split(scratch, EDGE**2, images * planes * rows * across, channels)
    tiles, rest = split(scratch, EDGE, EDGE, images, planes, rows, across, channels)
    lines = slice(slab[2].start * TILE, slab[2].stop * TILE)
    inputs, _, copy = bind_region(x, (slab[0], slab[1], lines), across * TILE, axes, rest)
    image, plane, line, pixel, channel = inputs.strides
    strides = (line, pixel, image, plane, TILE * line, TILE * pixel, channel)
    views = np.lib.stride_tricks.as_strided(inputs, tiles.shape, strides)
    flat = tiles.reshape(EDGE**2, -1)
    flat_transformed = transformed.reshape(flat.shape)

    def run() -> None:
        copy()
        np.copyto(tiles, views)
        np.matmul(INPUTS, flat, out=flat_transformed)

    return transformed, scratch, run


def _elements(y: Array, slab: Slab, tiles: Array) -> list[tuple[Array, Array]]:
    """For each of the 16 elements of a tile where they lie in y, and in tiles (16, all tiles)."""
    images, planes, rows = counts_of(slab)
    y_ = y[slab[0], slab[1], slab[2].start * TILE : slab[2].stop * TILE]
    by_element = tiles.reshape(TILE, TILE, images, planes, rows, _tiles(y)[1], y.shape[4])
    pairs = []
    for i, j in np.ndindex(TILE, TILE):
        elements = y_[:, :, i::TILE, j::TILE]
        of_tiles = by_element[i, j][:, :, : elements.shape[2], : elements.shape[3]]
        pairs.append((elements, of_tiles))
    return pairs
