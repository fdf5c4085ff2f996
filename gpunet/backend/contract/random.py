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


@op(y="batch positions channels", x="batch positions channels", random="uint64: 2", in_place="y=x")
def spatial_dropout(y: Out, x: In, random: In, *, rate: float, node: int) -> None:
    """y = x / (1 - rate) where u >= rate, else 0, for whole channels: one u for all positions.

    The gradient is the same op on dy. u of channel c of sample b is number b * channels + c of
    `dropout`.
    """


@op(y="...", x="...", random="uint64: 2", in_place="y=x")
def gaussian_noise(y: Out, x: In, random: In, *, stddev: float, node: int) -> None:
    """y_i = x_i + stddev n_i, where n_i is normal.

    Of numbers u_0, u_1, ... as `dropout` has them, n_2k and n_2k+1 are r cos t and r sin t, where
    r = sqrt(-2 log(1 - u_2k)) and t = 2 pi u_2k+1 (Box and Muller, 1958).
    """


@op(y="...", x="...", random="uint64: 2", in_place="y=x")
def gaussian_dropout(y: Out, x: In, random: In, *, stddev: float, node: int) -> None:
    """y_i = x_i (1 + stddev n_i), n_i as in `gaussian_noise`; the gradient is the same op on dy."""
