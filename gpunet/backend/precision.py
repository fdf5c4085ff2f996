"""How exactly matrix products of float32 are computed.

"ieee", the default, is float32 throughout. "tf32" lets NVIDIA GPUs from compute capability 8.0 on
round the factors to 10 bits of mantissa, which their tensor cores multiply several times as fast;
sums stay float32. Where there are no tensor cores (NumPy, gpunet's own kernels) it changes nothing.

Example:
    >>> import gpunet
    >>> gpunet.set_matmul_precision("tf32")
    >>> gpunet.get_matmul_precision()
    'tf32'
    >>> gpunet.set_matmul_precision("ieee")
"""

from __future__ import annotations

from gpunet.errors import ArgumentError

PRECISIONS = ("ieee", "tf32")

_precision = "ieee"


def set_matmul_precision(precision: str) -> None:
    """Choose how matrix products of float32 are computed from now on.

    A fit that is under way goes on as it began.

    Args:
        precision: "ieee" or "tf32".

    Raises:
        ArgumentError: it is neither.
    """
    global _precision
    if precision not in PRECISIONS:
        expected = " or ".join(map(repr, PRECISIONS))
        raise ArgumentError(f"set_matmul_precision takes {expected}, got {precision!r}.")
    _precision = precision


def get_matmul_precision() -> str:
    """How matrix products of float32 are computed: "ieee" or "tf32"."""
    return _precision
