"""Op cases: convolutions. The references take one element of the window at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpunet.testing.cases.activations import EACH, act
from gpunet.testing.op_checks import Array, Case, Gradient, Maker, Values

Triple = tuple[int, int, int]


def framed(x: Array, least: Triple, padding: Triple) -> Array:
    """x with zeros before it, and after it up to the sizes ``least``."""
    after = (max(0, n - size - p) for n, size, p in zip(least, x.shape[1:4], padding, strict=True))
    return np.pad(x, ((0, 0), *zip(padding, after, strict=True), (0, 0)))


def elements(
    window: Triple, outputs: Triple, strides: Triple, dilation: Triple
) -> Iterator[tuple[Any, tuple[slice, ...]]]:
    """Each element of the window and where its inputs lie in a framed x, all outputs at once."""
    for w in np.ndindex(*window):
        starts = [w[axis] * dilation[axis] for axis in range(3)]
        stops = [a + (n - 1) * s + 1 for a, n, s in zip(starts, outputs, strides, strict=True)]
        yield w, (slice(None), *map(slice, starts, stops, strides))


def _least(window: Triple, outputs: Triple, strides: Triple, dilation: Triple) -> Any:
    along = zip(window, outputs, strides, dilation, strict=True)
    return tuple((n - 1) * s + (k - 1) * d + 1 for k, n, s, d in along)


def convolution(
    y: Array,
    x: Array,
    kernel: Array,
    strides: Triple,
    dilation: Triple,
    padding: Triple,
    activation: str,
    parameters: tuple[float, ...] = (),
    bias: Array | None = None,
    groups: int = 1,
) -> Values:
    """Sums of products, group by group."""
    window, outputs = kernel.shape[:3], y.shape[1:4]
    x = framed(x, _least(window, outputs, strides, dilation), padding)
    z = np.zeros(y.shape)
    for w, place in elements(window, outputs, strides, dilation):
        channels = np.split(x[place], groups, axis=-1)
        kernels = np.split(kernel[w], groups, axis=-1)
        z += np.concatenate([a @ k for a, k in zip(channels, kernels, strict=True)], axis=-1)
    return {"y": act(z if bias is None else z + bias, activation, parameters)}


def transposed_convolution(
    y: Array,
    x: Array,
    kernel: Array,
    strides: Triple,
    dilation: Triple,
    padding: Triple,
    activation: str,
    parameters: tuple[float, ...] = (),
    bias: Array | None = None,
    groups: int = 1,
) -> Values:
    """Each x spread over the outputs that its window reaches."""
    window, outputs = kernel.shape[:3], x.shape[1:4]
    z = framed(np.zeros(y.shape), _least(window, outputs, strides, dilation), padding)
    for w, place in elements(window, outputs, strides, dilation):
        filters = np.split(x, groups, axis=-1)
        kernels = np.split(kernel[w], groups, axis=-1)
        parts = [a @ k.T for a, k in zip(filters, kernels, strict=True)]
        z[place] += np.concatenate(parts, axis=-1)
    inside = tuple(slice(p, p + n) for p, n in zip(padding, y.shape[1:4], strict=True))
    z = z[(slice(None), *inside)]
    return {"y": act(z if bias is None else z + bias, activation, parameters)}


def convolution_kernel_gradient(
    dkernel: Array,
    x: Array,
    dy: Array,
    strides: Triple,
    dilation: Triple,
    padding: Triple,
    groups: int = 1,
) -> Values:
    """Sums over batch and outputs."""
    window, outputs = dkernel.shape[:3], dy.shape[1:4]
    x = framed(x, _least(window, outputs, strides, dilation), padding)
    total = np.zeros(dkernel.shape)
    for w, place in elements(window, outputs, strides, dilation):
        channels = np.split(x[place], groups, axis=-1)
        filters = np.split(dy, groups, axis=-1)
        parts = [np.einsum("bdhwc,bdhwf->cf", a, b) for a, b in zip(channels, filters, strict=True)]
        total[w] = np.concatenate(parts, axis=-1)
    return {"dkernel": total}


# ---------------------------------------------------------------------------------- the rows


def shape_of(
    batch: int,
    inputs: Triple,
    window: Triple,
    channels: int,
    filters: int,
    strides: Triple = (1, 1, 1),
    dilation: Triple = (1, 1, 1),
    padding: Triple = (0, 0, 0),
    after: Triple | None = None,
    groups: int = 1,
) -> Values:
    """The shapes and attributes of one convolution; ``after`` is the padding behind the inputs."""
    after = padding if after is None else after
    outputs = tuple(
        (inputs[a] + padding[a] + after[a] - (window[a] - 1) * dilation[a] - 1) // strides[a] + 1
        for a in range(3)
    )
    return {
        "fine": (batch, *inputs, channels),
        "coarse": (batch, *outputs, filters),
        "kernel": (*window, channels // groups, filters),
        "strides": strides,
        "dilation": dilation,
        "padding": padding,
        "groups": groups,
    }


_SHAPES = (
    shape_of(1, (1, 1, 1), (1, 1, 1), 1, 1),
    shape_of(2, (1, 5, 7), (1, 3, 3), 3, 5, padding=(0, 1, 1)),
    shape_of(3, (1, 1, 13), (1, 1, 4), 5, 3, padding=(0, 0, 3), after=(0, 0, 0)),  # causal
    shape_of(2, (1, 9, 8), (1, 3, 2), 4, 6, strides=(1, 2, 3), padding=(0, 1, 0), after=(0, 1, 1)),
    shape_of(2, (1, 8, 9), (1, 2, 3), 4, 4, dilation=(1, 3, 2), padding=(0, 2, 2)),
    shape_of(2, (1, 9, 10), (1, 3, 3), 2, 3, strides=(1, 2, 2), dilation=(1, 2, 3)),
    shape_of(2, (4, 5, 6), (2, 3, 2), 3, 4, strides=(2, 1, 2), padding=(1, 1, 0)),
    shape_of(2, (1, 6, 5), (1, 3, 3), 6, 9, padding=(0, 1, 1), groups=3),
    shape_of(2, (1, 6, 7), (1, 3, 3), 5, 5, padding=(0, 1, 1), groups=5),
    shape_of(2, (1, 7, 6), (1, 3, 2), 3, 6, strides=(1, 2, 2), groups=3),
    shape_of(1, (2, 4, 5), (2, 2, 3), 4, 8, padding=(1, 0, 1), groups=4),
    shape_of(3, (1, 2, 3), (1, 4, 5), 3, 2, padding=(0, 2, 2)),  # a window larger than the input
    shape_of(2, (1, 5, 4), (1, 1, 1), 7, 3),
    shape_of(2, (1, 5, 4), (1, 1, 1), 8, 4, strides=(1, 2, 3)),
    shape_of(2, (1, 9, 9), (1, 2, 2), 3, 3, strides=(1, 3, 4)),  # inputs that no window touches
    shape_of(0, (1, 4, 4), (1, 3, 3), 2, 3),
    shape_of(3, (1, 12, 11), (1, 3, 3), 17, 33, padding=(0, 1, 1)),
    shape_of(2, (1, 8, 12), (1, 3, 3), 32, 16, padding=(0, 1, 1)),
    shape_of(5, (1, 30, 33), (1, 3, 3), 8, 12),
    shape_of(2, (1, 40, 50), (1, 5, 5), 12, 12, padding=(0, 2, 2), groups=12),
    shape_of(3, (1, 20, 24), (1, 3, 3), 64, 64, padding=(0, 1, 1)),
)


def _small(*shape: int) -> Maker:
    """Normal random numbers of standard deviation 1/32."""
    label = f"small{'x'.join(map(str, shape))}"
    return Maker(label, lambda random: random.standard_normal(shape) / 32)


def _calls(y: str, x: str, kernel: str, **more: Any) -> tuple[Values, ...]:
    """A call for each shape, under the names that the op's arrays have."""
    calls = []
    for shape in _SHAPES:
        call = {key: value for key, value in shape.items() if key not in ("fine", "coarse")}
        arrays = {y: shape["coarse"], x: shape["fine"], kernel: call.pop("kernel")}
        factor = "dy" if "dy" in arrays else kernel
        if arrays[factor][-2] >= 16:  # long sums; tolerances are for results of about 1
            arrays[factor] = _small(*arrays[factor])
        calls.append({**arrays, **call, **more})
    return tuple(calls)


