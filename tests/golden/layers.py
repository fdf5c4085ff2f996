"""Golden outputs and gradients of layers without weights, by Keras 3 on PyTorch.

    KERAS_BACKEND=torch python tests/golden/layers.py

writes layers.npz beside this file: for each case the output in inference and the gradients of
sum(w y) with respect to the inputs, where w are the numbers of `weights`.
"""

from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("layers.npz")

# class, arguments, the shapes of one sample of each input
CASES = [
    ("Add", {}, [(3, 4), (3, 4), (3, 4)]),
    ("Add", {}, [(1, 4), (3, 1)]),
    ("Subtract", {}, [(3, 4), (3, 4)]),
    ("Subtract", {}, [(3, 4), (4,)]),
    ("Multiply", {}, [(3, 4), (3, 4), (3, 4)]),
    ("Multiply", {}, [(5, 3, 4), (1, 1, 4)]),
    ("Average", {}, [(3, 4), (3, 4), (3, 4)]),
    ("Maximum", {}, [(3, 4), (3, 4), (3, 4)]),
    ("Maximum", {}, [(2, 3, 1, 4), (1, 3, 5, 4)]),
    ("Minimum", {}, [(3, 4), (3, 4)]),
    ("Concatenate", {}, [(3, 4), (3, 1)]),
    ("Concatenate", {"axis": 1}, [(3, 4), (1, 4), (2, 4), (5, 4), (1, 4), (2, 4)]),
    ("Dot", {"axes": 1}, [(7,), (7,)]),
    ("Dot", {"axes": 2}, [(3, 5), (4, 5)]),
    ("Dot", {"axes": 1}, [(5, 3), (5, 4)]),
    ("Dot", {"axes": [2, 1]}, [(3, 5), (5, 4)]),
    ("Dot", {"axes": [1, 2]}, [(5, 3), (4, 5)]),
    ("Dot", {"axes": [1, 3]}, [(5,), (2, 4, 5)]),
    ("Dot", {"axes": [2, 2]}, [(3, 5, 2), (4, 5)]),
    ("Dot", {"axes": 1, "normalize": True}, [(7,), (7,)]),
    ("Dot", {"axes": [2, 1], "normalize": True}, [(3, 5), (5, 4)]),
    ("Dot", {"axes": [1, 2], "normalize": True}, [(5, 3), (4, 5)]),
    ("Dot", {"axes": [2, 1], "normalize": True}, [(3, 5, 2), (5,)]),
    ("UpSampling1D", {"size": 3}, [(4, 5)]),
    ("UpSampling2D", {}, [(3, 5, 4)]),
    ("UpSampling2D", {"size": [3, 1], "interpolation": "bilinear"}, [(3, 5, 2)]),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, [(4, 4, 4)]),
    ("UpSampling2D", {"size": 2, "data_format": "channels_first"}, [(2, 3, 5)]),
    ("UpSampling3D", {"size": [1, 2, 3]}, [(2, 3, 2, 4)]),
    ("ZeroPadding1D", {"padding": [1, 2]}, [(4, 5)]),
    ("ZeroPadding2D", {"padding": [[1, 0], [2, 3]]}, [(3, 5, 4)]),
    ("ZeroPadding2D", {"padding": 2, "data_format": "channels_first"}, [(2, 3, 5)]),
    ("ZeroPadding3D", {"padding": [1, 0, 2]}, [(2, 3, 2, 4)]),
    ("Cropping1D", {"cropping": 1}, [(4, 5)]),
    ("Cropping2D", {"cropping": [[1, 0], [2, 1]]}, [(3, 5, 4)]),
    ("Cropping2D", {"cropping": 1, "data_format": "channels_first"}, [(2, 3, 5)]),
    ("Cropping3D", {"cropping": [0, 1, 0]}, [(2, 3, 2, 4)]),
    ("Permute", {"dims": [2, 1]}, [(4, 5)]),
    ("Permute", {"dims": [3, 1, 2]}, [(4, 5, 3)]),
    ("Permute", {"dims": [2, 1, 4, 3]}, [(4, 5, 3, 2)]),
    ("RepeatVector", {"n": 3}, [(5,)]),
    ("GaussianNoise", {"stddev": 0.5}, [(5,)]),
    ("GaussianDropout", {"rate": 0.5}, [(5,)]),
    ("AlphaDropout", {"rate": 0.5}, [(5,)]),
    ("SpatialDropout1D", {"rate": 0.5}, [(4, 5)]),
    ("SpatialDropout2D", {"rate": 0.5}, [(4, 5, 3)]),
    ("SpatialDropout3D", {"rate": 0.5, "data_format": "channels_first"}, [(3, 2, 4, 5)]),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, [(5,)]),
]
BATCH = 3


def inputs(number):
    """The inputs of a case, of which some are equal to each other."""
    rng = np.random.default_rng(number)
    shapes = CASES[number][2]
    return [np.round(rng.standard_normal((BATCH, *shape)), 1) for shape in shapes]


def weights(shape):
    """The factors of the outputs in the sum whose gradients are taken."""
    return np.cos(np.arange(np.prod(shape))).reshape(shape)


def main():
    import keras
    import torch

    keras.config.set_floatx("float64")
    results = {}
    for number, (name, arguments, _) in enumerate(CASES):
        x = [torch.tensor(array, requires_grad=True) for array in inputs(number)]
        y = getattr(keras.layers, name)(**arguments)(x if len(x) > 1 else x[0])
        (y * torch.tensor(weights(y.shape))).sum().backward()
        results[f"y{number}"] = y.detach().cpu().numpy().astype(np.float32)
        for i, tensor in enumerate(x):
            results[f"dx{number}_{i}"] = tensor.grad.cpu().numpy().astype(np.float32)
    np.savez_compressed(PATH, **results)


if __name__ == "__main__":
    main()
