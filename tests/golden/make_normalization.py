"""Writes normalization.npz: what Keras' normalization layers do, computed in float64.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_normalization.py``.
The tests read CASES and the numbers and need neither. For each layer of CASES: weights before and
after a training pass on x, its output and the gradients of sum(dy * output) with respect to x and
to the trainable weights; then the output and the gradient of x in inference. The same for
BatchNormalization with the masks of MASKED.
"""

from pathlib import Path

import numpy as np

IMAGES, ROWS, FLAT = (3, 2, 3, 6), (3, 2, 6), (5, 6)
CASES = [
    ("BatchNormalization", {}, ROWS),
    ("BatchNormalization", {"momentum": 0.5, "epsilon": 0.1, "center": False}, IMAGES),
    ("BatchNormalization", {"scale": False}, FLAT),
    ("BatchNormalization", {"trainable": False}, IMAGES),
    ("LayerNormalization", {}, ROWS),
    ("LayerNormalization", {"axis": [-2, -1], "epsilon": 0.1}, IMAGES),
    ("LayerNormalization", {"axis": [1, 2, 3], "center": False}, IMAGES),
    ("LayerNormalization", {"scale": False, "center": False}, FLAT),
    ("LayerNormalization", {"rms_scaling": True}, ROWS),
    ("GroupNormalization", {"groups": 3}, IMAGES),
    ("GroupNormalization", {"groups": 1, "scale": False}, ROWS),
    ("GroupNormalization", {"groups": -1, "epsilon": 0.1, "center": False}, IMAGES),
    ("RMSNormalization", {}, ROWS),
    ("RMSNormalization", {"axis": [2, 3], "epsilon": 0.1}, IMAGES),
    ("UnitNormalization", {}, ROWS),
    ("UnitNormalization", {"axis": [1, 2]}, ROWS),
    ("SpectralNormalization", {}, ROWS),
    ("SpectralNormalization", {"power_iterations": 3}, FLAT),
]

SEQUENCES = (3, 4, 6)
MASKED = [
    ({}, SEQUENCES, [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ({"momentum": 0.5, "epsilon": 0.1}, SEQUENCES, [[0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]]),
    ({"center": False, "momentum": 0.9}, SEQUENCES, [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0]]),
    ({"momentum": 0.5}, SEQUENCES, [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]),
    ({"scale": False}, SEQUENCES, [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
    ({"axis": 2}, SEQUENCES, [[0, 1, 1, 0], [1, 0, 0, 1], [1, 1, 1, 0]]),
    ({"trainable": False}, SEQUENCES, [[1, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]]),
    ({}, (2, 3, 2, 5), [[[1, 0], [1, 1], [0, 0]], [[0, 0], [1, 0], [1, 1]]]),
]


def make(layers, name, arguments):
    """A layer of Keras or gpunet."""
    if name == "SpectralNormalization":
        return layers.SpectralNormalization(layers.Dense(4), **arguments)
    return getattr(layers, name)(**arguments)


def main() -> None:
    import keras
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    masked = [("BatchNormalization", *case) for case in MASKED]
    numbers = {}
    for number, (name, arguments, shape, *mask) in enumerate([*CASES, *masked]):
        layer = make(keras.layers, name, arguments)
        layer.build(shape)
        options = {"mask": torch.tensor(mask[0], dtype=torch.bool)} if mask else {}
        before = [rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights]
        layer.set_weights(before)
        saved = {"x": rng.standard_normal(shape) + 0.5}
        saved["dy"] = rng.standard_normal(layer.compute_output_shape(shape))
        for mode, training in (("train", True), ("infer", False)):
            x = torch.tensor(saved["x"], requires_grad=True)
            y = layer(x, training=training, **options)
            wanted = [w.value for w in layer.trainable_weights] if training else []
            gradients = torch.autograd.grad((y * torch.tensor(saved["dy"])).sum(), [x, *wanted])
            saved[f"{mode}.y"] = y.detach().numpy()
            saved[f"{mode}.dx"] = gradients[0].numpy()
            for i, gradient in enumerate(gradients[1:]):
                saved[f"gradient{i}"] = gradient.numpy()
        for i, weights in enumerate(zip(before, layer.get_weights(), strict=True)):
            saved[f"before{i}"], saved[f"after{i}"] = weights
        numbers |= {f"{number}.{key}": value for key, value in saved.items()}
    np.savez_compressed(Path(__file__).with_name("normalization.npz"), **numbers)


if __name__ == "__main__":
    main()
