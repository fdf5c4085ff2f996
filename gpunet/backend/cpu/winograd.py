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

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gpunet.backend.cpu.epilogue import Epilogue, finish, repeated
from gpunet.backend.cpu.threads import add_sums, each_slab
from gpunet.backend.cpu.windows import Axis, Slab, counts_of, region, region_size, split
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


def convolve_winograd(
    y: Array, x: Array, matrix: Array, axes: Sequence[Axis], epilogue: Epilogue, scratch: Array
) -> None:
    """y[o] = epilogue(sum over t of x[first + o * stride + t * step] matrix[t])."""
    channels, filters = x.shape[4], y.shape[4]
    epilogue, scratch = repeated(epilogue, _tiles(y)[1], scratch)
    kernels, scratch = split(scratch, EDGE * EDGE, channels, filters)
    np.matmul(KERNELS, matrix.reshape(9, -1), out=kernels.reshape(EDGE * EDGE, -1))

    def multiply(share: list[Slab], scratch: Array) -> None:
        for slab in share:
            transformed, rest = _transformed_inputs(x, y, slab, axes, scratch)
            tiles = transformed.shape[1]
            products, rest = split(rest, EDGE * EDGE, tiles, filters)
            np.matmul(transformed, kernels, out=products)
            outputs, _ = split(rest, TILE * TILE, tiles * filters)
            np.matmul(OUTPUTS, products.reshape(EDGE * EDGE, -1), out=outputs)
            finish(outputs.reshape(-1, filters), epilogue)
            for elements, of_tiles in _elements(y, slab, outputs):
                np.copyto(elements, of_tiles)

    each_slab(multiply, _tiled_shape(y), _cost(y, x, axes), SLAB, scratch)


def winograd_kernel_gradient(
    total: Array, x: Array, dy: Array, axes: Sequence[Axis], scratch: Array
) -> None:
    """total (9 c, f) += the sum of x[first + o * stride + t * step] dy[o] over all o."""
    channels, filters = x.shape[4], dy.shape[4]
    whole, scratch = split(scratch, EDGE * EDGE, channels, filters)

    def add_products(share: list[Slab], scratch: Array) -> None:
        sums, scratch = split(scratch, *whole.shape)
        part, scratch = split(scratch, *whole.shape)
        sums.fill(0.0)
        for slab in share:
            transformed, rest = _transformed_inputs(x, dy, slab, axes, scratch)
            tiles = transformed.shape[1]
            outputs, rest = split(rest, TILE * TILE, tiles * filters)
            if dy.shape[2] % TILE or dy.shape[3] % TILE:
                outputs.fill(0.0)  # what of the last tiles lies outside
            for elements, of_tiles in _elements(dy, slab, outputs):
                np.copyto(of_tiles, elements)
            gradients, _ = split(rest, EDGE * EDGE, tiles, filters)
            np.matmul(OUTPUTS.T, outputs, out=gradients.reshape(EDGE * EDGE, -1))
            np.matmul(transformed.transpose(0, 2, 1), gradients, out=part)
            np.add(sums, part, out=sums)

    whole.fill(0.0)
    cost, shape = _cost(dy, x, axes), _tiled_shape(dy)
    shares = each_slab(add_products, shape, cost, SLAB, scratch, 2 * whole.size)
    add_sums(whole, shares)
    part, _ = split(shares[0], 9, channels * filters)
    np.matmul(KERNELS.T, whole.reshape(EDGE * EDGE, -1), out=part)
    np.add(total, part.reshape(total.shape), out=total)


def _tiles(y: Array) -> tuple[int, int]:
    """How many tiles cover a plane of y, along height and width."""
    return -(-y.shape[2] // TILE), -(-y.shape[3] // TILE)


def _tiled_shape(y: Array) -> tuple[int, int, int]:
    """(batch, depth, rows of tiles): slabs are cut between tiles."""
    return y.shape[0], y.shape[1], _tiles(y)[0]


def _cost(y: Array, x: Array, axes: Sequence[Axis]) -> Callable[[int, int, int], int]:
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


def _transformed_inputs(
    x: Array, y: Array, slab: Slab, axes: Sequence[Axis], scratch: Array
) -> tuple[Array, Array]:
    """B^T D B of each tile of a slab, (36, tiles, channels), and the rest of the scratch memory."""
    images, planes, rows = counts_of(slab)
    across, channels = _tiles(y)[1], x.shape[4]
    transformed, scratch = split(scratch, EDGE**2, images * planes * rows * across, channels)
    tiles, rest = split(scratch, EDGE, EDGE, images, planes, rows, across, channels)
    lines = slice(slab[2].start * TILE, slab[2].stop * TILE)
    inputs, _ = region(x, (slab[0], slab[1], lines), across * TILE, axes, rest)
    image, plane, line, pixel, channel = inputs.strides
    strides = (line, pixel, image, plane, TILE * line, TILE * pixel, channel)
    np.copyto(tiles, np.lib.stride_tricks.as_strided(inputs, tiles.shape, strides))
    flat = tiles.reshape(EDGE**2, -1)
    np.matmul(INPUTS, flat, out=transformed.reshape(flat.shape))
    return transformed, scratch


def _elements(y: Array, slab: Slab, tiles: Array) -> Iterator[tuple[Array, Array]]:
    """For each of the 16 elements of a tile where they lie in y, and in tiles (16, all tiles)."""
    images, planes, rows = counts_of(slab)
    y_ = y[slab[0], slab[1], slab[2].start * TILE : slab[2].stop * TILE]
    by_element = tiles.reshape(TILE, TILE, images, planes, rows, _tiles(y)[1], y.shape[4])
    for i, j in np.ndindex(TILE, TILE):
        elements = y_[:, :, i::TILE, j::TILE]
        yield elements, by_element[i, j][:, :, : elements.shape[2], : elements.shape[3]]
