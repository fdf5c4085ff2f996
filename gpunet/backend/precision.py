"""How exactly products of float32 are computed: those of matrices, and convolutions.

"ieee", the default, is float32 throughout. On the CPU 3x3 convolutions with strides of 1 and from
16 to some hundred channels and filters (`gpunet.backend.cpu.winograd`) then take Winograd's tiles:
also float32, but with sums of other numbers, and about ten times the rounding errors. Measured
against float64 an error is at most 2e-5 of the largest output, and 1e-6 for sums of products; where
one input is far larger than its neighbours, small outputs beside it suffer: next to a pixel 10,000
times as large as the others errors are 1e-3 of a sum's terms. float64, gradient checks with it, and
GPUs never use tiles.

"direct" is the same without tiles: each output of a convolution is the sum of its products.

"tf32" lets NVIDIA GPUs from compute capability 8.0 on round the factors to 10 bits of mantissa,
which their tensor cores multiply several times as fast; sums stay float32. Where there are no
tensor cores (NumPy, gpunet's own kernels) it is "ieee".

Example:
    >>> import gpunet
    >>> gpunet.set_matmul_precision("tf32")
    >>> gpunet.get_matmul_precision()
    'tf32'
    >>> gpunet.set_matmul_precision("ieee")
"""

from __future__ import annotations

from gpunet.errors import ArgumentError

PRECISIONS = ("ieee", "direct", "tf32")
FACTOR_PRECISIONS = ("ieee", "tf32")

_precision = "ieee"


def set_matmul_precision(precision: str) -> None:
    """Choose how matrix products and convolutions of float32 are computed from now on.

    A fit that is under way on a GPU goes on as it began.

    Args:
        precision: "ieee", "direct" or "tf32".

    Raises:
        ArgumentError: it is none of these.
    """
    global _precision
    if precision not in PRECISIONS:
        expected = " or ".join(map(repr, PRECISIONS))
        raise ArgumentError(f"set_matmul_precision takes {expected}, got {precision!r}.")
    _precision = precision


def get_matmul_precision() -> str:
    """How products of float32 are computed: "ieee", "direct" or "tf32"."""
    return _precision


def factor_precision() -> str:
    """How the factors of matrix products are taken: "ieee" or "tf32"."""
    return "tf32" if _precision == "tf32" else "ieee"
