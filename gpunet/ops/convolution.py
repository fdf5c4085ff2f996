"""Plain functions: convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.backend.dispatch import as_array, run_op
from gpunet.backend.spec import Array
from gpunet.errors import ShapeError
from gpunet.geometry import Geometry, check_padding, of_transposed, of_windows, sizes

Sizes = int | Sequence[int]
INPUTS = ("depth", "height", "width")
OUTPUTS = ("out_depth", "out_height", "out_width")
WINDOW = ("window_depth", "window_height", "window_width")


def convolution(
    x: Any,
    kernel: Any,
    bias: Any = None,
    strides: Sizes = 1,
    padding: str = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
) -> Array:
    """activation(x * kernel + bias) over one, two or three dimensions.

    Args:
        x: (batch, ..., channels).
        kernel: (..., channels / groups, filters).
        bias: (filters,) or None.
        strides: how far apart windows are, for all dimensions or for each.
        padding: "valid", "same" or, in one dimension, "causal".
        dilation: how far apart the elements of a window are.
        groups: each group of the filters sees a group of the channels; as many groups as channels
            make a depthwise convolution.
        activation: as in `bias_act`.
        parameters: as in `bias_act`.

    >>> convolution([[[1.0], [2.0], [4.0]]], [[[1.0]], [[-1.0]]])
    array([[[-1.],
            [-2.]]], dtype=float32)
    """
    x, kernel = _checked("convolution", x, kernel)
    geometry = _of_windows("convolution", x, kernel.shape[:-2], strides, dilation, padding)
    known = dict(zip(OUTPUTS, geometry.coarse, strict=True))
    y = _run("convolution", x, kernel, bias, known, geometry, groups, activation, parameters)
    return y.reshape(*_outer(x, geometry.coarse), kernel.shape[-1])


def transposed_convolution(
    x: Any,
    kernel: Any,
    bias: Any = None,
    strides: Sizes = 1,
    padding: str = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
    activation: str = "linear",
    parameters: tuple[float, ...] = (),
    output_padding: Sizes | None = None,
) -> Array:
    """activation(x *^T kernel + bias): each x is spread over a window of outputs.

    Args:
        x: (batch, ..., filters).
        kernel: (..., channels / groups, filters): that of the convolution which goes back.
        bias: (channels,) or None.
        strides: as in `convolution`.
        padding: "valid" or "same".
        dilation: as in `convolution`.
        groups: as in `convolution`.
        activation: as in `bias_act`.
        parameters: as in `bias_act`.
        output_padding: outputs added at the end, as Keras counts them; None for its choice.

    >>> transposed_convolution([[[1.0], [2.0]]], [[[1.0]], [[-1.0]]], strides=2)
    array([[[ 1.],
            [-1.],
            [ 2.],
            [-2.]]], dtype=float32)
    """
    name = "transposed_convolution"
    x, kernel = _checked(name, x, kernel)
    rank = kernel.ndim - 2
    geometry = of_transposed(
        x.shape[1:-1],
        kernel.shape[:-2],
        sizes(f"op {name}", "strides", strides, rank),
        sizes(f"op {name}", "dilation", dilation, rank),
        check_padding(f"op {name}", padding),
        None if output_padding is None else sizes(name, "output_padding", output_padding, rank, 0),
    )
    channels = kernel.shape[-2] * groups
    known = {"channels": channels, **dict(zip(INPUTS, geometry.fine, strict=True))}
    y = _run(name, x, kernel, bias, known, geometry, groups, activation, parameters)
    return y.reshape(*_outer(x, geometry.fine), channels)


def convolution_kernel_gradient(
    x: Any,
    dy: Any,
    window: Sizes,
    strides: Sizes = 1,
    padding: str = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """The gradient of `convolution` with respect to its kernel, from that of its output.

    Args:
        x: the convolution's input.
        dy: the gradient of its output, without activation.
        window: the kernel's sizes.
        strides: as in `convolution`.
        padding: as in `convolution`.
        dilation: as in `convolution`.
        groups: as in `convolution`.

    >>> convolution_kernel_gradient([[[1.0], [2.0], [4.0]]], [[[1.0], [1.0]]], window=2)
    array([[[3.]],
    <BLANKLINE>
           [[6.]]], dtype=float32)
    """
    name = "convolution_kernel_gradient"
    x, dy = as_array(x), as_array(dy)
    window = sizes(f"op {name}", "window", window, x.ndim - 2)
    geometry = _of_windows(name, x, window, strides, dilation, padding)
    inner = (x.shape[-1] // groups, dy.shape[-1])
    known = {"group_channels": inner[0], **dict(zip(WINDOW, geometry.window, strict=True))}
    arrays = {
        "x": x.reshape(len(x), *geometry.fine, x.shape[-1]),
        "dy": dy.reshape(len(dy), *geometry.coarse, dy.shape[-1]),
    }
    written = run_op(name, arrays, None, known, groups=groups, **geometry.of_convolution)
    return written["dkernel"].reshape(*window, *inner)


def _checked(name: str, x: Any, kernel: Any) -> tuple[Array, Array]:
    x, kernel = as_array(x), as_array(kernel)
    if not 3 <= x.ndim <= 5 or kernel.ndim != x.ndim:
        raise ShapeError(
            f"op {name} takes x (batch, ..., channels) and a kernel (..., channels, filters) over "
            f"1 to 3 dimensions, got {x.shape} and {kernel.shape}."
        )
    return x, kernel


def _of_windows(
    name: str, x: Array, window: Sequence[int], strides: Sizes, dilation: Sizes, padding: str
) -> Geometry:
    rank = x.ndim - 2
    return of_windows(
        f"op {name}",
        x.shape[1:-1],
        window,
        sizes(f"op {name}", "strides", strides, rank),
        sizes(f"op {name}", "dilation", dilation, rank),
        check_padding(f"op {name}", padding, causal=rank == 1),
    )


def _run(
    name: str,
    x: Array,
    kernel: Array,
    bias: Any,
    known: dict[str, int],
    geometry: Geometry,
    groups: int,
    activation: str,
    parameters: tuple[float, ...],
) -> Array:
    side = geometry.fine if name == "convolution" else geometry.coarse
    arrays = {
        "x": x.reshape(len(x), *side, x.shape[-1]),
        "kernel": kernel.reshape(*geometry.window, *kernel.shape[-2:]),
        "bias": bias,
    }
    flags = {"groups": groups, "activation": activation, "parameters": parameters}
    return run_op(name, arrays, None, known, **flags, **geometry.of_convolution)["y"]


def _outer(x: Array, outputs: Sequence[int]) -> tuple[int, ...]:
    """Batch and sizes, without the dimensions that x does not have."""
    return (len(x), *outputs[5 - x.ndim :])
