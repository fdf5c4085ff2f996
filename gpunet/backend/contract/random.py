"""Random numbers, drawn from counters."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, op


@op(y="...", x="...", random="uint64: 2", in_place="y=x")
def dropout(y: Out, x: In, random: In, *, rate: float, node: int) -> None:
    """y_i = x_i / (1 - rate) where u_i >= rate, else 0; the gradient is the same op on dy.

    u_i is float32 number i of NumPy's generator Philox4x64-10 with key (seed, 0) and counter
    (0, node, pass, 0), where random = (seed, pass): (word32 >> 8) * 2^-24. NumPy counts before
    it generates, so block b (8 numbers: 4 words of 64 bits, the low half of each first) comes
    from counter (b + 1, node, pass, 0). rate is rounded to float32 before the comparison.
    """