_SMALL = shape_of(2, (1, 4, 5), (1, 3, 2), 3, 4, strides=(1, 2, 1), padding=(0, 1, 1))


def _activations(y: str, x: str) -> tuple[Values, ...]:
    """Each activation, with a bias and without."""
    shape = {key: value for key, value in _SMALL.items() if key not in ("fine", "coarse")}
    arrays = {"y": _SMALL[y], "x": _SMALL[x], **shape}
    bias = (_SMALL[y][-1],)
    return (
        *({**arrays, "bias": bias, **flags} for flags in EACH),
        {**arrays, "activation": "tanh"},
    )


def _without_activation(flags: Values) -> Values | None:
    if flags["activation"] != "linear":
        return None
    return {key: flags[key] for key in ("strides", "dilation", "padding", "groups")}


CASES = (
    Case(
        "convolution",
        convolution,
        (
            *_calls("y", "x", "kernel", activation="linear"),
            *_activations("coarse", "fine"),
        ),
        (
            Gradient(
                "transposed_convolution",
                "y",
                {"y": "x"},
                {"x": "dy", "kernel": "kernel", "y": "x"},
                _without_activation,
            ),
            Gradient(
                "convolution_kernel_gradient",
                "y",
                {"dkernel": "kernel"},
                {"x": "x", "dy": "dy", "dkernel": "kernel"},
                _without_activation,
            ),
        ),
        float32=1e-4,
    ),
    Case(
        "transposed_convolution",
        transposed_convolution,
        (
            *_calls("x", "y", "kernel", activation="linear"),
            *_activations("fine", "coarse"),
        ),
        (
            Gradient(
                "convolution",
                "y",
                {"y": "x"},
                {"x": "dy", "kernel": "kernel", "y": "x"},
                _without_activation,
            ),
            Gradient(
                "convolution_kernel_gradient",
                "y",
                {"dkernel": "kernel"},
                {"x": "dy", "dy": "x", "dkernel": "kernel"},
                _without_activation,
            ),
        ),
        float32=1e-4,
    ),
    Case(
        "convolution_kernel_gradient",
        convolution_kernel_gradient,
        _calls("dy", "x", "dkernel"),
        float32=2e-4,
    ),
)
