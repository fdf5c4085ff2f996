"""Images: random transformations of each sample, affine sampling, brightness and contrast.

Sample b draws its numbers u_0 ... u_7 from block b of `dropout`'s generator, so that they do not
depend on the rest of the batch.
"""

from __future__ import annotations

from gpunet.backend.spec import In, Out, op


@op(factors="full: rows", random="uint64: 2")
def random_factors(factors: Out, random: In, *, low: float, high: float, node: int) -> None:
    """One number for each sample: low + (high - low) u_0."""


@op(matrices="full: rows 6", random="uint64: 2")
def random_affine(
    matrices: Out,
    random: In,
    *,
    height: int,
    width: int,
    node: int,
    flip: tuple[bool, bool] = (False, False),
    rotation: tuple[float, float] = (0.0, 0.0),
    zoom: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
    same_zoom: bool = False,
    shift: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    whole: bool = False,
) -> None:
    """Matrices (a, b, c, d, e, f) for `affine_image`, one for each sample.

    Between low and high of each pair, with (height, width) as c_y, c_x = (size - 1) / 2, all drawn
    as low + (high - low) u: the angle t = 2 pi rotation of u_1, the zoom along height of u_2 and
    along width of u_3 (``same_zoom``: of u_2, too), the shift along height of u_4 and along width
    of u_5, in pixels (``whole``: rounded down). flip says along which of height and width images
    are mirrored where u_0 <= 1/2. Then

    a = s_x z_x cos t, b = -s_x z_x sin t, c = c_x - a c_x - b c_y + shift_x,
    d = s_y z_y sin t, e = s_y z_y cos t, f = c_y - d c_x - e c_y + shift_y, s = -1 where mirrored.
    """


@op(
    y="images out_height out_width colors",
    x="images height width colors",
    matrices="full: images 6",
)
def affine_image(
    y: Out,
    x: In,
    matrices: In | None,
    *,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0.0,
) -> None:
    """y[n, i, j] = x[n] at column a j + b i + c and row d j + e i + f.

    (a, ..., f) is the sample's row of matrices, or without them ``matrix``.
    ``interpolation`` is "nearest" (halves go to the even number) or "bilinear". Beyond the image
    ``fill_mode`` "constant" has fill_value, "nearest" the pixel at the edge, "reflect" the image
    mirrored at its edge (d c b a | a b c d | d c b a) and "wrap" the image again.
    """


@op(
    dx="images height width colors",
    sums="full: images height width colors",
    dy="images out_height out_width colors",
    matrices="full: images 6",
)
def affine_image_backward(
    dx: Out,
    sums: Out,
    dy: In,
    matrices: In | None,
    *,
    matrix: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
) -> None:
    """dx = the gradient of x in `affine_image`: each dy goes back to the pixels it came from.

    sums is dx in full precision, in which it is added up.
    """


@op(
    y="images pixels colors",
    x="images pixels colors",
    factor="full: images",
    mean="full: images colors",
    shift="full: images",
    in_place="y=x",
)
def adjust_image(
    y: Out,
    x: In,
    factor: In | None,
    mean: In | None,
    shift: In | None,
    *,
    low: float,
    high: float,
) -> None:
    """y = (x - mean) * factor + mean + shift, cut off at low and high.

    Without a factor it is 1, without mean or shift they are 0.
    """


@op(dx="...", dy="...", y="...", in_place="dx=dy dx=y")
def clip_backward(dx: Out, dy: In, y: In, *, low: float, high: float) -> None:
    """dx = dy where low < y < high, else 0."""
