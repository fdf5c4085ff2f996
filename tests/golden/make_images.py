"""Writes images.npz: what Keras' image layers do, computed in float64 and kept in float32.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_images.py``. The tests
read CASES and the numbers and need neither. For each layer of CASES: its output for images x of
three shapes and the gradient of sum(dy * output) with respect to x. Random layers have ranges of
no width, so that nothing is random about them.
"""

from pathlib import Path

import numpy as np

SHAPES = ((2, 6, 9, 3), (2, 7, 5, 1), (1, 12, 12, 4))
FILL_MODES = ("constant", "nearest", "reflect", "wrap")
HOW = [
    {"fill_mode": mode, "interpolation": interpolation}
    for mode in FILL_MODES
    for interpolation in ("bilinear", "nearest")
]
CASES = [
    *(("RandomRotation", {"factor": (0.1, 0.1), "fill_value": 0.25, **how}) for how in HOW),
    *(
        ("RandomTranslation", {"height_factor": (0.3, 0.3), "width_factor": (-0.45, -0.45), **how})
        for how in HOW
    ),
    *(
        ("RandomZoom", {"height_factor": (0.43, 0.43), "width_factor": (-0.31, -0.31), **how})
        for how in HOW
    ),
    ("RandomZoom", {"height_factor": (0.43, 0.43)}),
    ("RandomBrightness", {"factor": (0.3, 0.3), "value_range": (0.0, 1.0)}),
    ("RandomBrightness", {"factor": (-0.2, -0.2), "value_range": (-1.0, 1.0)}),
    ("RandomContrast", {"factor": (0.0, 0.0), "value_range": (0.2, 0.9)}),
    ("Resizing", {"height": 5, "width": 11}),
    ("Resizing", {"height": 13, "width": 4, "interpolation": "nearest"}),
    ("Resizing", {"height": 4, "width": 4, "crop_to_aspect_ratio": True}),
    ("Resizing", {"height": 4, "width": 9, "pad_to_aspect_ratio": True, "fill_value": 0.5}),
    ("CenterCrop", {"height": 4, "width": 5}),
    ("CenterCrop", {"height": 8, "width": 4}),
]


def main() -> None:
    import keras
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    numbers = {}
    for shape in SHAPES:
        numbers["x" + "x".join(map(str, shape))] = np.round(rng.uniform(0, 1, shape) * 256) / 256
    for number, (name, arguments) in enumerate(CASES):
        layer = getattr(keras.layers, name)(**arguments)
        for place, shape in enumerate(SHAPES):
            x = torch.tensor(numbers["x" + "x".join(map(str, shape))], requires_grad=True)
            y = layer(x * 1, training=True)  # some layers write over what they get
            dy = np.cos(np.arange(y.numel())).reshape(y.shape)
            (y * torch.tensor(dy)).sum().backward()
            numbers[f"{number}.{place}.y"] = y.detach().numpy().astype(np.float32)
            numbers[f"{number}.{place}.dx"] = x.grad.numpy().astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("images.npz"), **numbers)


if __name__ == "__main__":
    main()
