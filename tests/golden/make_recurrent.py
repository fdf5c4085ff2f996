"""Writes recurrent.npz: what Keras' recurrent layers do, computed in float64.

Run it with Keras 3 and PyTorch installed: ``KERAS_BACKEND=torch python make_recurrent.py``. The
tests read CASES and the numbers and need neither. For each layer of CASES: its weights, its output
for x and the gradients of sum(dy * output) with respect to x and to the weights.
"""

from pathlib import Path

import numpy as np

SHAPE = (3, 5, 4)
CASES = [
    ("LSTM", {"units": 6}),
    ("LSTM", {"units": 6, "return_sequences": True}),
    ("LSTM", {"units": 2, "go_backwards": True}),
    ("GRU", {"units": 6}),
    ("GRU", {"units": 2, "return_sequences": True}),
    ("GRU", {"units": 3, "go_backwards": True, "return_sequences": True, "use_bias": False}),
    ("LSTM", {"units": 3, "go_backwards": True, "return_sequences": True, "use_bias": False}),
]


def main() -> None:
    import keras
    import torch

    keras.config.set_floatx("float64")
    keras.src.backend.common.dtypes.BIT64_TO_BIT32_DTYPE.pop("float64", None)
    rng = np.random.default_rng(0)
    numbers = {}
    for number, (name, arguments) in enumerate(CASES):
        layer = getattr(keras.layers, name)(**arguments)
        layer.build(SHAPE)
        weights = [rng.standard_normal(weight.shape) / 2 for weight in layer.weights]
        layer.set_weights(weights)
        saved = {"x": rng.standard_normal(SHAPE)}
        x = torch.tensor(saved["x"], requires_grad=True)
        y = layer(x)
        saved["y"] = y.detach().numpy()
        saved["dy"] = rng.standard_normal(y.shape)
        wanted = [x, *(weight.value for weight in layer.weights)]
        gradients = torch.autograd.grad((y * torch.tensor(saved["dy"])).sum(), wanted)
        saved["dx"] = gradients[0].numpy()
        for i, (weight, gradient) in enumerate(zip(weights, gradients[1:], strict=True)):
            saved[f"weight{i}"], saved[f"gradient{i}"] = weight, gradient.numpy()
        numbers |= {f"{number}.{key}": value for key, value in saved.items()}
    np.savez_compressed(Path(__file__).with_name("recurrent.npz"), **numbers)


if __name__ == "__main__":
    main()
