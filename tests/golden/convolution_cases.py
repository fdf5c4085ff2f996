"""The cases of convolution.npz: layers with arguments, and the arrays that they are tried on.

``python make_convolution.py`` writes the numbers of Keras; the tests read them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PATH = Path(__file__).with_name("convolution.npz")


class Case(NamedTuple):
    """A layer's class, its arguments, and the shape of one sample."""

    cls: str
    options: dict[str, Any]
    shape: tuple[int, ...]

    def make(self, layers: Any) -> Any:
        """The layer, of gpunet's or of Keras' module."""
        return getattr(layers, self.cls)(**self.options)


def conv(cls: str, shape: tuple[int, ...], kernel_size: Any, **options: Any) -> Case:
    if not cls.startswith("Depthwise"):
        options["filters"] = 4
    return Case(cls, {"kernel_size": kernel_size, **options}, shape)


def pool(cls: str, shape: tuple[int, ...], **options: Any) -> Case:
    return Case(cls, options, shape)


CASES = [
    conv("Conv1D", (8, 3), 3),
    conv("Conv1D", (8, 3), 4, padding="same", strides=3, activation="tanh"),
    conv("Conv1D", (8, 3), 3, padding="causal", dilation_rate=2),
    conv("Conv1D", (8, 4), 2, padding="same", dilation_rate=3, groups=2),
    conv("Conv2D", (6, 5, 2), 3, activation="relu"),
    conv("Conv2D", (6, 5, 2), (2, 3), padding="same", strides=2),
    conv("Conv2D", (7, 6, 2), (4, 2), padding="same", strides=(3, 1)),
    conv("Conv2D", (6, 7, 4), 3, dilation_rate=(2, 1), padding="same", groups=4),
    conv("Conv2D", (4, 5, 3), 1, strides=2, use_bias=False),
    conv("Conv3D", (3, 4, 5, 2), 2),
    conv("Conv3D", (3, 4, 5, 2), (3, 2, 1), padding="same", strides=(1, 2, 2)),
    conv("Conv1DTranspose", (4, 3), 3),
    conv("Conv1DTranspose", (4, 3), 4, strides=2, padding="same"),
    conv("Conv1DTranspose", (4, 3), 2, strides=3),
    conv("Conv2DTranspose", (3, 4, 2), 3, strides=2, padding="same", activation="relu"),
    conv("Conv2DTranspose", (3, 4, 2), (2, 3), strides=(1, 3), padding="same"),
    conv("Conv2DTranspose", (3, 4, 2), (2, 3), strides=(3, 2)),
    conv("Conv2DTranspose", (3, 4, 2), 3, strides=2, padding="same", output_padding=0),
    conv("Conv2DTranspose", (3, 4, 2), 3, strides=2, output_padding=1),
    conv("Conv2DTranspose", (3, 4, 2), 3, dilation_rate=2, padding="same"),
    conv("Conv3DTranspose", (2, 3, 2, 2), (1, 3, 2), strides=(1, 2, 2), padding="same"),
    conv("DepthwiseConv1D", (8, 3), 3, padding="same"),
    conv("DepthwiseConv2D", (6, 5, 3), 3, activation="sigmoid"),
    conv("DepthwiseConv2D", (6, 5, 3), 2, padding="same", strides=2, depth_multiplier=2),
    conv("DepthwiseConv2D", (6, 5, 3), 2, dilation_rate=2, depth_multiplier=3),
    conv("SeparableConv1D", (8, 3), 3, padding="same", strides=2),
    conv("SeparableConv2D", (6, 5, 3), 3, padding="same", activation="relu"),
    conv("SeparableConv2D", (6, 5, 3), 2, depth_multiplier=2, strides=2),
    pool("MaxPooling1D", (7, 3)),
    pool("MaxPooling1D", (7, 3), pool_size=3, strides=2, padding="same"),
    pool("MaxPooling2D", (6, 7, 2)),
    pool("MaxPooling2D", (6, 7, 2), pool_size=(3, 2), strides=(2, 1), padding="same"),
    pool("MaxPooling3D", (4, 3, 5, 2), padding="same"),
    pool("AveragePooling1D", (7, 3), pool_size=3, strides=1),
    pool("AveragePooling2D", (6, 7, 2), pool_size=3, strides=2, padding="same"),
    pool("AveragePooling2D", (6, 7, 2), pool_size=(2, 3)),
    pool("AveragePooling3D", (4, 3, 5, 2), pool_size=2, strides=(1, 2, 3), padding="same"),
    pool("GlobalMaxPooling1D", (7, 3)),
    pool("GlobalMaxPooling2D", (6, 7, 2), keepdims=True),
    pool("GlobalMaxPooling3D", (4, 3, 5, 2)),
    pool("GlobalAveragePooling1D", (7, 3), keepdims=True),
    pool("GlobalAveragePooling2D", (6, 7, 2)),
    pool("GlobalAveragePooling3D", (4, 3, 5, 2)),
]

NUMBERS: Any = np.load(PATH, allow_pickle=False) if PATH.exists() else {}


def name(case: Case) -> str:
    """A case in a few words."""
    options = (f"{key}={value}" for key, value in case.options.items() if key != "filters")
    return "-".join((case.cls, *options)).replace(" ", "").replace("/", "")


def arrays(
    case: Case, weight_shapes: Sequence[Sequence[int]], output_shape: Sequence[int]
) -> dict[str, Any]:
    """The input of two samples, the weights, and the gradient of the output, in float64."""
    rng = np.random.default_rng(7)
    return {
        "x": rng.standard_normal((2, *case.shape)),
        "weights": [rng.standard_normal(tuple(shape)) for shape in weight_shapes],
        "dy": rng.standard_normal((2, *output_shape)),
    }


def keys(case: Case) -> list[str]:
    """What stands in the file for a case: y, dx and the gradient of each weight."""
    prefix = f"{name(case)}/"
    return [key.removeprefix(prefix) for key in NUMBERS if key.startswith(prefix)]
