"""Moving elements about: exchanging axes, joining, cutting, padding, repeating, interpolating."""

from __future__ import annotations

from gpunet.backend.spec import In, Out, Sum, op


@op(y="outer b middle a inner", x="outer a middle b inner")
def swap_axes(y: Out, x: In) -> None:
    """y[o, j, m, i, :] = x[o, i, m, j, :]: two axes change places.

    Several neighbouring axes count as one; all permutations of three axes are of this form.
    """


@op(y="rows total", a="rows a", b="rows b", c="rows c", d="rows d")
def concatenate(y: Out, a: In, b: In, c: In | None, d: In | None) -> None:
    """Each row of y is that of a, then those of b, c and d; total is the sum of their widths."""


@op(y="outer yd yh yw", x="outer xd xh xw")
def pad(y: Out, x: In, *, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    """y = x with so many zeros before and after each of the last three axes: `crop` undone."""


@op(y="outer yd yh yw", x="outer xd xh xw")
def crop(y: Out, x: In, *, before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    """y = x without so many elements at both ends of the last three axes: `pad` undone.

    Each of the two is the gradient of the other.
    """


@op(y="outer yd yh yw inner", x="outer xd xh xw inner")
def repeat(y: Out, x: In, *, times: tuple[int, int, int]) -> None:
    """Each element of the three axes becomes a block: y[o, i, j, k] = x[o, i / t, j / t', k / t''].

    The quotients are rounded down; the sizes of y are those of x, times times = (t, t', t'').
    """


@op(dx="outer xd xh xw inner", dy="outer yd yh yw inner")
def repeat_backward(
    dx: Sum, dy: In, *, times: tuple[int, int, int], accumulate: bool = False
) -> None:
    """dx = the sum of dy over each block."""


@op(y="outer yh yw inner", x="outer xh xw inner")
def upsample_bilinear(y: Out, x: In, *, times: tuple[int, int]) -> None:
    """y[o, i, j] = x interpolated between its four neighbours of (i + 1/2) / t - 1/2 and so on.

    Outside of the outermost pixels' centres x goes on as it is at the edge. The sizes of y are
    those of x, times times = (t, t').
    """


@op(dx="outer xh xw inner", dy="outer yh yw inner")
def upsample_bilinear_backward(dx: Out, dy: In, *, times: tuple[int, int]) -> None:
    """dx = the transposed interpolation of dy."""
